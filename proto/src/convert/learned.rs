//! What was learnt: committees, their heads and curves.

use spillway_routing::encoder::EncoderId;
use spillway_routing::head::{Cells, Committee, Curve, Head, Scaler};
use spillway_routing::id::{ModelId, SliceId};
use spillway_routing::unit::Tokens;

use super::{Invalid, bps, each, named, required};
use crate::pb;

impl From<&Cells> for pb::Cells {
    fn from(cells: &Cells) -> Self {
        Self {
            quality: cells.quality.clone(),
            log_output: cells.log_output.clone(),
            labels: cells.labels.clone(),
        }
    }
}

fn cells_of(cells: Option<pb::Cells>) -> Result<Cells, Invalid> {
    let cells = required(cells, "cells")?;
    Ok(Cells {
        quality: cells.quality,
        log_output: cells.log_output,
        labels: cells.labels,
    })
}

impl From<&Head> for pb::Head {
    fn from(head: &Head) -> Self {
        use pb::head::{Clusters, Kind, Slices};
        let kind = match head {
            Head::Slices {
                names,
                weights,
                bias,
                cells,
            } => Kind::Slices(Slices {
                names: names.iter().map(ToString::to_string).collect(),
                weights: weights.clone(),
                bias: bias.clone(),
                cells: Some(cells.into()),
            }),
            Head::Clusters {
                centroids,
                similarity_min,
                cells,
            } => Kind::Clusters(Clusters {
                centroids: centroids.clone(),
                similarity_min: *similarity_min,
                cells: Some(cells.into()),
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
            Kind::Slices(slices) => Self::Slices {
                names: slices.names.iter().map(|name| SliceId::new(name)).collect(),
                weights: slices.weights,
                bias: slices.bias,
                cells: cells_of(slices.cells)?,
            },
            Kind::Clusters(clusters) => Self::Clusters {
                centroids: clusters.centroids,
                similarity_min: clusters.similarity_min,
                cells: cells_of(clusters.cells)?,
            },
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
        })
    }
}
