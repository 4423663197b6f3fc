//! Tokens of other families, from the o200k count of a text.
//!
//! Owns: the ratios of every family for one text: measured on the text itself where this
//! build has the family's vocabulary, else by a line in what the text looks like and how
//! the vocabularies at hand count it; for texts that nobody can look at any more, the
//! usual ratio of their class. The constants come from 434 texts counted with each
//! family's own tokenizer (Claude's are unofficial reconstructions);
//! `scripts/fit-token-ratios.py` fits the lines on half of them, `make measure-tokens`
//! judges on the other half.

use super::class::{Census, TextClass};
use super::tally::Counts;
use super::{Families, Family};
use crate::float;
use crate::unit::Tokens;

const CLASSES: usize = TextClass::ALL.len();

/// Families whose vocabularies the lines need.
const INPUTS: [Family; 3] = [Family::Cl100k, Family::DeepseekV3, Family::Qwen3];

/// ln(tokens / o200k tokens), by class in the order of [`TextClass::ALL`] and by these:
/// ln(characters / o200k tokens), the shares of upper-case and of umlauted letters, and
/// ln(tokens / o200k tokens) of each of [`INPUTS`].
struct Line {
    intercepts: [f64; CLASSES],
    slopes: [f64; 3 + INPUTS.len()],
}

/// How the tokens of each family compare with o200k's, for one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratios {
    permille: [u16; Family::ALL.len()],
}

impl Default for Ratios {
    fn default() -> Self {
        Self::of_class(TextClass::default())
    }
}

impl Ratios {
    /// Those of a class of texts.
    #[must_use]
    pub fn of_class(class: TextClass) -> Self {
        Self {
            permille: Family::ALL.map(|family| usual(family)[class as usize]),
        }
    }

    /// For recording: per thousand, in the order of [`Family::ALL`].
    #[must_use]
    pub fn permille(&self) -> [u16; Family::ALL.len()] {
        self.permille
    }

    /// From what was recorded; families that came later are as usual for the class.
    #[must_use]
    pub fn recorded(permille: &[u16], class: TextClass) -> Self {
        let mut ratios = Self::of_class(class);
        for (ratio, recorded) in ratios.permille.iter_mut().zip(permille) {
            *ratio = *recorded;
        }
        ratios
    }

    /// For a whole of which only a part was measured, in o200k tokens: the rest is taken to
    /// be as usual for the class.
    #[must_use]
    pub(crate) fn of_part(self, part: Tokens, whole: Tokens, class: TextClass) -> Self {
        let (part, whole) = (u64::from(part.0), u64::from(whole.0.max(part.0).max(1)));
        let mut mixed = Self::of_class(class);
        for (usual, measured) in mixed.permille.iter_mut().zip(self.permille) {
            let sum = u64::from(measured) * part + u64::from(*usual) * (whole - part);
            *usual = u16::try_from(sum / whole).unwrap_or(u16::MAX);
        }
        mixed
    }

    /// The family's count for a text, or a part of one, that has so many `o200k` tokens.
    #[must_use]
    pub fn count(&self, o200k: Tokens, family: Family) -> Tokens {
        let scaled = u64::from(o200k.0) * u64::from(self.permille[family as usize]);
        Tokens(u32::try_from((scaled + 500) / 1_000).unwrap_or(u32::MAX))
    }

    /// Those of `families` as a sample of a text shows them.
    pub(super) fn measured(families: Families, census: &Census, sample: &Counts) -> Self {
        let class = census.class();
        let mut ratios = Self::of_class(class);
        let [o200k, ..] = sample.tokens;
        if o200k == 0 {
            return ratios;
        }
        let of = |count: u32| f64::from(count.max(1)) / f64::from(o200k);
        let counted = |family: Family| {
            let count = sample.tokens[family as usize];
            (count > 0).then(|| of(count))
        };
        for family in families.iter() {
            if let Some(ratio) = counted(family) {
                ratios.set(family, ratio);
            }
        }
        let mut guessed = guessed(families).peekable();
        if guessed.peek().is_none() {
            return ratios;
        }
        let [cl100k, deepseek, qwen] = INPUTS.map(|family| counted(family).map_or(0.0, float::ln));
        let inputs = [
            float::ln(of(sample.chars)),
            census.upper(),
            census.umlauts(),
            cl100k,
            deepseek,
            qwen,
        ];
        for (family, line) in guessed {
            let terms = line.slopes.iter().zip(inputs);
            let slopes: f64 = terms.map(|(slope, input)| slope * input).sum();
            let ratio = float::exp(line.intercepts[class as usize] + slopes);
            ratios.set(family, ratio);
        }
        ratios
    }

    fn set(&mut self, family: Family, ratio: f64) {
        let permille = (ratio * 1_000.0).round().clamp(1.0, f64::from(u16::MAX));
        self.permille[family as usize] = permille as u16;
    }
}

