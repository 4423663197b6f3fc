//! Scoring: facts → predicted quality and length of every model, with a lower bound.
//!
//! Owns: the forms a learned head may take and how several are put together. Learning
//! them is the classifier's work; a head is data in a table. Heads are mixed (one head
//! alone is fragile, measured in the published experiments), bent by a per-model
//! calibration curve, given up for the prompt-blind mean where a text is unlike the
//! training data, and rounded to [`Bps`]. From there on everything is integers. Inputs and
//! weights are integers too (`head/weights.rs`); what is left of floating point are
//! basic operations in a fixed order, so every machine makes the same bits.

pub mod cells;
pub mod curve;
pub mod familiar;
pub mod forest;
pub mod network;
pub mod size;
pub mod weights;

use crate::check::MODELS_MAX;
use crate::encoder::{DIMENSIONS, EncoderId};
use crate::features::{FEATURES, Facts};
use crate::float;
use crate::id::ModelId;
use crate::unit::{Bps, Tokens};
use cells::{Cells, Clusters, Slices};
use curve::Curve;
use forest::Tree;
use network::Network;
use weights::{INPUT_ONE, QUALITY_ONE, Weights};

/// z of the one-sided 90 % bound reported as `quality_low`.
const BOUND_Z: f64 = 1.2816;
/// Features and encoding together.
pub const INPUTS_MAX: usize = FEATURES + DIMENSIONS;
/// A constant feature may differ by so much, which is less than any step of one.
const CONSTANT_WITHIN: f32 = 1e-3;
/// Longest answer that is predicted, in tokens.
const OUTPUT_MAX: f64 = 1e6;

/// Mean 0, spread 1 on the training data: features first, then the encoding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scaler {
    pub mean: Vec<f32>,
    pub inverse_spread: Vec<f32>,
}

impl Scaler {
    /// Whether a feature that was the same in all training prompts is another now. Heads
    /// cannot have learnt what it means, and never see it (its factor is 0).
    #[must_use]
    pub fn is_surprised(&self, facts: &Facts) -> bool {
        let scales = self.mean.iter().zip(&self.inverse_spread);
        let features = facts.features.iter().zip(scales);
        let mut constant = features.filter(|(_, (_, inverse))| **inverse == 0.0);
        constant.any(|(value, (mean, _))| (value - mean).abs() > CONSTANT_WITHIN)
    }
}

/// One way to predict quality.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    Slices(Slices),
    Clusters(Clusters),
    Forest(Vec<Tree>),
    Networks(Vec<Network>),
}

/// The natural logarithm of each model's answer length in tokens, linear in the inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lengths {
    /// `[model][input]`.
    pub weights: Weights,
    pub bias: Vec<f32>,
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
    /// How much each head counts, in any unit.
    pub mix: Vec<Bps>,
    /// What the outcomes of a slice that the caller named count, against all heads
    /// together: a label is worth more than any encoder.
    pub given: Bps,
    pub lengths: Lengths,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scores {
    pub models: Vec<Score>,
    pub abstention: Option<Abstention>,
}

impl Committee {
    /// Standardised inputs: features, then encoding; missing features count as average.
    #[must_use]
    pub fn inputs(&self, facts: &Facts) -> Inputs {
        let scaler = &self.scaler;
        let known = scaler.mean.len().saturating_sub(DIMENSIONS);
        let features = (0..known).map(|i| {
            let value = facts.features.get(i).copied();
            value.unwrap_or(scaler.mean[i])
        });
        let raw = features.chain(facts.encoding.components());
        let scales = scaler.mean.iter().zip(&scaler.inverse_spread);
        let mut inputs = Inputs {
            values: [0; INPUTS_MAX],
            count: scaler.mean.len().min(INPUTS_MAX),
        };
        for (input, (x, (mean, inverse))) in inputs.values.iter_mut().zip(raw.zip(scales)) {
            *input = weights::input((x - mean) * inverse);
        }
        inputs
    }

    /// Predictions for every model, abstaining where they would not be worth much.
    #[must_use]
    pub fn score(&self, facts: &Facts) -> Scores {
        let mut scores = Scores::default();
        self.score_into(facts, &mut scores);
        scores
    }

    /// As [`Self::score`], into memory that was used before.
    pub fn score_into(&self, facts: &Facts, scores: &mut Scores) {
        scores.models.clear();
        if facts.encoder != self.encoder {
            return self.blind_into(Abstention::OtherEncoder, scores);
        }
        if self.heads.is_empty() {
            return self.blind_into(Abstention::NotTrained, scores);
        }
        let inputs = self.inputs(facts);
        let mut sums = Sums::new(self.models.len());
        let given = self.given(facts);
        let rest = given.map_or(1.0, |_| 1.0 - self.given.share());
        for (head, share) in self.heads.iter().zip(self.shares()) {
            sums.add(head, rest * share, &inputs, facts);
        }
        if given.is_some() {
            // Who names a known kind of work is believed, however the text looks.
            sums.doubt = None;
        } else if self.scaler.is_surprised(facts) {
            sums.doubt = sums.doubt.or(Some(Abstention::UnlikeTraining));
        }
        if let Some(quality) = given {
            let factor = self.given.share() / QUALITY_ONE;
            let pairs = sums.quality.iter_mut().zip(quality);
            pairs.for_each(|(sum, quality)| *sum += factor * f64::from(*quality));
        }
        self.finish(&sums, &inputs, scores);
    }

