//! The one fixture: a whole Spillway on free ports.
//!
//! Owns: processes and their files. The planes are the real binary, so that a test can
//! kill them; the providers are the simulator in this process, so that a test can read
//! its ledger. Dropping a stand stops everything and shows the planes' logs if the test
//! failed.

mod bucket;
mod etcd;
mod http;
mod plan;
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spillway_simulator::{Running, Script};

pub(crate) use self::bucket::Bucket;
use self::etcd::Etcd;
pub(crate) use self::http::{Answer, get, post, request, streaming};
pub(crate) use self::plan::Plan;
pub(crate) use self::process::{Process, spillway};

/// The one key of a stand.
pub(crate) const KEY: &str = "sk-stand";
/// Nothing that a stand waits for takes longer, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Two models at two providers: `small` at alpha; `large`, the baseline, at both. Said to
/// write fast, so that whoever hangs is soon given up.
pub(crate) const POLICY: &str = r#"
version = 1

[models.small]
prior = 0.8
[models.large]
prior = 0.9

[[upstreams]]
provider = "alpha"
models = ["small"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "alpha"
models = ["large"]
prices.standard = { input = 10.0, output = 20.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "beta"
models = ["large"]
prices.standard = { input = 11.0, output = 22.0 }
tokens_per_second = 1000.0

[routes.auto]
baseline = "large"
bar = 0.85
deadline = "8s"

[routes.best]
models = ["large"]
baseline = "large"
deadline = "4s"
"#;

/// Whose signatures a stand's proxies make, where they make any.
pub(crate) const ACCESS_KEY: &str = "AKIASTAND";
/// As Bedrock calls it, with what has to be escaped in a path.
pub(crate) const BEDROCK_MODEL: &str = "anthropic.claude-sonnet-5-v1:0";

/// The policy of a stand whose providers speak a dialect each. Any of them may answer on
/// `auto`; a model's own name pins it, and with it the dialect.
pub(crate) const DIALECTS: &str = r#"
version = 1

[[upstreams]]
provider = "chat"
models = ["chat-1"]
dialects = ["openai-chat"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "responses"
models = ["responses-1"]
dialects = ["openai-responses"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "messages"
models = ["claude-1"]
dialects = ["anthropic-messages"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "gemini"
models = ["gemini-3-sim"]
dialects = ["gemini-generate"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "interactions"
models = ["gemini-3-steps"]
dialects = ["gemini-interactions"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "converse"
models = ["claude-bedrock"]
wire_models = { claude-bedrock = "anthropic.claude-sonnet-5-v1:0" }
dialects = ["bedrock-converse"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[routes.auto]
baseline = "chat-1"
floor = 0.0
deadline = "8s"
"#;

pub(crate) struct Proxy {
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) admin: String,
    config: PathBuf,
}

pub(crate) struct Stand {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) etcd: Option<Etcd>,
    bucket: Option<Bucket>,
    environment: Vec<(String, String)>,
    pub(crate) control: Process,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) simulator: Option<Running>,
    pub(crate) dashboard: String,
    control_config: PathBuf,
}

impl Stand {
    #[expect(clippy::new_ret_no_self, reason = "a stand is planned, then started")]
    pub(crate) fn new() -> Plan {
        Plan::default()
    }
}

impl Stand {
    pub(crate) fn url(&self) -> &str {
        &self.proxies[0].url
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        self.bucket.as_ref().unwrap()
    }

    pub(crate) fn simulator(&self) -> &Running {
        self.simulator.as_ref().unwrap()
    }

    pub(crate) fn script(&self, provider: &str) -> Script {
        self.simulator().script(provider).unwrap()
    }

    pub(crate) fn token(&self) -> String {
        fs::read_to_string(self.dir.path().join("control/admin.token")).unwrap()
    }

    /// One plain request through the first proxy.
    pub(crate) async fn ask(&self, text: &str) -> Answer {
        self.chat(json!({ "model": "auto", "messages": [{ "role": "user", "content": text }] }))
            .await
    }

    pub(crate) async fn chat(&self, body: Value) -> Answer {
        chat(self.url(), &body).await
    }

    /// A door of the page.
    pub(crate) async fn api(&self, path: &str) -> Value {
        let answer = get(&format!("{}/api/v1{path}", self.dashboard), &self.token()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub(crate) async fn api_post(&self, path: &str, body: &Value) -> Answer {
        post(
            &format!("{}/api/v1{path}", self.dashboard),
            &self.token(),
            body,
        )
        .await
    }

    /// Replaces the policy; returns the table's version.
    pub(crate) async fn publish(&self, text: &str) -> u64 {
        let version = self.api("/policy").await["version"].as_u64().unwrap();
        let body = json!({ "text": text, "expected_version": version });
        let answer = self.api_post("/policy", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["table_version"].as_u64().unwrap()
    }

    /// What one proxy's metrics say of a gauge or counter without labels.
    pub(crate) async fn metric(&self, proxy: usize, name: &str) -> f64 {
        let text = get(&format!("{}/metrics", self.proxies[proxy].admin), "")
            .await
            .text();
        let line = text
            .lines()
            .find(|line| line.split(' ').next() == Some(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(f64::NAN)
    }

    /// Waits until `seen` of the recorded requests holds.
    pub(crate) async fn recorded(&self, seen: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let requests = self.api("/requests?limit=500").await["requests"]
                .as_array()
                .unwrap()
                .clone();
            if seen(&requests) {
                return requests;
            }
            assert!(
                Instant::now() < deadline,
                "history never looked as expected: {requests:#?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn restart_control(&mut self) {
        let args = ["control", "--config", text(&self.control_config)];
        let environment = &self.environment;
        self.control = Process::start_in(environment, "control", &args, "public key").await;
    }

    pub(crate) async fn restart_proxy(&mut self, index: usize) {
        let proxy = &mut self.proxies[index];
        let args = ["proxy", "--config", text(&proxy.config)];
        let (environment, name) = (&self.environment, format!("proxy{index}"));
        proxy.process = Process::start_in(environment, &name, &args, "serving apps").await;
        ready(&self.proxies[index]).await;
    }
}

pub(crate) async fn chat(url: &str, body: &Value) -> Answer {
    post(&format!("{url}/v1/chat/completions"), KEY, body).await
}

/// Polls until `condition` holds; fails the test with `what` after [`PATIENCE`].
pub(crate) async fn eventually<F: Future<Output = bool>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn ready(proxy: &Proxy) {
    eventually("the proxy is ready", || async {
        request("GET", &format!("{}/readyz", proxy.admin), &[], "")
            .await
            .is_ok_and(|answer| answer.status == 200)
    })
    .await;
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A port that was free a moment ago. It is none of those that the system gives to
/// outgoing connections, and tests that run at the same time look at different ones. A
/// stand that has used up its own goes on with those of others.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 10_000;
    const TESTS: u16 = 700;
    const EACH: u16 = 32;
    let test = u16::try_from(std::process::id() % u32::from(TESTS)).unwrap();
    let next = || NEXT.fetch_add(1, Ordering::Relaxed);
    let own = (0..EACH).map(|_| next() % EACH);
    own.chain((EACH..8 * EACH).map(|_| EACH + next() % (7 * EACH)))
        .map(|port| FIRST + (test * EACH + port) % (TESTS * EACH))
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// Real data beside the project, where it is at hand.
pub(crate) fn shared_data(set: &str) -> Option<(PathBuf, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data")
        .join(set);
    let find = |stem: &str| {
        ["jsonl", "jsonl.zst"]
            .iter()
            .map(|end| root.join(format!("{stem}.{end}")))
            .find(|path| path.exists())
    };
    Some((find("prompts")?, find("outcomes")?))
}
