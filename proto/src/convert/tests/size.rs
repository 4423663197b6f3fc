//! How large a table becomes: what was learnt at its largest, and what a new policy moves.

use super::*;
use spillway_routing::head::size::{
    CLUSTERS_MAX, KNOTS, LEAVES_MAX, NETWORKS, SLICES_MAX, TREES, UNITS,
};

const INPUTS: usize = FEATURES + DIMENSIONS;

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 37 % 256) as u8).collect()
}

fn weights(rows: usize, columns: usize) -> Weights {
    let number = |byte: u8| f32::from(byte) - 128.0;
    let numbers: Vec<f32> = bytes(rows * columns).into_iter().map(number).collect();
    Weights::of(columns, &numbers)
}

fn cells(rows: usize, models: usize) -> Cells {
    Cells {
        quality: bytes(rows * models),
        labels: bytes(rows * models),
    }
}

fn largest_tree(models: usize) -> Tree {
    let branch = |next: usize| match next.checked_sub(LEAVES_MAX - 1) {
        Some(leaf) => Branch::Leaf(leaf as u16),
        None => Branch::Node(next as u16),
    };
    let node = |i: usize| Node {
        input: (INPUTS - 1) as u16,
        threshold: i16::MIN + i as i16,
        left: branch(2 * i + 1),
        right: branch(2 * i + 2),
    };
    Tree {
        nodes: (0..LEAVES_MAX - 1).map(node).collect(),
        leaves: bytes(LEAVES_MAX * models),
    }
}

fn largest_heads(models: usize) -> Vec<Head> {
    let name = |i: usize| format!("kind-of-work-{i}").as_str().into();
    let network = Network {
        hidden: weights(UNITS, INPUTS),
        hidden_bias: vec![0.1; UNITS],
        output: weights(models, UNITS),
        output_bias: vec![0.1; models],
    };
    vec![
        Head::Slices(Slices {
            names: (0..SLICES_MAX).map(name).collect(),
            weights: weights(SLICES_MAX, INPUTS),
            bias: vec![0.1; SLICES_MAX],
            cells: cells(SLICES_MAX, models),
        }),
        Head::Clusters(Clusters {
            centroids: weights(CLUSTERS_MAX, DIMENSIONS),
            similarity_min: 0.3,
            cells: cells(CLUSTERS_MAX, models),
        }),
        Head::Forest(vec![largest_tree(models); TREES]),
        Head::Networks(vec![network; NETWORKS]),
    ]
}

fn largest(models: usize) -> Committee {
    let name = |i: usize| format!("a-model-of-some-family-{i}").as_str().into();
    let knots = vec![Bps::ONE; KNOTS];
    Committee {
        models: (0..models).map(name).collect(),
        mean_quality: vec![Bps::new(7_000); models],
        mean_output: vec![Tokens(2_000); models],
        labels: 1_000_000,
        heads: largest_heads(models),
        mix: vec![Bps::new(2_500); 4],
        lengths: Lengths {
            weights: weights(models, INPUTS),
            bias: vec![5.0; models],
        },
        calibration: vec![Curve { knots }; models],
        ..committee()
    }
}

#[test]
fn what_was_learnt_is_small_at_its_largest() {
    for (models, most) in [(16, 64 * 1024), (64, 256 * 1024)] {
        let mut draft = draft();
        draft.committee = Some(largest(models));
        let bytes = encode_table(&draft);
        assert_eq!(decode_table(&bytes).as_ref(), Ok(&draft));
        let learned = learned_bytes(&bytes);
        assert!(learned <= most, "{models} models: {learned} bytes");
    }
}
