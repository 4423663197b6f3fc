//! Text → a small dense vector, by look-up and mean.
//!
//! Owns: the encoders a table may name and their arithmetic, shared by the proxy and
//! the trainer. [`EncoderId`] travels in every table and every outcome's facts, so a
//! vector is never scored by a head that was trained on another encoder.
//!
//! `hashed-64`: each lower-case word is a fixed pseudo-random direction of signs; the
//! text is the normalised mean of its words. Random projections keep inner products
//! (Johnson and Lindenstrauss 1984), so texts with common words lie close.

/// Numbers in an encoding.
pub const DIMENSIONS: usize = 64;

/// Words longer than this count by their first bytes; identifiers and base64 runs
/// would otherwise each be a word of their own.
const WORD_BYTES_MAX: usize = 24;

/// Which encoder made a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncoderId {
    #[default]
    Hashed64,
}

impl EncoderId {
    pub const ALL: [Self; 1] = [Self::Hashed64];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hashed64 => "hashed-64-v1",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.name() == name)
    }
}

/// A text's vector: unit length times 127, rounded. Zero for a text without words.
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
    /// Components in −1..1.
    pub fn components(&self) -> impl Iterator<Item = f32> + '_ {
        self.0.iter().map(|part| f32::from(*part) / 127.0)
    }
}

/// Collects words; the same pass that counts structure feeds it.
#[derive(Clone, Debug)]
pub struct Encoder {
    sums: [i32; DIMENSIONS],
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            sums: [0; DIMENSIONS],
        }
    }
}

impl Encoder {
    /// Adds one word, given in lower case.
    pub fn add(&mut self, word: &[u8]) {
        let signs = spread(&word[..word.len().min(WORD_BYTES_MAX)]);
        for (i, sum) in self.sums.iter_mut().enumerate() {
            *sum += if signs >> i & 1 == 1 { 1 } else { -1 };
        }
    }

    #[must_use]
    pub fn finish(&self) -> Encoding {
        let square: i64 = self
            .sums
            .iter()
            .map(|sum| i64::from(*sum) * i64::from(*sum))
            .sum();
        let mut encoding = Encoding::default();
        if square > 0 {
            let length = (square as f64).sqrt(); // IEEE square root is exact everywhere.
            for (part, sum) in encoding.0.iter_mut().zip(self.sums) {
                *part = (f64::from(sum) / length * 127.0).round() as i8;
            }
        }
        encoding
    }
}

/// 64 fair bits from a word: FNV-1a, then the finaliser of SplitMix64.
fn spread(word: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in word {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> Encoding {
        let mut encoder = Encoder::default();
        text.split(' ')
            .for_each(|word| encoder.add(word.as_bytes()));
        encoder.finish()
    }

    fn cosine(a: &Encoding, b: &Encoding) -> f32 {
        a.components().zip(b.components()).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn texts_with_common_words_lie_closer() {
        let sum = encode("what is the sum of seven and nine");
        let product = encode("what is the product of three and nine");
        let poem = encode("write me a sad poem about autumn rain");
        assert!(cosine(&sum, &product) > cosine(&sum, &poem) + 0.2);
    }

    #[test]
    fn the_vector_of_a_known_text_never_changes() {
        // A change here makes every recorded outcome and every table useless: it
        // needs a new EncoderId, not a new expectation.
        let encoding = encode("spillway");
        assert_eq!(encoding.0[..8], [16, 16, 16, -16, -16, 16, 16, 16]);
    }

    #[test]
    fn no_words_is_the_zero_vector() {
        assert_eq!(Encoder::default().finish(), Encoding::default());
    }
}
