//! One committee from one data set: scaler, means and heads, not yet calibrated.
//!
//! Owns: which heads are worth fitting on how many labels, and the shrunken tables
//! behind them. The heads themselves are `fit/slices.rs` and `fit/clusters.rs`. Rows
//! are spread over cells by `routing::head`'s own code, so that what was counted is
//! what the proxy will look up.

pub mod clusters;
pub mod slices;

use ndarray::Array2;
use spillway_routing::encoder::{DIMENSIONS, EncoderId};
use spillway_routing::features::FEATURES;
use spillway_routing::float;
use spillway_routing::head::{Cells, Committee, Curve, Head, Scaler};
use spillway_routing::unit::{Bps, Tokens};

use crate::dataset::Dataset;

/// Fewer audited prompts than this give no heads: nothing clearly beats the
/// prompt-blind means (measured at 100, break-even near 300).
pub const PROMPTS_MIN: usize = 300;
/// Pseudo-outcomes that pull each cell toward its model's mean.
const SHRINK: f64 = 10.0;
/// Fewer labels behind a prediction: abstain.
const CELL_LABELS_MIN: f64 = 20.0;
/// Unless more than this share of the training prompts would be silenced.
const SILENCED_MAX: f64 = 0.05;
/// Spreads below this are rounding: the feature is constant and says nothing.
const SPREAD_MIN: f64 = 1e-6;
/// A mean answer of no tokens has no logarithm.
const OUTPUT_MIN: f64 = 1.0;

/// What a fit may be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct FitSettings {
    pub seed: u64,
    /// Chosen on held-out prompts when not given.
    pub clusters: Option<usize>,
}

/// Prompt-blind means per model.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) quality: Vec<f64>,
    pub(crate) output: Vec<f64>,
}

/// A committee with identity curves. With fewer than [`PROMPTS_MIN`] audited prompts it
/// has no heads and abstains from everything.
#[must_use]
pub fn fit(data: &Dataset, settings: FitSettings) -> Committee {
    let means = means(data);
    let weight: f64 = data.prompts.iter().map(|prompt| prompt.weight).sum();
    let mut committee = Committee {
        encoder: EncoderId::Hashed64,
        models: data.models.clone(),
        mean_quality: means.quality.iter().map(|q| Bps::from_share(*q)).collect(),
        mean_output: means
            .output
            .iter()
            .map(|t| Tokens(t.round() as u32))
            .collect(),
        labels: weight.round() as u32,
        scaler: scaler(data),
        heads: Vec::new(),
        calibration: vec![Curve::identity(); data.models.len()],
        labels_min: 0,
    };
    if data.audits().len() < PROMPTS_MIN || data.models.is_empty() {
        return committee;
    }
    let inputs = inputs(&committee, data);
    committee.heads.extend(slices::fit(data, &inputs, &means));
    committee
        .heads
        .extend(clusters::fit(data, &inputs, &means, settings));
    committee.labels_min = labels_min(&committee.heads, data, &inputs);
    committee
}

/// Standardised inputs exactly as the proxy will make them, n × (features + encoding).
fn inputs(committee: &Committee, data: &Dataset) -> Array2<f32> {
    let mut inputs = Array2::zeros((data.len(), FEATURES + DIMENSIONS));
    for (mut row, prompt) in inputs.rows_mut().into_iter().zip(&data.prompts) {
        let made = committee.inputs(&prompt.facts);
        row.iter_mut().zip(made).for_each(|(to, from)| *to = from);
    }
    inputs
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

fn means(data: &Dataset) -> Means {
    let mean = |matrix: &Array2<f64>, column: usize, otherwise: f64| {
        let (mut sum, mut weight) = (0.0, 0.0);
        for (value, prompt) in matrix.column(column).iter().zip(&data.prompts) {
            if !value.is_nan() {
                sum += prompt.weight * value;
                weight += prompt.weight;
            }
        }
        if weight > 0.0 {
            sum / weight
        } else {
            otherwise
        }
    };
    let columns = 0..data.models.len();
    Means {
        quality: columns
            .clone()
            .map(|c| mean(&data.quality, c, 0.0))
            .collect(),
        output: columns
            .map(|c| mean(&data.output, c, 0.0).max(OUTPUT_MIN))
            .collect(),
    }
}

/// Tables over cells. `spread[row]` holds (cell, share) pairs that sum to one, or
/// nothing where the row's cell is not known.
fn cells(data: &Dataset, spread: &[Vec<(usize, f64)>], count: usize, means: &Means) -> Cells {
    let models = data.models.len();
    let zeros = || vec![0.0f64; count * models];
    let (mut quality, mut output, mut labels) = (zeros(), zeros(), zeros());
    for (row, shares) in spread.iter().enumerate() {
        for model in 0..models {
            let seen = data.quality[[row, model]];
            if seen.is_nan() {
                continue;
            }
            for (cell, share) in shares {
                let at = cell * models + model;
                let weight = share * data.prompts[row].weight;
                quality[at] += weight * seen;
                output[at] += weight * data.output[[row, model]];
                labels[at] += weight;
            }
        }
    }
    let shrunk = |sum: f64, at: usize, mean: &[f64]| {
        (sum + SHRINK * mean[at % models]) / (labels[at] + SHRINK)
    };
    let numbered = |sums: &[f64]| sums.iter().copied().enumerate().collect::<Vec<_>>();
    Cells {
        quality: numbered(&quality)
            .into_iter()
            .map(|(at, sum)| shrunk(sum, at, &means.quality) as f32)
            .collect(),
        log_output: numbered(&output)
            .into_iter()
            .map(|(at, sum)| float::ln(shrunk(sum, at, &means.output).max(OUTPUT_MIN)) as f32)
            .collect(),
        labels: labels.iter().map(|labels| *labels as f32).collect(),
    }
}

/// What the tables predict for a row: Σ share × cell.
fn expected(cells: &Cells, shares: &[(usize, f64)], models: usize, model: usize) -> f64 {
    let part =
        |(cell, share): &(usize, f64)| share * f64::from(cells.quality[cell * models + model]);
    shares.iter().map(part).sum()
}

fn sparse(weights: &[f64]) -> Vec<(usize, f64)> {
    let numbered = weights.iter().copied().enumerate();
    numbered.filter(|(_, weight)| *weight > 1e-6).collect()
}

/// The abstention threshold: [`CELL_LABELS_MIN`], or what all but a few training
/// prompts reach, if that is less; else the thinnest model would silence everything.
fn labels_min(heads: &[Head], data: &Dataset, inputs: &Array2<f32>) -> u32 {
    let models = data.models.len();
    let mut fewest = Vec::with_capacity(data.len());
    for row in inputs.rows() {
        let row = row.to_vec();
        let mut sums = vec![0.0f64; models];
        for head in heads {
            let (weights, _) = head.weights(&row, None);
            for (cell, share) in sparse(&weights) {
                let labels = &head.cells().labels[cell * models..(cell + 1) * models];
                sums.iter_mut()
                    .zip(labels)
                    .for_each(|(sum, l)| *sum += share * f64::from(*l));
            }
        }
        let least = sums.iter().copied().fold(f64::MAX, f64::min);
        fewest.push(least / heads.len().max(1) as f64);
    }
    fewest.sort_by(f64::total_cmp);
    let reached = fewest.get((fewest.len() as f64 * SILENCED_MAX) as usize);
    reached.map_or(0.0, |reached| reached.min(CELL_LABELS_MIN)) as u32
}

#[cfg(test)]
mod tests;
