//! Whether a request is built like any labelled kind of work.
//!
//! Owns: the distance of a request's structure (features, not the encoding) from a kind's
//! usual one, each feature counting the more the less it varies there. A text may be near
//! a cluster and yet be another kind of work: left out of training, whole kinds of three
//! public sets lie beyond every limit, where the encoding alone saw a part of them.

/// A centre's step as a share of a spread.
const STEPS_PER_SPREAD: i16 = 16;
/// Inputs have 4096 to a spread; differences are taken in 64ths, to fit.
const INPUT_SHIFT: u32 = 6;
const PER_STEP: i16 = 64 / STEPS_PER_SPREAD;
/// Of so many terms the sum still fits 32 bits.
const TOGETHER: usize = 64;
/// Squares of 64ths become whole.
const SQUARE_SHIFT: u32 = 12;

/// What is usual for each kind of work: kinds one after the other, a byte per feature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Familiar {
    /// `[kind][feature]`, in 16ths of a spread.
    pub centres: Vec<i8>,
    /// `[kind][feature]`: the inverse variance, in any unit.
    pub weights: Vec<u8>,
    /// Per kind, the distance within which its own prompts lie. Empty: all is familiar.
    pub limits: Vec<u32>,
}

/// A standardised number as a centre.
#[must_use]
pub fn centre(standardised: f64) -> i8 {
    (standardised * f64::from(STEPS_PER_SPREAD)).round() as i8
}

impl Familiar {
    /// Whether the inputs lie within the limit of any kind.
    #[must_use]
    pub fn knows(&self, inputs: &[i16]) -> bool {
        let limits = self.limits.iter().enumerate();
        self.limits.is_empty()
            || limits
                .into_iter()
                .any(|(kind, limit)| self.distance(kind, inputs) <= *limit)
    }

    /// How far inputs lie from a kind's centre.
    #[must_use]
    pub fn distance(&self, kind: usize, inputs: &[i16]) -> u32 {
        let features = self.centres.len() / self.limits.len().max(1);
        let row = kind * features..(kind + 1) * features;
        let inputs = inputs.chunks(TOGETHER);
        let usual = self.centres[row.clone()].chunks(TOGETHER);
        let usual = usual.zip(self.weights[row].chunks(TOGETHER));
        let sum: u64 = inputs.zip(usual).map(|(x, (c, w))| apart(x, c, w)).sum();
        u32::try_from(sum >> SQUARE_SHIFT).unwrap_or(u32::MAX)
    }
}

/// The weighted squares of some distances. A distance is below 2^10, a weight 2^8: in two
/// halves its products fit sixteen bits, of which processors multiply and add eight pairs
/// in one step.
fn apart(inputs: &[i16], centres: &[i8], weights: &[u8]) -> u64 {
    let (mut low, mut high) = (0, 0);
    for ((input, centre), weight) in inputs.iter().zip(centres).zip(weights) {
        let apart = (input >> INPUT_SHIFT) - i16::from(*centre) * PER_STEP;
        let weight = i16::from(*weight);
        low += i32::from(apart) * i32::from(apart * (weight & 15));
        high += i32::from(apart) * i32::from(apart * (weight >> 4));
    }
    // Neither is below zero.
    u64::from(low as u32) + (u64::from(high as u32) << 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::weights;
    use proptest::prelude::*;

    fn two_kinds() -> Familiar {
        Familiar {
            centres: vec![centre(0.0), centre(0.0), centre(3.0), centre(-3.0)],
            weights: vec![10, 10, 10, 1],
            limits: vec![20, 20],
        }
    }

    fn inputs(a: f32, b: f32) -> [i16; 2] {
        [a, b].map(weights::input)
    }

    #[test]
    fn near_any_kind_is_familiar() {
        let familiar = two_kinds();
        assert!(familiar.knows(&inputs(0.5, -0.5)));
        assert!(familiar.knows(&inputs(3.2, -2.0)));
        assert!(!familiar.knows(&inputs(-3.0, 3.0)));
        // The second feature hardly counts for the second kind.
        assert!(familiar.knows(&inputs(3.0, 1.0)) && !familiar.knows(&inputs(0.0, 4.0)));
        assert!(Familiar::default().knows(&inputs(5.0, 5.0)));
    }

    proptest! {
        /// Also for the largest bytes and inputs there are.
        #[test]
        fn a_distance_is_the_sum_of_weighted_squares(
            centres in proptest::collection::vec(any::<i8>(), 500),
            weights in proptest::collection::vec(any::<u8>(), 500),
            inputs in proptest::collection::vec(any::<i16>(), 500),
        ) {
            let terms = inputs.iter().zip(&centres).zip(&weights);
            let sum: i64 = terms.map(|((input, centre), weight)| {
                let apart = i64::from(*input >> INPUT_SHIFT) - i64::from(*centre) * 4;
                apart * apart * i64::from(*weight)
            }).sum();
            let familiar = Familiar { centres, weights, limits: vec![0] };
            let wanted = u32::try_from(sum >> SQUARE_SHIFT).unwrap_or(u32::MAX);
            prop_assert_eq!(familiar.distance(0, &inputs), wanted);
        }
    }
}
