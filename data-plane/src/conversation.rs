//! A request free of any dialect: who said what, with which tools, in which form.
//!
//! Owns: the words that all dialects share, and what is lost between two of them. Every
//! dialect reads its own requests into a [`Conversation`] and writes foreign ones out of
//! it. Reading never fails: what a dialect's reader does not know is kept as a [`Loss`],
//! so that the request can still go, byte for byte, to a lane of its own dialect.

mod loss;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use spillway_routing::account::Account;
use spillway_routing::dialect::Calls;
use spillway_routing::prompt::{self, Role};

pub(crate) use self::loss::{Loss, Losses, Setting};

/// A request as any dialect could say it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Conversation {
    pub(crate) turns: Vec<Turn>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) tool_choice: ToolChoice,
    /// At most one call in an answer.
    pub(crate) one_call: bool,
    pub(crate) form: Form,
    pub(crate) max_output: Option<u64>,
    pub(crate) stop: Vec<String>,
    pub(crate) thinking: Thinking,
    /// Values of settings, as every dialect that has them spells them.
    pub(crate) settings: Vec<(Setting, Value)>,
    /// What only the caller's own dialect can say.
    pub(crate) own: Losses,
    /// The account that keeps what it builds on.
    pub(crate) kept_by: Option<Account>,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn {
    pub(crate) role: Role,
    pub(crate) parts: Vec<Part>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Image(Source),
    File {
        source: Source,
        name: Option<String>,
    },
    Audio(Source),
    Reasoning(String),
    Refusal(String),
    Call(ToolCall),
    Result(ToolResult),
}

/// Where a part's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Data { media: String, base64: String },
    Url(String),
}

impl Source {
    pub(crate) fn data(media: &str, base64: &str) -> Self {
        // What many call it; some providers know only the registered name.
        let media = if media.eq_ignore_ascii_case("image/jpg") {
            "image/jpeg"
        } else {
            media
        };
        Self::Data {
            media: media.to_owned(),
            base64: base64.to_owned(),
        }
    }

    /// From a URL that may hold the data itself.
    pub(crate) fn of_url(url: &str) -> Self {
        let data = url.strip_prefix("data:").and_then(|rest| {
            let (media, base64) = rest.split_once(";base64,")?;
            Some(Self::data(media, base64))
        });
        data.unwrap_or_else(|| Self::Url(url.to_owned()))
    }

    pub(crate) fn to_url(&self) -> String {
        match self {
            Self::Data { media, base64 } => format!("data:{media};base64,{base64}"),
            Self::Url(url) => url.clone(),
        }
    }
}

/// A tool that the model wants called; its arguments as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolCall {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
}

impl ToolCall {
    /// The arguments as an object; what is none becomes an empty one.
    pub(crate) fn object(&self) -> Value {
        let value = serde_json::from_str::<Value>(&self.arguments).ok();
        value
            .filter(Value::is_object)
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    }
}

/// What a tool gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToolResult {
    pub(crate) id: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) failed: bool,
}

impl ToolResult {
    pub(crate) fn text(&self) -> String {
        texts(&self.parts)
    }
}

/// The texts of some parts, a line each.
pub(crate) fn texts(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|part| match part {
        Part::Text(text) | Part::Refusal(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// A function that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// A JSON schema.
    pub(crate) parameters: Option<Value>,
    pub(crate) strict: Option<bool>,
}

/// Which tools an answer may or must call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    #[default]
    Auto,
    None,
    Required,
    Named(String),
}

/// The form of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Form {
    #[default]
    Text,
    JsonObject,
    JsonSchema {
        name: Option<String>,
        schema: Value,
        strict: Option<bool>,
    },
}

impl Form {
    pub(crate) fn kind(&self) -> prompt::Form {
        match self {
            Self::Text => prompt::Form::Text,
            Self::JsonObject => prompt::Form::JsonObject,
            Self::JsonSchema { .. } => prompt::Form::JsonSchema,
        }
    }
}

