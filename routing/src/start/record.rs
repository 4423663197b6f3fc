//! How long requests waited for their start at one lane, and what that says of the next.
//!
//! Owns: the record of starts and of waits given up, lately and by hour of the
//! day, and the forecast from both. A wait that was given up says only that the start
//! would have come later: intervals count as in a life table (Kaplan and Meier 1958).
//! Time is passed in.

use super::{EDGES, Starts};
use crate::float;
use crate::unit::{Millis, UnixMillis};

/// Milliseconds after which what happened lately counts half.
const RECENT_HALF_LIFE: f64 = 15.0 * 60.0 * 1e3;
/// And what happened at this hour of the day.
const HOURLY_HALF_LIFE: f64 = 3.0 * 24.0 * 3_600.0 * 1e3;
/// The hour's record weighs at most so many requests against what was lately seen.
const HOURLY_MAX: f64 = 20.0;
/// Before anything was seen: four in ten begin within the first interval, a third of the
/// others in each later one; worth two requests.
const PRIOR: Tally = Tally {
    tried: 2.0,
    entered: [2.0, 1.2, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1],
    begun: [0.8, 0.4, 0.27, 0.17, 0.13, 0.1, 0.07, 0.03],
};

/// What became of a request that may have had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// After this wait.
    After(Millis),
    /// Not within this wait; then it was given up.
    NotWithin(Millis),
}

/// Requests, weighted by their age.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    tried: f64,
    /// Waits that lasted into each interval, and those that ended in it with a start.
    entered: [f64; EDGES.len()],
    begun: [f64; EDGES.len()],
}

impl Tally {
    fn scaled(mut self, by: f64) -> Self {
        self.tried *= by;
        self.entered = self.entered.map(|count| count * by);
        self.begun = self.begun.map(|count| count * by);
        self
    }

    fn plus(mut self, other: Self) -> Self {
        self.tried += other.tried;
        for i in 0..EDGES.len() {
            self.entered[i] += other.entered[i];
            self.begun[i] += other.begun[i];
        }
        self
    }

    fn add(&mut self, began: Began) {
        self.tried += 1.0;
        let (wait, started) = match began {
            Began::After(wait) => (wait, true),
            Began::NotWithin(wait) => (wait, false),
        };
        let wait = wait.0;
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
        let mut waiting = 1.0;
        let mut shares = [0.0; EDGES.len()];
        for (i, share) in shares.iter_mut().enumerate() {
            let hazard = self.begun[i] / self.entered[i].max(f64::MIN_POSITIVE);
            waiting *= 1.0 - hazard.clamp(0.0, 1.0);
            *share = 1.0 - waiting;
        }
        Starts::of(shares)
    }
}

/// A tally whose past fades.
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    tally: Tally,
    at: Option<UnixMillis>,
}

impl Fading {
    fn at(&self, half_life: f64, now: UnixMillis) -> Tally {
        let age = self.at.map_or(0, |at| now.0.saturating_sub(at.0));
        let half_lives = age as f64 / half_life;
        self.tally
            .scaled(float::exp(-half_lives * std::f64::consts::LN_2))
    }

    fn add(&mut self, began: Began, half_life: f64, now: UnixMillis) {
        self.tally = self.at(half_life, now);
        self.tally.add(began);
        self.at = Some(now);
    }
}

/// One lane's record.
#[derive(Clone, Debug, Default)]
pub struct Record {
    recent: Fading,
    hours: Vec<Fading>,
}

impl Record {
    /// Remembers one request.
    pub fn add(&mut self, began: Began, now: UnixMillis) {
        self.recent.add(began, RECENT_HALF_LIFE, now);
        self.hours.resize(24, Fading::default());
        if let Some(known) = self.hours.get_mut(hour(now)) {
            known.add(began, HOURLY_HALF_LIFE, now);
        }
    }

    /// What the next request may expect.
    #[must_use]
    pub fn forecast(&self, now: UnixMillis) -> Starts {
        let hourly = self.hours.get(hour(now)).copied();
        let hourly = hourly.unwrap_or_default().at(HOURLY_HALF_LIFE, now);
        let weight = (HOURLY_MAX / hourly.tried.max(HOURLY_MAX)).min(1.0);
        let recent = self.recent.at(RECENT_HALF_LIFE, now);
        PRIOR.plus(hourly.scaled(weight)).plus(recent).forecast()
    }
}

/// Of the day (UTC).
fn hour(now: UnixMillis) -> usize {
    usize::from(now.minute_of_day() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_795_296_600_000);

    fn chance(record: &Record, seconds: u64, now: UnixMillis) -> f64 {
        record.forecast(now).chance(Millis(seconds * 1_000)).share()
    }

    fn many(record: &mut Record, began: Began, count: u32, now: UnixMillis) {
        for _ in 0..count {
            record.add(began, now);
        }
    }

    #[test]
    fn a_lane_that_begins_soon_is_expected_to() {
        let (mut record, now) = (Record::default(), NOW);
        let unseen = chance(&record, 30, now);
        assert!((0.6..0.9).contains(&unseen), "{unseen}");
        many(&mut record, Began::After(Millis(8_000)), 50, now);
        assert!(chance(&record, 10, now) > 0.9 && chance(&record, 5, now) < 0.1);
    }

    #[test]
    fn waits_in_vain_lower_it_and_fade() {
        let now = NOW;
        let mut vain = Record::default();
        many(&mut vain, Began::NotWithin(Millis(60_000)), 50, now);
        assert!(chance(&vain, 60, now) < 0.05);
        // Half an hour later only the hour's record still speaks.
        let later = UnixMillis(now.0 + 3_600_000 * 24 * 30);
        assert!(
            chance(&vain, 60, later) > 0.4,
            "{}",
            chance(&vain, 60, later)
        );
    }

    #[test]
    fn a_wait_that_was_given_up_says_nothing_of_later() {
        let (mut record, now) = (Record::default(), NOW);
        many(&mut record, Began::NotWithin(Millis(10_000)), 40, now);
        many(&mut record, Began::After(Millis(15_000)), 10, now);
        let (by_10, by_20) = (chance(&record, 10, now), chance(&record, 20, now));
        assert!(by_10 < 0.1 && by_20 > 0.8, "{by_10} {by_20}");
    }

    proptest! {
        #[test]
        fn forecasts_are_shares_that_do_not_fall(
            waits in prop::collection::vec((0u64..900_000, 0u8..2, 0u64..24), 0..60),
        ) {
            let (mut record, now) = (Record::default(), NOW);
            for (wait, kind, hour) in waits {
                let wait = Millis(wait);
                let began = match kind {
                    0 => Began::After(wait),
                    _ => Began::NotWithin(wait),
                };
                record.add(began, UnixMillis(now.0 + hour * 3_600_000));
            }
            let starts = record.forecast(now);
            let chances = EDGES.map(|edge| starts.chance(Millis(edge)).get());
            prop_assert!(chances.is_sorted() && chances[7] <= 10_000);
        }
    }
}
