//! Betting that a mean is too high, for as long as one likes.
//!
//! Owns: the e-process. Its null hypothesis is that numbers of 0..=1 have a mean of at
//! most `limit`; five gamblers with fixed stakes bet against it, and their mean wealth
//! reaches w with a chance of at most 1/w, whenever one looks (Ville 1939; Waudby-Smith
//! and Ramdas 2024). Knows nothing of what the numbers are.

use spillway_routing::float;

/// Shares of the largest stake that cannot go broke: small ones win on small excesses,
/// large ones win fast on large ones.
const STAKES: [f64; 5] = [0.05, 0.15, 0.3, 0.5, 0.8];

#[derive(Clone, Debug)]
pub(super) struct Bet {
    limit: f64,
    log_wealth: [f64; STAKES.len()],
    seen: usize,
    sum: f64,
    /// Sum of the excesses, where it was least, and how many numbers came up to there.
    excess: f64,
    least: (f64, usize),
}

impl Bet {
    /// `limit` within 0..1.
    pub(super) fn against(limit: f64) -> Self {
        Self {
            limit,
            log_wealth: [0.0; STAKES.len()],
            seen: 0,
            sum: 0.0,
            excess: 0.0,
            least: (0.0, 0),
        }
    }

    /// One more number of 0..=1.
    pub(super) fn see(&mut self, x: f64) {
        for (wealth, stake) in self.log_wealth.iter_mut().zip(STAKES) {
            *wealth += float::ln(1.0 + stake / self.limit * (x - self.limit));
        }
        self.seen += 1;
        self.sum += x;
        self.excess += x - self.limit;
        if self.excess < self.least.0 {
            self.least = (self.excess, self.seen);
        }
    }

    /// The gamblers' mean wealth; 1 at the start.
    pub(super) fn wealth(&self) -> f64 {
        let wealth = self.log_wealth.iter().map(|log| float::exp(*log));
        wealth.sum::<f64>() / STAKES.len() as f64
    }

    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// How many numbers came before the mean rose, by the usual estimate: the place from
    /// which the excesses sum up to the most (Page 1954).
    pub(super) fn before_change(&self) -> usize {
        self.least.1
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum / self.seen.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256Plus;

    /// After how many numbers of a mean the wealth reaches 20, if within `most`.
    fn alarm(mean: f64, limit: f64, most: usize, seed: u64) -> Option<usize> {
        let mut dice = Xoshiro256Plus::seed_from_u64(seed);
        let mut bet = Bet::against(limit);
        (1..=most).find(|_| {
            bet.see(f64::from(u8::from(dice.r#gen::<f64>() < mean)));
            bet.wealth() >= 20.0
        })
    }

    #[test]
    fn false_alarms_are_rarer_than_promised() {
        let alarms = (0..200).filter(|seed| alarm(0.3, 0.3, 6_000, *seed).is_some());
        assert!(alarms.count() <= 10, "more than one in twenty");
    }

    #[test]
    fn the_change_is_found_where_it_was() {
        let mut bet = Bet::against(0.3);
        (0..200).for_each(|i| bet.see(f64::from(u8::from(i % 10 == 0))));
        (0..50).for_each(|i| bet.see(f64::from(u8::from(i % 2 == 0))));
        assert!(
            (195..=201).contains(&bet.before_change()),
            "{}",
            bet.before_change()
        );
    }

    #[test]
    fn a_large_excess_is_found_soon_and_a_small_one_in_time() {
        let median = |mean: f64| {
            let mut times: Vec<usize> = (0..41)
                .map(|seed| alarm(mean, 0.3, 20_000, seed).unwrap_or(20_000))
                .collect();
            times.sort_unstable();
            times[20]
        };
        assert!(median(0.6) < 60, "{}", median(0.6));
        assert!(median(0.36) < 1_500, "{}", median(0.36));
    }
}
