//! What was learnt: committees, their heads and curves.

use spillway_routing::encoder::EncoderId;
use spillway_routing::head::cells::{Cells, Clusters, Slices};
use spillway_routing::head::curve::Curve;
use spillway_routing::head::familiar::Familiar;
use spillway_routing::head::forest::{Branch, Node, Tree};
use spillway_routing::head::network::Network;
use spillway_routing::head::weights::Weights;
use spillway_routing::head::{Committee, Head, Lengths, Scaler};
use spillway_routing::id::{ModelId, SliceId};
use spillway_routing::unit::Tokens;

use super::{Invalid, InvalidFlaw, bps, each, fits, named, required};
use crate::pb;

impl From<&Weights> for pb::Weights {
    fn from(weights: &Weights) -> Self {
        Self {
            columns: weights.columns as u32,
            steps: weights.steps.clone(),
            values: weights
                .values
                .iter()
                .map(|v| (*v as i8).cast_unsigned())
                .collect(),
        }
    }
}

fn weights_of(weights: Option<pb::Weights>, field: &'static str) -> Result<Weights, Invalid> {
    let weights = required(weights, field)?;
    Ok(Weights {
        columns: weights.columns as usize,
        steps: weights.steps,
        values: weights
            .values
            .iter()
            .map(|v| v.cast_signed().into())
            .collect(),
    })
}

impl From<&Cells> for pb::Cells {
    fn from(cells: &Cells) -> Self {
        Self {
            quality: cells.quality.clone(),
            labels: cells.labels.clone(),
        }
    }
}

fn cells_of(cells: Option<pb::Cells>) -> Result<Cells, Invalid> {
    let cells = required(cells, "cells")?;
    Ok(Cells {
        quality: cells.quality,
        labels: cells.labels,
    })
}

impl From<&Tree> for pb::Tree {
    fn from(tree: &Tree) -> Self {
        let branch = |branch: Branch| match branch {
            Branch::Node(node) => 2 * u32::from(node),
            Branch::Leaf(leaf) => 2 * u32::from(leaf) + 1,
        };
        let nodes = || tree.nodes.iter();
        let branches = nodes().flat_map(|node| [branch(node.left), branch(node.right)]);
        Self {
            inputs: nodes().map(|node| node.input.into()).collect(),
            thresholds: nodes().flat_map(|n| n.threshold.to_le_bytes()).collect(),
            branches: branches.collect(),
            leaves: tree.leaves.clone(),
        }
    }
}

impl TryFrom<pb::Tree> for Tree {
    type Error = Invalid;

    fn try_from(tree: pb::Tree) -> Result<Self, Invalid> {
        let nodes = tree.inputs.len();
        count("thresholds", 2 * nodes, tree.thresholds.len())?;
        count("branches", 2 * nodes, tree.branches.len())?;
        let branch = |branch: u32| -> Result<Branch, Invalid> {
            let number = fits(branch / 2, "branches")?;
            Ok(if branch.is_multiple_of(2) {
                Branch::Node(number)
            } else {
                Branch::Leaf(number)
            })
        };
        let (thresholds, _) = tree.thresholds.as_chunks();
        let numbered = tree.inputs.into_iter().zip(thresholds).enumerate();
        let node = |(index, (input, threshold)): (usize, (u32, &[u8; 2]))| {
            Ok(Node {
                input: fits(input, "inputs")?,
                threshold: i16::from_le_bytes(*threshold),
                left: branch(tree.branches[2 * index])?,
                right: branch(tree.branches[2 * index + 1])?,
            })
        };
        Ok(Self {
            nodes: numbered.map(node).collect::<Result<_, Invalid>>()?,
            leaves: tree.leaves,
        })
    }
}

fn count(path: &str, expected: usize, found: usize) -> Result<(), Invalid> {
    if expected == found {
        return Ok(());
    }
    Err(Invalid::new(path, InvalidFlaw::Length { expected, found }))
}

impl From<&Network> for pb::Network {
    fn from(network: &Network) -> Self {
        Self {
            hidden: Some((&network.hidden).into()),
            hidden_bias: network.hidden_bias.clone(),
            output: Some((&network.output).into()),
            output_bias: network.output_bias.clone(),
        }
    }
}

impl TryFrom<pb::Network> for Network {
    type Error = Invalid;

    fn try_from(network: pb::Network) -> Result<Self, Invalid> {
        Ok(Self {
            hidden: weights_of(network.hidden, "hidden")?,
            hidden_bias: network.hidden_bias,
            output: weights_of(network.output, "output")?,
            output_bias: network.output_bias,
        })
    }
}

