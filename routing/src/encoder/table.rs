//! The distilled token table: its file format and the look-up.
//!
//! Owns: reading `routing/encoder/minilm-64.bin`, which is compiled in. How the bytes
//! came about is `routing/encoder/distill.py`'s; a test compares their hash with the
//! one that [`super::EncoderId`] promises.

use std::sync::LazyLock;

use super::DIMENSIONS;
use super::wordpiece::Vocabulary;

const BYTES: &[u8] = include_bytes!("../../encoder/minilm-64.bin");
const MAGIC: &[u8; 4] = b"SPWE";
/// Two components a byte.
const ROW_BYTES: usize = DIMENSIONS / 2;

/// Read once per process. The bytes are part of the program and a test reads them, so
/// an empty table never happens.
pub(super) static TABLE: LazyLock<TokenTable> =
    LazyLock::new(|| TokenTable::read(BYTES).unwrap_or_default());

/// Rows of four-bit components, one step per component.
#[derive(Debug, Default)]
pub(super) struct TokenTable {
    pub(super) vocabulary: Vocabulary<'static>,
    pub(super) steps: Vec<f32>,
    rows: &'static [u8],
}

impl TokenTable {
    fn read(bytes: &'static [u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(MAGIC)?;
        let (header, bytes) = bytes.split_at_checked(12)?;
        let field = |i: usize| {
            let four = header.get(i * 4..i * 4 + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(four)).ok()
        };
        let (dimensions, tokens, words) = (field(0)?, field(1)?, field(2)?);
        let (steps, bytes) = bytes.split_at_checked(dimensions * 4)?;
        let (words, rows) = bytes.split_at_checked(words)?;
        let vocabulary = Vocabulary::of(std::str::from_utf8(words).ok()?);
        let fits = dimensions == DIMENSIONS
            && vocabulary.len() == tokens
            && rows.len() == tokens * ROW_BYTES;
        let step = |four: &[u8]| Some(f32::from_le_bytes(four.try_into().ok()?));
        let steps = steps.chunks_exact(4).map(step).collect::<Option<_>>()?;
        fits.then_some(Self {
            vocabulary,
            steps,
            rows,
        })
    }

    /// Adds a token's row to the sums.
    pub(super) fn add(&self, token: u16, sums: &mut [i16; DIMENSIONS]) {
        let from = usize::from(token) * ROW_BYTES;
        let Some(row) = self.rows.get(from..from + ROW_BYTES) else {
            return;
        };
        let (low, high) = sums.split_at_mut(ROW_BYTES);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(row) {
            *low += i16::from((*byte << 4).cast_signed() >> 4);
            *high += i16::from(byte.cast_signed() >> 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::EncoderId;
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn the_table_is_whole_and_the_one_that_is_promised() {
        assert_eq!(TABLE.vocabulary.len(), 30_522);
        let hash = Sha256::digest(BYTES);
        let digits: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(EncoderId::MiniLm64.name(), format!("minilm-64@{digits}"));
        assert!(BYTES.len() < 2_000_000, "an asset of at most 2 MB");
    }

    #[test]
    fn half_bytes_keep_their_sign() {
        let table = TokenTable {
            rows: &[0x9f; ROW_BYTES],
            ..TokenTable::default()
        };
        let mut sums = [1; DIMENSIONS];
        table.add(0, &mut sums);
        assert_eq!((sums[0], sums[DIMENSIONS - 1]), (0, -6));
        table.add(1, &mut sums);
        assert_eq!(sums[0], 0, "a token without a row adds nothing");
    }
}
