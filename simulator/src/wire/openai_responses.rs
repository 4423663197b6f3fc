//! The OpenAI Responses wire: what goes out.
//!
//! Owns: the JSON of responses and their items, and what is remembered of them. Streams
//! are in `stream`, requests are read in `read`. It must not know faults, timing or who
//! answers.

mod read;
mod stream;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::openai::{sort_and_code, tier_name};
use super::{CREATED, Marks, named_event};
use crate::answer::{Answer, Finish, Item, Usage};
use crate::ask::{Refusal, Role, ServiceTier, Turn};
use crate::seal::seal;
use crate::shelf::{Kept, Thread, unfinished};

pub(super) use read::read;

/// What encrypted reasoning is sealed under: its text is not in it, so that a client
/// may shorten the summary.
const REASONING: &str = "reasoning";

/// What every piece of one answer carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pen {
    host: String,
    owner: Option<u64>,
    marks: Marks,
    model: String,
    pub(super) tier: ServiceTier,
    /// Members of the response that repeat the request.
    echo: Map<String, Value>,
    /// Reasoning is summarised.
    summary: bool,
    /// Reasoning comes sealed too.
    encrypted: bool,
    background: bool,
    store: bool,
    /// The conversation, without the answer.
    thread: Thread,
}

impl Pen {
    /// The answer is only announced, and made in the background.
    pub(super) fn background(&self) -> bool {
        self.background
    }

    pub(super) fn whole(&self, answer: &Answer) -> String {
        let response = self.response(answer);
        if self.background {
            return unfinished(&response, "queued").to_string();
        }
        response.to_string()
    }

    /// What is to be remembered of the answer, if anything is.
    pub(super) fn kept(&self, answer: &Answer, ready_at: Instant) -> Option<Kept> {
        if !self.store && !self.background {
            return None;
        }
        let mut thread = self.thread.clone();
        for (index, item) in answer.items.iter().enumerate() {
            match item {
                Item::Reasoning(_) => {}
                Item::Text(_) | Item::Refusal(_) => {
                    thread.turns.push(Turn::new(Role::Assistant, item.text()));
                }
                Item::Call { .. } => thread.open_calls.push(self.call_id(index)),
            }
        }
        Some(Kept {
            id: self.id(),
            owner: self.owner,
            response: self.response(answer),
            thread,
            ready_at: self.background.then_some(ready_at),
        })
    }

    fn id(&self) -> String {
        self.marks.id("resp_")
    }

    fn call_id(&self, index: usize) -> String {
        self.marks.part("call_", index)
    }

    /// The finished response.
    fn response(&self, answer: &Answer) -> Value {
        let incomplete = answer.finish == Finish::Length;
        let items = answer.items.iter().enumerate();
        let output: Vec<Value> = items.map(|(i, item)| self.item(i, item, answer)).collect();
        let mut response = json!({
            "id": self.id(), "object": "response", "created_at": CREATED,
            "status": if incomplete { "incomplete" } else { "completed" },
            "background": self.background, "error": null,
            "incomplete_details": null, "model": self.model, "output": output,
            "service_tier": tier_name(self.tier), "usage": usage_json(answer.usage),
        });
        if incomplete {
            response["incomplete_details"] = json!({"reason": "max_output_tokens"});
        }
        if let Some(members) = response.as_object_mut() {
            members.extend(self.echo.clone());
        }
        response
    }

    fn item(&self, index: usize, item: &Item, answer: &Answer) -> Value {
        let last = index + 1 == answer.items.len();
        let status = if last && answer.finish == Finish::Length {
            "incomplete"
        } else {
            "completed"
        };
        let mut value = self.bare_item(index, item, status);
        let text = item.text();
        match item {
            Item::Reasoning(_) => {
                if self.summary {
                    value["summary"] = json!([{"type": "summary_text", "text": text}]);
                }
            }
            Item::Text(_) | Item::Refusal(_) => value["content"] = json!([part(item, &text)]),
            Item::Call { .. } => value["arguments"] = json!(text),
        }
        value
    }

    /// An item as it is when it is announced.
    fn bare_item(&self, index: usize, item: &Item, status: &str) -> Value {
        match item {
            Item::Reasoning(_) => {
                let id = self.marks.part("rs_", index);
                let mut value = json!({"id": id, "type": "reasoning", "summary": []});
                if self.encrypted {
                    value["encrypted_content"] = json!(seal(&self.host, REASONING));
                }
                value
            }
            Item::Text(_) | Item::Refusal(_) => json!({
                "id": self.marks.part("msg_", index), "type": "message", "status": status,
                "role": "assistant", "content": [],
            }),
            Item::Call { name, .. } => json!({
                "id": self.marks.part("fc_", index), "type": "function_call", "status": status,
                "call_id": self.call_id(index), "name": name, "arguments": "",
            }),
        }
    }
}

/// The content part of a message.
fn part(item: &Item, text: &str) -> Value {
    if matches!(item, Item::Refusal(_)) {
        json!({"type": "refusal", "refusal": text})
    } else {
        json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    })
}

pub(super) fn error_event(refusal: &Refusal, sent: usize) -> Bytes {
    let (sort, code) = sort_and_code(refusal.status);
    let data = json!({
        "type": "error", "sequence_number": sent, "code": code.unwrap_or(sort),
        "message": refusal.message, "param": refusal.param,
    });
    named_event("error", &data)
}
