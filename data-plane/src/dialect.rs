//! Wire formats: requests to what they mean and back, answers to what they say and back.
//!
//! Owns: the choice of a dialect's code, and the words all dialects share. Each dialect
//! reads its callers' requests, forwards them unchanged to a lane of its own, writes
//! foreign ones, hears its providers' answers and speaks foreign ones. Pure: no I/O, no
//! clock. A provider is data, a dialect is code. docs/dialects.md says what is lost on
//! the way from one to another.

mod anthropic_messages;
mod bedrock_converse;
mod claude;
mod ear;
mod error;
pub(crate) mod event;
mod gathering;
mod gemini_generate;
mod gemini_interactions;
mod google;
mod gpt;
mod host;
pub(crate) mod kept;
mod openai_chat;
mod openai_embeddings;
mod openai_images;
mod openai_responses;
mod peek;
mod seal;
mod speaker;
mod splitter;
pub(crate) mod sse;
mod usage;

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use spillway_routing::catalogue::{Tier, Upstream, Usage};
use spillway_routing::dialect::Dialect;
use spillway_routing::unit::Tokens;

use self::event::{Event, Said, Stamp};
use crate::chat::{Asking, Body, Chat};
use crate::conversation::{Conversation, Losses};
use crate::failure::{Failure, Kind};

pub(crate) use self::ear::Ear;
pub(crate) use self::error::{
    ErrorParts, Framing, error_form, error_frame, error_message, is_error_form,
};
pub(crate) use self::gathering::Gathering;
pub(crate) use self::speaker::Speaker;
pub(crate) use self::splitter::{Splitter, Unframed};

/// A route's or model's name: it travels in the outcome.
const MODEL_BYTES_MAX: usize = 256;
/// Said where JSON is wanted without a schema and a dialect has no field for it.
const JSON_ONLY: &str = "Answer with one JSON object and nothing else.";
/// Stands where a conversation has no user turn to begin with, and a dialect wants one.
const OPENING: &str = "Continue.";

/// What is sent to a provider.
#[derive(Clone, Debug)]
pub(crate) struct WireRequest {
    /// Appended to the provider's base URL.
    pub(crate) path: Cow<'static, str>,
    pub(crate) body: Bytes,
}

/// What a dialect reads of a request.
pub(crate) struct Read {
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// The caller wants usage at the end of a stream.
    pub(crate) wants_usage: bool,
    pub(crate) conversation: Conversation,
}

/// What a provider said it used, and at which tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) usage: Option<Usage>,
    /// Of a stream that is under way: its input is known, its output is not.
    pub(crate) begun: Option<Usage>,
    pub(crate) tier: Option<Tier>,
}

impl Reported {
    /// Later reports win: some hosts count up in every chunk.
    pub(crate) fn add(&mut self, later: Self) {
        self.usage = later.usage.or(self.usage);
        self.begun = later.begun.or(self.begun);
        self.tier = later.tier.or(self.tier);
    }
}

/// What one frame of a stream means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Bytes of content, refusal, tool call or reasoning; any of it commits.
    pub(crate) content: u32,
    /// The answer has its end; what follows is accounting.
    pub(crate) finished: bool,
    /// Nothing follows.
    pub(crate) done: bool,
    pub(crate) reported: Reported,
    /// Carries usage and nothing else: dropped unless the caller asked for it.
    pub(crate) only_usage: bool,
    /// The provider reports an error in the stream.
    pub(crate) error: Option<Blame>,
    /// What it adds, where the caller speaks another dialect.
    pub(crate) events: Vec<Event>,
}

/// A whole answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) content: u32,
    pub(crate) reported: Reported,
}

/// Whom an error body blames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Our key, our quota, our model name: this lane cannot work until repaired.
    Configuration,
    /// This request at this lane: another one may see it differently, and other requests
    /// are none the worse.
    Elsewhere,
    /// Too much of ours at once, refused unread.
    Limit,
    /// Too much at once for the provider, refused unread.
    Overload,
    /// The request itself; no other lane would differ.
    Request,
    /// The provider; it may have been charged.
    Provider,
}

/// 200 with something that is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer is not in its dialect")]
pub(crate) struct Garbled;

