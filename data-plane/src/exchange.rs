//! The life of one request, in order, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use spillway_routing::catalogue::Upstream;
use spillway_routing::conditions::Conditions;
use spillway_routing::decide::{
    Considered, Decision, Draw, Need, Refusal, Removal, Verdict, decide,
};
use spillway_routing::dialect::Dialect;
use spillway_routing::features::Facts;
use spillway_routing::id::KeyId;
use spillway_routing::key::KeyLimits;
use spillway_routing::outcome::Ending;
use spillway_routing::table::Table;
use spillway_routing::unit::UnixMillis;

use crate::allowance::{Grant, Short, Taking};
use crate::audit::Auditor;
use crate::caches::Beginning;
use crate::chat::{CallerLabels, Chat};
use crate::clock;
use crate::conversation::Loss;
use crate::failure::{Failure, Kind};
use crate::inbound::Inbound;
use crate::ledger::{Entry, Opening};
use crate::upstream::{self, Call};
use crate::{Proxy, stream};

const NO_THREADS: &str = r#"{"error_code":"thread_unsupported_request","unsupported":["thread"]}"#;
/// Longer bodies are read on a thread of their own: reading them would hold a worker, and
/// every stream on it, for more than some hundred microseconds.
const READ_INLINE_BYTES_MAX: usize = 384 * 1024;

/// Nobody waits longer than this for a lane that rests.
const REST_MAX: Duration = Duration::from_secs(5);
/// Within so many milliseconds they come back.
const REST_SPREAD_MS: u64 = 50;

/// A request as it was read.
pub(crate) struct Reading {
    pub(crate) chat: Chat,
    pub(crate) facts: Facts,
    /// What prompt caches may know of it; nothing where the caller's own accounts do.
    beginnings: Vec<Beginning>,
}

impl Reading {
    /// What is known of a table's lanes just now, also for this request alone.
    pub(crate) fn conditions(&self, proxy: &Proxy, table: &Table, now: Instant) -> Conditions {
        let mut conditions = proxy.conditions(table, now);
        let caches = &proxy.ledger.caches;
        let would_cache = |upstream: &Upstream| self.chat.is_cached(upstream);
        caches.fill(&self.beginnings, table, &mut conditions, would_cache, now);
        conditions
    }
}

/// From a request to its response. Boxed: it is large, and whatever waits for it would be
/// copied with it from caller to caller.
pub(crate) fn exchange(
    proxy: &Proxy,
    inbound: Inbound,
) -> BoxFuture<'_, Result<Response, Failure>> {
    async {
        let answer = proxy.ledger.until_cut(exchanged(proxy, inbound)).await;
        // Whoever still waits when the grace of a shutdown is over hears of it.
        answer.unwrap_or_else(|| Err(Failure::ending()))
    }
    .boxed()
}

/// The same for what is kept: it is begun again elsewhere where it is cut off.
pub(crate) fn kept(proxy: &Proxy, inbound: Inbound) -> BoxFuture<'_, Result<Response, Failure>> {
    exchanged(proxy, inbound).boxed()
}

async fn exchanged(proxy: &Proxy, inbound: Inbound) -> Result<Response, Failure> {
    let table = proxy.table()?; // One version, from here to the report.
    let reading = read(proxy, &inbound).await?;
    let draw = Draw::of(inbound.id);
    let entry = open(proxy, &inbound, Arc::clone(&table), &reading, draw).await?;
    let call = Call {
        chat: &reading.chat,
        beginnings: &reading.beginnings,
        table: &table,
        arrived: inbound.arrived,
        draw,
        via: inbound.via(proxy),
        key: inbound.caller.id(),
        passed: inbound.passed(),
        own_keys: &inbound.own_keys,
    };
    let reply = upstream::call(proxy, call, entry).await?;
    Ok(stream::relay(
        reply,
        &reading.chat,
        proxy.config.limits.heartbeat,
    ))
}

