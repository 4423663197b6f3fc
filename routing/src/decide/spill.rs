//! Spilling over to a route's overflow lane.
//!
//! Owns: whether a request leaves the lane it was meant for, why, and whether the
//! overflow lane may take it: in time for its money, and not dearer unless the policy
//! says so. Knows nothing of how the other lane was chosen.

use super::candidate::Assessed;
use super::order::is_out;
use super::{Removal, Verdict, Why};
use crate::overflow::{Cause, Overflow};
use crate::table::{Route, Table};
use crate::unit::NanoUsd;

/// The overflow lane of a request.
pub(super) struct Spill<'a> {
    overflow: &'a Overflow,
    line: usize,
}

/// Whether a request spills, and to which line.
#[derive(Clone, Copy)]
pub(super) enum Spilling {
    Never,
    Now(usize, Cause),
    /// After an attempt that ends so.
    Perhaps(usize),
}

/// The line that is kept for what spills over; none where a rule pins the request to it.
pub(super) fn kept(table: &Table, route: &Route, assessed: &Assessed) -> Option<usize> {
    let lane = table.lane_index(&route.overflow.as_ref()?.lane)?;
    let line = assessed.lanes.iter().position(|other| *other == lane)?;
    let pinned = assessed.pinned.as_ref();
    pinned.is_none_or(|(pin, _)| *pin != line).then_some(line)
}

/// Takes the route's overflow lane out of the choice, where it has one. `None` where it
/// cannot serve the request, or nothing may spill to it any more.
pub(super) fn reserve<'a>(
    route: &'a Route,
    line: usize,
    assessed: &mut Assessed,
) -> Option<Spill<'a>> {
    let overflow = route.overflow.as_ref()?;
    // No limit is relaxed for a lane that is none of the choice.
    assessed.soft[line].clear();
    if matches!(assessed.trail[line].verdict, Verdict::Removed(_)) {
        return None;
    }
    let cost = assessed.trail[line].cost.unwrap_or_default();
    let spent = assessed.states[line].overflowed;
    let exhausted = overflow
        .per_day
        .filter(|max| spent.saturating_add(cost) > *max);
    let removal = exhausted.map_or(Removal::KeptForOverflow, |max| Removal::OverflowSpent {
        spent,
        max,
    });
    assessed.trail[line].verdict = Verdict::Removed(removal);
    exhausted.is_none().then_some(Spill { overflow, line })
}

impl Spill<'_> {
    /// What becomes of a request that is meant for the line `chosen`.
    pub(super) fn of(&self, assessed: &Assessed, chosen: usize) -> Spilling {
        if chosen == self.line || !self.may_replace(assessed, assessed.trail[chosen].cost) {
            return Spilling::Never;
        }
        match self.cause(assessed, chosen) {
            Some(cause) => Spilling::Now(self.line, cause),
            None if self.overflow.after.is_empty() => Spilling::Never,
            None => Spilling::Perhaps(self.line),
        }
    }

    /// Whether it may come after a lane that took all of its time.
    pub(super) fn needs_time(&self) -> bool {
        self.overflow.after.contains(&Cause::TimedOut)
    }

    fn cause(&self, assessed: &Assessed, chosen: usize) -> Option<Cause> {
        let state = &assessed.states[chosen];
        let cost = assessed.trail[chosen].cost.unwrap_or_default();
        let beyond = |limit: Option<u32>, now: u32| limit.is_some_and(|limit| now > limit);
        let dear = |limit: Option<NanoUsd>, now: NanoUsd| limit.is_some_and(|limit| now > limit);
        let overflow = self.overflow;
        let held = [
            (overflow.classes.contains(&assessed.class), Cause::Class),
            (beyond(overflow.in_flight, state.in_flight), Cause::InFlight),
            (beyond(overflow.queued, state.waiting), Cause::Queued),
            (dear(overflow.cost, cost), Cause::Cost),
            (dear(overflow.spend, state.spent), Cause::Spend),
        ];
        let holds = held.into_iter().find(|(holds, _)| *holds);
        holds.map(|(_, cause)| cause)
    }

    /// Whether it may stand in for a lane of this expected cost.
    fn may_replace(&self, assessed: &Assessed, cost: Option<NanoUsd>) -> bool {
        self.overflow.dearer || assessed.trail[self.line].cost <= cost
    }
}

/// Gives the request to the overflow lane where every other lane that could serve it is
/// out; says whether it did.
pub(super) fn when_all_are_out(spill: Option<&Spill<'_>>, assessed: &mut Assessed) -> bool {
    let out = assessed.trail.iter().filter(|line| is_out(line));
    let Some((spill, dearest)) = spill.zip(out.map(|line| line.cost).max()) else {
        return false;
    };
    let takes = spill.may_replace(assessed, dearest);
    if takes {
        assessed.trail[spill.line].verdict = Verdict::Chosen(Why::Overflowed(Cause::Out));
    }
    takes
}
