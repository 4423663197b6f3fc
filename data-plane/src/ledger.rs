//! The record of each request, closed exactly once, whatever happens to it.
//!
//! Owns: [`Entry`], opened with the decision and turned into one `Outcome` when it is
//! finished or dropped, so that a client who hangs up, a panic and a shutdown are all
//! counted; and what the metrics learn from it. Holds facts and counts, never text.

mod account;
mod close;
pub(crate) mod headers;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Instant;

use http::HeaderMap;
use spillway_routing::conditions::{Conditions, LaneState};
use spillway_routing::decide::{Considered, Decision};
use spillway_routing::dialect::Dialect;
use spillway_routing::features::Facts;
use spillway_routing::id::{LaneId, ProxyId, RequestId};
use spillway_routing::outcome::{Attempt, AttemptResult, Ending};
use spillway_routing::overflow::Cause;
use spillway_routing::table::Table;
use spillway_routing::unit::{Millis, NanoUsd, Tokens, UnixMillis};

use crate::allowance::{Allowances, Grant, Taking};
use crate::bills::Bills;
use crate::caches::Caches;
use crate::chat::Chat;
use crate::clock;
use crate::conversation::Losses;
use crate::dialect::Reported;
use crate::dialect::event::Stamp;
use crate::metrics::Metrics;
use crate::report::Queue;
use crate::spend::{Reserved, Spend};

/// Where entries go when they close.
pub(crate) struct Ledger {
    pub(crate) proxy: ProxyId,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) spend: Arc<Spend>,
    pub(crate) caches: Caches,
    bills: Arc<Bills>,
    pub(crate) allowances: Arc<Allowances>,
    /// Set when the grace of a shutdown is over: what is dropped now was cut by us.
    cutting: AtomicBool,
}

/// What is known when a request was decided.
pub(crate) struct Opening {
    pub(crate) id: RequestId,
    pub(crate) at: UnixMillis,
    pub(crate) arrived: Instant,
    pub(crate) table: Arc<Table>,
    pub(crate) facts: Facts,
    pub(crate) conditions: Conditions,
    /// All that goes in is in the request, and counted.
    pub(crate) text_only: bool,
    /// `None` where no plan could be made.
    pub(crate) decision: Option<Decision>,
}

impl Opening {
    /// With the caller's own provider keys.
    fn pays_itself(&self) -> bool {
        !self.facts.own_keys.is_empty()
    }
}

struct Record {
    opening: Opening,
    bills: Arc<Bills>,
    attempts: Vec<Attempt>,
    under_way: Option<UnderWay>,
    served: Option<usize>,
    /// Where nothing was served: the last lane that was sent the request and may bill it.
    may_bill: Option<usize>,
    reported: Reported,
    /// What the lane was spoken to in, and what that lost.
    spoken: Option<(Dialect, Losses)>,
    content_bytes: u64,
    first_token: Option<Millis>,
    /// The client got the head of a response.
    head_sent: bool,
    spilled: Option<Spilled>,
    /// Where the caller's key is limited.
    granted: Option<Grant>,
}

/// A request that went to its route's overflow lane.
struct Spilled {
    cause: Cause,
    reserved: Reserved,
}

/// The attempt that has no result yet.
struct UnderWay {
    lane: usize,
    start: Millis,
    sent: Sent,
}

/// Whether an attempt got as far as a connection; before that nobody bills it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<AtomicBool>);

impl Sent {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Record {
    fn since_arrival(&self) -> Millis {
        clock::millis(self.opening.arrived.elapsed())
    }

    fn end_attempt(&mut self, result: AttemptResult, status: Option<u16>) {
        let end = self.since_arrival();
        if let Some(UnderWay { lane, start, sent }) = self.under_way.take() {
            let unanswered = matches!(result, AttemptResult::ClientGone | AttemptResult::Cut);
            if sent.is_set() && (unanswered || result.possibly_charged()) {
                self.may_bill = Some(lane);
            }
            let lane = self.opening.table.lane(lane).id.clone();
            self.attempts.push(Attempt {
                lane,
                start,
                end,
                result,
                status,
            });
        }
    }
}

impl Ledger {
    pub(crate) fn new(
        proxy: ProxyId,
        metrics: Arc<Metrics>,
        queue: Arc<Queue>,
        spend: Arc<Spend>,
        allowances: Arc<Allowances>,
    ) -> Self {
        Self {
            proxy,
            metrics,
            queue,
            spend,
            caches: Caches::default(),
            bills: Arc::default(),
            allowances,
            cutting: AtomicBool::new(false),
        }
    }

