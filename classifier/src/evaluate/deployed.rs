//! A policy with a bar, held against it where it was not set.
//!
//! Owns: what an operator gets, in contrast to the curve that is read in hindsight.

use ndarray::Array2;
use spillway_routing::unit::Bps;

use super::metrics::{Interval, bootstrap_means};
use crate::offers::{Policy, Row, Truth};
use crate::side_by_side::{self, THREADS};

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

/// A policy to be held against its bar, and what it picks from.
#[derive(Clone, Copy, Debug)]
pub struct Tried<'a> {
    pub rows: &'a [Row],
    pub policy: Policy,
    pub bar: Bps,
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
    let tried = Tried { rows, policy, bar };
    let picks = tried.picks();
    let losses = losses(&[tried], std::slice::from_ref(&picks), truth, best);
    let shortfall = bootstrap_means(&losses, seed).first().copied();
    tried.held(&picks, truth, best, shortfall.unwrap_or_default())
}

/// The same for several policies on the same prompts, which are drawn again once for all.
#[must_use]
pub fn deployed_all(tried: &[Tried<'_>], truth: &Truth, best: usize, seed: u64) -> Vec<Deployed> {
    let picks = side_by_side::each(THREADS, tried, Tried::picks);
    let shortfalls = bootstrap_means(&losses(tried, &picks, truth, best), seed);
    let each = tried.iter().zip(&picks).zip(shortfalls);
    let held = each.map(|((tried, picks), shortfall)| tried.held(picks, truth, best, shortfall));
    held.collect()
}

/// What each policy lost on each prompt, a column per policy.
fn losses(tried: &[Tried<'_>], picks: &[Vec<usize>], truth: &Truth, best: usize) -> Array2<f64> {
    let shape = (truth.quality.nrows(), tried.len());
    Array2::from_shape_fn(shape, |(i, k)| {
        let floor = tried[k].bar.share() * truth.quality[[i, best]];
        floor - truth.quality[[i, picks[k][i]]]
    })
}

impl Tried<'_> {
    fn picks(&self) -> Vec<usize> {
        let rows = self.rows.iter();
        rows.map(|row| self.policy.pick(row)).collect()
    }

    fn held(&self, picks: &[usize], truth: &Truth, best: usize, shortfall: Interval) -> Deployed {
        let n = picks.len().max(1) as f64;
        let sum = |matrix: &Array2<f64>| {
            let picked = picks.iter().enumerate();
            picked.map(|(i, pick)| matrix[[i, *pick]]).sum::<f64>() / n
        };
        let best_quality = truth.quality.column(best).sum() / n;
        Deployed {
            quality: sum(&truth.quality),
            cost: sum(&truth.cost),
            best_quality,
            best_cost: truth.cost.column(best).sum() / n,
            floor: self.bar.share() * best_quality,
            shortfall,
        }
    }
}