/// Reads a caller's request.
pub(crate) fn read(body: &Body, asking: &Asking) -> Result<Read, Failure> {
    match asking.dialect {
        // No path leads to Converse.
        Dialect::OpenAiChat | Dialect::BedrockConverse => openai_chat::read(body),
        Dialect::OpenAiResponses => openai_responses::read(body),
        Dialect::AnthropicMessages => anthropic_messages::read(body),
        Dialect::GeminiGenerate => gemini_generate::read(body, asking),
        Dialect::GeminiInteractions => gemini_interactions::read(body),
        Dialect::OpenAiEmbeddings => openai_embeddings::read(body),
        Dialect::OpenAiImages => openai_images::read(body),
    }
}

fn required_model(model: Option<String>) -> Result<String, Failure> {
    let fits = |model: &String| !model.is_empty() && model.len() <= MODEL_BYTES_MAX;
    model.filter(fits).ok_or_else(|| {
        let message = "model is missing, too long or no text; name a route or a model";
        Failure::client(Kind::BadRequest, message).about("model")
    })
}

/// What a dialect cannot say of a conversation of another one.
pub(crate) fn losses(to: Dialect, conversation: &Conversation) -> Losses {
    match to {
        Dialect::OpenAiChat => openai_chat::losses(conversation),
        Dialect::OpenAiResponses => openai_responses::losses(conversation),
        Dialect::AnthropicMessages => anthropic_messages::losses(conversation),
        Dialect::GeminiGenerate => gemini_generate::losses(conversation),
        Dialect::GeminiInteractions => gemini_interactions::losses(conversation),
        Dialect::BedrockConverse => bedrock_converse::losses(conversation),
        Dialect::OpenAiEmbeddings | Dialect::OpenAiImages => Losses::everything(),
    }
}

/// What a lane is sent: the caller's own bytes where it speaks the caller's dialect, else
/// a translation. `stream` says whether a stream is wanted of the lane, whatever the
/// caller wants; `most` is the model's own limit of output.
pub(crate) fn request(
    chat: &Chat,
    to: Dialect,
    upstream: &Upstream,
    tier: Tier,
    stream: bool,
    most: Tokens,
) -> WireRequest {
    let model = upstream.wire_model.as_str();
    if to != chat.dialect() {
        return translated(&chat.conversation, stream, to, upstream, tier, most);
    }
    match to {
        Dialect::OpenAiChat | Dialect::BedrockConverse => {
            openai_chat::forward(&chat.body, upstream, tier, stream)
        }
        Dialect::OpenAiResponses => openai_responses::forward(&chat.body, model, tier, stream),
        Dialect::AnthropicMessages => {
            anthropic_messages::forward(&chat.body, &chat.conversation, model, tier, stream)
        }
        Dialect::GeminiGenerate => gemini_generate::forward(&chat.body, model, tier, stream),
        Dialect::GeminiInteractions => {
            gemini_interactions::forward(&chat.body, model, tier, stream)
        }
        Dialect::OpenAiEmbeddings => openai_embeddings::forward(&chat.body, model),
        Dialect::OpenAiImages => openai_images::forward(&chat.body, model),
    }
}

/// What the caller allows beyond the model's own limit was never to be had; `None` where it
/// is within.
fn limited(conversation: &Conversation, most: Tokens) -> Option<Conversation> {
    let asked = conversation.max_output;
    let beyond = asked.filter(|limit| *limit > u64::from(most.0));
    beyond.map(|_| Conversation {
        max_output: Some(most.0.into()),
        ..conversation.clone()
    })
}

