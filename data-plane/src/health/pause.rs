//! A pause that doubles while its cause repeats.
//!
//! Owns: how long a lane rests after it said so itself, by an overload or by refusing
//! our key. Knows no breaker states; time is passed in.

use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub(super) struct Pauses {
    first: Duration,
    max: Duration,
    /// Pauses since the last success.
    count: u32,
    until: Option<Instant>,
}

impl Pauses {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            count: 0,
            until: None,
        }
    }

    /// The end of the pause that a failure at `now` causes.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        // Requests that were under way together tell one thing, not many.
        if let Some(until) = self.until.filter(|until| now < *until) {
            return until;
        }
        let until = now + doubled(self.first, self.count).min(self.max);
        self.count = self.count.saturating_add(1);
        self.until = Some(until);
        until
    }

    pub(super) fn reset(&mut self) {
        self.count = 0;
        self.until = None;
    }
}

/// `first`, doubled so many times; saturates.
pub(super) fn doubled(first: Duration, times: u32) -> Duration {
    // Twenty doublings of a millisecond are a quarter of an hour: beyond every maximum.
    first.saturating_mul(1u32 << times.min(20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_once_an_episode_up_to_the_longest() {
        let mut now = Instant::now();
        let mut pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(5));
        for seconds in [1, 2, 4, 5, 5] {
            let until = pauses.next(now);
            assert_eq!(until - now, Duration::from_secs(seconds));
            let meanwhile = now + Duration::from_millis(500);
            assert_eq!(pauses.next(meanwhile), until);
            now = until;
        }
        pauses.reset();
        assert_eq!(pauses.next(now) - now, Duration::from_secs(1));
    }
}
