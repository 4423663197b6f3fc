//! What a generateContent provider says, in words that all dialects share.
//!
//! Owns: reading the parts of the first candidate. A chunk of a stream is a whole answer
//! in small, with calls in one piece. What cannot be read says nothing.

use serde_json::Value;

use crate::conversation::ToolCall;
use crate::dialect::event::{End, Event, Piece, Said};
use crate::dialect::peek::{at, either, list, text};
use crate::dialect::seal::{self, Signed};

pub(in crate::dialect) fn said(body: &[u8]) -> Said {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let candidate = list(&body, "candidates")
        .first()
        .cloned()
        .unwrap_or_default();
    Said {
        pieces: pieces(&body, &candidate, 0),
        end: ending(&body, &candidate).unwrap_or_default(),
        stop: None,
    }
}

/// What one chunk adds, after so many calls.
pub(in crate::dialect) fn events(data: &[u8], calls: usize) -> Vec<Event> {
    let chunk: Value = serde_json::from_slice(data).unwrap_or_default();
    let candidate = list(&chunk, "candidates")
        .first()
        .cloned()
        .unwrap_or_default();
    let mut events = Vec::new();
    let mut index = calls;
    for piece in pieces(&chunk, &candidate, calls) {
        match piece {
            Piece::Text(text) => events.push(Event::Text(text)),
            Piece::Reasoning(text) => events.push(Event::Reasoning(text)),
            Piece::Refusal(text) => events.push(Event::Refusal(text)),
            Piece::Call(call) => {
                let (id, name) = (call.id, call.name);
                events.push(Event::CallStarts { index, id, name });
                events.push(Event::CallArguments {
                    index,
                    json: call.arguments,
                });
                index += 1;
            }
        }
    }
    let end = ending(&chunk, &candidate);
    events.extend(end.map(|end| Event::Ends { end, stop: None }));
    events
}

/// How an answer ended, if this is its end. A blocked prompt has no candidates.
pub(super) fn ending(body: &Value, candidate: &Value) -> Option<End> {
    let blocked = at(body, "promptFeedback").is_some_and(|f| at(f, "blockReason").is_some());
    if blocked {
        return Some(End::Refused);
    }
    match text(candidate, "finishReason")? {
        "FINISH_REASON_UNSPECIFIED" => None,
        "STOP" | "MALFORMED_FUNCTION_CALL" => Some(End::Whole),
        "MAX_TOKENS" => Some(End::CutOff),
        _ => Some(End::Refused),
    }
}

/// An id for a call that has none: no other answer's, in characters everybody takes.
fn made_up(body: &Value, calls: usize) -> String {
    let answer = text(body, "responseId").unwrap_or_default();
    let safe = answer.chars().filter(char::is_ascii_alphanumeric);
    let safe: String = safe.take(24).collect();
    format!("call_{safe}_{calls}")
}

fn pieces(body: &Value, candidate: &Value, mut calls: usize) -> Vec<Piece> {
    let content = at(candidate, "content").cloned().unwrap_or_default();
    let mut pieces = Vec::new();
    for part in list(&content, "parts") {
        if let Some(said) = text(part, "text").filter(|text| !text.is_empty()) {
            let thought = at(part, "thought") == Some(&Value::Bool(true));
            let said = said.to_owned();
            pieces.push(if thought {
                Piece::Reasoning(said)
            } else {
                Piece::Text(said)
            });
        } else if let Some(call) = at(part, "functionCall") {
            let name = text(call, "name").unwrap_or_default().to_owned();
            let signature = either(part, "thoughtSignature", "thought_signature");
            let id = text(call, "id").map(str::to_owned);
            let id = id.unwrap_or_else(|| made_up(body, calls));
            calls += 1;
            pieces.push(Piece::Call(ToolCall {
                id: seal::sealed(&id, Signed::Call, signature.and_then(Value::as_str)),
                name,
                arguments: at(call, "args").map_or_else(|| "{}".to_owned(), Value::to_string),
            }));
        }
    }
    pieces
}
