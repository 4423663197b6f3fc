//! The Gemini generateContent wire: what goes out.
//!
//! Owns: the JSON of answers, of stream elements and of errors; requests are read in
//! `read`. It must not know faults, timing or who answers.

mod read;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Delivery, Marks, Stream, openai};
use crate::answer::{Answer, Finish, Item, Piece, Usage};
use crate::ask::{Refusal, ServiceTier};
use crate::script::RetryAfter;
use crate::seal::seal;

pub(super) use read::{fits, read};

/// Signatures for calls that another model made, as the provider describes them.
pub(super) const FOREIGN_SIGNATURES: [&str; 2] = [
    "context_engineering_is_the_way_to_go",
    "skip_thought_signature_validator",
];

/// What every piece of one answer carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pen {
    host: String,
    marks: Marks,
    model: String,
    pub(super) tier: ServiceTier,
    pub(super) delivery: Delivery,
    /// Thoughts are shown, not only counted.
    include_thoughts: bool,
}

/// What has been told so far, in an answer that grows.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    candidates: u64,
    thoughts: u64,
}

impl Told {
    fn all(usage: Usage) -> Self {
        Self {
            candidates: usage.output_tokens - usage.reasoning_tokens,
            thoughts: usage.reasoning_tokens,
        }
    }
}

impl Pen {
    /// Newer models sign their calls and give them ids.
    fn signs(&self) -> bool {
        signs_calls(&self.model)
    }

    fn response(&self, candidate: &Value, usage: &Value) -> Value {
        json!({
            "candidates": [candidate], "usageMetadata": usage, "modelVersion": self.model,
            "responseId": self.marks.id("r"),
        })
    }

    pub(super) fn whole(&self, answer: &Answer) -> String {
        let mut parts = Vec::new();
        let mut calls = 0;
        for (index, item) in answer.items.iter().enumerate() {
            let text = item.text();
            match item {
                Item::Reasoning(_) if self.include_thoughts => {
                    parts.push(json!({"text": text, "thought": true}));
                }
                Item::Reasoning(_) | Item::Refusal(_) => {}
                Item::Text(_) => parts.push(json!({ "text": text })),
                Item::Call { name, .. } => {
                    parts.push(self.call(index, name, &text, calls == 0));
                    calls += 1;
                }
            }
        }
        let candidate = candidate(parts, Some(&answer.finish));
        let usage = self.usage_json(answer.usage, Told::all(answer.usage));
        self.response(&candidate, &usage).to_string()
    }

    /// A call; of several only the first is signed.
    fn call(&self, index: usize, name: &str, arguments: &str, first: bool) -> Value {
        let arguments: Value = serde_json::from_str(arguments).unwrap_or_else(|_| json!({}));
        let mut call = json!({"name": name, "args": arguments});
        if self.signs() {
            call["id"] = json!(self.marks.part("fc", index));
        }
        let mut part = json!({ "functionCall": call });
        if self.signs() && first {
            part["thoughtSignature"] = json!(seal(&self.host, name));
        }
        part
    }

    pub(super) fn stream(&self, answer: &Answer) -> Stream {
        let mut stream = Stream::default();
        let mut told = Told::default();
        // Billed, but not told yet: thoughts that nobody sees come with what comes next.
        let mut hidden = 0;
        for (part, piece) in self.parts(answer) {
            let Some(part) = part else {
                hidden += piece.tokens;
                told.thoughts += piece.tokens;
                continue;
            };
            if part["thought"] == true {
                told.thoughts += piece.tokens;
            } else {
                told.candidates += piece.tokens;
            }
            let usage = self.usage_json(answer.usage, told);
            let response = self.response(&candidate(vec![part], None), &usage);
            let first = stream.content.is_empty();
            let tokens = piece.tokens + std::mem::take(&mut hidden);
            stream.speak(self.element(&response, first), tokens);
        }
        self.end(&mut stream, answer);
        stream
    }

    fn end(&self, stream: &mut Stream, answer: &Answer) {
        let silent = stream.content.is_empty();
        let parts = if silent {
            Vec::new()
        } else {
            vec![text_part("", false)]
        };
        let told = Told::all(answer.usage);
        let last = candidate(parts, Some(&answer.finish));
        let last = self.response(&last, &self.usage_json(answer.usage, told));
        let billed: u64 = stream.content.iter().map(|part| part.tokens).sum();
        let unbilled = answer.usage.output_tokens - billed;
        stream.end(self.element(&last, silent), unbilled);
        if self.delivery == Delivery::Array {
            stream.end(Bytes::from_static(b"]"), 0);
        }
    }

