//! What a request asks for, as far as a provider cares, whatever wire it came over.
//!
//! Owns: the neutral form of a request and what follows from its conversation. It must
//! not know any wire's JSON, nor who answers.

use crate::script::RetryAfter;

/// Tokens that the frame of each message takes (role and separators).
pub(crate) const TOKENS_PER_MESSAGE: u64 = 3;
/// Bytes of text that make one token.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Ask {
    pub(crate) model: String,
    pub(crate) work: Work,
    pub(crate) streaming: bool,
    /// All system texts, in order.
    pub(crate) system: String,
    /// Text of the first user message.
    pub(crate) first_prompt: String,
    /// Text of the last user message.
    pub(crate) prompt: String,
    /// The tool results that the conversation ends with, if it ends with some.
    pub(crate) results: Vec<String>,
    /// Images in the whole conversation.
    pub(crate) images: usize,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens_max: Option<u64>,
    /// The answer ends before any of these.
    pub(crate) stops: Vec<String>,
    /// The tools that may be called: none where the request forbids calls, one where it
    /// names one.
    pub(crate) tools: Vec<Tool>,
    /// The request demands a call.
    pub(crate) tool_required: bool,
    /// The request forbids several calls in one answer.
    pub(crate) one_call: bool,
    pub(crate) format: Format,
    /// Reasoning is switched on (whether it is shown is the wire's affair).
    pub(crate) reasoning: bool,
    pub(crate) tier: ServiceTier,
    /// The whole conversation.
    pub(crate) turns: Vec<Turn>,
    /// The prompt may be cached, where the provider does that.
    pub(crate) cacheable: bool,
    /// Prompts with another one share nothing.
    pub(crate) cache_key: String,
}

/// The sort of work a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Work {
    /// A conversation to go on with.
    #[default]
    Talk,
    /// Something with no text for an answer, that is billed so many output tokens.
    Silent { output_tokens: u64 },
    /// A question about tokens, which is free.
    Count,
}

/// A tool, with arguments that satisfy its schema's required part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

/// What a text answer has to look like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    /// Some JSON object.
    Object,
    /// A value of a schema: this one, the smallest.
    Example(String),
}

/// How urgently a provider treats a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ServiceTier {
    /// The usual way.
    #[default]
    Standard,
    /// Cheaper, when there is room.
    Flex,
    /// Dearer and first.
    Priority,
}

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// One message (or one tool result) of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) role: Role,
    pub(crate) text: String,
    pub(crate) images: usize,
}

impl Turn {
    pub(crate) fn new(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            text: text.into(),
            images: 0,
        }
    }
}

impl Ask {
    /// Takes in all that follows from the conversation.
    pub(crate) fn hear(&mut self, turns: Vec<Turn>) {
        let of = |role| turns.iter().filter(move |turn| turn.role == role);
        let text = |turn: Option<&Turn>| turn.map(|turn| turn.text.clone()).unwrap_or_default();
        let systems: Vec<&str> = of(Role::System).map(|turn| turn.text.as_str()).collect();
        self.system = systems.join("\n");
        self.first_prompt = text(of(Role::User).next());
        self.prompt = text(of(Role::User).next_back());
        self.images = turns.iter().map(|turn| turn.images).sum();
        self.input_tokens = count_input_tokens(turns.iter().map(|turn| turn.text.as_str()));
        let results = turns
            .iter()
            .rev()
            .take_while(|turn| turn.role == Role::Tool);
        self.results = results.map(|turn| turn.text.clone()).collect();
        self.results.reverse();
        self.turns = turns;
    }

    /// Takes in what the request says of calls; `false` if it names a tool it does not have.
    pub(crate) fn choose(&mut self, choice: &Choice) -> bool {
        let names = match choice {
            Choice::Auto => return true,
            Choice::None => {
                self.tools.clear();
                return true;
            }
            Choice::Required => {
                self.tool_required = true;
                return !self.tools.is_empty();
            }
            Choice::Among { required, names } => {
                self.tool_required = *required;
                names
            }
        };
        let known = |name: &String| self.tools.iter().any(|tool| tool.name == *name);
        if !names.iter().all(known) {
            return false;
        }
        self.tools.retain(|tool| names.contains(&tool.name));
        true
    }
}

/// What a request says of tool calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    Auto,
    None,
    Required,
    /// One of these only.
    Among {
        required: bool,
        names: Vec<String>,
    },
}

impl Choice {
    pub(crate) fn named(name: &str) -> Self {
        Self::Among {
            required: true,
            names: vec![name.to_owned()],
        }
    }
}

/// Input tokens of a conversation in the simulator's tokenizer: a quarter of the bytes of
/// all message texts, rounded up, and three per message.
pub fn count_input_tokens<'a>(messages: impl IntoIterator<Item = &'a str>) -> u64 {
    let (mut bytes, mut frames) = (0_u64, 0);
    for text in messages {
        bytes += text.len() as u64;
        frames += TOKENS_PER_MESSAGE;
    }
    bytes.div_ceil(BYTES_PER_TOKEN) + frames
}

/// Tokens of a text that is no message.
pub(crate) fn count_text_tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(BYTES_PER_TOKEN)
}

/// A request that is refused before anyone answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// The field that is to blame, where the wire says so.
    pub(crate) param: Option<String>,
    /// A more precise code than the status has, where the wire has one.
    pub(crate) code: Option<&'static str>,
    pub(crate) retry_after: Option<RetryAfter>,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
            code: None,
            retry_after: None,
        }
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    pub(crate) fn about(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn coded(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }
}
