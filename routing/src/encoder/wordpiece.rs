//! WordPiece as BERT uncased cuts it, without allocating.
//!
//! Owns: cleaning (controls dropped, accents stripped, lower case), cutting into words
//! (white space, punctuation, each CJK character alone) and the greedy longest match
//! against a vocabulary. Knows nothing of vectors. `routing/encoder/wordpiece.jsonl`
//! holds what the reference tokenizer makes of texts in many scripts; the test here
//! compares with it.
//!
//! A word's pieces are found from its longest prefix down: ordinary words cost one probe,
//! and a word of n bytes never more than n times the length of the longest piece.

use crate::octets;
use unicode_normalization::char::decompose_canonical;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Longer words are unknown, as in the reference.
const WORD_CHARS_MAX: usize = 100;
const WORD_BYTES_MAX: usize = 4 * WORD_CHARS_MAX;
/// No piece of the vocabulary is longer.
const PIECE_BYTES_MAX: usize = 32;
/// `[UNK]`.
const UNKNOWN: u16 = 100;
/// Slots of the hash table, a power of two: less than half of them are used.
const SLOTS: usize = 1 << 16;
/// A slot's lower bits hold an id and one more, its upper ones those of the piece's hash:
/// one text in 2^48 is taken for a piece that it is not.
const ID_BITS: u32 = 16;

/// Where in a word a piece stands. Pieces inside a word are listed with `##`.
#[derive(Clone, Copy)]
enum Place {
    Start,
    Inside,
}

impl Place {
    /// The hash of a piece's bytes, told apart by its place.
    #[inline]
    fn of(self, hash: u64) -> u64 {
        match self {
            Self::Start => hash,
            Self::Inside => hash.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15,
        }
    }
}

/// Pieces by text: an open hash table of token ids.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    pieces: usize,
    /// See [`ID_BITS`]; 0 is free.
    slots: Vec<u64>,
}

impl Vocabulary {
    /// One piece a line, in the order of the ids.
    pub(super) fn of(lines: &str) -> Self {
        let mut vocabulary = Self {
            pieces: 0,
            slots: vec![0; SLOTS],
        };
        for line in lines.split('\n').take(usize::from(u16::MAX)) {
            let inside = line.strip_prefix("##").filter(|rest| !rest.is_empty());
            let place = inside.map_or(Place::Start, |_| Place::Inside);
            let piece = inside.unwrap_or(line).as_bytes();
            let hash = place.of(octets::hash(piece, 0, piece.len()));
            vocabulary.pieces += 1;
            let at = vocabulary.slot(hash);
            if vocabulary.slots[at] == 0 {
                vocabulary.slots[at] = hash >> ID_BITS << ID_BITS | vocabulary.pieces as u64;
            }
        }
        vocabulary
    }

    pub(super) fn len(&self) -> usize {
        self.pieces
    }

    /// Where a hash is, or would be.
    #[inline]
    fn slot(&self, hash: u64) -> usize {
        let mut at = (hash >> ID_BITS) as usize % SLOTS;
        while self.slots[at] != 0 && (self.slots[at] ^ hash) >> ID_BITS != 0 {
            at = (at + 1) % SLOTS;
        }
        at
    }

    #[inline]
    fn find(&self, hash: u64) -> Option<u16> {
        (self.slots[self.slot(hash)] as u16).checked_sub(1)
    }

    /// The longest piece of a word that begins at a place, and where it ends.
    fn longest(&self, word: &[u8], at: usize) -> Option<(u16, usize)> {
        let place = if at == 0 { Place::Start } else { Place::Inside };
        let most = word.len().min(at + PIECE_BYTES_MAX);
        (at + 1..=most).rev().find_map(|end| {
            let id = self.find(place.of(octets::hash(word, at, end)))?;
            Some((id, end))
        })
    }
}

