//! o200k tokens, counted.
//!
//! Owns: looking pieces up in the vocabulary and merging those that are no token
//! themselves, without asking for memory. The vocabulary is tiktoken-rs's, laid out by
//! `build.rs`; counts are its counts, but for pieces longer than any token, which are cut
//! so that no text takes more than a few hundred nanoseconds a byte.
//! Knows no texts' length limits and no other family.

mod slots;
mod split;

use std::ops::Range;

use self::slots::{SLOTS, TOKEN_BYTES_MAX};
use self::split::Pieces;
use super::memo::Memo;
use crate::octets;

static TABLE: &[u8; SLOTS * SLOT_BYTES] = include_bytes!(concat!(env!("OUT_DIR"), "/o200k.bin"));

const SLOT_BYTES: usize = size_of::<u64>();

/// No pair of tokens makes a token.
const NO_RANK: u32 = u32::MAX;

/// The parts of a text that no token reaches across.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Range<usize>> {
    Pieces::of(text)
}

/// How many tokens a piece of a text has.
#[inline]
pub(super) fn tokens(text: &[u8], piece: Range<usize>, memo: &mut Memo) -> usize {
    if piece.len() > TOKEN_BYTES_MAX {
        return long(&text[piece]);
    }
    let hash = octets::hash(text, piece.start, piece.end);
    if find(hash).is_some() {
        return 1;
    }
    memo.get(hash, || merged(&text[piece]) as u64) as usize
}

/// As [`tokens`], with nothing remembered.
pub(super) fn count_piece(piece: &[u8]) -> usize {
    if piece.len() > TOKEN_BYTES_MAX {
        return long(piece);
    }
    rank(piece, 0..piece.len()).map_or_else(|| merged(piece), |_| 1)
}

#[cold]
fn long(piece: &[u8]) -> usize {
    piece.chunks(TOKEN_BYTES_MAX).map(count_piece).sum()
}

/// The token that a part of these bytes is.
#[inline]
fn rank(bytes: &[u8], part: Range<usize>) -> Option<u32> {
    find(octets::hash(bytes, part.start, part.end))
}

#[inline]
fn find(hash: u64) -> Option<u32> {
    let mut at = slots::first(hash);
    loop {
        let slot = TABLE[at * SLOT_BYTES..].first_chunk().copied();
        let slot = slot.map_or(slots::FREE, u64::from_le_bytes);
        if slot == slots::FREE {
            return None;
        }
        if let Some(rank) = slots::rank(slot, hash) {
            return Some(rank);
        }
        at = (at + 1) % SLOTS;
    }
}

/// Byte pair encoding: the pair of lowest rank becomes one, the first of equals, until none
/// is a token.
fn merged(piece: &[u8]) -> usize {
    // Where parts begin, and the rank of each with the one after it.
    let mut starts = [0; TOKEN_BYTES_MAX + 1];
    let mut ranks = [NO_RANK; TOKEN_BYTES_MAX];
    let mut parts = piece.len();
    for (i, start) in starts[..=parts].iter_mut().enumerate() {
        *start = i as u8;
    }
    let pair = |starts: &[u8], i: usize, parts: usize| {
        let end = starts[..=parts].get(i + 2)?;
        rank(piece, usize::from(starts[i])..usize::from(*end))
    };
    for (i, rank) in ranks[..parts].iter_mut().enumerate() {
        *rank = pair(&starts, i, parts).unwrap_or(NO_RANK);
    }
    loop {
        let least = ranks[..parts].iter().copied().min().unwrap_or(NO_RANK);
        if least == NO_RANK {
            return parts;
        }
        let at = ranks[..parts].iter().position(|rank| *rank == least);
        let at = at.unwrap_or_default();
        starts.copy_within(at + 2..=parts, at + 1);
        ranks.copy_within(at + 1..parts, at);
        parts -= 1;
        ranks[at] = pair(&starts, at, parts).unwrap_or(NO_RANK);
        if let Some(before) = at.checked_sub(1) {
            ranks[before] = pair(&starts, before, parts).unwrap_or(NO_RANK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str) -> Vec<&str> {
        pieces(text).map(|piece| &text[piece]).collect()
    }

    fn count(text: &str) -> usize {
        Memo::with(|memo| {
            let tokens = pieces(text).map(|piece| tokens(text.as_bytes(), piece, memo));
            tokens.sum()
        })
    }

    /// By tiktoken-rs.
    fn counted(text: &str) -> usize {
        tiktoken_rs::o200k_base_singleton().count_ordinary(text)
    }

    #[test]
    fn every_token_is_found_and_nothing_else() {
        let vocabulary = tiktoken_rs::o200k_base_singleton();
        for wanted in 0..199_998 {
            let token = vocabulary.decode_bytes(&[wanted]).unwrap();
            assert_eq!(rank(&token, 0..token.len()), Some(wanted));
        }
        assert_eq!(rank(b"", 0..0), None);
        assert_eq!(rank(b"spillway of no renown", 0..21), None);
    }

    #[test]
    fn pieces_are_the_expressions() {
        let text = "It's  HTTPServer's 12345 (ok)/\n\n  x\t\ty 漢A字b  ";
        let wanted = [
            "It's",
            " ",
            " HTTPServer's",
            " ",
            "123",
            "45",
            " (",
            "ok",
            ")/\n\n",
            " ",
            " x",
            "\t",
            "\ty",
            " 漢A字b",
            "  ",
        ];
        assert_eq!(cut(text), wanted);
    }

    #[test]
    fn a_piece_longer_than_any_token_is_nearly_counted() {
        let letters: String = (0u32..4_000)
            .map(|i| char::from(b'a' + (i.wrapping_mul(2_654_435_761) >> 27) as u8 % 26))
            .collect();
        let (ours, theirs) = (count(&letters), counted(&letters));
        assert!(ours.abs_diff(theirs) * 100 < theirs, "{ours} {theirs}");
    }

    /// Words, marks, white space, scripts and cases in any order.
    fn texts() -> impl Strategy<Value = String> {
        const PARTS: &[&str] = &[
            "[a-zA-Z']{1,12}",
            "[ \\t\\n\\r/]{1,4}",
            "[0-9]{1,5}",
            "\\PC{1,6}",
            "['’](s|S|ſ|re|VE|ll|d|M|t)",
            "[漢字カナäßÄǅʰ\u{301}\u{20dd}あ]{1,5}",
            "[ \u{a0}\u{85}\u{2028}\u{3000}]{1,3}",
            "[-+*/=(){};:,.!?\"]{1,5}",
            " ",
            "\n",
        ];
        let part = proptest::sample::select(PARTS)
            .prop_flat_map(|part| proptest::string::string_regex(part).unwrap());
        proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn any_text_has_as_many_tokens_as_for_tiktoken(text in texts()) {
            prop_assume!(cut(&text).iter().all(|piece| piece.len() <= TOKEN_BYTES_MAX));
            prop_assert_eq!(count(&text), counted(&text));
            prop_assert_eq!(cut(&text).concat(), text);
        }
    }
}