/// How hard a model is to think before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    const NAMES: [(Self, &'static str); 7] = [
        (Self::None, "none"),
        (Self::Minimal, "minimal"),
        (Self::Low, "low"),
        (Self::Medium, "medium"),
        (Self::High, "high"),
        (Self::XHigh, "xhigh"),
        (Self::Max, "max"),
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let found = Self::NAMES
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name));
        found.map(|(effort, _)| *effort)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(effort, _)| *effort == self)
            .map_or("medium", |(_, name)| name)
    }

    /// Tokens to think with, for dialects that count them (LiteLLM's figures, which
    /// callers who move between gateways are used to).
    pub(crate) fn budget(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Minimal | Self::Low => 1_024,
            Self::Medium => 2_048,
            Self::High => 4_096,
            Self::XHigh => 8_192,
            Self::Max => 16_384,
        }
    }

    /// The effort that a budget of tokens comes nearest to.
    pub(crate) fn of_budget(tokens: u64) -> Self {
        match tokens {
            0 => Self::None,
            1..=1_535 => Self::Low,
            1_536..=3_071 => Self::Medium,
            3_072..=6_143 => Self::High,
            6_144..=12_287 => Self::XHigh,
            _ => Self::Max,
        }
    }
}

/// What the caller wants of the model's reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Thinking {
    /// `None`: as the model usually does.
    pub(crate) effort: Option<Effort>,
    /// The caller wants to read it.
    pub(crate) shown: bool,
}

impl Conversation {
    /// Adds a message. What a tool gave is not what the user said: it is a turn before.
    pub(crate) fn hears(&mut self, role: Role, parts: Vec<Part>) {
        let is_result = |part: &Part| matches!(part, Part::Result(_));
        let (results, parts): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(is_result);
        let only_results = parts.is_empty() && !results.is_empty();
        if !results.is_empty() {
            self.turns.push(Turn {
                role: Role::Tool,
                parts: results,
            });
        }
        if !only_results {
            self.turns.push(Turn { role, parts });
        }
    }

