//! The tokens of a text, by every family.
//!
//! Owns: the one pass over a text's pieces that counts o200k everywhere and the others on a
//! sample. Families count each piece by itself, as o200k cuts texts: others cut some of them
//! elsewhere, which `make measure-tokens` holds to its bound. Knows no ratios.

use std::ops::Range;

use super::memo::Memo;
use super::vocabulary::Vocabulary;
use super::{Families, Family, o200k};
use crate::octets;

/// Bytes of a text that other families count: half from its head, half from its tail.
pub(super) const SAMPLE_BYTES_MAX: usize = 1_024;
/// Counts of longer pieces, which are rare, may need more than [`BITS`].
const REMEMBERED_BYTES_MAX: usize = 30;
const BITS: usize = 5;
/// Of longer ones so many bytes are counted: a run of letters is what vocabularies are
/// slowest at.
const LONG_BYTES_MAX: usize = 256;

/// What a sample has of everything.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    /// In the order of [`Family::ALL`]; 0 where a family has no vocabulary here.
    pub(super) tokens: [u32; Family::ALL.len()],
    pub(super) chars: u32,
}

/// A text's tokens, part by part.
#[derive(Default)]
pub(super) struct Tally {
    /// o200k, of all parts.
    pub(super) o200k: usize,
    pub(super) sample: Counts,
}

impl Tally {
    /// Adds a part of a text. Pieces that begin within so many bytes from its start, or end
    /// so near its end, are sampled.
    pub(super) fn add(&mut self, families: Families, part: &str, head: usize, tail: usize) {
        let last = part.len().saturating_sub(tail);
        Memo::with(|memo| {
            for piece in o200k::pieces(part) {
                if piece.start < head || piece.end > last {
                    self.o200k += self.sample.add(families, part, piece, memo);
                } else {
                    self.o200k += o200k::tokens(part.as_bytes(), piece, memo);
                }
            }
        });
    }
}

impl Counts {
    /// Adds a piece, or the beginning of a long one; returns the o200k tokens of all of it.
    fn add(
        &mut self,
        families: Families,
        text: &str,
        piece: Range<usize>,
        memo: &mut Memo,
    ) -> usize {
        if piece.len() > REMEMBERED_BYTES_MAX {
            let begins = &text[piece.clone()];
            let begins = &begins[..begins.floor_char_boundary(LONG_BYTES_MAX)];
            self.sum(Self::of(families, begins));
            return o200k::tokens(text.as_bytes(), piece, memo);
        }
        let hash = octets::hash(text.as_bytes(), piece.start, piece.end);
        let hash = hash ^ u64::from(families.0 + 1) << 48;
        let packed = memo.get(hash, || Self::of(families, &text[piece]).packed());
        let counts = Self::unpacked(packed);
        self.sum(counts);
        counts.tokens[Family::O200k as usize] as usize
    }

    fn of(families: Families, piece: &str) -> Self {
        let mut counts = Self {
            chars: piece.chars().count() as u32,
            ..Self::default()
        };
        counts.tokens[Family::O200k as usize] = o200k::count_piece(piece.as_bytes()) as u32;
        for family in families.iter() {
            if let Some(vocabulary) = Vocabulary::of(family) {
                counts.tokens[family as usize] = vocabulary.count(piece) as u32;
            }
        }
        counts
    }

    fn sum(&mut self, other: Self) {
        self.chars += other.chars;
        for (sum, count) in self.tokens.iter_mut().zip(other.tokens) {
            *sum += count;
        }
    }

    fn packed(self) -> u64 {
        let counts = self.tokens.iter().rev();
        counts.fold(u64::from(self.chars), |packed, count| {
            packed << BITS | u64::from(*count)
        })
    }

    #[inline]
    fn unpacked(packed: u64) -> Self {
        let at = |i: usize| (packed >> (i * BITS)) as u32 % (1 << BITS);
        Self {
            tokens: std::array::from_fn(at),
            chars: at(Family::ALL.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tally(text: &str, head: usize, tail: usize) -> Tally {
        let mut tally = Tally::default();
        tally.add(Families::ALL, text, head, tail);
        tally
    }

    #[test]
    fn all_of_a_short_text_is_sampled() {
        let text = "Wir müssen über die Brücke gehen.";
        let whole = tally(text, text.len(), 0);
        assert_eq!(whole.sample.chars, 33);
        let counted = tally(text, 0, 0).o200k;
        assert_eq!(whole.sample.tokens[0] as usize, counted);
        assert_eq!(whole.o200k, counted);
    }

    #[test]
    fn a_sample_ends_with_the_piece_that_it_begins() {
        let text = "one two three four five";
        let ends = tally(text, 2, 2);
        assert_eq!((ends.o200k, ends.sample.chars), (5, 3 + 5));
        assert_eq!(tally(text, 0, 0).sample.chars, 0);
    }

    #[test]
    fn of_a_very_long_piece_the_beginning_is_sampled() {
        let text = "x".repeat(5_000);
        let all = tally(&text, text.len(), 0);
        assert_eq!(all.sample.chars as usize, LONG_BYTES_MAX);
        assert_eq!(all.o200k, tally(&text, 0, 0).o200k);
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_what_was_counted(text in "\\PC{0,7}") {
            let counts = Counts::of(Families::ALL, &text);
            let again = Counts::unpacked(counts.packed());
            prop_assert_eq!((again.tokens, again.chars), (counts.tokens, counts.chars));
        }
    }
}
