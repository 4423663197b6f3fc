//! One committee ready for use, and the ones that tell how good it is.
//!
//! Owns: the order of fitting, folds, mix and calibration. Equal or stacked shares, and
//! how much a named slice counts, are chosen by what routing with them is worth out of
//! fold.

use spillway_routing::head::Committee;
use spillway_routing::head::size::NETWORKS;
use spillway_routing::unit::Bps;

use crate::crossfit::{CrossFit, cross_fit};
use crate::dataset::Dataset;
use crate::evaluate::policy_value;
use crate::fit::{FitSettings, GIVEN, fit};
use crate::offers::{Comparable, Terms};
use crate::side_by_side::{self, THREADS};

/// What is not the usual choice must be worth so much more than it: the mean height of
/// the cost-quality curve, in shares of full quality.
const WORTH_MORE: f64 = 1e-3;

/// A committee of all rows, calibrated, and the folds that judged it.
#[derive(Clone, Debug)]
pub struct Learned {
    pub committee: Committee,
    pub folds: CrossFit,
}

/// Learns from all rows. `half_way` is told when the committee is fitted and the folds
/// are not.
#[must_use]
pub fn learn(
    data: &Dataset,
    prices: &[Option<Terms>],
    seed: u64,
    half_way: &mut dyn FnMut(),
) -> Learned {
    let settings = FitSettings {
        seed,
        shape: None,
        networks: NETWORKS,
        threads: THREADS,
    };
    let mut committee = fit(data, settings);
    half_way();
    let folds = cross_fit(data, &committee, seed);
    let stack = folds.stack(data);
    let stack = stack.filter(|mix| mix.len() == committee.heads.len());
    let even = folds.clone().mixed(data, None);
    let judge = Judge {
        data,
        comparable: Comparable::of(data, prices, &[]),
    };
    let stacked = stack.map(|mix| (folds.mixed(data, Some(&mix)), mix));
    let better = stacked.filter(|(stacked, _)| {
        let worth = side_by_side::each(THREADS, &[&even, stacked], |folds| judge.worth(folds));
        worth[1] > worth[0] + WORTH_MORE
    });
    let mut folds = match better {
        Some((folds, mix)) => {
            committee.mix = mix;
            folds
        }
        None => even,
    };
    committee.calibration.clone_from(&folds.curves);
    committee.given = judge.given(&folds);
    for fold in &mut folds.committees {
        fold.given = committee.given;
    }
    Learned { committee, folds }
}

struct Judge<'a> {
    data: &'a Dataset,
    comparable: Comparable,
}

impl Judge<'_> {
    /// What routing by the folds' predictions is worth.
    fn worth(&self, folds: &CrossFit) -> f64 {
        self.worth_on(self.data, folds)
    }

    fn worth_on(&self, data: &Dataset, folds: &CrossFit) -> f64 {
        let of_row = |row: usize| &folds.committees[folds.fold[row]];
        let offers = self.comparable.offers(data, of_row, false);
        policy_value(&offers, &self.comparable.truth, self.comparable.best())
    }

    /// How much a slice counts that callers name.
    fn given(&self, folds: &CrossFit) -> Bps {
        if self
            .data
            .prompts
            .iter()
            .all(|prompt| prompt.slice.is_none())
        {
            return GIVEN[0];
        }
        let shown = self.data.with_slices_shown();
        let worths = side_by_side::each(THREADS, &GIVEN, |given| {
            let mut folds = folds.clone();
            for fold in &mut folds.committees {
                fold.given = *given;
            }
            self.worth_on(&shown, &folds)
        });
        let mut best = (f64::NEG_INFINITY, GIVEN[0]);
        for (given, worth) in GIVEN.into_iter().zip(worths) {
            if worth > best.0 + WORTH_MORE {
                best = (worth, given);
            }
        }
        best.1
    }
}
