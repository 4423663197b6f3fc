//! The multiplier λ of a route: what a dollar is worth so that quality keeps its bar.
//!
//! Owns: the search. The bar is on the *mean* quality of a route, as a share of its
//! best single model's; a floor per prompt would cost 1.5 to 6 times more for the same
//! mean (measured). Predictions must be out of fold, or λ would trust them too much.
//! Every choice is `routing::decide::choose`'s. Knows nothing of how offers were made.

use std::borrow::Borrow;

use spillway_routing::table::{Certificate, Choice};
use spillway_routing::unit::Bps;

use crate::certificate::{ALLOWED, DELTA, certified, order};
use crate::evaluate::metrics::mean_and_error;
use crate::evaluate::{SweepPoint, lambdas};
use crate::offers::{Policy, Row, Truth};
use crate::picks::Fronts;

/// A floor counts as kept when the mean paired shortfall (bar × best − policy) is at
/// most a quarter point and its one-sided 90 % upper bound (central limit theorem) at
/// most a point. The first alone would miss the floor by more than it promises in every
/// other run; the second alone would spend the whole point where picks hardly differ.
/// With a few thousand prompts λ then aims at the floor, with a few hundred above it. On
/// top of that a certificate must hold, which asks for about a thousand.
const SHORTFALL_MEAN_MAX: f64 = 0.0025;
const SHORTFALL_MAX: f64 = 0.01;
const SHORTFALL_Z: f64 = 1.2816;

/// λ tried between the last of the sweep that keeps the bar and the next.
const FINER: u64 = 8;

/// A solved λ.
#[derive(Clone, Debug, PartialEq)]
pub struct Solved {
    /// Always [`Choice::Multiplier`], in hundredths of a percent of quality per dollar.
    pub choice: Choice,
    /// Whether the bar is kept with confidence. If not, λ is the one whose lower bound
    /// comes nearest to it.
    pub kept: bool,
    /// Means expected on prompts like these: quality 0..=1, US dollars per call.
    pub quality: f64,
    pub cost: f64,
    /// Lower bound (90 %) of quality − bar × best quality; down to −0.01 counts as kept.
    pub margin: f64,
    /// Whether betting on these prompts proves that the floor is missed by no more than
    /// [`ALLOWED`], for this λ and every safer one.
    pub certified: bool,
    /// How many they are.
    pub audits: usize,
    /// Every λ tried, ascending.
    pub curve: Vec<SweepPoint>,
}

impl Solved {
    /// What was proven of it, if anything.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        self.certified.then(|| Certificate {
            allowed: Bps::from_share(ALLOWED),
            confidence: Bps::from_share(1.0 - DELTA),
            audits: u32::try_from(self.audits).unwrap_or(u32::MAX),
        })
    }

    #[must_use]
    pub fn lambda(&self) -> u64 {
        match self.choice {
            Choice::Multiplier(lambda) => lambda,
            Choice::Floor(_) => 0,
        }
    }
}

/// One way to pick at every λ of a sweep, over the same prompts: bars that share it cost
/// little more than one.
#[derive(Debug)]
pub struct Sweep<'a> {
    truth: &'a Truth,
    fronts: Fronts,
    route: Policy,
    order: Vec<usize>,
    lambdas: Vec<u64>,
    /// One per λ.
    trials: Vec<Trial>,
}

/// What one λ picks, prompt by prompt, and what that gives.
#[derive(Debug)]
struct Trial {
    choice: Choice,
    picks: Vec<u16>,
    /// Means, as in [`Solved`].
    quality: f64,
    cost: f64,
}

impl<'a> Sweep<'a> {
    /// Guard and default are taken from `route`; its choice is ignored.
    #[must_use]
    pub fn of(rows: &[Row], truth: &'a Truth, route: Policy) -> Self {
        let mut sweep = Self {
            truth,
            fronts: Fronts::of(rows),
            route,
            order: order(rows.len()),
            lambdas: lambdas(rows),
            trials: Vec::new(),
        };
        sweep.trials = sweep.lambdas.iter().map(|l| sweep.trial(*l)).collect();
        sweep
    }

    fn trial(&self, lambda: u64) -> Trial {
        let choice = Choice::Multiplier(lambda);
        let (mut quality, mut cost) = (0.0, 0.0);
        let picks = self.fronts.picks(Policy {
            choice,
            ..self.route
        });
        let picked = |(row, pick): (usize, usize)| {
            quality += self.truth.quality[[row, pick]];
            cost += self.truth.cost[[row, pick]];
            pick as u16
        };
        let picks: Vec<u16> = picks.enumerate().map(picked).collect();
        let n = picks.len().max(1) as f64;
        Trial {
            choice,
            picks,
            quality: quality / n,
            cost: cost / n,
        }
    }

    /// The cheapest λ that keeps `bar` of column `best`'s mean quality: the best of the
    /// sweep, then of a finer row up to the sweep's next λ.
    #[must_use]
    pub fn solve(&self, best: usize, bar: Bps) -> Solved {
        let floor = (best, bar);
        let tried = self.in_sequence(self.trials.iter(), floor);
        let point = |solved: &Solved| SweepPoint {
            lambda: solved.lambda(),
            cost: solved.cost,
            quality: solved.quality,
        };
        let curve = tried.iter().map(point).collect();
        let attempt = |lambda: u64| self.judge(&self.trial(lambda), floor, true);
        let mut solved = tried
            .into_iter()
            .reduce(better)
            .unwrap_or_else(|| attempt(0));
        let from = solved.lambda();
        let next = self.lambdas.partition_point(|lambda| *lambda <= from);
        if let Some(next) = self.lambdas.get(next).filter(|_| solved.kept) {
            let step = (next - from) / (FINER + 1);
            let finer = (1..=FINER).map(|i| self.trial(from + i * step));
            let finer = self.in_sequence(finer, floor);
            solved = finer.into_iter().fold(solved, better);
        }
        solved.curve = curve;
        solved
    }

