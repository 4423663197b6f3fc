//! A committee of the largest size, made of waves: what is measured is arithmetic, which
//! does not depend on what was learnt.

use spillway_routing::encoder::{DIMENSIONS, EncoderId};
use spillway_routing::features::FEATURES;
use spillway_routing::head::cells::{Cells, Clusters, Slices};
use spillway_routing::head::curve::Curve;
use spillway_routing::head::familiar::Familiar;
use spillway_routing::head::forest::{Branch, Node, Tree};
use spillway_routing::head::network::Network;
use spillway_routing::head::size::{CLUSTERS_MAX, LEAVES_MAX, NETWORKS, SLICES_MAX, TREES, UNITS};
use spillway_routing::head::weights::{Weights, quality};
use spillway_routing::head::{Committee, Head, Lengths, Scaler};
use spillway_routing::unit::{Bps, Tokens};

pub(crate) fn name(i: usize) -> String {
    format!("model-{i}")
}

fn wave(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 37 % 101) as f32) / 101.0)
        .collect()
}

fn weights(rows: usize, columns: usize) -> Weights {
    Weights::of(columns, &wave(rows * columns))
}

/// As deep as grown ones: a heap of questions.
fn tree(seed: usize, models: usize) -> Tree {
    let branch = |next: usize| {
        if next < LEAVES_MAX - 1 {
            Branch::Node(next as u16)
        } else {
            Branch::Leaf((next - (LEAVES_MAX - 1)) as u16)
        }
    };
    let node = |i: usize| Node {
        input: ((i * 31 + seed * 17) % (FEATURES + DIMENSIONS)) as u16,
        threshold: (i * 7_919 % 4_096) as i16 - 2_048,
        left: branch(2 * i + 1),
        right: branch(2 * i + 2),
    };
    Tree {
        nodes: (0..LEAVES_MAX - 1).map(node).collect(),
        leaves: (0..LEAVES_MAX * models)
            .map(|i| (i * 13 % 256) as u8)
            .collect(),
    }
}

fn network(models: usize) -> Network {
    Network {
        hidden: weights(UNITS, FEATURES + DIMENSIONS),
        hidden_bias: wave(UNITS),
        output: weights(models, UNITS),
        output_bias: wave(models),
    }
}

/// Heads of the largest size.
pub(crate) fn committee(models: usize) -> Committee {
    let inputs = FEATURES + DIMENSIONS;
    let cells = |rows: usize| Cells {
        quality: wave(rows * models)
            .iter()
            .map(|q| quality(f64::from(*q)))
            .collect(),
        labels: vec![200; rows * models],
    };
    Committee {
        encoder: EncoderId::MiniLm64,
        models: (0..models).map(|i| name(i).as_str().into()).collect(),
        mean_quality: vec![Bps::new(7_000); models],
        mean_output: vec![Tokens(200); models],
        labels: 3_000,
        scaler: Scaler {
            mean: wave(inputs),
            inverse_spread: vec![1.0; inputs],
        },
        heads: vec![
            Head::Slices(Slices {
                names: (0..SLICES_MAX)
                    .map(|i| format!("slice-{i}").as_str().into())
                    .collect(),
                weights: weights(SLICES_MAX, inputs),
                bias: wave(SLICES_MAX),
                cells: cells(SLICES_MAX),
                familiar: Familiar {
                    centres: vec![5; SLICES_MAX * FEATURES],
                    weights: vec![40; SLICES_MAX * FEATURES],
                    limits: vec![1; SLICES_MAX],
                },
            }),
            Head::Clusters(Clusters {
                centroids: weights(CLUSTERS_MAX, DIMENSIONS),
                similarity_min: -1.0,
                cells: cells(CLUSTERS_MAX),
            }),
            Head::Forest((0..TREES).map(|seed| tree(seed, models)).collect()),
            Head::Networks(vec![network(models); NETWORKS]),
        ],
        mix: vec![Bps::ONE; 4],
        given: Bps::new(5_000),
        lengths: Lengths {
            weights: weights(models, inputs),
            bias: vec![5.0; models],
        },
        calibration: vec![Curve::identity(); models],
        labels_min: 20,
    }
}
