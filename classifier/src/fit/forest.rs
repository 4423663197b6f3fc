//! Growing bagged multi-output regression trees.
//!
//! Owns: histograms, splits and the number of leaves. Trees grow best-first on a
//! bootstrap sample of the prompts, each split chosen among a random third of the inputs
//! (Breiman 2001), by the squared error summed over all models; leaves are means over
//! *all* prompts, shrunk toward the model's own. A missing label counts as its model's
//! mean while splits are chosen and not at all in the leaves. linfa's trees know one
//! output and classes only.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use spillway_routing::head::forest::{Branch, Node, Tree};
use spillway_routing::head::size::{LEAVES_MAX, TREES};
use spillway_routing::head::weights;

use super::Labels;

/// Numbers of leaves that are tried; a tree grown to the last has the others on its way.
const CHOICES: [usize; 4] = [8, 16, 32, LEAVES_MAX];
/// Prompts of the sample that each side of a split keeps.
const SIDE_MIN: usize = 15;
/// Questions per input: quantiles of its values.
const BINS: usize = 32;
/// One in so many inputs is looked at for a split.
const INPUTS_TRIED: usize = 3;
/// Pseudo-outcomes that pull each leaf toward its model's mean.
const SHRINK: f32 = 10.0;
/// Share of prompts that the number of leaves is judged on.
const JUDGED: f64 = 0.2;

/// Trees of the given number of leaves, or of the one with the least Brier score on
/// prompts that were kept out.
pub(super) fn fit(labels: &Labels<'_>, leaves: Option<usize>, seed: u64) -> Vec<Tree> {
    let questions = Questions::of(labels);
    let leaves = leaves.unwrap_or_else(|| choose(labels, &questions, seed));
    let rows: Vec<usize> = (0..labels.fixed.len()).collect();
    let grown = grow_all(labels, &questions, &rows, leaves, seed);
    grown
        .iter()
        .map(|growth| growth.tree(labels, &rows, growth.splits.len()))
        .collect()
}

fn choose(labels: &Labels<'_>, questions: &Questions, seed: u64) -> usize {
    let (train, judged) = labels.cut(JUDGED, seed ^ 0x7472_6565);
    let most = CHOICES[CHOICES.len() - 1];
    let grown = grow_all(labels, questions, &train, most, seed);
    let brier = |leaves: usize| {
        let trees: Vec<Tree> = grown
            .iter()
            .map(|growth| growth.tree(labels, &train, leaves - 1))
            .collect();
        brier(labels, &judged, &trees)
    };
    let tried = CHOICES.map(|leaves| (brier(leaves), leaves));
    let best = tried.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(CHOICES[0], |(_, leaves)| leaves)
}

fn brier(labels: &Labels<'_>, rows: &[usize], trees: &[Tree]) -> f64 {
    let models = labels.models;
    let (mut sum, mut count) = (0.0, 0.0);
    for row in rows {
        let leaves: Vec<usize> = trees.iter().map(|t| t.leaf(labels.fixed[*row])).collect();
        for model in 0..models {
            let seen = labels.quality[[*row, model]];
            if !seen.is_nan() {
                let value =
                    |(tree, leaf): (&Tree, &usize)| f32::from(tree.leaves[leaf * models + model]);
                let said: f32 = trees.iter().zip(&leaves).map(value).sum();
                let error = f64::from(said / (255.0 * trees.len() as f32) - seen);
                sum += error * error;
                count += 1.0;
            }
        }
    }
    sum / f64::max(count, 1.0)
}

fn grow_all(
    labels: &Labels<'_>,
    questions: &Questions,
    rows: &[usize],
    leaves: usize,
    seed: u64,
) -> Vec<Growth> {
    let one = |tree: usize| {
        let dice = Xoshiro256Plus::seed_from_u64(seed.wrapping_mul(31).wrapping_add(tree as u64));
        Grower::new(labels, questions, rows, dice).grow(leaves)
    };
    (0..TREES).map(one).collect()
}

/// What can be asked: per input up to [`BINS`] − 1 thresholds, and each prompt's answer.
struct Questions {
    thresholds: Vec<Vec<i16>>,
    /// `[input][prompt]`: how many thresholds the value exceeds.
    bins: Vec<Vec<u8>>,
}

