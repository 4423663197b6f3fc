//! `spillway control`, `spillway proxy`, `spillway all`: the planes as configured.
//!
//! Owns: from a configuration file to a serving process.

use std::path::Path;

use anyhow::Context as _;
use spillway_control_plane::config::Config as ControlConfig;
use spillway_control_plane::{ControlPlane, Listeners};
use spillway_data_plane::Config as ProxyConfig;

use crate::bucket;
use crate::config::{self, File};
use crate::embedded::{self, Embedded};
use crate::output::say;
use crate::shutdown;

fn control_of(file: &File, path: &Path) -> anyhow::Result<ControlConfig> {
    let raw = file
        .control
        .clone()
        .with_context(|| format!("{} has no [control] section", path.display()))?;
    Ok(ControlConfig::resolve(raw, &bucket::open)?)
}

fn proxy_of(file: &File, path: &Path) -> anyhow::Result<ProxyConfig> {
    let raw = file
        .proxy
        .clone()
        .with_context(|| format!("{} has no [proxy] section", path.display()))?;
    ProxyConfig::resolve(raw, &config::environment, &bucket::open)
        .with_context(|| format!("{} [proxy]", path.display()))
}

pub(crate) async fn control(path: &Path) -> anyhow::Result<()> {
    let config = control_of(&config::read(path)?, path)?;
    let listeners = Listeners::bind(&config).await.context("cannot listen")?;
    let plane = ControlPlane::open(config).await?;
    announce(&plane, listeners.http_address()?);
    plane.run(listeners, shutdown::token()?).await?;
    Ok(())
}

pub(crate) async fn proxy(path: &Path) -> anyhow::Result<()> {
    let config = proxy_of(&config::read(path)?, path)?;
    let listeners = embedded::bind(&config).await?;
    let feed = embedded::feed_of(&config)?;
    say!("serving apps on http://{}/v1", listeners.data.local_addr()?);
    spillway_data_plane::run(config, listeners, feed, shutdown::token()?).await?;
    Ok(())
}

pub(crate) async fn all(path: &Path) -> anyhow::Result<()> {
    let file = config::read(path)?;
    let control = control_of(&file, path)?;
    let planes = Embedded::open(control, |grpc, public_key| {
        let mut raw = file
            .proxy
            .clone()
            .with_context(|| format!("{} has no [proxy] section", path.display()))?;
        raw.control_plane
            .get_or_insert_with(|| format!("http://{grpc}"));
        if raw.trusted_keys.is_empty() {
            raw.trusted_keys.push(public_key.to_owned());
        }
        ProxyConfig::resolve(raw, &config::environment, &bucket::open)
            .with_context(|| format!("{} [proxy]", path.display()))
    });
    let planes = planes.await?;
    announce(&planes.control, planes.dashboard_address()?);
    say!("serving apps on http://{}/v1", planes.proxy_address()?);
    Box::pin(planes.run(shutdown::token()?)).await
}

fn announce(plane: &ControlPlane, http: std::net::SocketAddr) {
    say!(
        "dashboard    http://{http}/#token={}",
        plane.token().reveal()
    );
    say!(
        "public key   {}   (proxies name it in trusted_keys)",
        plane.public_key()
    );
}
