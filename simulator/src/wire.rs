//! The wires that every provider speaks, server side, written from their descriptions.
//!
//! Owns: the list of wires, and handing each request and answer to the file of its wire.
//! It must not know faults, timing or who answers, and shares no code with any router's
//! dialect.

mod anthropic;
mod bedrock;
mod family;
mod gemini;
mod gemini_interactions;
mod openai;
mod openai_chat;
mod openai_embeddings;
mod openai_images;
mod openai_responses;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use tokio::time::Instant;

use crate::answer::Answer;
use crate::ask::{Ask, Refusal, ServiceTier};
use crate::dice::Dice;
use crate::shelf::{Kept, Shelf};

pub(crate) use bedrock::Signed;
pub(crate) use family::Family;
pub use openai::error_body;

/// When every answer of the simulator was "created" (Unix seconds): a constant, so
/// that the same seed gives the same bytes.
const CREATED: u64 = 1_760_000_000;

/// What is spoken on an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wire {
    /// `POST /v1/chat/completions`.
    OpenAiChat,
    /// `POST /v1/responses`.
    OpenAiResponses,
    /// `POST /v1/embeddings`.
    OpenAiEmbeddings,
    /// `POST /v1/images/generations`.
    OpenAiImages,
    /// `POST /v1/messages`.
    AnthropicMessages,
    /// `POST /v1/messages/count_tokens`.
    AnthropicCountTokens,
    /// `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent` (below
    /// `/v1` too).
    GeminiGenerate,
    /// `POST /v1beta/models/{model}:countTokens`.
    GeminiCountTokens,
    /// `POST /v1beta/interactions` (below `/v1` too).
    GeminiInteractions,
    /// `POST /model/{model}/converse` and `/converse-stream`.
    BedrockConverse,
}

/// What the URL of a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) wire: Wire,
    /// The model, where the URL names it.
    pub(crate) model: String,
    pub(crate) delivery: Delivery,
}

/// What server-sent events are sent as.
const EVENTS: &str = "text/event-stream; charset=utf-8";

/// How an answer is to come, where the URL says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Whole,
    /// One event after the other, in the way of the wire.
    Events,
    /// One JSON array, element by element.
    Array,
}

/// A request as a wire reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inbound<'a> {
    pub(crate) host: &'a str,
    /// The hash of the key it came with.
    pub(crate) owner: Option<u64>,
    pub(crate) shelf: &'a Shelf,
    pub(crate) call: &'a Call,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    pub(crate) marks: Marks,
}

/// What the ids of one attempt are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    token: u64,
    sequence: u64,
}

impl Marks {
    pub(crate) fn new(seed: u64, host: &str, sequence: u64) -> Self {
        Self {
            token: Dice::numbered(seed, &format!("ids {host}"), sequence).next(),
            sequence,
        }
    }

    /// The id of the whole.
    pub(crate) fn id(self, prefix: &str) -> String {
        format!("{prefix}{:016x}{:08x}", self.token, self.sequence)
    }

    /// The id of its `index`-th part.
    pub(crate) fn part(self, prefix: &str, index: usize) -> String {
        format!(
            "{prefix}{:016x}{:06x}{index:02x}",
            self.token, self.sequence
        )
    }

    /// The id of the whole, in the form of a UUID.
    pub(crate) fn uuid(self) -> String {
        let digits = format!("{:016x}{:016x}", self.token, self.sequence);
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &digits[range]);
        parts.join("-")
    }
}

/// A stream, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stream {
    /// What comes before any content.
    pub(crate) opening: Vec<Bytes>,
    pub(crate) content: Vec<Part>,
    /// What comes after all content.
    pub(crate) ending: Vec<Part>,
}

impl Stream {
    /// Something without content between the content.
    fn frame(&mut self, bytes: Bytes) {
        self.content.push(Part {
            bytes,
            tokens: 0,
            speaks: false,
        });
    }

    /// Content.
    fn speak(&mut self, bytes: Bytes, tokens: u64) {
        self.content.push(Part {
            bytes,
            tokens,
            speaks: true,
        });
    }

