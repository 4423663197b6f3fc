//! What counts as a row, a column and a part.

use super::*;
use crate::synthetic::{audits, outcome};

#[test]
fn a_thinly_labelled_model_gets_no_column() {
    let mut all = audits(400, true, false, 1);
    for audit in &mut all[MODEL_LABELS_MIN - 1..] {
        audit.answers.remove(0);
    }
    let data = Dataset::of(&all, None);
    assert_eq!(
        data.models,
        [ModelId::new("cheap-prose"), ModelId::new("dear")]
    );
    assert_eq!(data.labels(), [400, 400]);
}

#[test]
fn a_model_unknown_in_one_slice_gets_no_column() {
    let mut all = audits(800, true, true, 1);
    for audit in &mut all {
        if audit.facts.slice == Some(SliceId::new("prose")) {
            audit.answers.remove(2);
        }
    }
    assert_eq!(Dataset::of(&all, None).models.len(), 2);
}

#[test]
fn slices_are_kept_beside_the_facts_and_not_in_them() {
    let data = Dataset::of(&audits(60, true, true, 1), None);
    assert!(
        data.prompts
            .iter()
            .all(|p| p.slice.is_some() && p.facts.slice.is_none())
    );
}

#[test]
fn an_id_counts_once() {
    let mut all = audits(50, true, false, 1);
    all.extend(audits(50, true, false, 1));
    assert_eq!(Dataset::of(&all, None).len(), 50);
}

#[test]
fn cuts_are_disjoint_and_stay_when_more_prompts_come() {
    let few = Dataset::of(&audits(300, true, false, 1), None);
    let many = Dataset::of(&audits(600, true, false, 1), None);
    let (train, held) = few.cut(0.3, 5);
    assert_eq!(train.len() + held.len(), 300);
    assert!((60..120).contains(&held.len()), "{}", held.len());
    let (_, later) = many.cut(0.3, 5);
    assert!(held.iter().all(|row| later.contains(row)));
    assert_ne!(few.cut(0.3, 6).1, held);
}

#[test]
fn live_rows_weigh_by_surprise_and_are_cut_by_time() {
    let outcomes = [
        outcome(1, 10, "dear", 1_000_000),
        outcome(2, 20, "dear", 200_000),
        outcome(3, 30, "cheap-code", 1),
        outcome(3, 30, "cheap-code", 1),
        outcome(4, 40, "nobody", 1),
    ];
    let live: Vec<Labelled<'_>> = outcomes
        .iter()
        .map(|outcome| Labelled {
            outcome,
            quality: Bps::new(7_000),
        })
        .collect();
    let data = Dataset::of(&audits(100, true, false, 1), None).with_live(&live);
    let rows: Vec<usize> = (100..data.len()).collect();
    let weights: Vec<f64> = rows.iter().map(|row| data.prompts[*row].weight).collect();
    assert_eq!(
        rows.len(),
        3,
        "repeated ids and unknown models are left out"
    );
    for (weight, expected) in weights.iter().zip([0.1, 0.5, 1.0]) {
        assert!((weight - expected).abs() < 1e-12);
    }
    assert!(data.quality[[100, 0]].is_nan() && (data.quality[[100, 2]] - 0.7).abs() < 1e-12);
    let (train, held) = data.cut(0.3, 5);
    assert!(train.contains(&100) && train.contains(&101) && held.contains(&102));
    assert_eq!(data.audits().len(), 100);
}

#[test]
fn old_audits_count_less() {
    let mut audits = audits(40, true, false, 1);
    for (i, audit) in audits.iter_mut().enumerate() {
        audit.at = UnixMillis(if i < 20 { 0 } else { HALF_LIFE.0 });
    }
    let data = Dataset::of(&audits, None);
    let weights: Vec<f64> = data.prompts.iter().map(|prompt| prompt.weight).collect();
    assert_eq!((weights[0], weights[39]), (0.5, 1.0));
}
