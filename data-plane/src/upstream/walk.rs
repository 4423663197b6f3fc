//! What is left of a plan, and what its attempts came to.
//!
//! Owns: the order of the steps, those that make the request wait first, the overflow
//! lane's place among them, whether one more attempt may be made, and what the caller is
//! told when none is left. Calls nobody.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use spillway_routing::decide::{Decision, Draw, Step, Verdict, Why};
use spillway_routing::id::LaneId;
use spillway_routing::outcome::AttemptResult;
use spillway_routing::overflow::Cause;
use spillway_routing::start::{Began, Waits};
use spillway_routing::table::Table;
use spillway_routing::unit::Millis;

use super::retry::{CHARGES_MAX, Class, Miss};
use crate::Proxy;
use crate::clock;
use crate::failure::{Failure, Kind, Retry};

/// Told to callers where no lane said when to come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What happened so far, and what is left of the plan.
#[derive(Default)]
pub(super) struct Walk {
    /// Tried first.
    pub(super) waits: Waits,
    steps: VecDeque<Step>,
    /// Why the first step spills, if it is the overflow lane's.
    first: Option<Cause>,
    /// The overflow lane's step, where the plan keeps it for attempts that end so.
    kept: Option<(Step, Vec<Cause>)>,
    /// How the last step ended.
    ended: Option<Cause>,
    attempts_max: usize,
    misses: Vec<Miss>,
    /// Of them, those at lanes that answer at once.
    failed: usize,
    /// What is to be remembered of lanes that made the request wait.
    pub(super) seen: Vec<(LaneId, Began)>,
    /// The next attempt takes from the retry budget.
    costs_budget: bool,
    late: bool,
}

/// What becomes of a step before it is tried.
pub(super) enum Before {
    Try,
    Pass,
    /// No other may be tried either.
    Stop,
}

impl Walk {
    pub(super) fn of(decision: Option<&Decision>, table: &Table) -> Self {
        let route = decision.and_then(|decision| table.route(decision.route.as_str()));
        let (Some(decision), Some((route, _))) = (decision, route) else {
            return Self::default();
        };
        let mut walk = Self {
            steps: decision.plan.iter().cloned().collect(),
            attempts_max: route.attempts_max.into(),
            ..Self::default()
        };
        if let Some(Verdict::Chosen(Why::Overflowed(cause))) = decision.chosen().map(|c| &c.verdict)
        {
            walk.first = Some(*cause);
        } else if let Some(overflow) = &route.overflow
            && let Some(at) = walk.steps.iter().position(|s| s.lane == overflow.lane)
            && at > 0
        {
            let step = walk.steps.remove(at);
            walk.kept = step.map(|step| (step, overflow.after.clone()));
        }
        let overflow = route.overflow.as_ref().map(|overflow| &overflow.lane);
        let waits = |step: &Step| {
            let lane = table.lane_index(&step.lane);
            let deferred = lane.is_some_and(|lane| table.lane(lane).tier.is_deferred());
            deferred && Some(&step.lane) != overflow
        };
        let (waiting, others): (VecDeque<_>, _) = walk.steps.into_iter().partition(waits);
        walk.steps = others;
        for step in waiting {
            walk.waits.add(step);
        }
        walk
    }

    /// The overflow lane's step, where the last attempt ended so that it is its turn.
    pub(super) fn spills(&mut self) -> Option<(Step, Option<Cause>)> {
        let ended = self.ended.take()?;
        if self.failed >= self.attempts_max {
            return None;
        }
        let (_, after) = self.kept.as_ref()?;
        let spills = ended == Cause::Out || after.contains(&ended);
        let (step, _) = self.kept.take_if(|_| spills)?;
        Some((step, Some(ended)))
    }

    /// The step to try now, and why it spills where it is the overflow lane's.
    pub(super) fn next(&mut self) -> Option<(Step, Option<Cause>)> {
        if self.failed >= self.attempts_max {
            return None;
        }
        let step = self.steps.pop_front()?;
        Some((step, self.first.take()))
    }

