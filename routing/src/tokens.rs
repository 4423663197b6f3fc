//! Token counts, so that prices of different tokenizers can be compared.
//!
//! Owns: counting o200k exactly (tiktoken-rs vocabulary), and turning that count into
//! any other family's by a ratio measured per class of text. Texts beyond
//! [`EXACT_COUNT_BYTES_MAX`] are counted on their head and tail and extrapolated.
//! Knows nothing of prices or messages' frames.
//!
//! The ratios come from 434 texts counted with each family's own tokenizer (Claude's
//! are unofficial reconstructions); on held-out texts they miss by 2-7 % on average,
//! against 23-46 % for a quarter of the characters.

use crate::unit::Tokens;

/// Texts longer than this are counted on their first and last half of it and
/// extrapolated: counting a megabyte would hold a worker for most of a second on
/// hostile text, and no rule tells sizes that far out apart.
pub const EXACT_COUNT_BYTES_MAX: usize = 16 * 1024;

/// Characters read to tell the class of a text.
const CLASS_CHARS_MAX: usize = 2_000;

/// A family of tokenizers that count nearly alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    #[default]
    O200k,
    Cl100k,
    Llama3,
    DeepseekV3,
    Qwen3,
    Qwen35,
    MistralTekken,
    MistralSpm,
    Gemma3,
    Claude3,
    Claude47,
}

impl Family {
    pub const ALL: [Self; 11] = [
        Self::O200k,
        Self::Cl100k,
        Self::Llama3,
        Self::DeepseekV3,
        Self::Qwen3,
        Self::Qwen35,
        Self::MistralTekken,
        Self::MistralSpm,
        Self::Gemma3,
        Self::Claude3,
        Self::Claude47,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::O200k => "o200k",
            Self::Cl100k => "cl100k",
            Self::Llama3 => "llama3",
            Self::DeepseekV3 => "deepseek_v3",
            Self::Qwen3 => "qwen3",
            Self::Qwen35 => "qwen3_5",
            Self::MistralTekken => "mistral_tekken",
            Self::MistralSpm => "mistral_spm_v3",
            Self::Gemma3 => "gemma3",
            Self::Claude3 => "claude3",
            Self::Claude47 => "claude4_7",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// Tokens of this family for a text with `o200k` tokens, per thousand, by class in
    /// the order of [`TextClass::ALL`].
    fn permille(self) -> [u32; 11] {
        match self {
            Self::O200k => [1000; 11],
            Self::Cl100k => [
                1012, 1002, 1002, 1002, 1002, 1058, 1128, 1258, 1317, 1408, 1493,
            ],
            Self::Llama3 => [
                1011, 1002, 1002, 1001, 1002, 1055, 1126, 1026, 946, 1040, 1131,
            ],
            Self::DeepseekV3 => [
                1035, 1044, 1091, 1078, 1028, 1016, 1120, 887, 901, 1099, 1118,
            ],
            Self::Qwen3 => [
                1022, 1056, 1111, 1050, 1370, 1083, 1121, 943, 900, 1088, 1184,
            ],
            Self::Qwen35 => [
                1046, 1111, 1171, 1058, 1372, 1075, 1056, 906, 780, 955, 1030,
            ],
            Self::MistralTekken => [
                1029, 1086, 1174, 1098, 1385, 1268, 1053, 1198, 1010, 984, 1141,
            ],
            Self::MistralSpm => [
                1192, 1273, 1386, 1231, 1427, 1184, 1390, 1441, 1483, 1790, 1573,
            ],
            Self::Gemma3 => [
                1067, 1151, 1313, 1160, 1395, 995, 1049, 932, 764, 1002, 1004,
            ],
            Self::Claude3 => [
                1138, 1193, 1234, 1174, 1094, 1338, 1319, 1453, 1226, 1744, 1500,
            ],
            Self::Claude47 => [
                1526, 1516, 1488, 1495, 1194, 1721, 1850, 1565, 1296, 1818, 1587,
            ],
        }
    }

    /// This family's count for a text that has `o200k` tokens.
    #[must_use]
    pub fn count(self, o200k: Tokens, class: TextClass) -> Tokens {
        let scaled = u64::from(o200k.0) * u64::from(self.permille()[class as usize]);
        Tokens(u32::try_from((scaled + 500) / 1_000).unwrap_or(u32::MAX))
    }
}

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

    /// The class by shares of characters; rules and thresholds in the measured order.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let seen = Census::of(text);
        let share = |count: u32| f64::from(count) / f64::from(seen.total.max(1));
        if share(seen.kana) > 0.08 {
            Self::Japanese
        } else if share(seen.hangul) > 0.08 {
            Self::Korean
        } else if share(seen.han) > 0.10 {
            Self::Chinese
        } else if share(seen.cyrillic) > 0.15 {
            Self::Russian
        } else if share(seen.space) < 0.02 && share(seen.upper) > 0.15 && seen.total > 80 {
            Self::Base64
        } else if share(seen.digit) > 0.28 && share(seen.letter) < 0.6 {
            Self::Digits
        } else if share(seen.json) > 0.13 {
            Self::Json
        } else if share(seen.accented) > 0.007 {
            Self::LatinAccented
        } else if share(seen.tex) > 0.03 {
            Self::TexOrCode
        } else if share(seen.punctuation) > 0.09 {
            Self::Code
        } else {
            Self::Prose
        }
    }
}

/// Counts of characters by kind.
#[derive(Default)]
struct Census {
    total: u32,
    kana: u32,
    hangul: u32,
    han: u32,
    cyrillic: u32,
    accented: u32,
    space: u32,
    upper: u32,
    letter: u32,
    digit: u32,
    json: u32,
    tex: u32,
    punctuation: u32,
}

