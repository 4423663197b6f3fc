//! Text → a small dense vector, by look-up and mean.
//!
//! Owns: the encoders a table may name and their arithmetic, shared by the proxy and
//! the trainer. [`EncoderId`] travels in every table and every outcome's facts, so a
//! vector is never scored by a head that was trained on another encoder.
//!
//! `minilm-64`: the text's WordPiece tokens each look up a row of a table that was
//! distilled from all-MiniLM-L6-v2 (`routing/encoder/README.md`); the text is the
//! direction of their plain mean. All sums are integers, so every machine makes the
//! same bits.

mod table;
mod wordpiece;

use crate::float;
use table::{Sums, TABLE};

/// Numbers in an encoding.
pub const DIMENSIONS: usize = 64;

/// Tokens beyond this are not read: a sum of 16 bits cannot overflow before it, and
/// callers hand in far shorter texts.
const TOKENS_MAX: u16 = 4_096;

/// Which encoder made a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncoderId {
    #[default]
    MiniLm64,
}

impl EncoderId {
    pub const ALL: [Self; 1] = [Self::MiniLm64];

    /// Its kind and the first eight digits of its table's SHA-256.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MiniLm64 => "minilm-64@83ee9eb6",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.name() == name)
    }
}

/// A text's direction: the largest component is ±127. Zero for a text without tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Encoding(pub [i8; DIMENSIONS]);

impl Default for Encoding {
    fn default() -> Self {
        Self([0; DIMENSIONS])
    }
}

impl std::fmt::Debug for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoding({:?}…)", &self.0[..4])
    }
}

impl Encoding {
    /// Components of the unit vector.
    pub fn components(&self) -> impl Iterator<Item = f32> + '_ {
        let square: i32 = self.0.iter().map(|c| i32::from(*c) * i32::from(*c)).sum();
        // IEEE square roots are exact everywhere.
        let length = f64::from(square.max(1)).sqrt() as f32;
        self.0.iter().map(move |part| f32::from(*part) / length)
    }
}

/// Collects tokens.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    sums: Sums,
    tokens: u16,
}

impl Encoder {
    /// Adds a text's tokens.
    pub fn read(&mut self, text: &str) {
        let table = &*TABLE;
        wordpiece::tokens(text, &table.vocabulary, |token| {
            if self.tokens < TOKENS_MAX {
                self.tokens += 1;
                table.add(token, &mut self.sums);
            }
        });
    }

    #[must_use]
    pub fn finish(self) -> Encoding {
        let mut scaled = [0.0f32; DIMENSIONS];
        let sums = self.sums.take();
        let steps = sums.iter().zip(&TABLE.steps);
        for (to, (sum, step)) in scaled.iter_mut().zip(steps) {
            *to = f32::from(*sum) * step;
        }
        let largest = scaled.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let mut encoding = Encoding::default();
        if largest > 0.0 {
            for (part, x) in encoding.0.iter_mut().zip(scaled) {
                *part = float::round(x / largest * 127.0) as i8;
            }
        }
        encoding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(text: &str) -> Encoding {
        let mut encoder = Encoder::default();
        encoder.read(text);
        encoder.finish()
    }

    fn cosine(a: &Encoding, b: &Encoding) -> f32 {
        a.components().zip(b.components()).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn texts_on_one_subject_lie_closer_than_texts_with_common_words() {
        let sum = encode("Add seven and nine.");
        let product = encode("Multiply the integers three and eleven");
        let poem = encode("Recite a sad sonnet on autumn rain and nine sorrows.");
        assert!(cosine(&sum, &product) > cosine(&sum, &poem) + 0.1);
    }

    #[test]
    fn the_vector_of_a_known_text_never_changes() {
        // A change here makes every recorded outcome and every table useless: it
        // needs a new EncoderId, not a new expectation.
        assert_eq!(
            encode("spillway").0[..8],
            [-50, 47, -21, 40, -127, 88, 0, -49]
        );
    }

    #[test]
    fn no_words_is_the_zero_vector() {
        assert_eq!(Encoder::default().finish(), Encoding::default());
        assert_eq!(encode(" \n\u{0}\t"), Encoding::default());
    }

    #[test]
    fn a_long_text_cannot_overflow_its_sums() {
        let long = encode(&"zebra ".repeat(60_000));
        assert!(cosine(&long, &encode("zebra")) > 0.99);
    }

    proptest! {
        #[test]
        fn any_text_is_a_unit_vector_or_nothing(text in "\\PC{0,400}") {
            let encoding = encode(&text);
            let square: f32 = encoding.components().map(|x| x * x).sum();
            prop_assert!(encoding == Encoding::default() || (square - 1.0).abs() < 1e-3);
        }
    }
}
