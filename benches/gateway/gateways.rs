//! The gateways: which there are, which are installed, and starting one.
//!
//! Owns: what is common to all of them, and that one which was started answers before
//! anything is measured. How each is configured is [`peers`]' and [`spillway`]'s matter.
//! Knows nothing of what is measured.

mod peers;
mod spillway;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::driver::{Ports, local};
use crate::load::Slot;
use crate::machine::{Spawned, program, variable};
use crate::requests::Target;
use crate::stand::Stand;

/// How long a gateway may take to its first answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);
const CHAT: &str = "/v1/chat/completions";

/// In the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// No gateway at all.
    Direct,
    Nginx,
    Haproxy,
    Envoy,
    Tensorzero,
    Portkey,
    Litellm,
    Spillway,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Tensorzero => "tensorzero",
            Self::Portkey => "portkey",
            Self::Litellm => "litellm",
            Self::Spillway => "spillway",
        }
    }

    /// Why it cannot be measured here, if so.
    pub(crate) fn missing(self) -> Option<String> {
        let on_path = |name: &str| {
            let found = program(name).is_some();
            (!found).then(|| format!("{name} is not on PATH"))
        };
        let by_variable = |name: &str| match variable(name) {
            None => Some(format!("{name} is not set")),
            Some(path) if program(&path).is_none() => Some(format!("{name}: no {path}")),
            Some(_) => None,
        };
        match self {
            Self::Direct => None,
            Self::Nginx => on_path("nginx"),
            Self::Haproxy => on_path("haproxy"),
            Self::Envoy => by_variable("ENVOY_BIN").and_then(|why| {
                let found = program("envoy").is_some();
                (!found).then(|| format!("{why}, nor is envoy on PATH"))
            }),
            Self::Tensorzero => by_variable("TENSORZERO_PY"),
            Self::Portkey => by_variable("PORTKEY_JS").or_else(|| on_path("node")),
            Self::Litellm => by_variable("LITELLM_BIN").and_then(|why| {
                let found = program("litellm").is_some();
                (!found).then(|| format!("{why}, nor is litellm on PATH"))
            }),
            Self::Spillway => on_path("etcd"),
        }
    }

    /// What the tables are of: the program, and what it says of its version.
    pub(crate) async fn version(self) -> String {
        let command = match self {
            Self::Nginx => vec!["nginx".to_owned(), "-v".to_owned()],
            Self::Haproxy => vec!["haproxy".to_owned(), "-v".to_owned()],
            Self::Envoy => vec![peers::envoy(), "--version".to_owned()],
            Self::Spillway => vec![spillway::binary(), "--version".to_owned()],
            Self::Tensorzero => return variable("TENSORZERO_PY").unwrap_or_default(),
            Self::Portkey => return variable("PORTKEY_JS").unwrap_or_default(),
            Self::Litellm => return peers::litellm(),
            Self::Direct => return "no gateway".to_owned(),
        };
        let told = tokio::process::Command::new(&command[0])
            .args(&command[1..])
            .output()
            .await;
        let told = told.map(|told| [told.stdout, told.stderr].concat());
        let told = String::from_utf8_lossy(&told.unwrap_or_default()).into_owned();
        let first = told.lines().find(|line| !line.trim().is_empty());
        format!("{} ({})", first.unwrap_or("?").trim(), command[0])
    }
}

/// What runs, and ends with this.
enum Held {
    Nothing,
    Peer(Box<Spawned>),
    Spillway(Box<Stand>),
}

/// One that answers.
pub(crate) struct Gateway {
    pub(crate) kind: Kind,
    pub(crate) plain: Target,
    /// The route whose cheaper lane always answers 503.
    pub(crate) failover: Option<Target>,
    pub(crate) pid: Option<u32>,
    /// From its start to its first answer.
    first_answer: Duration,
    held: Held,
}

impl Gateway {
    /// Starts one in a folder of its own.
    pub(crate) async fn start(kind: Kind, ports: Ports, folder: &Path) -> Result<Self> {
        match kind {
            Kind::Direct => Ok(Self {
                kind,
                plain: Target {
                    to: local(ports.main),
                    path: CHAT.to_owned(),
                    model: "mock-model".to_owned(),
                    headers: Vec::new(),
                },
                failover: None,
                pid: None,
                first_answer: Duration::ZERO,
                held: Held::Nothing,
            }),
            Kind::Spillway => spillway::start(ports).await,
            peer => peers::start(peer, ports, folder).await,
        }
    }

    pub(crate) async fn stop(self) {
        match self.held {
            Held::Peer(process) => process.stop().await,
            Held::Nothing | Held::Spillway(_) => {}
        }
    }

    /// Times from start to first answer, each with the case it is of. A gateway that keeps
    /// a table is started again over it, with and without the place it came from.
    pub(crate) async fn cold_starts(&mut self, folder: &Path) -> Result<Vec<(String, Duration)>> {
        match &mut self.held {
            Held::Spillway(stand) => spillway::cold_starts(stand, &self.plain, folder).await,
            _ => Ok(vec![(String::new(), self.first_answer)]),
        }
    }
}

/// Asks until the first 200; how long after `since` it came.
async fn first_answer(target: &Target, process: &mut Spawned, since: Instant) -> Result<Duration> {
    let request = target.request("Are you there?", false);
    while since.elapsed() < ANSWERS_WITHIN {
        if Slot::new(target.to).ask(&request, |_| {}).await == Ok(200) {
            return Ok(since.elapsed());
        }
        process.check()?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!(
        "no answer within {ANSWERS_WITHIN:?}:\n{}",
        process.last_words()
    )
}

/// A path as a word of a command.
fn text(path: &Path) -> Result<String> {
    let text = path.to_str().context("a path that is text")?;
    Ok(text.to_owned())
}
