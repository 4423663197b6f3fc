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
use crate::side_by_side::{self, THREADS};

/// Parts that prompts are cut into.
pub const FOLDS: usize = 4;
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
        threads: 1,
    };
    let without = |k: usize| {
        let rows: Vec<usize> = (0..data.len()).filter(|row| fold[*row] != k).collect();
        fit(&data.rows(&rows), settings)
    };
    let parts: Vec<usize> = (0..FOLDS).collect();
    CrossFit {
        committees: side_by_side::each(THREADS, &parts, |part| without(*part)),
        curves: vec![Curve::identity(); data.models.len()],
        fold,
    }
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
        let audits = data.audits();
        let opinions = side_by_side::rows(&audits, |row| {
            let committee = &self.committees[self.fold[*row]];
            committee.opinions(&data.prompts[*row].facts)
        });
        let mut moments = Moments::new(heads);
        for (row, opinions) in audits.into_iter().zip(opinions) {
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
        let parts: Vec<Option<usize>> = (0..FOLDS).map(Some).chain([None]).collect();
        let mut bent = side_by_side::each(THREADS, &parts, |without| curves(*without)).into_iter();
        for (committee, curves) in self.committees.iter_mut().zip(bent.by_ref()) {
            committee.calibration = curves;
        }
        self.curves = bent.next().unwrap_or_default();
        self
    }

    /// Per model: the fold, and what was predicted out of fold and observed. Live rows
    /// are left out: which model they show was chosen by quality, and that biases them.
    fn pairs(&self, data: &Dataset) -> Vec<Vec<(usize, Pair)>> {
        let mut pairs = vec![Vec::new(); data.models.len()];
        let audits = data.audits();
        let scores = side_by_side::rows(&audits, |row| {
            let committee = &self.committees[self.fold[*row]];
            committee.score(&data.prompts[*row].facts)
        });
        for (row, scores) in audits.into_iter().zip(scores) {
            let fold = self.fold[row];
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
