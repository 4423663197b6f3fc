//! A text cut into pieces as o200k does before it looks for tokens.
//!
//! Owns: what the vocabulary's regular expression says, read by hand, since an engine that
//! can backtrack takes most of the time of counting:
//!
//! ```text
//! 1  [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
//! 2  [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
//! 3  \p{N}{1,3}
//! 4   ?[^\s\p{L}\p{N}]+[\r\n/]*
//! 5  \s*[\r\n]+
//! 6  \s+(?!\S)
//! 7  \s+
//! ```
//!
//! Knows no tokens. A test compares with tiktoken-rs on any text.

use std::ops::Range;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use crate::octets;

/// What the expression tells apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Upper,
    Lower,
    /// A letter without case.
    Letter,
    Mark,
    Number,
    Newline,
    Space,
    /// Whatever else there is.
    Symbol,
}

impl Class {
    const fn of_ascii(byte: u8) -> Self {
        match byte {
            b'A'..=b'Z' => Self::Upper,
            b'a'..=b'z' => Self::Lower,
            b'0'..=b'9' => Self::Number,
            b'\r' | b'\n' => Self::Newline,
            b' ' | b'\t' | 0x0b | 0x0c => Self::Space,
            _ => Self::Symbol,
        }
    }

    fn of(char: char) -> Self {
        use GeneralCategory as G;
        if char.is_whitespace() {
            return Self::Space;
        }
        match char.general_category() {
            G::UppercaseLetter | G::TitlecaseLetter => Self::Upper,
            G::LowercaseLetter => Self::Lower,
            G::ModifierLetter | G::OtherLetter => Self::Letter,
            G::NonspacingMark | G::SpacingMark | G::EnclosingMark => Self::Mark,
            G::DecimalNumber | G::LetterNumber | G::OtherNumber => Self::Number,
            _ => Self::Symbol,
        }
    }

    fn is_white(self) -> bool {
        matches!(self, Self::Space | Self::Newline)
    }

    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
    fn begins(self) -> bool {
        matches!(self, Self::Upper | Self::Letter | Self::Mark)
    }

    /// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
    fn follows(self) -> bool {
        matches!(self, Self::Lower | Self::Letter | Self::Mark)
    }

    /// `[^\s\p{L}\p{N}]`
    fn is_sign(self) -> bool {
        matches!(self, Self::Symbol | Self::Mark)
    }
}

static ASCII: [Class; 128] = {
    let mut classes = [Class::Symbol; 128];
    let mut byte = 0;
    while byte < 128 {
        classes[byte as usize] = Class::of_ascii(byte);
        byte += 1;
    }
    classes
};