impl Questions {
    fn of(labels: &Labels<'_>) -> Self {
        let inputs = labels.fixed.first().map_or(0, |row| row.len());
        let (mut all_thresholds, mut all_bins) = (Vec::new(), Vec::new());
        for input in 0..inputs {
            let values: Vec<i16> = labels.fixed.iter().map(|row| row[input]).collect();
            let thresholds = quantiles(values.clone());
            let bin = |value: &i16| thresholds.partition_point(|limit| limit < value) as u8;
            all_bins.push(values.iter().map(bin).collect());
            all_thresholds.push(thresholds);
        }
        Self {
            thresholds: all_thresholds,
            bins: all_bins,
        }
    }
}

/// Different values that cut a column into parts of nearly the same size; never the
/// largest one, which would leave nothing on the other side.
fn quantiles(mut values: Vec<i16>) -> Vec<i16> {
    values.sort_unstable();
    let Some(largest) = values.last().copied() else {
        return Vec::new();
    };
    let at = |i: usize| values[i * values.len() / BINS];
    let mut cuts: Vec<i16> = (1..BINS).map(at).filter(|cut| *cut < largest).collect();
    cuts.dedup();
    cuts
}

/// A split of a leaf: what exceeds the threshold moves to a new leaf, whose number is
/// that of the leaves so far.
#[derive(Clone, Copy, Debug)]
struct Split {
    leaf: usize,
    input: usize,
    threshold: i16,
}

/// The splits of a tree in the order they were made: any beginning is a tree as well.
struct Growth {
    splits: Vec<Split>,
}

impl Growth {
    /// The tree of the first `count` splits, its leaves counted over `rows`.
    fn tree(&self, labels: &Labels<'_>, rows: &[usize], count: usize) -> Tree {
        let splits = &self.splits[..count.min(self.splits.len())];
        let mut leaf_of = vec![0usize; rows.len()];
        let mut nodes: Vec<Node> = Vec::with_capacity(splits.len());
        // Which branch leads to a leaf: (node, whether it is the right one).
        let mut parents: Vec<Option<(usize, bool)>> = vec![None];
        for (index, split) in splits.iter().enumerate() {
            let new = index + 1;
            for (leaf, row) in leaf_of.iter_mut().zip(rows) {
                if *leaf == split.leaf && labels.fixed[*row][split.input] > split.threshold {
                    *leaf = new;
                }
            }
            match parents[split.leaf] {
                Some((node, false)) => nodes[node].left = Branch::Node(index as u16),
                Some((node, true)) => nodes[node].right = Branch::Node(index as u16),
                None => {}
            }
            parents[split.leaf] = Some((index, false));
            parents.push(Some((index, true)));
            nodes.push(Node {
                input: split.input as u16,
                threshold: split.threshold,
                left: Branch::Leaf(split.leaf as u16),
                right: Branch::Leaf(new as u16),
            });
        }
        Tree {
            leaves: leaves(labels, rows, &leaf_of, nodes.len() + 1),
            nodes,
        }
    }
}

fn leaves(labels: &Labels<'_>, rows: &[usize], leaf_of: &[usize], count: usize) -> Vec<u8> {
    let models = labels.models;
    let mut sums = vec![0.0f32; count * models];
    let mut seen = vec![0.0f32; count * models];
    for (row, leaf) in rows.iter().zip(leaf_of) {
        for (model, quality) in labels.quality.row(*row).iter().enumerate() {
            if !quality.is_nan() {
                sums[leaf * models + model] += quality;
                seen[leaf * models + model] += 1.0;
            }
        }
    }
    let value = |at: usize| {
        let mean = labels.means[at % models] as f32;
        let value = (sums[at] + SHRINK * mean) / (seen[at] + SHRINK);
        weights::quality(f64::from(value))
    };
    (0..count * models).map(value).collect()
}

/// A leaf that may be split, with the best way to do it.
struct Candidate {
    leaf: usize,
    rows: Vec<usize>,
    /// `None`: it stays a leaf.
    best: Option<(f32, usize, usize)>,
}

struct Grower<'a> {
    questions: &'a Questions,
    models: usize,
    /// `[prompt][model]`: quality minus the model's mean, 0 where not observed.
    residuals: Vec<f32>,
    inputs: Vec<usize>,
    sample: Vec<usize>,
    dice: Xoshiro256Plus,
    /// Of one input: per bin the count and the models' sums.
    counts: [f32; BINS],
    sums: Vec<f32>,
}