fn translated(
    conversation: &Conversation,
    stream: bool,
    to: Dialect,
    upstream: &Upstream,
    tier: Tier,
    most: Tokens,
) -> WireRequest {
    let limited = limited(conversation, most);
    let conversation = limited.as_ref().unwrap_or(conversation);
    let (mut body, path, tier) = match to {
        // No reach leads to those that do not converse.
        Dialect::OpenAiChat | Dialect::OpenAiEmbeddings | Dialect::OpenAiImages => {
            let mut body = openai_chat::write(conversation, upstream);
            if stream {
                let options = serde_json::json!({ "include_usage": true });
                body.insert("stream_options".into(), options);
            }
            let tier = openai_chat::tier_name(tier).map(|tier| ("service_tier", tier.into()));
            (body, openai_chat::PATH.into(), tier)
        }
        Dialect::OpenAiResponses => {
            let body = openai_responses::write(conversation, upstream);
            let tier = openai_chat::tier_name(tier).map(|tier| ("service_tier", tier.into()));
            (body, openai_responses::PATH.into(), tier)
        }
        Dialect::AnthropicMessages => {
            let body = anthropic_messages::write(conversation, upstream, most);
            let tier =
                anthropic_messages::tier_name(tier).map(|tier| ("service_tier", tier.into()));
            (body, anthropic_messages::PATH.into(), tier)
        }
        Dialect::GeminiGenerate => {
            let body = gemini_generate::write(conversation, upstream);
            let path = gemini_generate::path(&upstream.wire_model, stream);
            let tier = google::tier_name(tier).map(|tier| ("serviceTier", tier.into()));
            (body, Cow::Owned(path), tier)
        }
        Dialect::GeminiInteractions => {
            let body = gemini_interactions::write(conversation, upstream);
            let tier = google::tier_name(tier).map(|tier| ("service_tier", tier.into()));
            (body, gemini_interactions::PATH.into(), tier)
        }
        Dialect::BedrockConverse => {
            let body = bedrock_converse::write(conversation, upstream, most);
            let path = bedrock_converse::path(&upstream.wire_model, stream);
            let tier = bedrock_converse::tier_name(tier);
            let tier = tier.map(|tier| ("serviceTier", serde_json::json!({ "type": tier })));
            (body, Cow::Owned(path), tier)
        }
    };
    if let Some((name, tier)) = tier {
        body.insert(name.into(), tier);
    }
    // Some say it in the path.
    let in_path = matches!(to, Dialect::GeminiGenerate | Dialect::BedrockConverse);
    if stream && !in_path {
        body.insert("stream".into(), true.into());
    }
    WireRequest {
        path,
        body: Bytes::from(Value::Object(body).to_string()),
    }
}

/// How a dialect's streams call themselves.
pub(crate) fn stream_type(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::BedrockConverse => bedrock_converse::STREAM,
        Dialect::OpenAiChat
        | Dialect::OpenAiResponses
        | Dialect::AnthropicMessages
        | Dialect::GeminiGenerate
        | Dialect::GeminiInteractions
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages => "text/event-stream",
    }
}

/// Whether a body is a whole answer, and what it reports.
pub(crate) fn answer(dialect: Dialect, body: &[u8]) -> Result<Answer, Garbled> {
    match dialect {
        Dialect::OpenAiChat => openai_chat::answer(body),
        Dialect::OpenAiResponses => openai_responses::answer(body),
        Dialect::AnthropicMessages => anthropic_messages::answer(body),
        Dialect::GeminiGenerate => gemini_generate::answer(body),
        Dialect::GeminiInteractions => gemini_interactions::answer(body),
        Dialect::BedrockConverse => bedrock_converse::answer(body),
        Dialect::OpenAiEmbeddings => openai_embeddings::answer(body),
        Dialect::OpenAiImages => openai_images::answer(body),
    }
}

/// What a whole answer says.
pub(crate) fn said(dialect: Dialect, body: &[u8]) -> Said {
    match dialect {
        Dialect::OpenAiChat => openai_chat::said(body),
        Dialect::OpenAiResponses => openai_responses::said(body),
        Dialect::AnthropicMessages => anthropic_messages::said(body),
        Dialect::GeminiGenerate => gemini_generate::said(body),
        Dialect::GeminiInteractions => gemini_interactions::said(body),
        Dialect::BedrockConverse => bedrock_converse::said(body),
        Dialect::OpenAiEmbeddings | Dialect::OpenAiImages => Said::default(),
    }
}

/// A whole answer in a caller's dialect.
pub(crate) fn whole(dialect: Dialect, said: &Said, reported: &Reported, stamp: &Stamp) -> Bytes {
    match dialect {
        // The rest is never spoken.
        Dialect::OpenAiChat
        | Dialect::BedrockConverse
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages => openai_chat::whole(said, reported, stamp),
        Dialect::OpenAiResponses => openai_responses::whole(said, reported, stamp),
        Dialect::AnthropicMessages => anthropic_messages::whole(said, reported, stamp),
        Dialect::GeminiGenerate => gemini_generate::whole(said, reported, stamp),
        Dialect::GeminiInteractions => gemini_interactions::whole(said, reported, stamp),
    }
}

/// Whom a response that is no 200 blames.
pub(crate) fn blame(dialect: Dialect, status: StatusCode, body: &[u8]) -> Blame {
    match dialect {
        Dialect::OpenAiChat
        | Dialect::OpenAiResponses
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages => openai_chat::blame(status, body),
        Dialect::AnthropicMessages => anthropic_messages::blame(status, body),
        Dialect::GeminiGenerate | Dialect::GeminiInteractions => {
            gemini_generate::blame(status, body)
        }
        Dialect::BedrockConverse => bedrock_converse::blame(status, body),
    }
}

#[cfg(test)]
mod tests;
