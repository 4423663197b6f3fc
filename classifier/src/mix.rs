//! How much each head counts.
//!
//! Owns: stacking (Wolpert 1992): shares that sum to one and make the least squared
//! error on predictions out of fold. Whether they or equal shares are handed out is
//! decided by what routing with them is worth, not here.

use spillway_routing::float;
use spillway_routing::unit::Bps;

/// Pull toward equal shares, as a part of the predictions' mean square.
const PULL: f64 = 5e-4;
/// Steps of exponentiated gradient (Kivinen and Warmuth 1997); it converges long before.
const STEPS: usize = 3_000;
const RATE: f64 = 40.0;

/// Sums over (prompt, model) pairs of what heads said and what was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    pairs: f64,
    /// Of each two heads' predictions.
    heads: Vec<Vec<f64>>,
    /// Of each head's prediction and the truth.
    truth: Vec<f64>,
}

impl Moments {
    #[must_use]
    pub fn new(heads: usize) -> Self {
        Self {
            pairs: 0.0,
            heads: vec![vec![0.0; heads]; heads],
            truth: vec![0.0; heads],
        }
    }

    /// One pair: every head's prediction, and what was seen.
    pub fn add(&mut self, said: &[f64], seen: f64) {
        self.pairs += 1.0;
        for (i, a) in said.iter().enumerate() {
            self.truth[i] += a * seen;
            for (j, b) in said.iter().enumerate() {
                self.heads[i][j] += a * b;
            }
        }
    }

    /// The shares with the least squared error.
    #[must_use]
    pub fn stack(&self) -> Vec<Bps> {
        let k = self.truth.len();
        let n = self.pairs.max(1.0);
        let square: f64 = (0..k).map(|i| self.heads[i][i] / n).sum();
        let pull = PULL * square / k.max(1) as f64;
        let mut shares = vec![1.0 / k.max(1) as f64; k];
        for _ in 0..STEPS {
            let gradient = |i: usize| {
                let said: f64 = (0..k).map(|j| self.heads[i][j] / n * shares[j]).sum();
                let even = pull * (shares[i] - 1.0 / k as f64);
                said - self.truth[i] / n + even
            };
            let gradients: Vec<f64> = (0..k).map(gradient).collect();
            for (share, gradient) in shares.iter_mut().zip(gradients) {
                *share *= float::exp(-RATE * gradient);
            }
            let sum: f64 = shares.iter().sum();
            shares.iter_mut().for_each(|share| *share /= sum);
        }
        shares.into_iter().map(Bps::from_share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Predictions that are the truth, half of it, and noise.
    fn moments(heads: &[fn(f64, f64) -> f64]) -> Moments {
        let mut moments = Moments::new(heads.len());
        for i in 0..1_000u32 {
            let truth = f64::from(i * 7 % 10) / 10.0;
            let noise = f64::from(i * 37 % 101) / 101.0;
            let said: Vec<f64> = heads.iter().map(|head| head(truth, noise)).collect();
            moments.add(&said, truth);
        }
        moments
    }

    #[test]
    fn the_head_that_knows_gets_nearly_all() {
        let shares = moments(&[|truth, _| truth, |_, noise| noise]).stack();
        assert!(shares[0].share() > 0.95, "{shares:?}");
    }

    #[test]
    fn heads_that_say_the_same_share_alike() {
        let shares = moments(&[|truth, _| truth, |truth, _| truth]).stack();
        assert_eq!(shares[0], shares[1]);
    }

    #[test]
    fn opposite_errors_are_mixed() {
        let shares = moments(&[|t, n| t + 0.3 * (n - 0.5), |t, n| t - 0.1 * (n - 0.5)]).stack();
        assert!((shares[0].share() - 0.25).abs() < 0.02, "{shares:?}");
    }
}
