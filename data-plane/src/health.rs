//! Breakers, pace and load, one per lane.
//!
//! Owns: what this proxy has lately seen of each lane. Knows nothing of prices, prompts
//! or HTTP. It never decides: it hands `Conditions` to `routing::decide`, so that a
//! replay can be given the same conditions and must come to the same choice. Every
//! method takes `now`.

mod breaker;
mod pace;
mod pause;
mod starts;
mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spillway_routing::conditions::{Conditions, Gate, LaneState};
use spillway_routing::id::LaneId;
use spillway_routing::table::Table;

use self::breaker::Breaker;
pub(crate) use self::breaker::{COOL_DOWN_MAX, Ejection, Event};
use self::pace::Pace;
pub(crate) use self::starts::Began;

/// Lanes remembered at most: those of a few tables. Beyond it, idle ones are forgotten.
const LANES_MAX: usize = 4_096;

struct Seen {
    breaker: Breaker,
    pace: Pace,
    /// Of a lane that makes requests wait.
    starts: Option<Box<starts::Record>>,
    in_flight: u32,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self {
            breaker: Breaker::new(now),
            pace: Pace::default(),
            starts: None,
            in_flight: 0,
        }
    }
}

/// What was lately seen of all lanes.
pub(crate) struct Health {
    lanes: Mutex<BTreeMap<LaneId, Seen>>,
    ejection: Ejection,
    in_flight_max: u32,
}