/// Where the pieces of a text are, in order.
pub(super) struct Pieces<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The class of the character at a place, and where the next one begins.
    #[inline(always)]
    fn class(&self, at: usize) -> Option<(Class, usize)> {
        let byte = *self.text.as_bytes().get(at)?;
        match ASCII.get(usize::from(byte)) {
            Some(class) => Some((*class, at + 1)),
            None => self.wide_class(at),
        }
    }

    #[cold]
    fn wide_class(&self, at: usize) -> Option<(Class, usize)> {
        let char = self.text[at..].chars().next()?;
        Some((Class::of(char), at + char.len_utf8()))
    }

    /// Where a run of such characters ends.
    #[inline(always)]
    fn run(&self, mut at: usize, belongs: impl Fn(Class) -> bool) -> usize {
        while let Some((_, next)) = self.class(at).filter(|(class, _)| belongs(*class)) {
            at = next;
        }
        at
    }

    /// What most words are, and sooner read: a space or none, a capital or none, letters of
    /// a to z, and ASCII after them that is no apostrophe.
    #[inline(always)]
    fn plain_word(&self, at: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let from = at + usize::from(bytes[at] == b' ');
        let from = from + usize::from(bytes.get(from)?.is_ascii_uppercase());
        let end = octets::lower_end(bytes, from);
        let ends = |next: &u8| next.is_ascii() && *next != b'\'';
        (end > from && bytes.get(end).is_none_or(ends)).then_some(end)
    }

    /// Alternatives 1 and 2, with the sign before the word and, where that gives nothing,
    /// without it.
    fn word(&self, first: Class, at: usize, second: usize) -> Option<usize> {
        let signed = first == Class::Space || first.is_sign();
        let unsigned = first.begins() || first.follows();
        let lower = || {
            let with = signed.then(|| self.lower(second)).flatten();
            with.or_else(|| unsigned.then(|| self.lower(at)).flatten())
        };
        let upper = || {
            let with = signed.then(|| self.upper(second)).flatten();
            with.or_else(|| unsigned.then(|| self.upper(at)).flatten())
        };
        lower().or_else(upper).map(|end| self.contraction(end))
    }

    /// `begins* follows+`: a letter without case is both, so that the last one of them may
    /// have to end the word.
    #[inline]
    fn lower(&self, mut at: usize) -> Option<usize> {
        let mut last = None;
        while let Some((class, next)) = self.class(at) {
            if class == Class::Lower {
                return Some(self.run(next, Class::follows));
            }
            if !class.begins() {
                break;
            }
            at = next;
            if class.follows() {
                last = Some(at);
            }
        }
        last
    }

    /// `begins+ follows*`
    fn upper(&self, at: usize) -> Option<usize> {
        let end = self.run(at, Class::begins);
        (end > at).then(|| self.run(end, Class::follows))
    }

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)?`; the long s is one, too.
    fn contraction(&self, at: usize) -> usize {
        let Some(rest) = self.text.as_bytes()[at..].strip_prefix(b"'") else {
            return at;
        };
        let lower = |i: usize| rest.get(i).map_or(0, u8::to_ascii_lowercase);
        let length = match (lower(0), lower(1)) {
            (b's' | b't' | b'm' | b'd', _) => 2,
            (b'r' | b'v', b'e') | (b'l', b'l') => 3,
            _ if rest.starts_with("ſ".as_bytes()) => 3,
            _ => 0,
        };
        at + length
    }

    /// Alternative 4.
    fn signs(&self, first: Class, at: usize, second: usize) -> Option<usize> {
        let from = if first.is_sign() {
            at
        } else if self.text.as_bytes()[at] == b' ' {
            second
        } else {
            return None;
        };
        let end = self.run(from, Class::is_sign);
        let tail = |byte: &&u8| matches!(byte, b'\r' | b'\n' | b'/');
        let tail = || self.text.as_bytes()[end..].iter().take_while(tail).count();
        (end > from).then(|| end + tail())
    }

    /// Alternatives 5 to 7.
    fn white(&self, mut at: usize) -> usize {
        let (start, mut before_last, mut after_newline) = (at, at, None);
        while let Some((class, next)) = self.class(at).filter(|(class, _)| class.is_white()) {
            before_last = at;
            at = next;
            if class == Class::Newline {
                after_newline = Some(at);
            }
        }
        let follows = at < self.text.len() && before_last > start;
        after_newline.unwrap_or(if follows { before_last } else { at })
    }

    fn numbers(&self, mut at: usize) -> usize {
        for _ in 0..3 {
            match self.class(at) {
                Some((Class::Number, next)) => at = next,
                _ => break,
            }
        }
        at
    }
}

impl Iterator for Pieces<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let at = self.at;
        let (first, second) = self.class(at)?;
        if let Some(end) = self.plain_word(at) {
            self.at = end;
            return Some(at..end);
        }
        self.at = match first {
            Class::Number => self.numbers(at),
            Class::Newline => self.white(at),
            _ => self
                .word(first, at, second)
                .or_else(|| self.signs(first, at, second))
                .unwrap_or_else(|| self.white(at)),
        };
        Some(at..self.at)
    }
}
