//! WordPiece as BERT uncased cuts it, without allocating.
//!
//! Owns: cleaning (controls dropped, accents stripped, lower case), cutting into words
//! (white space, punctuation, each CJK character alone) and the greedy longest match
//! against a vocabulary. Knows nothing of vectors. `routing/encoder/wordpiece.jsonl`
//! holds what the reference tokenizer makes of texts in many scripts; the test here
//! compares with it.
//!
//! A word's pieces are found from its longest prefix down, with the hash of every
//! prefix taken in one pass: ordinary words cost one probe, and a word of n bytes never
//! more than n² / 2.

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
/// most pieces that are not there need not be compared with one.
const ID_BITS: u32 = 16;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// Where in a word a piece stands. Pieces inside a word are listed with `##`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Inside,
}

impl Place {
    fn seed(self) -> u64 {
        match self {
            Self::Start => FNV_OFFSET,
            Self::Inside => FNV_OFFSET ^ 0x9e37_79b9_7f4a_7c15,
        }
    }
}

/// Pieces by text: an open hash table of token ids.
#[derive(Debug, Default)]
pub(super) struct Vocabulary<'a> {
    /// The text of each token, without its `##`.
    pieces: Vec<&'a str>,
    inside: Vec<bool>,
    /// See [`ID_BITS`]; 0 is free.
    slots: Vec<u32>,
}

impl<'a> Vocabulary<'a> {
    /// One piece a line, in the order of the ids.
    pub(super) fn of(lines: &'a str) -> Self {
        let mut vocabulary = Self {
            slots: vec![0; SLOTS],
            ..Self::default()
        };
        for line in lines.split('\n').take(usize::from(u16::MAX)) {
            let inside = line.strip_prefix("##").filter(|rest| !rest.is_empty());
            let place = if inside.is_some() {
                Place::Inside
            } else {
                Place::Start
            };
            let piece = inside.unwrap_or(line);
            let hash = piece.bytes().fold(place.seed(), step);
            vocabulary.pieces.push(piece);
            vocabulary.inside.push(place == Place::Inside);
            let mut at = slot(hash);
            while vocabulary.slots[at] != 0 {
                at = (at + 1) % SLOTS;
            }
            vocabulary.slots[at] = mark(hash) | vocabulary.pieces.len() as u32;
        }
        vocabulary
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    fn find(&self, hash: u64, piece: &[u8], place: Place) -> Option<u16> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = slot(hash);
        loop {
            let slot = self.slots[at];
            let id = (slot as u16).checked_sub(1)?;
            let known = usize::from(id);
            if slot >> ID_BITS == mark(hash) >> ID_BITS
                && self.pieces[known].as_bytes() == piece
                && self.inside[known] == (place == Place::Inside)
            {
                return Some(id);
            }
            at = (at + 1) % SLOTS;
        }
    }

    /// The longest piece that `rest` begins with, and its length.
    fn longest(&self, rest: &[u8], place: Place) -> Option<(u16, usize)> {
        let rest = &rest[..rest.len().min(PIECE_BYTES_MAX)];
        let mut hashes = [0; PIECE_BYTES_MAX];
        let mut hash = place.seed();
        for (to, byte) in hashes.iter_mut().zip(rest) {
            hash = step(hash, *byte);
            *to = hash;
        }
        (1..=rest.len()).rev().find_map(|length| {
            let id = self.find(hashes[length - 1], &rest[..length], place)?;
            Some((id, length))
        })
    }
}

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
}

/// The hash's bits that a slot keeps.
fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32 >> ID_BITS << ID_BITS
}

fn slot(hash: u64) -> usize {
    // FNV's low bits depend on the low bits of the text alone; fold the high ones in.
    (hash ^ hash >> 32) as usize % SLOTS
}

/// Hands every token of a text to `each`, in order.
pub(super) fn tokens(text: &str, vocabulary: &Vocabulary<'_>, mut each: impl FnMut(u16)) {
    let mut word = Word::default();
    for char in text.chars() {
        match kind(char) {
            Kind::Letter if char.is_ascii() => word.push_ascii(char as u8),
            Kind::Letter => decompose_canonical(char, |part| {
                if part.general_category() != GeneralCategory::NonspacingMark {
                    let lower = part.to_lowercase();
                    lower.for_each(|lower| word.add(lower, vocabulary, &mut each));
                }
            }),
            Kind::Space => word.end(vocabulary, &mut each),
            Kind::Alone => word.alone(char, vocabulary, &mut each),
            Kind::Nothing => {}
        }
    }
    word.end(vocabulary, &mut each);
}

enum Kind {
    Letter,
    Space,
    /// A word of its own.
    Alone,
    Nothing,
}

fn kind(char: char) -> Kind {
    match char {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Kind::Letter,
        '\t' | '\n' | '\r' | ' ' => Kind::Space,
        '!'..='~' => Kind::Alone,
        '\0'..='\x7f' | '\u{fffd}' => Kind::Nothing,
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

/// The word that is being read.
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
    fn push_ascii(&mut self, byte: u8) {
        if self.chars < WORD_CHARS_MAX {
            self.bytes[self.length] = byte.to_ascii_lowercase();
            self.length += 1;
        }
        self.chars += 1;
    }

    fn push(&mut self, char: char) {
        if self.chars < WORD_CHARS_MAX {
            self.length += char.encode_utf8(&mut self.bytes[self.length..]).len();
        }
        self.chars += 1;
    }

    /// A part of a decomposed letter: itself one, or a mark that stands alone.
    fn add(&mut self, part: char, vocabulary: &Vocabulary<'_>, each: &mut impl FnMut(u16)) {
        match kind(part) {
            Kind::Space => self.end(vocabulary, each),
            Kind::Alone => self.alone(part, vocabulary, each),
            Kind::Letter | Kind::Nothing => self.push(part),
        }
    }

    fn alone(&mut self, char: char, vocabulary: &Vocabulary<'_>, each: &mut impl FnMut(u16)) {
        self.end(vocabulary, each);
        self.push(char);
        self.end(vocabulary, each);
    }

    /// Hands out the word's pieces and starts the next word.
    fn end(&mut self, vocabulary: &Vocabulary<'_>, each: &mut impl FnMut(u16)) {
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
    fn cut(&mut self, vocabulary: &Vocabulary<'_>) -> Option<usize> {
        let word = &self.bytes[..self.length];
        let (mut count, mut at, mut place) = (0, 0, Place::Start);
        while at < word.len() {
            let (id, length) = vocabulary.longest(&word[at..], place)?;
            self.pieces[count] = id;
            count += 1;
            at += length;
            place = Place::Inside;
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

    proptest! {
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