/// Hands every token of a text to `each`, in order.
pub(super) fn tokens(text: &str, vocabulary: &Vocabulary, mut each: impl FnMut(u16)) {
    let bytes = text.as_bytes();
    let mut word = Word::default();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at = match kind_of_byte(*byte) {
            Kind::Space => at + 1,
            Kind::Alone => {
                let hash = octets::hash(bytes, at, at + 1);
                each(vocabulary.find(hash).unwrap_or(UNKNOWN));
                at + 1
            }
            Kind::Letter | Kind::Nothing => word
                .ascii(bytes, at, vocabulary, &mut each)
                .unwrap_or_else(|| word.read(text, at, vocabulary, &mut each)),
        };
    }
}

enum Kind {
    Letter,
    Space,
    /// A word of its own.
    Alone,
    Nothing,
}

/// What an ASCII character is; one that is not counts as a letter.
#[inline]
fn kind_of_byte(byte: u8) -> Kind {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | 0x80.. => Kind::Letter,
        b'\t' | b'\n' | b'\r' | b' ' => Kind::Space,
        b'!'..=b'~' => Kind::Alone,
        _ => Kind::Nothing,
    }
}

fn kind(char: char) -> Kind {
    match char {
        '\0'..='\x7f' => kind_of_byte(char as u8),
        '\u{fffd}' => Kind::Nothing,
        _ if char.is_whitespace() => Kind::Space,
        _ if is_cjk(char) => Kind::Alone,
        _ => wide_kind(char),
    }
}

fn wide_kind(char: char) -> Kind {
    use GeneralCategory as G;
    match char.general_category() {
        G::Control | G::Format | G::PrivateUse | G::Surrogate => Kind::Nothing,
        G::ConnectorPunctuation
        | G::DashPunctuation
        | G::OpenPunctuation
        | G::ClosePunctuation
        | G::InitialPunctuation
        | G::FinalPunctuation
        | G::OtherPunctuation => Kind::Alone,
        _ => Kind::Letter,
    }
}

/// The blocks that the reference puts spaces around.
fn is_cjk(char: char) -> bool {
    matches!(u32::from(char),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f
        | 0x2b740..=0x2b81f | 0x2b920..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f)
}

/// The word that is being read, character by character.
struct Word {
    bytes: [u8; WORD_BYTES_MAX],
    length: usize,
    chars: usize,
    /// Where its pieces are collected: they count only if all of it can be cut.
    pieces: [u16; WORD_BYTES_MAX],
}

impl Default for Word {
    fn default() -> Self {
        Self {
            bytes: [0; WORD_BYTES_MAX],
            length: 0,
            chars: 0,
            pieces: [0; WORD_BYTES_MAX],
        }
    }
}

impl Word {
    /// Reads characters from a place on up to where ASCII ends a word; where that is.
    fn read(
        &mut self,
        text: &str,
        at: usize,
        vocabulary: &Vocabulary,
        each: &mut impl FnMut(u16),
    ) -> usize {
        let mut end = text.len();
        for (i, char) in text[at..].char_indices() {
            let kind = kind(char);
            if i > 0 && char.is_ascii() && matches!(kind, Kind::Space | Kind::Alone) {
                end = at + i;
                break;
            }
            match kind {
                Kind::Letter => decompose_canonical(char, |part| {
                    if part.general_category() != GeneralCategory::NonspacingMark {
                        let lower = part.to_lowercase();
                        lower.for_each(|lower| self.add(lower, vocabulary, each));
                    }
                }),
                Kind::Space => self.end(vocabulary, each),
                Kind::Alone => self.alone(char, vocabulary, each),
                Kind::Nothing => {}
            }
        }
        self.end(vocabulary, each);
        end
    }

    /// Reads the word at a place if it is ASCII alone, as nearly all are; where it ends.
    #[inline]
    fn ascii(
        &mut self,
        text: &[u8],
        at: usize,
        vocabulary: &Vocabulary,
        each: &mut impl FnMut(u16),
    ) -> Option<usize> {
        let end = octets::alphanumeric_end(text, at);
        let ends = |next: &u8| matches!(kind_of_byte(*next), Kind::Space | Kind::Alone);
        let is_whole = text.get(end).is_none_or(ends);
        let length = Some(end - at).filter(|n| is_whole && (1..=PIECE_BYTES_MAX).contains(n))?;
        if let Some(id) = vocabulary.find(octets::lower_hash(text, at, end)) {
            each(id);
            return Some(end);
        }
        self.bytes[..length].copy_from_slice(&text[at..end]);
        self.bytes[..length].make_ascii_lowercase();
        (self.length, self.chars) = (length, length);
        self.end(vocabulary, each);
        Some(end)
    }

