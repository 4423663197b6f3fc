//! Speaking an answer, as it comes, in a caller's dialect.
//!
//! Owns: the choice of a dialect's speaker. Each holds what it said so far.

use spillway_routing::dialect::Dialect;

use super::event::{Event, Stamp};
use super::{
    Reported, anthropic_messages, gemini_generate, gemini_interactions, openai_chat,
    openai_responses,
};

/// One stream's speaker.
#[derive(Debug)]
pub(crate) enum Speaker {
    OpenAiChat(openai_chat::Speaker),
    OpenAiResponses(openai_responses::Speaker),
    AnthropicMessages(anthropic_messages::Speaker),
    GeminiGenerate(gemini_generate::Speaker),
    GeminiInteractions(gemini_interactions::Speaker),
}

impl Speaker {
    pub(crate) fn new(dialect: Dialect) -> Self {
        match dialect {
            // The rest is never spoken.
            Dialect::OpenAiChat
            | Dialect::BedrockConverse
            | Dialect::OpenAiEmbeddings
            | Dialect::OpenAiImages => Self::OpenAiChat(openai_chat::Speaker::default()),
            Dialect::OpenAiResponses => Self::OpenAiResponses(openai_responses::Speaker::default()),
            Dialect::AnthropicMessages => {
                Self::AnthropicMessages(anthropic_messages::Speaker::default())
            }
            Dialect::GeminiGenerate => Self::GeminiGenerate(gemini_generate::Speaker::default()),
            Dialect::GeminiInteractions => {
                Self::GeminiInteractions(gemini_interactions::Speaker::default())
            }
        }
    }

    /// The bytes that some events become; none where they only announce something.
    pub(crate) fn say(&mut self, events: Vec<Event>, stamp: &Stamp) -> Vec<u8> {
        let mut out = Vec::new();
        for event in events {
            match self {
                Self::OpenAiChat(speaker) => speaker.say(event, stamp, &mut out),
                Self::OpenAiResponses(speaker) => speaker.say(event, stamp, &mut out),
                Self::AnthropicMessages(speaker) => speaker.say(event, stamp, &mut out),
                Self::GeminiGenerate(speaker) => speaker.say(event, stamp, &mut out),
                Self::GeminiInteractions(speaker) => speaker.say(event, stamp, &mut out),
            }
        }
        out
    }

    /// The end of an answer that came to its end.
    pub(crate) fn end(&mut self, reported: &Reported, stamp: &Stamp) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::OpenAiChat(speaker) => speaker.end(reported, stamp, &mut out),
            Self::OpenAiResponses(speaker) => speaker.end(reported, stamp, &mut out),
            Self::AnthropicMessages(speaker) => speaker.end(reported, stamp, &mut out),
            Self::GeminiGenerate(speaker) => speaker.end(reported, stamp, &mut out),
            Self::GeminiInteractions(speaker) => speaker.end(reported, stamp, &mut out),
        }
        out
    }
}
