//! What is read from a prompt: counters of its structure, and `Facts`.
//!
//! Owns: the append-only list of features with stable ids, the one pass over the text
//! that fills them, and `Facts`, which is what a decision knows and what is recorded.
//! **No prompt text survives in `Facts`.** Knows no models and no prices.
//!
//! The counters follow the structure features of the published router experiments
//! (lengths, casing, digits, scripts, patterns of code, mathematics, choice lists and
//! instructions); each pattern is a set of words or marks, never a benchmark's format.

mod kinds;
mod reading;

use crate::account::Account;
use crate::catalogue::Upstream;
use crate::dialect::{Dialect, Fidelity, Reach};
use crate::encoder::{Encoder, EncoderId, Encoding};
use crate::id::{KeyId, ProviderId, RouteId, SliceId};
use crate::prompt::{Class, Form, PromptView, Role};
use crate::start::Start;
use crate::tokens::{Family, Ratios, TextClass, TokenCounter};
use crate::unit::{Bps, Tokens};
use kinds::KINDS;
use reading::Reading;

/// Of a long text only the first and last bytes are read for features; measured: no
/// loss of routing quality against reading all of it.
const HEAD_BYTES_MAX: usize = 1_500;
const TAIL_BYTES_MAX: usize = 500;
/// Of the system prompt.
const SYSTEM_BYTES_MAX: usize = 300;
/// Of the declared tools.
const TOOL_BYTES_MAX: usize = 16 * 1024;

/// Chat frame per message and reply primer, in tokens, as OpenAI documents them.
const MESSAGE_FRAME: u32 = 3;
const REPLY_PRIMER: u32 = 3;

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

/// Features after them; append here.
const LATER: [&str; 4] = [
    "distinct_word_share",
    "log_tool_types",
    "log_tool_required",
    "log_tool_clauses",
];

/// How many features there are. Tables name the count they were trained on; features
/// are only ever appended, so an old table reads a prefix.
pub const FEATURES: usize = PLAIN.len() + 2 * (KINDS.len() + MARKS.len()) + LATER.len();

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
    let first_later = PLAIN.len() + 2 * kinds;
    match index {
        i if i < PLAIN.len() => PLAIN[i].to_owned(),
        i if i < PLAIN.len() + kinds => format!("count_{}", pair(i - PLAIN.len())),
        i if i < first_later => format!("has_{}", pair(i - PLAIN.len() - kinds)),
        i if i < FEATURES => LATER[i - first_later].to_owned(),
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
    /// How truly each dialect can say the request.
    pub reach: Reach,
}

/// Values by feature id. What was recorded before a feature was added knows fewer.
#[derive(Clone, Copy, PartialEq)]
pub struct Features {
    values: [f32; FEATURES],
    known: usize,
}

impl Features {
    /// The first [`FEATURES`] of the values.
    #[must_use]
    pub fn of(values: &[f32]) -> Self {
        let mut features = Self {
            values: [0.0; FEATURES],
            known: values.len().min(FEATURES),
        };
        for (to, from) in features.values.iter_mut().zip(values) {
            *to = *from;
        }
        features
    }
}

impl Default for Features {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl std::ops::Deref for Features {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.known]
    }
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self[..].fmt(f)
    }
}

/// What a decision knows of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    pub route: Option<RouteId>,
    /// What the caller speaks.
    pub dialect: Dialect,
    pub key: Option<KeyId>,
    pub slice: Option<SliceId>,
    pub tags: Vec<(String, String)>,
    /// Providers that the caller brought keys for; where there are any, no others serve.
    pub own_keys: Vec<ProviderId>,
    /// The account that keeps what the conversation builds on; no other knows it.
    pub kept_by: Option<Account>,
    pub class: Class,
    pub stream: bool,
    pub start: Start,
    pub min_quality: Option<Bps>,
    pub requirements: Requirements,
    pub turns: u16,
    pub images: u16,
    pub tool_count: u16,
    /// All input: messages, their frames, tools. In o200k.
    pub o200k: Tokens,
    pub text_class: TextClass,
    /// How other families count it.
    pub ratios: Ratios,
    pub features: Features,
    pub encoder: EncoderId,
    pub encoding: Encoding,
}

