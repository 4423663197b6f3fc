//! The money and rates of all keys, shared between proxies over etcd.
//!
//! Owns: one number for each key and day, how much money all proxies were granted
//! together, one text for each key's buckets, both changed by compare-and-swap, and when
//! they are asked. Requests wait for an answer at most a moment; where etcd is away they go
//! on with what is granted and a little more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, KeyValue, Txn, TxnOp,
    TxnOpResponse,
};
use futures::stream::{self, StreamExt as _};
use spillway_proto::keys;
use spillway_routing::id::KeyId;
use spillway_routing::unit::{NanoUsd, UnixMillis};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, error::Elapsed, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::money::Round;
use super::{Allowances, Ask, DAY_MS};
use crate::clock;

/// Between two tidy rounds.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// How soon an etcd that was away is asked again at the soonest.
const AFTER_FAILURE: Duration = Duration::from_millis(500);
/// Keys served at once.
const AT_ONCE: usize = 16;
/// A clock may be wrong by so many days before it deletes what others still need.
const KEPT_DAYS: u64 = 7;
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

/// Why an ask came to nothing.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("etcd failed")]
    Etcd(#[from] Error),
    #[error("etcd did not answer in time")]
    Silent(#[from] Elapsed),
    #[error("what is granted changes too often")]
    Contended,
    #[error("etcd may have changed it and did not say so")]
    Unknown,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self {
            wanted: Notify::new(),
            rounds: watch::Sender::new(0),
        }
    }

    /// Somebody needs more.
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

/// Asks etcd for what keys need until the end, and gives back what is left.
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
            _ = ticks.tick() => Round::Tidy,
            () = fleet.woken() => Round::Wanted,
        };
        let served = Box::pin(treasury.serve(&allowances, fleet, round)).await;
        fleet.is_over();
        if round == Round::Last {
            return;
        }
        if let Err(unanswered) = served {
            tracing::warn!(
                error = &unanswered as &dyn std::error::Error,
                "what keys may have cannot be asked of etcd"
            );
            let pause = tokio::time::sleep(AFTER_FAILURE);
            let _ = shutdown.run_until_cancelled(pause).await;
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

    /// Serves each key that asks, and says how the last one failed that did.
    async fn serve(
        &mut self,
        allowances: &Allowances,
        fleet: &Fleet,
        round: Round,
    ) -> Result<(), Unanswered> {
        let at = clock::now();
        let asks = allowances.asks(round, at);
        if asks.is_empty() {
            return Ok(());
        }
        let connected = match self.client.take() {
            Some(client) => Ok(client),
            None => self.connect().await,
        };
        let client = match connected {
            Ok(client) => client,
            Err(unanswered) => {
                for (key, ask) in &asks {
                    allowances.failed(key, ask, true);
                }
                return Err(unanswered);
            }
        };
        let each = stream::iter(asks).map(|(key, ask)| {
            let client = client.clone();
            async move {
                let settled = settle(allowances, client, &key, &ask, at).await;
                if let Err(unanswered) = &settled {
                    let certain = !matches!(unanswered, Unanswered::Unknown);
                    allowances.failed(&key, &ask, certain);
                }
                fleet.is_over();
                settled.err()
            }
        });
        let failed: Vec<_> = each.buffer_unordered(AT_ONCE).collect().await;
        if let Some(unanswered) = failed.into_iter().flatten().last() {
            // The connection is not used again.
            return Err(unanswered);
        }
        self.forget(client.clone(), at.0 / DAY_MS).await;
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

    /// Deletes the days of more than a week ago; some other time, where that fails.
    async fn forget(&mut self, mut client: Client, today: u64) {
        let from = today.saturating_sub(KEPT_DAYS);
        if self.kept_from < from {
            let range = DeleteOptions::new().with_range(keys::granted_on(from));
            let deleting = client.delete(keys::granted_on(0), Some(range));
            if let Ok(Ok(_)) = timeout(CALL_WITHIN, deleting).await {
                self.kept_from = from;
            }
        }
    }
}

/// Changes in etcd what one key's ask says, and here what the answer says.
async fn settle(
    allowances: &Allowances,
    client: Client,
    key: &KeyId,
    ask: &Ask,
    at: UnixMillis,
) -> Result<(), Unanswered> {
    match ask {
        Ask::Money(ask) => {
            let name = keys::granted(ask.day, key);
            let granted = swap(client, &name, |text| {
                let total = text.and_then(|text| text.parse().ok()).map(NanoUsd);
                let granted = ask.answer(total.unwrap_or_default());
                let text = granted.changes().then(|| granted.total.0.to_string());
                (text, granted)
            });
            let granted = granted.await?;
            allowances.of_day(key, ask, |money| money.take(ask, &granted));
        }
        Ask::Rates(ask) => {
            let name = keys::rates(key);
            let got = swap(client, &name, |text| ask.answer(text, at)).await?;
            let now = Instant::now();
            allowances.with(key, |account| account.rates.got(&got, now));
        }
    }
    Ok(())
}

/// Changes one text by compare-and-swap, until nobody came first. `answer` says what is to
/// stand there, if anything else than now.
async fn swap<T>(
    mut client: Client,
    name: &str,
    answer: impl Fn(Option<&str>) -> (Option<String>, T),
) -> Result<T, Unanswered> {
    let found = timeout(CALL_WITHIN, client.get(name, None)).await??;
    let mut found = found.kvs().first().cloned();
    for _ in 0..TRIES {
        let text = found.as_ref().and_then(|found| found.value_str().ok());
        let (text, answered) = answer(text);
        let Some(text) = text else {
            return Ok(answered);
        };
        let revision = found.as_ref().map_or(0, KeyValue::mod_revision);
        let same = Compare::mod_revision(name, CompareOp::Equal, revision);
        let put = TxnOp::put(name, text, None);
        let get = TxnOp::get(name, None);
        let swap = Txn::new().when([same]).and_then([put]).or_else([get]);
        let Ok(Ok(done)) = timeout(CALL_WITHIN, client.txn(swap)).await else {
            return Err(Unanswered::Unknown);
        };
        if done.succeeded() {
            return Ok(answered);
        }
        let Some(TxnOpResponse::Get(other)) = done.op_responses().into_iter().next() else {
            return Err(Unanswered::Contended);
        };
        found = other.kvs().first().cloned();
    }
    Err(Unanswered::Contended)
}
