//! What lanes have lately cost this proxy.
//!
//! Owns: each lane's money of the last hour, and of today (UTC) as an overflow lane,
//! reserved when a request spills over and settled when it closes. Knows no prices; time
//! is passed in. It lives as long as the process: a cap is one proxy's, since its start.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use spillway_routing::conditions::Conditions;
use spillway_routing::id::LaneId;
use spillway_routing::table::Table;
use spillway_routing::unit::{NanoUsd, UnixMillis};

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
const MINUTES: usize = 60;

#[derive(Debug)]
struct Spent {
    /// Per minute of the clock, at its place in the hour.
    minutes: [NanoUsd; MINUTES],
    /// Their sum.
    hour: NanoUsd,
    /// The last minute that was written, since 1970.
    minute: u64,
    /// Today as an overflow lane.
    overflowed: NanoUsd,
    /// Since 1970.
    day: u64,
}

/// What a request that spilled over has reserved.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    pub(crate) lane: LaneId,
    amount: NanoUsd,
    /// Since 1970.
    day: u64,
}

impl Spent {
    fn new(now: UnixMillis) -> Self {
        Self {
            minutes: [NanoUsd::ZERO; MINUTES],
            hour: NanoUsd::ZERO,
            minute: now.0 / MINUTE_MS,
            overflowed: NanoUsd::ZERO,
            day: now.0 / DAY_MS,
        }
    }

    /// Forgets what is older than an hour, and another day's money.
    fn turn(&mut self, now: UnixMillis) {
        let minute = now.0 / MINUTE_MS;
        let passed = minute.saturating_sub(self.minute).min(MINUTES as u64);
        for back in 0..passed {
            let old = &mut self.minutes[(minute - back) as usize % MINUTES];
            self.hour = self.hour.saturating_sub(std::mem::take(old));
        }
        self.minute = minute.max(self.minute);
        let day = now.0 / DAY_MS;
        if day > self.day {
            (self.day, self.overflowed) = (day, NanoUsd::ZERO);
        }
    }

    fn add(&mut self, cost: NanoUsd, now: UnixMillis) {
        let minute = &mut self.minutes[(now.0 / MINUTE_MS) as usize % MINUTES];
        *minute = minute.saturating_add(cost);
        self.hour = self.hour.saturating_add(cost);
    }
}

/// The money of all lanes.
#[derive(Debug, Default)]
pub(crate) struct Spend {
    lanes: Mutex<BTreeMap<LaneId, Spent>>,
}

impl Spend {
    fn lanes(&self) -> MutexGuard<'_, BTreeMap<LaneId, Spent>> {
        // Sums stay meaningful whatever panicked between two of them.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what is known to a table's conditions.
    pub(crate) fn fill(&self, table: &Table, conditions: &mut Conditions, now: UnixMillis) {
        for (id, spent) in self.lanes().iter_mut() {
            let index = table.lane_index(id);
            let Some(state) = index.and_then(|index| conditions.lanes.get_mut(index)) else {
                continue;
            };
            spent.turn(now);
            state.spent = spent.hour;
            state.overflowed = spent.overflowed;
        }
    }

    /// A request spills over: its expected cost counts until it is settled. `None` where
    /// the day's money does not reach for it.
    pub(crate) fn reserve(
        &self,
        lane: &LaneId,
        amount: NanoUsd,
        per_day: Option<NanoUsd>,
        now: UnixMillis,
    ) -> Option<Reserved> {
        let mut lanes = self.lanes();
        let spent = lanes.entry(lane.clone()).or_insert_with(|| Spent::new(now));
        spent.turn(now);
        let after = spent.overflowed.saturating_add(amount);
        if per_day.is_some_and(|most| after > most) {
            return None;
        }
        spent.overflowed = after;
        Some(Reserved {
            lane: lane.clone(),
            amount,
            day: spent.day,
        })
    }

    /// A lane cost this.
    pub(crate) fn add(&self, lane: &LaneId, cost: NanoUsd, now: UnixMillis) {
        let mut lanes = self.lanes();
        let spent = lanes.entry(lane.clone()).or_insert_with(|| Spent::new(now));
        spent.turn(now);
        spent.add(cost, now);
    }

    /// What was reserved came to this. Over midnight the new day pays.
    pub(crate) fn settle(&self, reserved: &Reserved, cost: NanoUsd, now: UnixMillis) {
        if let Some(spent) = self.lanes().get_mut(&reserved.lane) {
            spent.turn(now);
            if reserved.day == spent.day {
                spent.overflowed = spent.overflowed.saturating_sub(reserved.amount);
            }
            spent.overflowed = spent.overflowed.saturating_add(cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMillis = UnixMillis(20_000 * DAY_MS + 12 * 3_600_000);

    fn after(minutes: u64) -> UnixMillis {
        UnixMillis(START.0 + minutes * MINUTE_MS)
    }

    #[test]
    fn an_hour_later_money_is_forgotten() {
        let mut spent = Spent::new(START);
        let sum = |spent: &mut Spent, at| {
            spent.turn(at);
            spent.hour.0
        };
        for minute in [0, 30, 59] {
            spent.turn(after(minute));
            spent.add(NanoUsd(5), after(minute));
        }
        assert_eq!(sum(&mut spent, after(59)), 15);
        assert_eq!(sum(&mut spent, after(60)), 10);
        assert_eq!(sum(&mut spent, after(10_000)), 0);
        // A clock that is set back neither panics nor forgets.
        assert_eq!(sum(&mut spent, START), 0);
    }

    #[test]
    fn the_cap_holds_whoever_comes_together_and_is_fresh_tomorrow() {
        let (spend, lane) = (Spend::default(), LaneId::new("a"));
        let reserve = |amount, at| spend.reserve(&lane, NanoUsd(amount), Some(NanoUsd(10)), at);
        let first = reserve(7, START).unwrap();
        assert!(reserve(4, START).is_none() && reserve(3, START).is_some());
        spend.settle(&first, NanoUsd(2), START);
        assert!(reserve(6, START).is_none() && reserve(5, START).is_some());
        let tomorrow = after(12 * 60);
        assert!(reserve(9, tomorrow).is_some());
        // What was reserved yesterday frees nothing of today.
        spend.settle(&first, NanoUsd(1), tomorrow);
        assert!(reserve(1, tomorrow).is_none());
    }
}
