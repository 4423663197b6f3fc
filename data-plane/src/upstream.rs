//! Walking a decision's plan up to the commit point.
//!
//! Owns: which step is tried next, and what the caller is told when none is left. It
//! has no choices: lanes, order and deadlines are the decision's; it only skips what
//! may not be tried.

mod access;
mod assemble;
mod attempt;
mod client;
mod errand;
mod reader;
mod retry;
mod walk;

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use spillway_routing::account::Account;
use spillway_routing::conditions::Gate;
use spillway_routing::decide::{Decision, Draw, Removal, Step, Verdict};
use spillway_routing::dialect::Dialect;
use spillway_routing::id::LaneId;
use spillway_routing::outcome::{AttemptResult, Ending};
use spillway_routing::overflow::Cause;
use spillway_routing::prompt::Class as Urgency;
use spillway_routing::start::{Began, Turn};
use spillway_routing::table::Table;
use spillway_routing::unit::Millis;

use self::access::Access;
use self::assemble::assemble;
use self::attempt::{Bounds, Target, attempt};
pub(crate) use self::attempt::{Committed, VIA};
pub(crate) use self::client::Clients;
pub(crate) use self::errand::errand;
pub(crate) use self::reader::Reader;
pub(crate) use self::retry::RetryBudget;
use self::retry::{Class, Miss};
use self::walk::{Before, Walk};
use crate::Proxy;
use crate::caches::Beginning;
use crate::chat::Chat;
use crate::clock;
use crate::dialect::event::Said;
use crate::dialect::{self, Reported};
use crate::failure::Failure;
use crate::health::{Entrance, Event, Permit};
use crate::ledger::{Entry, Sent};
use crate::own_keys::OwnKeys;

/// How long a whole answer may still come after its first byte was due: a minute writes
/// thousands of tokens at any lane's pace, and a provider that drips holds nobody longer.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// An answer that has begun, with all that goes with it.
pub(crate) struct Reply {
    pub(crate) committed: Committed,
    pub(crate) permit: Permit,
    pub(crate) entry: Entry,
    pub(crate) began: Instant,
    pub(crate) dice: u64,
    /// What the lane spoke.
    pub(crate) dialect: Dialect,
    /// The account that keeps the answer, if one does.
    pub(crate) kept_by: Option<Account>,
}

/// Whether a call that gave nothing may be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MayCharge(pub(crate) bool);

/// What a request brings along.
pub(crate) struct Call<'a> {
    pub(crate) chat: &'a Chat,
    /// What prompt caches may know of it.
    pub(crate) beginnings: &'a [Beginning],
    pub(crate) table: &'a Table,
    pub(crate) arrived: Instant,
    pub(crate) draw: Draw,
    pub(crate) via: HeaderValue,
    /// Whose request it is, for its turn where lanes are full.
    pub(crate) key: &'a str,
    /// Of the caller's headers, those that belong to its dialect.
    pub(crate) passed: HeaderMap,
    /// Provider keys that the caller brought along.
    pub(crate) own_keys: &'a OwnKeys,
}

impl Call<'_> {
    fn since_arrival(&self) -> Millis {
        clock::millis(self.arrived.elapsed())
    }

    /// The account that keeps the answer of a lane.
    fn keeper(&self, lane: usize, dialect: Dialect) -> Option<Account> {
        let upstream = self.table.upstream_of(lane);
        let kept = self.chat.is_kept(dialect);
        kept.then(|| Account::behind(upstream, &self.own_keys.providers()))
            .flatten()
    }

    fn at(&self, since_arrival: Millis) -> Instant {
        self.arrived + Duration::from_millis(since_arrival.0)
    }

    /// What a miss means for a lane that makes requests wait, and with whose key.
    fn meaning(&self, miss: Miss, deferred: bool) -> Miss {
        let miss = if deferred { miss.deferred() } else { miss };
        if self.own_keys.is_empty() {
            miss
        } else {
            miss.by_own_key()
        }
    }
}