    /// A piece of the end; `tokens` are those that nothing was seen of.
    fn end(&mut self, bytes: Bytes, tokens: u64) {
        self.ending.push(Part {
            bytes,
            tokens,
            speaks: false,
        });
    }

    /// Tokens that are billed with the latest part.
    fn bill(&mut self, tokens: u64) {
        if let Some(part) = self.content.last_mut() {
            part.tokens += tokens;
        }
    }

    fn concat(self) -> Bytes {
        let parts = self.content.into_iter().chain(self.ending);
        let all = self.opening.into_iter().chain(parts.map(|p| p.bytes));
        all.collect::<Vec<_>>().concat().into()
    }
}

/// Bytes that leave together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) bytes: Bytes,
    pub(crate) tokens: u64,
    /// It carries content, not only the frame of some.
    pub(crate) speaks: bool,
}

/// Writes the answer to one request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pen {
    Chat(openai_chat::Pen),
    Responses(Box<openai_responses::Pen>),
    Embeddings(openai_embeddings::Pen),
    Images(openai_images::Pen),
    Messages(anthropic::Pen),
    CountTokens,
    Gemini(gemini::Pen),
    GeminiCount,
    Interactions(Box<gemini_interactions::Pen>),
    Converse(bedrock::Pen),
}

impl Pen {
    pub(crate) fn stream(&self, answer: &Answer) -> Stream {
        match self {
            Self::Chat(pen) => pen.stream(answer),
            Self::Responses(pen) => pen.stream(answer),
            Self::Images(pen) => pen.stream(answer),
            Self::Messages(pen) => pen.stream(answer),
            Self::Gemini(pen) => pen.stream(answer),
            Self::Interactions(pen) => pen.stream(answer),
            Self::Converse(pen) => pen.stream(answer),
            Self::Embeddings(_) | Self::CountTokens | Self::GeminiCount => Stream::default(),
        }
    }

    pub(crate) fn whole(&self, answer: &Answer) -> String {
        match self {
            Self::Chat(pen) => pen.whole(answer),
            Self::Responses(pen) => pen.whole(answer),
            Self::Embeddings(pen) => pen.whole(answer),
            Self::Images(pen) => pen.whole(answer),
            Self::Messages(pen) => pen.whole(answer),
            Self::Gemini(pen) => pen.whole(answer),
            Self::Interactions(pen) => pen.whole(answer),
            Self::Converse(pen) => pen.whole(answer),
            Self::CountTokens => anthropic::count(answer.usage.input_tokens),
            Self::GeminiCount => gemini::count(answer.usage.input_tokens),
        }
    }

    /// A stream that is all end, and no content.
    pub(crate) fn empty_stream(&self, answer: &Answer) -> Bytes {
        match self {
            Self::Chat(_) => openai::done(),
            Self::Images(_) | Self::Embeddings(_) => Bytes::new(),
            Self::Responses(_)
            | Self::Messages(_)
            | Self::Gemini(_)
            | Self::Interactions(_)
            | Self::Converse(_) => self.stream(&bare(answer)).concat(),
            Self::CountTokens | Self::GeminiCount => Bytes::new(),
        }
    }

    /// A whole answer without content.
    pub(crate) fn empty_whole(&self, answer: &Answer) -> String {
        match self {
            Self::Chat(pen) => pen.choiceless(answer),
            Self::Embeddings(pen) => pen.empty(answer),
            Self::Images(pen) => pen.empty(answer),
            Self::Responses(_)
            | Self::Messages(_)
            | Self::Gemini(_)
            | Self::Interactions(_)
            | Self::Converse(_) => self.whole(&bare(answer)),
            Self::CountTokens | Self::GeminiCount => "{}".to_owned(),
        }
    }

    /// What tells a client in the middle of a stream that it failed, after `sent` pieces.
    pub(crate) fn error_event(&self, refusal: &Refusal, sent: usize) -> Bytes {
        match self {
            Self::Chat(_) => openai::data(&openai::refusal_body(refusal)),
            Self::Responses(_) => openai_responses::error_event(refusal, sent),
            Self::Images(_) => openai_responses::error_event(refusal, sent),
            Self::Messages(pen) => pen.error_event(refusal),
            Self::Gemini(pen) => pen.error_event(refusal, sent),
            Self::Interactions(_) => gemini_interactions::error_event(refusal),
            Self::Converse(_) => bedrock::error_event(refusal),
            Self::Embeddings(_) | Self::CountTokens | Self::GeminiCount => Bytes::new(),
        }
    }

