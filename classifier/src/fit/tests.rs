//! Recovery of a known world, and odd data.

use super::*;
use crate::dataset::Labelled;
use crate::synthetic::{CHANCE, audits, facts, outcome};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256Plus;
use spillway_routing::id::SliceId;

fn data(telling: bool, labelled: bool) -> Dataset {
    Dataset::of(&audits(1_500, telling, labelled, 3), None)
}

fn learnt(data: &Dataset) -> Committee {
    fit(
        data,
        FitSettings {
            seed: 9,
            shape: None,
            networks: 1,
            threads: 1,
        },
    )
}

/// Mean predicted quality per kind and model on new prompts.
fn predicted(committee: &Committee) -> [[f64; 3]; 2] {
    let mut dice = Xoshiro256Plus::seed_from_u64(77);
    let mut sums = [[0.0; 3]; 2];
    for (kind, sums) in sums.iter_mut().enumerate() {
        for _ in 0..100 {
            let scores = committee.score(&facts(kind, true, &mut dice));
            for (sum, score) in sums.iter_mut().zip(scores.models) {
                *sum += score.quality.share() / 100.0;
            }
        }
    }
    sums
}

fn assert_recovered(committee: &Committee, within: f64) {
    let predicted = predicted(committee);
    for kind in 0..2 {
        for model in 0..3 {
            let (seen, true_chance) = (predicted[kind][model], CHANCE[kind][model]);
            assert!(
                (seen - true_chance).abs() < within,
                "{kind} {model}: {seen}"
            );
        }
    }
}

#[test]
fn any_number_of_threads_fits_the_same_committee() {
    let data = data(true, true);
    let fitted = |threads: usize| {
        let settings = FitSettings {
            seed: 9,
            shape: None,
            networks: 2,
            threads,
        };
        fit(&data, settings)
    };
    assert_eq!(fitted(1), fitted(3));
}

#[test]
fn two_slices_with_different_best_models_are_recovered() {
    let committee = learnt(&data(true, true));
    assert_eq!(committee.heads.len(), 4);
    assert_recovered(&committee, 0.12);
}

#[test]
fn without_labels_clusters_alone_find_them() {
    let committee = learnt(&data(true, false));
    assert_eq!(committee.heads.len(), 3);
    assert_recovered(&committee, 0.15);
}

#[test]
fn a_given_slice_is_believed() {
    let committee = learnt(&data(true, true));
    let mut facts = facts(0, true, &mut Xoshiro256Plus::seed_from_u64(1));
    let without = committee.score(&facts).models[1].quality;
    facts.slice = Some(SliceId::new("prose"));
    assert!(committee.score(&facts).models[1].quality.share() > without.share() + 0.2);
}

#[test]
fn the_same_data_and_seed_give_the_same_bits() {
    assert_eq!(learnt(&data(true, true)), learnt(&data(true, true)));
}

#[test]
fn prompts_that_look_alike_are_predicted_alike() {
    let committee = learnt(&data(false, false));
    for row in predicted(&committee) {
        assert!((row[0] - row[1]).abs() < 0.15, "{row:?}");
    }
}

#[test]
fn constant_features_never_count() {
    let committee = learnt(&data(true, true));
    assert_eq!(committee.scaler.inverse_spread[5], 0.0);
}

#[test]
fn missing_labels_do_not_drag_means() {
    let mut all = audits(1_500, true, true, 3);
    for audit in all.iter_mut().step_by(3) {
        audit
            .answers
            .retain(|answer| answer.model.as_str() != "dear");
    }
    let committee = learnt(&Dataset::of(&all, None));
    assert_eq!(committee.models.len(), 3);
    assert!((committee.mean_quality[2].share() - 0.95).abs() < 0.03);
    assert_recovered(&committee, 0.12);
}

/// A model that is only served what it is good at is no better for it.
#[test]
fn what_was_served_does_not_move_the_means_of_audited_models() {
    let audited = Dataset::of(&audits(400, true, true, 3), None);
    let served: Vec<_> = (0..200)
        .map(|id| outcome(id, 1_000, "cheap-code", 1))
        .collect();
    let live: Vec<Labelled<'_>> = served
        .iter()
        .map(|outcome| Labelled {
            outcome,
            quality: Bps::ONE,
        })
        .collect();
    let before = means(&audited).quality;
    let with_live = audited.with_live(&live);
    assert_eq!(with_live.len(), 600);
    assert_eq!(means(&with_live).quality, before);
}

#[test]
fn labels_of_one_class_stay_finite() {
    let mut all = audits(600, true, true, 3);
    let answers = all.iter_mut().flat_map(|audit| &mut audit.answers);
    answers.for_each(|answer| answer.score = Bps::ONE);
    let committee = learnt(&Dataset::of(&all, None));
    assert!(
        predicted(&committee)
            .iter()
            .flatten()
            .all(|quality| *quality > 0.99)
    );
}

#[test]
fn few_prompts_give_no_heads() {
    let committee = learnt(&Dataset::of(&audits(PROMPTS_MIN - 1, true, true, 3), None));
    assert!(committee.heads.is_empty() && committee.models.len() == 3);
}

#[test]
fn most_training_prompts_are_not_silenced() {
    let data = data(true, true);
    let committee = learnt(&data);
    let silent = |facts: &std::sync::Arc<spillway_routing::features::Facts>| {
        committee.score(facts).abstention.is_some()
    };
    let silenced = data
        .prompts
        .iter()
        .filter(|prompt| silent(&prompt.facts))
        .count();
    assert!(silenced < data.len() / 10, "{silenced}");
}
