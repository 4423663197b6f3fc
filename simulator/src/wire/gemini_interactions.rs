//! The Gemini Interactions wire: what goes out.
//!
//! Owns: the JSON of interactions and their steps, and what is remembered of them.
//! Streams are in `stream`, requests are read in `read`. It must not know faults, timing
//! or who answers.

mod read;
mod stream;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::gemini::{signs_calls, tier_name};
use super::{Marks, named_event};
use crate::answer::{Answer, Finish, Item, Piece, Usage};
use crate::ask::{Refusal, Role, ServiceTier, Turn};
use crate::seal::seal;
use crate::shelf::{Kept, Thread};

pub(super) use read::read;

/// What thoughts are signed under: their text is not in it, for it is only a summary.
const THOUGHT: &str = "thought";
/// When every interaction was created and changed: a constant, so that the same seed
/// gives the same bytes.
const CREATED: &str = "2025-10-09T08:53:20Z";

/// What every piece of one answer carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pen {
    host: String,
    owner: Option<u64>,
    marks: Marks,
    model: String,
    pub(super) tier: ServiceTier,
    /// Thoughts are shown, not only signed.
    summaries: bool,
    store: bool,
    /// Members that repeat the request.
    echo: Map<String, Value>,
    /// What came in, as it came in.
    input: Value,
    /// The conversation, without the answer.
    thread: Thread,
}

/// A step of an answer, as far as it is seen.
#[derive(Debug, Clone, PartialEq)]
enum Step<'a> {
    /// A signature, and the summary where it is wanted.
    Thought {
        pieces: &'a [Piece],
        shown: bool,
    },
    Output(&'a [Piece]),
    /// With its place among all calls.
    Call {
        number: usize,
        name: &'a str,
        pieces: &'a [Piece],
    },
}

impl Pen {
    pub(super) fn whole(&self, answer: &Answer) -> String {
        self.interaction(answer).to_string()
    }

    /// What is to be remembered of the answer, if anything is.
    pub(super) fn kept(&self, answer: &Answer) -> Option<Kept> {
        if !self.store {
            return None;
        }
        let mut thread = self.thread.clone();
        for step in self.steps(answer) {
            match step {
                Step::Thought { .. } => {}
                Step::Output(pieces) => {
                    thread
                        .turns
                        .push(Turn::new(Role::Assistant, text_of(pieces)));
                }
                Step::Call { number, .. } => thread.open_calls.push(self.call_id(number)),
            }
        }
        let mut response = self.interaction(answer);
        response["input"] = self.input.clone();
        Some(Kept {
            id: self.id(),
            owner: self.owner,
            response,
            thread,
            ready_at: None,
        })
    }

    fn id(&self) -> String {
        self.marks.id("v1_")
    }

    fn call_id(&self, number: usize) -> String {
        self.marks.part("call_", number)
    }

    fn signature(&self) -> String {
        seal(&self.host, THOUGHT)
    }

    /// The steps of an answer. Models that sign their calls think before them, seen or not.
    fn steps<'a>(&self, answer: &'a Answer) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let mut calls = 0;
        for item in &answer.items {
            match item {
                Item::Reasoning(pieces) => steps.push(Step::Thought {
                    pieces,
                    shown: self.summaries,
                }),
                Item::Text(pieces) => steps.push(Step::Output(pieces)),
                Item::Refusal(_) => {}
                Item::Call { name, arguments } => {
                    let thought = matches!(steps.last(), Some(Step::Thought { .. }));
                    if calls == 0 && !thought && signs_calls(&self.model) {
                        let (pieces, shown) = (&[][..], false);
                        steps.push(Step::Thought { pieces, shown });
                    }
                    steps.push(Step::Call {
                        number: calls,
                        name,
                        pieces: arguments,
                    });
                    calls += 1;
                }
            }
        }
        steps
    }

    /// The finished interaction.
    fn interaction(&self, answer: &Answer) -> Value {
        let steps = self.steps(answer);
        let steps: Vec<Value> = steps.iter().map(|step| self.step(step)).collect();
        let mut interaction = self.ended(answer);
        interaction["steps"] = json!(steps);
        if let Some(members) = interaction.as_object_mut() {
            members.extend(self.echo.clone());
        }
        interaction
    }

    /// The finished interaction without its steps: as a stream ends with it.
    fn ended(&self, answer: &Answer) -> Value {
        let mut ended = json!({
            "id": self.id(), "status": status(&answer.finish), "usage": usage_json(answer.usage),
            "created": CREATED, "updated": CREATED, "service_tier": tier_name(self.tier),
            "object": "interaction", "model": self.model,
        });
        if answer.finish == Finish::Refused {
            let message = "The response was blocked for safety.";
            ended["errors"] = json!([{"code": "safety", "message": message}]);
        }
        ended
    }

    fn step(&self, step: &Step<'_>) -> Value {
        let mut value = self.bare_step(step);
        match step {
            Step::Thought { pieces, shown } => {
                value["signature"] = json!(self.signature());
                if *shown {
                    value["summary"] = json!([{"type": "text", "text": text_of(pieces)}]);
                }
            }
            Step::Output(pieces) => {
                value["content"] = json!([{"type": "text", "text": text_of(pieces)}]);
            }
            Step::Call { pieces, .. } => {
                let arguments = serde_json::from_str(&text_of(pieces));
                value["arguments"] = arguments.unwrap_or_else(|_| json!({}));
            }
        }
        value
    }

    /// A step as it is when it starts.
    fn bare_step(&self, step: &Step<'_>) -> Value {
        match step {
            Step::Thought { .. } => json!({"type": "thought"}),
            Step::Output(_) => json!({"type": "model_output"}),
            Step::Call { number, name, .. } => json!({
                "id": self.call_id(*number), "type": "function_call", "name": name,
                "arguments": {},
            }),
        }
    }
}

fn text_of(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

fn status(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::StopSequence(_) => "completed",
        Finish::Length => "incomplete",
        Finish::Calls => "requires_action",
        Finish::Refused => "failed",
    }
}

/// Output tokens leave out thoughts; the total does not.
fn usage_json(usage: Usage) -> Value {
    let text = |tokens: u64| json!([{"modality": "text", "tokens": tokens}]);
    let mut json = json!({
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "total_input_tokens": usage.input_tokens,
        "input_tokens_by_modality": text(usage.input_tokens),
        "total_cached_tokens": usage.cached_tokens,
        "total_output_tokens": usage.output_tokens - usage.reasoning_tokens,
        "total_tool_use_tokens": 0,
        "total_thought_tokens": usage.reasoning_tokens,
    });
    if usage.cached_tokens > 0 {
        json["cached_tokens_by_modality"] = text(usage.cached_tokens);
    }
    json
}

/// What a stream says of its failure: a code in words, unlike refusals before it.
pub(super) fn error_event(refusal: &Refusal) -> Bytes {
    let code = match refusal.status {
        401 => "unauthenticated",
        403 => "permission_denied",
        404 => "not_found",
        429 => "too_many_requests",
        503 => "service_unavailable",
        504 => "gateway_timeout",
        500..=599 => "internal_server_error",
        _ => "invalid_request",
    };
    let error = json!({"message": refusal.message, "code": code});
    named_event("error", &json!({"error": error, "event_type": "error"}))
}