    /// Whether lanes that answer at once are left.
    pub(super) fn has_others(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The lane that was to be tried has no room, or is out.
    pub(super) fn turned_away(&mut self, cause: Cause) {
        self.ended = Some(cause);
    }

    /// Whether a step may be tried.
    pub(super) fn before(&mut self, proxy: &Proxy, step: &Step, now: Millis) -> Before {
        if now >= step.give_up {
            // Later ones have more time.
            self.late = true;
            self.leaves(&step.lane, now);
            return Before::Pass;
        }
        if self.may_try(proxy) {
            return Before::Try;
        }
        if self.leaves(&step.lane, now) {
            Before::Pass
        } else {
            Before::Stop
        }
    }

    /// Whether one more attempt may be made.
    fn may_try(&mut self, proxy: &Proxy) -> bool {
        let now = Instant::now();
        let charges = self
            .misses
            .iter()
            .filter(|m| m.result.possibly_charged())
            .count();
        if charges >= CHARGES_MAX {
            return false;
        }
        !self.costs_budget || proxy.budget.spend(now)
    }

    /// A lane that makes requests wait is not tried again; says whether it was one.
    pub(super) fn leaves(&mut self, lane: &LaneId, now: Millis) -> bool {
        let seen = self.waits.done(lane, now);
        let was_one = seen.is_some();
        self.seen.extend(seen.into_iter().flatten());
        was_one
    }

    /// No lane that makes requests wait is tried any more.
    pub(super) fn waits_no_longer(&mut self, now: Millis) {
        self.seen.extend(self.waits.end(now));
    }

    /// An attempt gave nothing; says whether another one could give more.
    pub(super) fn missed(
        &mut self,
        lane: &LaneId,
        miss: Miss,
        lane_open: bool,
        (now, draw): (Millis, Draw),
    ) -> bool {
        self.ended = Some(match (miss.class, miss.result) {
            (Class::Limited, _) => Cause::Limited,
            (Class::NotStarted, _) | (_, AttemptResult::TimedOut) => Cause::TimedOut,
            (Class::NoRoom, _) if miss.status == Some(429) => Cause::Limited,
            _ => Cause::Failed,
        });
        self.costs_budget = miss.costs_budget(lane_open);
        let asked = miss.retry_after.map(clock::millis);
        let again = miss.class == Class::NoRoom && self.waits.had_no_room(lane, asked, now, draw.0);
        if !again {
            let waited = self.leaves(lane, now);
            self.failed += usize::from(!waited);
            let goes_on = miss.class != Class::Final;
            self.misses.push(miss);
            return goes_on;
        }
        true
    }

    /// A refusal that reached us last and can be shown to the caller.
    fn last_refusal(&mut self) -> Option<Failure> {
        let mut refusals = self.misses.iter_mut().rev();
        let (status, passed) = *refusals.find_map(|miss| miss.passed.take())?;
        Some(Failure::passed(status, passed))
    }

    /// The most telling miss decides what the caller hears.
    pub(super) fn failure(mut self, proxy: &Proxy, table: &Table) -> Failure {
        let wait = proxy.health.wait(table, Instant::now()).max(RETRY_AFTER);
        let late = self.late;
        let asked = self.misses.iter().filter_map(|miss| miss.retry_after).min();
        let worst = self.misses.iter().map(|miss| miss.class).max();
        if let Some(Class::Elsewhere | Class::Final) = worst
            && let Some(refusal) = self.last_refusal()
        {
            return refusal;
        }
        let Some(miss) = self.misses.into_iter().max_by_key(|miss| miss.class) else {
            if late {
                let message = "no time was left to call a provider; raise the route's deadline";
                return Failure::upstream(Kind::TimedOut, Retry::Later, message);
            }
            let message = "all lanes of the plan are out just now; try again later";
            return Failure::spillway(Kind::LanesOut, message).after(wait);
        };
        match miss.class {
            Class::Unknown if miss.result == AttemptResult::TimedOut => {
                let message = "the provider gave no content in time; it may have charged for the \
                               attempt";
                Failure::upstream(Kind::TimedOut, Retry::MayCharge, message)
            }
            Class::Unknown => {
                let message = "the provider failed after the request was sent; it may have charged \
                               for the attempt";
                Failure::upstream(Kind::UpstreamFailed, Retry::MayCharge, message)
            }
            Class::Limited | Class::Overloaded => {
                let message = "the providers are overloaded; try again later";
                let asked = asked
                    .unwrap_or(RETRY_AFTER)
                    .min(crate::health::COOL_DOWN_MAX);
                Failure::upstream(Kind::Overloaded, Retry::Later, message).after(asked)
            }
            Class::NoRoom | Class::NotStarted => {
                let message = "the tier that was asked for did not begin in time; nothing was \
                               charged, try again later or without it";
                Failure::upstream(Kind::Overloaded, Retry::Later, message).after(RETRY_AFTER)
            }
            Class::Unsent => {
                let message = "no provider could be reached; nothing was sent, try again";
                Failure::upstream(Kind::UpstreamFailed, Retry::Later, message)
            }
            // Nothing that the caller could read: a redirect, for example.
            Class::Misconfigured | Class::Elsewhere | Class::Final => {
                let message = "the providers refuse this proxy's credentials or model names; the \
                               operator must correct them";
                Failure::upstream(Kind::UpstreamMisconfigured, Retry::Never, message)
            }
        }
    }
}
