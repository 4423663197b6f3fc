//! Token counts, so that prices of different tokenizers can be compared.
//!
//! Owns: counting o200k exactly (with tiktoken-rs's vocabulary), and how other families count
//! a text in comparison. Texts beyond [`EXACT_COUNT_BYTES_MAX`] are counted on parts of them
//! and extrapolated. Knows nothing of prices or messages' frames.

mod class;
mod memo;
mod o200k;
mod ratio;
mod tally;
mod vocabulary;

use self::class::Census;
pub use self::class::TextClass;
pub use self::ratio::Ratios;
use self::tally::{SAMPLE_BYTES_MAX, Tally};
use crate::unit::Tokens;

/// Texts longer than this are counted on so much of them, in [`WINDOWS`] parts from the
/// first byte to the last, and extrapolated: counting all of a long prompt takes longer than
/// anything else that is done for it, and no rule tells sizes that far out apart.
pub const EXACT_COUNT_BYTES_MAX: usize = 8 * 1024;
const WINDOWS: usize = 4;

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
}

/// Some families: those that a table's models have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families(u16);

impl Families {
    pub const ALL: Self = Self((1 << Family::ALL.len()) - 1);

    fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL
            .into_iter()
            .filter(move |family| self.0 & 1 << *family as u16 != 0)
    }

    /// Loads what counting them takes, so that no request waits for it.
    pub fn load(self) {
        let _ = TokenCounter::new().measuring(self).measure("a text");
    }
}

impl FromIterator<Family> for Families {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> Self {
        Self(
            families
                .into_iter()
                .fold(0, |all, family| all | 1 << family as u16),
        )
    }
}

/// Counts o200k tokens, and measures other families in comparison.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenCounter {
    families: Families,
}

impl TokenCounter {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Measures how these families count, too; others are as usual for a text's class.
    #[must_use]
    pub fn measuring(self, families: Families) -> Self {
        Self { families }
    }

    /// o200k tokens of a text: exact up to [`EXACT_COUNT_BYTES_MAX`] bytes, beyond that
    /// extrapolated from parts of it.
    #[must_use]
    pub fn count(&self, text: &str) -> Tokens {
        tally(Families::default(), text).1
    }

    /// As [`Self::count`], and what else is told of the text.
    #[must_use]
    pub fn measure(&self, text: &str) -> Measure {
        let census = Census::of(text);
        let (tally, o200k) = tally(self.families, text);
        Measure {
            o200k,
            class: census.class(),
            ratios: Ratios::measured(self.families, &census, &tally.sample),
        }
    }
}

/// What is told of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    pub o200k: Tokens,
    pub class: TextClass,
    /// How families count it in comparison.
    pub ratios: Ratios,
}

/// Of as much of a text as is looked at, with its o200k tokens in all.
fn tally(families: Families, text: &str) -> (Tally, Tokens) {
    let mut tally = Tally::default();
    let families = ratio::to_count(families);
    let sampled = if families == Families::default() {
        0
    } else if text.len() <= SAMPLE_BYTES_MAX {
        text.len()
    } else {
        SAMPLE_BYTES_MAX / 2
    };
    if text.len() <= EXACT_COUNT_BYTES_MAX {
        tally.add(families, text, sampled, sampled);
        let tokens = u32::try_from(tally.o200k);
        return (tally, Tokens(tokens.unwrap_or(u32::MAX)));
    }
    let mut bytes = 0;
    for (i, window) in windows(text).enumerate() {
        let of = |end: usize| if i == end { sampled } else { 0 };
        tally.add(families, window, of(0), of(WINDOWS - 1));
        bytes += window.len();
    }
    let scaled = tally.o200k as u128 * text.len() as u128 / bytes.max(1) as u128;
    (tally, Tokens(u32::try_from(scaled).unwrap_or(u32::MAX)))
}

/// Parts of a long text, evenly spread.
fn windows(text: &str) -> impl Iterator<Item = &str> {
    const WIDTH: usize = EXACT_COUNT_BYTES_MAX / WINDOWS;
    let last = text.len().saturating_sub(WIDTH);
    (0..WINDOWS).map(move |i| {
        let start = last / (WINDOWS - 1) * i;
        let start = text.ceil_char_boundary(if i + 1 == WINDOWS { last } else { start });
        &text[start..text.ceil_char_boundary(start + WIDTH)]
    })
}

#[cfg(test)]
mod tests {
    use super::vocabulary::Vocabulary;
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
        let exact = tiktoken_rs::o200k_base_singleton().count_ordinary(&long) as u32;
        let estimated = counter.count(&long).0;
        assert!(
            estimated.abs_diff(exact) * 100 < exact,
            "{estimated} against {exact}"
        );
    }

    #[test]
    fn families_with_a_vocabulary_are_counted_and_the_others_follow() {
        let counter = TokenCounter::new().measuring(Families::ALL);
        let text = "Wir müssen über die Brücke gehen, bevor es dunkel wird.";
        let Measure {
            o200k,
            class,
            ratios,
        } = counter.measure(text);
        assert_eq!(class, TextClass::LatinAccented);
        let llama = tiktoken::get_encoding("llama3").unwrap().count(text) as u32;
        assert_eq!(ratios.count(o200k, Family::Llama3), Tokens(llama));
        assert_eq!(ratios.count(o200k, Family::O200k), o200k);
        // More than other accented texts: it is German.
        let usual = Ratios::of_class(class).count(o200k, Family::Claude47);
        assert!(ratios.count(o200k, Family::Claude47) > usual);
    }

    #[test]
    fn both_crates_count_alike() {
        // The one is checked by the other where both have a vocabulary.
        let ours = tiktoken_rs::cl100k_base_singleton();
        let theirs = Vocabulary::of(Family::Cl100k).unwrap();
        for text in [
            "",
            "hello world",
            "今日は良い天気ですね",
            "x = {1: 'a'}\n\n  # ok",
        ] {
            assert_eq!(ours.count_ordinary(text), theirs.count(text), "{text}");
        }
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