/// The families to count on a sample, for these ratios to be measured.
pub(super) fn to_count(families: Families) -> Families {
    let inputs = INPUTS.into_iter();
    let inputs = inputs.filter(|_| guessed(families).next().is_some());
    let measured = families.iter().filter(|family| *family != Family::O200k);
    measured.chain(inputs).collect()
}

fn guessed(families: Families) -> impl Iterator<Item = (Family, &'static Line)> {
    families
        .iter()
        .filter_map(|family| Some((family, line(family)?)))
}

/// Families without a vocabulary in this build.
fn line(family: Family) -> Option<&'static Line> {
    match family {
        Family::Claude3 => Some(&CLAUDE_3),
        Family::Claude47 => Some(&CLAUDE_4_7),
        Family::O200k
        | Family::Cl100k
        | Family::Llama3
        | Family::DeepseekV3
        | Family::Qwen3
        | Family::Qwen35
        | Family::MistralTekken
        | Family::MistralSpm
        | Family::Gemma3 => None,
    }
}

const CLAUDE_3: Line = Line {
    intercepts: [
        0.1273, 0.2006, 0.2313, 0.1494, 0.1905, 0.2238, 0.1741, 0.3056, 0.0835, 0.2900, 0.1694,
    ],
    slopes: [-0.0344, 0.0895, 5.0226, 0.6273, 0.6365, -0.3207],
};

const CLAUDE_4_7: Line = Line {
    intercepts: [
        0.0736, 0.1365, 0.1244, 0.1256, 0.0932, -0.1311, 0.1545, 0.1783, -0.0223, 0.1285, -0.0993,
    ],
    slopes: [0.1860, 0.7717, 8.6504, 0.6652, 0.4838, -0.2082],
};

/// Tokens for a thousand of o200k, by class in the order of [`TextClass::ALL`].
fn usual(family: Family) -> [u16; CLASSES] {
    match family {
        Family::O200k => [1000; 11],
        Family::Cl100k => [
            1012, 1002, 1002, 1002, 1002, 1058, 1128, 1258, 1317, 1408, 1493,
        ],
        Family::Llama3 => [
            1011, 1002, 1002, 1001, 1002, 1055, 1126, 1026, 946, 1040, 1131,
        ],
        Family::DeepseekV3 => [
            1035, 1044, 1091, 1078, 1028, 1016, 1120, 887, 901, 1099, 1118,
        ],
        Family::Qwen3 => [
            1022, 1056, 1111, 1050, 1370, 1083, 1121, 943, 900, 1088, 1184,
        ],
        Family::Qwen35 => [
            1046, 1111, 1171, 1058, 1372, 1075, 1056, 906, 780, 955, 1030,
        ],
        Family::MistralTekken => [
            1029, 1086, 1174, 1098, 1385, 1268, 1053, 1198, 1010, 984, 1141,
        ],
        Family::MistralSpm => [
            1192, 1273, 1386, 1231, 1427, 1184, 1390, 1441, 1483, 1790, 1573,
        ],
        Family::Gemma3 => [
            1067, 1151, 1313, 1160, 1395, 995, 1049, 932, 764, 1002, 1004,
        ],
        Family::Claude3 => [
            1138, 1193, 1234, 1174, 1094, 1338, 1319, 1453, 1226, 1744, 1500,
        ],
        Family::Claude47 => [
            1526, 1516, 1488, 1495, 1194, 1721, 1850, 1565, 1296, 1818, 1587,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_claude_family_counts_half_as_much_again_in_english() {
        let ratios = Ratios::of_class(TextClass::Prose);
        assert_eq!(ratios.count(Tokens(1_000), Family::Claude47), Tokens(1_526));
    }

    #[test]
    fn a_short_last_word_says_little_of_a_long_conversation() {
        let odd = Ratios::recorded(&[1_000; 11].map(|r: u16| r * 2), TextClass::Prose);
        let usual = Ratios::of_class(TextClass::Prose);
        let mixed = odd.of_part(Tokens(1), Tokens(10_000), TextClass::Prose);
        let count = |ratios: Ratios| ratios.count(Tokens(10_000), Family::Llama3).0;
        assert!(count(mixed).abs_diff(count(usual)) < 20);
        assert_eq!(odd.of_part(Tokens(5), Tokens(5), TextClass::Prose), odd);
    }

    #[test]
    fn what_was_recorded_before_a_family_came_is_completed() {
        let ratios = Ratios::recorded(&[1_000, 2_000], TextClass::Prose);
        assert_eq!(ratios.count(Tokens(10), Family::Cl100k), Tokens(20));
        assert_eq!(ratios.count(Tokens(1_000), Family::Claude47), Tokens(1_526));
        let again = Ratios::recorded(&ratios.permille(), TextClass::Korean);
        assert_eq!(again, ratios);
    }
}