impl<'a> Grower<'a> {
    fn new(
        labels: &'a Labels<'_>,
        questions: &'a Questions,
        rows: &[usize],
        mut dice: Xoshiro256Plus,
    ) -> Self {
        let residual = |((_, model), quality): ((usize, usize), &f32)| {
            let mean = labels.means[model] as f32;
            if quality.is_nan() {
                0.0
            } else {
                quality - mean
            }
        };
        Self {
            questions,
            models: labels.models,
            residuals: labels.quality.indexed_iter().map(residual).collect(),
            inputs: (0..questions.bins.len())
                .filter(|input| !questions.thresholds[*input].is_empty())
                .collect(),
            sample: rows
                .iter()
                .map(|_| rows[dice.gen_range(0..rows.len())])
                .collect(),
            dice,
            counts: [0.0; BINS],
            sums: vec![0.0; BINS * labels.models],
        }
    }

    fn grow(mut self, leaves: usize) -> Growth {
        let sample = std::mem::take(&mut self.sample);
        let mut open = vec![self.candidate(0, sample)];
        let mut splits = Vec::new();
        while splits.len() + 1 < leaves {
            let gain = |candidate: &Candidate| candidate.best.map_or(0.0, |(gain, ..)| gain);
            let most = (0..open.len()).max_by(|a, b| gain(&open[*a]).total_cmp(&gain(&open[*b])));
            let Some(taken) = most.map(|most| open.swap_remove(most)) else {
                break;
            };
            let Some((_, input, bin)) = taken.best else {
                break;
            };
            let bins = &self.questions.bins[input];
            let (left, right) = taken
                .rows
                .iter()
                .partition(|row| usize::from(bins[**row]) <= bin);
            splits.push(Split {
                leaf: taken.leaf,
                input,
                threshold: self.questions.thresholds[input][bin],
            });
            let halves = [(taken.leaf, left), (splits.len(), right)];
            for (leaf, rows) in halves {
                let candidate = self.candidate(leaf, rows);
                open.push(candidate);
            }
        }
        Growth { splits }
    }

    fn candidate(&mut self, leaf: usize, rows: Vec<usize>) -> Candidate {
        let mut best: Option<(f32, usize, usize)> = None;
        if rows.len() >= 2 * SIDE_MIN {
            let tried = self.inputs.len().div_ceil(INPUTS_TRIED);
            let mut inputs = self.inputs.clone();
            let (picked, _) = inputs.partial_shuffle(&mut self.dice, tried);
            for input in picked {
                let split = self.best_threshold(*input, &rows);
                if let Some((gain, bin)) = split
                    && best.is_none_or(|(most, ..)| gain > most)
                {
                    best = Some((gain, *input, bin));
                }
            }
        }
        Candidate { leaf, rows, best }
    }

