//! Whether a request is built like any labelled kind of work.
//!
//! Owns: the distance of a request's structure (features, not the encoding) from a kind's
//! usual one, each feature counting the more the less it varies there. A text may be near
//! a cluster and yet be another kind of work: left out of training, whole kinds of three
//! public sets lie beyond every limit, where the encoding alone saw a part of them.

/// A centre's step as a share of a spread.
const STEPS_PER_SPREAD: i32 = 16;
/// Inputs have 4096 to a spread; differences are taken in 64ths, to fit.
const INPUT_SHIFT: u32 = 6;
const PER_STEP: i32 = 64 / STEPS_PER_SPREAD;
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
        let usual = self.centres[row.clone()].iter().zip(&self.weights[row]);
        let terms = inputs.iter().zip(usual);
        let sum: u64 = terms
            .map(|(input, (centre, weight))| {
                // Below 2^10, so that the product fits; the sum may not.
                let apart = (i32::from(*input) >> INPUT_SHIFT) - i32::from(*centre) * PER_STEP;
                u64::from((apart * apart) as u32 * u32::from(*weight))
            })
            .sum();
        u32::try_from(sum >> SQUARE_SHIFT).unwrap_or(u32::MAX)
    }
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
        /// The sum stays within its type for all bytes and inputs there are.
        #[test]
        fn a_distance_never_overflows(
            centres in proptest::collection::vec(any::<i8>(), 500),
            weights in proptest::collection::vec(any::<u8>(), 500),
            inputs in proptest::collection::vec(any::<i16>(), 500),
        ) {
            let familiar = Familiar { centres, weights, limits: vec![0] };
            let _ = familiar.distance(0, &inputs);
        }
    }
}
