//! Scoring: facts → predicted quality of every model, with a lower bound.
//!
//! Owns: the forms a learned head may take and the plain loops, in fixed order, that
//! score with them. Learning them is the classifier's work; a head is data in a table.
//! Scores of several heads are averaged (a committee: one head is fragile, measured in
//! the published experiments), bent by a per-model calibration curve, and rounded to
//! [`Bps`]. From there on everything is integers.

use crate::encoder::{DIMENSIONS, EncoderId};
use crate::features::Facts;
use crate::float;
use crate::id::{ModelId, SliceId};
use crate::unit::{Bps, Tokens};

/// Clusters that share a prompt's weight.
const NEAREST: usize = 3;
/// How fast a cluster's weight falls with its cosine distance.
const SHARPNESS: f64 = 10.0;
/// Standardised inputs are clipped here, so that no single odd number decides.
const CLIP: f32 = 5.0;
/// z of the one-sided 90 % bound reported as `quality_low`.
const BOUND_Z: f64 = 1.2816;

/// Mean 0, spread 1 on the training data: features first, then the encoding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scaler {
    pub mean: Vec<f32>,
    pub inverse_spread: Vec<f32>,
}

/// What was observed in one cell: per model mean quality and natural logarithm of the
/// mean output length, both shrunk toward the model's own mean, and how many labels
/// stand behind them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cells {
    /// `[cell][model]`, row after row.
    pub quality: Vec<f32>,
    pub log_output: Vec<f32>,
    pub labels: Vec<f32>,
}

/// One way to spread a prompt over cells of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// Multinomial logistic posterior over labelled slices; a given label replaces it.
    Slices {
        names: Vec<SliceId>,
        /// `[slice][input]`.
        weights: Vec<f32>,
        bias: Vec<f32>,
        cells: Cells,
    },
    /// The nearest centroids by cosine of the standardised encoding.
    Clusters {
        /// `[cluster][DIMENSIONS]`, unit length.
        centroids: Vec<f32>,
        /// Below this similarity to the nearest centroid a prompt is unlike the
        /// training data (its 1 % quantile there).
        similarity_min: f32,
        cells: Cells,
    },
}

/// A piecewise-linear curve over 0..=1 at evenly spaced knots.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub knots: Vec<Bps>,
}

impl Curve {
    /// The curve that changes nothing.
    #[must_use]
    pub fn identity() -> Self {
        Self {
            knots: vec![Bps::ZERO, Bps::ONE],
        }
    }

    /// Value at `share` 0..=1.
    #[must_use]
    pub fn at(&self, share: f64) -> f64 {
        let Some(last) = self.knots.len().checked_sub(1).filter(|last| *last > 0) else {
            return share;
        };
        let position = share.clamp(0.0, 1.0) * last as f64;
        let left = (position.floor() as usize).min(last - 1);
        let (from, to) = (self.knots[left].share(), self.knots[left + 1].share());
        from + (to - from) * (position - left as f64)
    }
}

/// All that was learnt for a set of models.
#[derive(Clone, Debug, PartialEq)]
pub struct Committee {
    pub encoder: EncoderId,
    pub models: Vec<ModelId>,
    /// Prompt-blind mean quality per model.
    pub mean_quality: Vec<Bps>,
    /// Prompt-blind mean output length per model.
    pub mean_output: Vec<Tokens>,
    /// How many labelled prompts stand behind it.
    pub labels: u32,
    pub scaler: Scaler,
    pub heads: Vec<Head>,
    /// One curve per model.
    pub calibration: Vec<Curve>,
    /// Fewer labels than this behind a prediction: abstain.
    pub labels_min: u32,
}

/// Why the committee declines to predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abstention {
    /// The table carries no learned heads.
    NotTrained,
    /// The given slice was never labelled.
    UnknownSlice,
    /// The prompt is unlike anything in the training data.
    UnlikeTraining,
    /// Too few labels behind the prediction.
    FewLabels,
    /// The facts were made with another encoder.
    OtherEncoder,
}