    fn push(&mut self, char: char) {
        if self.chars < WORD_CHARS_MAX {
            self.length += char.encode_utf8(&mut self.bytes[self.length..]).len();
        }
        self.chars += 1;
    }

    /// A part of a decomposed letter: itself one, or a mark that stands alone.
    fn add(&mut self, part: char, vocabulary: &Vocabulary, each: &mut impl FnMut(u16)) {
        match kind(part) {
            Kind::Space => self.end(vocabulary, each),
            Kind::Alone => self.alone(part, vocabulary, each),
            Kind::Letter | Kind::Nothing => self.push(part),
        }
    }

    fn alone(&mut self, char: char, vocabulary: &Vocabulary, each: &mut impl FnMut(u16)) {
        self.end(vocabulary, each);
        self.push(char);
        self.end(vocabulary, each);
    }

    /// Hands out the word's pieces and starts the next word.
    fn end(&mut self, vocabulary: &Vocabulary, each: &mut impl FnMut(u16)) {
        if self.chars == 0 {
            return;
        }
        match self.cut(vocabulary) {
            Some(count) if self.chars <= WORD_CHARS_MAX => {
                self.pieces[..count].iter().for_each(|id| each(*id));
            }
            _ => each(UNKNOWN),
        }
        (self.length, self.chars) = (0, 0);
    }

    /// Cuts the word by greedy longest match; how many pieces it has, or `None` if it
    /// cannot be cut.
    fn cut(&mut self, vocabulary: &Vocabulary) -> Option<usize> {
        let word = &self.bytes[..self.length];
        let (mut count, mut at) = (0, 0);
        while at < word.len() {
            let (id, end) = vocabulary.longest(word, at)?;
            self.pieces[count] = id;
            count += 1;
            at = end;
        }
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::TABLE;
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str) -> Vec<u16> {
        let mut all = Vec::new();
        tokens(text, &TABLE.vocabulary, |token| all.push(token));
        all
    }

    #[test]
    fn cuts_as_the_reference_does() {
        let golden = include_str!("../../encoder/wordpiece.jsonl");
        let mut cases = 0;
        for line in golden.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = case["text"].as_str().unwrap();
            let wanted: Vec<u16> = serde_json::from_value(case["tokens"].clone()).unwrap();
            assert_eq!(cut(text), wanted, "{text:?}");
            cases += 1;
        }
        assert!(cases > 60);
    }

    #[test]
    fn overlong_words_are_unknown_as_a_whole() {
        assert_eq!(cut(&"a".repeat(101)), [UNKNOWN]);
        assert!(!cut(&"a".repeat(100)).contains(&UNKNOWN));
    }

    /// With no way around for ASCII.
    fn one_by_one(text: &str) -> Vec<u16> {
        let (mut all, mut word, mut at) = (Vec::new(), Word::default(), 0);
        while at < text.len() {
            at = word.read(text, at, &TABLE.vocabulary, &mut |token| all.push(token));
        }
        all
    }

    proptest! {
        #[test]
        fn ascii_is_read_as_it_is_character_by_character(
            text in "[a-zA-Z0-9 \n\t.,'!\\[ü漢\u{0}\u{7f}\u{301}\u{a0}\u{fffd}-]{0,60}"
        ) {
            prop_assert_eq!(cut(&text), one_by_one(&text));
        }

        #[test]
        fn no_text_gives_more_tokens_than_characters_after_decomposition(text in "\\PC{0,300}") {
            let decomposed: usize = text.chars().map(|char| {
                let mut parts = 0;
                decompose_canonical(char, |part| parts += part.to_lowercase().count());
                parts
            }).sum();
            prop_assert!(cut(&text).len() <= decomposed);
        }
    }
}
