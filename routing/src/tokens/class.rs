//! What a text looks like to a tokenizer.
//!
//! Owns: counting kinds of characters, and the rules that make a class of their shares.
//! Knows no tokens.

/// Characters read to tell the class of a text.
const CLASS_CHARS_MAX: u32 = 2_000;
/// Counted at a time, a byte for each kind.
const ASCII_RUN_MAX: u32 = 255;

/// What each ASCII character is: a byte of ones by kind, in the order of
/// [`Census::add_ascii`].
static ASCII: [u64; 128] = {
    const fn one(kind: usize) -> u64 {
        1 << (8 * kind)
    }
    let mut kinds = [0; 128];
    let mut at = 0;
    while at < kinds.len() {
        let byte = at as u8;
        kinds[at] = match byte {
            b' ' | b'\n' => one(0),
            b'A'..=b'Z' => one(1) + one(2),
            b'a'..=b'z' => one(2),
            b'0'..=b'9' => one(3),
            b'"' | b'{' | b'}' | b'[' | b']' | b':' | b',' => one(4) + one(5),
            b'\\' | b'^' | b'_' | b'$' => one(4) + one(6),
            _ if byte.is_ascii_punctuation() => one(4),
            _ => 0,
        };
        at += 1;
    }
    kinds
};

/// What a text looks like to a tokenizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextClass {
    #[default]
    Prose,
    Code,
    TexOrCode,
    Json,
    Digits,
    Base64,
    LatinAccented,
    Chinese,
    Japanese,
    Korean,
    Russian,
}

impl TextClass {
    pub const ALL: [Self; 11] = [
        Self::Prose,
        Self::Code,
        Self::TexOrCode,
        Self::Json,
        Self::Digits,
        Self::Base64,
        Self::LatinAccented,
        Self::Chinese,
        Self::Japanese,
        Self::Korean,
        Self::Russian,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prose => "prose",
            Self::Code => "code",
            Self::TexOrCode => "tex_or_code",
            Self::Json => "json",
            Self::Digits => "digits",
            Self::Base64 => "base64",
            Self::LatinAccented => "latin_accented",
            Self::Chinese => "chinese",
            Self::Japanese => "japanese",
            Self::Korean => "korean",
            Self::Russian => "russian",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// The class by shares of characters.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Census::of(text).class()
    }
}

/// Counts of characters by kind.
#[derive(Default)]
pub(super) struct Census {
    total: u32,
    kana: u32,
    hangul: u32,
    han: u32,
    cyrillic: u32,
    accented: u32,
    umlaut: u32,
    space: u32,
    upper: u32,
    letter: u32,
    digit: u32,
    json: u32,
    tex: u32,
    punctuation: u32,
}

impl Census {
    /// Of the text's head.
    pub(super) fn of(text: &str) -> Self {
        let mut seen = Self::default();
        let mut rest = text.as_bytes();
        while seen.total < CLASS_CHARS_MAX && !rest.is_empty() {
            let most = (CLASS_CHARS_MAX - seen.total).min(ASCII_RUN_MAX) as usize;
            let next = &rest[..most.min(rest.len())];
            let ascii = if next.is_ascii() {
                next.len()
            } else {
                next.iter().take_while(|byte| byte.is_ascii()).count()
            };
            seen.add_ascii(&rest[..ascii]);
            rest = &rest[ascii..];
            if ascii < next.len() {
                let at = text.len() - rest.len();
                let Some(wide) = text[at..].chars().next() else {
                    break;
                };
                seen.total += 1;
                seen.add_wide(wide);
                rest = &rest[wide.len_utf8()..];
            }
        }
        seen
    }

    /// Of so few that no count leaves its byte.
    fn add_ascii(&mut self, run: &[u8]) {
        let kinds = |byte: &u8| ASCII[usize::from(*byte) % ASCII.len()];
        let packed = run.iter().map(kinds).sum::<u64>().to_le_bytes();
        self.total += run.len() as u32;
        let counts = [
            &mut self.space,
            &mut self.upper,
            &mut self.letter,
            &mut self.digit,
            &mut self.punctuation,
            &mut self.json,
            &mut self.tex,
        ];
        for (count, seen) in counts.into_iter().zip(packed) {
            *count += u32::from(seen);
        }
    }

    fn add_wide(&mut self, c: char) {
        match c {
            '\u{3040}'..='\u{30ff}' => self.kana += 1,
            '\u{ac00}'..='\u{d7af}' | '\u{1100}'..='\u{11ff}' => self.hangul += 1,
            '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' => self.han += 1,
            '\u{0400}'..='\u{04ff}' => self.cyrillic += 1,
            '\u{00c0}'..='\u{024f}' => {
                self.accented += 1;
                self.umlaut += u32::from("äöüßÄÖÜ".contains(c));
            }
            _ => {}
        }
    }

    fn share(&self, count: u32) -> f64 {
        f64::from(count) / f64::from(self.total.max(1))
    }

    pub(super) fn upper(&self) -> f64 {
        self.share(self.upper)
    }

    pub(super) fn umlauts(&self) -> f64 {
        self.share(self.umlaut)
    }

    /// Rules and thresholds in the measured order.
    pub(super) fn class(&self) -> TextClass {
        let share = |count: u32| self.share(count);
        if share(self.kana) > 0.08 {
            TextClass::Japanese
        } else if share(self.hangul) > 0.08 {
            TextClass::Korean
        } else if share(self.han) > 0.10 {
            TextClass::Chinese
        } else if share(self.cyrillic) > 0.15 {
            TextClass::Russian
        } else if share(self.space) < 0.02 && share(self.upper) > 0.15 && self.total > 80 {
            TextClass::Base64
        } else if share(self.digit) > 0.28 && share(self.letter) < 0.6 {
            TextClass::Digits
        } else if share(self.json) > 0.13 {
            TextClass::Json
        } else if share(self.accented) > 0.007 {
            TextClass::LatinAccented
        } else if share(self.tex) > 0.03 {
            TextClass::TexOrCode
        } else if share(self.punctuation) > 0.09 {
            TextClass::Code
        } else {
            TextClass::Prose
        }
    }
}
