//! Wire formats: chat → provider request, provider bytes → what they mean.
//!
//! Owns: the choice of a dialect's code, and the words all dialects share. Pure: no
//! I/O, no clock. A provider is data, a dialect is code.

pub(crate) mod openai_chat;
pub(crate) mod sse;

use bytes::Bytes;
use http::StatusCode;
use spillway_routing::catalogue::{Dialect, Tier, Upstream, Usage};

use crate::chat::Chat;

/// What is sent to a provider.
pub(crate) struct WireRequest {
    /// Appended to the provider's base URL.
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
}

/// What a provider said it used, and at which tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) usage: Option<Usage>,
    pub(crate) tier: Option<Tier>,
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
}

/// A whole answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) content: u32,
    pub(crate) reported: Reported,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    #[default]
    Whole,
    /// At the limit of tokens.
    CutOff,
    Refused,
}

/// A tool the answer wants called; its arguments as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

/// What a whole answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) end: End,
}

impl Said {
    /// All of it as text.
    pub(crate) fn shown(&self) -> String {
        let mut shown = self.text.clone();
        for call in &self.calls {
            shown.push_str(&format!("\nCALL {}({})", call.name, call.arguments));
        }
        shown
    }
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

pub(crate) fn request(chat: &Chat, upstream: &Upstream, tier: Tier) -> WireRequest {
    match upstream.dialect {
        Dialect::OpenAiChat => openai_chat::request(chat, &upstream.wire_model, tier),
    }
}

pub(crate) fn answer(dialect: Dialect, body: &[u8]) -> Result<Answer, Garbled> {
    match dialect {
        Dialect::OpenAiChat => openai_chat::answer(body),
    }
}

pub(crate) fn said(dialect: Dialect, body: &[u8]) -> Said {
    match dialect {
        Dialect::OpenAiChat => openai_chat::said(body),
    }
}

pub(crate) fn meaning(dialect: Dialect, frame: &sse::Frame) -> Meaning {
    match dialect {
        Dialect::OpenAiChat => openai_chat::meaning(frame),
    }
}

pub(crate) fn blame(dialect: Dialect, status: StatusCode, body: &[u8]) -> Blame {
    match dialect {
        Dialect::OpenAiChat => openai_chat::blame(status, body),
    }
}

/// The frame that ends a broken stream in the caller's dialect.
pub(crate) fn error_frame(dialect: Dialect, message: &str, code: &str) -> Bytes {
    match dialect {
        Dialect::OpenAiChat => openai_chat::error_frame(message, code),
    }
}