impl Facts {
    /// Reads a request once; afterwards its text is not needed for any decision.
    #[must_use]
    pub fn of(view: &PromptView<'_>, counter: &TokenCounter) -> Self {
        let asked = view.last_user();
        let measure = counter.measure(view.last_user_text());
        let mut tokens = Tokens(REPLY_PRIMER);
        for (i, turn) in view.turns.iter().enumerate() {
            let count = if asked == Some(i) {
                measure.o200k
            } else {
                counter.count(turn.text)
            };
            tokens = tokens.saturating_add(count);
            tokens = tokens.saturating_add(Tokens(MESSAGE_FRAME));
        }
        // Frames are counted alike everywhere, nearly; what they frame is not.
        let frames = REPLY_PRIMER + MESSAGE_FRAME * view.turns.len() as u32;
        tokens = tokens.saturating_add(counter.count(view.tools));
        let text_tokens = Tokens(tokens.0.saturating_sub(frames));
        let (features, encoding) = read(view, tokens);
        let (o200k, text_class) = (measure.o200k, measure.class);
        let ratios = measure.ratios.of_part(o200k, text_tokens, text_class);
        Self {
            route: Some(RouteId::new(view.route)),
            key: (!view.key.is_empty()).then(|| KeyId::new(view.key)),
            slice: view.slice.map(SliceId::new),
            dialect: view.dialect,
            tags: view
                .tags
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            own_keys: view.own_keys.to_vec(),
            kept_by: view.kept_by,
            class: view.class,
            stream: view.stream,
            start: view.start,
            min_quality: view.min_quality.map(Bps::new),
            requirements: Requirements {
                tools: view.tool_count > 0,
                form: view.form,
                vision: view.images > 0,
                max_output: view.max_output,
                reach: view.reach,
            },
            turns: u16::try_from(view.turns.len()).unwrap_or(u16::MAX),
            images: view.images,
            tool_count: view.tool_count,
            o200k: tokens,
            text_class,
            ratios,
            features,
            encoder: EncoderId::MiniLm64,
            encoding,
        }
    }

    /// The dialect that an upstream is spoken to in, and how true the request stays.
    #[must_use]
    pub fn spoken_to(&self, upstream: &Upstream) -> Option<(Dialect, Fidelity)> {
        upstream.spoken(self.dialect, self.requirements.reach)
    }

    /// Estimated input in a family's own tokens.
    #[must_use]
    pub fn input(&self, family: Family) -> Tokens {
        self.ratios.count(self.o200k, family)
    }
}

/// What heads look at: the structure of a request and the direction of its text. The
/// time is bounded, however long the text is, and no memory is asked for.
#[must_use]
pub fn read(view: &PromptView<'_>, tokens: Tokens) -> (Features, Encoding) {
    let text = view.last_user_text();
    let (head, tail) = ends(text);
    let mut turns = view.turns.iter();
    let system = turns.find(|turn| turn.role == Role::System);
    let system = system.map_or("", |turn| turn.text);
    let mut reading = Reading::default();
    reading.read(head);
    reading.read(tail);
    let mut encoder = Encoder::default();
    for part in [head, tail, system_head(system)] {
        encoder.read(part);
    }
    let features = reading.features(view, text, system, tokens);
    (features, encoder.finish())
}

fn system_head(system: &str) -> &str {
    &system[..system.floor_char_boundary(SYSTEM_BYTES_MAX)]
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
        assert_eq!(name(68), "distinct_word_share");
        assert_eq!(name(71), "log_tool_clauses");
        assert_eq!(FEATURES, 72);
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
