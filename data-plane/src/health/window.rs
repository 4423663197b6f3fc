//! The share of failures over the last seconds.
//!
//! Owns: a ring of one-second buckets. Knows no states: what a share means is the
//! breaker's business.

use std::time::{Duration, Instant};

/// One bucket a second: the window forgets in steps fine enough for a breaker that
/// should open within ten seconds.
const BUCKETS: usize = 10;
const BUCKET: Duration = Duration::from_secs(1);
/// Below this many requests a share says nothing.
const REQUESTS_MIN: u32 = 10;
/// A lane is well that answers so many requests for each that fails, in so many of the
/// last buckets.
const GOOD_PER_BAD: u32 = 10;
const LATELY: u64 = 2;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Number of the second since the window's start that it counts.
    second: u64,
    good: u32,
    bad: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Window {
    start: Instant,
    buckets: [Bucket; BUCKETS],
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            start: now,
            buckets: [Bucket::default(); BUCKETS],
        }
    }

    pub(super) fn record(&mut self, good: bool, now: Instant) {
        let second = self.second(now);
        let bucket = &mut self.buckets[(second % BUCKETS as u64) as usize];
        if bucket.second != second {
            *bucket = Bucket {
                second,
                ..Bucket::default()
            };
        }
        if good {
            bucket.good = bucket.good.saturating_add(1);
        } else {
            bucket.bad = bucket.bad.saturating_add(1);
        }
    }

    /// At least half of enough recent requests failed.
    pub(super) fn is_failing(&self, now: Instant) -> bool {
        let (good, bad) = self.counts(BUCKETS as u64, now);
        good.saturating_add(bad) >= REQUESTS_MIN && bad >= good
    }

    /// Of enough requests of this moment and the one before hardly any failed.
    pub(super) fn is_well(&self, now: Instant) -> bool {
        let (good, bad) = self.counts(LATELY, now);
        good >= REQUESTS_MIN && good / GOOD_PER_BAD >= bad
    }

    /// What went well and what failed in the last buckets.
    fn counts(&self, buckets: u64, now: Instant) -> (u32, u32) {
        let second = self.second(now);
        let recent = self.buckets.iter().filter(|b| b.second + buckets > second);
        recent.fold((0, 0), |(good, bad): (u32, u32), bucket| {
            (
                good.saturating_add(bucket.good),
                bad.saturating_add(bucket.bad),
            )
        })
    }

    pub(super) fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / BUCKET.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_ten_is_failing_and_is_forgotten() {
        let start = Instant::now();
        let mut window = Window::new(start);
        for i in 0..9 {
            window.record(i % 2 == 0, start);
        }
        assert!(!window.is_failing(start), "nine requests say nothing");
        window.record(false, start);
        assert!(window.is_failing(start));
        assert!(!window.is_failing(start + Duration::from_secs(10)));
    }

    #[test]
    fn one_in_ten_is_well_for_two_seconds() {
        let start = Instant::now();
        let mut window = Window::new(start);
        for _ in 0..9 {
            window.record(true, start);
        }
        assert!(!window.is_well(start), "nine requests say nothing");
        window.record(true, start);
        window.record(false, start);
        assert!(window.is_well(start));
        assert!(!window.is_well(start + Duration::from_secs(2)));
        window.record(false, start);
        assert!(!window.is_well(start));
    }
}
