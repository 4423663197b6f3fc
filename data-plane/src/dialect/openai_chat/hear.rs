//! What a Chat Completions provider says, in words that all dialects share.
//!
//! Owns: reading the first choice, whole or chunk by chunk. What cannot be read says
//! nothing.

use serde_json::Value;

use crate::conversation::ToolCall;
use crate::dialect::event::{End, Event, Piece, Said};
use crate::dialect::peek::{at, count, list, text};

pub(in crate::dialect) fn said(body: &[u8]) -> Said {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let choice = list(&body, "choices").first().cloned().unwrap_or_default();
    let message = at(&choice, "message").cloned().unwrap_or_default();
    let mut pieces = Vec::new();
    pieces.extend(thought(&message).map(|text| Piece::Reasoning(text.to_owned())));
    pieces.extend(content(&message).map(Piece::Text));
    let refusal = text(&message, "refusal").filter(|text| !text.is_empty());
    pieces.extend(refusal.map(|text| Piece::Refusal(text.to_owned())));
    for call in list(&message, "tool_calls") {
        let function = at(call, "function").cloned().unwrap_or_default();
        let word = |value: &Value, name| text(value, name).unwrap_or_default().to_owned();
        pieces.push(Piece::Call(ToolCall {
            id: word(call, "id"),
            name: word(&function, "name"),
            arguments: word(&function, "arguments"),
        }));
    }
    let end = match refusal {
        Some(_) => End::Refused,
        None => end(text(&choice, "finish_reason")),
    };
    Said {
        pieces,
        end,
        stop: None,
    }
}

/// What one chunk adds.
pub(in crate::dialect) fn events(data: &[u8]) -> Vec<Event> {
    let chunk: Value = serde_json::from_slice(data).unwrap_or_default();
    let Some(choice) = list(&chunk, "choices").first() else {
        return Vec::new();
    };
    let delta = at(choice, "delta").cloned().unwrap_or_default();
    let mut events = Vec::new();
    events.extend(thought(&delta).map(|text| Event::Reasoning(text.to_owned())));
    events.extend(content(&delta).map(Event::Text));
    let refusal = text(&delta, "refusal").filter(|text| !text.is_empty());
    events.extend(refusal.map(|text| Event::Refusal(text.to_owned())));
    for (place, call) in list(&delta, "tool_calls").iter().enumerate() {
        let index = count(call, "index").and_then(|index| usize::try_from(index).ok());
        let index = index.unwrap_or(place);
        let function = at(call, "function").cloned().unwrap_or_default();
        let name = text(&function, "name").filter(|name| !name.is_empty());
        if let Some(name) = name {
            events.push(Event::CallStarts {
                index,
                id: text(call, "id").unwrap_or_default().to_owned(),
                name: name.to_owned(),
            });
        }
        let json = text(&function, "arguments").filter(|json| !json.is_empty());
        events.extend(json.map(|json| Event::CallArguments {
            index,
            json: json.to_owned(),
        }));
    }
    if let Some(reason) = text(choice, "finish_reason") {
        events.push(Event::Ends {
            end: end(Some(reason)),
            stop: None,
        });
    }
    events
}

fn end(reason: Option<&str>) -> End {
    match reason {
        Some("length" | "model_length") => End::CutOff,
        Some("content_filter") => End::Refused,
        _ => End::Whole,
    }
}

fn thought(message: &Value) -> Option<&str> {
    let thought = text(message, "reasoning_content").or_else(|| text(message, "reasoning"));
    thought.filter(|text| !text.is_empty())
}

/// Text, also where a host sends a list of parts.
fn content(message: &Value) -> Option<String> {
    let text = match at(message, "content")? {
        Value::String(text) => text.clone(),
        parts @ Value::Array(_) => {
            let parts = parts.as_array().into_iter().flatten();
            parts.filter_map(|part| text(part, "text")).collect()
        }
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}
