//! A new model among known ones: what it would have made of prompts it never saw.
//!
//! Owns: filling the gaps of a model that was audited on few of the prompts, from what
//! the other models made of the same prompts (a ridge regression on their labels: most
//! of what differs between prompts is how hard they are, and all models feel that).
//! Heads then learn its column like any other, and a table needs no second way to
//! predict. Filled-in labels are expectations, not observations: they have no chance
//! in them, and a model that has too few real ones gets no column at all.

use std::collections::BTreeSet;

use ndarray::{Array1, Array2, Axis};
use spillway_routing::id::SliceId;

use crate::dataset::Dataset;
use crate::offers::COVERAGE_MIN;
use crate::ridge::Moments;

/// A model that was seen on a smaller share of the audits is new. Whatever has a column is
/// a candidate, so it must take part in the comparison that λ is solved on, and that wants
/// this share.
const SHARE_MIN: f64 = COVERAGE_MIN;
/// Weight of the L2 penalty against the summed squared error of labels.
const PENALTY: f64 = 10.0;

/// The data with the gaps of new models filled. Without known models, or without new
/// ones, as it was. Live rows stay as they are.
#[must_use]
pub fn impute(mut data: Dataset) -> Dataset {
    let audits = data.audits();
    let seen = |model: usize| {
        let labelled = audits
            .iter()
            .filter(|row| !data.quality[[**row, model]].is_nan());
        labelled.count() as f64
    };
    let least = audits.len() as f64 * SHARE_MIN;
    let (known, new): (Vec<usize>, Vec<usize>) =
        (0..data.models.len()).partition(|model| seen(*model) >= least);
    if known.is_empty() || new.is_empty() {
        return data;
    }
    let others = clues(&data, &known);
    for model in new {
        fill(&mut data, &audits, &known, &others, model);
    }
    data
}

/// What is known of each prompt: the known models' labels, and its slice. With the
/// penalty a slice counts as in the slice table, with ten pseudo-outcomes.
fn clues(data: &Dataset, known: &[usize]) -> Array2<f64> {
    let slices: BTreeSet<&SliceId> = data
        .prompts
        .iter()
        .filter_map(|p| p.slice.as_ref())
        .collect();
    let slices: Vec<&SliceId> = slices.into_iter().collect();
    let inside = |(row, slice): (usize, usize)| {
        let named = data.prompts[row].slice.as_ref() == Some(slices[slice]);
        f64::from(u8::from(named))
    };
    let slices = Array2::from_shape_fn((data.len(), slices.len()), inside);
    let labels = labels_of(data, known);
    // Both have a row per prompt, so they always join.
    ndarray::concatenate(Axis(1), &[labels.view(), slices.view()]).unwrap_or(labels)
}

/// Labels of the known models, a row per row of the data; their mean where one is
/// missing.
fn labels_of(data: &Dataset, known: &[usize]) -> Array2<f64> {
    let mut labels = data.quality.select(Axis(1), known);
    for mut column in labels.columns_mut() {
        let seen: Vec<f64> = column.iter().copied().filter(|q| !q.is_nan()).collect();
        let mean = seen.iter().sum::<f64>() / seen.len().max(1) as f64;
        column.mapv_inplace(|q| if q.is_nan() { mean } else { q });
    }
    labels
}

fn fill(data: &mut Dataset, audits: &[usize], known: &[usize], others: &Array2<f64>, model: usize) {
    let is_seen = |row: &usize| !data.quality[[*row, model]].is_nan();
    let (seen, gaps): (Vec<usize>, Vec<usize>) = audits.iter().partition(|row| is_seen(row));
    if seen.is_empty() || gaps.is_empty() {
        return;
    }
    let rows = others.select(Axis(0), &seen);
    let labels: Array1<f64> = seen.iter().map(|row| data.quality[[*row, model]]).collect();
    let ridge = Moments::of(&rows).ridge(PENALTY);
    let (weights, offset) = ridge.solve(rows.rows().into_iter(), &labels);
    // Longer and dearer in proportion to what the known models needed.
    let [input, output] = [&data.input, &data.output].map(|tokens| {
        let theirs = |row: &usize| {
            let theirs = known
                .iter()
                .map(|k| tokens[[*row, *k]])
                .filter(|t| !t.is_nan());
            let (sum, count) = theirs.fold((0.0, 0.0), |(s, n), t| (s + t, n + 1.0));
            if count > 0.0 { sum / count } else { 0.0 }
        };
        let own: f64 = seen.iter().map(|row| tokens[[*row, model]]).sum();
        let ratio = own / seen.iter().map(theirs).sum::<f64>().max(1.0);
        gaps.iter()
            .map(|row| ratio * theirs(row))
            .collect::<Vec<f64>>()
    });
    for (i, row) in gaps.into_iter().enumerate() {
        let at = [row, model];
        data.quality[at] = (others.row(row).dot(&weights) + offset).clamp(0.0, 1.0);
        data.input[at] = input[i];
        data.output[at] = output[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::audits;
    use spillway_routing::id::ModelId;

    /// The dear model was seen on every tenth prompt; its twin everywhere.
    fn with_newcomer() -> Dataset {
        let mut all = audits(1_000, true, true, 5);
        for (i, audit) in all.iter_mut().enumerate() {
            let mut twin = audit.answers[0].clone();
            twin.model = ModelId::new("twin");
            audit.answers.push(twin);
            if i % 10 != 0 {
                audit.answers.remove(0);
            }
        }
        let models: Vec<ModelId> = ["cheap-code", "cheap-prose", "dear", "twin"]
            .map(ModelId::new)
            .to_vec();
        Dataset::of(&all, Some(&models))
    }

    #[test]
    fn gaps_are_filled_from_what_resembles_the_new_model() {
        let before = with_newcomer();
        let after = impute(before.clone());
        assert!(after.quality.iter().all(|q| !q.is_nan()));
        let (mut error, mut count) = (0.0, 0.0);
        for row in 0..after.len() {
            if before.quality[[row, 0]].is_nan() {
                error += (after.quality[[row, 0]] - after.quality[[row, 3]]).abs();
                count += 1.0;
            } else {
                assert_eq!(before.quality[[row, 0]], after.quality[[row, 0]]);
            }
        }
        assert!(error / count < 0.25, "{}", error / count);
        assert!(
            after
                .output
                .column(0)
                .iter()
                .all(|t| (*t - 100.0).abs() < 1.0)
        );
    }

    #[test]
    fn known_models_stay_as_they_were() {
        let data = Dataset::of(&audits(200, true, true, 5), None);
        assert_eq!(impute(data.clone()).quality, data.quality);
    }
}