impl Abstention {
    pub const ALL: [Self; 5] = [
        Self::NotTrained,
        Self::UnknownSlice,
        Self::UnlikeTraining,
        Self::FewLabels,
        Self::OtherEncoder,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotTrained => "not_trained",
            Self::UnknownSlice => "unknown_slice",
            Self::UnlikeTraining => "unlike_training",
            Self::FewLabels => "few_labels",
            Self::OtherEncoder => "other_encoder",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// Predicted quality and length for one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    pub quality: Bps,
    pub quality_low: Bps,
    pub output: Tokens,
}

/// Scores in the order of [`Committee::models`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scores {
    pub models: Vec<Score>,
    pub abstention: Option<Abstention>,
}

impl Committee {
    /// Standardised inputs: features, then encoding; missing features count as average.
    #[must_use]
    pub fn inputs(&self, facts: &Facts) -> Vec<f32> {
        let known = self.scaler.mean.len().saturating_sub(DIMENSIONS);
        let features = (0..known).map(|i| {
            facts
                .features
                .get(i)
                .copied()
                .unwrap_or(self.scaler.mean[i])
        });
        let raw = features.chain(facts.encoding.components());
        let scales = self.scaler.mean.iter().zip(&self.scaler.inverse_spread);
        raw.zip(scales)
            .map(|(x, (mean, inverse))| ((x - mean) * inverse).clamp(-CLIP, CLIP))
            .collect()
    }

    /// Predictions for every model, abstaining where they would not be worth much.
    #[must_use]
    pub fn score(&self, facts: &Facts) -> Scores {
        if facts.encoder != self.encoder {
            return self.blind(Abstention::OtherEncoder);
        }
        let inputs = self.inputs(facts);
        let mut sum = Sums::new(self.models.len());
        let mut abstention = None;
        for head in &self.heads {
            let (weights, doubt) = head.weights(&inputs, facts.slice.as_ref());
            abstention = abstention.or(doubt);
            sum.add(head.cells(), &weights);
        }
        if self.heads.is_empty() {
            return self.blind(Abstention::NotTrained);
        }
        let scores = sum.finish(self);
        if abstention.is_none() && scores.labels < f64::from(self.labels_min) {
            abstention = Some(Abstention::FewLabels);
        }
        Scores {
            models: scores.models,
            abstention,
        }
    }

    /// The prompt-blind means, with the reason why nothing better is said.
    #[must_use]
    pub fn blind(&self, reason: Abstention) -> Scores {
        let pairs = self.mean_quality.iter().zip(&self.mean_output);
        let score = |(quality, output): (&Bps, &Tokens)| Score {
            quality: *quality,
            quality_low: bound(quality.share(), f64::from(self.labels)),
            output: *output,
        };
        Scores {
            models: pairs.map(score).collect(),
            abstention: Some(reason),
        }
    }
}

impl Head {
    #[must_use]
    pub fn cells(&self) -> &Cells {
        match self {
            Self::Slices { cells, .. } | Self::Clusters { cells, .. } => cells,
        }
    }

    /// How much each cell counts for a prompt (sums to one), and a doubt if there is
    /// one. `inputs` are standardised.
    #[must_use]
    pub fn weights(
        &self,
        inputs: &[f32],
        slice: Option<&SliceId>,
    ) -> (Vec<f64>, Option<Abstention>) {
        match self {
            Self::Slices {
                names,
                weights,
                bias,
                ..
            } => {
                let posterior = || posterior(inputs, weights, bias);
                match slice.map(|slice| names.iter().position(|name| name == slice)) {
                    Some(Some(known)) => (one_hot(names.len(), known), None),
                    Some(None) => (posterior(), Some(Abstention::UnknownSlice)),
                    None => (posterior(), None),
                }
            }
            Self::Clusters {
                centroids,
                similarity_min,
                ..
            } => {
                let encoding = &inputs[inputs.len().saturating_sub(DIMENSIONS)..];
                let similarity = similarities(encoding, centroids);
                let best = similarity.iter().copied().fold(-1.0, f64::max);
                let far = best < f64::from(*similarity_min);
                (
                    nearest(&similarity),
                    far.then_some(Abstention::UnlikeTraining),
                )
            }
        }
    }
}

