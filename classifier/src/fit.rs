//! One committee from one data set: scaler, means and heads, not yet calibrated.
//!
//! Owns: which heads are worth fitting on how many labels, and what all of them read.
//! The heads themselves are `fit/slices.rs`, `fit/clusters.rs` (tables, whose counting is
//! `fit/tables.rs`), `fit/forest.rs`, `fit/network.rs`; answer lengths are
//! `fit/lengths.rs`; `fit/update.rs` counts the tables again without a fit. Inputs are made by `routing::head`'s own code, so that what is
//! learnt from is what the proxy will look up.

pub mod clusters;
pub mod forest;
pub mod lengths;
pub mod network;
pub mod slices;
pub mod tables;
pub mod update;

use ndarray::Array2;
use spillway_routing::encoder::{DIMENSIONS, EncoderId};
use spillway_routing::features::FEATURES;
use spillway_routing::head::curve::Curve;
use spillway_routing::head::network::Network;
use spillway_routing::head::weights::INPUT_ONE;
use spillway_routing::head::{Committee, Head, Lengths, Scaler};
use spillway_routing::unit::{Bps, Tokens};

use crate::dataset::{Dataset, Prompt};
use crate::side_by_side;

/// Fewer audited prompts than this give no heads: nothing clearly beats the
/// prompt-blind means (measured at 100, break-even near 300).
pub const PROMPTS_MIN: usize = 300;
/// Fewer than this give tables only; trees and networks would learn noise.
pub const COMMITTEE_MIN: usize = 1_000;
/// What the outcomes of a slice count that the caller named, against all heads together:
/// what is tried. Half was good in the published experiments.
pub const GIVEN: [Bps; 3] = [Bps::new(5_000), Bps::new(7_500), Bps::ONE];
/// Spreads below this are rounding: the feature is constant and says nothing.
const SPREAD_MIN: f64 = 1e-6;
/// A mean answer of no tokens has no logarithm.
const OUTPUT_MIN: f64 = 1.0;
/// So many audits, by their weight, tell a model's mean within some seven points.
const AUDITED_MIN: f64 = 50.0;

/// What a fit may be told.
#[derive(Clone, Copy, Debug)]
pub struct FitSettings {
    pub seed: u64,
    /// Of another fit; chosen by the number of audits and on held-out prompts when not
    /// given.
    pub shape: Option<Shape>,
    pub networks: usize,
    /// How many work on it; the committee is the same for any number.
    pub threads: usize,
}

/// What is chosen before heads are fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub clusters: usize,
    /// Of each tree. `None`: tables only.
    pub leaves: Option<usize>,
}

impl Shape {
    /// As it stands in a committee with heads.
    #[must_use]
    pub fn of(committee: &Committee) -> Option<Self> {
        let clusters = |head: &Head| match head {
            Head::Clusters(clusters) => Some(clusters.centroids.rows()),
            _ => None,
        };
        let leaves = |head: &Head| match head {
            Head::Forest(trees) => trees.iter().map(|tree| tree.nodes.len() + 1).max(),
            _ => None,
        };
        Some(Self {
            clusters: committee.heads.iter().find_map(clusters)?,
            leaves: committee.heads.iter().find_map(leaves),
        })
    }
}

/// Prompt-blind means per model.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) quality: Vec<f64>,
    pub(crate) output: Vec<f64>,
}

/// Standardised inputs as the proxy makes them, a row per prompt.
pub(crate) struct Inputs {
    pub(crate) fixed: Vec<Vec<i16>>,
    /// The same as numbers, n × (features + encoding).
    pub(crate) real: Array2<f32>,
}

impl Inputs {
    fn of(committee: &Committee, data: &Dataset) -> Self {
        let row = |prompt: &Prompt| committee.inputs(&prompt.facts).to_vec();
        let fixed: Vec<Vec<i16>> = data.prompts.iter().map(row).collect();
        let shape = (fixed.len(), FEATURES + DIMENSIONS);
        let real = Array2::from_shape_fn(shape, |(r, c)| f32::from(fixed[r][c]) / INPUT_ONE);
        Self { fixed, real }
    }
}

