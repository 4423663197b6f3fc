//! Checks on what was learnt: shapes that fit each other, numbers that are finite, trees
//! that end. After them scoring has no index that can fail.
//!
//! Owns: the limits of heads. A new head is one arm in [`Shapes::head`].

use super::{Flaw, MODELS_MAX};
use crate::encoder::DIMENSIONS;
use crate::features::FEATURES;
use crate::head::cells::Cells;
use crate::head::familiar::Familiar;
use crate::head::forest::{Branch, Tree};
use crate::head::network::Network;
use crate::head::weights::{COLUMNS_MAX, Weights};
use crate::head::{Committee, Head};

/// Cells of one head's table: slices or clusters.
const CELLS_MAX: usize = 4_096;
/// Trees of a forest, networks of an ensemble.
const MEMBERS_MAX: usize = 64;
/// Hidden units of a network: columns of its output weights.
const UNITS_MAX: usize = COLUMNS_MAX;

pub(super) fn flaws(committee: &Committee) -> Vec<Flaw> {
    let mut shapes = Shapes {
        models: committee.models.len(),
        inputs: committee.scaler.mean.len(),
        found: Vec::new(),
    };
    shapes.committee(committee);
    committee.heads.iter().for_each(|head| shapes.head(head));
    shapes.found
}

struct Shapes {
    models: usize,
    inputs: usize,
    found: Vec<Flaw>,
}

impl Shapes {
    fn equal(&mut self, what: &'static str, expected: usize, found: usize) {
        if expected != found {
            self.found.push(Flaw::BadShape {
                what,
                expected,
                found,
            });
        }
    }

    fn within(&mut self, what: &'static str, least: usize, most: usize, found: usize) {
        self.equal(what, found.clamp(least, most), found);
    }

    fn finite(&mut self, what: &'static str, values: &[f32]) {
        if values.iter().any(|value| !value.is_finite()) {
            self.found.push(Flaw::NotFinite { what });
        }
    }

    fn committee(&mut self, committee: &Committee) {
        let (models, inputs) = (self.models, self.inputs);
        self.within("models of the heads", 0, MODELS_MAX, models);
        self.equal("mean_quality", models, committee.mean_quality.len());
        self.equal("mean_output", models, committee.mean_output.len());
        self.equal("calibration", models, committee.calibration.len());
        self.equal("mix", committee.heads.len(), committee.mix.len());
        let scaler = &committee.scaler;
        self.equal("scaler spread", inputs, scaler.inverse_spread.len());
        self.within("scaler", DIMENSIONS, FEATURES + DIMENSIONS, inputs);
        self.finite("scaler", &scaler.mean);
        self.finite("scaler spread", &scaler.inverse_spread);
        let lengths = &committee.lengths;
        if committee.heads.is_empty() && lengths.bias.is_empty() {
            return;
        }
        self.weights("length weights", models, inputs, &lengths.weights);
        self.numbers("length bias", models, &lengths.bias);
    }

    fn head(&mut self, head: &Head) {
        match head {
            Head::Slices(slices) => {
                let cells = slices.names.len();
                self.weights("slice weights", cells, self.inputs, &slices.weights);
                self.numbers("slice bias", cells, &slices.bias);
                self.cells(cells, &slices.cells);
                self.familiar(cells, &slices.familiar);
            }
            Head::Clusters(clusters) => {
                let cells = clusters.centroids.rows();
                self.weights("centroids", cells, DIMENSIONS, &clusters.centroids);
                self.finite("similarity_min", &[clusters.similarity_min]);
                self.cells(cells, &clusters.cells);
            }
            Head::Forest(trees) => {
                self.within("trees", 1, MEMBERS_MAX, trees.len());
                for (index, tree) in trees.iter().enumerate() {
                    self.tree(index, tree);
                }
            }
            Head::Networks(networks) => {
                self.within("networks", 1, MEMBERS_MAX, networks.len());
                networks.iter().for_each(|network| self.network(network));
            }
        }
    }

    fn weights(&mut self, what: &'static str, rows: usize, columns: usize, weights: &Weights) {
        self.equal(what, columns, weights.columns);
        self.equal(what, rows, weights.steps.len());
        self.equal(what, rows * columns, weights.values.len());
        self.finite(what, &weights.steps);
    }

    fn numbers(&mut self, what: &'static str, count: usize, numbers: &[f32]) {
        self.equal(what, count, numbers.len());
        self.finite(what, numbers);
    }