fn one_hot(length: usize, index: usize) -> Vec<f64> {
    let mut weights = vec![0.0; length];
    weights[index] = 1.0;
    weights
}

fn posterior(inputs: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f64> {
    let dot = |row: &[f32]| {
        row.iter()
            .zip(inputs)
            .fold(0.0f32, |sum, (w, x)| sum + w * x)
    };
    let rows = weights.chunks_exact(inputs.len().max(1));
    let mut scores: Vec<f64> = rows
        .zip(bias)
        .map(|(row, b)| f64::from(dot(row) + b))
        .collect();
    float::softmax(&mut scores);
    scores
}

/// Cosine of a vector with each unit-length centroid; all zero for the zero vector.
fn similarities(vector: &[f32], centroids: &[f32]) -> Vec<f64> {
    let square = vector
        .iter()
        .fold(0.0f64, |sum, x| sum + f64::from(*x) * f64::from(*x));
    let inverse = if square > 0.0 {
        1.0 / square.sqrt()
    } else {
        0.0
    };
    let dot = |row: &[f32]| {
        row.iter()
            .zip(vector)
            .fold(0.0f32, |sum, (c, x)| sum + c * x)
    };
    centroids
        .chunks_exact(DIMENSIONS)
        .map(|row| f64::from(dot(row)) * inverse)
        .collect()
}

/// Weights on the [`NEAREST`] most similar, falling off exponentially.
fn nearest(similarity: &[f64]) -> Vec<f64> {
    let mut sorted = similarity.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let best = sorted.first().copied().unwrap_or(0.0);
    let last = sorted
        .get(NEAREST.min(sorted.len()).saturating_sub(1))
        .copied()
        .unwrap_or(0.0);
    let weight = |s: &f64| {
        if *s >= last {
            float::exp(SHARPNESS * (s - best))
        } else {
            0.0
        }
    };
    let mut weights: Vec<f64> = similarity.iter().map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights
        .iter_mut()
        .for_each(|w| *w /= sum.max(f64::MIN_POSITIVE));
    weights
}

/// Running sums over heads, one row of three per model.
struct Sums {
    quality: Vec<f64>,
    log_output: Vec<f64>,
    labels: Vec<f64>,
    heads: f64,
}

struct Finished {
    models: Vec<Score>,
    /// The fewest labels behind any model's prediction.
    labels: f64,
}

impl Sums {
    fn new(models: usize) -> Self {
        Self {
            quality: vec![0.0; models],
            log_output: vec![0.0; models],
            labels: vec![0.0; models],
            heads: 0.0,
        }
    }

    fn add(&mut self, cells: &Cells, weights: &[f64]) {
        let models = self.quality.len();
        self.heads += 1.0;
        for (cell, weight) in weights
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight > 1e-6)
        {
            let row = cell * models..(cell + 1) * models;
            accumulate(&mut self.quality, &cells.quality[row.clone()], *weight);
            accumulate(
                &mut self.log_output,
                &cells.log_output[row.clone()],
                *weight,
            );
            accumulate(&mut self.labels, &cells.labels[row], *weight);
        }
    }

    fn finish(self, committee: &Committee) -> Finished {
        let mut fewest = f64::MAX;
        let score = |i: usize| {
            let quality = committee.calibration[i].at(self.quality[i] / self.heads);
            let labels = self.labels[i] / self.heads;
            fewest = fewest.min(labels);
            let output = float::exp(self.log_output[i] / self.heads).clamp(0.0, 1e6);
            Score {
                quality: Bps::from_share(quality),
                quality_low: bound(quality, labels),
                output: Tokens(output.round() as u32),
            }
        };
        let models = (0..committee.models.len()).map(score).collect();
        Finished {
            models,
            labels: fewest,
        }
    }
}