impl Census {
    fn of(text: &str) -> Self {
        let mut seen = Self::default();
        for c in text.chars().take(CLASS_CHARS_MAX) {
            seen.total += 1;
            if c.is_ascii() {
                seen.add_ascii(c)
            } else {
                seen.add_wide(c)
            }
        }
        seen
    }

    fn add_ascii(&mut self, c: char) {
        match c {
            ' ' | '\n' => self.space += 1,
            'A'..='Z' => {
                self.upper += 1;
                self.letter += 1;
            }
            'a'..='z' => self.letter += 1,
            '0'..='9' => self.digit += 1,
            _ if c.is_ascii_punctuation() => {
                self.punctuation += 1;
                self.json += u32::from(matches!(c, '"' | '{' | '}' | '[' | ']' | ':' | ','));
                self.tex += u32::from(matches!(c, '\\' | '^' | '_' | '$'));
            }
            _ => {}
        }
    }

    fn add_wide(&mut self, c: char) {
        match c {
            '\u{3040}'..='\u{30ff}' => self.kana += 1,
            '\u{ac00}'..='\u{d7af}' | '\u{1100}'..='\u{11ff}' => self.hangul += 1,
            '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' => self.han += 1,
            '\u{0400}'..='\u{04ff}' => self.cyrillic += 1,
            '\u{00c0}'..='\u{024f}' => self.accented += 1,
            _ => {}
        }
    }
}

/// Counts o200k tokens. The vocabulary is built once a process and shared; the first
/// use takes some 0.3 s, so a proxy makes its counter before it says it is ready.
#[derive(Clone, Copy)]
pub struct TokenCounter {
    vocabulary: &'static tiktoken_rs::CoreBPE,
}

impl std::fmt::Debug for TokenCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenCounter(o200k)")
    }
}

impl Default for TokenCounter {
    fn default() -> Self {
        Self::new()
    }
}

impl TokenCounter {
    #[must_use]
    pub fn new() -> Self {
        Self {
            vocabulary: tiktoken_rs::o200k_base_singleton(),
        }
    }

    /// o200k tokens of `text`: exact up to [`EXACT_COUNT_BYTES_MAX`] bytes, beyond
    /// that extrapolated from the head and the tail.
    #[must_use]
    pub fn count(&self, text: &str) -> Tokens {
        if text.len() <= EXACT_COUNT_BYTES_MAX {
            return self.exact(text);
        }
        let head = &text[..text.floor_char_boundary(EXACT_COUNT_BYTES_MAX / 2)];
        let tail = &text[text.ceil_char_boundary(text.len() - EXACT_COUNT_BYTES_MAX / 2)..];
        let sample = u64::from(self.exact(head).0) + u64::from(self.exact(tail).0);
        let bytes = (head.len() + tail.len()) as u64;
        let scaled = u128::from(sample) * text.len() as u128 / u128::from(bytes.max(1));
        Tokens(u32::try_from(scaled).unwrap_or(u32::MAX))
    }

    fn exact(&self, text: &str) -> Tokens {
        Tokens(u32::try_from(self.vocabulary.count_ordinary(text)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts_have_their_known_counts() {
        let counter = TokenCounter::new();
        assert_eq!(counter.count("hello world"), Tokens(2));
        assert_eq!(counter.count(""), Tokens(0));
        assert_eq!(
            counter.count("<|endoftext|>"),
            Tokens(7),
            "special tokens are plain text here"
        );
    }

    #[test]
    fn classes_are_told_apart() {
        let cases = [
            (
                "The quick brown fox jumps over the lazy dog and walks away.",
                TextClass::Prose,
            ),
            (
                "for (let i = 0; i < n; i++) { total += a[i] * (b - c); }",
                TextClass::Code,
            ),
            (
                "Let $x_1$ and $x_2$ be the roots of $x^2 + px + q$ where $p$ is odd",
                TextClass::TexOrCode,
            ),
            ("{\"a\": [1, 2], \"b\": {\"c\": \"d\"}}", TextClass::Json),
            ("Привет, как дела сегодня?", TextClass::Russian),
            ("今日は良い天気ですね", TextClass::Japanese),
            ("今天天气很好我们出去玩吧", TextClass::Chinese),
            ("오늘 날씨가 좋네요", TextClass::Korean),
            (
                "Über die Brücke müssen wir später gehen",
                TextClass::LatinAccented,
            ),
        ];
        for (text, class) in cases {
            assert_eq!(TextClass::of(text), class, "{text}");
        }
    }

    #[test]
    fn a_long_text_is_extrapolated_close_to_its_count() {
        let counter = TokenCounter::new();
        let paragraph = "Some words about rivers, dams and 1234 litres of water each second.\n";
        let long = paragraph.repeat(1_000);
        let exact = counter.exact(&long).0;
        let estimated = counter.count(&long).0;
        assert!(
            estimated.abs_diff(exact) * 100 < exact,
            "{estimated} against {exact}"
        );
    }

    #[test]
    fn the_new_claude_family_counts_half_as_much_again_in_english() {
        assert_eq!(
            Family::Claude47.count(Tokens(1_000), TextClass::Prose),
            Tokens(1_526)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_counted_without_panic(text in "\\PC{0,200}") {
            let count = TokenCounter::new().count(&text);
            prop_assert!(count.0 as usize <= text.len());
        }

        #[test]
        fn names_survive(index in 0usize..11) {
            prop_assert_eq!(Family::parse(Family::ALL[index].name()), Some(Family::ALL[index]));
            prop_assert_eq!(TextClass::parse(TextClass::ALL[index].name()), Some(TextClass::ALL[index]));
            prop_assert_eq!(TextClass::ALL[index] as usize, index);
        }
    }
}
