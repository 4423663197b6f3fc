//! A whole answer in its provider's own words, out of a stream.
//!
//! Owns: which event has all of it, and putting it together where none has. Where that
//! cannot be done to the letter there is none, and what was heard is told instead.

use bytes::Bytes;
use serde_json::Value;
use spillway_routing::dialect::Dialect;

use super::sse::Frame;
use super::{gemini_interactions, openai_responses};

#[derive(Debug)]
pub(crate) enum Gathering {
    /// No answer of this dialect is put together.
    Nothing,
    /// The last event has it.
    Closing(Option<Bytes>),
    Steps(gemini_interactions::Steps),
}

impl Gathering {
    pub(crate) fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAiResponses => Self::Closing(None),
            Dialect::GeminiInteractions => Self::Steps(gemini_interactions::Steps::default()),
            Dialect::OpenAiChat
            | Dialect::AnthropicMessages
            | Dialect::GeminiGenerate
            | Dialect::BedrockConverse
            | Dialect::OpenAiEmbeddings
            | Dialect::OpenAiImages => Self::Nothing,
        }
    }

    pub(crate) fn add(&mut self, frame: &Frame) {
        let Some(data) = frame.data() else { return };
        match self {
            Self::Nothing => {}
            Self::Closing(whole) => {
                let closing = openai_responses::in_closing(&data);
                *whole = closing.or_else(|| whole.take());
            }
            Self::Steps(steps) => {
                steps.add(&serde_json::from_slice::<Value>(&data).unwrap_or_default())
            }
        }
    }

    pub(crate) fn whole(self) -> Option<Bytes> {
        match self {
            Self::Nothing => None,
            Self::Closing(whole) => whole,
            Self::Steps(steps) => steps.whole(),
        }
    }
}
