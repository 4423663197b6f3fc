//! The one pass over a text that counts its structure.
//!
//! Owns: the counters and how they become features. Knows nothing of tokens' prices or
//! of who asks; what the numbers are called is `features.rs`'s.

use super::kinds::{KINDS, Words};
use super::{FEATURES, Features, HEAD_BYTES_MAX, LATER, MARKS, TOOL_BYTES_MAX};
use crate::float;
use crate::octets;
use crate::prompt::{Form, PromptView};
use crate::unit::Tokens;

/// Bits that remember words; a text that is read has some four hundred.
const SEEN_BITS: usize = 2_048;
/// Of longer words so many bytes are looked at.
const WORD_BYTES_MAX: usize = 24;

/// Counters filled by one pass over bytes.
#[derive(Default)]
pub(super) struct Reading {
    bytes: u32,
    words: u32,
    numbers: u32,
    marks: u32,
    lines: u32,
    questions: u32,
    upper: u32,
    non_ascii: u32,
    cjk: u32,
    word_bytes: u32,
    longest: u32,
    long_words: u32,
    kinds: [u32; KINDS.len()],
    signs: [u32; MARKS.len()],
    /// One bit per hash of a word: how many different ones there were, nearly.
    seen: [u64; SEEN_BITS / 64],
}

impl Reading {
    pub(super) fn read(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.bytes += bytes.len() as u32;
        self.upper += count(bytes, |byte| byte.is_ascii_uppercase());
        self.non_ascii += count(bytes, |byte| !byte.is_ascii());
        self.cjk += count(bytes, |byte| (0xe3..=0xe9).contains(&byte));
        let known = Words::get();
        let mut at = 0;
        while at < bytes.len() {
            at = match bytes[at] {
                b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => self.word(bytes, at, known),
                b'0'..=b'9' => {
                    self.numbers += 1;
                    run(bytes, at, |b| b.is_ascii_digit())
                }
                b' ' => at + 1,
                _ => {
                    self.mark(bytes, at);
                    at + 1
                }
            };
        }
    }

    /// Counts the word that begins here; where it ends.
    fn word(&mut self, bytes: &[u8], at: usize, known: &Words) -> usize {
        let mut end = octets::letters_end(bytes, at);
        let plain = |byte: &u8| byte.is_ascii() && *byte != b'\'';
        let hash = if bytes.get(end).is_none_or(plain) {
            octets::lower_fnv(bytes, at, end.min(at + WORD_BYTES_MAX))
        } else {
            end = run(bytes, end, |b| {
                b.is_ascii_alphabetic() || b >= 0x80 || b == b'\''
            });
            let word = bytes[at..end.min(at + WORD_BYTES_MAX)].iter();
            word.map(u8::to_ascii_lowercase)
                .fold(octets::FNV_OFFSET, octets::fnv)
        };
        let length = (end - at) as u32;
        self.words += 1;
        self.word_bytes += length;
        self.longest = self.longest.max(length);
        self.long_words += u32::from(length > 9);
        // What words are counted by has to stay: outcomes were recorded and tables learnt so.
        self.seen[(hash >> 32) as usize % (SEEN_BITS / 64)] |= 1 << (hash % 64);
        let mut kinds = known.kinds(hash);
        while kinds != 0 {
            self.kinds[kinds.trailing_zeros() as usize] += 1;
            kinds &= kinds - 1;
        }
        end
    }