/// A committee with identity curves and heads that count alike. With fewer than
/// [`PROMPTS_MIN`] audited prompts it has no heads and abstains from everything.
#[must_use]
pub fn fit(data: &Dataset, settings: FitSettings) -> Committee {
    let means = means(data);
    let mut committee = blind(data, &means);
    let audits = data.audits().len();
    if data.models.is_empty() || (audits < PROMPTS_MIN && settings.shape.is_none()) {
        return committee;
    }
    let inputs = Inputs::of(&committee, data);
    let more = settings
        .shape
        .map_or(audits >= COMMITTEE_MIN, |shape| shape.leaves.is_some());
    let labels = more.then(|| Labels::of(data, &inputs, &means));
    let parts = Part::all(labels.as_ref(), settings);
    let fitted = side_by_side::each(settings.threads, &parts, |part| {
        part.fit(data, &inputs, &means, settings)
    });
    let mut networks = Vec::new();
    for fitted in fitted {
        match fitted {
            Fitted::Lengths(lengths) => committee.lengths = lengths,
            Fitted::Head(head) => committee.heads.extend(head),
            Fitted::Network(network) => networks.push(network),
        }
    }
    committee.labels_min = tables::labels_min(&committee.heads, data, &inputs);
    if more {
        committee.heads.push(Head::Networks(networks));
    }
    committee.mix = vec![Bps::ONE; committee.heads.len()];
    committee
}

/// What is fitted on its own, and what its fit needs.
#[derive(Clone, Copy)]
enum Part<'a> {
    Lengths,
    Slices,
    Clusters,
    Forest(&'a Labels<'a>),
    /// By its seed.
    Network(&'a Labels<'a>, u64),
}

enum Fitted {
    Lengths(Lengths),
    Head(Option<Head>),
    Network(Network),
}

impl<'a> Part<'a> {
    /// In the order of the heads. Trees and networks have labels only where these are
    /// enough for them.
    fn all(labels: Option<&'a Labels<'a>>, settings: FitSettings) -> Vec<Self> {
        let mut parts = vec![Self::Lengths, Self::Slices, Self::Clusters];
        if let Some(labels) = labels {
            parts.push(Self::Forest(labels));
            let seeds = (0..settings.networks as u64).map(|i| settings.seed.wrapping_add(i));
            parts.extend(seeds.map(|seed| Self::Network(labels, seed)));
        }
        parts
    }

    fn fit(self, data: &Dataset, inputs: &Inputs, means: &Means, settings: FitSettings) -> Fitted {
        let (seed, shape) = (settings.seed, settings.shape);
        match self {
            Self::Lengths => Fitted::Lengths(lengths::fit(data, inputs, means)),
            Self::Slices => Fitted::Head(slices::fit(data, inputs, means)),
            Self::Clusters => {
                let count = shape.map(|shape| shape.clusters);
                Fitted::Head(clusters::fit(data, inputs, means, count, seed))
            }
            Self::Forest(labels) => {
                let leaves = shape.and_then(|shape| shape.leaves);
                let trees = forest::fit(labels, leaves, seed);
                Fitted::Head(Some(Head::Forest(trees)))
            }
            Self::Network(labels, seed) => Fitted::Network(network::fit(labels, seed)),
        }
    }
}

fn blind(data: &Dataset, means: &Means) -> Committee {
    let weight: f64 = data.prompts.iter().map(|prompt| prompt.weight).sum();
    let tokens = |t: &f64| Tokens(t.round() as u32);
    Committee {
        encoder: EncoderId::MiniLm64,
        models: data.models.clone(),
        mean_quality: means.quality.iter().map(|q| Bps::from_share(*q)).collect(),
        mean_output: means.output.iter().map(tokens).collect(),
        labels: weight.round() as u32,
        scaler: scaler(data),
        heads: Vec::new(),
        mix: Vec::new(),
        given: GIVEN[0],
        lengths: Lengths::default(),
        calibration: vec![Curve::identity(); data.models.len()],
        labels_min: 0,
    }
}

