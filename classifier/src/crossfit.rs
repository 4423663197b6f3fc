//! Committees that did not see the prompts they are judged on.
//!
//! Owns: the folds, one committee each, their mix and the calibration curves from their
//! predictions. A fold's own committee is bent by curves from the *other* folds, so
//! what is chosen and counted on these predictions is not flattered twice. Knows
//! nothing of prices.

use spillway_routing::head::Committee;
use spillway_routing::head::curve::Curve;
use spillway_routing::unit::Bps;

use crate::calibrate::{self, Pair};
use crate::dataset::Dataset;
use crate::fit::{FitSettings, Shape, fit};
use crate::mix::Moments;

/// Parts that prompts are cut into.
pub const FOLDS: usize = 4;
/// Committees fitted side by side: a training run should leave other cores be.
const THREADS: usize = 2;
/// Networks of a fold's committee: its predictions are a little noisier than the
/// whole's, for a third less time.
const NETWORKS: usize = 2;
/// Own stream of the seed.
const FOLD_SEED: u64 = 0x666f_6c64;

/// Out-of-fold committees over one data set.
#[derive(Clone, Debug)]
pub struct CrossFit {
    /// Per row, the committee that did not see it.
    pub fold: Vec<usize>,
    pub committees: Vec<Committee>,
    /// From all folds: for the committee that is fitted on everything.
    pub curves: Vec<Curve>,
}

/// Fits [`FOLDS`] committees of the shape that `whole`, the committee of all rows, has:
/// that costs a little optimism and saves most of the time. Not calibrated.
#[must_use]
pub fn cross_fit(data: &Dataset, whole: &Committee, seed: u64) -> CrossFit {
    let fold = data.folds(FOLDS, seed ^ FOLD_SEED);
    let settings = FitSettings {
        seed,
        shape: Shape::of(whole),
        networks: NETWORKS,
    };
    let without = |k: usize| {
        let rows: Vec<usize> = (0..data.len()).filter(|row| fold[*row] != k).collect();
        fit(&data.rows(&rows), settings)
    };
    CrossFit {
        committees: side_by_side(&without),
        curves: vec![Curve::identity(); data.models.len()],
        fold,
    }
}

/// One committee per fold, in order.
fn side_by_side(fitted: &(impl Fn(usize) -> Committee + Sync)) -> Vec<Committee> {
    let share = FOLDS.div_ceil(THREADS);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..THREADS)
            .map(|part| {
                let folds = part * share..FOLDS.min((part + 1) * share);
                scope.spawn(move || folds.map(fitted).collect::<Vec<_>>())
            })
            .collect();
        let joined = parts.into_iter().flat_map(|part| match part.join() {
            Ok(committees) => committees,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    })
}

impl CrossFit {
    /// Shares of the heads by stacking; `None` where folds have fewer than two heads, or
    /// not the same ones.
    #[must_use]
    pub fn stack(&self, data: &Dataset) -> Option<Vec<Bps>> {
        let heads = self.committees.first()?.heads.len();
        if heads < 2 || self.committees.iter().any(|c| c.heads.len() != heads) {
            return None;
        }
        let mut moments = Moments::new(heads);
        for row in data.audits() {
            let committee = &self.committees[self.fold[row]];
            let opinions = committee.opinions(&data.prompts[row].facts);
            for model in 0..data.models.len() {
                let seen = data.quality[[row, model]];
                if !seen.is_nan() {
                    let said: Vec<f64> = opinions.iter().map(|head| head[model]).collect();
                    moments.add(&said, seen);
                }
            }
        }
        Some(moments.stack())
    }

    /// With this mix, calibrated for it. Without a mix, heads count alike.
    #[must_use]
    pub fn mixed(mut self, data: &Dataset, mix: Option<&[Bps]>) -> Self {
        let models = data.models.len();
        for committee in &mut self.committees {
            let even = || vec![Bps::ONE; committee.heads.len()];
            committee.mix = mix.map_or_else(even, <[Bps]>::to_vec);
            committee.calibration = vec![Curve::identity(); models];
        }
        if self.committees.iter().any(|c| c.heads.is_empty()) {
            return self;
        }
        let pairs = self.pairs(data);
        let curves = |without: Option<usize>| {
            let kept = |pairs: &Vec<(usize, Pair)>| {
                let kept = pairs.iter().filter(|(fold, _)| Some(*fold) != without);
                kept.map(|(_, pair)| *pair).collect()
            };
            calibrate::curves(&pairs.iter().map(kept).collect::<Vec<_>>())
        };
        for (k, committee) in self.committees.iter_mut().enumerate() {
            committee.calibration = curves(Some(k));
        }
        self.curves = curves(None);
        self
    }

    /// Per model: the fold, and what was predicted out of fold and observed. Live rows
    /// are left out: which model they show was chosen by quality, and that biases them.
    fn pairs(&self, data: &Dataset) -> Vec<Vec<(usize, Pair)>> {
        let mut pairs = vec![Vec::new(); data.models.len()];
        for row in data.audits() {
            let fold = self.fold[row];
            let scores = self.committees[fold].score(&data.prompts[row].facts);
            for (model, score) in scores.models.iter().enumerate() {
                let seen = data.quality[[row, model]];
                if !seen.is_nan() {
                    pairs[model].push((fold, (score.quality.share(), seen)));
                }
            }
        }
        pairs
    }
}