/// Reads the body once and makes the facts.
pub(crate) async fn read(proxy: &Proxy, inbound: &Inbound) -> Result<Reading, Failure> {
    inbound.own_keys.placed()?;
    let labels = CallerLabels::read(&inbound.headers, inbound.caller.tags())?;
    let (body, asking) = (inbound.body.clone(), inbound.asking.clone());
    let key = inbound.caller.id().to_owned();
    let own_keys = inbound.own_keys.providers();
    let families = proxy.current.load();
    let families = families.as_ref().map(|table| table.families());
    let counter = proxy.tokens.measuring(families.unwrap_or_default());
    let long = body.len() > READ_INLINE_BYTES_MAX;
    let hashing = proxy.ledger.caches.key();
    let read = move || {
        let chat = Chat::parse(&body, &asking)?;
        let facts = chat.facts(&labels, &key, &own_keys, &counter);
        let beginnings = if own_keys.is_empty() {
            chat.beginnings(&key, facts.o200k, &hashing)
        } else {
            Vec::new()
        };
        Ok(Reading {
            chat,
            facts,
            beginnings,
        })
    };
    let reading = if long {
        let failed = |_| Failure::spillway(Kind::Panicked, "the request could not be read");
        tokio::task::spawn_blocking(read).await.map_err(failed)??
    } else {
        read()?
    };
    if !inbound.caller.may_ask_for(&reading.chat.model) {
        let message = "this key may not ask for this route; GET /v1/models lists its routes";
        return Err(Failure::client(Kind::Forbidden, message).about("model"));
    }
    Ok(reading)
}

/// Decides, and opens the record: from here on the request makes exactly one outcome.
async fn open(
    proxy: &Proxy,
    inbound: &Inbound,
    table: Arc<Table>,
    reading: &Reading,
    draw: Draw,
) -> Result<Entry, Failure> {
    let (at, chat) = (clock::now(), &reading.chat);
    let (conditions, made) = decided(proxy, &table, reading, at, draw);
    let (decision, mut refusal) = split(made);
    let mut entry = proxy.ledger.open(Opening {
        id: inbound.id,
        at,
        arrived: inbound.arrived,
        table: Arc::clone(&table),
        facts: reading.facts.clone(),
        conditions,
        text_only: chat.conversation.is_text_only(),
        decision,
    });
    let until = inbound.arrived + patience(&table, &chat.model);
    while let Some(rest) = refusal.as_ref().and_then(|r| rest(proxy, r, until, draw)) {
        tokio::time::sleep(rest).await;
        let (conditions, made) = decided(proxy, &table, reading, at, draw);
        let (decision, again) = split(made);
        refusal = again;
        entry.decides_anew(conditions, decision);
    }
    let Some(refusal) = refusal else {
        afford(proxy, inbound, &mut entry).await?;
        if let Some((facts, decision)) = entry.facts().zip(entry.decision()) {
            Auditor::consider(proxy, inbound, &table, facts, decision);
        }
        return Ok(entry);
    };
    let wait = proxy.health.wait(&table, Instant::now());
    let wait = wait.max(Duration::from_secs(1));
    let failure = Failure::refused(&refusal, wait).saying(&unsayable(chat, &refusal));
    let mut failure = failure.labelled(entry.headers());
    // Anthropic's SDKs go on without a thread where they are told so.
    if chat.conversation.own.names(&Loss::Thread) {
        failure = failure.detailed(NO_THREADS);
    }
    entry.finish(Ending::Refused, failure.status().as_u16());
    Err(failure)
}

