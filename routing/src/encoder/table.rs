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
/// What makes four bits with a sign, -8 to 7, four bits without one.
const BIAS: u8 = 8;
/// So many of the latter fit a byte.
const RECENT_MAX: u8 = u8::MAX / 15;

/// Read once per process. The bytes are part of the program and a test reads them, so
/// an empty table never happens.
pub(super) static TABLE: LazyLock<TokenTable> =
    LazyLock::new(|| TokenTable::read(BYTES).unwrap_or_default());

/// Rows of four-bit components, one step per component.
#[derive(Debug, Default)]
pub(super) struct TokenTable {
    pub(super) vocabulary: Vocabulary,
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
    #[inline]
    pub(super) fn add(&self, token: u16, sums: &mut Sums) {
        let from = usize::from(token) * ROW_BYTES;
        if let Some(row) = self.rows.get(from..).and_then(<[u8]>::first_chunk) {
            sums.add(row);
        }
    }
}

/// Sums of rows.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    whole: [i16; DIMENSIONS],
    /// Of the last few rows, a byte a component: low halves of the rows' bytes, high ones.
    /// Components are [`BIAS`] more than they are, so that none is below zero.
    recent: [[u8; ROW_BYTES]; 2],
    rows: u8,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            whole: [0; DIMENSIONS],
            recent: [[0; ROW_BYTES]; 2],
            rows: 0,
        }
    }
}

impl Sums {
    #[inline]
    fn add(&mut self, row: &[u8; ROW_BYTES]) {
        let [low, high] = &mut self.recent;
        for ((low, high), byte) in low.iter_mut().zip(high).zip(row) {
            let biased = byte ^ (BIAS | BIAS << 4);
            *low += biased & 0x0f;
            *high += biased >> 4;
        }
        self.rows += 1;
        if self.rows == RECENT_MAX {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let bias = i16::from(BIAS) * i16::from(self.rows);
        let recent = self.recent.as_flattened();
        for (whole, recent) in self.whole.iter_mut().zip(recent) {
            *whole += i16::from(*recent) - bias;
        }
        (self.recent, self.rows) = ([[0; ROW_BYTES]; 2], 0);
    }

    /// The sums, component by component.
    pub(super) fn take(mut self) -> [i16; DIMENSIONS] {
        self.settle();
        self.whole
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
        let mut sums = Sums::default();
        table.add(0, &mut sums);
        table.add(1, &mut sums);
        let components = sums.take();
        assert_eq!((components[0], components[DIMENSIONS - 1]), (-1, -7));
    }

    #[test]
    fn sums_of_many_rows_lose_nothing() {
        let rows: Vec<[u8; ROW_BYTES]> = (0..100u8)
            .map(|i| std::array::from_fn(|k| i.wrapping_mul(37) ^ (k as u8).wrapping_mul(91)))
            .collect();
        let mut sums = Sums::default();
        rows.iter().for_each(|row| sums.add(row));
        let half = |bits: u8| i16::from((bits << 4).cast_signed() >> 4);
        let sum = |k: usize, shift: u8| rows.iter().map(|row| half(row[k] >> shift)).sum::<i16>();
        let wanted = (0..DIMENSIONS).map(|i| sum(i % ROW_BYTES, 4 * (i / ROW_BYTES) as u8));
        assert_eq!(sums.take().to_vec(), wanted.collect::<Vec<_>>());
    }
}
