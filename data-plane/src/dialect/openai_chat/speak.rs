//! An answer of another dialect, as Chat Completions.
//!
//! Owns: the whole form, and the chunks in their order: role, content, finish, usage,
//! `[DONE]`.

use bytes::Bytes;
use serde_json::{Value, json};
use spillway_routing::catalogue::Tier;

use crate::dialect::event::{End, Event, Piece, Said, Stamp, known};
use crate::dialect::{Reported, sse, usage};

fn served(tier: Option<Tier>) -> &'static str {
    match tier {
        Some(Tier::Flex) => "flex",
        Some(Tier::Priority) => "priority",
        _ => "default",
    }
}

fn reason(end: End, calls: bool) -> &'static str {
    match end {
        End::CutOff => "length",
        End::Refused => "content_filter",
        End::Whole if calls => "tool_calls",
        End::Whole => "stop",
    }
}

/// A whole answer.
pub(in crate::dialect) fn whole(said: &Said, reported: &Reported, stamp: &Stamp) -> Bytes {
    let joined = |wanted: fn(&Piece) -> Option<&String>| {
        let texts: Vec<&str> = said
            .pieces
            .iter()
            .filter_map(|piece| wanted(piece).map(String::as_str))
            .collect();
        (!texts.is_empty()).then(|| texts.concat())
    };
    let text = joined(|piece| match piece {
        Piece::Text(text) => Some(text),
        _ => None,
    });
    let refusal = joined(|piece| match piece {
        Piece::Refusal(text) => Some(text),
        _ => None,
    });
    let reasoning = joined(|piece| match piece {
        Piece::Reasoning(text) => Some(text),
        _ => None,
    });
    let calls: Vec<Value> = said
        .calls()
        .map(|call| {
            let function = json!({ "name": call.name, "arguments": call.arguments });
            json!({ "id": call.id, "type": "function", "function": function })
        })
        .collect();
    let finish = reason(said.end, !calls.is_empty());
    let mut message = json!({ "role": "assistant", "content": text, "refusal": refusal });
    if let Some(reasoning) = reasoning {
        message["reasoning_content"] = reasoning.into();
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    let body = json!({
        "id": format!("chatcmpl-{}", stamp.id),
        "object": "chat.completion",
        "created": stamp.created,
        "model": stamp.model,
        "service_tier": served(reported.tier),
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish }],
        "usage": usage::chat(&known(reported.usage)),
    });
    Bytes::from(body.to_string())
}

/// A stream under way.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    begun: bool,
    /// Indices of the calls so far, in the order in which they began.
    calls: Vec<usize>,
    end: Option<End>,
}

impl Speaker {
    pub(in crate::dialect) fn say(&mut self, event: Event, stamp: &Stamp, out: &mut Vec<u8>) {
        if !self.begun {
            self.begun = true;
            let delta = json!({ "role": "assistant", "content": "", "refusal": null });
            chunk(&delta, None, stamp, out);
        }
        let delta = match event {
            Event::Text(text) => json!({ "content": text }),
            Event::Reasoning(text) => json!({ "reasoning_content": text }),
            Event::Refusal(text) => json!({ "refusal": text }),
            Event::CallStarts { index, id, name } => {
                self.calls.push(index);
                let place = self.calls.len() - 1;
                let function = json!({ "name": name, "arguments": "" });
                json!({ "tool_calls": [
                    { "index": place, "id": id, "type": "function", "function": function }
                ] })
            }
            Event::CallArguments { index, json } => {
                let place = self.calls.iter().position(|known| *known == index);
                json!({ "tool_calls": [
                    { "index": place.unwrap_or(0), "function": { "arguments": json } }
                ] })
            }
            Event::Ends { end, .. } => {
                self.end = Some(end);
                return;
            }
        };
        chunk(&delta, None, stamp, out);
    }

    pub(in crate::dialect) fn end(
        &mut self,
        reported: &Reported,
        stamp: &Stamp,
        out: &mut Vec<u8>,
    ) {
        let finish = reason(self.end.unwrap_or_default(), !self.calls.is_empty());
        chunk(&json!({}), Some(finish), stamp, out);
        if stamp.wants_usage {
            let usage = usage::chat(&known(reported.usage));
            let body = envelope(&json!([]), stamp, Some(&usage));
            sse::write_data(&body.to_string(), out);
        }
        sse::write_data("[DONE]", out);
    }
}

fn chunk(delta: &Value, finish: Option<&str>, stamp: &Stamp, out: &mut Vec<u8>) {
    let choices = json!([
        { "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish }
    ]);
    sse::write_data(&envelope(&choices, stamp, None).to_string(), out);
}

fn envelope(choices: &Value, stamp: &Stamp, usage: Option<&Value>) -> Value {
    let mut body = json!({
        "id": format!("chatcmpl-{}", stamp.id),
        "object": "chat.completion.chunk",
        "created": stamp.created,
        "model": stamp.model,
        "choices": choices,
    });
    if stamp.wants_usage {
        body["usage"] = usage.cloned().unwrap_or_default();
    }
    body
}