/// Reserves what the request is expected to take where the caller's key is limited.
async fn afford(proxy: &Proxy, inbound: &Inbound, entry: &mut Entry) -> Result<(), Failure> {
    let Some((key, limits)) = inbound.caller.limited() else {
        return Ok(());
    };
    let Some(expected) = entry.expected() else {
        return Ok(());
    };
    match reserve(proxy, key, limits, expected).await {
        Ok(grant) => {
            entry.granted(grant);
            Ok(())
        }
        Err(failure) => {
            let failure = failure.labelled(entry.headers());
            entry.finish(Ending::Refused, failure.status().as_u16());
            Err(failure)
        }
    }
}

/// What is neither decided nor recorded is a request of its key all the same.
pub(crate) async fn count(proxy: &Proxy, inbound: &Inbound) -> Result<(), Failure> {
    let Some((key, limits)) = inbound.caller.limited() else {
        return Ok(());
    };
    let counted = proxy.ledger.allowances.count(key, limits).await;
    counted.map_err(|short| limited(proxy, short))
}

async fn reserve(
    proxy: &Proxy,
    key: &KeyId,
    limits: &KeyLimits,
    expected: Taking,
) -> Result<Grant, Failure> {
    let reserved = proxy.ledger.allowances.reserve(key, limits, expected).await;
    reserved.map_err(|short| limited(proxy, short))
}

fn limited(proxy: &Proxy, short: Short) -> Failure {
    let counter = &proxy.metrics.limited;
    counter.with_label_values(&[short.name()]).inc();
    Failure::limited(short)
}

fn decided(
    proxy: &Proxy,
    table: &Table,
    reading: &Reading,
    at: UnixMillis,
    draw: Draw,
) -> (Conditions, Result<Decision, Refusal>) {
    let started = Instant::now();
    let conditions = reading.conditions(proxy, table, started);
    let decided = decide(table, &reading.facts, &conditions, at, draw);
    let seconds = started.elapsed().as_secs_f64();
    proxy.metrics.decision_seconds.observe(seconds);
    (conditions, decided)
}

/// How long a request may wait for lanes that rest: no longer than is kept of its deadline
/// for one lane.
fn patience(table: &Table, route: &str) -> Duration {
    let route = table.route(route);
    let part = route.map_or(0, |(route, _)| route.deadline.0 / 4);
    Duration::from_millis(part).min(REST_MAX)
}

/// How long to wait where all lanes are out: not at all where one is due for a look; and
/// where one only rests, as it said itself, until then, since soon enough is better than an
/// error that the caller would retry. Not all come back at once.
fn rest(proxy: &Proxy, refusal: &Refusal, until: Instant, draw: Draw) -> Option<Duration> {
    let Refusal::AllShut(out) = refusal else {
        return None;
    };
    let now = Instant::now();
    let lanes = || out.iter().map(|line| &line.lane);
    if proxy.health.wake(lanes(), now) {
        return Some(Duration::ZERO);
    }
    let rest = proxy.health.rest(lanes(), now)?;
    let rest = rest + Duration::from_millis(draw.0 % REST_SPREAD_MS);
    (now + rest < until).then_some(rest)
}

/// What other dialects would lose of the request, where that kept lanes out.
fn unsayable(chat: &Chat, refusal: &Refusal) -> String {
    let Refusal::NothingFeasible(trail) = refusal else {
        return String::new();
    };
    let kept_out = |line: &Considered| {
        matches!(
            line.verdict,
            Verdict::Removed(Removal::Lacks(Need::Dialect))
        )
    };
    if !trail.iter().any(kept_out) {
        return String::new();
    }
    let others = Dialect::CONVERSING
        .into_iter()
        .filter(|to| *to != chat.dialect());
    let lost = others.filter_map(|to| {
        let losses = chat.losses(to);
        let said = format!("; in {} it would lose {losses}", to.name());
        (!losses.is_empty()).then_some(said)
    });
    lost.collect()
}

fn split(decided: Result<Decision, Refusal>) -> (Option<Decision>, Option<Refusal>) {
    match decided {
        Ok(decision) => (Some(decision), None),
        Err(refusal) => (None, Some(refusal)),
    }
}