/// Walks the plan. On failure the entry is closed and its headers are on the failure.
pub(crate) async fn call(
    proxy: &Proxy,
    call: Call<'_>,
    mut entry: Entry,
) -> Result<Reply, Failure> {
    proxy.budget.earn(Instant::now());
    let forced = entry.decision().is_some_and(is_alone);
    let mut walk = Walk::of(entry.decision(), call.table);
    while let Some((step, spills)) = next(proxy, &call, &mut walk).await {
        let Some(lane) = call.table.lane_index(&step.lane) else {
            continue;
        };
        let deferred = call.table.lane(lane).tier.is_deferred();
        match walk.before(proxy, &step, call.since_arrival()) {
            Before::Try => {}
            Before::Pass => continue,
            Before::Stop => break,
        }
        let mut permit = match entrance(proxy, &call, lane, &step, forced).await {
            Ok(permit) => permit,
            Err(cause) => {
                walk.leaves(&step.lane, call.since_arrival());
                walk.turned_away(cause);
                continue;
            }
        };
        if spills.is_some_and(|cause| !entry.spills(&step.lane, cause)) {
            continue;
        }
        let Some(dialect) = call.chat.spoken_to(call.table.upstream_of(lane)) else {
            walk.leaves(&step.lane, call.since_arrival());
            continue;
        };
        let sent = entry.attempt_starts(lane);
        let began = Instant::now();
        let moves_up = deferred && walk.has_others() && is_watched(&entry);
        match try_lane(proxy, &call, (lane, dialect), &step, &sent, moves_up).await {
            Ok((committed, first)) => {
                let took = clock::millis(first - call.arrived);
                remember(proxy, walk.waits.begun(&step.lane, took));
                answered(&call, &mut permit, first - began);
                commit(proxy, &mut entry, &call, (lane, dialect));
                return Ok(Reply {
                    committed,
                    permit,
                    entry,
                    began: Instant::now(),
                    dice: call.draw.0,
                    dialect,
                    kept_by: call.keeper(lane, dialect),
                });
            }
            Err(miss) => {
                let miss = call.meaning(miss, deferred);
                tracing::debug!(lane = %step.lane, status = miss.status, cause = miss.cause, "attempt failed");
                learn(&call, &mut permit, &miss, began.elapsed());
                entry.attempt_ends(miss.result, miss.status);
                let when = (call.since_arrival(), call.draw);
                if !walk.missed(&step.lane, miss, permit.is_open(Instant::now()), when) {
                    break;
                }
            }
        }
    }
    walk.waits_no_longer(call.since_arrival());
    remember(proxy, std::mem::take(&mut walk.seen));
    let failure = walk.failure(proxy, call.table).labelled(entry.headers());
    entry.finish(Ending::Failed, failure.status().as_u16());
    Err(failure)
}

/// The record of an answer that has begun, and what its provider may keep of the prompt.
fn commit(proxy: &Proxy, entry: &mut Entry, call: &Call<'_>, (lane, dialect): (usize, Dialect)) {
    let upstream = &call.table.upstream_of(lane).id;
    let caches = &proxy.ledger.caches;
    caches.sent(call.beginnings, upstream, Instant::now());
    entry.commits(lane);
    entry.translates(dialect, call.chat.losses(dialect));
    if call.chat.stream {
        entry.first_content();
    }
}

/// A place at a lane, at once or after a turn in its queue.
async fn entrance(
    proxy: &Proxy,
    call: &Call<'_>,
    lane: usize,
    step: &Step,
    forced: bool,
) -> Result<Permit, Cause> {
    let now = Instant::now();
    let lane = call.table.lane(lane);
    let mut ticket = match proxy.health.enter(lane, call.key, forced, now) {
        Entrance::In(permit) => return Ok(permit),
        Entrance::Closed => return Err(Cause::Out),
        Entrance::Wait(ticket) => ticket,
    };
    // Half of the time is for the answer.
    let give_up = call.arrived + Duration::from_millis(step.give_up.0);
    let most = give_up.saturating_duration_since(now) / 2;
    let wait = Duration::from_millis(lane.room.wait.0).min(most);
    let place = tokio::time::timeout(wait, ticket.place()).await;
    let labels = [lane.id.as_str()];
    let waited = proxy.metrics.queue_wait.with_label_values(&labels);
    waited.observe(now.elapsed().as_secs_f64());
    match place {
        Ok(Some(permit)) => Ok(permit),
        Ok(None) => Err(Cause::Out),
        Err(_) => Err(Cause::Waited),
    }
}

