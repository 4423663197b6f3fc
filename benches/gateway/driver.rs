//! The bench's own helpers as processes: the provider, and the generator once a measuring.
//!
//! Owns: starting them, talking to them, and what else was busy meanwhile. Knows neither
//! which gateway stands between the two nor what a measuring is for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::load::{Mode, Slot};
use crate::machine;

/// The provider's ports, all on the loopback address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) main: u16,
    pub(crate) bad: u16,
    pub(crate) good: u16,
    admin: u16,
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// This binary in one of its other roles, which ends when its standard input does.
fn role(words: &[String]) -> Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().context("its output is piped")?;
    Ok((child, BufReader::new(output).lines()))
}

pub(crate) struct Provider {
    pub(crate) ports: Ports,
    _child: Child,
}

impl Provider {
    pub(crate) async fn start() -> Result<Self> {
        let (child, mut lines) = role(&["mock".to_owned()])?;
        let line = lines.next_line().await?.context("the provider ended")?;
        let ports: Value = serde_json::from_str(&line)?;
        let port = |name: &str| {
            let port = ports[name].as_u64().and_then(|port| port.try_into().ok());
            port.context("a port")
        };
        let ports = Ports {
            main: port("main")?,
            bad: port("bad")?,
            good: port("good")?,
            admin: port("admin")?,
        };
        Ok(Self {
            ports,
            _child: child,
        })
    }

    async fn ask(&self, path: &str, body: &str) -> Result<Value> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: mock\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = Vec::new();
        let mut slot = Slot::new(local(self.ports.admin));
        let status = slot
            .ask(request.as_bytes(), |content| {
                answer.extend_from_slice(content)
            })
            .await;
        ensure!(status == Ok(200), "the provider said {status:?} to {path}");
        Ok(serde_json::from_slice(&answer)?)
    }

    /// How streams are written from now on.
    pub(crate) async fn script(&self, chunks: u64, first_ms: u64, gap_ms: u64) -> Result<()> {
        let script = json!({ "chunks": chunks, "first_ms": first_ms, "gap_ms": gap_ms });
        self.ask("/script", &script.to_string()).await.map(drop)
    }

    pub(crate) async fn forget(&self) -> Result<()> {
        self.ask("/forget", "").await.map(drop)
    }

    /// Requests at the port that always fails, since they were forgotten.
    pub(crate) async fn bad_requests(&self) -> Result<f64> {
        self.ask("/counts", "").await?["bad"]
            .as_f64()
            .context("a count")
    }
}

/// One use of the generator.
pub(crate) struct Load<'a> {
    pub(crate) mode: Mode,
    pub(crate) to: SocketAddr,
    pub(crate) request: &'a [u8],
    pub(crate) rate: f64,
    pub(crate) connections: u64,
    pub(crate) seconds: f64,
    pub(crate) warm: f64,
    pub(crate) ramp: f64,
    pub(crate) requests: Option<u64>,
    pub(crate) tokens: u64,
}

/// What the generator said, and what the machine did meanwhile.
pub(crate) struct Measured {
    pub(crate) told: Value,
    /// Of the gateway, all its processes.
    pub(crate) cpu_seconds: f64,
    pub(crate) wall: f64,
    /// Cores that were busy with what is none of ours.
    pub(crate) noise: f64,
}

impl Measured {
    pub(crate) fn number(&self, path: &str) -> f64 {
        self.told
            .pointer(path)
            .and_then(Value::as_f64)
            .unwrap_or(f64::NAN)
    }

    /// All failures, whatever the reason.
    pub(crate) fn failed(&self) -> f64 {
        let failed = self.told["failed"].as_object();
        let each = failed.into_iter().flat_map(|why| why.values());
        each.filter_map(Value::as_f64)
            .fold(0.0, |sum, count| sum + count)
    }

    /// CPU microseconds of the gateway for each of what was counted.
    pub(crate) fn cpu_us(&self, each: &str) -> f64 {
        self.cpu_seconds * 1e6 / self.number(each)
    }
}

impl Load<'_> {
    fn words(&self, file: &Path) -> Vec<String> {
        let mode = format!("{:?}", self.mode).to_lowercase();
        let mut words = vec!["load".to_owned(), mode];
        let options = [
            ("--to", self.to.to_string()),
            ("--request", file.display().to_string()),
            ("--rate", self.rate.to_string()),
            ("--connections", self.connections.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--warm", self.warm.to_string()),
            ("--ramp", self.ramp.to_string()),
            ("--tokens", self.tokens.to_string()),
        ];
        for (option, value) in options {
            words.extend([option.to_owned(), value]);
        }
        if let Some(requests) = self.requests {
            words.extend(["--requests".to_owned(), requests.to_string()]);
        }
        words
    }

    fn file(&self, folder: &Path) -> Result<PathBuf> {
        let file = folder.join("request");
        std::fs::write(&file, self.request)?;
        Ok(file)
    }

    /// Runs it to its end; `pid` is the gateway's.
    pub(crate) async fn run(&self, folder: &Path, pid: Option<u32>) -> Result<Measured> {
        let own = std::process::id();
        let cpu = |pid: Option<u32>| pid.map_or(0.0, machine::cpu_seconds);
        let before = (
            cpu(pid),
            machine::cpu_seconds(own),
            machine::busy_seconds(),
            Instant::now(),
        );
        let (mut child, mut lines) = role(&self.words(&self.file(folder)?))?;
        let line = lines.next_line().await?;
        child.wait().await?;
        let line = line.context("the generator said nothing")?;
        let wall = before.3.elapsed().as_secs_f64();
        // The gateway descends from this process, as all that is ours.
        let ours = machine::cpu_seconds(own) - before.1;
        let busy = machine::busy_seconds() - before.2;
        Ok(Measured {
            told: serde_json::from_str(&line)?,
            cpu_seconds: cpu(pid) - before.0,
            wall,
            noise: ((busy - ours) / wall).max(0.0),
        })
    }

    /// Holds streams while `seen` looks; returns how many, and what it saw.
    pub(crate) async fn hold<T>(&self, folder: &Path, seen: impl Fn() -> T) -> Result<(f64, T)> {
        let (mut child, mut lines) = role(&self.words(&self.file(folder)?))?;
        let line = lines.next_line().await?.context("no stream was held")?;
        let told: Value = serde_json::from_str(&line)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let saw = seen();
        drop(child.stdin.take());
        child.wait().await?;
        let holding = told["holding"].as_f64().context("how many are held")?;
        Ok((holding, saw))
    }
}
