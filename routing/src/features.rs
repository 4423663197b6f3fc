//! What is read from a prompt: counters of its structure, and `Facts`.
//!
//! Owns: the append-only list of features with stable ids, the one pass over the text
//! that fills them, and `Facts`, which is what a decision knows and what is recorded.
//! **No prompt text survives in `Facts`.** Knows no models and no prices.
//!
//! The counters follow the structure features of the published router experiments
//! (lengths, casing, digits, scripts, patterns of code, mathematics, choice lists and
//! instructions); each pattern is a set of words or marks, never a benchmark's format.

use crate::encoder::{Encoder, EncoderId, Encoding};
use crate::float;
use crate::id::{KeyId, RouteId, SliceId};
use crate::prompt::{Class, Form, PromptView, Role};
use crate::tokens::{Family, TextClass, TokenCounter};
use crate::unit::{Bps, Millis, Tokens};

/// Of a long text only the first and last bytes are read for features; measured: no
/// loss of routing quality against reading all of it.
const HEAD_BYTES_MAX: usize = 1_500;
const TAIL_BYTES_MAX: usize = 500;
/// Of the system prompt.
const SYSTEM_BYTES_MAX: usize = 300;

/// Chat frame per message and reply primer, in tokens, as OpenAI documents them.
const MESSAGE_FRAME: u32 = 3;
const REPLY_PRIMER: u32 = 3;

/// Words that hint at a kind of work, by kind. Append only: the order is the order of
/// the features `count_*`.
const KINDS: [(&str, &[&str]); 16] = [
    (
        "code",
        &[
            "def", "class", "import", "return", "function", "public", "include", "select", "const",
            "let", "void", "struct",
        ],
    ),
    (
        "language",
        &[
            "python",
            "javascript",
            "java",
            "rust",
            "sql",
            "typescript",
            "bash",
            "html",
            "css",
            "golang",
        ],
    ),
    (
        "proof",
        &[
            "prove",
            "proof",
            "theorem",
            "lemma",
            "suppose",
            "integer",
            "polynomial",
            "function",
            "equation",
            "triangle",
        ],
    ),
    (
        "quantity",
        &[
            "many", "much", "percent", "average", "total", "ratio", "dollars", "cost", "sum",
            "each", "per", "times",
        ],
    ),
    (
        "answer",
        &[
            "answer", "answers", "final", "choose", "correct", "option", "options",
        ],
    ),
    (
        "negation",
        &[
            "not",
            "except",
            "least",
            "never",
            "false",
            "incorrect",
            "without",
        ],
    ),
    (
        "passage",
        &[
            "following",
            "passage",
            "context",
            "article",
            "text",
            "paragraph",
            "document",
            "according",
        ],
    ),
    (
        "explain",
        &["why", "explain", "how", "describe", "compare", "discuss"],
    ),
    ("fact", &["who", "when", "where", "which", "whose", "name"]),
    ("what", &["what"]),
    (
        "write",
        &[
            "write", "compose", "draft", "essay", "story", "poem", "sentence", "email", "create",
        ],
    ),
    (
        "shorten",
        &[
            "summarize",
            "summarise",
            "summary",
            "rewrite",
            "paraphrase",
            "tldr",
            "shorten",
        ],
    ),
    (
        "translate",
        &[
            "translate",
            "translation",
            "english",
            "french",
            "spanish",
            "german",
            "chinese",
        ],
    ),
    (
        "reason",
        &[
            "step",
            "steps",
            "reason",
            "reasoning",
            "think",
            "if",
            "then",
            "therefore",
            "must",
        ],
    ),
    (
        "data",
        &[
            "json", "xml", "yaml", "csv", "schema", "tool", "table", "extract", "list", "fields",
        ],
    ),
    (
        "truth",
        &[
            "true",
            "false",
            "yes",
            "no",
            "statement",
            "statements",
            "both",
            "neither",
        ],
    ),
];

/// Marks in the text, by kind; append only.
const MARKS: [&str; 6] = ["fence", "operator", "choice", "blank", "tag", "role"];

/// Features before the counts of kinds and marks.
const PLAIN: [&str; 24] = [
    "log_bytes",
    "log_words",
    "log_lines",
    "number_share",
    "log_numbers",
    "word_length",
    "upper_share",
    "non_ascii_share",
    "cjk_share",
    "log_questions",
    "mark_share",
    "log_longest_word",
    "long_word_share",
    "log_tools",
    "log_tool_bytes",
    "tool_share",
    "has_tools",
    "log_turns",
    "log_images",
    "json_object",
    "json_schema",
    "log_max_output",
    "log_system_bytes",
    "log_tokens",
];