    pub(crate) fn open(self: &Arc<Self>, opening: Opening) -> Entry {
        let record = Record {
            opening,
            bills: Arc::clone(&self.bills),
            attempts: Vec::new(),
            under_way: None,
            served: None,
            may_bill: None,
            reported: Reported::default(),
            spoken: None,
            content_bytes: 0,
            first_token: None,
            head_sent: false,
            spilled: None,
            granted: None,
        };
        Entry {
            ledger: Arc::clone(self),
            record: Some(Box::new(record)),
        }
    }

    /// From now on, what is dropped was cut by the shutdown.
    pub(crate) fn cut(&self) {
        self.cutting.store(true, Ordering::Relaxed);
    }

    fn is_cutting(&self) -> bool {
        self.cutting.load(Ordering::Relaxed)
    }

    /// `None` where the grace of a shutdown is over: whatever is under way is asked once more
    /// then.
    pub(crate) async fn until_cut<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let work = poll_fn(|cx| {
            if self.is_cutting() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(cx).map(Some)
        });
        work.await
    }
}

/// One request's record. Closes itself.
pub(crate) struct Entry {
    ledger: Arc<Ledger>,
    record: Option<Box<Record>>,
}

impl Entry {
    fn change(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// As [`Ledger::until_cut`].
    pub(crate) async fn until_cut<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.ledger.until_cut(work).await
    }

    pub(crate) fn facts(&self) -> Option<&Facts> {
        Some(&self.record.as_ref()?.opening.facts)
    }

    /// What was decided in the first place did not hold.
    pub(crate) fn decides_anew(&mut self, conditions: Conditions, decision: Option<Decision>) {
        self.change(|record| {
            record.opening.conditions = conditions;
            record.opening.decision = decision;
        });
    }

    pub(crate) fn decision(&self) -> Option<&Decision> {
        self.record.as_ref()?.opening.decision.as_ref()
    }

    /// The attempt says by the result whether it got anywhere.
    pub(crate) fn attempt_starts(&mut self, lane: usize) -> Sent {
        let sent = Sent::default();
        self.change(|record| {
            let (start, sent) = (record.since_arrival(), sent.clone());
            record.under_way = Some(UnderWay { lane, start, sent });
        });
        sent
    }

    pub(crate) fn attempt_ends(&mut self, result: AttemptResult, status: Option<u16>) {
        self.change(|record| record.end_attempt(result, status));
    }

    /// What the request is expected to take at the most, whichever lane of its plan serves,
    /// of the operators' money.
    pub(crate) fn expected(&self) -> Option<Taking> {
        let record = self.record.as_ref()?;
        let opening = &record.opening;
        let decision = opening.decision.as_ref()?;
        let planned = |line: &&Considered| decision.plan.iter().any(|s| s.lane == line.lane);
        let taking = |line: &Considered| {
            let lane = opening.table.lane_index(&line.lane)?;
            let input = account::input(record, lane);
            let cost = account::expected(record, lane, line);
            let cost = cost.filter(|_| !opening.pays_itself());
            Some((input.saturating_add(line.output), cost.unwrap_or_default()))
        };
        let planned = decision.trail.iter().filter(planned).filter_map(taking);
        let most = planned.fold((Tokens(0), NanoUsd::ZERO), |most, one| {
            (most.0.max(one.0), most.1.max(one.1))
        });
        Some(Taking {
            tokens: most.0,
            cost: most.1,
        })
    }

    pub(crate) fn granted(&mut self, grant: Grant) {
        self.change(|record| record.granted = Some(grant));
    }

