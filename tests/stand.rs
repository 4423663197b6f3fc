//! The one fixture: a whole Spillway on free ports.
//!
//! Owns: processes and their files. The planes are the real binary, so that a test can
//! kill them; the providers are the simulator in this process, so that a test can read
//! its ledger. Dropping a stand stops everything and shows the planes' logs if the test
//! failed.

mod etcd;
mod http;
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spillway_simulator::{
    Answerer, ProviderConfig, Running, Script, ServedModel, Simulator, SimulatorConfig, Speed,
};
use tokio::net::TcpListener;

pub(crate) use self::etcd::Etcd;
pub(crate) use self::http::{Answer, get, post, request, streaming};
pub(crate) use self::process::{Process, spillway};

/// The one key of a stand.
pub(crate) const KEY: &str = "sk-stand";
/// SHA-256 of [`KEY`].
const KEY_SHA256: &str = "7e0d95ecc40fdad53059baadd93e96c8fbc20415828c37ddfbc098d470296a25";
/// Nothing that a stand waits for takes longer, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Two models at two providers: `small` at alpha; `large`, the baseline, at both.
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

[[upstreams]]
provider = "alpha"
models = ["large"]
prices.standard = { input = 10.0, output = 20.0 }

[[upstreams]]
provider = "beta"
models = ["large"]
prices.standard = { input = 11.0, output = 22.0 }

[routes.auto]
baseline = "large"
bar = 0.85
deadline = "8s"

[routes.best]
models = ["large"]
baseline = "large"
deadline = "4s"
"#;

/// What a stand is to be.
pub(crate) struct Plan {
    proxies: usize,
    etcd: bool,
    policy: String,
    answerer: Answerer,
    providers: Vec<ProviderConfig>,
    limits: String,
    elsewhere: Vec<(&'static str, String)>,
    import: Option<(PathBuf, PathBuf)>,
}

pub(crate) struct Proxy {
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) admin: String,
    config: PathBuf,
}

pub(crate) struct Stand {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) etcd: Option<Etcd>,
    pub(crate) control: Process,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) simulator: Option<Running>,
    pub(crate) dashboard: String,
    control_config: PathBuf,
}

impl Stand {
    #[expect(clippy::new_ret_no_self, reason = "a stand is planned, then started")]
    pub(crate) fn new() -> Plan {
        let small = || ServedModel::new("small", 1_000, 2_000);
        let large = || ServedModel::new("large", 10_000, 20_000);
        Plan {
            proxies: 1,
            etcd: true,
            policy: POLICY.to_owned(),
            answerer: Answerer::Echo,
            providers: vec![
                ProviderConfig::new("alpha", vec![small(), large()]),
                ProviderConfig::new("beta", vec![ServedModel::new("large", 11_000, 22_000)]),
            ],
            limits: String::new(),
            elsewhere: Vec::new(),
            import: None,
        }
    }
}

impl Plan {
    pub(crate) fn proxies(mut self, count: usize) -> Self {
        self.proxies = count;
        self
    }

    /// Both planes in one process, without etcd.
    pub(crate) fn embedded(mut self) -> Self {
        self.etcd = false;
        self
    }

    pub(crate) fn policy(mut self, text: &str) -> Self {
        self.policy = text.to_owned();
        self
    }

    pub(crate) fn providers(mut self, answerer: Answerer, providers: Vec<ProviderConfig>) -> Self {
        self.answerer = answerer;
        self.providers = providers;
        self
    }

    /// Lines of `[proxy.limits]`.
    pub(crate) fn limits(mut self, lines: &str) -> Self {
        self.limits = lines.to_owned();
        self
    }

    /// Tells the proxies of a provider that the test itself will stand up.
    pub(crate) fn provider_at(mut self, id: &'static str, base_url: &str) -> Self {
        self.elsewhere.push((id, base_url.to_owned()));
        self
    }

    /// Imports a labelled set into history before the control plane starts.
    pub(crate) fn import(mut self, prompts: &Path, outcomes: &Path) -> Self {
        self.import = Some((prompts.to_owned(), outcomes.to_owned()));
        self
    }

