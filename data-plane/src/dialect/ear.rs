//! Listening to a provider's stream.
//!
//! Owns: what a stream said so far that its later frames are read by. Pure.

use spillway_routing::dialect::Dialect;

use super::event::Event;
use super::sse::Frame;
use super::{
    Meaning, Reported, anthropic_messages, gemini_generate, openai_chat, openai_responses,
};

/// One stream's listener.
#[derive(Debug)]
pub(crate) struct Ear {
    dialect: Dialect,
    /// Events are wanted: the caller speaks another dialect.
    translating: bool,
    reported: Reported,
    /// Calls that began so far.
    calls: usize,
}

impl Ear {
    pub(crate) fn new(dialect: Dialect, translating: bool) -> Self {
        Self {
            dialect,
            translating,
            reported: Reported::default(),
            calls: 0,
        }
    }

    /// What the next frame means.
    pub(crate) fn hear(&mut self, frame: &Frame) -> Meaning {
        let Some(data) = frame.data() else {
            return Meaning::default();
        };
        let mut meaning = match self.dialect {
            Dialect::OpenAiChat => openai_chat::meaning(&data),
            Dialect::OpenAiResponses => openai_responses::meaning(&data),
            Dialect::AnthropicMessages => {
                anthropic_messages::meaning(&data, self.reported.usage.as_ref())
            }
            Dialect::GeminiGenerate => gemini_generate::meaning(&data),
        };
        self.reported.add(meaning.reported);
        if self.translating {
            meaning.events = self.events(&data);
            let starts = |event: &&Event| matches!(event, Event::CallStarts { .. });
            self.calls += meaning.events.iter().filter(starts).count();
        }
        meaning
    }

    fn events(&self, data: &[u8]) -> Vec<Event> {
        match self.dialect {
            Dialect::OpenAiChat => openai_chat::events(data),
            Dialect::OpenAiResponses => openai_responses::events(data),
            Dialect::AnthropicMessages => anthropic_messages::events(data),
            Dialect::GeminiGenerate => gemini_generate::events(data, self.calls),
        }
    }
}
