//! The control plane: operators' policy, recorded outcomes, training, publishing, fleet,
//! what-if, and the doors to all of it.
//!
//! Owns: everything that is not on a request's path. With all of it dead the proxies go
//! on serving. Knows nothing of the data plane and calls no provider.
//!
//! Reading order: [`policy`], [`publish`], [`control`], [`training`], [`whatif`], then
//! the doors.

pub mod alarms;
pub mod catalogue;
pub mod config;
pub mod control;
pub mod error;
pub mod fleet;
mod hours;
mod http;
pub mod metrics;
mod outcomes;
pub mod policies;
pub mod policy;
pub mod priors;
pub mod publish;
mod reconcilers;
mod service;
pub mod store;
pub mod token;
pub mod training;
pub mod whatif;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use spillway_history::{History, HistoryError};
use spillway_proto::envelope::PublicKey;
use spillway_proto::pb;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::Control;
use crate::error::ControlError;
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::policies::Policies;
use crate::publish::Publisher;
use crate::store::{Store, StoreError};
use crate::token::{AdminToken, SecretError, signing_key};
use crate::training::Runs;

/// Acknowledgements of an embedded proxy that wait to be read.
const ACKNOWLEDGEMENTS: usize = 64;
/// What is being answered may take so long after shutdown was asked.
const DRAIN: Duration = Duration::from_secs(2);

/// Why the control plane did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(
        "the data directory {path} cannot be made or written; make it writable or name another"
    )]
    DataDir {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the policy file {path} cannot be read")]
    PolicyFile {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the history cannot be opened")]
    History(#[from] HistoryError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("the metrics could not be registered")]
    Metrics(#[from] prometheus::Error),
    #[error("gRPC could not be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("gRPC stopped serving")]
    Grpc(#[from] tonic::transport::Error),
    #[error("a door stopped serving")]
    Io(#[from] std::io::Error),
}

/// The sockets, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    pub grpc: TcpListener,
    pub http: TcpListener,
}

impl Listeners {
    /// Binds what the settings name.
    ///
    /// # Errors
    ///
    /// If an address is taken.
    pub async fn bind(config: &Config) -> std::io::Result<Self> {
        Ok(Self {
            grpc: TcpListener::bind(config.grpc_listen).await?,
            http: TcpListener::bind(config.http_listen).await?,
        })
    }

    /// # Errors
    ///
    /// If the socket has no address any more.
    pub fn http_address(&self) -> std::io::Result<SocketAddr> {
        self.http.local_addr()
    }
}

/// What an embedded proxy needs: tables in, acknowledgements out, the same bytes as
/// over etcd.
#[derive(Debug)]
pub struct EmbeddedLink {
    pub tables: watch::Receiver<Option<Bytes>>,
    pub acknowledgements: mpsc::Sender<pb::Acknowledgement>,
}

/// A control plane that is set up but does not serve yet.
#[derive(Debug)]
pub struct ControlPlane {
    config: Config,
    control: Arc<Control>,
    token: AdminToken,
    public_key: PublicKey,
    heard: mpsc::Receiver<pb::Acknowledgement>,
    link: Option<EmbeddedLink>,
}

impl ControlPlane {
    /// Opens history and store, reads or mints keys, and publishes the first policy.
    ///
    /// # Errors
    ///
    /// If any of it cannot be used; says what to do.
    pub async fn open(config: Config) -> Result<Self, RunError> {
        let dir = &config.data_dir;
        let made = std::fs::create_dir_all(dir);
        made.map_err(|source| RunError::DataDir {
            path: dir.clone(),
            source,
        })?;
        let token = AdminToken::load(dir)?;
        let key = signing_key(
            config
                .signing_key
                .as_ref()
                .unwrap_or(&dir.join("signing.key")),
        )?;
        let public_key = key.public();
        let history = Arc::new(match &config.history {
            Some((bucket, prefix)) => History::open(Arc::clone(bucket), prefix)?,
            None => History::local(&dir.join("history"))?,
        });
        let store = if config.etcd.is_empty() {
            Store::local(&dir.join("store"))?
        } else {
            Store::etcd(&config.etcd).await?
        };
        let store = Arc::new(store);
        let (acknowledgements, heard) = mpsc::channel(ACKNOWLEDGEMENTS);
        let link = match &*store {
            Store::Local(local) => Some(EmbeddedLink {
                tables: local.bundles(),
                acknowledgements,
            }),
            Store::Etcd(_) => None,
        };
        let control = Arc::new(Control {
            publisher: Publisher::new(Arc::clone(&store), key),
            policies: Policies::new(Arc::clone(&store)),
            store,
            history,
            fleet: Fleet::default(),
            runs: Runs::default(),
            metrics: Metrics::new()?,
        });
        Ok(Self {
            config,
            control,
            token,
            public_key,
            heard,
            link,
        })
    }

    /// What proxies must trust.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The operators' token.
    #[must_use]
    pub fn token(&self) -> &AdminToken {
        &self.token
    }

    /// Everything behind the doors, for the offline commands and the demo.
    #[must_use]
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// For a proxy in the same process; `None` over etcd, and when taken already.
    pub fn embedded_link(&mut self) -> Option<EmbeddedLink> {
        self.link.take()
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    ///
    /// If a door stops serving.
    pub async fn run(
        self,
        listeners: Listeners,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let policy = first_policy(&self.config)?;
        let background =
            reconcilers::spawn(&self.control, &self.config, policy, self.heard, &shutdown);
        let grpc = service::router(Arc::clone(&self.control), self.token.clone()).await?;
        let incoming = TcpListenerStream::new(listeners.grpc);
        let grpc = grpc.serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
        let router = http::router(Arc::clone(&self.control), self.token);
        let http = axum::serve(listeners.http, router)
            .with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let doors = async {
            let grpc = async { grpc.await.map_err(RunError::from) };
            let http = async { http.await.map_err(RunError::from) };
            tokio::try_join!(grpc, http).map(|_| ())
        };
        // Proxies hold their report streams open for ever: they are left after a while.
        let grace = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        let served = tokio::select! {
            served = doors => served,
            () = grace => Ok(()),
        };
        shutdown.cancel();
        for task in background {
            // A reconciler that panicked has logged why; the doors were not its fault.
            let _ = task.await;
        }
        served
    }
}

fn first_policy(config: &Config) -> Result<Option<String>, RunError> {
    let Some(path) = &config.policy else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path);
    text.map(Some).map_err(|source| RunError::PolicyFile {
        path: path.clone(),
        source,
    })
}
