//! An embedded Spillway for a simulation.
//!
//! Owns: its directory, its two planes on free ports, and asking the proxy how far it is.
//! Knows neither prompts nor what is measured.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use spillway_control_plane::config::{Config as ControlConfig, RawConfig as RawControl};
use spillway_control_plane::control::Control;
use spillway_data_plane::config::{RawCredential, RawFeed, RawLimits, RawProvider};
use spillway_data_plane::{Config as ProxyConfig, RawConfig as RawProxy};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bucket;
use crate::embedded::Embedded;
use crate::offline::recorded::PROVIDER;

/// How often and how long the proxy is asked whether it is where it should be.
const ASKED_EVERY: Duration = Duration::from_millis(10);
const ASKED_FOR: Duration = Duration::from_secs(120);

/// Both planes, serving.
pub(super) struct Planes {
    pub(super) url: String,
    pub(super) control: Arc<Control>,
    admin: SocketAddr,
    serving: JoinHandle<anyhow::Result<()>>,
    _dir: Scratch,
}

/// A directory that goes away with the simulation.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies in the system's temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Planes {
    /// Serves on free ports until `stop`; trains only when asked to.
    pub(super) async fn start(
        provider_url: &str,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let name = format!("spillway-simulate-{}", uuid::Uuid::now_v7().simple());
        let dir = Scratch(std::env::temp_dir().join(name));
        let control = ControlConfig::resolve(
            RawControl {
                grpc_listen: "127.0.0.1:0".to_owned(),
                http_listen: "127.0.0.1:0".to_owned(),
                data_dir: dir.0.join("control"),
                history: None,
                etcd: Vec::new(),
                signing_key: None,
                policy: None,
                behind_tls_proxy: false,
                training_interval_s: 3_600,
                training_labels: 0,
            },
            &bucket::open,
        )?;
        let planes =
            Embedded::open(control, |grpc, key| proxy(&dir.0, grpc, key, provider_url)).await?;
        let url = format!("http://{}", planes.proxy_address()?);
        let admin = planes.admin_address()?;
        let control = planes.control.control();
        let serving = tokio::spawn(planes.run(stop.clone()));
        Ok(Self {
            url,
            control,
            admin,
            serving,
            _dir: dir,
        })
    }

    /// Waits until the proxy serves the current table: what came earlier would be refused.
    pub(super) async fn until_current(&self) -> anyhow::Result<()> {
        let version = self.control.publisher.current_version().await?;
        let serving = format!("serving table {version}\n");
        let what = format!("the embedded proxy did not take table {version}");
        self.until("/readyz", |text| text == serving)
            .await
            .context(what)
    }

    /// Waits until one of the proxy's figures is zero.
    pub(super) async fn until_none(&self, metric: &str) -> anyhow::Result<()> {
        let none = format!("\n{metric} 0\n");
        self.until("/metrics", |text| text.contains(&none))
            .await
            .with_context(|| format!("{metric} did not come down to zero"))
    }

    /// The sum of a metric's series.
    pub(super) async fn figure(&self, metric: &str) -> anyhow::Result<f64> {
        let text = self.ask("/metrics").await?;
        let series = text.lines().filter(|line| line.starts_with(metric));
        Ok(series
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    async fn until(&self, path: &str, is: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        let asked = async {
            while !self.ask(path).await.is_ok_and(|text| is(&text)) {
                tokio::time::sleep(ASKED_EVERY).await;
            }
        };
        tokio::time::timeout(ASKED_FOR, asked)
            .await
            .context("waited long enough")
    }

    async fn ask(&self, path: &str) -> anyhow::Result<String> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let uri: Uri = format!("http://{}{path}", self.admin).parse()?;
        let body = client.get(uri).await?.into_body().collect().await?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }

    /// After `stop`: waits for the end.
    pub(super) async fn ended(self) -> anyhow::Result<()> {
        self.serving
            .await
            .context("the embedded Spillway stopped")?
    }
}

fn proxy(
    dir: &Path,
    grpc: SocketAddr,
    public_key: &str,
    provider_url: &str,
) -> anyhow::Result<ProxyConfig> {
    let raw = RawProxy {
        jobs: None,
        name: "simulate".to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        behind_tls_proxy: false,
        data_dir: dir.join("proxy"),
        control_plane: Some(format!("http://{grpc}")),
        feed: RawFeed::Local,
        trusted_keys: vec![public_key.to_owned()],
        providers: vec![RawProvider {
            id: PROVIDER.to_owned(),
            base_url: provider_url.to_owned(),
            allow_private: true,
            auth: None,
            sdk: None,
            region: None,
        }],
        credentials: vec![RawCredential {
            name: PROVIDER.to_owned(),
            none: true,
            ..RawCredential::default()
        }],
        keys: Vec::new(),
        require_keys: false,
        limits: RawLimits::default(),
    };
    Ok(ProxyConfig::resolve(raw, &|_: &str| None, &bucket::open)?)
}
