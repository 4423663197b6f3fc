//! The simulator's life: start, accept, stop.
//!
//! Owns: the listener and every task. It must not know what happens on a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cache::PromptCache;
use crate::config::SimulatorConfig;
use crate::connection;
use crate::exchange::{Host, Stage};
use crate::ledger::Ledger;
use crate::script::Script;
use crate::shelf::Shelf;

/// More connections wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 16_384;
/// What a stop waits for answers under way before it cuts them.
const STOP_WAIT_MAX: Duration = Duration::from_secs(2);
/// The pause after a failed accept (too many open files, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The way to start one.
#[derive(Debug)]
pub struct Simulator;

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two providers have one name.
    #[error("two providers are called {0:?}")]
    RepeatedProvider(String),
    /// A name that is no path segment.
    #[error("provider name {0:?} is not made of letters, digits, '-', '_' and '.'")]
    ProviderName(String),
    /// The listener has no address.
    #[error("the listener has no address")]
    Listener(#[source] io::Error),
}

/// What went wrong while it ran.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// Tasks of the simulator panicked: whatever a test saw, it is not to be trusted.
    #[error("{tasks} task(s) of the simulator panicked, the first with: {first}")]
    Panicked {
        /// How many.
        tasks: usize,
        /// What the first said.
        first: String,
    },
}

impl Simulator {
    /// Starts to serve on this listener, on the current tokio runtime.
    pub fn start(config: SimulatorConfig, listener: TcpListener) -> Result<Running, StartError> {
        let address = listener.local_addr().map_err(StartError::Listener)?;
        let mut hosts = BTreeMap::new();
        let mut scripts = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for provider in config.providers {
            let name = provider.name;
            let fit = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            if name.is_empty() || !name.chars().all(fit) {
                return Err(StartError::ProviderName(name));
            }
            if !seen.insert(name.clone()) {
                return Err(StartError::RepeatedProvider(name));
            }
            let script = Script::new(config.seed, &name, provider.behaviour);
            scripts.insert(name.clone(), script.clone());
            let models = provider.models.into_iter();
            let host = Host {
                name: name.clone(),
                api_key: provider.api_key,
                models: models.map(|model| (model.name.clone(), model)).collect(),
                script,
                responses: Shelf::default(),
                interactions: Shelf::default(),
                cache: PromptCache::default(),
            };
            hosts.insert(name, host);
        }
        let stopping = CancellationToken::new();
        let ledger = Ledger::new(Instant::now());
        let stage = Arc::new(Stage {
            hosts,
            answerer: config.answerer,
            seed: config.seed,
            speed: config.speed,
            ledger: ledger.clone(),
            stopping: stopping.clone(),
        });
        Ok(Running {
            address,
            ledger,
            scripts,
            stopping,
            accepting: Some(tokio::spawn(accept(stage, listener))),
        })
    }
}

/// A simulator that runs. Dropping it stops it too, without a word about panics.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    ledger: Ledger,
    scripts: BTreeMap<String, Script>,
    stopping: CancellationToken,
    accepting: Option<JoinHandle<Result<(), StopError>>>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL of a provider (of this name or not), as the SDKs of OpenAI want it.
    /// Anthropic's wire is below it too, though Anthropic's SDKs add the `/v1` themselves.
    pub fn base_url(&self, provider: &str) -> String {
        format!("http://{}/{provider}/v1", self.address)
    }

    /// The same for Gemini's wire.
    pub fn gemini_base_url(&self, provider: &str) -> String {
        format!("http://{}/{provider}/v1beta", self.address)
    }

    /// The same for Bedrock's wire, as the SDKs of AWS want their `endpoint_url`.
    pub fn bedrock_base_url(&self, provider: &str) -> String {
        format!("http://{}/{provider}", self.address)
    }

    /// The record of all attempts.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// The handle that changes a provider's behaviour; `None` for an unknown one.
    pub fn script(&self, provider: &str) -> Option<Script> {
        self.scripts.get(provider).cloned()
    }

    /// Stops: no new connections, answers under way have two seconds to end, hanging
    /// ones are closed at once. Says whether any task panicked since the start.
    pub async fn stop(mut self) -> Result<(), StopError> {
        self.stopping.cancel();
        match self.accepting.take() {
            Some(accepting) => match accepting.await {
                Ok(ended) => ended,
                Err(error) => {
                    let mut connections = Connections::default();
                    connections.note(Err(error));
                    connections.verdict()
                }
            },
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// The tasks of all connections, and how many of them panicked.
#[derive(Debug, Default)]
struct Connections {
    tasks: JoinSet<()>,
    panicked: usize,
    first: Option<String>,
}

impl Connections {
    fn note(&mut self, ended: Result<(), JoinError>) {
        let Err(error) = ended else { return };
        let Ok(panic) = error.try_into_panic() else {
            return;
        };
        self.panicked += 1;
        let said = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        self.first
            .get_or_insert(said.unwrap_or_else(|| "no message".to_owned()));
    }

    async fn drain(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            self.note(ended);
        }
    }

    fn verdict(self) -> Result<(), StopError> {
        match self.first {
            None => Ok(()),
            Some(first) => Err(StopError::Panicked {
                tasks: self.panicked,
                first,
            }),
        }
    }
}

async fn accept(stage: Arc<Stage>, listener: TcpListener) -> Result<(), StopError> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            biased;
            () = stage.stopping.cancelled() => break,
            Some(ended) = connections.tasks.join_next() => connections.note(ended),
            accepted = listener.accept(), if places.available_permits() > 0 => {
                let place = Arc::clone(&places).try_acquire_owned();
                let (Ok((stream, _)), Ok(place)) = (accepted, place) else {
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let stage = Arc::clone(&stage);
                connections.tasks.spawn(async move {
                    connection::serve(stage, stream).await;
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    if timeout(STOP_WAIT_MAX, connections.drain()).await.is_err() {
        connections.tasks.abort_all();
        connections.drain().await;
    }
    connections.verdict()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_is_told_at_the_stop() {
        let mut connections = Connections::default();
        connections.tasks.spawn(async { panic!("out of answers") });
        connections.tasks.spawn(async {});
        connections.drain().await;
        let told = connections.verdict().unwrap_err().to_string();
        assert!(told.contains("1 task(s)") && told.contains("out of answers"));
    }
}