    /// What each head alone says of every model's quality (0..=1), not calibrated.
    #[must_use]
    pub fn opinions(&self, facts: &Facts) -> Vec<Vec<f64>> {
        let inputs = self.inputs(facts);
        let models = self.models.len();
        let opinion = |head: &Head| {
            let mut sums = Sums::new(models);
            sums.add(head, 1.0, &inputs, facts);
            sums.quality[..models].to_vec()
        };
        self.heads.iter().map(opinion).collect()
    }

    /// The table's row of a slice that the caller named.
    fn given(&self, facts: &Facts) -> Option<&[u8]> {
        let slice = facts.slice.as_ref()?;
        let slices = self.heads.iter().find_map(|head| match head {
            Head::Slices(slices) => Some(slices),
            _ => None,
        })?;
        let cell = slices.names.iter().position(|name| name == slice)?;
        let models = self.models.len();
        Some(&slices.cells.quality[cell * models..(cell + 1) * models])
    }

    /// The mix as shares that sum to one.
    fn shares(&self) -> impl Iterator<Item = f64> {
        let sum: f64 = self.mix.iter().map(|share| share.share()).sum();
        self.mix
            .iter()
            .map(move |share| share.share() / sum.max(f64::MIN_POSITIVE))
    }

    fn finish(&self, sums: &Sums, inputs: &[i16], scores: &mut Scores) {
        let tables = sums.tables.max(1.0);
        let mut fewest = f64::MAX;
        let mut products = self.lengths.weights.products(inputs, INPUT_ONE);
        for (i, curve) in self.calibration.iter().enumerate() {
            let quality = curve.at(sums.quality[i]);
            let labels = sums.labels[i] / tables;
            fewest = fewest.min(labels);
            let bias = self.lengths.bias.get(i).copied().unwrap_or(0.0);
            let log = f64::from(products.next().unwrap_or(0.0) + bias);
            scores.models.push(Score {
                quality: Bps::from_share(quality),
                quality_low: bound(quality, labels),
                output: Tokens(float::exp(log).clamp(0.0, OUTPUT_MAX).round() as u32),
            });
        }
        let thin = sums.tables > 0.0 && fewest < f64::from(self.labels_min);
        scores.abstention = sums.doubt.or(thin.then_some(Abstention::FewLabels));
    }

    /// The prompt-blind means, with the reason why nothing better is said.
    #[must_use]
    pub fn blind(&self, reason: Abstention) -> Scores {
        let mut scores = Scores::default();
        self.blind_into(reason, &mut scores);
        scores
    }

    fn blind_into(&self, reason: Abstention, scores: &mut Scores) {
        let pairs = self.mean_quality.iter().zip(&self.mean_output);
        scores.models.extend(pairs.map(|(quality, output)| Score {
            quality: *quality,
            quality_low: bound(quality.share(), f64::from(self.labels)),
            output: *output,
        }));
        scores.abstention = Some(reason);
    }
}

/// Standardised inputs of one prompt.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    values: [i16; INPUTS_MAX],
    count: usize,
}

impl std::ops::Deref for Inputs {
    type Target = [i16];

    fn deref(&self) -> &[i16] {
        &self.values[..self.count]
    }
}

impl Head {
    /// The table of a head that is one.
    #[must_use]
    pub fn cells(&self) -> Option<&Cells> {
        match self {
            Self::Slices(slices) => Some(&slices.cells),
            Self::Clusters(clusters) => Some(&clusters.cells),
            Self::Forest(_) | Self::Networks(_) => None,
        }
    }
}

/// Running sums over heads, of fixed size so that a decision asks for no memory.
struct Sums {
    /// Per model, weighted by the heads' shares.
    quality: [f64; MODELS_MAX],
    /// Labels behind it, summed over the tables.
    labels: [f64; MODELS_MAX],
    models: usize,
    tables: f64,
    doubt: Option<Abstention>,
}

impl Sums {
    fn new(models: usize) -> Self {
        Self {
            quality: [0.0; MODELS_MAX],
            labels: [0.0; MODELS_MAX],
            models: models.min(MODELS_MAX),
            tables: 0.0,
            doubt: None,
        }
    }

    fn add(&mut self, head: &Head, share: f64, inputs: &[i16], facts: &Facts) {
        match head {
            Head::Slices(slices) => {
                let slice = facts.slice.as_ref();
                let count = |cell, part| self.look_up(&slices.cells, cell, part, share);
                let doubt = slices.spread(inputs, slice, count);
                self.table(doubt);
            }
            Head::Clusters(clusters) => {
                let count = |cell, part| self.look_up(&clusters.cells, cell, part, share);
                let doubt = clusters.spread(inputs, count);
                self.table(doubt);
            }
            Head::Forest(trees) => {
                forest::add(trees, inputs, share, &mut self.quality[..self.models]);
            }
            Head::Networks(networks) => {
                network::add(networks, inputs, share, &mut self.quality[..self.models]);
            }
        }
    }

    fn table(&mut self, doubt: Option<Abstention>) {
        self.tables += 1.0;
        self.doubt = self.doubt.or(doubt);
    }

    /// Counts one cell for `part` of a prompt.
    fn look_up(&mut self, cells: &Cells, cell: usize, part: f64, share: f64) {
        let row = cell * self.models..(cell + 1) * self.models;
        let factor = share * part / QUALITY_ONE;
        for (sum, quality) in self.quality.iter_mut().zip(&cells.quality[row.clone()]) {
            *sum += factor * f64::from(*quality);
        }
        for (sum, labels) in self.labels.iter_mut().zip(&cells.labels[row]) {
            *sum += part * f64::from(*labels);
        }
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
mod tests;
