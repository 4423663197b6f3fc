//! Tables counted again: a day's labels without a day's fit.
//!
//! Owns: which parts of a committee are sums over labelled prompts. Those are counted
//! anew, by the code that counts them in a fit; whatever was fitted (scaler, posterior,
//! centroids, trees, networks, lengths, mix, curves) stays, so nothing else a decision
//! rests on moves. Kinds of work and models that are new wait for the next fit.

use spillway_routing::head::{Committee, Head};

use super::{Inputs, blind, clusters, means, slices, tables};
use crate::dataset::Dataset;

/// The committee with its means and its tables of `data`: every prompt that is to count,
/// old and new. With the prompts that it was fitted on it stays the same. `None` if the
/// data set has other models.
#[must_use]
pub fn update(committee: &Committee, data: &Dataset) -> Option<Committee> {
    if data.models != committee.models || data.is_empty() {
        return None;
    }
    let means = means(data);
    let blind = blind(data, &means);
    let mut updated = Committee {
        mean_quality: blind.mean_quality,
        mean_output: blind.mean_output,
        labels: blind.labels,
        ..committee.clone()
    };
    if updated.heads.is_empty() {
        return Some(updated);
    }
    let inputs = Inputs::of(committee, data);
    for head in &mut updated.heads {
        match head {
            Head::Slices(head) => head.cells = slices::count(data, &head.names, &means),
            Head::Clusters(head) => head.cells = clusters::count(data, &inputs, head, &means),
            Head::Forest(_) | Head::Networks(_) => {}
        }
    }
    updated.labels_min = tables::labels_min(&updated.heads, data, &inputs);
    Some(updated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{COMMITTEE_MIN, FitSettings, PROMPTS_MIN, fit};
    use crate::synthetic::audits;
    use proptest::prelude::*;
    use spillway_routing::id::ModelId;
    use spillway_routing::outcome::Audit;

    fn fitted(data: &Dataset) -> Committee {
        let settings = FitSettings {
            seed: 9,
            shape: None,
            networks: 1,
            threads: 1,
        };
        fit(data, settings)
    }

    fn thinned(count: usize, labelled: bool, seed: u64) -> Vec<Audit> {
        let mut all = audits(count, true, labelled, seed);
        for audit in all.iter_mut().step_by(5) {
            audit.answers.pop();
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_same_prompts_change_nothing(
            count in PROMPTS_MIN - 10..PROMPTS_MIN + 300,
            labelled: bool,
            seed in 0u64..1_000
        ) {
            let data = Dataset::of(&thinned(count, labelled, seed), None);
            let committee = fitted(&data);
            prop_assert_eq!(update(&committee, &data), Some(committee));
        }
    }

    #[test]
    fn more_prompts_are_counted_and_nothing_else_moves() {
        let mut all = thinned(COMMITTEE_MIN, true, 3);
        let committee = fitted(&Dataset::of(&all, None));
        assert_eq!(committee.heads.len(), 4);
        all.extend(thinned(COMMITTEE_MIN, true, 4));
        let updated = update(&committee, &Dataset::of(&all, None)).unwrap();
        assert_eq!(updated.labels, 2 * committee.labels);
        for (old, new) in committee.heads.iter().zip(&updated.heads) {
            match (old, new) {
                (Head::Slices(old), Head::Slices(new)) => {
                    assert_ne!(old.cells, new.cells);
                    assert_eq!((&old.weights, &old.bias), (&new.weights, &new.bias));
                }
                (Head::Clusters(old), Head::Clusters(new)) => {
                    assert_ne!(old.cells, new.cells);
                    assert_eq!(old.centroids, new.centroids);
                }
                (old, new) => assert_eq!(old, new),
            }
        }
        let kept = |committee: &Committee| {
            let committee = committee.clone();
            (committee.scaler, committee.lengths, committee.calibration)
        };
        assert_eq!(kept(&committee), kept(&updated));
    }

    #[test]
    fn other_models_are_refused() {
        let all = audits(PROMPTS_MIN, true, true, 3);
        let committee = fitted(&Dataset::of(&all, None));
        let fewer: Vec<ModelId> = committee.models[1..].to_vec();
        assert_eq!(update(&committee, &Dataset::of(&all, Some(&fewer))), None);
        assert_eq!(update(&committee, &Dataset::of(&[], None)), None);
    }
}
