//! The slice head: which labelled kind of work a prompt is, and how models do on it.
//!
//! Owns: the posterior (multinomial logistic regression, L-BFGS, L2) and its table of
//! outcomes by given label. Knows nothing of clusters. Declines (`None`) with fewer
//! than two slices worth a cell.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use linfa::Dataset as Records;
use linfa::traits::Fit;
use linfa_logistic::MultiLogisticRegression;
use ndarray::{Array1, Array2, Axis};
use spillway_routing::features::FEATURES;
use spillway_routing::head::Head;
use spillway_routing::head::cells::{Cells, Slices};
use spillway_routing::head::familiar::{Familiar, centre};
use spillway_routing::head::size::SLICES_MAX;
use spillway_routing::head::weights::Weights;
use spillway_routing::id::SliceId;

use super::tables::{Spreads, cells};
use super::{Inputs, Means};
use crate::dataset::Dataset;

/// Slices with fewer prompts get no cell: their table would be the prior.
const SLICE_PROMPTS_MIN: usize = 20;
/// Weight of the L2 penalty against the summed loss, as in the published experiments
/// (1 / 0.003). Posteriors stay soft.
const PENALTY: f64 = 333.0;
/// Steps of L-BFGS; it stops earlier when the gradient is small.
const STEPS_MAX: u64 = 200;
/// The gradient is summed over prompts, so this is a strict stop.
const GRADIENT_MIN: f64 = 1e-2;
/// Share of a slice's own prompts that are familiar. One or two in a hundred prompts of
/// known kinds are then beyond all limits, and up to all of a kind that was left out
/// (measured on three public sets).
const FAMILIAR: f64 = 0.99;
/// Added to each feature's variance, whose unit is the spread over all prompts: a feature
/// that never varied in a slice may still do so by a third of it.
const VARIANCE_MIN: f64 = 0.1;
const WEIGHT_MAX: f64 = 255.0;
/// The posterior is fitted on at most so many prompts, those with the lowest keys.
const PROMPTS_MAX: usize = 20_000;

pub(super) fn fit(data: &Dataset, inputs: &Inputs, means: &Means) -> Option<Head> {
    let names = names(data);
    if names.len() < 2 {
        return None;
    }
    let labels = labels(data, &names);
    let (weights, bias) = posterior(data, &inputs.real, &labels)?;
    let familiar = familiar(inputs, &labels, names.len());
    Some(Head::Slices(Slices {
        cells: count(data, &names, means),
        names,
        weights: Weights::of(inputs.real.ncols(), &weights),
        bias,
        familiar,
    }))
}

/// Outcomes by given label.
pub(super) fn count(data: &Dataset, names: &[SliceId], means: &Means) -> Cells {
    let shares = |label: Option<usize>| label.map(|cell| (cell, 1.0)).into_iter().collect();
    let spread: Spreads = labels(data, names).into_iter().map(shares).collect();
    cells(data, &spread, names.len(), means)
}

/// How each slice's prompts are built: mean and variance of each feature, and how far
/// nearly all of them lie from that mean.
fn familiar(inputs: &Inputs, labels: &[Option<usize>], slices: usize) -> Familiar {
    let mut usual = Familiar {
        limits: vec![0; slices],
        ..Familiar::default()
    };
    let members = |slice: usize| (0..labels.len()).filter(move |row| labels[*row] == Some(slice));
    for slice in 0..slices {
        let count = members(slice).count().max(1) as f64;
        for feature in 0..FEATURES {
            let values = || members(slice).map(|row| f64::from(inputs.real[[row, feature]]));
            let mean = values().sum::<f64>() / count;
            let variance = values().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
            let weight = WEIGHT_MAX * VARIANCE_MIN / (variance + VARIANCE_MIN);
            usual.centres.push(centre(mean));
            usual.weights.push(weight.round() as u8);
        }
    }
    for slice in 0..slices {
        let own = members(slice).map(|row| usual.distance(slice, &inputs.fixed[row]));
        let mut own: Vec<u32> = own.collect();
        own.sort_unstable();
        let last = own.len().saturating_sub(1) as f64;
        usual.limits[slice] = own
            .get((last * FAMILIAR) as usize)
            .copied()
            .unwrap_or(u32::MAX);
    }
    usual
}

/// Which cell each prompt's label is, if it has one.
fn labels(data: &Dataset, names: &[SliceId]) -> Vec<Option<usize>> {
    let place = |slice: &SliceId| names.iter().position(|name| name == slice);
    let labels = data.prompts.iter().map(|p| place(p.slice.as_ref()?));
    labels.collect()
}

/// Sorted: those with the most prompts.
fn names(data: &Dataset) -> Vec<SliceId> {
    let mut counts: BTreeMap<&SliceId, usize> = BTreeMap::new();
    for slice in data
        .prompts
        .iter()
        .filter_map(|prompt| prompt.slice.as_ref())
    {
        *counts.entry(slice).or_default() += 1;
    }
    let mut kept: Vec<(&SliceId, usize)> = counts
        .into_iter()
        .filter(|(_, count)| *count >= SLICE_PROMPTS_MIN)
        .collect();
    kept.sort_by_key(|(_, count)| Reverse(*count)); // Stable: of equals the first names.
    kept.truncate(SLICES_MAX);
    let mut names: Vec<SliceId> = kept.into_iter().map(|(slice, _)| slice.clone()).collect();
    names.sort_unstable();
    names
}

/// Weights `[slice][input]` and bias per slice. `None` where the solver finds none.
fn posterior(
    data: &Dataset,
    inputs: &Array2<f32>,
    labels: &[Option<usize>],
) -> Option<(Vec<f32>, Vec<f32>)> {
    let mut rows: Vec<usize> = (0..labels.len())
        .filter(|row| labels[*row].is_some())
        .collect();
    if rows.len() > PROMPTS_MAX {
        rows.sort_by_key(|row| (data.prompts[*row].key, *row));
        rows.truncate(PROMPTS_MAX);
    }
    let records = inputs.select(Axis(0), &rows).mapv(f64::from);
    let targets: Array1<usize> = rows.iter().filter_map(|row| labels[*row]).collect();
    let fitted = MultiLogisticRegression::default()
        .alpha(PENALTY)
        .max_iterations(STEPS_MAX)
        .gradient_tolerance(GRADIENT_MIN)
        .fit(&Records::new(records, targets))
        .ok()?;
    let weights = fitted.params().t().iter().map(|w| *w as f32).collect();
    let bias = fitted.intercept().iter().map(|b| *b as f32).collect();
    Some((weights, bias))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::audits;

    #[test]
    fn the_slices_with_the_most_prompts_have_cells() {
        let name = |kind: usize| SliceId::new(&format!("kind-{kind:02}"));
        let kinds = SLICES_MAX + 6;
        // The later the kind, the more prompts.
        let of_prompt = (0..kinds).flat_map(|kind| vec![kind; SLICE_PROMPTS_MIN + kind]);
        let mut all = audits(of_prompt.clone().count(), true, false, 5);
        for (audit, kind) in all.iter_mut().zip(of_prompt) {
            audit.facts.slice = Some(name(kind));
        }
        let names = names(&Dataset::of(&all, None));
        assert_eq!(names, (6..kinds).map(name).collect::<Vec<_>>());
    }
}
