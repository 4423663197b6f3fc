//! The OpenAI Chat Completions wire: what goes out.
//!
//! Owns: the JSON of answers and chunks; requests are read in `read`. It must not know
//! faults, timing or who answers.

mod read;

use bytes::Bytes;
use serde_json::{Value, json};

use super::openai::{data, done, tier_name};
use super::{CREATED, Marks, Stream};
use crate::answer::{Answer, Finish, Item, Usage};
use crate::ask::ServiceTier;

pub(super) use read::read;

/// What every piece of one answer carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pen {
    marks: Marks,
    model: String,
    pub(super) tier: ServiceTier,
    /// Chunks say `"usage": null` only where a usage chunk will follow.
    include_usage: bool,
}

impl Pen {
    fn chunk(&self, choices: &Value, usage: Option<Usage>) -> Bytes {
        let mut chunk = json!({
            "id": self.marks.id("chatcmpl-"), "object": "chat.completion.chunk",
            "created": CREATED, "model": self.model, "service_tier": tier_name(self.tier),
            "system_fingerprint": "fp_simulator", "choices": choices,
        });
        if self.include_usage {
            chunk["usage"] = usage.map_or(Value::Null, usage_json);
        }
        data(&chunk.to_string())
    }

    fn delta(&self, delta: &Value, finish_reason: Option<&str>) -> Bytes {
        let choice = json!([{
            "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason,
        }]);
        self.chunk(&choice, None)
    }

    pub(super) fn stream(&self, answer: &Answer) -> Stream {
        let mut stream = Stream::default();
        let role = json!({"role": "assistant", "content": "", "refusal": null});
        stream.opening.push(self.delta(&role, None));
        let mut calls = 0;
        for item in &answer.items {
            self.stream_item(&mut stream, item, calls);
            calls += usize::from(matches!(item, Item::Call { .. }));
        }
        let reason = finish_reason(&answer.finish);
        stream.end(self.delta(&json!({}), Some(reason)), 0);
        if self.include_usage {
            let usage = self.chunk(&json!([]), Some(answer.usage));
            stream.end(usage, 0);
        }
        stream.end(done(), 0);
        stream
    }

    fn stream_item(&self, stream: &mut Stream, item: &Item, index: usize) {
        if let Item::Call { name, .. } = item {
            let id = self.marks.part("call_", index);
            let function = json!({"name": name, "arguments": ""});
            let call =
                json!([{"index": index, "id": id, "type": "function", "function": function}]);
            stream.speak(self.delta(&json!({ "tool_calls": call }), None), 0);
        }
        for piece in item.pieces() {
            let text = &piece.text;
            let delta = match item {
                Item::Reasoning(_) => json!({ "reasoning_content": text }),
                Item::Text(_) => json!({ "content": text }),
                Item::Refusal(_) => json!({ "refusal": text }),
                Item::Call { .. } => {
                    json!({"tool_calls": [{"index": index, "function": {"arguments": text}}]})
                }
            };
            stream.speak(self.delta(&delta, None), piece.tokens);
        }
    }

    pub(super) fn whole(&self, answer: &Answer) -> String {
        let mut content = None;
        let mut message = json!({
            "role": "assistant", "content": null, "refusal": null, "annotations": [],
        });
        let mut calls = Vec::new();
        for item in &answer.items {
            let text = item.text();
            match item {
                Item::Reasoning(_) => message["reasoning_content"] = json!(text),
                Item::Text(_) => content = Some(text),
                Item::Refusal(_) => message["refusal"] = json!(text),
                Item::Call { name, .. } => {
                    let id = self.marks.part("call_", calls.len());
                    let function = json!({"name": name, "arguments": text});
                    calls.push(json!({"id": id, "type": "function", "function": function}));
                }
            }
        }
        if calls.is_empty() && message["refusal"].is_null() {
            message["content"] = json!(content.unwrap_or_default());
        }
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        let reason = finish_reason(&answer.finish);
        let choice = json!([{
            "index": 0, "message": message, "logprobs": null, "finish_reason": reason,
        }]);
        self.completion(&choice, answer.usage)
    }

    /// The answer of a provider that forgot to answer.
    pub(super) fn choiceless(&self, answer: &Answer) -> String {
        self.completion(&json!([]), answer.usage)
    }

    fn completion(&self, choices: &Value, usage: Usage) -> String {
        json!({
            "id": self.marks.id("chatcmpl-"), "object": "chat.completion", "created": CREATED,
            "model": self.model, "service_tier": tier_name(self.tier),
            "system_fingerprint": "fp_simulator", "choices": choices, "usage": usage_json(usage),
        })
        .to_string()
    }
}

fn finish_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) => "stop",
        Finish::Length => "length",
        Finish::Calls => "tool_calls",
        Finish::Refused => "content_filter",
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}
