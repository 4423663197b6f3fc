//! The Anthropic Messages wire: what goes out.
//!
//! Owns: the JSON of messages, of stream events and of errors; requests are read in
//! `read`. It must not know faults, timing or who answers.

mod read;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Marks, Stream, named_event};
use crate::answer::{Answer, Finish, Item, Usage};
use crate::ask::Refusal;
use crate::seal::seal;

pub(super) use read::{format, read, thinking};

/// What a message has cost when it begins: not nothing, and not the end either, so that
/// a reader who adds the counts of a stream up is found out.
const TOKENS_AT_START: u64 = 1;

/// What every piece of one answer carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pen {
    host: String,
    marks: Marks,
    model: String,
    /// Thoughts are signed, but not shown.
    omit_thoughts: bool,
}

impl Pen {
    fn message(&self, answer: Option<&Answer>, usage: &Value) -> Value {
        let items = answer.map(|answer| answer.items.as_slice());
        let items = items.unwrap_or_default().iter().enumerate();
        let content: Vec<Value> = items.map(|(i, item)| self.block(i, item)).collect();
        let (reason, sequence) = answer.map_or((Value::Null, Value::Null), stop_reason);
        json!({
            "id": self.marks.id("msg_"), "type": "message", "role": "assistant",
            "model": self.model, "content": content, "stop_reason": reason,
            "stop_sequence": sequence, "usage": usage,
        })
    }

    fn block(&self, index: usize, item: &Item) -> Value {
        let text = item.text();
        match item {
            Item::Reasoning(_) => {
                let shown = self.shown(&text);
                json!({"type": "thinking", "thinking": shown, "signature": seal(&self.host, shown)})
            }
            Item::Text(_) | Item::Refusal(_) => json!({"type": "text", "text": text}),
            Item::Call { name, .. } => {
                let input: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
                let id = self.marks.part("toolu_", index);
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            }
        }
    }

    fn shown<'a>(&self, thoughts: &'a str) -> &'a str {
        if self.omit_thoughts { "" } else { thoughts }
    }

    pub(super) fn whole(&self, answer: &Answer) -> String {
        self.message(Some(answer), &usage_json(answer.usage))
            .to_string()
    }

    pub(super) fn stream(&self, answer: &Answer) -> Stream {
        let mut stream = Stream::default();
        let begun = Usage {
            output_tokens: TOKENS_AT_START,
            reasoning_tokens: 0,
            ..answer.usage
        };
        let start = self.message(None, &usage_json(begun));
        stream
            .opening
            .push(event("message_start", json!({ "message": start })));
        stream.opening.push(event("ping", json!({})));
        for (index, item) in answer.items.iter().enumerate() {
            self.stream_item(&mut stream, index, item);
        }
        let (reason, sequence) = stop_reason(answer);
        let delta = json!({
            "delta": {"stop_reason": reason, "stop_sequence": sequence},
            "usage": usage_json(answer.usage),
        });
        stream.end(event("message_delta", delta), 0);
        stream.end(event("message_stop", json!({})), 0);
        stream
    }

    fn stream_item(&self, stream: &mut Stream, index: usize, item: &Item) {
        let block = match item {
            Item::Reasoning(_) => json!({"type": "thinking", "thinking": "", "signature": ""}),
            Item::Text(_) | Item::Refusal(_) => json!({"type": "text", "text": ""}),
            Item::Call { name, .. } => {
                let id = self.marks.part("toolu_", index);
                json!({"type": "tool_use", "id": id, "name": name, "input": {}})
            }
        };
        let start = json!({"index": index, "content_block": block});
        stream.frame(event("content_block_start", start));
        let delta = |delta: Value| {
            event(
                "content_block_delta",
                json!({"index": index, "delta": delta}),
            )
        };
        if let Item::Call { .. } = item {
            stream.frame(delta(
                json!({"type": "input_json_delta", "partial_json": ""}),
            ));
        }
        let silent = matches!(item, Item::Reasoning(_)) && self.omit_thoughts;
        for piece in item.pieces().iter().filter(|_| !silent) {
            let text = &piece.text;
            let said = match item {
                Item::Reasoning(_) => json!({"type": "thinking_delta", "thinking": text}),
                Item::Text(_) | Item::Refusal(_) => json!({"type": "text_delta", "text": text}),
                Item::Call { .. } => json!({"type": "input_json_delta", "partial_json": text}),
            };
            stream.speak(delta(said), piece.tokens);
        }
        if let Item::Reasoning(_) = item {
            let signature = seal(&self.host, self.shown(&item.text()));
            let signed = json!({"type": "signature_delta", "signature": signature});
            stream.frame(delta(signed));
        }
        if silent {
            stream.bill(item.tokens());
        }
        stream.frame(event("content_block_stop", json!({ "index": index })));
    }

    pub(super) fn error_event(&self, refusal: &Refusal) -> Bytes {
        Bytes::from(format!(
            "event: error\ndata: {}\n\n",
            refusal_body(refusal, &self.marks.id("req_"))
        ))
    }
}

fn event(name: &str, members: Value) -> Bytes {
    let mut data = json!({ "type": name });
    if let (Some(data), Value::Object(members)) = (data.as_object_mut(), members) {
        data.extend(members);
    }
    named_event(name, &data)
}

/// The reason, and the stop sequence if it is one.
fn stop_reason(answer: &Answer) -> (Value, Value) {
    match &answer.finish {
        Finish::Stop => (json!("end_turn"), Value::Null),
        Finish::StopSequence(sequence) => (json!("stop_sequence"), json!(sequence)),
        Finish::Length => (json!("max_tokens"), Value::Null),
        Finish::Calls => (json!("tool_use"), Value::Null),
        Finish::Refused => (json!("refusal"), Value::Null),
    }
}

/// Input tokens leave out what came out of the cache or went into it.
fn usage_json(usage: Usage) -> Value {
    let written = usage.cache_written_tokens;
    json!({
        "input_tokens": usage.input_tokens - usage.cached_tokens - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "service_tier": "standard",
    })
}

pub(super) fn count(input_tokens: u64) -> String {
    json!({ "input_tokens": input_tokens }).to_string()
}

/// The provider's error form, with the type that belongs to a status.
pub(super) fn refusal_body(refusal: &Refusal, request_id: &str) -> String {
    let sort = match refusal.status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    };
    let mut error = json!({"type": sort, "message": refusal.message});
    if let Some(code) = refusal.code {
        error["details"] = json!({"error_code": code, "unsupported": [refusal.param]});
    }
    json!({"type": "error", "error": error, "request_id": request_id}).to_string()
}

pub(super) fn model_list(names: &[&str]) -> String {
    let model = |name: &&str| {
        json!({
            "type": "model", "id": name, "display_name": name,
            "created_at": "2025-10-09T08:53:20Z",
        })
    };
    let models: Vec<Value> = names.iter().map(model).collect();
    json!({
        "data": models, "has_more": false, "first_id": names.first(), "last_id": names.last(),
    })
    .to_string()
}
