//! Spillway as in production: etcd, control plane and one proxy, with keys, metrics,
//! outcomes and history.
//!
//! Owns: its policy, and which of its processes runs on which core: the proxy has the
//! gateway's, the others have what nobody else wants of the side's. The processes themselves are the tests' stand.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{CHAT, Gateway, Held, Kind, first_answer, text};
use crate::driver::{Ports, local};
use crate::machine::{Spawned, move_to_gateway_core, step_back, variable};
use crate::requests::Target;
use crate::stand::{KEY, Stand};

/// Three models that may answer on `auto`, of which the cheapest is good enough, and one
/// model at two providers on `failover`, of which the cheaper always fails.
const POLICY: &str = r#"
version = 1

[models.small]
prior = 0.88
context = 2000000
[models.medium]
prior = 0.92
context = 2000000
[models.large]
prior = 0.95
context = 2000000
[models.paired]
prior = 0.90
context = 2000000

[[upstreams]]
provider = "main"
models = ["small"]
prices.standard = { input = 0.5, output = 1.0 }
[[upstreams]]
provider = "main"
models = ["medium"]
prices.standard = { input = 2.0, output = 8.0 }
[[upstreams]]
provider = "main"
models = ["large"]
prices.standard = { input = 10.0, output = 30.0 }
[[upstreams]]
provider = "bad"
models = ["paired"]
prices.standard = { input = 0.5, output = 1.0 }
[[upstreams]]
provider = "good"
models = ["paired"]
prices.standard = { input = 2.0, output = 8.0 }

[routes.auto]
models = ["small", "medium", "large"]
baseline = "large"
bar = 0.85

[routes.failover]
models = ["paired"]
baseline = "paired"
"#;

/// Thousands of streams are held at one lane, and nothing comes on them.
const LIMITS: &str = "lane_in_flight = 20000\nconnections = 20000\nidle_ms = 600000";

/// The binary of this build, as optimised as the bench; `SPILLWAY_BIN` names another.
pub(super) fn binary() -> String {
    variable("SPILLWAY_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_spillway").to_owned())
}

fn target(stand: &Stand, route: &str) -> Result<Target> {
    let port = stand.url().rsplit(':').next().context("a port")?;
    Ok(Target {
        to: local(port.parse()?),
        path: CHAT.to_owned(),
        model: route.to_owned(),
        headers: vec![("authorization", format!("Bearer {KEY}"))],
    })
}

pub(super) async fn start(ports: Ports) -> Result<Gateway> {
    let began = Instant::now();
    let url = |port: u16| format!("http://{}/v1", local(port));
    let stand = Stand::new()
        .policy(POLICY)
        .limits(LIMITS)
        .provider_at("main", &url(ports.main))
        .provider_at("bad", &url(ports.bad))
        .provider_at("good", &url(ports.good))
        .start()
        .await;
    let pid = stand.proxies[0].process.pid();
    move_to_gateway_core(pid).await?;
    step_back(stand.control.pid()).await?;
    if let Some(etcd) = &stand.etcd {
        step_back(etcd.pid()).await?;
    }
    Ok(Gateway {
        kind: Kind::Spillway,
        plain: target(&stand, "auto")?,
        failover: Some(target(&stand, "failover")?),
        pid: Some(pid),
        first_answer: began.elapsed(),
        held: Held::Spillway(Box::new(stand)),
    })
}

/// The proxy started again over its last good table.
pub(super) async fn cold_starts(
    stand: &mut Stand,
    target: &Target,
    folder: &Path,
) -> Result<Vec<(String, Duration)>> {
    stand.proxies[0].process.terminate().await;
    stand.proxies[0].process.ended().await;
    let config = text(&stand.dir.path().join("proxy0.toml"))?;
    let words = ["proxy", "--config", &config].map(str::to_owned);
    let words = [vec![binary()], words.to_vec()].concat();
    let mut found = Vec::new();
    for case in ["etcd up", "etcd down"] {
        if case == "etcd down"
            && let Some(etcd) = &mut stand.etcd
        {
            etcd.kill().await;
        }
        let began = Instant::now();
        let mut process = Spawned::start(&words, folder, &[])?;
        let took = first_answer(target, &mut process, began).await?;
        process.stop().await;
        found.push((case.to_owned(), took));
    }
    Ok(found)
}
