//! How good estimates from logged choices are.
//!
//! Owns: the experiment. A made-up log over prompts whose every outcome is known: choices
//! are drawn by a softmax over q − λ·cost, one outcome each is seen; then another policy
//! is estimated from that log and held against what it really gives.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use spillway_routing::float;
use spillway_routing::offpolicy::{Estimates, Estimator, Observed};
use spillway_routing::unit::NanoUsd;

use crate::offers::{Policy, Row, Truth};

/// Spread of the logging policy, in quality.
const TEMPERATURE: f64 = 0.03;

/// What another policy would be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WhatIf {
    /// λ times this.
    Multiplier(f64),
    /// The dearest model at this share of its price.
    Price(f64),
}

/// One estimate and what it was of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    pub estimates: Estimates,
    /// Mean quality of the other policy on all prompts.
    pub truth: f64,
}

/// Logs `choices` requests under λ, `trials` times, and estimates the other policy.
#[must_use]
pub fn trials(
    rows: &[Row],
    truth: &Truth,
    lambda: u64,
    other: WhatIf,
    choices: usize,
    trials: u64,
) -> Vec<Trial> {
    let dearest = (0..truth.cost.ncols())
        .max_by(|a, b| {
            truth
                .cost
                .column(*a)
                .sum()
                .total_cmp(&truth.cost.column(*b).sum())
        })
        .unwrap_or(0);
    let picks: Vec<usize> = rows
        .iter()
        .map(|row| pick(row, lambda, other, dearest))
        .collect();
    let real = picks
        .iter()
        .enumerate()
        .map(|(row, pick)| truth.quality[[row, *pick]]);
    let real = real.sum::<f64>() / rows.len().max(1) as f64;
    let trial = |seed: u64| {
        let mut dice = Xoshiro256Plus::seed_from_u64(seed);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.shuffle(&mut dice);
        let mut estimator = Estimator::default();
        for row in order.into_iter().take(choices) {
            let (logged, propensity) = draw(&rows[row], lambda, &mut dice);
            let observed = Observed {
                quality: truth.quality[[row, logged]],
                agrees: logged == picks[row],
                propensity,
            };
            let predicted = rows[row].offers[picks[row]].quality.share();
            estimator.add(predicted, Some(observed));
        }
        Trial {
            estimates: estimator.estimates(),
            truth: real,
        }
    };
    (0..trials).map(trial).collect()
}

fn pick(row: &Row, lambda: u64, other: WhatIf, dearest: usize) -> usize {
    match other {
        WhatIf::Multiplier(factor) => Policy::lambda((lambda as f64 * factor) as u64).pick(row),
        WhatIf::Price(share) => {
            let mut row = row.clone();
            let cost = &mut row.offers[dearest].cost;
            *cost = NanoUsd::from_usd(cost.usd() * share);
            Policy::lambda(lambda).pick(&row)
        }
    }
}

/// A choice by the logging policy, and the chance it had.
fn draw(row: &Row, lambda: u64, dice: &mut Xoshiro256Plus) -> (usize, f64) {
    let worth = |offer: &spillway_routing::decide::Offer| {
        (offer.quality.share() - lambda as f64 * 1e-4 * offer.cost.usd()) / TEMPERATURE
    };
    let mut chances: Vec<f64> = row.offers.iter().map(worth).collect();
    float::softmax(&mut chances);
    let mut left: f64 = dice.r#gen();
    let drawn = chances.iter().position(|chance| {
        left -= chance;
        left < 0.0
    });
    let drawn = drawn.unwrap_or(chances.len() - 1);
    (drawn, chances[drawn])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use spillway_routing::decide::Offer;
    use spillway_routing::unit::Bps;

    #[test]
    fn a_log_tells_what_a_dollar_worth_half_would_do() {
        // Two models, predictions off by a tenth, both ways.
        let mut dice = Xoshiro256Plus::seed_from_u64(1);
        let mut rows = Vec::new();
        let mut quality = Array2::zeros((2_000, 2));
        for i in 0..2_000 {
            let chance: f64 = dice.r#gen();
            let offer = |q: f64, usd: f64| Offer {
                quality: Bps::from_share(q),
                cost: NanoUsd::from_usd(usd),
            };
            rows.push(Row {
                offers: vec![offer(chance * 0.8 + 0.1, 0.001), offer(0.9, 0.002)],
                abstained: false,
            });
            quality[[i, 0]] = f64::from(u8::from(dice.gen_bool(chance)));
            quality[[i, 1]] = f64::from(u8::from(dice.gen_bool(0.8)));
        }
        let truth = Truth {
            quality,
            cost: Array2::from_shape_fn((2_000, 2), |(_, c)| 0.001 * (c + 1) as f64),
        };
        let found = trials(&rows, &truth, 1_000_000, WhatIf::Multiplier(0.5), 1_500, 20);
        let error = |trial: &Trial| (trial.estimates.doubly_robust.unwrap() - trial.truth).abs();
        let mean = found.iter().map(error).sum::<f64>() / 20.0;
        assert!(mean < 0.03, "{mean}");
    }
}
