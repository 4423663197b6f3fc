//! `spillway demo`: everything in one process, with simulated providers and traffic.
//!
//! Owns: the demo's story. A small world of models with different skills stands behind
//! three providers; a history of audited prompts lets the first training run learn
//! which model is good at what; light traffic with feedback shows it at work.

mod story;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use spillway_control_plane::config::{Config as ControlConfig, RawConfig as RawControl};
use spillway_control_plane::control::{Control, now};
use spillway_control_plane::training;
use spillway_data_plane::config::{RawCredential, RawFeed, RawKey, RawLimits, RawProvider};
use spillway_data_plane::{Config as ProxyConfig, RawConfig as RawProxy};
use spillway_simulator::{Answerer, Load, Simulator, TrafficConfig, World, play};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::bucket;
use crate::command::DemoArgs;
use crate::embedded::Embedded;
use crate::output::say;
use crate::shutdown;

/// The demo's own key; it opens nothing but simulated models.
const KEY: &str = "sk-spillway-demo";
const KEY_VARIABLE: &str = "SPILLWAY_DEMO_KEY";
const SEED: u64 = 7;
/// What one run of the traffic client takes: two weeks at the default rate.
const REQUESTS_MAX: u64 = 5_000_000;
/// Traffic starts behind the prompts that were audited.
const FIRST_LIVE_PROMPT: u64 = 1_000_000;

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let shutdown = shutdown::token()?;
    let temporary;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => {
            temporary = Temporary::new()?;
            temporary.0.clone()
        }
    };
    let world = Arc::new(World::new(SEED));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let providers = Simulator::start(story::simulator(&world, SEED), listener)?;
    let policy = dir.join("policy.toml");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::fs::write(&policy, story::policy(&world))
        .with_context(|| format!("cannot write {}", policy.display()))?;
    let control = ControlConfig::resolve(
        RawControl {
            grpc_listen: "127.0.0.1:0".to_owned(),
            http_listen: args.dashboard.clone(),
            data_dir: dir.join("control"),
            history: None,
            etcd: Vec::new(),
            signing_key: None,
            policy: Some(policy),
            behind_tls_proxy: false,
            training_interval_s: 60,
            training_labels: 500,
        },
        &bucket::open,
    )?;
    let urls: Vec<(&str, String)> = story::PROVIDERS
        .iter()
        .map(|id| (*id, providers.base_url(id)))
        .collect();
    let planes = Embedded::open(control, |grpc, key| {
        proxy(&args.listen, &dir, grpc, key, &urls)
    })
    .await?;
    let (app, dashboard) = (planes.proxy_address()?, planes.dashboard_address()?);
    let token = planes.control.token().reveal().to_owned();
    let shared = planes.control.control();
    let serving = tokio::spawn(planes.run(shutdown.clone()));
    tokio::select! {
        prepared = prepare(&shared, &world) => prepared?,
        () = shutdown.cancelled() => {}
    }
    welcome(app, dashboard, &token, &world);
    let traffic = tokio::spawn(traffic(app, Arc::clone(&world), args.rps, shutdown.clone()));
    let served = serving.await;
    shutdown.cancel();
    traffic.await.context("the traffic stopped")?;
    providers.stop().await?;
    served.context("the planes stopped")?
}

/// A directory that goes away with the demo.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> anyhow::Result<Self> {
        let name = format!("spillway-demo-{}", uuid::Uuid::now_v7().simple());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn proxy(
    listen: &str,
    dir: &Path,
    grpc: SocketAddr,
    public_key: &str,
    urls: &[(&str, String)],
) -> anyhow::Result<ProxyConfig> {
    let raw = RawProxy {
        jobs: None,
        name: "demo".to_owned(),
        listen: listen
            .parse()
            .with_context(|| format!("--listen {listen:?} is no address"))?,
        admin_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        behind_tls_proxy: false,
        data_dir: dir.join("proxy"),
        control_plane: Some(format!("http://{grpc}")),
        feed: RawFeed::Local,
        trusted_keys: vec![public_key.to_owned()],
        providers: urls
            .iter()
            .map(|(id, url)| RawProvider {
                id: (*id).to_owned(),
                base_url: url.clone(),
                allow_private: true,
                auth: None,
                sdk: None,
                region: None,
            })
            .collect(),
        credentials: urls
            .iter()
            .map(|(id, _)| RawCredential {
                name: (*id).to_owned(),
                none: true,
                ..RawCredential::default()
            })
            .collect(),
        keys: vec![RawKey {
            id: "demo".to_owned(),
            sha256: None,
            env: Some(KEY_VARIABLE.to_owned()),
            routes: None,
            tags: std::collections::BTreeMap::new(),
        }],
        require_keys: false,
        limits: RawLimits {
            drain_ms: 2_000,
            ..RawLimits::default()
        },
    };
    let environment = |name: &str| (name == KEY_VARIABLE).then(|| KEY.to_owned());
    Ok(ProxyConfig::resolve(raw, &environment, &bucket::open)?)
}

/// Imports the audited prompts and waits for the first training run.
async fn prepare(control: &Arc<Control>, world: &Arc<World>) -> anyhow::Result<()> {
    if control.history.counts().await?.audits.rows == 0 {
        let world = Arc::clone(world);
        let audits = tokio::task::spawn_blocking(move || story::audits(&world, now())).await?;
        control.history.append_audits("demo", &audits).await?;
    }
    // The first policy is published in the background; a run needs it.
    while control.policies.current().await?.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut progress = control.runs.watch();
    let run = training::start(control).await?;
    progress
        .wait_for(|p| {
            p.as_ref()
                .is_some_and(|p| p.run == run && p.ended.is_some())
        })
        .await?;
    Ok(())
}

fn welcome(app: SocketAddr, dashboard: SocketAddr, token: &str, world: &World) {
    // Plain words only, so that the line can be pasted into any shell.
    let plain = |text: &str| text.len() < 160 && !text.contains(['\'', '"', '\\', '\n', '!']);
    let mut prompts = (FIRST_LIVE_PROMPT..).map(|number| world.prompt(number).text);
    let prompt = prompts.find(|text| plain(text)).unwrap_or_default();
    say!("Spillway is running with simulated providers; nothing here costs money.\n");
    say!("  endpoint    http://{app}/v1");
    say!("  key         {KEY}");
    say!("  dashboard   http://{dashboard}/#token={token}\n");
    say!("Try one request:\n");
    say!("  curl -i http://{app}/v1/chat/completions \\");
    say!("    -H 'authorization: Bearer {KEY}' -H 'content-type: application/json' \\");
    say!(
        "    -d '{{\"model\": \"auto\", \"messages\": [{{\"role\": \"user\", \"content\": \"{prompt}\"}}]}}'\n"
    );
    say!("Stop with Ctrl-C.");
}

/// Light traffic with feedback, until the end.
async fn traffic(app: SocketAddr, world: Arc<World>, rps: f64, stop: CancellationToken) {
    if rps <= 0.0 {
        return;
    }
    let oracle = Answerer::World(world);
    let mut config = TrafficConfig::new(
        format!("http://{app}/v1"),
        "auto".to_owned(),
        oracle,
        REQUESTS_MAX,
    );
    config.key = Some(KEY.to_owned());
    config.first_prompt = FIRST_LIVE_PROMPT;
    config.load = Load::Open {
        requests_per_second: rps,
    };
    config.duration_max = Duration::from_secs(365 * 24 * 3_600);
    config.stop = stop;
    if let Err(error) = play(config).await {
        tracing::warn!(error = %error, "the simulated traffic stopped");
    }
}
