//! Betting that a mean is too high, for as long as one likes.
//!
//! Owns: the e-process. Its null hypothesis is that numbers of 0..=1 have a mean of at
//! most `limit`; five gamblers with fixed stakes bet against it, and their mean wealth
//! reaches w with a chance of at most 1/w, whenever one looks (Ville 1939; Waudby-Smith
//! and Ramdas 2024). Each keeps a part of the money for later rounds, so that a good time
//! which ate up what was bet first does not hide a change after it: a mixture over when it
//! began is as fair a bet. Knows nothing of what the numbers are.

/// Shares of the largest stake that cannot go broke: small ones win on small excesses,
/// large ones win fast on large ones.
const STAKES: [f64; 5] = [0.05, 0.15, 0.3, 0.5, 0.8];
/// New money comes after so many numbers; in round j of 0, 1, 2 … it is 1/(j + 1)(j + 2),
/// which sums up to one.
const ROUND: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Bet {
    limit: f64,
    wealth: [f64; STAKES.len()],
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
            wealth: [0.0; STAKES.len()],
            seen: 0,
            sum: 0.0,
            excess: 0.0,
            least: (0.0, 0),
        }
    }

    /// One more number of 0..=1.
    pub(super) fn see(&mut self, x: f64) {
        let round = (self.seen / ROUND) as f64;
        let new = self.seen.is_multiple_of(ROUND);
        let new = if new {
            1.0 / ((round + 1.0) * (round + 2.0))
        } else {
            0.0
        };
        for (wealth, stake) in self.wealth.iter_mut().zip(STAKES) {
            *wealth = (*wealth + new) * (1.0 + stake / self.limit * (x - self.limit));
        }
        self.seen += 1;
        self.sum += x;
        self.excess += x - self.limit;
        if self.excess < self.least.0 {
            self.least = (self.excess, self.seen);
        }
    }

    /// The gamblers' mean wealth, with what they keep for later; 1 at the start.
    pub(super) fn wealth(&self) -> f64 {
        let kept = 1.0 / (self.seen.div_ceil(ROUND) as f64 + 1.0);
        self.wealth.iter().sum::<f64>() / STAKES.len() as f64 + kept
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
    fn a_long_good_time_does_not_hide_what_comes_after_it() {
        for good in [100, 1_000, 10_000] {
            let mut dice = Xoshiro256Plus::seed_from_u64(good);
            let mut bet = Bet::against(0.3);
            let mut see = |mean: f64| {
                bet.see(f64::from(u8::from(dice.r#gen::<f64>() < mean)));
                bet.wealth() >= 20.0
            };
            assert!(!(0..good).any(|_| see(0.2)), "too early");
            let found = (0..400).find(|_| see(0.6));
            assert!(found.is_some_and(|found| found < 150), "{good}: {found:?}");
        }
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
