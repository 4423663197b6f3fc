//! Words that hint at a kind of work.
//!
//! Owns: the words and their look-up, one probe of a hash table a word. They are words
//! of ordinary language and of code, never a benchmark's phrases.

use std::sync::LazyLock;

/// By kind; append only: the order is the order of the features `count_*`.
pub(super) const KINDS: [(&str, &str); 16] = [
    (
        "code",
        "def class import return function public include select const let void struct",
    ),
    (
        "language",
        "python javascript java rust sql typescript bash html css golang",
    ),
    (
        "proof",
        "prove proof theorem lemma suppose integer polynomial function equation triangle",
    ),
    (
        "quantity",
        "many much percent average total ratio dollars cost sum each per times",
    ),
    (
        "answer",
        "answer answers final choose correct option options",
    ),
    ("negation", "not except least never false incorrect without"),
    (
        "passage",
        "following passage context article text paragraph document according",
    ),
    ("explain", "why explain how describe compare discuss"),
    ("fact", "who when where which whose name"),
    ("what", "what"),
    (
        "write",
        "write compose draft essay story poem sentence email create",
    ),
    (
        "shorten",
        "summarize summarise summary rewrite paraphrase tldr shorten",
    ),
    (
        "translate",
        "translate translation english french spanish german chinese",
    ),
    (
        "reason",
        "step steps reason reasoning think if then therefore must",
    ),
    (
        "data",
        "json xml yaml csv schema tool table extract list fields",
    ),
    (
        "truth",
        "true false yes no statement statements both neither",
    ),
];

/// No word of the list is longer.
pub(super) const WORD_BYTES_MAX: usize = 12;
/// A power of two, some ten times the number of words: most probes of other words end at
/// a free slot.
const SLOTS: usize = 2_048;

/// A word and its kinds, one bit each.
#[derive(Clone, Copy, Default)]
struct Entry {
    word: &'static [u8],
    kinds: u16,
}

static WORDS: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut slots = vec![Entry::default(); SLOTS];
    for (kind, (_, words)) in KINDS.iter().enumerate() {
        for word in words.split(' ') {
            let mut at = slot(hash(word.as_bytes()));
            while !slots[at].word.is_empty() && slots[at].word != word.as_bytes() {
                at = (at + 1) % SLOTS;
            }
            slots[at].word = word.as_bytes();
            slots[at].kinds |= 1 << kind;
        }
    }
    slots
});

/// FNV-1a.
pub(super) fn hash(word: &[u8]) -> u64 {
    word.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn slot(hash: u64) -> usize {
    (hash ^ hash >> 32) as usize % SLOTS
}

/// The kinds of a lower-case word with this hash: bit i for [`KINDS`]`[i]`.
pub(super) fn kinds_of(word: &[u8], hash: u64) -> u16 {
    let mut at = slot(hash);
    while !WORDS[at].word.is_empty() {
        if WORDS[at].word == word {
            return WORDS[at].kinds;
        }
        at = (at + 1) % SLOTS;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_under_all_its_kinds() {
        for (kind, (_, words)) in KINDS.iter().enumerate() {
            for word in words.split(' ').map(str::as_bytes) {
                assert!(kinds_of(word, hash(word)) >> kind & 1 == 1);
                assert!(word.len() <= WORD_BYTES_MAX);
            }
        }
        assert_eq!(kinds_of(b"false", hash(b"false")).count_ones(), 2);
        assert_eq!(kinds_of(b"spillway", hash(b"spillway")), 0);
    }
}
