//! The day's money of all keys, shared between proxies over etcd.
//!
//! Owns: one number for each key and day, how much all proxies were granted together,
//! changed by compare-and-swap, and when it is asked. Requests wait for a round at most;
//! where etcd is away they go on with what is granted and a little more.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, Txn, TxnOp};
use spillway_proto::keys;
use spillway_routing::id::KeyId;
use spillway_routing::unit::NanoUsd;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, error::Elapsed, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::money::{Ask, Granted, Money, Round};
use super::{Allowances, DAY_MS};
use crate::clock;

/// Between two tidy rounds; also, how soon an etcd that was away is asked again.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// Any single call.
const CALL_WITHIN: Duration = Duration::from_millis(750);
/// Other proxies change the same number; each of these is one that came first.
const TRIES: u32 = 32;

/// How requests and the task that asks etcd hear of each other.
#[derive(Debug)]
pub(crate) struct Fleet {
    wanted: Notify,
    rounds: watch::Sender<u64>,
}

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("etcd failed")]
    Etcd(#[from] Error),
    #[error("etcd did not answer in time")]
    Silent(#[from] Elapsed),
    #[error("what is granted changes too often")]
    Contended,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self {
            wanted: Notify::new(),
            rounds: watch::Sender::new(0),
        }
    }

    /// Somebody needs money.
    pub(super) fn wake(&self) {
        self.wanted.notify_one();
    }

    /// Changes when a round is over.
    pub(super) fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.subscribe()
    }

    fn woken(&self) -> impl Future<Output = ()> {
        self.wanted.notified()
    }

    fn is_over(&self) {
        self.rounds.send_modify(|round| *round += 1);
    }
}

/// Asks etcd for money until the end, and gives back what is left.
pub(crate) async fn run(
    allowances: Arc<Allowances>,
    endpoints: Vec<String>,
    shutdown: CancellationToken,
) {
    let Some(fleet) = &allowances.fleet else {
        return;
    };
    let mut treasury = Treasury::new(endpoints);
    let mut ticks = interval(TIDY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let round = tokio::select! {
            biased;
            () = shutdown.cancelled() => Round::Last,
            () = fleet.woken() => Round::Wanted,
            _ = ticks.tick() => Round::Tidy,
        };
        if let Err(unanswered) = treasury.serve(&allowances, round).await {
            let error = &unanswered as &dyn std::error::Error;
            tracing::warn!(error, "keys' money cannot be asked of etcd");
            allowances.each(Money::cannot_ask);
        }
        fleet.is_over();
        if round == Round::Last {
            return;
        }
    }
}

/// etcd, as this needs it.
struct Treasury {
    endpoints: Vec<String>,
    client: Option<Client>,
    /// Days before it were deleted.
    kept_from: u64,
}

impl Treasury {
    fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            client: None,
            kept_from: 0,
        }
    }

    async fn serve(&mut self, allowances: &Allowances, round: Round) -> Result<(), Unanswered> {
        let at = clock::now();
        let asks = allowances.asks(round, at);
        if asks.is_empty() {
            return Ok(());
        }
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.connect().await?,
        };
        for (key, ask) in asks {
            let granted = settle(&mut client, &key, &ask).await?;
            allowances.granted(&key, &ask, &granted);
        }
        self.forget(&mut client, at.0 / DAY_MS).await?;
        // One that failed is not used again.
        self.client = Some(client);
        Ok(())
    }

    async fn connect(&self) -> Result<Client, Unanswered> {
        let options = ConnectOptions::new()
            .with_connect_timeout(CALL_WITHIN)
            .with_require_leader(true);
        let connecting = Client::connect(&self.endpoints, Some(options));
        Ok(timeout(CALL_WITHIN, connecting).await??)
    }

    /// Deletes the days before yesterday's.
    async fn forget(&mut self, client: &mut Client, today: u64) -> Result<(), Unanswered> {
        let from = today.saturating_sub(1);
        if self.kept_from < from {
            let range = DeleteOptions::new().with_range(keys::granted_on(from));
            timeout(CALL_WITHIN, client.delete(keys::granted_on(0), Some(range))).await??;
            self.kept_from = from;
        }
        Ok(())
    }
}

/// Changes one key's number as its ask says.
async fn settle(client: &mut Client, key: &KeyId, ask: &Ask) -> Result<Granted, Unanswered> {
    let name = keys::granted(ask.day, key);
    let found = timeout(CALL_WITHIN, client.get(name.as_str(), None)).await??;
    let (mut total, mut revision) = number(found.kvs().first());
    for _ in 0..TRIES {
        let granted = ask.answer(total);
        if !granted.changes() {
            return Ok(granted);
        }
        let same = Compare::mod_revision(name.as_str(), CompareOp::Equal, revision);
        let put = TxnOp::put(name.as_str(), granted.total.0.to_string(), None);
        let get = TxnOp::get(name.as_str(), None);
        let swap = Txn::new().when([same]).and_then([put]).or_else([get]);
        let answer = timeout(CALL_WITHIN, client.txn(swap)).await??;
        if answer.succeeded() {
            return Ok(granted);
        }
        let Some(etcd_client::TxnOpResponse::Get(found)) = answer.op_responses().into_iter().next()
        else {
            return Err(Unanswered::Contended);
        };
        (total, revision) = number(found.kvs().first());
    }
    Err(Unanswered::Contended)
}

/// What is granted, and its revision; nothing yet where the key is new or unreadable.
fn number(found: Option<&etcd_client::KeyValue>) -> (NanoUsd, i64) {
    let Some(found) = found else {
        return (NanoUsd::ZERO, 0);
    };
    let text = found.value_str().unwrap_or_default();
    (
        NanoUsd(text.parse().unwrap_or_default()),
        found.mod_revision(),
    )
}
