//! Words that hint at a kind of work.
//!
//! Owns: the words and their look-up, one probe of a hash table a word. They are words
//! of ordinary language and of code, never a benchmark's phrases.

use std::sync::LazyLock;

use crate::octets;

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

/// A power of two, some ten times the number of words: most probes of other words end at
/// a free slot.
const SLOTS: usize = 2_048;
/// A slot's lower bits hold the kinds, its upper ones those of the word's hash: one word in
/// 2^48 is taken for another.
const KIND_BITS: u32 = KINDS.len() as u32;

/// Kinds by the hashes of lower-case words: [`octets::lower_fnv`].
pub(super) struct Words(Vec<u64>);

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let mut words = Words(vec![0; SLOTS]);
    for (kind, (_, list)) in KINDS.iter().enumerate() {
        for word in list.split(' ').map(str::as_bytes) {
            let hash = octets::lower_fnv(word, 0, word.len());
            let kinds = words.kinds(hash) | 1 << kind;
            let at = words.slot(hash);
            words.0[at] = hash >> KIND_BITS << KIND_BITS | u64::from(kinds);
        }
    }
    words
});

impl Words {
    pub(super) fn get() -> &'static Self {
        &WORDS
    }

    /// Where a hash is, or would be.
    #[inline]
    fn slot(&self, hash: u64) -> usize {
        let mut at = (hash >> KIND_BITS) as usize % SLOTS;
        while self.0[at] != 0 && (self.0[at] ^ hash) >> KIND_BITS != 0 {
            at = (at + 1) % SLOTS;
        }
        at
    }

    /// The kinds of a word: bit i for [`KINDS`]`[i]`.
    #[inline]
    pub(super) fn kinds(&self, hash: u64) -> u16 {
        self.0[self.slot(hash)] as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_under_all_its_kinds() {
        let hash = |word: &str| octets::lower_fnv(word.as_bytes(), 0, word.len());
        let kinds = |word: &str| Words::get().kinds(hash(word));
        for (kind, (_, words)) in KINDS.iter().enumerate() {
            assert!(words.split(' ').all(|word| kinds(word) >> kind & 1 == 1));
        }
        assert_eq!(kinds("false").count_ones(), 2);
        assert_eq!(kinds("spillway"), 0);
    }
}