    /// The next attempt is at the route's overflow lane; `false` where the day's money does
    /// not reach for it.
    pub(crate) fn spills(&mut self, lane: &LaneId, cause: Cause) -> bool {
        let Some(record) = &mut self.record else {
            return false;
        };
        let opening = &record.opening;
        let Some(decision) = &opening.decision else {
            return false;
        };
        let expected = decision.trail.iter().find(|line| line.lane == *lane);
        let index = opening.table.lane_index(lane);
        let expected = expected.zip(index);
        let expected = expected.and_then(|(line, lane)| account::expected(record, lane, line));
        let expected = expected.unwrap_or_default();
        let route = opening.table.route(decision.route.as_str());
        let per_day = route.and_then(|(route, _)| route.overflow.as_ref()?.per_day);
        // Whoever brings keys spends nothing of ours.
        let amount = if opening.pays_itself() {
            NanoUsd::ZERO
        } else {
            expected
        };
        let spend = &self.ledger.spend;
        let reserved = spend.reserve(lane, amount, per_day, clock::now());
        record.spilled = reserved.map(|reserved| Spilled { cause, reserved });
        record.spilled.is_some()
    }

    /// Content came: this lane serves the request, and the attempt goes on.
    pub(crate) fn commits(&mut self, lane: usize) {
        self.change(|record| record.served = Some(lane));
    }

    /// The lane was spoken to in another dialect than the caller's, or in the same.
    pub(crate) fn translates(&mut self, dialect: Dialect, losses: Losses) {
        self.change(|record| record.spoken = Some((dialect, losses)));
    }

    /// A stream's first content came.
    pub(crate) fn first_content(&mut self) {
        self.change(|record| record.first_token = Some(record.since_arrival()));
    }

    pub(crate) fn adds_content(&mut self, bytes: u32) {
        self.change(|record| record.content_bytes += u64::from(bytes));
    }

    /// Later reports win: some hosts count up in every chunk.
    pub(crate) fn reports(&mut self, reported: Reported) {
        self.change(|record| record.reported.add(reported));
    }

    pub(crate) fn head_goes_out(&mut self) {
        self.change(|record| record.head_sent = true);
    }

    pub(crate) fn reported(&self) -> Reported {
        self.record
            .as_ref()
            .map(|record| record.reported)
            .unwrap_or_default()
    }

    /// What a translated answer is stamped with.
    pub(crate) fn stamp(&self, chat: &Chat) -> Stamp {
        let record = self.record.as_ref();
        let model = record.and_then(|record| {
            let table = &record.opening.table;
            Some(table.model_of(record.served?).id.to_string())
        });
        Stamp {
            id: record.map_or_else(String::new, |r| r.opening.id.to_string().replace('-', "")),
            model: model.unwrap_or_default(),
            created: record.map_or(0, |record| record.opening.at.0 / 1_000),
            wants_usage: chat.wants_usage,
            framed: chat.asking.framed,
        }
    }

    /// How many tokens came out so far, for the lane's pace.
    pub(crate) fn output_tokens(&self) -> u32 {
        self.record
            .as_ref()
            .map_or(0, |record| account::usage(record).0.output.0)
    }

    /// The `x-spillway-*` headers, as far as they are known.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.record
            .as_ref()
            .map(|record| headers::of(record))
            .unwrap_or_default()
    }

    /// Closes the record.
    pub(crate) fn finish(&mut self, ending: Ending, status: u16) {
        if let Some(record) = self.record.take() {
            close::close(&self.ledger, *record, ending, status);
        }
    }

    fn abandon(&mut self) {
        let Some(record) = &self.record else { return };
        let (ending, status) = close::abandoned(&self.ledger, record);
        self.finish(ending, status);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// States that were not at their default, by name, so that a replay can be given them.
fn named(table: &Table, conditions: &Conditions) -> Vec<(LaneId, LaneState)> {
    let lanes = table.draft().lanes.iter().zip(&conditions.lanes);
    lanes
        .filter(|(_, state)| **state != LaneState::default())
        .map(|(lane, state)| (lane.id.clone(), *state))
        .collect()
}

#[cfg(test)]
mod tests;
