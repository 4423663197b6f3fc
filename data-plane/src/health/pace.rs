//! How fast a lane lately was.
//!
//! Owns: two smoothed numbers and when they were last fed. A pace nobody confirmed for
//! a while is forgotten, so that a lane which was slow once gets another look.

use std::time::{Duration, Instant};

use spillway_routing::unit::Millis;

/// Weight of a new sample: a shift shows after about five requests.
const NEW_SHARE: f64 = 0.2;
/// A pace this old is no news.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default)]
struct Smoothed {
    value: f64,
    at: Option<Instant>,
}

impl Smoothed {
    fn feed(&mut self, sample: f64, now: Instant) {
        let known = self.fresh(now);
        self.value = known.map_or(sample, |value| value + NEW_SHARE * (sample - value));
        self.at = Some(now);
    }

    fn fresh(&self, now: Instant) -> Option<f64> {
        let at = self.at?;
        (now.saturating_duration_since(at) < FORGOTTEN_AFTER).then_some(self.value)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    first_token_ms: Smoothed,
    per_token_us: Smoothed,
}

impl Pace {
    pub(super) fn first_token(&mut self, took: Duration, now: Instant) {
        self.first_token_ms.feed(took.as_secs_f64() * 1e3, now);
    }

    pub(super) fn per_token(&mut self, took: Duration, now: Instant) {
        self.per_token_us.feed(took.as_secs_f64() * 1e6, now);
    }

    pub(super) fn expected(&self, now: Instant) -> (Option<Millis>, Option<u32>) {
        let first = self
            .first_token_ms
            .fresh(now)
            .map(|ms| Millis(ms.round() as u64));
        (
            first,
            self.per_token_us.fresh(now).map(|us| us.round() as u32),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_moves_with_samples_and_is_forgotten() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.first_token(Duration::from_millis(100), now);
        pace.first_token(Duration::from_millis(200), now);
        assert_eq!(pace.expected(now), (Some(Millis(120)), None));
        assert_eq!(pace.expected(now + FORGOTTEN_AFTER), (None, None));
    }
}
