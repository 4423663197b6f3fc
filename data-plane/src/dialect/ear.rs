//! Listening to a provider's stream.
//!
//! Owns: what a stream said so far that its later frames are read by. Pure.

use serde::de::IgnoredAny;
use spillway_routing::dialect::Dialect;

use super::event::Event;
use super::sse::Frame;
use super::{
    Blame, Meaning, Reported, Splitter, anthropic_messages, bedrock_converse, gemini_generate,
    gemini_interactions, openai_chat, openai_images, openai_responses,
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
    /// Of each call of a Chat stream the provider's index and id.
    indices: Vec<(usize, String)>,
    /// Of the last thought of an interaction.
    signature: Option<String>,
}

impl Ear {
    pub(crate) fn new(dialect: Dialect, translating: bool) -> Self {
        Self {
            dialect,
            translating,
            reported: Reported::default(),
            calls: 0,
            indices: Vec::new(),
            signature: None,
        }
    }

    /// What cuts the frames that it hears.
    pub(crate) fn splitter(&self) -> Splitter {
        Splitter::of(self.dialect)
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
                let before = self.reported.usage.or(self.reported.begun);
                anthropic_messages::meaning(&data, before.as_ref())
            }
            Dialect::GeminiGenerate => gemini_generate::meaning(&data),
            Dialect::GeminiInteractions => gemini_interactions::meaning(&data),
            Dialect::BedrockConverse => bedrock_converse::meaning(&data),
            Dialect::OpenAiImages => openai_images::meaning(&data),
            Dialect::OpenAiEmbeddings => Meaning::default(),
        };
        self.reported.add(meaning.reported);
        if self.translating {
            // What cannot be read cannot be told: silence would be a false answer.
            let unreadable = !data.trim_ascii().is_empty()
                && serde_json::from_slice::<IgnoredAny>(&data).is_err();
            if unreadable && !meaning.done && meaning.error.is_none() {
                meaning.error = Some(Blame::Provider);
            }
            meaning.events = self.events(&data);
            if self.dialect == Dialect::OpenAiChat {
                self.tell_apart(&mut meaning.events);
            }
            let starts = |event: &&Event| matches!(event, Event::CallStarts { .. });
            self.calls += meaning.events.iter().filter(starts).count();
        }
        meaning
    }

    /// Some hosts give every call the same index, or repeat a call's name in every chunk:
    /// a new id is a new call, and what comes without one belongs to the last of its index.
    fn tell_apart(&mut self, events: &mut Vec<Event>) {
        events.retain_mut(|event| match event {
            Event::CallStarts { index, id, .. } => {
                let last = self.indices.iter().rposition(|(known, _)| known == index);
                let known = last.and_then(|last| self.indices.get(last));
                if known.is_some_and(|(_, known)| id.is_empty() || known == id) {
                    return false;
                }
                self.indices.push((*index, id.clone()));
                *index = self.indices.len() - 1;
                true
            }
            Event::CallArguments { index, .. } => {
                let own = self.indices.iter().rposition(|(known, _)| known == index);
                *index = own.unwrap_or(*index);
                true
            }
            _ => true,
        });
    }

    fn events(&mut self, data: &[u8]) -> Vec<Event> {
        match self.dialect {
            Dialect::OpenAiChat => openai_chat::events(data),
            Dialect::OpenAiResponses => openai_responses::events(data),
            Dialect::AnthropicMessages => anthropic_messages::events(data),
            Dialect::GeminiGenerate => gemini_generate::events(data, self.calls),
            Dialect::GeminiInteractions => gemini_interactions::events(data, &mut self.signature),
            Dialect::BedrockConverse => bedrock_converse::events(data),
            Dialect::OpenAiEmbeddings | Dialect::OpenAiImages => Vec::new(),
        }
    }
}
