//! What a Converse provider says, in words that all dialects share.
//!
//! Owns: reading the blocks of an answer, whole or event by event. What cannot be read
//! says nothing.

use serde_json::Value;

use crate::conversation::ToolCall;
use crate::dialect::event::{End, Event, Piece, Said};
use crate::dialect::peek::{at, count, list, text};

pub(in crate::dialect) fn said(body: &[u8]) -> Said {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = at(&body, "output").and_then(|output| at(output, "message"));
    let blocks = message.map_or(&[][..], |message| list(message, "content"));
    Said {
        pieces: blocks.iter().filter_map(piece).collect(),
        end: end(text(&body, "stopReason")),
        stop: stopped_by(&body),
    }
}

fn piece(block: &Value) -> Option<Piece> {
    if let Some(said) = text(block, "text") {
        return Some(Piece::Text(said.to_owned()));
    }
    if let Some(call) = at(block, "toolUse") {
        let input = at(call, "input").map_or_else(|| "{}".to_owned(), Value::to_string);
        return Some(Piece::Call(ToolCall {
            arguments: input,
            ..begun(call)
        }));
    }
    let thought = at(block, "reasoningContent").and_then(|thought| at(thought, "reasoningText"));
    let thought = thought.and_then(|thought| text(thought, "text"));
    thought.map(|thought| Piece::Reasoning(thought.to_owned()))
}

/// A call without its arguments.
fn begun(call: &Value) -> ToolCall {
    let word = |name| text(call, name).unwrap_or_default().to_owned();
    ToolCall {
        id: word("toolUseId"),
        name: word("name"),
        arguments: String::new(),
    }
}

fn end(reason: Option<&str>) -> End {
    match reason {
        Some("max_tokens" | "model_context_window_exceeded") => End::CutOff,
        Some("guardrail_intervened" | "content_filtered") => End::Refused,
        _ => End::Whole,
    }
}

/// The sequence that ended the answer, where the model says it.
fn stopped_by(body: &Value) -> Option<String> {
    let more = at(body, "additionalModelResponseFields")?;
    text(more, "stop_sequence").map(str::to_owned)
}

/// What one event adds.
pub(in crate::dialect) fn events(data: &[u8]) -> Vec<Event> {
    let event: Value = serde_json::from_slice(data).unwrap_or_default();
    let index = |block: &Value| {
        let index = count(block, "contentBlockIndex");
        index.and_then(|index| usize::try_from(index).ok())
    };
    if let Some(block) = at(&event, "contentBlockStart") {
        let call = at(block, "start").and_then(|start| at(start, "toolUse"));
        let starts = call.map(begun).map(|call| Event::CallStarts {
            index: index(block).unwrap_or(0),
            id: call.id,
            name: call.name,
        });
        return starts.into_iter().collect();
    }
    if let Some(block) = at(&event, "contentBlockDelta") {
        let delta = at(block, "delta").and_then(|delta| added(delta, index(block).unwrap_or(0)));
        return delta.into_iter().collect();
    }
    let stop = at(&event, "messageStop").map(|stop| Event::Ends {
        end: end(text(stop, "stopReason")),
        stop: stopped_by(stop),
    });
    stop.into_iter().collect()
}

fn added(delta: &Value, index: usize) -> Option<Event> {
    if let Some(said) = text(delta, "text") {
        return Some(Event::Text(said.to_owned()));
    }
    if let Some(call) = at(delta, "toolUse") {
        let json = text(call, "input")?.to_owned();
        return Some(Event::CallArguments { index, json });
    }
    let thought = at(delta, "reasoningContent").and_then(|thought| text(thought, "text"));
    thought.map(|thought| Event::Reasoning(thought.to_owned()))
}
