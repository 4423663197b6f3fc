//! How often ways to set λ break their promise.
//!
//! Owns: the experiment. A pool of prompts with out-of-fold offers is drawn from many
//! times; each draw sets λ by its own audits only, and the rest of the pool tells what
//! the policy really loses against the best single model.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256Plus;

use crate::certificate::{ALLOWED, DELTA, certified};
use crate::evaluate::lambdas;
use crate::evaluate::metrics::mean_and_error;
use crate::offers::{Policy, Row, Truth};

/// Draws of audits.
pub const DRAWS: u64 = 200;
/// z of the one-sided 90 % bound.
const Z: f64 = 1.2816;

/// A way to tell whether a sample of losses allows a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The mean itself.
    Point,
    /// Its upper bound by the central limit theorem.
    Clt,
    Betting,
}

impl Rule {
    pub const ALL: [Self; 3] = [Self::Point, Self::Clt, Self::Betting];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Point => "point estimate",
            Self::Clt => "CLT",
            Self::Betting => "betting",
        }
    }

    fn allows(self, losses: &[f64]) -> bool {
        let (mean, error) = mean_and_error(losses);
        match self {
            Self::Point => mean <= ALLOWED,
            Self::Clt => mean + Z * error <= ALLOWED,
            Self::Betting => certified(losses.iter().copied(), ALLOWED, DELTA),
        }
    }
}

/// What a rule came to over all draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kept {
    pub rule: Rule,
    /// Share of the draws whose policy loses more than is allowed.
    pub violations: f64,
    /// Mean cost, as a share of the best single model's.
    pub cost: f64,
}

/// Sets λ by each rule on `audits` of the prompts, [`DRAWS`] times. `None` when the pool
/// is less than twice as large.
#[must_use]
pub fn guarantee(
    rows: &[Row],
    truth: &Truth,
    best: usize,
    audits: usize,
    seed: u64,
) -> Option<Vec<Kept>> {
    if rows.len() < 2 * audits || audits == 0 {
        return None;
    }
    // [λ][prompt], from the safest on.
    let picks: Vec<Vec<usize>> = lambdas(rows)
        .into_iter()
        .map(|lambda| {
            rows.iter()
                .map(|row| Policy::lambda(lambda).pick(row))
                .collect()
        })
        .collect();
    let whole: f64 = truth.cost.column(best).sum();
    let best_cost = whole / rows.len() as f64;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut sums = Rule::ALL.map(|rule| Kept {
        rule,
        violations: 0.0,
        cost: 0.0,
    });
    for draw in 0..DRAWS {
        order.shuffle(&mut Xoshiro256Plus::seed_from_u64(seed.wrapping_add(draw)));
        let (sample, rest) = order.split_at(audits);
        for kept in &mut sums {
            let loss = |picks: &[usize], row: &usize| {
                truth.quality[[*row, best]] - truth.quality[[*row, picks[*row]]]
            };
            let allowed = picks.iter().take_while(|picks| {
                let losses: Vec<f64> = sample.iter().map(|row| loss(picks, row)).collect();
                kept.rule.allows(&losses)
            });
            // Where no λ is allowed, the best model answers: no loss, no saving.
            let Some(last) = allowed.last() else {
                kept.cost += 1.0;
                continue;
            };
            let n = rest.len() as f64;
            let lost: f64 = rest.iter().map(|row| loss(last, row)).sum();
            let paid: f64 = rest.iter().map(|row| truth.cost[[*row, last[*row]]]).sum();
            kept.violations += f64::from(u8::from(lost / n > ALLOWED));
            kept.cost += paid / n / best_cost;
        }
    }
    let mean = |kept: Kept| Kept {
        violations: kept.violations / DRAWS as f64,
        cost: kept.cost / DRAWS as f64,
        ..kept
    };
    Some(sums.map(mean).to_vec())
}