    fn mark(&mut self, bytes: &[u8], at: usize) {
        let next = bytes.get(at + 1).copied().unwrap_or(b' ');
        let after = bytes.get(at + 2).copied().unwrap_or(b' ');
        match bytes[at] {
            b'\n' => self.lines += 1,
            b' ' | b'\t' | b'\r' => return,
            b'?' => self.questions += 1,
            b'`' if next == b'`' && after == b'`' => self.signs[0] += 1,
            b'=' | b'+' | b'*' | b'/' | b'^' | b'\\' | b'$' => self.signs[1] += 1,
            b'_' if next == b'_' => self.signs[3] += 1,
            b'<' if next.is_ascii_lowercase() || next == b'/' => self.signs[4] += 1,
            b'#' if next == b'#' => self.signs[5] += 1,
            _ => {}
        }
        // "A." "(B)" "C)" at the start of a line: a list to choose from.
        let bracketed = bytes[at] == b'(' && after == b')';
        let listed = bytes[at] == b'\n' && matches!(after, b'.' | b')' | b':');
        self.signs[2] += u32::from(next.is_ascii_uppercase() && (bracketed || listed));
        self.marks += u32::from(bytes[at] != b'\n');
    }

    pub(super) fn features(
        &self,
        view: &PromptView<'_>,
        text: &str,
        system: &str,
        tokens: Tokens,
    ) -> Features {
        let log = |count: f64| float::ln(1.0 + count) as f32;
        let ratio = |part: u32, whole: u32| part as f32 / whole.max(1) as f32;
        let items = self.words + self.numbers + self.marks;
        let all_text = (text.len() + view.tools.len()).max(1);
        let plain = [
            log(text.len() as f64),
            log(f64::from(self.words)),
            log(f64::from(self.lines)),
            ratio(self.numbers, items),
            log(f64::from(self.numbers)),
            ratio(self.word_bytes, self.words),
            ratio(self.upper, self.bytes),
            ratio(self.non_ascii, self.bytes),
            ratio(self.cjk, self.bytes),
            log(f64::from(self.questions)),
            ratio(self.marks, items),
            log(f64::from(self.longest)),
            ratio(self.long_words, self.words),
            log(f64::from(view.tool_count)),
            log(view.tools.len() as f64),
            view.tools.len() as f32 / all_text as f32,
            f32::from(u8::from(view.tool_count > 0)),
            log(view.turns.len() as f64),
            log(f64::from(view.images)),
            f32::from(u8::from(view.form == Form::JsonObject)),
            f32::from(u8::from(view.form == Form::JsonSchema)),
            log(view.max_output.map_or(0.0, |t| f64::from(t.0))),
            log(system.len() as f64),
            log(f64::from(tokens.0)),
        ];
        let counts = || self.kinds.iter().chain(&self.signs);
        let all = plain
            .into_iter()
            .chain(counts().map(|count| (*count).min(5) as f32 / 2.0))
            .chain(counts().map(|count| f32::from(u8::from(*count > 0))))
            .chain(self.later(view, text));
        let mut values = [0.0; FEATURES];
        for (to, from) in values.iter_mut().zip(all) {
            *to = from;
        }
        Features::of(&values)
    }

    /// What was appended to the list after its first version.
    fn later(&self, view: &PromptView<'_>, text: &str) -> [f32; LATER.len()] {
        let log = |count: usize| float::ln(1.0 + count as f64) as f32;
        let seen: u32 = self.seen.iter().map(|bits| bits.count_ones()).sum();
        let tools = &view.tools[..view.tools.floor_char_boundary(TOOL_BYTES_MAX)];
        let head = &text[..text.floor_char_boundary(HEAD_BYTES_MAX)];
        let clauses = if view.tool_count > 0 {
            head.matches(',').count() + head.matches(" and ").count()
        } else {
            0
        };
        [
            seen as f32 / self.words.max(1) as f32,
            log(tools.matches("\"type\"").count()),
            log(tools.matches("\"required\"").count()),
            log(clauses),
        ]
    }
}

/// How many bytes belong. Counts that fit a byte are added sixteen at a time.
fn count(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> u32 {
    let few = |bytes: &[u8]| -> u8 { bytes.iter().map(|byte| u8::from(belongs(*byte))).sum() };
    let chunks = bytes.chunks(usize::from(u8::MAX));
    chunks.map(|bytes| u32::from(few(bytes))).sum()
}

fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes[from..]
        .iter()
        .position(|byte| !belongs(*byte))
        .map_or(bytes.len(), |length| from + length)
}
