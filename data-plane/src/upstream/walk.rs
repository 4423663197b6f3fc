//! What is left of a plan, and what its attempts came to.
//!
//! Owns: the order of the steps, the overflow lane's place among them, whether one more
//! attempt may be made, and what the caller is told when none is left. Calls nobody.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use spillway_routing::decide::{Decision, Step, Verdict, Why};
use spillway_routing::outcome::AttemptResult;
use spillway_routing::overflow::Cause;
use spillway_routing::table::Table;
use spillway_routing::unit::Millis;

use super::is_over;
use super::retry::{CHARGES_MAX, Class, Miss};
use crate::Proxy;
use crate::failure::{Failure, Kind, Retry};

/// Told to callers where no lane said when to come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What happened so far, and what is left of the plan.
#[derive(Default)]
pub(super) struct Walk {
    steps: VecDeque<Step>,
    /// The overflow lane's step, where the plan keeps it for attempts that end so.
    kept: Option<(Step, Vec<Cause>)>,
    /// Why the next step spills, if it is the overflow lane's.
    cause: Option<Cause>,
    misses: Vec<Miss>,
    /// The next attempt takes from the retry budget.
    costs_budget: bool,
    late: bool,
    /// When the last step of the plan that was tried had to be given up.
    given_up: Millis,
}

impl Walk {
    pub(super) fn of(decision: Option<&Decision>, table: &Table) -> Self {
        let Some(decision) = decision else {
            return Self::default();
        };
        let route = table.route(decision.route.as_str());
        let overflow = route.and_then(|(route, _)| route.overflow.as_ref());
        let mut walk = Self {
            steps: decision.plan.iter().cloned().collect(),
            ..Self::default()
        };
        match decision.chosen().map(|chosen| &chosen.verdict) {
            Some(Verdict::Chosen(Why::Overflowed(cause))) => walk.cause = Some(*cause),
            _ => {
                let place = overflow.and_then(|overflow| {
                    let at = |step: &Step| step.lane == overflow.lane;
                    Some((walk.steps.iter().position(at)?, overflow))
                });
                walk.kept = place
                    .filter(|(place, _)| *place > 0)
                    .and_then(|(at, o)| Some((walk.steps.remove(at)?, o.after.clone())));
            }
        }
        walk
    }

    /// The step to try now, and why it spills where it is the overflow lane's.
    pub(super) fn next(&mut self) -> Option<(Step, Option<Cause>)> {
        let cause = self.cause.take();
        if let Some((_, after)) = &self.kept {
            let held = cause.filter(|cause| after.contains(cause));
            if let Some(cause) = held
                && let Some((mut step, _)) = self.kept.take()
            {
                // Whatever was tried before it, it has its time.
                step.give_up = step.give_up.max(self.given_up);
                return Some((step, Some(cause)));
            }
        }
        let step = self.steps.pop_front()?;
        self.given_up = step.give_up;
        let spills = cause.filter(|cause| !cause.is_after_attempt());
        Some((step, spills))
    }

    /// The lane that was to be tried has no room, or is out.
    pub(super) fn turned_away(&mut self, cause: Cause) {
        self.cause = Some(cause);
    }

    /// Whether one more attempt may be made.
    pub(super) fn may_try(&mut self, proxy: &Proxy, step: &Step, arrived: Instant) -> bool {
        let now = Instant::now();
        if is_over(step, arrived) {
            self.late = true;
            return false;
        }
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

    pub(super) fn missed(&mut self, miss: Miss, lane_open: bool) {
        self.cause = Some(match (miss.class, miss.result) {
            (Class::Limited, _) => Cause::Limited,
            (_, AttemptResult::TimedOut) => Cause::TimedOut,
            _ => Cause::Failed,
        });
        self.costs_budget = miss.costs_budget(lane_open);
        self.misses.push(miss);
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
            Class::NotStarted => {
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
