//! What a Responses provider says, in words that all dialects share.
//!
//! Owns: reading the items of an answer, whole or event by event. What cannot be read
//! says nothing.

use serde_json::Value;

use crate::conversation::ToolCall;
use crate::dialect::event::{End, Event, Piece, Said};
use crate::dialect::peek::{at, count, list, text};

pub(in crate::dialect) fn said(body: &[u8]) -> Said {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let pieces: Vec<Piece> = list(&body, "output").iter().flat_map(item).collect();
    let refused = pieces
        .iter()
        .any(|piece| matches!(piece, Piece::Refusal(_)));
    Said {
        end: if refused { End::Refused } else { end(&body) },
        pieces,
        stop: None,
    }
}

fn item(item: &Value) -> Vec<Piece> {
    let word = |name| text(item, name).unwrap_or_default().to_owned();
    match text(item, "type").unwrap_or_default() {
        "message" => list(item, "content")
            .iter()
            .filter_map(|part| match text(part, "type")? {
                "refusal" => Some(Piece::Refusal(text(part, "refusal")?.to_owned())),
                _ => Some(Piece::Text(text(part, "text")?.to_owned())),
            })
            .collect(),
        "reasoning" => {
            let parts = list(item, "summary").iter().chain(list(item, "content"));
            let texts: Vec<&str> = parts.filter_map(|part| text(part, "text")).collect();
            if texts.is_empty() {
                return Vec::new();
            }
            vec![Piece::Reasoning(texts.join("\n"))]
        }
        "function_call" => vec![Piece::Call(ToolCall {
            id: word("call_id"),
            name: word("name"),
            arguments: word("arguments"),
        })],
        _ => Vec::new(),
    }
}

/// How a finished response ended.
fn end(response: &Value) -> End {
    let reason = at(response, "incomplete_details").and_then(|details| text(details, "reason"));
    match reason {
        Some("content_filter") => End::Refused,
        Some(_) => End::CutOff,
        None => End::Whole,
    }
}

/// What one event adds.
pub(in crate::dialect) fn events(data: &[u8]) -> Vec<Event> {
    let event: Value = serde_json::from_slice(data).unwrap_or_default();
    let delta = || text(&event, "delta").unwrap_or_default().to_owned();
    let index = count(&event, "output_index").and_then(|index| usize::try_from(index).ok());
    let index = index.unwrap_or(0);
    let kind = text(&event, "type").unwrap_or_default();
    match kind {
        "response.output_text.delta" => vec![Event::Text(delta())],
        "response.refusal.delta" => vec![Event::Refusal(delta())],
        "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
            vec![Event::Reasoning(delta())]
        }
        "response.output_item.added" => {
            let item = at(&event, "item").cloned().unwrap_or_default();
            if text(&item, "type") != Some("function_call") {
                return Vec::new();
            }
            let word = |name| text(&item, name).unwrap_or_default().to_owned();
            vec![Event::CallStarts {
                index,
                id: word("call_id"),
                name: word("name"),
            }]
        }
        "response.function_call_arguments.delta" => vec![Event::CallArguments {
            index,
            json: delta(),
        }],
        "response.completed" | "response.incomplete" => {
            let response = at(&event, "response").cloned().unwrap_or_default();
            let refused = list(&response, "output")
                .iter()
                .flat_map(item)
                .any(|piece| matches!(piece, Piece::Refusal(_)));
            vec![Event::Ends {
                end: if refused {
                    End::Refused
                } else {
                    end(&response)
                },
                stop: None,
            }]
        }
        _ => Vec::new(),
    }
}
