//! Eight-bit weights against sixteen-bit inputs: products that are exact everywhere.
//!
//! Owns: the number formats of learned heads and the one product between them.
//! Sums are integers, so neither order nor width of the machine's vectors changes a bit.
//! In memory a weight takes sixteen bits: products of equal widths are one instruction
//! per eight pairs even on the oldest x86-64 (scoring takes a third of the time).

use wide::{i16x8, i32x4};

/// One in the fixed-point format of standardised inputs.
pub const INPUT_ONE: f32 = 4096.0;
/// Standardised inputs are clipped here, so that no single odd number decides.
pub const INPUT_MAX: f32 = 5.0;
/// Full quality in the format of tables and leaves, one byte.
pub const QUALITY_ONE: f64 = 255.0;
/// Largest absolute weight in steps.
const LEVELS: f32 = 127.0;
/// With so many columns the sum of a row still fits 32 bits.
pub const COLUMNS_MAX: usize = 500;

/// A standardised number as an input.
#[must_use]
pub fn input(standardised: f32) -> i16 {
    let clipped = standardised.clamp(-INPUT_MAX, INPUT_MAX);
    rounded(clipped * INPUT_ONE)
}

/// A quality 0..=1 as tables and leaves hold it. Rounding takes at most a fifth of a point.
#[must_use]
pub fn quality(share: f64) -> u8 {
    (share * QUALITY_ONE).round() as u8
}

/// To the nearest whole number, halves away from zero; saturates.
pub(super) fn rounded(x: f32) -> i16 {
    (x + 0.5f32.copysign(x)) as i16
}

/// A matrix whose rows each have their own step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    pub columns: usize,
    /// One per row.
    pub steps: Vec<f32>,
    /// `[row][column]`, in steps of the row, −127..=127.
    pub values: Vec<i16>,
}

impl Weights {
    /// Rounds `[row][column]` numbers. Numbers that are not finite count as zero.
    #[must_use]
    pub fn of(columns: usize, numbers: &[f32]) -> Self {
        let mut weights = Self {
            columns,
            ..Self::default()
        };
        for row in numbers.chunks_exact(columns.max(1)) {
            let finite = |x: &f32| if x.is_finite() { *x } else { 0.0 };
            let largest = row
                .iter()
                .map(finite)
                .fold(0.0f32, |most, x| most.max(x.abs()));
            let step = largest / LEVELS;
            let steps = |x: &f32| {
                if step > 0.0 {
                    rounded(finite(x) / step)
                } else {
                    0
                }
            };
            weights.values.extend(row.iter().map(steps));
            weights.steps.push(step);
        }
        weights
    }

    #[must_use]
    pub fn rows(&self) -> usize {
        self.steps.len()
    }

    /// A row as it counts.
    pub fn row(&self, row: usize) -> impl Iterator<Item = f32> + '_ {
        let values = &self.values[row * self.columns..(row + 1) * self.columns];
        values
            .iter()
            .map(move |value| f32::from(*value) * self.steps[row])
    }

    /// Some of the rows, in the order asked for.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let values = |row: &usize| &self.values[row * self.columns..(row + 1) * self.columns];
        Self {
            columns: self.columns,
            steps: rows.iter().map(|row| self.steps[*row]).collect(),
            values: rows.iter().flat_map(values).copied().collect(),
        }
    }

    /// Each row times the inputs, of which `one` stands for 1.
    pub fn products<'a>(&'a self, inputs: &'a [i16], one: f32) -> impl Iterator<Item = f32> + 'a {
        let rows = self.values.chunks_exact(self.columns.max(1));
        let unit = 1.0 / one; // A power of two: exact.
        rows.zip(&self.steps)
            .map(move |(row, step)| dot(row, inputs) as f32 * step * unit)
    }
}

fn dot(weights: &[i16], inputs: &[i16]) -> i32 {
    let (eights, rest) = weights.as_chunks::<8>();
    let (inputs, inputs_rest) = inputs[..weights.len()].as_chunks::<8>();
    let pairs = eights.iter().zip(inputs);
    let sums = pairs.fold(i32x4::ZERO, |sums, (w, x)| {
        sums + i16x8::from(*w).dot(i16x8::from(*x))
    });
    let rest = rest.iter().zip(inputs_rest);
    let rest: i32 = rest.map(|(w, x)| i32::from(*w) * i32::from(*x)).sum();
    sums.reduce_add() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_are_near_the_real_ones(
            numbers in prop::collection::vec(-3.0f32..3.0, 40),
            standardised in prop::collection::vec(-6.0f32..6.0, 20)
        ) {
            let weights = Weights::of(20, &numbers);
            let inputs: Vec<i16> = standardised.iter().map(|x| input(*x)).collect();
            for (row, product) in numbers.chunks(20).zip(weights.products(&inputs, INPUT_ONE)) {
                let clipped = standardised.iter().map(|x| x.clamp(-INPUT_MAX, INPUT_MAX));
                let exact: f32 = row.iter().zip(clipped).map(|(w, x)| w * x).sum();
                // Half a step of 3/127 on each of 20 weights, times inputs up to 5.
                prop_assert!((exact - product).abs() < 1.3, "{exact} {product}");
            }
        }
    }

    #[test]
    fn rounding_is_at_most_half_a_step() {
        let weights = Weights::of(3, &[0.1, -1.27, 0.505, 0.0, 0.0, f32::NAN]);
        let row: Vec<f32> = weights.row(0).collect();
        assert!((row[0] - 0.1).abs() <= 0.005 && (row[1] + 1.27).abs() < 1e-6);
        assert_eq!(weights.row(1).collect::<Vec<_>>(), [0.0; 3]);
    }

    #[test]
    fn the_widest_row_fits_its_sum() {
        let weights = Weights::of(COLUMNS_MAX, &vec![1.0; COLUMNS_MAX]);
        let inputs = vec![i16::MAX; COLUMNS_MAX];
        let product = weights.products(&inputs, INPUT_ONE).next().unwrap();
        assert!((product - COLUMNS_MAX as f32 * 8.0).abs() < 1.0);
    }
}
