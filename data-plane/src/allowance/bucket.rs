//! What flows in all the time, up to a minute's worth.
//!
//! Owns: the level of a rate limit. Knows no keys; time is passed in.

use std::time::{Duration, Instant};

const MINUTE: f64 = 60.0;

/// Holds at most what flows in within a minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    pub(super) level: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(per_minute: u32, now: Instant) -> Self {
        Self {
            level: f64::from(per_minute),
            at: now,
        }
    }

    pub(super) fn fill(&mut self, per_minute: u32, now: Instant) {
        let (most, passed) = (
            f64::from(per_minute),
            now.saturating_duration_since(self.at),
        );
        self.level = (self.level + passed.as_secs_f64() * most / MINUTE).min(most);
        self.at = now.max(self.at);
    }

    /// How long until so much is there; what is more than a whole minute's needs a full
    /// bucket, and is owed afterwards.
    pub(super) fn lacks(&self, amount: f64, per_minute: u32) -> Option<Duration> {
        let most = f64::from(per_minute);
        let missing = amount.min(most) - self.level;
        // A limit of nothing never fills.
        let seconds = missing * MINUTE / most.max(f64::MIN_POSITIVE);
        let wait = || Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        (missing > 0.0 || per_minute == 0).then(wait)
    }
}