/// How many features there are. Tables name the count they were trained on; features
/// are only ever appended, so an old table reads a prefix.
pub const FEATURES: usize = PLAIN.len() + 2 * (KINDS.len() + MARKS.len());

/// The name of feature `index`.
#[must_use]
pub fn name(index: usize) -> String {
    let pair = |i: usize| {
        let kind = if i < KINDS.len() {
            KINDS[i].0
        } else {
            MARKS[i - KINDS.len()]
        };
        kind.to_owned()
    };
    let kinds = KINDS.len() + MARKS.len();
    match index {
        i if i < PLAIN.len() => PLAIN[i].to_owned(),
        i if i < PLAIN.len() + kinds => format!("count_{}", pair(i - PLAIN.len())),
        i if i < FEATURES => format!("has_{}", pair(i - PLAIN.len() - kinds)),
        i => format!("unknown_{i}"),
    }
}

/// What a request needs that a lane may lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    pub tools: bool,
    pub form: Form,
    pub vision: bool,
    pub max_output: Option<Tokens>,
}

/// What a decision knows of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub route: Option<RouteId>,
    pub key: Option<KeyId>,
    pub slice: Option<SliceId>,
    pub tags: Vec<(String, String)>,
    pub class: Class,
    pub stream: bool,
    pub start_within: Option<Millis>,
    pub min_quality: Option<Bps>,
    pub requirements: Requirements,
    pub turns: u16,
    pub images: u16,
    pub tool_count: u16,
    /// All input: messages, their frames, tools. In o200k.
    pub o200k: Tokens,
    pub text_class: TextClass,
    /// By feature id, [`FEATURES`] of them.
    pub features: Vec<f32>,
    pub encoder: EncoderId,
    pub encoding: Encoding,
}

impl Facts {
    /// Reads a request once; afterwards its text is not needed for any decision.
    #[must_use]
    pub fn of(view: &PromptView<'_>, counter: &TokenCounter) -> Self {
        let mut tokens = Tokens(REPLY_PRIMER);
        for turn in view.turns {
            tokens = tokens.saturating_add(counter.count(turn.text));
            tokens = tokens.saturating_add(Tokens(MESSAGE_FRAME));
        }
        tokens = tokens.saturating_add(counter.count(view.tools));
        let text = view.last_user_text();
        let mut reading = Reading::default();
        let (head, tail) = ends(text);
        reading.read(head);
        reading.read(tail);
        let system = view
            .turns
            .iter()
            .find(|turn| turn.role == Role::System)
            .map_or("", |t| t.text);
        let features = reading.features(view, text, system, tokens);
        reading.read(&system[..system.floor_char_boundary(SYSTEM_BYTES_MAX)]);
        Self {
            route: Some(RouteId::new(view.route)),
            key: (!view.key.is_empty()).then(|| KeyId::new(view.key)),
            slice: view.slice.map(SliceId::new),
            tags: view
                .tags
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            class: view.class,
            stream: view.stream,
            start_within: view.start_within,
            min_quality: view.min_quality.map(Bps::new),
            requirements: Requirements {
                tools: view.tool_count > 0,
                form: view.form,
                vision: view.images > 0,
                max_output: view.max_output,
            },
            turns: u16::try_from(view.turns.len()).unwrap_or(u16::MAX),
            images: view.images,
            tool_count: view.tool_count,
            o200k: tokens,
            text_class: TextClass::of(text),
            features,
            encoder: EncoderId::Hashed64,
            encoding: reading.encoder.finish(),
        }
    }

    /// Estimated input in a family's own tokens.
    #[must_use]
    pub fn input(&self, family: Family) -> Tokens {
        family.count(self.o200k, self.text_class)
    }
}

/// The first and last bytes of a text that features read; the tail is empty when the
/// head holds everything.
fn ends(text: &str) -> (&str, &str) {
    if text.len() <= HEAD_BYTES_MAX + TAIL_BYTES_MAX {
        return (text, "");
    }
    let head = &text[..text.floor_char_boundary(HEAD_BYTES_MAX)];
    let tail = &text[text.ceil_char_boundary(text.len() - TAIL_BYTES_MAX)..];
    (head, tail)
}

