//! The proxy: accept, decide, call, stream, account, report.
//!
//! Owns: [`run`], and `Proxy`, the state that every request shares. Knows the control
//! plane only as an address that takes outcomes, and etcd only as a source of tables;
//! it serves without both.

mod accept;
mod allowance;
mod audit;
mod auth;
mod aws;
mod bills;
mod caches;
mod chat;
mod clock;
pub mod config;
mod conversation;
mod dialect;
mod exchange;
pub mod failure;
mod feed;
mod health;
mod inbound;
mod jobs;
mod ledger;
mod metrics;
mod own_keys;
mod report;
pub mod secret;
mod serve;
mod spend;
mod stream;
mod upstream;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use spillway_routing::conditions::Conditions;
use spillway_routing::id::ProxyId;
use spillway_routing::table::Table;
use spillway_routing::tokens::TokenCounter;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::accept::bind;
pub use self::config::{Config, ConfigError, RawConfig};
pub use self::feed::Feed;
pub use self::metrics::NAMES;

use self::allowance::{Allowances, fleet::Fleet};
use self::audit::Auditor;
use self::config::FeedConfig;
use self::failure::Failure;
use self::feed::{Current, Keeper};
use self::health::{Ejection, Health};
use self::jobs::Jobs;
use self::ledger::Ledger;
use self::metrics::Metrics;
use self::report::{Queue, Reporter};
use self::upstream::{Clients, RetryBudget};

/// Sockets, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    pub data: TcpListener,
    pub admin: TcpListener,
}