impl Health {
    pub(crate) fn new(ejection: Ejection, in_flight_max: u32) -> Self {
        Self {
            lanes: Mutex::default(),
            ejection,
            in_flight_max,
        }
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<LaneId, Seen>> {
        // Counters stay meaningful whatever panicked between two of them.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The states of a table's lanes, in its order, at this hour of the day (UTC).
    pub(crate) fn conditions(&self, table: &Table, now: Instant, hour: u8) -> Conditions {
        let lanes = self.lanes();
        let state = |id: &LaneId| {
            let Some(seen) = lanes.get(id) else {
                return LaneState::default();
            };
            LaneState {
                starts: seen
                    .starts
                    .as_ref()
                    .map(|starts| starts.forecast(hour, now)),
                ..self.state(seen, now)
            }
        };
        Conditions {
            lanes: table
                .draft()
                .lanes
                .iter()
                .map(|lane| state(&lane.id))
                .collect(),
        }
    }

    fn state(&self, seen: &Seen, now: Instant) -> LaneState {
        let (first_token, per_token_us) = seen.pace.expected(now);
        let gate = match seen.breaker.gate(now) {
            Gate::Open | Gate::Probing if seen.in_flight >= self.in_flight_max => Gate::Full,
            gate => gate,
        };
        LaneState {
            gate,
            in_flight: seen.in_flight,
            first_token,
            per_token_us,
            starts: None,
        }
    }

    /// Lets a request through to a lane; `None` where the lane closed since it was
    /// decided, or its one probe is under way. `forced` is for the last lane there is.
    pub(crate) fn admit(
        self: &Arc<Self>,
        lane: &LaneId,
        forced: bool,
        now: Instant,
    ) -> Option<Permit> {
        let mut lanes = self.lanes();
        if lanes.len() >= LANES_MAX && !lanes.contains_key(lane) {
            lanes.retain(|_, seen| seen.in_flight > 0);
        }
        let seen = lanes.entry(lane.clone()).or_insert_with(|| Seen::new(now));
        let probe = match self.state(seen, now).gate {
            Gate::Open => false,
            Gate::Probing => {
                seen.breaker.start_probe();
                true
            }
            Gate::Shut | Gate::Full if forced => false,
            Gate::Shut | Gate::Full => return None,
        };
        seen.in_flight += 1;
        drop(lanes);
        // A forced request to a lane that is out answers for it like a probe.
        let probe = probe || forced;
        Some(Permit {
            health: Arc::clone(self),
            lane: lane.clone(),
            probe,
            reported: false,
        })
    }

    /// The shortest time until one of a table's lanes may be tried again.
    pub(crate) fn wait(&self, table: &Table, now: Instant) -> Duration {
        let lanes = self.lanes();
        let untils = table.draft().lanes.iter().filter_map(|lane| {
            let until = lanes.get(&lane.id)?.breaker.until()?;
            Some(until.saturating_duration_since(now))
        });
        untils.min().unwrap_or_default().min(COOL_DOWN_MAX)
    }

    /// For each lane of a table: whether its breaker is open, and its requests in flight.
    pub(crate) fn snapshot(&self, table: &Table, now: Instant) -> Vec<(LaneId, bool, u32)> {
        let lanes = self.lanes();
        let ids = table.draft().lanes.iter().map(|lane| &lane.id);
        ids.map(|id| {
            let seen = lanes.get(id);
            let open = seen.is_some_and(|s| s.breaker.gate(now) != Gate::Open);
            (id.clone(), open, seen.map_or(0, |s| s.in_flight))
        })
        .collect()
    }

    fn with(&self, lane: &LaneId, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.lanes().get_mut(lane) {
            change(seen);
        }
    }
}

/// One request under way at a lane. Dropped, it frees its place.
pub(crate) struct Permit {
    health: Arc<Health>,
    lane: LaneId,
    probe: bool,
    reported: bool,
}

impl Permit {
    /// Says what happened; the first report also settles the probe.
    pub(crate) fn report(&mut self, event: Event, now: Instant, dice: u64) {
        let probe = self.probe && !self.reported;
        self.reported = true;
        let ejection = self.health.ejection;
        self.health.with(&self.lane, |seen| {
            seen.breaker.record(
                event,
                probe && seen.breaker.gate(now) != Gate::Open,
                ejection,
                now,
                dice,
            );
        });
    }

    /// Whether the lane still takes requests as usual.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        let lanes = self.health.lanes();
        let seen = lanes.get(&self.lane);
        seen.is_none_or(|seen| seen.breaker.gate(now) == Gate::Open)
    }

    pub(crate) fn first_token(&self, took: Duration, now: Instant) {
        self.health
            .with(&self.lane, |seen| seen.pace.first_token(took, now));
    }

    /// What became of a request that may have had to wait.
    pub(crate) fn began(&self, began: Began, hour: u8, now: Instant) {
        self.health.with(&self.lane, |seen| {
            let record = seen.starts.get_or_insert_with(Box::default);
            record.add(began, hour, now);
        });
    }

    pub(crate) fn per_token(&self, took: Duration, now: Instant) {
        self.health
            .with(&self.lane, |seen| seen.pace.per_token(took, now));
    }

    fn release(&mut self, now: Instant) {
        let unsettled = self.probe && !self.reported;
        self.health.with(&self.lane, |seen| {
            seen.in_flight = seen.in_flight.saturating_sub(1);
            if unsettled {
                seen.breaker.release_probe(now);
            }
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Arc<Health> {
        let ejection = Ejection {
            first: Duration::from_secs(2),
            max: Duration::from_secs(300),
        };
        Arc::new(Health::new(ejection, 2))
    }

    #[test]
    fn only_one_of_two_probes_gets_through() {
        let (health, lane, now) = (health(), LaneId::new("a"), Instant::now());
        for _ in 0..5 {
            health
                .admit(&lane, false, now)
                .unwrap()
                .report(Event::Failed, now, 0);
        }
        let later = now + Duration::from_secs(2);
        let probe = health.admit(&lane, false, later);
        assert!(probe.is_some() && health.admit(&lane, false, later).is_none());
        drop(probe);
        let mut next = health.admit(&lane, false, later).unwrap();
        next.report(Event::Answered, later, 0);
        assert!(health.admit(&lane, false, later).is_some());
    }

    #[test]
    fn a_lane_is_full_at_its_limit_and_the_last_lane_is_forced() {
        let (health, lane, now) = (health(), LaneId::new("a"), Instant::now());
        let held = [
            health.admit(&lane, false, now),
            health.admit(&lane, false, now),
        ];
        assert!(held.iter().all(Option::is_some));
        assert!(health.admit(&lane, false, now).is_none());
        assert!(health.admit(&lane, true, now).is_some());
        drop(held);
        assert!(health.admit(&lane, false, now).is_some());
    }
}