    /// The parts of a stream and what they are made of; `None` for what is not shown.
    fn parts(&self, answer: &Answer) -> Vec<(Option<Value>, Piece)> {
        let mut parts = Vec::new();
        let mut calls = 0;
        for (index, item) in answer.items.iter().enumerate() {
            match item {
                Item::Refusal(_) => {}
                Item::Call { name, .. } => {
                    let text = item.text();
                    let call = self.call(index, name, &text, calls == 0);
                    calls += 1;
                    let tokens = item.tokens();
                    parts.push((Some(call), Piece { text, tokens }));
                }
                Item::Reasoning(pieces) | Item::Text(pieces) => {
                    let thought = matches!(item, Item::Reasoning(_));
                    let shown = !thought || self.include_thoughts;
                    parts.extend(pieces.iter().map(|piece| {
                        let part = shown.then(|| text_part(&piece.text, thought));
                        (part, piece.clone())
                    }));
                }
            }
        }
        parts
    }

    /// One element of a stream, as events or as part of an array.
    fn element(&self, element: &Value, first: bool) -> Bytes {
        match (self.delivery, first) {
            (Delivery::Array, true) => Bytes::from(format!("[{element}")),
            (Delivery::Array, false) => Bytes::from(format!(",\r\n{element}")),
            (Delivery::Events | Delivery::Whole, _) => openai::data(&element.to_string()),
        }
    }

    pub(super) fn error_event(&self, refusal: &Refusal, sent: usize) -> Bytes {
        let mut event = self.element(&error_json(refusal), sent == 0).to_vec();
        if self.delivery == Delivery::Array {
            event.push(b']');
        }
        Bytes::from(event)
    }

    fn usage_json(&self, usage: Usage, told: Told) -> Value {
        let mut json = json!({
            "promptTokenCount": usage.input_tokens,
            "candidatesTokenCount": told.candidates,
            "totalTokenCount": usage.input_tokens + told.candidates + told.thoughts,
            "promptTokensDetails": text_details(usage.input_tokens),
            "serviceTier": tier_name(self.tier),
        });
        if told.thoughts > 0 {
            json["thoughtsTokenCount"] = json!(told.thoughts);
        }
        if usage.cached_tokens > 0 {
            json["cachedContentTokenCount"] = json!(usage.cached_tokens);
        }
        json
    }
}

/// Whether calls of this model carry a signature that has to come back.
pub(super) fn signs_calls(model: &str) -> bool {
    model.contains("gemini-3")
}

fn text_part(text: &str, thought: bool) -> Value {
    if thought {
        json!({"text": text, "thought": true})
    } else {
        json!({ "text": text })
    }
}

fn candidate(parts: Vec<Value>, finish: Option<&Finish>) -> Value {
    let mut candidate = json!({});
    if !parts.is_empty() {
        candidate["content"] = json!({"parts": parts, "role": "model"});
    }
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(match finish {
            Finish::Stop | Finish::StopSequence(_) | Finish::Calls => "STOP",
            Finish::Length => "MAX_TOKENS",
            Finish::Refused => "SAFETY",
        });
    }
    candidate["index"] = json!(0);
    if finish == Some(&Finish::Refused) {
        let rating = json!({
            "category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true,
        });
        candidate["safetyRatings"] = json!([rating]);
    }
    candidate
}

fn text_details(tokens: u64) -> Value {
    json!([{"modality": "TEXT", "tokenCount": tokens}])
}

/// How a served tier is called.
pub(super) fn tier_name(tier: ServiceTier) -> &'static str {
    match tier {
        ServiceTier::Standard => "standard",
        ServiceTier::Flex => "flex",
        ServiceTier::Priority => "priority",
    }
}

pub(super) fn count(input_tokens: u64) -> String {
    json!({"totalTokens": input_tokens, "promptTokensDetails": text_details(input_tokens)})
        .to_string()
}

fn error_json(refusal: &Refusal) -> Value {
    let status = match refusal.status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500..=599 => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    let mut error = json!({
        "code": refusal.status, "message": refusal.message, "status": status,
    });
    let delay = match refusal.retry_after {
        Some(RetryAfter::Seconds(seconds)) => Some(format!("{seconds}s")),
        Some(RetryAfter::Millis(millis)) => {
            Some(format!("{}.{:03}s", millis / 1_000, millis % 1_000))
        }
        None => None,
    };
    if let Some(delay) = delay {
        let info = "type.googleapis.com/google.rpc.RetryInfo";
        error["details"] = json!([{"@type": info, "retryDelay": delay}]);
    }
    json!({ "error": error })
}

pub(super) fn refusal_body(refusal: &Refusal) -> String {
    error_json(refusal).to_string()
}

pub(super) fn model_list(names: &[&str]) -> String {
    let model = |name: &&str| {
        json!({
            "name": format!("models/{name}"), "displayName": name, "version": "001",
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        })
    };
    let models: Vec<Value> = names.iter().map(model).collect();
    json!({ "models": models }).to_string()
}
