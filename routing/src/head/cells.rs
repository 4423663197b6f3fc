//! Heads that are tables of observed outcomes, and how a prompt spreads over their cells.
//!
//! Owns: the slice head (a multinomial logistic posterior over labelled kinds of work; a
//! given label replaces it) and the cluster head (the nearest centroids of the encoding),
//! with their doubts. Only these heads know how many labels stand behind a prediction.

use super::Abstention;
use super::familiar::Familiar;
use super::weights::{INPUT_ONE, Weights};
use crate::encoder::DIMENSIONS;
use crate::float;
use crate::id::SliceId;

/// Clusters that share a prompt's weight.
const NEAREST: usize = 3;
/// How fast a cluster's weight falls with its cosine distance.
const SHARPNESS: f64 = 10.0;

/// So many slices are scored without asking for memory.
const FEW: usize = 64;

/// What was observed in each cell: per model the mean quality, shrunk toward the model's
/// own mean, and how many labels stand behind it. `[cell][model]`, row after row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// As [`weights::quality`](super::weights::quality) rounds it.
    pub quality: Vec<u8>,
    /// At most 255: whether a prediction is thin shows far below, and beyond it only the
    /// lower bound that is reported would still rise a little.
    pub labels: Vec<u8>,
}

/// Outcomes by labelled kind of work.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slices {
    pub names: Vec<SliceId>,
    /// `[slice][input]`.
    pub weights: Weights,
    pub bias: Vec<f32>,
    pub cells: Cells,
    /// How prompts of each slice are built.
    pub familiar: Familiar,
}

/// Outcomes by likeness of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clusters {
    /// `[cluster][DIMENSIONS]`, unit length but for rounding.
    pub centroids: Weights,
    /// Below this similarity to the nearest centroid a prompt is unlike the training data.
    pub similarity_min: f32,
    pub cells: Cells,
}

impl Slices {
    /// Hands out how much each cell counts for a prompt, summing to one, and returns
    /// why that is to be doubted, if it is.
    pub fn spread(
        &self,
        inputs: &[i16],
        slice: Option<&SliceId>,
        mut each: impl FnMut(usize, f64),
    ) -> Option<Abstention> {
        let known = slice.map(|slice| self.names.iter().position(|name| name == slice));
        if let Some(Some(known)) = known {
            each(known, 1.0);
            return None;
        }
        let (mut few, mut many) = ([0.0; FEW], Vec::new());
        let shares = match few.get_mut(..self.names.len()) {
            Some(few) => few,
            None => {
                many.resize(self.names.len(), 0.0);
                &mut many
            }
        };
        for (share, score) in shares.iter_mut().zip(self.scores(inputs)) {
            *share = score;
        }
        float::softmax(shares);
        for (cell, share) in shares.iter().enumerate() {
            each(cell, *share);
        }
        let strange = || (!self.familiar.knows(inputs)).then_some(Abstention::UnlikeTraining);
        known.map(|_| Abstention::UnknownSlice).or_else(strange)
    }

    fn scores<'a>(&'a self, inputs: &'a [i16]) -> impl Iterator<Item = f64> + 'a {
        let products = self.weights.products(inputs, INPUT_ONE);
        products
            .zip(&self.bias)
            .map(|(product, bias)| f64::from(product + bias))
    }
}

impl Clusters {
    /// As [`Slices::spread`].
    pub fn spread(&self, inputs: &[i16], mut each: impl FnMut(usize, f64)) -> Option<Abstention> {
        let near = Near::of(self.similarities(inputs));
        near.shares().for_each(|(cell, share)| each(cell, share));
        let unlike = near.best() < f64::from(self.similarity_min);
        unlike.then_some(Abstention::UnlikeTraining)
    }

    /// Cosine with the most similar centroid.
    #[must_use]
    pub fn similarity(&self, inputs: &[i16]) -> f64 {
        Near::of(self.similarities(inputs)).best()
    }

    /// Cosine with each centroid; all zero for the zero vector.
    fn similarities<'a>(&'a self, inputs: &'a [i16]) -> impl Iterator<Item = f64> + 'a {
        let encoding = &inputs[inputs.len().saturating_sub(DIMENSIONS)..];
        let square: i64 = encoding.iter().map(|x| i64::from(*x) * i64::from(*x)).sum();
        let length = (square as f64).sqrt() / f64::from(INPUT_ONE);
        let inverse = if square > 0 { 1.0 / length } else { 0.0 };
        let products = self.centroids.products(encoding, INPUT_ONE);
        products.map(move |product| f64::from(product) * inverse)
    }
}

/// The most similar cells, best first.
struct Near {
    cells: [(usize, f64); NEAREST],
    count: usize,
}

impl Near {
    fn of(similarities: impl Iterator<Item = f64>) -> Self {
        let mut near = Self {
            cells: [(0, f64::NEG_INFINITY); NEAREST],
            count: 0,
        };
        for (cell, similar) in similarities.enumerate() {
            let at = near.cells.partition_point(|(_, other)| *other >= similar);
            if at < NEAREST {
                near.cells[at..].rotate_right(1);
                near.cells[at] = (cell, similar);
                near.count = NEAREST.min(near.count + 1);
            }
        }
        near
    }

    fn best(&self) -> f64 {
        self.cells[0].1.max(-1.0)
    }

    /// Falling off exponentially, summing to one.
    fn shares(&self) -> impl Iterator<Item = (usize, f64)> {
        let cells = &self.cells[..self.count];
        let weight = |similar: f64| float::exp(SHARPNESS * (similar - self.best()));
        let sum: f64 = cells.iter().map(|(_, similar)| weight(*similar)).sum();
        cells
            .iter()
            .map(move |(cell, similar)| (*cell, weight(*similar) / sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::weights::input;

    #[test]
    fn the_nearest_three_share_a_prompt() {
        let near = Near::of([0.1, 0.9, 0.2, 0.8, 0.85].into_iter());
        let shares: Vec<(usize, f64)> = near.shares().collect();
        let cells: Vec<usize> = shares.iter().map(|(cell, _)| *cell).collect();
        assert_eq!(cells, [1, 4, 3]);
        assert!((shares.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(shares[0].1 > shares[1].1 && shares[1].1 > shares[2].1);
    }

    #[test]
    fn a_prompt_off_all_centroids_is_doubted() {
        let mut numbers = [0.0; DIMENSIONS];
        numbers[0] = 1.0;
        let clusters = Clusters {
            centroids: Weights::of(DIMENSIONS, &numbers),
            similarity_min: 0.2,
            cells: Cells::default(),
        };
        let at = |cosine: f32| {
            let mut inputs = [0; DIMENSIONS];
            inputs[0] = input(cosine);
            inputs[1] = input((1.0 - cosine * cosine).sqrt());
            clusters.spread(&inputs, |_, _| ())
        };
        assert_eq!(at(0.1), Some(Abstention::UnlikeTraining));
        assert_eq!(at(0.3), None);
    }
}
