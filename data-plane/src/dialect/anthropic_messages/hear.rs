//! What a Messages provider says, in words that all dialects share.
//!
//! Owns: reading the blocks of an answer, whole or event by event. What cannot be read
//! says nothing.

use serde_json::Value;

use crate::conversation::ToolCall;
use crate::dialect::event::{End, Event, Piece, Said};
use crate::dialect::peek::{at, count, list, text};

pub(in crate::dialect) fn said(body: &[u8]) -> Said {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    Said {
        pieces: list(&body, "content").iter().filter_map(piece).collect(),
        end: end(text(&body, "stop_reason")),
        stop: text(&body, "stop_sequence").map(str::to_owned),
    }
}

fn piece(block: &Value) -> Option<Piece> {
    let word = |name| text(block, name).unwrap_or_default().to_owned();
    Some(match text(block, "type")? {
        "text" => Piece::Text(word("text")),
        "thinking" => Piece::Reasoning(word("thinking")),
        "tool_use" => Piece::Call(ToolCall {
            id: word("id"),
            name: word("name"),
            arguments: at(block, "input").map_or_else(|| "{}".to_owned(), Value::to_string),
        }),
        _ => return None,
    })
}

fn end(reason: Option<&str>) -> End {
    match reason {
        Some("max_tokens" | "model_context_window_exceeded") => End::CutOff,
        Some("refusal") => End::Refused,
        _ => End::Whole,
    }
}

/// What one event adds.
pub(in crate::dialect) fn events(data: &[u8]) -> Vec<Event> {
    let event: Value = serde_json::from_slice(data).unwrap_or_default();
    let index = count(&event, "index").and_then(|index| usize::try_from(index).ok());
    let index = index.unwrap_or(0);
    match text(&event, "type").unwrap_or_default() {
        "content_block_start" => {
            let block = at(&event, "content_block").cloned().unwrap_or_default();
            match piece(&block) {
                Some(Piece::Call(call)) => vec![Event::CallStarts {
                    index,
                    id: call.id,
                    name: call.name,
                }],
                Some(Piece::Text(text)) if !text.is_empty() => vec![Event::Text(text)],
                _ => Vec::new(),
            }
        }
        "content_block_delta" => {
            let delta = at(&event, "delta").cloned().unwrap_or_default();
            let word = |name| text(&delta, name).unwrap_or_default().to_owned();
            match text(&delta, "type").unwrap_or_default() {
                "text_delta" => vec![Event::Text(word("text"))],
                "thinking_delta" => vec![Event::Reasoning(word("thinking"))],
                "input_json_delta" => vec![Event::CallArguments {
                    index,
                    json: word("partial_json"),
                }],
                _ => Vec::new(),
            }
        }
        "message_delta" => {
            let delta = at(&event, "delta").cloned().unwrap_or_default();
            let reason = text(&delta, "stop_reason");
            let ends = || Event::Ends {
                end: end(reason),
                stop: text(&delta, "stop_sequence").map(str::to_owned),
            };
            reason.map(|_| ends()).into_iter().collect()
        }
        _ => Vec::new(),
    }
}
