//! A policy with a bar, held against it where it was not set.
//!
//! Owns: what an operator gets, in contrast to the curve that is read in hindsight.

use ndarray::Array2;
use spillway_routing::unit::Bps;

use super::metrics::{Interval, bootstrap};
use crate::offers::{Policy, Row, Truth};

/// What a policy with a bar gave on prompts that it was not set on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deployed {
    pub quality: f64,
    pub cost: f64,
    pub best_quality: f64,
    pub best_cost: f64,
    /// bar × the best single model's quality.
    pub floor: f64,
    /// Of floor − quality, 95 %, paired over prompts.
    pub shortfall: Interval,
}

/// Applies a policy and holds it against its bar.
#[must_use]
pub fn deployed(
    rows: &[Row],
    truth: &Truth,
    policy: Policy,
    best: usize,
    bar: Bps,
    seed: u64,
) -> Deployed {
    let picks: Vec<usize> = rows.iter().map(|row| policy.pick(row)).collect();
    let n = rows.len().max(1) as f64;
    let sum = |matrix: &Array2<f64>| {
        picks
            .iter()
            .enumerate()
            .map(|(i, pick)| matrix[[i, *pick]])
            .sum::<f64>()
            / n
    };
    let short = |i: usize| bar.share() * truth.quality[[i, best]] - truth.quality[[i, picks[i]]];
    let losses: Vec<f64> = (0..rows.len()).map(short).collect();
    let shortfall = bootstrap(rows.len(), seed, |counts| {
        losses
            .iter()
            .zip(counts)
            .map(|(loss, count)| loss * count)
            .sum::<f64>()
            / n
    });
    let best_quality = truth.quality.column(best).sum() / n;
    Deployed {
        quality: sum(&truth.quality),
        cost: sum(&truth.cost),
        best_quality,
        best_cost: truth.cost.column(best).sum() / n,
        floor: bar.share() * best_quality,
        shortfall,
    }
}