impl From<&Head> for pb::Head {
    fn from(head: &Head) -> Self {
        use pb::head::Kind;
        let kind = match head {
            Head::Slices(slices) => Kind::Slices(pb::head::Slices {
                names: slices.names.iter().map(ToString::to_string).collect(),
                weights: Some((&slices.weights).into()),
                bias: slices.bias.clone(),
                cells: Some((&slices.cells).into()),
                centres: slices
                    .familiar
                    .centres
                    .iter()
                    .map(|c| c.cast_unsigned())
                    .collect(),
                centre_weights: slices.familiar.weights.clone(),
                limits: slices.familiar.limits.clone(),
            }),
            Head::Clusters(clusters) => Kind::Clusters(pb::head::Clusters {
                centroids: Some((&clusters.centroids).into()),
                similarity_min: clusters.similarity_min,
                cells: Some((&clusters.cells).into()),
            }),
            Head::Forest(trees) => Kind::Forest(pb::head::Forest {
                trees: trees.iter().map(Into::into).collect(),
            }),
            Head::Networks(networks) => Kind::Networks(pb::head::Networks {
                networks: networks.iter().map(Into::into).collect(),
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Head> for Head {
    type Error = Invalid;

    fn try_from(head: pb::Head) -> Result<Self, Invalid> {
        use pb::head::Kind;
        Ok(match required(head.kind, "kind")? {
            Kind::Slices(slices) => Self::Slices(Slices {
                names: slices.names.iter().map(|name| SliceId::new(name)).collect(),
                weights: weights_of(slices.weights, "weights")?,
                bias: slices.bias,
                cells: cells_of(slices.cells)?,
                familiar: Familiar {
                    centres: slices.centres.iter().map(|c| c.cast_signed()).collect(),
                    weights: slices.centre_weights,
                    limits: slices.limits,
                },
            }),
            Kind::Clusters(clusters) => Self::Clusters(Clusters {
                centroids: weights_of(clusters.centroids, "centroids")?,
                similarity_min: clusters.similarity_min,
                cells: cells_of(clusters.cells)?,
            }),
            Kind::Forest(forest) => Self::Forest(each(forest.trees, "trees", Tree::try_from)?),
            Kind::Networks(networks) => {
                Self::Networks(each(networks.networks, "networks", Network::try_from)?)
            }
        })
    }
}

impl From<&Committee> for pb::Committee {
    fn from(committee: &Committee) -> Self {
        let knots = |curve: &Curve| curve.knots.iter().map(|knot| knot.get().into()).collect();
        Self {
            encoder: committee.encoder.name().to_owned(),
            models: committee.models.iter().map(ToString::to_string).collect(),
            mean_quality_bps: committee
                .mean_quality
                .iter()
                .map(|q| q.get().into())
                .collect(),
            mean_output_tokens: committee
                .mean_output
                .iter()
                .map(|tokens| tokens.0)
                .collect(),
            labels: committee.labels,
            scaler_mean: committee.scaler.mean.clone(),
            scaler_inverse_spread: committee.scaler.inverse_spread.clone(),
            heads: committee.heads.iter().map(Into::into).collect(),
            calibration: committee
                .calibration
                .iter()
                .map(|c| pb::Curve {
                    knots_bps: knots(c),
                })
                .collect(),
            labels_min: committee.labels_min,
            mix_bps: committee
                .mix
                .iter()
                .map(|share| share.get().into())
                .collect(),
            given_bps: committee.given.get().into(),
            lengths: Some(pb::Lengths {
                weights: Some((&committee.lengths.weights).into()),
                bias: committee.lengths.bias.clone(),
            }),
        }
    }
}

impl TryFrom<pb::Committee> for Committee {
    type Error = Invalid;

    fn try_from(committee: pb::Committee) -> Result<Self, Invalid> {
        let curve = |curve: pb::Curve| {
            let knots = each(curve.knots_bps, "knots_bps", |knot| bps(knot, "knot"))?;
            Ok(Curve { knots })
        };
        let lengths = required(committee.lengths, "lengths")?;
        Ok(Self {
            encoder: named(EncoderId::parse, &committee.encoder, "encoder")?,
            models: committee
                .models
                .iter()
                .map(|model| ModelId::new(model))
                .collect(),
            mean_quality: each(committee.mean_quality_bps, "mean_quality_bps", |q| {
                bps(q, "quality")
            })?,
            mean_output: committee
                .mean_output_tokens
                .into_iter()
                .map(Tokens)
                .collect(),
            labels: committee.labels,
            scaler: Scaler {
                mean: committee.scaler_mean,
                inverse_spread: committee.scaler_inverse_spread,
            },
            heads: each(committee.heads, "heads", Head::try_from)?,
            calibration: each(committee.calibration, "calibration", curve)?,
            labels_min: committee.labels_min,
            mix: each(committee.mix_bps, "mix_bps", |share| bps(share, "share"))?,
            given: bps(committee.given_bps, "given_bps")?,
            lengths: Lengths {
                weights: weights_of(lengths.weights, "weights")?,
                bias: lengths.bias,
            },
        })
    }
}
