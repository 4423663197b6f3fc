//! How long requests waited for their start at one lane, and what that says of the next.
//!
//! Owns: the record of starts, refusals and waits given up, lately and by hour of the
//! day, and the forecast from both. A wait that was given up says only that the start
//! would have come later: intervals count as in a life table (Kaplan and Meier 1958).
//! Time is passed in.

use std::time::{Duration, Instant};

use spillway_routing::start::{EDGES, Starts};

/// What happened lately counts half after this.
const RECENT_HALF_LIFE: f64 = 15.0 * 60.0;
/// What happened at this hour counts half after three days.
const HOURLY_HALF_LIFE: f64 = 3.0 * 24.0 * 3_600.0;
/// The hour's record weighs at most so many requests against what was lately seen.
const HOURLY_MAX: f64 = 20.0;
/// Before anything was seen: one request in five refused, half of the others begun
/// within the first interval, a third in each later one; worth two requests.
const PRIOR: Tally = Tally {
    tried: 2.0,
    refused: 0.4,
    entered: [1.6, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1],
    begun: [0.8, 0.27, 0.17, 0.13, 0.1, 0.07, 0.03, 0.03],
};

/// What became of a request that may have had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Began {
    /// After this wait.
    After(Duration),
    /// Not within this wait; then it was given up.
    NotWithin(Duration),
    /// Refused for want of room.
    Refused,
}

/// Requests, weighted by their age.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    tried: f64,
    refused: f64,
    /// Waits that lasted into each interval, and those that ended in it with a start.
    entered: [f64; EDGES.len()],
    begun: [f64; EDGES.len()],
}

impl Tally {
    fn scaled(mut self, by: f64) -> Self {
        self.tried *= by;
        self.refused *= by;
        self.entered = self.entered.map(|count| count * by);
        self.begun = self.begun.map(|count| count * by);
        self
    }

    fn plus(mut self, other: Self) -> Self {
        self.tried += other.tried;
        self.refused += other.refused;
        for i in 0..EDGES.len() {
            self.entered[i] += other.entered[i];
            self.begun[i] += other.begun[i];
        }
        self
    }

    fn add(&mut self, began: Began) {
        self.tried += 1.0;
        let (wait, started) = match began {
            Began::Refused => {
                self.refused += 1.0;
                return;
            }
            Began::After(wait) => (wait, true),
            Began::NotWithin(wait) => (wait, false),
        };
        let wait = wait.as_millis() as u64;
        let mut from = 0;
        for (i, edge) in EDGES.into_iter().enumerate() {
            let ends_here = wait <= edge;
            // An interval that was given up halfway says half as much.
            let part = if ends_here && !started {
                (wait - from) as f64 / (edge - from) as f64
            } else {
                1.0
            };
            self.entered[i] += part;
            if ends_here {
                self.begun[i] += f64::from(u8::from(started));
                return;
            }
            from = edge;
        }
    }

    fn forecast(&self) -> Starts {
        let admitted = 1.0 - self.refused / self.tried.max(f64::MIN_POSITIVE);
        let mut waiting = 1.0;
        let mut shares = [0.0; EDGES.len()];
        for (i, share) in shares.iter_mut().enumerate() {
            let hazard = self.begun[i] / self.entered[i].max(f64::MIN_POSITIVE);
            waiting *= 1.0 - hazard.clamp(0.0, 1.0);
            *share = admitted * (1.0 - waiting);
        }
        Starts::of(shares)
    }
}

/// A tally whose past fades.
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    tally: Tally,
    at: Option<Instant>,
}

impl Fading {
    fn at(&self, half_life: f64, now: Instant) -> Tally {
        let age = self.at.map(|at| now.saturating_duration_since(at));
        let age = age.unwrap_or_default().as_secs_f64();
        self.tally.scaled((-age / half_life).exp2())
    }

    fn add(&mut self, began: Began, half_life: f64, now: Instant) {
        self.tally = self.at(half_life, now);
        self.tally.add(began);
        self.at = Some(now);
    }
}

