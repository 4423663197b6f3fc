//! A bound on what a policy may lose, from a sample of audits, by betting.
//!
//! Owns: the test. Its null hypothesis is that the policy loses more than is allowed; a
//! gambler bets against that, prompt by prompt, at odds that are fair if it is true, and
//! a wealth of 1/δ refutes it (Ville 1939; Waudby-Smith and Ramdas 2024, with their
//! predictable plug-in bets). That holds for any sample size and any distribution,
//! where a normal approximation breaks its promise on few or skewed losses. Policies
//! are tried from the safest on and the first that fails ends it, so that trying many
//! costs no confidence (fixed-sequence testing).

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256Plus;
use spillway_routing::float;

/// Loss of quality, 0..=1, that a policy is certified to stay within.
pub const ALLOWED: f64 = 0.02;
/// Chance that a certificate is wrong.
pub const DELTA: f64 = 0.10;
/// No bet risks more than this share of the wealth that the worst outcome leaves.
const STAKE_MAX: f64 = 0.9;
/// Losses are looked at in this order, whatever order the prompts came in.
const ORDER_SEED: u64 = 0x6265_7473;

/// A prompt order that has nothing to do with the prompts.
#[must_use]
pub fn order(prompts: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..prompts).collect();
    order.shuffle(&mut Xoshiro256Plus::seed_from_u64(ORDER_SEED));
    order
}

/// Whether the mean of the losses (each −1..=1) is at most `allowed`, with confidence
/// 1 − `delta`.
#[must_use]
pub fn certified(losses: impl ExactSizeIterator<Item = f64>, allowed: f64, delta: f64) -> bool {
    let n = losses.len() as f64;
    let target = float::ln(1.0 / delta);
    // On 0..=1: the null says that the mean is above `limit`.
    let limit = f64::midpoint(allowed, 1.0);
    let (mut sum, mut square, mut variance) = (0.0, 0.0, 0.25);
    let mut wealth = 0.0;
    for (i, loss) in losses.enumerate() {
        let loss = f64::midpoint(loss, 1.0);
        let stake = (2.0 * target / (n * variance))
            .sqrt()
            .min(STAKE_MAX / (1.0 - limit));
        wealth += float::ln(1.0 + stake * (limit - loss));
        if wealth >= target {
            return true;
        }
        // Mean and variance of what was seen, with a half and a quarter as a start.
        let seen = i as f64 + 1.0;
        sum += loss;
        let mean = (sum + 0.5) / (seen + 1.0);
        square += (loss - mean) * (loss - mean);
        variance = (square + 0.25) / (seen + 1.0);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    /// How often of 400 samples a policy is certified whose losses are ±1 or 0 with a
    /// given mean.
    fn share(n: usize, mean: f64) -> f64 {
        let mut dice = Xoshiro256Plus::seed_from_u64(3);
        let mut sample = || -> Vec<f64> {
            let chance = [(0.2 + mean) / 2.0, 0.2 - (0.2 + mean) / 2.0];
            let loss = |dice: &mut Xoshiro256Plus| {
                let drawn: f64 = dice.r#gen();
                if drawn < chance[0] {
                    1.0
                } else if drawn < chance[0] + chance[1] {
                    -1.0
                } else {
                    0.0
                }
            };
            (0..n).map(|_| loss(&mut dice)).collect()
        };
        let held = (0..400).filter(|_| certified(sample().into_iter(), ALLOWED, DELTA));
        held.count() as f64 / 400.0
    }

    #[test]
    fn a_policy_that_loses_just_too_much_is_rarely_certified() {
        for n in [100, 1_000, 4_000] {
            assert!(share(n, ALLOWED + 1e-9) <= DELTA, "{n}");
        }
    }

    #[test]
    fn one_that_loses_nothing_is_certified_on_enough_audits() {
        assert!(share(4_000, 0.0) > 0.6 && share(4_000, -0.02) > 0.95);
        assert!(share(50, 0.0) < 0.2, "fifty audits prove little");
    }

    #[test]
    fn no_audits_prove_nothing() {
        assert!(!certified(std::iter::empty(), 1.0, 0.5));
    }
}
