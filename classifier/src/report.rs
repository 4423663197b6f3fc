//! What a training run did and why: one field per step, also when it declines.
//!
//! Owns: the record. Everything is plain values that a page or a terminal can print.

use spillway_routing::catalogue::Price;
use spillway_routing::head::{Committee, Head};
use spillway_routing::id::{ModelId, RouteId};
use spillway_routing::unit::Bps;

use crate::compare::Contender;
use crate::evaluate::Evaluation;
use crate::evaluate::deployed::Deployed;
use crate::gate::Checked;
use crate::multiplier::Solved;

/// A run's report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunReport {
    pub rows: Rows,
    pub models: Vec<ModelReport>,
    /// Why no heads were learnt, where none were.
    pub declined: Option<Decline>,
    /// Of the committee that is handed out.
    pub heads: Vec<HeadReport>,
    /// On held-out prompts: the committee of the training part beside other ways to
    /// route.
    pub contests: Vec<(Contender, Evaluation)>,
    /// The committee's among them.
    pub learned: Option<Evaluation>,
    /// And that of prompt-blind means.
    pub blind: Option<Evaluation>,
    /// The same prompts with the committee in use, which may have been trained on them:
    /// an upper bound for it. `None` if it lacks one of the models.
    pub current: Option<Evaluation>,
    pub routes: Vec<RouteReport>,
}

/// What there was to learn from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    pub audits: usize,
    /// Live requests with a verdict.
    pub live: usize,
    pub train: usize,
    pub held_out: usize,
    /// Held-out prompts that every compared model answered.
    pub compared: usize,
}

/// One model's part.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelReport {
    pub model: ModelId,
    pub labels: usize,
    pub mean_quality: Bps,
    pub price: PriceSource,
}

/// Where a model's price comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum PriceSource {
    Catalogue,
    /// Read off what was charged.
    Observed(Price),
    /// The model cannot be weighed by cost.
    Unknown,
}

/// Why a run learnt no heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decline {
    FewPrompts {
        have: usize,
        need: usize,
    },
    /// Fewer than two models have prices and labels on the same prompts.
    NothingComparable,
}

impl std::fmt::Display for Decline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FewPrompts { have, need } => write!(
                f,
                "{have} audited prompts, {need} are needed before heads beat the plain means"
            ),
            Self::NothingComparable => write!(
                f,
                "fewer than two models have a price and labels on the same prompts"
            ),
        }
    }
}

/// One head's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadReport {
    Slices { slices: usize },
    Clusters { clusters: usize },
    Forest { trees: usize, leaves: usize },
    Networks { networks: usize, units: usize },
}

impl std::fmt::Display for HeadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Slices { slices } => write!(f, "{slices} slices"),
            Self::Clusters { clusters } => write!(f, "{clusters} clusters"),
            Self::Forest { trees, leaves } => write!(f, "{trees} trees of {leaves} leaves"),
            Self::Networks { networks, units } => write!(f, "{networks} networks of {units} units"),
        }
    }
}

/// Sizes of a committee's heads.
#[must_use]
pub fn heads(committee: &Committee) -> Vec<HeadReport> {
    let size = |head: &Head| match head {
        Head::Slices(slices) => HeadReport::Slices {
            slices: slices.names.len(),
        },
        Head::Clusters(clusters) => HeadReport::Clusters {
            clusters: clusters.centroids.rows(),
        },
        Head::Forest(trees) => HeadReport::Forest {
            trees: trees.len(),
            leaves: trees
                .iter()
                .map(|tree| tree.nodes.len() + 1)
                .max()
                .unwrap_or(0),
        },
        Head::Networks(networks) => HeadReport::Networks {
            networks: networks.len(),
            units: networks
                .iter()
                .map(|n| n.hidden_bias.len())
                .max()
                .unwrap_or(0),
        },
    };
    committee.heads.iter().map(size).collect()
}

/// One route's λ and the gate's verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteReport {
    pub route: RouteId,
    pub bar: Bps,
    /// The best single model, which the bar is a share of.
    pub best: Option<ModelId>,
    /// Empty where nothing was held out.
    pub checks: Vec<Checked>,
    /// Whether the heads are used.
    pub learned: bool,
    /// The λ handed out, solved on all prompts; `None` if nothing could be compared.
    pub solved: Option<Solved>,
    /// On held-out prompts, with the λ of the training part.
    pub deployed: Option<Deployed>,
    pub deployed_blind: Option<Deployed>,
}
