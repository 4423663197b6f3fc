//! Counting: shrunken tables of outcomes over cells, and how thin they are.
//!
//! Owns: the sums behind the slice and the cluster head. Which cells a row belongs to is
//! those heads' work.

use spillway_routing::head::Head;
use spillway_routing::head::cells::Cells;
use spillway_routing::head::weights::{QUALITY_ONE, quality as rounded};

use super::{Inputs, Means};
use crate::dataset::Dataset;

/// Pseudo-outcomes that pull each cell toward its model's mean.
const SHRINK: f64 = 10.0;
/// Fewer labels behind a prediction: abstain.
const CELL_LABELS_MIN: f64 = 20.0;
/// Unless more than this share of the training prompts would be silenced.
const SILENCED_MAX: f64 = 0.05;

/// Per row (cell, share) pairs that sum to one, or nothing where its cell is not known.
pub(super) type Spreads = Vec<Vec<(usize, f64)>>;

pub(super) fn cells(data: &Dataset, spread: &Spreads, count: usize, means: &Means) -> Cells {
    let models = data.models.len();
    let mut quality = vec![0.0f64; count * models];
    let mut labels = quality.clone();
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
                labels[at] += weight;
            }
        }
    }
    let shrunk = |(at, sum): (usize, &f64)| {
        let prior = SHRINK * means.quality[at % models];
        rounded((sum + prior) / (labels[at] + SHRINK))
    };
    Cells {
        quality: quality.iter().enumerate().map(shrunk).collect(),
        labels: labels.iter().map(|labels| labels.round() as u8).collect(),
    }
}

/// What a table predicts for a row: Σ share × cell.
pub(super) fn expected(cells: &Cells, shares: &[(usize, f64)], models: usize, model: usize) -> f64 {
    let part = |(cell, share): &(usize, f64)| {
        share * f64::from(cells.quality[cell * models + model]) / QUALITY_ONE
    };
    shares.iter().map(part).sum()
}

/// The abstention threshold: [`CELL_LABELS_MIN`], or what all but a few training
/// prompts reach, if that is less; else the thinnest model would silence everything.
pub(super) fn labels_min(heads: &[Head], data: &Dataset, inputs: &Inputs) -> u32 {
    let models = data.models.len();
    let tables = heads.iter().filter(|head| head.cells().is_some()).count();
    let mut fewest = Vec::with_capacity(data.len());
    for row in &inputs.fixed {
        let mut sums = vec![0.0f64; models];
        for head in heads {
            let mut count = |cells: &Cells, cell: usize, share: f64| {
                let labels = &cells.labels[cell * models..(cell + 1) * models];
                for (sum, labels) in sums.iter_mut().zip(labels) {
                    *sum += share * f64::from(*labels);
                }
            };
            match head {
                Head::Slices(slices) => {
                    slices.spread(row, None, |cell, share| count(&slices.cells, cell, share));
                }
                Head::Clusters(clusters) => {
                    clusters.spread(row, |cell, share| count(&clusters.cells, cell, share));
                }
                Head::Forest(_) | Head::Networks(_) => {}
            }
        }
        let least = sums.iter().copied().fold(f64::MAX, f64::min);
        fewest.push(least / tables.max(1) as f64);
    }
    fewest.sort_by(f64::total_cmp);
    let reached = fewest.get((fewest.len() as f64 * SILENCED_MAX) as usize);
    reached.map_or(0.0, |reached| reached.min(CELL_LABELS_MIN)) as u32
}