/// One call to one lane, for a whole answer: no other lane is tried and nothing is booked.
/// Only a lane with room to spare takes it, never its last places or its one probe. The
/// lane's breaker hears of failures, but not of a limit: that was ours. An error says
/// whether the provider may charge for it.
pub(crate) async fn ask(
    proxy: &Proxy,
    chat: &Chat,
    table: &Table,
    lane: usize,
    draw: Draw,
    until: Instant,
) -> Result<(Said, Reported), MayCharge> {
    let now = Instant::now();
    let upstream = table.upstream_of(lane);
    let dialect = chat.spoken_to(upstream).ok_or(MayCharge(false))?;
    let id = &table.lane(lane).id;
    let state = proxy.conditions(table, now).lane(lane);
    let spare = proxy.health.limit(table.lane(lane).room) / 2;
    if state.gate != Gate::Open || state.in_flight >= spare.max(1) {
        return Err(MayCharge(false));
    }
    let admitted = proxy.health.admit(table.lane(lane), false, now);
    let mut permit = admitted.ok_or(MayCharge(false))?;
    let step = Step {
        lane: id.clone(),
        give_up: clock::millis(until.saturating_duration_since(now)),
    };
    let call = Call {
        chat,
        beginnings: &[],
        table,
        arrived: now,
        draw,
        via: HeaderValue::from_str(proxy.id.as_str()).unwrap_or(HeaderValue::from_static("")),
        key: "",
        passed: HeaderMap::new(),
        own_keys: &OwnKeys::default(),
    };
    let sent = Sent::default();
    let trying = try_lane(proxy, &call, (lane, dialect), &step, &sent, false);
    match tokio::time::timeout_at(until.into(), trying).await {
        Ok(Ok((Committed::Whole { body, answer }, _))) => {
            permit.report(Event::Answered, Instant::now(), draw.0);
            Ok((dialect::said(dialect, &body), answer.reported))
        }
        Ok(Ok((Committed::Told { said, reported, .. }, _))) => {
            permit.report(Event::Answered, Instant::now(), draw.0);
            Ok((said, reported))
        }
        Ok(Ok((Committed::Stream { .. }, _))) | Err(_) => Err(MayCharge(true)),
        Ok(Err(miss)) => {
            let event = miss.event();
            if let Some(event) = event.filter(|e| !matches!(e, Event::Limited { .. })) {
                permit.report(event, Instant::now(), draw.0);
            }
            Err(MayCharge(miss.result.possibly_charged()))
        }
    }
}

/// What is learnt of a lane from an attempt that began.
fn answered(call: &Call<'_>, permit: &mut Permit, took: Duration) {
    let now = Instant::now();
    permit.report(Event::Answered, now, call.draw.0);
    // A whole answer's first byte comes with its last: it says no pace.
    if call.chat.stream {
        permit.first_token(took, now);
    }
}

/// What is learnt of a lane from an attempt that gave nothing.
fn learn(call: &Call<'_>, permit: &mut Permit, miss: &Miss, took: Duration) {
    let now = Instant::now();
    if let Some(event) = miss.event() {
        permit.report(event, now, call.draw.0);
    }
    if call.chat.stream && miss.result == AttemptResult::TimedOut {
        // A lane that gave nothing was at least so slow.
        permit.first_token(took, now);
    }
}

