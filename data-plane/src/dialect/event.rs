//! What an answer says, free of any dialect: whole, or as it comes.
//!
//! Owns: [`Said`], [`Event`] and what an answer is stamped with. Dialects hear foreign
//! answers into these words and speak their own out of them.

use spillway_routing::catalogue::Usage;

pub(crate) use crate::conversation::ToolCall;

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    #[default]
    Whole,
    /// At the limit of tokens.
    CutOff,
    Refused,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Reasoning(String),
    Refusal(String),
    Call(ToolCall),
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) end: End,
    /// The stop sequence that ended it, where the provider names it.
    pub(crate) stop: Option<String>,
}

impl Said {
    pub(crate) fn text(&self) -> String {
        let texts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Call(call) => Some(call),
            _ => None,
        })
    }

    /// All of it as text, for whoever scores it.
    pub(crate) fn shown(&self) -> String {
        let mut shown = self.text();
        for call in self.calls() {
            shown.push_str(&format!("\nCALL {}({})", call.name, call.arguments));
        }
        shown
    }
}

/// A step of an answer as it comes. Calls are told apart by their index; arguments come
/// as fragments of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Text(String),
    Reasoning(String),
    Refusal(String),
    CallStarts {
        index: usize,
        id: String,
        name: String,
    },
    CallArguments {
        index: usize,
        json: String,
    },
    Ends {
        end: End,
        stop: Option<String>,
    },
}

/// Puts an answer together from its steps.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    pub(crate) said: Said,
    /// Index of each call, and its place among the pieces.
    calls: Vec<(usize, usize)>,
}

impl Assembly {
    pub(crate) fn add(&mut self, event: Event) {
        let pieces = &mut self.said.pieces;
        match event {
            Event::Text(text) => match pieces.last_mut() {
                Some(Piece::Text(known)) => known.push_str(&text),
                _ => pieces.push(Piece::Text(text)),
            },
            Event::Reasoning(text) => match pieces.last_mut() {
                Some(Piece::Reasoning(known)) => known.push_str(&text),
                _ => pieces.push(Piece::Reasoning(text)),
            },
            Event::Refusal(text) => match pieces.last_mut() {
                Some(Piece::Refusal(known)) => known.push_str(&text),
                _ => pieces.push(Piece::Refusal(text)),
            },
            Event::CallStarts { index, id, name } => {
                self.calls.push((index, pieces.len()));
                let arguments = String::new();
                pieces.push(Piece::Call(ToolCall {
                    id,
                    name,
                    arguments,
                }));
            }
            Event::CallArguments { index, json } => {
                let known = self.calls.iter().find(|(call, _)| *call == index);
                let call = known.and_then(|(_, place)| pieces.get_mut(*place));
                if let Some(Piece::Call(call)) = call {
                    call.arguments.push_str(&json);
                }
            }
            Event::Ends { end, stop } => (self.said.end, self.said.stop) = (end, stop),
        }
    }
}

/// What an answer says of itself beside its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Unique, without any dialect's prefix.
    pub(crate) id: String,
    pub(crate) model: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    /// The caller asked for usage at the end of a stream.
    pub(crate) wants_usage: bool,
    /// A stream is framed as server-sent events; else as one JSON array.
    pub(crate) framed: bool,
}

/// What was used, as far as a provider said so.
pub(crate) fn known(usage: Option<Usage>) -> Usage {
    usage.unwrap_or_default()
}