/// One lane's record.
#[derive(Debug, Default)]
pub(super) struct Record {
    recent: Fading,
    hours: Vec<Fading>,
}

impl Record {
    pub(super) fn add(&mut self, began: Began, hour: u8, now: Instant) {
        self.recent.add(began, RECENT_HALF_LIFE, now);
        self.hours.resize(24, Fading::default());
        if let Some(known) = self.hours.get_mut(usize::from(hour)) {
            known.add(began, HOURLY_HALF_LIFE, now);
        }
    }

    pub(super) fn forecast(&self, hour: u8, now: Instant) -> Starts {
        let hourly = self.hours.get(usize::from(hour)).copied();
        let hourly = hourly.unwrap_or_default().at(HOURLY_HALF_LIFE, now);
        let weight = (HOURLY_MAX / hourly.tried.max(HOURLY_MAX)).min(1.0);
        let recent = self.recent.at(RECENT_HALF_LIFE, now);
        PRIOR.plus(hourly.scaled(weight)).plus(recent).forecast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use spillway_routing::unit::Millis;

    fn chance(record: &Record, seconds: u64, now: Instant) -> f64 {
        record
            .forecast(0, now)
            .chance(Millis(seconds * 1_000))
            .share()
    }

    fn many(record: &mut Record, began: Began, count: u32, now: Instant) {
        for _ in 0..count {
            record.add(began, 0, now);
        }
    }

    #[test]
    fn a_lane_that_begins_soon_is_expected_to() {
        let (mut record, now) = (Record::default(), Instant::now());
        let unseen = chance(&record, 30, now);
        assert!((0.4..0.7).contains(&unseen), "{unseen}");
        many(&mut record, Began::After(Duration::from_secs(8)), 50, now);
        assert!(chance(&record, 10, now) > 0.9 && chance(&record, 5, now) < 0.1);
    }

    #[test]
    fn refusals_and_waits_in_vain_lower_it_and_fade() {
        let now = Instant::now();
        let mut refused = Record::default();
        many(&mut refused, Began::Refused, 50, now);
        assert!(chance(&refused, 600, now) < 0.05);
        let mut vain = Record::default();
        many(
            &mut vain,
            Began::NotWithin(Duration::from_secs(60)),
            50,
            now,
        );
        assert!(chance(&vain, 60, now) < 0.05);
        // Half an hour later only the hour's record still speaks.
        let later = now + Duration::from_secs(3_600 * 24 * 30);
        assert!(
            chance(&refused, 600, later) > 0.4,
            "{}",
            chance(&refused, 600, later)
        );
    }

    #[test]
    fn a_wait_that_was_given_up_says_nothing_of_later() {
        let (mut record, now) = (Record::default(), Instant::now());
        many(
            &mut record,
            Began::NotWithin(Duration::from_secs(10)),
            40,
            now,
        );
        many(&mut record, Began::After(Duration::from_secs(15)), 10, now);
        let (by_10, by_20) = (chance(&record, 10, now), chance(&record, 20, now));
        assert!(by_10 < 0.1 && by_20 > 0.8, "{by_10} {by_20}");
    }

    proptest! {
        #[test]
        fn forecasts_are_shares_that_do_not_fall(
            waits in prop::collection::vec((0u64..900_000, 0u8..3, 0u8..24), 0..60),
        ) {
            let (mut record, now) = (Record::default(), Instant::now());
            for (wait, kind, hour) in waits {
                let wait = Duration::from_millis(wait);
                let began = match kind {
                    0 => Began::After(wait),
                    1 => Began::NotWithin(wait),
                    _ => Began::Refused,
                };
                record.add(began, hour, now);
            }
            let starts = record.forecast(7, now);
            let chances = EDGES.map(|edge| starts.chance(Millis(edge)).get());
            prop_assert!(chances.is_sorted() && chances[7] <= 10_000);
        }
    }
}