    /// Starts everything and waits until every proxy serves the first table.
    pub(crate) async fn start(self) -> Stand {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = SimulatorConfig {
            providers: self.providers.clone(),
            answerer: self.answerer.clone(),
            seed: 1,
            speed: Speed::Instant,
        };
        let simulator = Simulator::start(config, listener).unwrap();
        let etcd = if self.etcd {
            Some(Etcd::start(&dir.path().join("etcd")).await)
        } else {
            None
        };
        let (grpc, http) = (free_port(), free_port());
        let policy = dir.path().join("policy.toml");
        fs::write(&policy, &self.policy).unwrap();
        let data = dir.path().join("control");
        if let Some((prompts, outcomes)) = &self.import {
            fs::create_dir_all(&data).unwrap();
            let history = data.join("history");
            let args = [
                "import",
                "--history",
                text(&history),
                "--prompts",
                text(prompts),
                "--outcomes",
                text(outcomes),
            ];
            let done = spillway(&args).await;
            assert!(done.success, "{}", done.stderr);
        }
        let endpoints = etcd
            .as_ref()
            .map(|etcd| format!("etcd = [\"{}\"]\n", etcd.endpoint))
            .unwrap_or_default();
        let control = format!(
            "[control]\ngrpc_listen = \"127.0.0.1:{grpc}\"\nhttp_listen = \"127.0.0.1:{http}\"\ndata_dir = {data:?}\npolicy = {policy:?}\ntraining_labels = 0\n{endpoints}\n"
        );
        let control_config = dir.path().join("control.toml");
        let mut all: Vec<(&str, String)> = self
            .providers
            .iter()
            .map(|p| (p.name.as_str(), simulator.base_url(&p.name)))
            .collect();
        all.extend(self.elsewhere.iter().cloned());
        let dashboard = format!("http://127.0.0.1:{http}");
        let mut proxies = Vec::new();
        let control_process = if etcd.is_some() {
            fs::write(&control_config, format!("version = 1\n{control}")).unwrap();
            let process = Process::start(
                "control",
                &["control", "--config", text(&control_config)],
                "dashboard",
            )
            .await;
            let key = public_key(&process);
            let feed = format!(
                "kind = \"etcd\"\nendpoints = [\"{}\"]",
                etcd.as_ref().unwrap().endpoint
            );
            for i in 0..self.proxies {
                let (config, url, admin) =
                    proxy_config(dir.path(), i, &feed, grpc, &key, &all, &self.limits);
                let path = dir.path().join(format!("proxy{i}.toml"));
                fs::write(&path, format!("version = 1\n{config}")).unwrap();
                let process = Process::start(
                    &format!("proxy{i}"),
                    &["proxy", "--config", text(&path)],
                    "serving apps",
                )
                .await;
                proxies.push(Proxy {
                    process,
                    url,
                    admin,
                    config: path,
                });
            }
            process
        } else {
            let (config, url, admin) = proxy_config(
                dir.path(),
                0,
                "kind = \"local\"",
                grpc,
                "",
                &all,
                &self.limits,
            );
            fs::write(&control_config, format!("version = 1\n{control}{config}")).unwrap();
            let process = Process::start(
                "all",
                &["all", "--config", text(&control_config)],
                "serving apps",
            )
            .await;
            proxies.push(Proxy {
                process: Process::none(),
                url,
                admin,
                config: control_config.clone(),
            });
            process
        };
        let stand = Stand {
            dir,
            etcd,
            control: control_process,
            proxies,
            simulator: Some(simulator),
            dashboard,
            control_config,
        };
        for proxy in &stand.proxies {
            ready(proxy).await;
        }
        stand
    }
}

impl Stand {
    pub(crate) fn url(&self) -> &str {
        &self.proxies[0].url
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
        self.control = Process::start("control", &args, "dashboard").await;
    }

    pub(crate) async fn restart_proxy(&mut self, index: usize) {
        let proxy = &mut self.proxies[index];
        let args = ["proxy", "--config", text(&proxy.config)];
        proxy.process = Process::start(&format!("proxy{index}"), &args, "serving apps").await;
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

fn proxy_config(
    dir: &Path,
    index: usize,
    feed: &str,
    grpc: u16,
    key: &str,
    providers: &[(&str, String)],
    limits: &str,
) -> (String, String, String) {
    let (listen, admin) = (free_port(), free_port());
    let data = dir.join(format!("proxy{index}"));
    let trusted = if key.is_empty() {
        String::new()
    } else {
        format!("\"{key}\"")
    };
    let mut config = format!(
        "[proxy]\nname = \"p{index}\"\nlisten = \"127.0.0.1:{listen}\"\nadmin_listen = \"127.0.0.1:{admin}\"\ndata_dir = {data:?}\n\
         control_plane = \"http://127.0.0.1:{grpc}\"\ntrusted_keys = [{trusted}]\n[proxy.feed]\n{feed}\n[proxy.limits]\n{limits}\n\
         [[proxy.keys]]\nid = \"stand\"\nsha256 = \"{}\"\n",
        KEY_SHA256
    );
    for (id, url) in providers {
        config.push_str(&format!(
            "[[proxy.providers]]\nid = \"{id}\"\nbase_url = \"{url}\"\nallow_private = true\n"
        ));
        config.push_str(&format!(
            "[[proxy.credentials]]\nname = \"{id}\"\nnone = true\n"
        ));
    }
    (
        config,
        format!("http://127.0.0.1:{listen}"),
        format!("http://127.0.0.1:{admin}"),
    )
}

fn public_key(process: &Process) -> String {
    let output = process.output();
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("public key"))
        .unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
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
