//! Committees of a few cells, and what they say.

use super::*;
use crate::encoder::Encoding;
use crate::features::Features;
use crate::head::familiar::Familiar;
use crate::id::SliceId;
use proptest::prelude::*;

/// Two models, two slices told apart by one feature.
fn committee() -> Committee {
    let inputs = 1 + DIMENSIONS;
    let mut weights = vec![0.0; 2 * inputs];
    weights[0] = 4.0;
    weights[inputs] = -4.0;
    let cells = Cells {
        quality: [0.9, 0.2, 0.3, 0.8].map(weights::quality).to_vec(),
        labels: vec![100; 4],
    };
    Committee {
        encoder: EncoderId::MiniLm64,
        models: vec!["small".into(), "large".into()],
        mean_quality: vec![Bps::new(6_000), Bps::new(5_000)],
        mean_output: vec![Tokens(20), Tokens(20)],
        labels: 200,
        scaler: Scaler {
            mean: vec![0.0; inputs],
            inverse_spread: vec![1.0; inputs],
        },
        heads: vec![Head::Slices(Slices {
            names: vec!["left".into(), "right".into()],
            weights: Weights::of(inputs, &weights),
            bias: vec![0.0, 0.0],
            cells,
            familiar: Familiar::default(),
        })],
        mix: vec![Bps::ONE],
        given: Bps::new(5_000),
        lengths: Lengths {
            weights: Weights::of(inputs, &vec![0.0; 2 * inputs]),
            bias: vec![3.0, 4.0],
        },
        calibration: vec![Curve::identity(), Curve::identity()],
        labels_min: 20,
    }
}

fn facts(feature: f32, slice: Option<&str>) -> Facts {
    Facts {
        features: Features::of(&[feature]),
        slice: slice.map(SliceId::new),
        encoding: Encoding::default(),
        ..Facts::default()
    }
}

#[test]
fn a_feature_moves_the_prediction() {
    let left = committee().score(&facts(2.0, None));
    let right = committee().score(&facts(-2.0, None));
    assert!(left.models[0].quality > left.models[1].quality);
    assert!(right.models[0].quality < right.models[1].quality);
    assert_eq!(left.abstention, None);
    assert_eq!(left.models[1].output, Tokens(55));
}

#[test]
fn what_never_varied_in_training_is_noticed_when_it_does() {
    let mut committee = committee();
    committee.scaler.inverse_spread[0] = 0.0;
    assert_eq!(committee.score(&facts(0.0, None)).abstention, None);
    let strange = committee.score(&facts(0.5, None)).abstention;
    assert_eq!(strange, Some(Abstention::UnlikeTraining));
    // Whoever names a known kind of work is believed.
    assert_eq!(committee.score(&facts(0.5, Some("left"))).abstention, None);
}

#[test]
fn a_named_slice_is_believed_however_the_text_looks() {
    let mut committee = committee();
    committee.heads.push(Head::Clusters(Clusters {
        centroids: Weights::of(DIMENSIONS, &[0.1; DIMENSIONS]),
        similarity_min: 2.0,
        cells: Cells {
            quality: vec![100; 2],
            labels: vec![100; 2],
        },
    }));
    committee.mix.push(Bps::ONE);
    let abstention = |slice| committee.score(&facts(0.0, slice)).abstention;
    assert_eq!(abstention(None), Some(Abstention::UnlikeTraining));
    assert_eq!(abstention(Some("left")), None);
    assert_eq!(
        abstention(Some("elsewhere")),
        Some(Abstention::UnknownSlice)
    );
}

#[test]
fn a_given_label_replaces_the_posterior() {
    let scores = committee().score(&facts(2.0, Some("right")));
    assert_eq!(scores.models[1].quality, Bps::new(8_000));
    let unknown = committee().score(&facts(2.0, Some("elsewhere")));
    assert_eq!(unknown.abstention, Some(Abstention::UnknownSlice));
}

#[test]
fn few_labels_are_a_reason_to_abstain() {
    let mut few = committee();
    few.labels_min = 101;
    assert_eq!(
        few.score(&facts(2.0, None)).abstention,
        Some(Abstention::FewLabels)
    );
}

#[test]
fn heads_count_by_their_mix() {
    let mut mixed = committee();
    let leaf = |value: u8| {
        Head::Forest(vec![Tree {
            nodes: Vec::new(),
            leaves: vec![value; 2],
        }])
    };
    mixed.heads = vec![leaf(255), leaf(0)];
    mixed.mix = vec![Bps::new(3_000), Bps::new(1_000)];
    let scores = mixed.score(&facts(0.0, None));
    assert_eq!(scores.models[0].quality, Bps::new(7_500));
    assert_eq!(scores.abstention, None, "no table, no count of labels");
    assert_eq!(mixed.opinions(&facts(0.0, None))[1], [0.0, 0.0]);
}

proptest! {
    #[test]
    fn the_lower_bound_is_lower(share in 0.0f64..=1.0, labels in 1.0f64..1e6) {
        prop_assert!(bound(share, labels) <= Bps::from_share(share));
    }

    #[test]
    fn scoring_never_leaves_the_unit_interval(feature in -1e6f32..1e6) {
        for score in committee().score(&facts(feature, None)).models {
            prop_assert!(score.quality_low <= score.quality);
        }
    }
}
