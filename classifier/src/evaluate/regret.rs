//! What is lost against the oracle, at three willingnesses to pay.
//!
//! Owns: where those lie (the slopes of the zero router's hull) and the sums. Knows
//! nothing of curves beyond that hull.

use super::hull::Hull;
use crate::offers::{Policy, Row, Truth};

/// Loss against the oracle for somebody who values quality at `lambda`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regret {
    pub lambda: u64,
    /// Mean net quality (0..=1, costs converted) lost against the oracle.
    pub regret: f64,
    /// Mean quality lost against the best answer there was.
    pub quality_regret: f64,
    /// Cost as a multiple of the oracle's.
    pub cost_ratio: f64,
}

/// Where the zero router would take the cheapest, a middle and the best model; none if
/// one model dominates.
pub(super) fn regrets(rows: &[Row], truth: &Truth, zero: &Hull) -> Vec<Regret> {
    let slopes: Vec<f64> = zero
        .points
        .windows(2)
        .map(|pair| (pair[1].quality - pair[0].quality) / (pair[1].cost - pair[0].cost))
        .collect();
    let (Some(first), Some(last)) = (slopes.first(), slopes.last()) else {
        return Vec::new(); // One model dominates: every willingness to pay takes it.
    };
    let middle = match slopes.get(slopes.len() / 2) {
        Some(next) if slopes.len() > 1 => (slopes[slopes.len() / 2 - 1] * next).sqrt(),
        _ => *first,
    };
    [first * 2.0, middle, last / 2.0]
        .map(|slope| regret(rows, truth, slope))
        .to_vec()
}

/// `slope` is quality per dollar.
fn regret(rows: &[Row], truth: &Truth, slope: f64) -> Regret {
    let lambda = (slope * 1e4).round() as u64;
    let policy = Policy::lambda(lambda);
    let (mut regret, mut quality, mut cost, mut oracle_cost) = (0.0, 0.0, 0.0, 0.0);
    for (i, row) in rows.iter().enumerate() {
        let net = |c: usize| truth.quality[[i, c]] - slope * truth.cost[[i, c]];
        let pick = policy.pick(row);
        let columns = 0..row.offers.len();
        let best = columns
            .clone()
            .max_by(|a, b| net(*a).total_cmp(&net(*b)))
            .unwrap_or(pick);
        let top = columns
            .map(|c| truth.quality[[i, c]])
            .fold(f64::MIN, f64::max);
        regret += net(best) - net(pick);
        quality += top - truth.quality[[i, pick]];
        cost += truth.cost[[i, pick]];
        oracle_cost += truth.cost[[i, best]];
    }
    let n = rows.len() as f64;
    Regret {
        lambda,
        regret: regret / n,
        quality_regret: quality / n,
        cost_ratio: cost / oracle_cost.max(f64::MIN_POSITIVE),
    }
}
