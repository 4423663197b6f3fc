//! What a stand is to be, and putting it up.

use std::fs;
use std::path::{Path, PathBuf};

use spillway_simulator::{
    Answerer, ProviderConfig, Running, ServedModel, Simulator, SimulatorConfig, Speed,
};
use tokio::net::TcpListener;

use super::{
    ACCESS_KEY, BEDROCK_MODEL, Bucket, DIALECTS, Etcd, POLICY, Process, Proxy, Stand, free_port,
    ready, spillway, text,
};

/// SHA-256 of [`super::KEY`].
const KEY_SHA256: &str = "7e0d95ecc40fdad53059baadd93e96c8fbc20415828c37ddfbc098d470296a25";

/// See the module.
pub(crate) struct Plan {
    proxies: usize,
    etcd: bool,
    bucket: bool,
    policy: String,
    answerer: Answerer,
    providers: Vec<ProviderConfig>,
    limits: String,
    elsewhere: Vec<(&'static str, String)>,
    sdks: Vec<(&'static str, &'static str)>,
    /// Who speaks a dialect below a path of its own.
    speaking: Vec<(&'static str, &'static str)>,
    /// Who wants signed requests, and the secret they are signed with.
    signed: Option<(&'static str, &'static str)>,
    import: Option<(PathBuf, PathBuf)>,
    speed: Speed,
}

impl Default for Plan {
    fn default() -> Self {
        let small = || ServedModel::new("small", 1_000, 2_000);
        let large = || ServedModel::new("large", 10_000, 20_000);
        Self {
            proxies: 1,
            etcd: true,
            bucket: false,
            policy: POLICY.to_owned(),
            answerer: Answerer::Echo,
            providers: vec![
                ProviderConfig::new("alpha", vec![small(), large()]),
                ProviderConfig::new("beta", vec![ServedModel::new("large", 11_000, 22_000)]),
            ],
            limits: String::new(),
            elsewhere: Vec::new(),
            sdks: Vec::new(),
            speaking: Vec::new(),
            signed: None,
            import: None,
            speed: Speed::Instant,
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

    /// History and jobs lie in a bucket.
    pub(crate) fn in_a_bucket(mut self) -> Self {
        self.bucket = true;
        self
    }

    /// One provider a dialect, each with a model of its own: `chat-1`, `responses-1`,
    /// `claude-1`, `gemini-3-sim`, `gemini-3-steps` and `claude-bedrock`.
    pub(crate) fn dialects(self) -> Self {
        let provider = |name: &str, model: &str| {
            ProviderConfig::new(name, vec![ServedModel::new(model, 1_000, 2_000)])
        };
        let providers = vec![
            provider("chat", "chat-1"),
            provider("responses", "responses-1"),
            provider("messages", "claude-1"),
            provider("gemini", "gemini-3-sim"),
            provider("interactions", "gemini-3-steps"),
            provider("converse", BEDROCK_MODEL),
        ];
        self.providers(Answerer::Echo, providers)
            .policy(DIALECTS)
            .speaks("gemini", "gemini-generate")
            .speaks("interactions", "gemini-interactions")
            .speaks("converse", "bedrock-converse")
            .takes_keys("chat", "openai")
            .takes_keys("messages", "anthropic")
            .takes_keys("gemini", "google")
    }

    /// Where the provider is asked; all but Google's and AWS's dialects share a path.
    pub(crate) fn speaks(mut self, provider: &'static str, dialect: &str) -> Self {
        let dialect = leaked(dialect);
        self.speaking.push((provider, dialect));
        self
    }

    /// The provider that keys are for which an SDK brings in its own header.
    pub(crate) fn takes_keys(mut self, provider: &'static str, sdk: &'static str) -> Self {
        self.sdks.push((provider, sdk));
        self
    }

    /// Requests to the provider are signed for AWS, by [`super::ACCESS_KEY`].
    pub(crate) fn signed(mut self, provider: &'static str, secret: &'static str) -> Self {
        self.signed = Some((provider, secret));
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

    /// Latencies pass as in life; else they do not pass at all.
    pub(crate) fn lifelike(mut self) -> Self {
        self.speed = Speed::Times(1.0);
        self
    }

    /// Imports a labelled set into history before the control plane starts.
    pub(crate) fn import(mut self, prompts: &Path, outcomes: &Path) -> Self {
        self.import = Some((prompts.to_owned(), outcomes.to_owned()));
        self
    }

    /// What proxies sign with, in their environment.
    fn aws_keys(&self) -> Vec<(String, String)> {
        let Some((_, secret)) = self.signed else {
            return Vec::new();
        };
        let keys = [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", secret),
        ];
        keys.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn url(&self, simulator: &Running, provider: &str) -> String {
        let speaking = self.speaking.iter().find(|(name, _)| *name == provider);
        match speaking.map(|(_, dialect)| *dialect) {
            Some("gemini-generate" | "gemini-interactions") => simulator.gemini_base_url(provider),
            Some("bedrock-converse") => simulator.bedrock_base_url(provider),
            _ => simulator.base_url(provider),
        }
    }

    /// Starts everything and waits until every proxy serves the first table.
    pub(crate) async fn start(self) -> Stand {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = SimulatorConfig {
            providers: self.providers.clone(),
            answerer: self.answerer.clone(),
            seed: 1,
            speed: self.speed,
        };
        let simulator = Simulator::start(config, listener).unwrap();
        let etcd = if self.etcd {
            Some(Etcd::start(&dir.path().join("etcd")).await)
        } else {
            None
        };
        let bucket = if self.bucket {
            Some(Bucket::start().await)
        } else {
            None
        };
        let environment = bucket.as_ref().map(Bucket::environment);
        let mut environment = environment.unwrap_or_default();
        environment.extend(self.aws_keys());
        if let Some((prompts, outcomes)) = &self.import {
            import(&dir.path().join("control"), prompts, outcomes).await;
        }
        let mut urls = self.elsewhere.clone();
        urls.extend(
            self.providers
                .iter()
                .map(|p| (leaked(&p.name), self.url(&simulator, &p.name))),
        );
        let site = Site {
            dir: dir.path(),
            grpc: free_port(),
            http: free_port(),
            urls,
            sdks: &self.sdks,
            signed: self.signed.map(|(provider, _)| provider),
            limits: &self.limits,
            bucket: self.bucket,
            environment: &environment,
        };
        let dashboard = format!("http://127.0.0.1:{}", site.http);
        let control_config = dir.path().join("control.toml");
        let (control, proxies) = match &etcd {
            Some(etcd) => {
                site.apart(&control_config, &self.policy, etcd, self.proxies)
                    .await
            }
            None => site.together(&control_config, &self.policy).await,
        };
        let simulator = Some(simulator);
        let stand = Stand {
            dir,
            etcd,
            bucket,
            environment,
            control,
            proxies,
            simulator,
            dashboard,
            control_config,
        };
        for proxy in &stand.proxies {
            ready(proxy).await;
        }
        stand
    }
}

/// Names of providers live as long as the test.
fn leaked(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

async fn import(data: &Path, prompts: &Path, outcomes: &Path) {
    fs::create_dir_all(data).unwrap();
    let history = data.join("history");
    let history = text(&history);
    let args = [
        "import",
        "--history",
        history,
        "--prompts",
        text(prompts),
        "--outcomes",
        text(outcomes),
    ];
    let done = spillway(&args).await;
    assert!(done.success, "{}", done.stderr);
}

/// Where the planes' files and sockets are.
struct Site<'a> {
    dir: &'a Path,
    grpc: u16,
    http: u16,
    urls: Vec<(&'static str, String)>,
    sdks: &'a [(&'static str, &'static str)],
    signed: Option<&'static str>,
    limits: &'a str,
    bucket: bool,
    environment: &'a [(String, String)],
}

impl Site<'_> {
    /// A control plane and proxies of their own, joined by etcd.
    async fn apart(
        &self,
        config: &Path,
        policy: &str,
        etcd: &Etcd,
        count: usize,
    ) -> (Process, Vec<Proxy>) {
        let endpoints = format!("etcd = [\"{}\"]\n", etcd.endpoint);
        fs::write(
            config,
            format!("version = 1\n{}", self.control(policy, &endpoints)),
        )
        .unwrap();
        let control = Process::start_in(
            self.environment,
            "control",
            &["control", "--config", text(config)],
            "public key",
        )
        .await;
        let output = control.output();
        let key = output
            .lines()
            .find_map(|line| line.strip_prefix("public key"))
            .unwrap();
        let key = key.split_whitespace().next().unwrap();
        let feed = format!("kind = \"etcd\"\nendpoints = [\"{}\"]", etcd.endpoint);
        let mut proxies = Vec::new();
        for index in 0..count {
            let (section, mut proxy) = self.proxy(index, &feed, &format!("\"{key}\""));
            fs::write(&proxy.config, format!("version = 1\n{section}")).unwrap();
            let args = ["proxy", "--config", text(&proxy.config)];
            let name = format!("proxy{index}");
            proxy.process = Process::start_in(self.environment, &name, &args, "serving apps").await;
            proxies.push(proxy);
        }
        (control, proxies)
    }

    /// Both in one process.
    async fn together(&self, config: &Path, policy: &str) -> (Process, Vec<Proxy>) {
        let (section, mut proxy) = self.proxy(0, "kind = \"local\"", "");
        fs::write(
            config,
            format!("version = 1\n{}{section}", self.control(policy, "")),
        )
        .unwrap();
        let args = ["all", "--config", text(config)];
        let process = Process::start_in(self.environment, "all", &args, "serving apps").await;
        proxy.config = config.to_owned();
        (process, vec![proxy])
    }

    fn control(&self, policy: &str, etcd: &str) -> String {
        let file = self.dir.join("policy.toml");
        fs::write(&file, policy).unwrap();
        let (grpc, http, data) = (self.grpc, self.http, self.dir.join("control"));
        let history = if self.bucket {
            format!("history = \"{}\"\n", Bucket::url("history"))
        } else {
            String::new()
        };
        format!(
            "[control]\ngrpc_listen = \"127.0.0.1:{grpc}\"\nhttp_listen = \"127.0.0.1:{http}\"\n\
             data_dir = {data:?}\npolicy = {file:?}\ntraining_labels = 0\n{history}{etcd}\n"
        )
    }

    /// A proxy's section, and the proxy without its process.
    fn proxy(&self, index: usize, feed: &str, trusted: &str) -> (String, Proxy) {
        let (listen, admin) = (free_port(), free_port());
        let (data, grpc) = (self.dir.join(format!("proxy{index}")), self.grpc);
        let (limits, folder) = (self.limits, self.dir.join("jobs"));
        let jobs = if self.bucket {
            format!("bucket = \"{}\"", Bucket::url("jobs"))
        } else {
            format!("folder = {folder:?}")
        };
        let mut section = format!(
            "[proxy]\nname = \"p{index}\"\nlisten = \"127.0.0.1:{listen}\"\n\
             admin_listen = \"127.0.0.1:{admin}\"\ndata_dir = {data:?}\n\
             control_plane = \"http://127.0.0.1:{grpc}\"\ntrusted_keys = [{trusted}]\n\
             [proxy.feed]\n{feed}\n[proxy.limits]\n{limits}\n[proxy.jobs]\n{jobs}\n\
             [[proxy.keys]]\nid = \"stand\"\nsha256 = \"{KEY_SHA256}\"\n"
        );
        for (id, url) in &self.urls {
            let sdk = self.sdks.iter().find(|(provider, _)| provider == id);
            let sdk = sdk
                .map(|(_, sdk)| format!("sdk = \"{sdk}\"\n"))
                .unwrap_or_default();
            let (region, credential) = if self.signed == Some(*id) {
                ("region = \"us-east-1\"\n", "aws = true")
            } else {
                ("", "none = true")
            };
            section.push_str(&format!(
                "[[proxy.providers]]\nid = \"{id}\"\nbase_url = \"{url}\"\nallow_private = true\n\
                 {sdk}{region}[[proxy.credentials]]\nname = \"{id}\"\n{credential}\n"
            ));
        }
        let proxy = Proxy {
            process: Process::none(),
            url: format!("http://127.0.0.1:{listen}"),
            admin: format!("http://127.0.0.1:{admin}"),
            config: self.dir.join(format!("proxy{index}.toml")),
        };
        (section, proxy)
    }
}
