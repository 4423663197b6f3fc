//! How good predictions are for routing, in the metrics of the field.
//!
//! Owns: the cost-quality curve of a λ sweep against the hull of single models (the
//! "zero router", the best that a prompt-blind mix can do), what X % of the best
//! model's quality costs, regret, calibration, and their bootstrap intervals. It only
//! measures: nothing here changes a table. Input are offers with *predicted* quality
//! and cost; the truth is used to count, never to choose.
//!
//! The curve's points are read in hindsight, as all published curves are; what an
//! operator gets is a [`deployed::Deployed`] point, whose λ was set on other data.

pub mod deployed;
pub mod hull;
pub mod metrics;
pub mod regret;
mod resampled;

use spillway_routing::float;
use spillway_routing::id::ModelId;

use crate::offers::{Row, Truth};
use crate::side_by_side::{self, THREADS};
use hull::{Hull, Point};
use metrics::{Calibration, Interval, bootstrap_by, calibration};
use regret::{Regret, regrets};
use resampled::{Curves, TOGETHER, Table};

/// λ of a sweep: 0, then this many in a geometric row.
const SWEEP: usize = 120;
/// The row's ends, in quality (0..=1) per mean cost of a call.
const SWEEP_FROM: f64 = 1e-4;
const SWEEP_TO: f64 = 1e3;

/// A model used for everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Single {
    pub model: ModelId,
    pub quality: f64,
    /// US dollars per call.
    pub cost: f64,
    pub brier: f64,
    pub ece: f64,
}

/// One λ of the sweep and what it gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweepPoint {
    /// Hundredths of a percent of quality per dollar.
    pub lambda: u64,
    pub cost: f64,
    pub quality: f64,
}

/// Smallest cost that reaches a share of the best single model's quality, as a share of
/// that model's cost; `None`: never reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostAt {
    pub share: f64,
    pub cost: Option<f64>,
    pub zero: Option<f64>,
}

/// Everything measured on one set of prompts. Qualities are 0..=1, costs US dollars per
/// call.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    pub prompts: usize,
    pub singles: Vec<Single>,
    /// Columns: named on training data; the cheapest on these prompts.
    pub best: usize,
    pub cheapest: usize,
    pub oracle: Point,
    pub curve: Vec<SweepPoint>,
    pub hull: Hull,
    pub zero_hull: Hull,
    /// Mean height of the hull from the cheapest to the dearest single model.
    pub aiq: f64,
    pub aiq_zero: f64,
    /// The same on a logarithmic cost axis, from the cheapest to the best single model.
    pub aiq_log: f64,
    pub aiq_log_zero: f64,
    /// Of `aiq_log - aiq_log_zero`, paired over prompts, 95 %.
    pub gain: Interval,
    pub cost_at: Vec<CostAt>,
    pub calibration: Calibration,
    /// Where the zero router would take the cheapest, a middle and the best model.
    pub regret: Vec<Regret>,
}

impl Evaluation {
    /// Cost share for `share` of the best quality.
    #[must_use]
    pub fn cost_share(&self, share: f64) -> Option<f64> {
        self.cost_at
            .iter()
            .find(|at| (at.share - share).abs() < 1e-9)?
            .cost
    }
}

/// How much higher the curve of some offers lies than that of others on the same prompts, in
/// `aiq_log`, paired over them, 95 %. Both have the mixes of single models on them.
#[must_use]
pub fn gain_over(rows: &[Row], others: &[Row], truth: &Truth, best: usize, seed: u64) -> Interval {
    let tables = side_by_side::each(THREADS, &[rows, others], |rows| Table::of(rows, truth));
    bootstrap_by(TOGETHER, rows.len(), seed, |draws| {
        let height = |table: &Table| {
            let curves = table.resampled(draws);
            let heights = curves.iter().map(|curves| curves.aiq_log(best).0);
            heights.collect::<Vec<f64>>()
        };
        let pairs = height(&tables[0]).into_iter().zip(height(&tables[1]));
        pairs.map(|(ours, theirs)| ours - theirs).collect()
    })
}

