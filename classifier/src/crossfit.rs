//! Committees that did not see the prompts they are judged on.
//!
//! Owns: the folds, one committee each, and the calibration curves from their
//! predictions. A fold's own committee is bent by curves from the *other* folds, so
//! what is chosen and counted on these predictions is not flattered twice. Knows
//! nothing of prices.

use spillway_routing::encoder::DIMENSIONS;
use spillway_routing::head::{Committee, Curve, Head};

use crate::calibrate;
use crate::dataset::Dataset;
use crate::fit::{FitSettings, fit};

/// Parts that prompts are cut into.
pub const FOLDS: usize = 4;
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

/// Fits [`FOLDS`] committees. `whole` is the committee of all rows; its number of
/// clusters is taken over, which costs a little optimism and saves most of the time.
#[must_use]
pub fn cross_fit(data: &Dataset, whole: &Committee, seed: u64) -> CrossFit {
    let fold = data.folds(FOLDS, seed ^ FOLD_SEED);
    let settings = FitSettings {
        seed,
        clusters: clusters(whole),
    };
    let rows = |keep: &dyn Fn(usize) -> bool| -> Vec<usize> {
        (0..data.len()).filter(|row| keep(fold[*row])).collect()
    };
    let mut committees: Vec<Committee> = (0..FOLDS)
        .map(|k| fit(&data.rows(&rows(&|fold| fold != k)), settings))
        .collect();
    let models = data.models.len();
    if whole.heads.is_empty() || committees.iter().any(|c| c.heads.is_empty()) {
        return CrossFit {
            fold,
            committees,
            curves: vec![Curve::identity(); models],
        };
    }
    let pairs = pairs(data, &fold, &committees);
    let curve = |model: usize, without: Option<usize>| {
        let kept = pairs[model]
            .iter()
            .filter(|(fold, _)| Some(*fold) != without);
        calibrate::curve(&kept.map(|(_, pair)| *pair).collect::<Vec<_>>())
    };
    for (k, committee) in committees.iter_mut().enumerate() {
        committee.calibration = (0..models).map(|model| curve(model, Some(k))).collect();
    }
    CrossFit {
        curves: (0..models).map(|model| curve(model, None)).collect(),
        fold,
        committees,
    }
}

type Pair = (usize, (f64, f64));

/// Per model: the fold, and what was predicted out of fold and observed. Live rows are
/// left out: which model they show was chosen by quality, and that biases them.
fn pairs(data: &Dataset, fold: &[usize], committees: &[Committee]) -> Vec<Vec<Pair>> {
    let mut pairs = vec![Vec::new(); data.models.len()];
    for row in data.audits() {
        let scores = committees[fold[row]].score(&data.prompts[row].facts);
        for (model, score) in scores.models.iter().enumerate() {
            let seen = data.quality[[row, model]];
            if !seen.is_nan() {
                pairs[model].push((fold[row], (score.quality.share(), seen)));
            }
        }
    }
    pairs
}

fn clusters(committee: &Committee) -> Option<usize> {
    committee.heads.iter().find_map(|head| match head {
        Head::Clusters { centroids, .. } => Some(centroids.len() / DIMENSIONS),
        Head::Slices { .. } => None,
    })
}
