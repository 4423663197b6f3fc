//! Bagged regression trees with one leaf value per model.
//!
//! Owns: their shape and the walk. Growing them is the classifier's.

use super::weights::QUALITY_ONE;

/// Where a branch leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// A later node: walks always end.
    Node(u16),
    Leaf(u16),
}

/// A question about one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    pub input: u16,
    /// Inputs up to here go left.
    pub threshold: i16,
    pub left: Branch,
    pub right: Branch,
}

/// One tree; without nodes it is its only leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pub nodes: Vec<Node>,
    /// `[leaf][model]`, as [`weights::quality`](super::weights::quality) rounds it.
    pub leaves: Vec<u8>,
}

impl Tree {
    /// The leaf that inputs end in.
    #[must_use]
    pub fn leaf(&self, inputs: &[i16]) -> usize {
        let Some(mut node) = self.nodes.first() else {
            return 0;
        };
        loop {
            let value = inputs.get(usize::from(node.input)).copied().unwrap_or(0);
            let branch = if value <= node.threshold {
                node.left
            } else {
                node.right
            };
            match branch {
                Branch::Node(next) => node = &self.nodes[usize::from(next)],
                Branch::Leaf(leaf) => return usize::from(leaf),
            }
        }
    }
}

/// Adds the trees' mean to `quality`, times `share`.
pub(super) fn add(trees: &[Tree], inputs: &[i16], share: f64, quality: &mut [f64]) {
    let models = quality.len();
    let factor = share / (QUALITY_ONE * trees.len().max(1) as f64);
    for tree in trees {
        let leaf = tree.leaf(inputs);
        let values = &tree.leaves[leaf * models..(leaf + 1) * models];
        for (sum, value) in quality.iter_mut().zip(values) {
            *sum += factor * f64::from(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_ends_in_its_leaf() {
        let tree = Tree {
            nodes: vec![
                Node {
                    input: 0,
                    threshold: 10,
                    left: Branch::Leaf(0),
                    right: Branch::Node(1),
                },
                Node {
                    input: 1,
                    threshold: -5,
                    left: Branch::Leaf(1),
                    right: Branch::Leaf(2),
                },
            ],
            leaves: vec![0, 255, 51],
        };
        assert_eq!(tree.leaf(&[10, 0]), 0);
        assert_eq!(tree.leaf(&[11, -5]), 1);
        assert_eq!(tree.leaf(&[11, -4]), 2);
        let mut quality = [0.0];
        add(&[tree.clone(), tree], &[11, 0], 0.5, &mut quality);
        assert!((quality[0] - 0.1).abs() < 1e-12);
    }
}