/// Measures offers against the truth. `best` is the best single model's column as named
/// on training data. `None` without prompts or models.
#[must_use]
pub fn evaluate(
    rows: &[Row],
    truth: &Truth,
    models: &[ModelId],
    best: usize,
    seed: u64,
) -> Option<Evaluation> {
    if rows.is_empty() || models.is_empty() {
        return None;
    }
    let table = Table::of(rows, truth);
    let singles = singles(rows, truth, models);
    let curves = table.curves();
    let cheapest = curves.cheapest;
    let last = curves.singles.iter().map(|p| p.cost).fold(0.0, f64::max);
    let first = curves.singles[cheapest].cost;
    let cost_at = [0.95, 0.98, 0.99, 1.0].map(|share| {
        let target = curves.singles[best].quality * share;
        let relative = |hull: &Hull| Some(hull.cost_at(target)? / curves.singles[best].cost);
        CostAt {
            share,
            cost: relative(&curves.router),
            zero: relative(&curves.zero),
        }
    });
    let gain = bootstrap_by(TOGETHER, rows.len(), seed, |draws| {
        let curves = table.resampled(draws);
        let gain = |curves: &Curves| {
            let (router, zero) = curves.aiq_log(best);
            router - zero
        };
        curves.iter().map(gain).collect()
    });
    let (aiq_log, aiq_log_zero) = curves.aiq_log(best);
    let pairs = (0..models.len())
        .flat_map(|c| pairs(rows, truth, c))
        .collect();
    Some(Evaluation {
        prompts: rows.len(),
        best,
        cheapest,
        oracle: oracle(truth),
        curve: table.sweep(),
        aiq: curves.router.mean(first, last),
        aiq_zero: curves.zero.mean(first, last),
        aiq_log,
        aiq_log_zero,
        gain,
        cost_at: cost_at.to_vec(),
        calibration: calibration(pairs),
        regret: regrets(rows, truth, &curves.zero),
        singles,
        hull: curves.router,
        zero_hull: curves.zero,
    })
}

/// The mean height of the curve on a logarithmic cost axis (`aiq_log` of
/// [`Evaluation`]): what routing by these offers is worth. Zero without rows.
#[must_use]
pub fn policy_value(rows: &[Row], truth: &Truth, best: usize) -> f64 {
    if rows.is_empty() || truth.quality.ncols() == 0 {
        return 0.0;
    }
    Curves::of_sweep(rows, truth).aiq_log(best).0
}

/// λ 0, then [`SWEEP`] of them around the mean cost of a call.
#[must_use]
pub fn lambdas(rows: &[Row]) -> Vec<u64> {
    let costs = rows
        .iter()
        .flat_map(|row| &row.offers)
        .map(|offer| offer.cost.usd());
    let count = rows.iter().map(|row| row.offers.len()).sum::<usize>();
    let mean = (costs.sum::<f64>() / count.max(1) as f64).max(1e-9);
    let step = float::ln(SWEEP_TO / SWEEP_FROM) / (SWEEP - 1) as f64;
    let lambda = |i: usize| {
        let quality = SWEEP_FROM * float::exp(step * i as f64);
        (quality * 1e4 / mean).round() as u64
    };
    let mut all: Vec<u64> = std::iter::once(0).chain((0..SWEEP).map(lambda)).collect();
    all.dedup();
    all
}

fn pairs(rows: &[Row], truth: &Truth, column: usize) -> Vec<(f64, f64)> {
    let pair = |(i, row): (usize, &Row)| {
        (
            row.offers[column].quality.share(),
            truth.quality[[i, column]],
        )
    };
    rows.iter().enumerate().map(pair).collect()
}

fn singles(rows: &[Row], truth: &Truth, models: &[ModelId]) -> Vec<Single> {
    let n = rows.len() as f64;
    let single = |(column, model): (usize, &ModelId)| {
        let fit = calibration(pairs(rows, truth, column));
        Single {
            model: model.clone(),
            quality: truth.quality.column(column).sum() / n,
            cost: truth.cost.column(column).sum() / n,
            brier: fit.brier,
            ece: fit.ece,
        }
    };
    models.iter().enumerate().map(single).collect()
}

/// Best score, cheapest among ties.
fn oracle(truth: &Truth) -> Point {
    let mut sum = Point {
        cost: 0.0,
        quality: 0.0,
    };
    for (quality, cost) in truth.quality.rows().into_iter().zip(truth.cost.rows()) {
        let best = quality.iter().copied().fold(f64::MIN, f64::max);
        let among = quality.iter().zip(cost).filter(|(q, _)| **q == best);
        sum.quality += best;
        sum.cost += among.map(|(_, cost)| *cost).fold(f64::MAX, f64::min);
    }
    let n = truth.quality.nrows() as f64;
    Point {
        cost: sum.cost / n,
        quality: sum.quality / n,
    }
}

#[cfg(test)]
mod tests;