/// Audited rows for heads that learn by gradient or split. Live rows are left out: one
/// chosen model's outcome teaches them less than it misleads (measured).
pub(crate) struct Labels<'a> {
    pub(crate) models: usize,
    pub(crate) keys: Vec<u64>,
    pub(crate) fixed: Vec<&'a [i16]>,
    pub(crate) real: Array2<f32>,
    /// n × models, NaN for "not observed".
    pub(crate) quality: Array2<f32>,
    pub(crate) means: &'a [f64],
}

impl<'a> Labels<'a> {
    fn of(data: &Dataset, inputs: &'a Inputs, means: &'a Means) -> Self {
        let rows = data.audits();
        Self {
            models: data.models.len(),
            keys: rows.iter().map(|row| data.prompts[*row].alike).collect(),
            fixed: rows
                .iter()
                .map(|row| inputs.fixed[*row].as_slice())
                .collect(),
            real: inputs.real.select(ndarray::Axis(0), &rows),
            quality: data
                .quality
                .select(ndarray::Axis(0), &rows)
                .mapv(|q| q as f32),
            means: &means.quality,
        }
    }

    /// Rows to fit on and a share of them to judge by.
    pub(crate) fn cut(&self, judged: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
        (0..self.keys.len())
            .partition(|row| crate::dataset::uniform(self.keys[*row], seed) >= judged)
    }
}

/// Mean 0 and spread 1; a constant input gets factor 0 and so never counts.
fn scaler(data: &Dataset) -> Scaler {
    let width = FEATURES + DIMENSIONS;
    let n = data.len().max(1) as f64;
    let mut sum = vec![0.0f64; width];
    let mut square = vec![0.0f64; width];
    for prompt in &data.prompts {
        let features = (0..FEATURES).map(|i| prompt.facts.features.get(i).copied());
        let encoding = prompt.facts.encoding.components().map(Some);
        for (i, value) in features.chain(encoding).enumerate() {
            let value = f64::from(value.unwrap_or(0.0));
            sum[i] += value;
            square[i] += value * value;
        }
    }
    let mean: Vec<f64> = sum.iter().map(|sum| sum / n).collect();
    let inverse = |(square, mean): (&f64, &f64)| {
        let spread = (square / n - mean * mean).max(0.0).sqrt();
        if spread > SPREAD_MIN {
            (1.0 / spread) as f32
        } else {
            0.0
        }
    };
    Scaler {
        inverse_spread: square.iter().zip(&mean).map(inverse).collect(),
        mean: mean.iter().map(|mean| *mean as f32).collect(),
    }
}

/// Quality goes by audits where a model has enough of them. Which model a live request shows
/// hangs on its prompt: served with what it is good at, a cheap model would seem better than
/// a dear one that gets the rest.
fn means(data: &Dataset) -> Means {
    let mean = |matrix: &Array2<f64>, column: usize, counts: fn(&Prompt) -> bool| {
        let (mut sum, mut weight) = (0.0, 0.0);
        for (value, prompt) in matrix.column(column).iter().zip(&data.prompts) {
            if !value.is_nan() && counts(prompt) {
                sum += prompt.weight * value;
                weight += prompt.weight;
            }
        }
        (sum, weight)
    };
    let quality = |column: usize| {
        let audited = mean(&data.quality, column, |prompt| !prompt.live);
        let (sum, weight) = if audited.1 >= AUDITED_MIN {
            audited
        } else {
            mean(&data.quality, column, |_| true)
        };
        if weight > 0.0 { sum / weight } else { 0.0 }
    };
    let output = |column: usize| {
        let (sum, weight) = mean(&data.output, column, |_| true);
        let mean = if weight > 0.0 { sum / weight } else { 0.0 };
        mean.max(OUTPUT_MIN)
    };
    let columns = 0..data.models.len();
    Means {
        quality: columns.clone().map(quality).collect(),
        output: columns.map(output).collect(),
    }
}

#[cfg(test)]
mod tests;