/// The next step, as soon as it may be tried. Nobody waits longer where the proxy is about
/// to end, or where too many do.
async fn next(proxy: &Proxy, call: &Call<'_>, walk: &mut Walk) -> Option<(Step, Option<Cause>)> {
    loop {
        if let Some(step) = walk.spills() {
            return Some(step);
        }
        let (turn, in_vain) = walk.waits.turn(call.since_arrival());
        remember(proxy, std::mem::take(&mut walk.seen));
        remember(proxy, in_vain);
        match turn {
            Turn::Try(step) => return Some((step, None)),
            Turn::Over => return walk.next(),
            Turn::Pause(until) => {
                let place = proxy.waiting.try_acquire();
                let pause = tokio::time::sleep_until(call.at(until).into());
                let paused = proxy.draining.run_until_cancelled(pause);
                if place.is_err() || paused.await.is_none() {
                    walk.waits_no_longer(call.since_arrival());
                }
            }
        }
    }
}

/// How lanes that make requests wait began one, or did not.
fn remember(proxy: &Proxy, seen: Vec<(LaneId, Began)>) {
    let metrics = &proxy.metrics;
    for (lane, began) in seen {
        let result = match began {
            Began::After(waited) => {
                let wait = metrics.start_wait.with_label_values(&[lane.as_str()]);
                wait.observe(waited.0 as f64 / 1e3);
                "started"
            }
            Began::NotWithin(_) => "late",
        };
        let labels = [lane.as_str(), result];
        metrics.starts.with_label_values(&labels).inc();
        proxy.health.began(&lane, began, clock::now());
    }
}

/// No other lane could serve the request, so this one is tried whatever its breaker says.
fn is_alone(decision: &Decision) -> bool {
    let others_out = decision
        .trail
        .iter()
        .any(|c| matches!(c.verdict, Verdict::Removed(Removal::Shut | Removal::Full)));
    decision.plan.len() == 1 && !others_out
}

/// Whether somebody waits for the answer.
fn is_watched(entry: &Entry) -> bool {
    let class = entry.facts().map(|facts| facts.class);
    class == Some(Urgency::Interactive)
}

/// One call to one lane; the answer, and when it began. `moves_up`: where the proxy is about
/// to end, its start is not waited for.
async fn try_lane(
    proxy: &Proxy,
    call: &Call<'_>,
    (lane, dialect): (usize, Dialect),
    step: &Step,
    sent: &Sent,
    moves_up: bool,
) -> Result<(Committed, Instant), Miss> {
    let upstream = call.table.upstream_of(lane);
    let access = Access::to(upstream, dialect, &proxy.config, call.own_keys);
    let access = access
        .map_err(|cause| Miss::new(Class::Misconfigured, AttemptResult::Unreachable, cause))?;
    let translating = dialect != call.chat.dialect();
    let tier = call.table.lane(lane).tier;
    let assembling = tier.is_deferred() && !call.chat.stream;
    let none = HeaderMap::new();
    let target = Target {
        access,
        via: call.via.clone(),
        dialect,
        passed: if translating { &none } else { &call.passed },
        translating: translating || assembling || !call.chat.asking.framed,
    };
    let give_up = call.arrived + Duration::from_millis(step.give_up.0);
    let bounds = Bounds {
        give_up,
        whole_by: give_up + WHOLE_WITHIN,
        idle: proxy.config.limits.idle,
        answer_bytes: proxy.config.limits.answer_bytes,
    };
    let most = call.table.model_of(lane).max_output;
    let stream = call.chat.stream || assembling;
    let wire = dialect::request(call.chat, dialect, upstream, tier, stream, most);
    let asking = attempt(&proxy.clients, &target, wire, stream, &bounds, sent);
    let begun = if moves_up {
        let begun = proxy.draining.run_until_cancelled(asking).await;
        begun.unwrap_or_else(|| Err(Miss::late("the proxy is about to end")))?
    } else {
        asking.await?
    };
    let first = Instant::now();
    if assembling {
        return Ok((
            assemble(begun, dialect, first, bounds.answer_bytes).await?,
            first,
        ));
    }
    Ok((begun, first))
}