/// Why a proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the metrics could not be made")]
    Metrics(#[from] prometheus::Error),
    #[error("the data folder cannot be used")]
    DataFolder(#[source] io::Error),
    #[error("the place of jobs cannot be used")]
    JobsFolder(#[source] io::Error),
    #[error("the system's certificates cannot be read")]
    Certificates(#[source] io::Error),
    #[error("the listener has no address")]
    Listener(#[source] io::Error),
}

/// This part of the connections may belong to requests that wait for a lane without room.
const WAITING_PART: usize = 4;

/// What every request shares.
pub(crate) struct Proxy {
    pub(crate) id: ProxyId,
    pub(crate) config: Config,
    pub(crate) current: Current,
    pub(crate) health: Arc<Health>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tokens: TokenCounter,
    pub(crate) budget: RetryBudget,
    pub(crate) clients: Clients,
    pub(crate) auditor: Auditor,
    /// Room for bodies.
    pub(crate) room: Arc<Semaphore>,
    /// `None`: nobody's work is kept here.
    pub(crate) jobs: Option<Arc<Jobs>>,
    /// Places of requests that wait before a lane is asked again.
    pub(crate) waiting: Semaphore,
    pub(crate) draining: CancellationToken,
}

impl Proxy {
    fn new(config: Config, draining: CancellationToken) -> Result<Self, RunError> {
        let metrics = Arc::new(Metrics::new()?);
        // The boot is part of the name: sequence numbers count from it.
        let id = ProxyId::new(&format!(
            "{}.{}",
            config.name,
            uuid::Uuid::now_v7().simple()
        ));
        let limits = &config.limits;
        let reports = config.control_plane.is_some();
        let queue = Arc::new(Queue::new(
            limits.outcomes_queued,
            reports,
            Arc::clone(&metrics),
        ));
        let fleet = matches!(config.feed, FeedConfig::Etcd { .. }).then(Fleet::new);
        let jobs = config.jobs.as_ref();
        let jobs = jobs.map(|jobs| Jobs::open(jobs, &config.feed)).transpose();
        let ejection = Ejection {
            first: limits.ejection,
            max: limits.ejection_max,
        };
        Ok(Self {
            current: Arc::new(ArcSwapOption::empty()),
            health: Arc::new(Health::new(ejection, limits.lane_in_flight)),
            ledger: Arc::new(Ledger::new(
                id.clone(),
                Arc::clone(&metrics),
                queue,
                Arc::default(),
                Arc::new(Allowances::new(fleet)),
            )),
            tokens: TokenCounter::new(),
            budget: RetryBudget::new(Instant::now()),
            clients: Clients::new(limits.connect).map_err(RunError::Certificates)?,
            room: inbound::room_of(limits.bodies_bytes),
            waiting: Semaphore::new(limits.connections / WAITING_PART),
            jobs: jobs.map_err(RunError::JobsFolder)?,
            auditor: Auditor::new(&config.data_dir),
            id,
            metrics,
            config,
            draining,
        })
    }

    /// What is known of a table's lanes just now.
    pub(crate) fn conditions(&self, table: &Table, now: Instant) -> Conditions {
        let at = clock::now();
        let mut conditions = self.health.conditions(table, now, at);
        self.ledger.spend.fill(table, &mut conditions, at);
        conditions
    }

    /// The table being served; a request takes it once.
    pub(crate) fn table(&self) -> Result<Arc<Table>, Failure> {
        self.current.load_full().ok_or_else(Failure::no_table)
    }
}

/// After the grace of a shutdown, until what is under way has told its clients so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs a proxy until `shutdown`; then lets requests finish within the grace, reports
/// what is left, and returns.
///
/// # Errors
///
/// Only at the start: nothing that happens later ends a proxy.
pub async fn run(
    config: Config,
    listeners: Listeners,
    feed: Feed,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let proxy = Arc::new(Proxy::new(config, shutdown.clone())?);
    let address = listeners.data.local_addr().map_err(RunError::Listener)?;
    let mut keeper = Keeper::new(
        &proxy.id,
        address.to_string(),
        &proxy.config.data_dir,
        &proxy.config.trusted,
        Arc::clone(&proxy.current),
        Arc::clone(&proxy.metrics),
    )
    .map_err(RunError::DataFolder)?;
    keeper.load().await;
    tracing::info!(proxy = %proxy.id, %address, "listening");

    let behind = Background::start(&proxy, keeper, feed);
    let (ending, cut) = (CancellationToken::new(), CancellationToken::new());
    let admin_done = CancellationToken::new();
    let admin = serve::admin(Arc::clone(&proxy));
    let limits = &proxy.config.limits;
    let end = accept::End {
        shutdown: admin_done.clone(),
        ending: ending.clone(),
        cut: cut.clone(),
    };
    let admin = accept::serve(listeners.admin, admin, limits, end);
    let data = serve::data(Arc::clone(&proxy));
    let end = accept::End {
        shutdown: shutdown.clone(),
        ending: ending.clone(),
        cut: cut.clone(),
    };
    let data = accept::serve(listeners.data, data, limits, end);
    let grace = async {
        shutdown.cancelled().await;
        tokio::time::sleep(limits.drain).await;
        proxy.ledger.cut();
        ending.cancel();
        tokio::time::sleep(LAST_WORDS).await;
        cut.cancel();
    };
    let data = async {
        tokio::select! {
            biased;
            () = data => {}
            // `cut` ends every connection; this branch only starts it.
            () = async { grace.await; std::future::pending::<()>().await } => {}
        }
        // Health can still be asked for while requests finish.
        admin_done.cancel();
        cut.cancel();
    };
    tokio::join!(data, admin);
    behind.finish().await;
    Ok(())
}

/// Work beside the requests.
struct Background {
    tasks: TaskTracker,
    /// Ends by itself where the proxy drains.
    jobs: TaskTracker,
    feed: CancellationToken,
    report: CancellationToken,
}

impl Background {
    fn start(proxy: &Arc<Proxy>, keeper: Keeper, feed: Feed) -> Self {
        let behind = Self {
            tasks: TaskTracker::new(),
            jobs: TaskTracker::new(),
            feed: CancellationToken::new(),
            report: CancellationToken::new(),
        };
        if let FeedConfig::Etcd { endpoints } = &proxy.config.feed {
            let (allowances, until) = (Arc::clone(&proxy.ledger.allowances), behind.feed.clone());
            let sharing = allowance::fleet::run(allowances, endpoints.clone(), until);
            behind.tasks.spawn(sharing);
        }
        if let Some(jobs) = proxy.jobs.clone() {
            let until = proxy.draining.clone();
            behind.jobs.spawn(jobs::run(Arc::clone(proxy), jobs, until));
        }
        let (tidying, until) = (Arc::clone(proxy), behind.feed.clone());
        behind
            .tasks
            .spawn(async move { tidying.clients.tidy(until).await });
        behind.tasks.spawn(keeper.run(feed, behind.feed.clone()));
        if let Some(uri) = proxy.config.control_plane.clone() {
            let queue = Arc::clone(&proxy.ledger.queue);
            let reporter = Reporter::new(queue, proxy.id.clone(), uri);
            behind.tasks.spawn(reporter.run(behind.report.clone()));
            let auditing = Auditor::run(Arc::clone(proxy), behind.feed.clone());
            behind.tasks.spawn(auditing);
        }
        behind
    }

    /// After the last request: the last outcomes go out, then everything stops.
    async fn finish(self) {
        self.jobs.close();
        self.jobs.wait().await;
        self.feed.cancel();
        self.report.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests;
