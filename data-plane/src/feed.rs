//! Where tables come from, and what a proxy does with one.
//!
//! Owns: verify → swap → store → acknowledge, the same for every transport and for the
//! file of the last start. Whatever fails, the table being served goes on being served.
//! Requests never wait for anything here.

mod disk;
mod etcd;
mod verify;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use spillway_proto::envelope::{Bundle, PublicKey};
use spillway_proto::pb;
use spillway_routing::id::{ProxyId, TableVersion};
use spillway_routing::table::Table;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::disk::Disk;
use self::verify::{Refused, verify};
use crate::clock;
use crate::metrics::Metrics;

/// How often a proxy fed in process says that it is there.
const SAY_EVERY: Duration = Duration::from_secs(3);

/// The source of tables, brought by the caller.
#[derive(Debug)]
pub enum Feed {
    /// A cluster: pointer, chunks, and acknowledgements under a lease.
    Etcd { endpoints: Vec<String> },
    /// The same envelope bytes over a channel, for both planes in one process.
    Local {
        /// An encoded `Bundle`.
        tables: watch::Receiver<Option<Bytes>>,
        acks: mpsc::Sender<pb::Acknowledgement>,
    },
}

/// The one swap: what every request loads once.
pub(crate) type Current = Arc<ArcSwapOption<Table>>;

/// Takes tables, one after the other.
pub(crate) struct Keeper {
    current: Current,
    trusted: Arc<[PublicKey]>,
    disk: Disk,
    metrics: Arc<Metrics>,
    ack: pb::Acknowledgement,
}

impl Keeper {
    /// Opens the data folder.
    pub(crate) fn new(
        proxy: &ProxyId,
        address: String,
        folder: &Path,
        trusted: &[PublicKey],
        current: Current,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let ack = pb::Acknowledgement {
            proxy: proxy.to_string(),
            address,
            booted_at_ms: clock::now().0,
            ..pb::Acknowledgement::default()
        };
        let disk = Disk::open(folder)?;
        Ok(Self {
            current,
            trusted: trusted.into(),
            disk,
            metrics,
            ack,
        })
    }

    /// Starts with the last good table, if there is one.
    pub(crate) async fn load(&mut self) {
        for bundle in self.disk.load() {
            match self.verified(Arc::new(bundle)).await {
                Ok(table) => {
                    tracing::info!(version = %table.version(), "serving the stored table");
                    return self.swap(table);
                }
                Err(refused) => self.refuse(&refused),
            }
        }
    }

    /// Serves a feed until the end.
    pub(crate) async fn run(mut self, feed: Feed, shutdown: CancellationToken) {
        match feed {
            Feed::Etcd { endpoints } => etcd::run(&mut self, &endpoints, &shutdown).await,
            Feed::Local { tables, acks } => self.run_local(tables, &acks, &shutdown).await,
        }
    }

    async fn run_local(
        &mut self,
        mut tables: watch::Receiver<Option<Bytes>>,
        acks: &mpsc::Sender<pb::Acknowledgement>,
        shutdown: &CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(SAY_EVERY);
        tables.mark_changed();
        loop {
            tokio::select! {
                changed = tables.changed() => {
                    if changed.is_err() {
                        self.metrics.feed_connected.set(0);
                        return shutdown.cancelled().await;
                    }
                    self.metrics.feed_connected.set(1);
                    let bytes = tables.borrow_and_update().clone();
                    if let Some(bytes) = bytes {
                        self.take_encoded(&bytes).await;
                    }
                }
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return,
            }
            // A reader that is behind will get the next one.
            let _ = acks.try_send(self.ack.clone());
        }
    }

    async fn take_encoded(&mut self, bytes: &[u8]) {
        match Bundle::decode(bytes) {
            Ok(bundle) => self.take(bundle).await,
            Err(error) => {
                self.refuse(&Refused {
                    version: TableVersion(0),
                    flaw: error.to_string(),
                });
            }
        }
    }

    /// The version being served.
    fn newest(&self) -> Option<TableVersion> {
        self.current.load().as_ref().map(|table| table.version())
    }

    /// Verifies a bundle and serves it, or says why not.
    async fn take(&mut self, bundle: Bundle) {
        let version = verify::claimed_version(&bundle.signed);
        if self.newest() == Some(version) {
            return self.accepts();
        }
        let bundle = Arc::new(bundle);
        match self.verified(Arc::clone(&bundle)).await {
            Ok(table) => {
                tracing::info!(version = %table.version(), "serving a new table");
                self.swap(table);
                let disk = self.disk.clone();
                let stored = tokio::task::spawn_blocking(move || disk.store(&bundle)).await;
                if let Ok(Err(error)) = stored {
                    // It is served all the same; only a restart would miss it.
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the table cannot be stored"
                    );
                }
            }
            Err(refused) => self.refuse(&refused),
        }
    }

    async fn verified(&self, bundle: Arc<Bundle>) -> Result<Table, Refused> {
        let (trusted, newest) = (Arc::clone(&self.trusted), self.newest());
        let version = verify::claimed_version(&bundle.signed);
        let verifying = tokio::task::spawn_blocking(move || verify(&bundle, &trusted, newest));
        verifying.await.unwrap_or_else(|_| {
            let flaw = "verifying it panicked".to_owned();
            Err(Refused { version, flaw })
        })
    }

    fn swap(&mut self, table: Table) {
        let version = table.version();
        self.current.store(Some(Arc::new(table)));
        self.metrics
            .table_version
            .set(i64::try_from(version.0).unwrap_or(i64::MAX));
        self.ack.version = version.0;
        self.ack.since_ms = clock::now().0;
        self.accepts();
    }

    fn accepts(&mut self) {
        self.ack.refused_version = 0;
        self.ack.refusal.clear();
    }

    fn refuse(&mut self, refused: &Refused) {
        tracing::warn!(
            error = refused as &dyn std::error::Error,
            "still serving the last good table"
        );
        self.metrics.table_refused.inc();
        self.ack.refused_version = refused.version.0;
        self.ack.refusal.clone_from(&refused.flaw);
    }
}

#[cfg(test)]
mod tests;
