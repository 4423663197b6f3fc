//! A committee with its models in another order.
//!
//! Owns: which numbers of a head belong to which model, so that two committees can be
//! measured on one data set.

use spillway_routing::head::{Committee, Head};
use spillway_routing::id::ModelId;

/// A committee that predicts exactly `models`, in their order, from one that predicts
/// at least those. `None` if it lacks one.
#[must_use]
pub fn aligned(committee: &Committee, models: &[ModelId]) -> Option<Committee> {
    let place = |model: &ModelId| committee.models.iter().position(|known| known == model);
    let places: Vec<usize> = models.iter().map(place).collect::<Option<_>>()?;
    let width = committee.models.len();
    let mut aligned = committee.clone();
    aligned.models = models.to_vec();
    aligned.mean_quality = pick(&committee.mean_quality, width, &places);
    aligned.mean_output = pick(&committee.mean_output, width, &places);
    aligned.calibration = pick(&committee.calibration, width, &places);
    aligned.lengths.weights = committee.lengths.weights.select(&places);
    aligned.lengths.bias = pick(&committee.lengths.bias, width, &places);
    for head in &mut aligned.heads {
        match head {
            Head::Slices(slices) => {
                slices.cells.quality = pick(&slices.cells.quality, width, &places);
                slices.cells.labels = pick(&slices.cells.labels, width, &places);
            }
            Head::Clusters(clusters) => {
                clusters.cells.quality = pick(&clusters.cells.quality, width, &places);
                clusters.cells.labels = pick(&clusters.cells.labels, width, &places);
            }
            Head::Forest(trees) => {
                for tree in trees {
                    tree.leaves = pick(&tree.leaves, width, &places);
                }
            }
            Head::Networks(networks) => {
                for network in networks {
                    network.output = network.output.select(&places);
                    network.output_bias = pick(&network.output_bias, width, &places);
                }
            }
        }
    }
    Some(aligned)
}

/// The columns at `places` of each row of `width`.
fn pick<T: Clone>(values: &[T], width: usize, places: &[usize]) -> Vec<T> {
    let rows = values.chunks_exact(width.max(1));
    rows.flat_map(|row| places.iter().map(|i| row[*i].clone()))
        .collect()
}