fn accumulate(sums: &mut [f64], row: &[f32], weight: f64) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += weight * f64::from(*value);
    }
}

/// One-sided 90 % lower bound of a share seen on `labels` labels (Wilson 1927).
fn bound(share: f64, labels: f64) -> Bps {
    let n = labels.max(1.0);
    let square = BOUND_Z * BOUND_Z;
    let centre = share + square / (2.0 * n);
    let spread = BOUND_Z * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    Bps::from_share((centre - spread) / (1.0 + square / n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Encoding;
    use proptest::prelude::*;

    /// Two models, two slices told apart by one feature.
    fn committee() -> Committee {
        let mut weights = vec![0.0; 2 * (1 + DIMENSIONS)];
        weights[0] = 4.0;
        weights[1 + DIMENSIONS] = -4.0;
        let cells = Cells {
            quality: vec![0.9, 0.2, 0.3, 0.8],
            log_output: vec![3.0; 4],
            labels: vec![100.0; 4],
        };
        Committee {
            encoder: EncoderId::Hashed64,
            models: vec!["small".into(), "large".into()],
            mean_quality: vec![Bps::new(6_000), Bps::new(5_000)],
            mean_output: vec![Tokens(20), Tokens(20)],
            labels: 200,
            scaler: Scaler {
                mean: vec![0.0; 1 + DIMENSIONS],
                inverse_spread: vec![1.0; 1 + DIMENSIONS],
            },
            heads: vec![Head::Slices {
                names: vec!["left".into(), "right".into()],
                weights,
                bias: vec![0.0, 0.0],
                cells,
            }],
            calibration: vec![Curve::identity(), Curve::identity()],
            labels_min: 20,
        }
    }

    fn facts(feature: f32, slice: Option<&str>) -> Facts {
        Facts {
            features: vec![feature],
            slice: slice.map(SliceId::new),
            encoding: Encoding::default(),
            ..Facts::default()
        }
    }

    #[test]
    fn a_feature_moves_the_prediction() {
        let left = committee().score(&facts(2.0, None));
        let right = committee().score(&facts(-2.0, None));
        assert!(left.models[0].quality > left.models[1].quality);
        assert!(right.models[0].quality < right.models[1].quality);
        assert_eq!(left.abstention, None);
        assert_eq!(left.models[0].output, Tokens(20));
    }

    #[test]
    fn a_given_label_replaces_the_posterior() {
        let scores = committee().score(&facts(2.0, Some("right")));
        assert_eq!(scores.models[1].quality, Bps::new(8_000));
        let unknown = committee().score(&facts(2.0, Some("elsewhere")));
        assert_eq!(unknown.abstention, Some(Abstention::UnknownSlice));
    }

    #[test]
    fn few_labels_are_a_reason_to_abstain() {
        let mut few = committee();
        few.labels_min = 101;
        assert_eq!(
            few.score(&facts(2.0, None)).abstention,
            Some(Abstention::FewLabels)
        );
    }

    #[test]
    fn a_curve_interpolates_between_its_knots() {
        let curve = Curve {
            knots: vec![Bps::ZERO, Bps::new(8_000), Bps::ONE],
        };
        assert!((curve.at(0.25) - 0.4).abs() < 1e-9);
        assert!((curve.at(2.0) - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_lower_bound_is_lower(share in 0.0f64..=1.0, labels in 1.0f64..1e6) {
            prop_assert!(bound(share, labels) <= Bps::from_share(share));
        }

        #[test]
        fn scoring_never_leaves_the_unit_interval(feature in -1e6f32..1e6) {
            for score in committee().score(&facts(feature, None)).models {
                prop_assert!(score.quality_low <= score.quality);
            }
        }
    }
}