/// Counters filled by one pass over bytes.
#[derive(Default)]
struct Reading {
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
    encoder: Encoder,
}

impl Reading {
    fn read(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.bytes += bytes.len() as u32;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let end = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => run(bytes, at, |b| {
                    b.is_ascii_alphabetic() || b >= 0x80 || b == b'\''
                }),
                b'0'..=b'9' => run(bytes, at, |b| b.is_ascii_digit()),
                _ => at + 1,
            };
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => self.word(&bytes[at..end]),
                b'0'..=b'9' => {
                    self.numbers += 1;
                    self.encoder.add(&bytes[at..end.min(at + 2)]);
                }
                _ => self.mark(bytes, at),
            }
            at = end;
        }
    }

    fn word(&mut self, word: &[u8]) {
        self.words += 1;
        self.word_bytes += word.len() as u32;
        self.longest = self.longest.max(word.len() as u32);
        self.long_words += u32::from(word.len() > 9);
        let mut lower = [0u8; 24];
        let length = word.len().min(lower.len());
        for (to, from) in lower.iter_mut().zip(word) {
            *to = from.to_ascii_lowercase();
            self.upper += u32::from(from.is_ascii_uppercase());
            self.non_ascii += u32::from(*from >= 0x80);
            self.cjk += u32::from((0xe3..=0xe9).contains(from));
        }
        let lower = &lower[..length];
        self.encoder.add(lower);
        if word.len() <= 12 {
            for (count, (_, words)) in self.kinds.iter_mut().zip(KINDS) {
                *count += u32::from(words.iter().any(|kind| kind.as_bytes() == lower));
            }
        }
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

    fn features(
        &self,
        view: &PromptView<'_>,
        text: &str,
        system: &str,
        tokens: Tokens,
    ) -> Vec<f32> {
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
        let mut features = Vec::with_capacity(FEATURES);
        features.extend(plain);
        features.extend(counts().map(|count| (*count).min(5) as f32 / 2.0));
        features.extend(counts().map(|count| f32::from(u8::from(*count > 0))));
        features
    }
}

fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes[from..]
        .iter()
        .position(|byte| !belongs(*byte))
        .map_or(bytes.len(), |length| from + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::Turn;
    use proptest::prelude::*;

    fn facts(text: &str) -> Facts {
        let turns = [Turn {
            role: Role::User,
            text,
        }];
        Facts::of(
            &PromptView {
                route: "auto",
                turns: &turns,
                ..PromptView::default()
            },
            &TokenCounter::new(),
        )
    }

    fn feature(facts: &Facts, wanted: &str) -> f32 {
        let index = (0..FEATURES).find(|i| name(*i) == wanted).unwrap();
        facts.features[index]
    }

    #[test]
    fn names_and_ids_never_change() {
        // Tables and recorded outcomes refer to these ids: append, never reorder.
        assert_eq!(name(0), "log_bytes");
        assert_eq!(name(23), "log_tokens");
        assert_eq!(name(24), "count_code");
        assert_eq!(name(46), "has_code");
        assert_eq!(FEATURES, 68);
    }

    #[test]
    fn kinds_of_work_show_in_their_features() {
        let code = facts("Write a Python function:\n```\ndef f(x):\n    return x * 2\n```");
        assert!(feature(&code, "has_code") > 0.0 && feature(&code, "has_fence") > 0.0);
        let choice = facts("Which is correct?\nA. one\nB. two\n(C) three");
        assert!(feature(&choice, "count_choice") >= 1.5);
    }

    #[test]
    fn the_count_includes_frames_and_tools() {
        let turns = [Turn {
            role: Role::User,
            text: "hello world",
        }];
        let view = PromptView {
            turns: &turns,
            tools: "hello world",
            tool_count: 1,
            ..PromptView::default()
        };
        let facts = Facts::of(&view, &TokenCounter::new());
        assert_eq!(facts.o200k, Tokens(2 + 3 + 3 + 2));
        assert!(facts.requirements.tools);
    }

    proptest! {
        #[test]
        fn any_text_gives_finite_features(text in "\\PC{0,3000}") {
            let facts = facts(&text);
            prop_assert_eq!(facts.features.len(), FEATURES);
            prop_assert!(facts.features.iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn a_megabyte_is_read_at_its_ends_only() {
        let long = "x".repeat(1_000_000);
        let facts = facts(&long);
        assert!(
            feature(&facts, "log_bytes") > 13.0,
            "the true length stays a feature"
        );
    }
}
