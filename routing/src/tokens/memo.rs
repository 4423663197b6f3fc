//! How the pieces of texts are cut, remembered.
//!
//! Owns: a table of pieces lately seen, one a thread, of a size that does not grow. Words
//! come again and again: merging one takes hundreds of nanoseconds, eight vocabularies take
//! two microseconds, and the table five nanoseconds. What is remembered follows from the
//! piece alone, so that what a thread has seen changes no result.

use std::cell::RefCell;

use super::vocabulary::Vocabulary;
use super::{Families, Family, o200k};

/// A power of two; 16 bytes each.
const SLOTS: usize = 1 << 15;
/// Longer pieces are rare, and a family's count of them may need more than [`BITS`].
const PIECE_BYTES_MAX: usize = 30;
const BITS: usize = 5;

/// Tokens of each family, in the order of [`Family::ALL`]; 0 where it has no vocabulary here.
pub(super) type Counts = [u32; Family::ALL.len()];

thread_local! {
    static SEEN: RefCell<Memo> = const { RefCell::new(Memo(Vec::new())) };
}

/// Hashes and what belongs to them, in pairs of which the first was used last.
pub(super) struct Memo(Vec<[(u64, u64); 2]>);

impl Memo {
    /// This thread's.
    pub(super) fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        SEEN.with_borrow_mut(|memo| {
            if memo.0.is_empty() {
                memo.0.resize(SLOTS / 2, [(0, 0); 2]);
            }
            work(memo)
        })
    }

    /// What belongs to a hash, found out where it is not remembered.
    pub(super) fn get(&mut self, hash: u64, find: impl FnOnce() -> u64) -> u64 {
        let [last, other] = &mut self.0[hash as usize % (SLOTS / 2)];
        if last.0 != hash {
            std::mem::swap(last, other);
            if last.0 != hash {
                *last = (hash, find());
            }
        }
        last.1
    }
}

/// Counts a text by its pieces, each by itself, as o200k cuts texts: other families cut
/// some of them elsewhere, which `make measure-tokens` holds to its bound.
pub(super) fn counts(families: Families, text: &str) -> Counts {
    Memo::with(|memo| {
        let mut sums = Counts::default();
        for piece in o200k::pieces(text) {
            if piece.len() > PIECE_BYTES_MAX {
                counted(families, piece, |family, count| sums[family] += count);
                continue;
            }
            let hash = o200k::hash(piece) ^ u64::from(families.0 + 1) << 48;
            let packed = memo.get(hash, || {
                let mut packed = 0;
                counted(families, piece, |family, count| {
                    packed |= u64::from(count) << (family * BITS);
                });
                packed
            });
            for (family, sum) in sums.iter_mut().enumerate() {
                *sum += (packed >> (family * BITS)) as u32 % (1 << BITS);
            }
        }
        sums
    })
}

fn counted(families: Families, piece: &str, mut each: impl FnMut(usize, u32)) {
    for family in families.iter() {
        if let Some(vocabulary) = Vocabulary::of(family) {
            each(family as usize, vocabulary.count(piece) as u32);
        }
    }
}