    /// The threshold that takes most off the squared error, and how much.
    fn best_threshold(&mut self, input: usize, rows: &[usize]) -> Option<(f32, usize)> {
        let models = self.models;
        let bins = &self.questions.bins[input];
        self.counts.fill(0.0);
        self.sums.fill(0.0);
        for row in rows {
            let bin = usize::from(bins[*row]);
            self.counts[bin] += 1.0;
            let residuals = &self.residuals[row * models..(row + 1) * models];
            let sums = &mut self.sums[bin * models..(bin + 1) * models];
            sums.iter_mut()
                .zip(residuals)
                .for_each(|(sum, r)| *sum += r);
        }
        let mut total = vec![0.0f32; models];
        for sums in self.sums.chunks_exact(models) {
            total
                .iter_mut()
                .zip(sums)
                .for_each(|(sum, part)| *sum += part);
        }
        let square = |sums: &mut dyn Iterator<Item = f32>| sums.map(|sum| sum * sum).sum::<f32>();
        let n = rows.len() as f32;
        let whole = square(&mut total.iter().copied()) / n;
        let mut left = vec![0.0f32; models];
        let (mut count, mut best) = (0.0f32, None);
        for bin in 0..self.questions.thresholds[input].len() {
            count += self.counts[bin];
            let sums = &self.sums[bin * models..(bin + 1) * models];
            left.iter_mut()
                .zip(sums)
                .for_each(|(sum, part)| *sum += part);
            if count < SIDE_MIN as f32 || n - count < SIDE_MIN as f32 {
                continue;
            }
            let right = &mut total.iter().zip(&left).map(|(total, left)| total - left);
            let gain =
                square(&mut left.iter().copied()) / count + square(right) / (n - count) - whole;
            if gain > best.map_or(0.0, |(most, _)| most) {
                best = Some((gain, bin));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// The first model answers where input 0 is high, the second where both are low.
    fn world(rows: &[Vec<i16>]) -> Array2<f32> {
        Array2::from_shape_fn((rows.len(), 2), |(row, model)| {
            let high = [rows[row][0] > 100, rows[row][1] > -50];
            let right = if model == 0 {
                high[0]
            } else {
                !high[0] && !high[1]
            };
            f32::from(u8::from(right))
        })
    }

    fn rows(count: usize) -> Vec<Vec<i16>> {
        let mut dice = Xoshiro256Plus::seed_from_u64(7);
        (0..count)
            .map(|_| (0..6).map(|_| dice.gen_range(-200..200)).collect())
            .collect()
    }

    fn labels<'a>(rows: &'a [Vec<i16>], quality: Array2<f32>, means: &'a [f64]) -> Labels<'a> {
        Labels {
            models: 2,
            keys: (0..rows.len() as u64)
                .map(|i| i.wrapping_mul(0x9e37_79b9))
                .collect(),
            fixed: rows.iter().map(Vec::as_slice).collect(),
            real: Array2::zeros((rows.len(), 6)),
            quality,
            means,
        }
    }

    fn said(trees: &[Tree], row: &[i16], model: usize) -> f32 {
        let value = |tree: &Tree| f32::from(tree.leaves[tree.leaf(row) * 2 + model]) / 255.0;
        trees.iter().map(value).sum::<f32>() / trees.len() as f32
    }

    #[test]
    fn a_rule_with_two_questions_is_found() {
        let rows = rows(2_000);
        let quality = world(&rows);
        let labels = labels(&rows, quality, &[0.25, 0.28]);
        let trees = fit(&labels, None, 3);
        assert_eq!(trees.len(), TREES);
        for (row, model, right) in [
            ([150, 0, 0, 0, 0, 0], 0, 1.0),
            ([-150, -150, 0, 0, 0, 0], 1, 1.0),
            ([-150, 150, 0, 0, 0, 0], 1, 0.0),
        ] {
            let said = said(&trees, &row, model);
            assert!((said - right).abs() < 0.25, "{row:?} {model}: {said}");
        }
    }

    #[test]
    fn a_first_split_is_the_best_of_all() {
        // Reference: every input and threshold tried by hand.
        let rows = rows(300);
        let quality = world(&rows);
        let labels = labels(&rows, quality.clone(), &[0.0, 0.0]);
        let questions = Questions::of(&labels);
        let all: Vec<usize> = (0..300).collect();
        let dice = Xoshiro256Plus::seed_from_u64(1);
        let mut grower = Grower::new(&labels, &questions, &all, dice);
        let error = |part: &[&usize]| {
            let columns = (0..2).map(|model| {
                let mean: f32 =
                    part.iter().map(|r| quality[[**r, model]]).sum::<f32>() / part.len() as f32;
                part.iter()
                    .map(|r| (quality[[**r, model]] - mean).powi(2))
                    .sum::<f32>()
            });
            columns.sum::<f32>()
        };
        for (input, thresholds) in questions.thresholds.iter().enumerate() {
            let by_hand = thresholds.iter().map(|threshold| {
                let (left, right): (Vec<&usize>, Vec<&usize>) =
                    all.iter().partition(|row| rows[**row][input] <= *threshold);
                if left.len() < SIDE_MIN || right.len() < SIDE_MIN {
                    return 0.0;
                }
                error(&all.iter().collect::<Vec<_>>()) - error(&left) - error(&right)
            });
            let expected = by_hand.fold(0.0, f32::max);
            let (gain, _) = grower.best_threshold(input, &all).unwrap();
            assert!((gain - expected).abs() < 1e-2, "{input}: {gain} {expected}");
        }
    }

    #[test]
    fn missing_labels_leave_the_mean() {
        let rows = rows(400);
        let mut quality = world(&rows);
        quality.column_mut(1).fill(f32::NAN);
        let labels = labels(&rows, quality, &[0.25, 0.6]);
        for tree in fit(&labels, Some(8), 1) {
            assert!(
                tree.leaves
                    .iter()
                    .skip(1)
                    .step_by(2)
                    .all(|leaf| *leaf == 153)
            );
        }
    }

    #[test]
    fn the_beginning_of_a_growth_is_the_smaller_tree() {
        let rows = rows(500);
        let labels = labels(&rows, world(&rows), &[0.25, 0.28]);
        let questions = Questions::of(&labels);
        let all: Vec<usize> = (0..500).collect();
        let small = grow_all(&labels, &questions, &all, 8, 5);
        let large = grow_all(&labels, &questions, &all, 32, 5);
        let tree = |growth: &Growth| growth.tree(&labels, &all, 7);
        assert_eq!(tree(&small[0]), tree(&large[0]));
    }
}