    /// All instructions, wherever they stand.
    pub(crate) fn system(&self) -> Vec<&str> {
        let system = self.turns.iter().filter(|turn| turn.role == Role::System);
        let parts = system.flat_map(|turn| &turn.parts);
        let texts = parts.filter_map(|part| match part {
            Part::Text(text) if !text.is_empty() => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// Turns of the two speakers, neighbours of one role merged: dialects with two roles
    /// want them to alternate, and tool results stand in the user's turn there.
    pub(crate) fn exchanges(&self) -> Vec<(Role, Vec<&Part>)> {
        let mut merged: Vec<(Role, Vec<&Part>)> = Vec::new();
        for turn in &self.turns {
            let role = match turn.role {
                Role::System => continue,
                Role::Assistant => Role::Assistant,
                Role::User | Role::Tool => Role::User,
            };
            match merged.last_mut() {
                Some((last, parts)) if *last == role => parts.extend(&turn.parts),
                _ => merged.push((role, turn.parts.iter().collect())),
            }
        }
        merged
    }

    /// How functions may be called.
    pub(crate) fn calls(&self) -> Calls {
        match self.thinking.effort {
            _ if self.tools.is_empty() => Calls::Never,
            Some(Effort::None) => Calls::AtOnce,
            None => Calls::AsUsual,
            Some(_) => Calls::Reasoned,
        }
    }

    /// Names of the tools that calls' ids belong to.
    pub(crate) fn called(&self) -> BTreeMap<&str, &str> {
        let parts = self.turns.iter().flat_map(|turn| &turn.parts);
        let calls = parts.filter_map(|part| match part {
            Part::Call(call) => Some((call.id.as_str(), call.name.as_str())),
            _ => None,
        });
        calls.collect()
    }

    pub(crate) fn setting(&self, wanted: Setting) -> Option<&Value> {
        let mut found = self.settings.iter();
        found
            .find(|(setting, _)| *setting == wanted)
            .map(|(_, value)| value)
    }

    /// All parts, those of tools' results among them.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        let parts = self.turns.iter().flat_map(|turn| &turn.parts);
        parts.flat_map(|part| match part {
            Part::Result(result) => result.parts.as_slice(),
            part => std::slice::from_ref(part),
        })
    }

    pub(crate) fn images(&self) -> u16 {
        let images = self.parts().filter(|part| matches!(part, Part::Image(_)));
        u16::try_from(images.count()).unwrap_or(u16::MAX)
    }

    /// Whether all that a model is to read stands here as text.
    pub(crate) fn is_text_only(&self) -> bool {
        let media =
            |part: &Part| matches!(part, Part::Image(_) | Part::File { .. } | Part::Audio(_));
        !self.own.has_effects() && self.kept_by.is_none() && !self.parts().any(media)
    }

    /// What every other dialect but the caller's own would lose, before it is asked what
    /// else it lacks.
    pub(crate) fn losses_without(&self, has: impl Fn(Setting) -> bool) -> Losses {
        let mut losses = self.own.clone();
        for (setting, _) in &self.settings {
            // Log probabilities are asked for elsewhere too, but no translated answer has them.
            let unheard = matches!(setting, Setting::Logprobs | Setting::TopLogprobs);
            losses.add_if(unheard || !has(*setting), Loss::Setting(*setting));
        }
        let spoken = |turn: &&Turn| matches!(turn.role, Role::Assistant | Role::System);
        let media =
            |part: &Part| matches!(part, Part::Image(_) | Part::File { .. } | Part::Audio(_));
        let mut earlier = self.turns.iter().filter(spoken);
        losses.add_if(
            earlier.any(|turn| turn.parts.iter().any(media)),
            Loss::AnswerMedia,
        );
        losses
    }

    /// Whether any turn after the conversation has begun instructs again: dialects with
    /// one place for instructions have to move it there.
    pub(crate) fn instructs_later(&self) -> bool {
        let mut begun = false;
        self.turns.iter().any(|turn| {
            let later = begun && turn.role == Role::System;
            begun |= turn.role != Role::System;
            later
        })
    }

    /// Whether the answer that is under way, with all its calls since the user spoke, begins
    /// with a thought.
    pub(crate) fn answers_from_a_thought(&self) -> bool {
        // Words beside what tools gave begin nothing new.
        let gives = |parts: &[&Part]| parts.iter().any(|part| matches!(part, Part::Result(_)));
        let exchanges = self.exchanges();
        let exchanges = exchanges.iter().rev();
        let under_way = exchanges.take_while(|(role, parts)| *role != Role::User || gives(parts));
        let answers = under_way.filter(|(role, _)| *role == Role::Assistant);
        let thinks = |parts: &[&Part]| matches!(parts.first(), Some(Part::Reasoning(_)));
        answers.last().is_some_and(|(_, parts)| thinks(parts))
    }

    /// Whether the caller wrote the beginning of the answer. Some providers continue it,
    /// others answer anew.
    pub(crate) fn ends_with_answer(&self) -> bool {
        let mut turns = self.turns.iter().rev();
        let last = turns.find(|turn| turn.role != Role::System);
        last.is_some_and(|turn| turn.role == Role::Assistant && !turn.text().is_empty())
    }
}

impl Turn {
    /// What routing reads of it.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        if let [Part::Text(text)] = self.parts.as_slice() {
            return Cow::Borrowed(text);
        }
        let mut shown = String::new();
        for part in &self.parts {
            let text = match part {
                Part::Text(text) | Part::Refusal(text) => text,
                Part::Result(result) => &result.text(),
                Part::Call(call) => &format!("{}({})", call.name, call.arguments),
                Part::Image(_) | Part::File { .. } | Part::Audio(_) | Part::Reasoning(_) => {
                    continue;
                }
            };
            if !shown.is_empty() {
                shown.push('\n');
            }
            shown.push_str(text);
        }
        Cow::Owned(shown)
    }
}