    fn cells(&mut self, cells: usize, table: &Cells) {
        self.within("cells", 1, CELLS_MAX, cells);
        self.equal("cell qualities", cells * self.models, table.quality.len());
        self.equal("cell labels", cells * self.models, table.labels.len());
    }

    fn familiar(&mut self, kinds: usize, familiar: &Familiar) {
        if familiar == &Familiar::default() {
            return;
        }
        let features = self.inputs.saturating_sub(DIMENSIONS);
        self.equal("slice limits", kinds, familiar.limits.len());
        self.equal("slice centres", kinds * features, familiar.centres.len());
        self.equal(
            "slice centres' weights",
            kinds * features,
            familiar.weights.len(),
        );
    }

    fn tree(&mut self, index: usize, tree: &Tree) {
        let leaves = tree.nodes.len() + 1;
        self.equal("leaves", leaves * self.models, tree.leaves.len());
        let sound = |node: usize, branch: Branch| match branch {
            Branch::Node(next) => usize::from(next) > node && usize::from(next) < tree.nodes.len(),
            Branch::Leaf(leaf) => usize::from(leaf) < leaves,
        };
        let bad = tree.nodes.iter().enumerate().find(|(at, node)| {
            usize::from(node.input) >= self.inputs
                || !sound(*at, node.left)
                || !sound(*at, node.right)
        });
        if let Some((node, _)) = bad {
            self.found.push(Flaw::BadTree { tree: index, node });
        }
    }

    fn network(&mut self, network: &Network) {
        let units = network.hidden_bias.len();
        self.within("hidden units", 1, UNITS_MAX, units);
        self.weights("hidden weights", units, self.inputs, &network.hidden);
        self.finite("hidden bias", &network.hidden_bias);
        self.weights("output weights", self.models, units, &network.output);
        self.numbers("output bias", self.models, &network.output_bias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::EncoderId;
    use crate::head::forest::Node;
    use crate::head::{Lengths, Scaler};
    use crate::unit::{Bps, Tokens};

    fn committee(heads: Vec<Head>) -> Committee {
        Committee {
            encoder: EncoderId::MiniLm64,
            models: vec!["one".into()],
            mean_quality: vec![Bps::ONE],
            mean_output: vec![Tokens(1)],
            labels: 1,
            scaler: Scaler {
                mean: vec![0.0; DIMENSIONS],
                inverse_spread: vec![1.0; DIMENSIONS],
            },
            mix: vec![Bps::ONE; heads.len()],
            heads,
            given: Bps::ZERO,
            lengths: Lengths {
                weights: Weights::of(DIMENSIONS, &[0.0; DIMENSIONS]),
                bias: vec![0.0],
            },
            calibration: vec![crate::head::curve::Curve::identity()],
            labels_min: 0,
        }
    }

    fn forest(left: Branch, right: Branch) -> Vec<Flaw> {
        let node = |left, right| Node {
            input: 0,
            threshold: 0,
            left,
            right,
        };
        flaws(&committee(vec![Head::Forest(vec![Tree {
            nodes: vec![node(left, right), node(Branch::Leaf(1), Branch::Leaf(2))],
            leaves: vec![0; 3],
        }])]))
    }

    #[test]
    fn a_tree_that_ends_is_sound() {
        assert_eq!(forest(Branch::Leaf(0), Branch::Node(1)), []);
    }

    #[test]
    fn a_tree_that_turns_round_or_leads_nowhere_is_refused() {
        let bad = [Flaw::BadTree { tree: 0, node: 0 }];
        assert_eq!(forest(Branch::Leaf(0), Branch::Node(0)), bad);
        assert_eq!(forest(Branch::Leaf(0), Branch::Node(2)), bad);
        assert_eq!(forest(Branch::Leaf(3), Branch::Node(1)), bad);
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let mut wrong = committee(vec![Head::Networks(vec![Network {
            hidden: Weights::of(DIMENSIONS, &[0.5; DIMENSIONS]),
            hidden_bias: vec![f32::NAN],
            output: Weights::of(1, &[1.0, 1.0]),
            output_bias: vec![0.0],
        }])]);
        wrong.mix = Vec::new();
        let named: Vec<String> = flaws(&wrong).iter().map(ToString::to_string).collect();
        assert_eq!(
            named,
            [
                "mix holds 0 numbers, 1 are expected",
                "hidden bias holds a number that is not finite",
                "output weights holds 2 numbers, 1 are expected",
                "output weights holds 2 numbers, 1 are expected",
            ]
        );
    }
}