    /// The content type of a stream.
    pub(crate) fn stream_type(&self) -> &'static str {
        match self {
            Self::Gemini(pen) if pen.delivery == Delivery::Array => "application/json",
            Self::Converse(_) => bedrock::CONTENT_TYPE,
            _ => EVENTS,
        }
    }

    /// The answer says that it was served in this tier.
    pub(crate) fn serve_as(&mut self, tier: ServiceTier) {
        match self {
            Self::Chat(pen) => pen.tier = tier,
            Self::Responses(pen) => pen.tier = tier,
            Self::Gemini(pen) => pen.tier = tier,
            Self::Interactions(pen) => pen.tier = tier,
            Self::Converse(pen) => pen.tier = tier,
            // Anthropic sells the standard tier only; the others do not say.
            Self::Messages(_)
            | Self::Embeddings(_)
            | Self::Images(_)
            | Self::CountTokens
            | Self::GeminiCount => {}
        }
    }

    /// What the provider is to remember of the answer, finished then.
    pub(crate) fn kept(&self, answer: &Answer, ready_at: Instant) -> Option<Kept> {
        match self {
            Self::Responses(pen) => pen.kept(answer, ready_at),
            Self::Interactions(pen) => pen.kept(answer),
            _ => None,
        }
    }

    /// The answer is only announced, and the work done later.
    pub(crate) fn announces(&self) -> bool {
        matches!(self, Self::Responses(pen) if pen.background())
    }

    /// Headers of an answer that is no refusal.
    pub(crate) fn headers(&self, tier: ServiceTier) -> Vec<(&'static str, String)> {
        match self {
            Self::Gemini(_) | Self::Interactions(_) => {
                vec![("x-gemini-service-tier", gemini::tier_name(tier).to_owned())]
            }
            _ => Vec::new(),
        }
    }
}

impl Wire {
    pub(crate) fn family(self) -> Family {
        match self {
            Self::OpenAiChat
            | Self::OpenAiResponses
            | Self::OpenAiEmbeddings
            | Self::OpenAiImages => Family::OpenAi,
            Self::AnthropicMessages | Self::AnthropicCountTokens => Family::Anthropic,
            Self::GeminiGenerate | Self::GeminiCountTokens | Self::GeminiInteractions => {
                Family::Gemini
            }
            Self::BedrockConverse => Family::Bedrock,
        }
    }
}

/// Reads a request, or says why it is refused.
pub(crate) fn read(inbound: &Inbound<'_>) -> Result<(Ask, Pen), Refusal> {
    match inbound.call.wire {
        Wire::OpenAiChat => openai_chat::read(inbound),
        Wire::OpenAiResponses => openai_responses::read(inbound),
        Wire::OpenAiEmbeddings => openai_embeddings::read(inbound),
        Wire::OpenAiImages => openai_images::read(inbound),
        Wire::AnthropicMessages | Wire::AnthropicCountTokens => anthropic::read(inbound),
        Wire::GeminiGenerate | Wire::GeminiCountTokens => gemini::read(inbound),
        Wire::GeminiInteractions => gemini_interactions::read(inbound),
        Wire::BedrockConverse => bedrock::read(inbound),
    }
}

/// An answer to the same request that says nothing.
fn bare(answer: &Answer) -> Answer {
    Answer::silent(answer.usage.input_tokens, 0)
}

/// The first of these members of an object that is not on the list.
fn unknown_member<'a>(object: &'a Value, known: &[&str]) -> Option<&'a str> {
    let mut names = object.as_object()?.keys().map(String::as_str);
    names.find(|name| !known.contains(name))
}

/// Whether anything in a value has a member of this name.
fn mentions(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(members) => members
            .iter()
            .any(|(member, value)| member == name || mentions(value, name)),
        Value::Array(items) => items.iter().any(|item| mentions(item, name)),
        _ => false,
    }
}

/// One server-sent event with a name.
fn named_event(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