    /// From the safest on, the first λ without a certificate takes it from all that
    /// follow, and without one the bar does not count as kept.
    fn in_sequence<T: Borrow<Trial>>(
        &self,
        trials: impl Iterator<Item = T>,
        floor: (usize, Bps),
    ) -> Vec<Solved> {
        let mut held = true;
        let judged = trials.map(|trial| {
            let solved = self.judge(trial.borrow(), floor, held);
            held = solved.certified;
            Solved {
                kept: solved.kept && held,
                ..solved
            }
        });
        judged.collect()
    }

    /// Asks for a certificate only where one would still count.
    fn judge(&self, trial: &Trial, (best, bar): (usize, Bps), ask: bool) -> Solved {
        let quality = &self.truth.quality;
        let difference = |(row, pick): (usize, &u16)| {
            quality[[row, usize::from(*pick)]] - bar.share() * quality[[row, best]]
        };
        let differences: Vec<f64> = trial.picks.iter().enumerate().map(difference).collect();
        let (mean, error) = mean_and_error(&differences);
        let margin = mean - SHORTFALL_Z * error;
        let losses = self.order.iter().map(|row| -differences[*row]);
        Solved {
            choice: trial.choice,
            kept: mean >= -SHORTFALL_MEAN_MAX && margin >= -SHORTFALL_MAX,
            quality: trial.quality,
            cost: trial.cost,
            margin,
            certified: ask && certified(losses, ALLOWED, DELTA),
            audits: differences.len(),
            curve: Vec::new(),
        }
    }
}

/// [`Sweep::solve`] for a single bar.
#[must_use]
pub fn solve(rows: &[Row], truth: &Truth, best: usize, bar: Bps, route: Policy) -> Solved {
    Sweep::of(rows, truth, route).solve(best, bar)
}

/// Of two that keep the bar the cheaper, on a tie the later (λ grows); one that keeps
/// it before one that does not; else the one that comes nearer.
fn better(held: Solved, tried: Solved) -> Solved {
    let replace = match (held.kept, tried.kept) {
        (true, true) => tried.cost <= held.cost,
        (false, false) => tried.margin > held.margin,
        (_, keeps) => keeps,
    };
    if replace { tried } else { held }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use spillway_routing::decide::Offer;
    use spillway_routing::unit::NanoUsd;

    /// Half the prompts are easy: there the small model (a cent) is as good as the
    /// large one (a dollar); on the other half it fails.
    fn halves() -> (Vec<Row>, Truth) {
        let offer = |quality: u16, usd: f64| Offer {
            quality: Bps::new(quality),
            cost: NanoUsd::from_usd(usd),
        };
        let row = |i: usize| Row {
            offers: vec![
                offer(if i.is_multiple_of(2) { 9_000 } else { 1_000 }, 0.01),
                offer(9_000, 1.0),
            ],
            abstained: false,
        };
        let mut truth = Truth {
            quality: ndarray::Array2::zeros((400, 2)),
            cost: ndarray::Array2::zeros((400, 2)),
        };
        for i in 0..400 {
            let right = if i % 2 == 0 {
                array![1.0, 1.0]
            } else {
                array![0.0, 1.0]
            };
            truth.quality.row_mut(i).assign(&right);
            truth.cost.row_mut(i).assign(&array![0.01, 1.0]);
        }
        ((0..400).map(row).collect(), truth)
    }

    #[test]
    fn a_full_bar_still_saves_where_it_is_free() {
        let (rows, truth) = halves();
        let solved = solve(&rows, &truth, 1, Bps::ONE, Policy::lambda(0));
        assert!(solved.kept && (solved.quality - 1.0).abs() < 1e-9);
        assert!((solved.cost - 0.505).abs() < 1e-9);
    }

    #[test]
    fn a_lower_bar_never_costs_more() {
        let (rows, truth) = halves();
        let mut last = f64::INFINITY;
        for bar in [10_000, 9_500, 8_000, 5_500, 4_000, 2_000] {
            let solved = solve(&rows, &truth, 1, Bps::new(bar), Policy::lambda(0));
            assert!(solved.kept && solved.cost <= last, "bar {bar}");
            last = solved.cost;
        }
        assert!((last - 0.01).abs() < 1e-9);
    }

    #[test]
    fn a_bar_out_of_reach_is_said_to_be() {
        let (rows, mut truth) = halves();
        // The predictions are upside down.
        truth
            .quality
            .columns_mut()
            .into_iter()
            .next()
            .unwrap()
            .mapv_inplace(|q| 1.0 - q);
        let solved = solve(&rows, &truth, 1, Bps::ONE, Policy::lambda(0));
        assert!(!solved.kept && solved.margin < 0.0);
    }

    #[test]
    fn abstentions_go_to_the_default() {
        let (mut rows, truth) = halves();
        rows.iter_mut().for_each(|row| row.abstained = true);
        let route = Policy {
            default: Some(1),
            ..Policy::lambda(0)
        };
        let solved = solve(&rows, &truth, 1, Bps::new(2_000), route);
        assert!((solved.cost - 1.0).abs() < 1e-9);
    }
}
