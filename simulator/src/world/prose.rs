//! The words of answers: plausible, seeded, exactly as many tokens as asked for.
//!
//! Owns: synthetic text. It must not know prompts, models or quality: a good and a bad
//! answer read alike, since quality is told by score and never by text.

use super::Kind;
use crate::dice::Dice;

const PROSE: [&str; 40] = [
    "the", "result", "follows", "from", "a", "simple", "step", "and", "then", "we", "see", "that",
    "each", "part", "fits", "with", "care", "so", "it", "holds", "in", "this", "case", "as",
    "shown", "above", "because", "both", "sides", "agree", "which", "gives", "an", "answer",
    "worth", "noting", "for", "later", "use", "here",
];
const CODE: [&str; 24] = [
    "fn",
    "let",
    "items",
    "=",
    "match",
    "result",
    "{",
    "Some(value)",
    "=>",
    "value,",
    "None",
    "return",
    "}",
    "for",
    "entry",
    "in",
    "index",
    "if",
    "found",
    "push(entry)",
    "else",
    "continue",
    "()",
    ";",
];
const EXTRACTION: [&str; 12] = [
    "\"name\":",
    "\"total\":",
    "\"city\":",
    "\"ref\":",
    "\"A-17\",",
    "42,",
    "null,",
    "\"Oslo\",",
    "\"status\":",
    "\"path\":",
    "\"/items\",",
    "404,",
];

/// `tokens` words, each one token of the simulator's tokenizer.
pub(crate) fn write(kind: Kind, tokens: u64, dice: &mut Dice) -> Vec<&'static str> {
    let words: &[&'static str] = match kind {
        Kind::Code => &CODE,
        Kind::Extraction => &EXTRACTION,
        Kind::Arithmetic | Kind::Translation | Kind::Trivia | Kind::Writing => &PROSE,
    };
    (0..tokens)
        .map(|_| dice.pick(words).copied().unwrap_or("so"))
        .collect()
}
