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
    /// The last minute that was written, since 1970.
    minute: u64,
    /// Today as an overflow lane.
    overflowed: NanoUsd,
    /// Since 1970.
    day: u64,
}

impl Spent {
    fn new(now: UnixMillis) -> Self {
        Self {
            minutes: [NanoUsd::ZERO; MINUTES],
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
            self.minutes[(minute - back) as usize % MINUTES] = NanoUsd::ZERO;
        }
        self.minute = minute.max(self.minute);
        let day = now.0 / DAY_MS;
        if day > self.day {
            (self.day, self.overflowed) = (day, NanoUsd::ZERO);
        }
    }
}

/// The money of all lanes.
#[derive(Debug, Default)]
pub(crate) struct Spend {
    lanes: Mutex<BTreeMap<LaneId, Spent>>,
}

/// Whether some route's overflow lane goes by money.
fn counts(table: &Table) -> bool {
    let overflows = table
        .draft()
        .routes
        .iter()
        .filter_map(|r| r.overflow.as_ref());
    let by_money = |overflow: &spillway_routing::overflow::Overflow| {
        overflow.spend.is_some() || overflow.per_day.is_some()
    };
    overflows.into_iter().any(by_money)
}

impl Spend {
    fn lanes(&self) -> MutexGuard<'_, BTreeMap<LaneId, Spent>> {
        // Sums stay meaningful whatever panicked between two of them.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what is known to a table's conditions.
    pub(crate) fn fill(&self, table: &Table, conditions: &mut Conditions, now: UnixMillis) {
        if !counts(table) {
            return;
        }
        for (id, spent) in self.lanes().iter_mut() {
            let index = table.lane_index(id);
            let Some(state) = index.and_then(|index| conditions.lanes.get_mut(index)) else {
                continue;
            };
            spent.turn(now);
            state.spent = spent.minutes.iter().copied().sum();
            state.overflowed = spent.overflowed;
        }
    }

    /// A request spilled over: its expected cost counts until it is settled.
    pub(crate) fn reserve(&self, lane: &LaneId, expected: NanoUsd, now: UnixMillis) {
        let mut lanes = self.lanes();
        let spent = lanes.entry(lane.clone()).or_insert_with(|| Spent::new(now));
        spent.turn(now);
        spent.overflowed = spent.overflowed.saturating_add(expected);
    }

    /// A request cost this; `reserved` is what it had reserved where it spilled over. Over
    /// midnight the new day pays.
    pub(crate) fn settle(
        &self,
        (table, lane): (&Table, &LaneId),
        reserved: Option<NanoUsd>,
        cost: NanoUsd,
        now: UnixMillis,
    ) {
        if !counts(table) {
            return;
        }
        let mut lanes = self.lanes();
        let spent = lanes.entry(lane.clone()).or_insert_with(|| Spent::new(now));
        spent.turn(now);
        let place = (now.0 / MINUTE_MS) as usize % MINUTES;
        spent.minutes[place] = spent.minutes[place].saturating_add(cost);
        if let Some(reserved) = reserved {
            let rest = spent.overflowed.saturating_sub(reserved);
            spent.overflowed = rest.saturating_add(cost);
        }
    }

    /// Nothing came of what was reserved.
    pub(crate) fn release(&self, lane: &LaneId, reserved: NanoUsd) {
        if let Some(spent) = self.lanes().get_mut(lane) {
            spent.overflowed = spent.overflowed.saturating_sub(reserved);
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
            spent.minutes.iter().copied().sum::<NanoUsd>().0
        };
        for minute in [0, 30, 59] {
            spent.turn(after(minute));
            spent.minutes[(after(minute).0 / MINUTE_MS) as usize % MINUTES] = NanoUsd(5);
        }
        assert_eq!(sum(&mut spent, after(59)), 15);
        assert_eq!(sum(&mut spent, after(60)), 10);
        assert_eq!(sum(&mut spent, after(10_000)), 0);
        // A clock that is set back neither panics nor forgets.
        assert_eq!(sum(&mut spent, START), 0);
    }

    #[test]
    fn a_day_later_the_cap_is_fresh() {
        let (spend, lane) = (Spend::default(), LaneId::new("a"));
        let today = |at| {
            let mut lanes = spend.lanes();
            let spent = lanes.get_mut(&lane).unwrap();
            spent.turn(at);
            spent.overflowed.0
        };
        spend.reserve(&lane, NanoUsd(7), START);
        spend.reserve(&lane, NanoUsd(7), START);
        spend.release(&lane, NanoUsd(7));
        assert_eq!(today(after(1)), 7);
        assert_eq!(today(after(12 * 60)), 0);
    }
}
