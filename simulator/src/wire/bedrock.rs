//! The Bedrock Converse wire: what goes out.
//!
//! Owns: the JSON of answers, of stream events and of errors; requests are read in
//! `read`, frames are in `frame`, signatures in `sigv4`. It must not know faults, timing
//! or who answers.

mod frame;
mod read;
mod sigv4;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Marks, Stream};
use crate::answer::{Answer, Finish, Item, Usage};
use crate::ask::{Refusal, ServiceTier};
use crate::seal::seal;

pub(super) use frame::CONTENT_TYPE;
pub(super) use read::read;
pub(crate) use sigv4::Signed;
pub(super) use sigv4::{access_key, check};

/// How long every answer says it took, in milliseconds: a constant, so that the same seed
/// gives the same bytes.
const LATENCY_MS: u64 = 321;
/// Events are padded with a beginning of this, so that their size does not tell their text.
const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// Where the name of an exception comes from, as its header says it.
const NAMESPACE: &str = "http://internal.amazon.com/coral/com.amazon.bedrock/";

/// What every piece of one answer carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pen {
    host: String,
    marks: Marks,
    pub(super) tier: ServiceTier,
    /// Thoughts are signed, but not shown.
    omit_thoughts: bool,
    /// The request wants to know which stop sequence came.
    names_stop: bool,
}

impl Pen {
    pub(super) fn whole(&self, answer: &Answer) -> String {
        let items = answer.items.iter().enumerate();
        let content: Vec<Value> = items.map(|(i, item)| self.block(i, item)).collect();
        let mut response = json!({
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": stop_reason(&answer.finish),
            "usage": usage_json(answer.usage), "metrics": {"latencyMs": LATENCY_MS},
            "serviceTier": {"type": tier_name(self.tier)},
        });
        self.add_stop(&mut response, answer);
        response.to_string()
    }

    fn block(&self, index: usize, item: &Item) -> Value {
        let text = item.text();
        match item {
            Item::Reasoning(_) => {
                let shown = self.shown(&text);
                let thought = json!({"text": shown, "signature": seal(&self.host, shown)});
                json!({"reasoningContent": {"reasoningText": thought}})
            }
            Item::Text(_) | Item::Refusal(_) => json!({ "text": text }),
            Item::Call { name, .. } => {
                let input: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
                let id = self.call_id(index);
                json!({"toolUse": {"toolUseId": id, "name": name, "input": input}})
            }
        }
    }

    fn call_id(&self, index: usize) -> String {
        self.marks.part("tooluse_", index)
    }

    fn shown<'a>(&self, thoughts: &'a str) -> &'a str {
        if self.omit_thoughts { "" } else { thoughts }
    }

    /// The stop sequence, where the request wants it and it is one.
    fn add_stop(&self, members: &mut Value, answer: &Answer) {
        if self.names_stop
            && let Finish::StopSequence(sequence) = &answer.finish
        {
            members["additionalModelResponseFields"] = json!({"stop_sequence": sequence});
        }
    }

    pub(super) fn stream(&self, answer: &Answer) -> Stream {
        let mut stream = Stream::default();
        let start = event("messageStart", json!({"role": "assistant"}));
        stream.opening.push(start);
        for (index, item) in answer.items.iter().enumerate() {
            self.stream_item(&mut stream, index, item);
        }
        let mut stop = json!({"stopReason": stop_reason(&answer.finish)});
        self.add_stop(&mut stop, answer);
        stream.end(event("messageStop", stop), 0);
        let metadata = json!({
            "usage": usage_json(answer.usage), "metrics": {"latencyMs": LATENCY_MS},
            "serviceTier": {"type": tier_name(self.tier)},
        });
        stream.end(event("metadata", metadata), 0);
        stream
    }

    /// Only a call has a start; everything else begins with its first delta.
    fn stream_item(&self, stream: &mut Stream, index: usize, item: &Item) {
        if let Item::Call { name, .. } = item {
            let call = json!({"toolUse": {"toolUseId": self.call_id(index), "name": name}});
            let start = json!({"start": call, "contentBlockIndex": index});
            stream.frame(event("contentBlockStart", start));
        }
        let delta = |delta: Value| {
            let members = json!({"delta": delta, "contentBlockIndex": index});
            event("contentBlockDelta", members)
        };
        let silent = matches!(item, Item::Reasoning(_)) && self.omit_thoughts;
        for piece in item.pieces().iter().filter(|_| !silent) {
            let text = &piece.text;
            let said = match item {
                Item::Reasoning(_) => json!({"reasoningContent": {"text": text}}),
                Item::Text(_) | Item::Refusal(_) => json!({ "text": text }),
                Item::Call { .. } => json!({"toolUse": {"input": text}}),
            };
            stream.speak(delta(said), piece.tokens);
        }
        if let Item::Reasoning(_) = item {
            let signature = seal(&self.host, self.shown(&item.text()));
            let signed = json!({"reasoningContent": {"signature": signature}});
            stream.frame(delta(signed));
        }
        if silent {
            stream.bill(item.tokens());
        }
        stream.frame(event(
            "contentBlockStop",
            json!({"contentBlockIndex": index}),
        ));
    }
}

fn event(name: &'static str, mut payload: Value) -> Bytes {
    let length = 1 + payload.to_string().len() % PADDING.len();
    payload["p"] = json!(PADDING[..length]);
    frame::event(name, &payload)
}

fn stop_reason(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::StopSequence(_) => "stop_sequence",
        Finish::Length => "max_tokens",
        Finish::Calls => "tool_use",
        Finish::Refused => "content_filtered",
    }
}

/// Input tokens leave out what came out of the cache or went into it; the total does not.
fn usage_json(usage: Usage) -> Value {
    let (read, written) = (usage.cached_tokens, usage.cache_written_tokens);
    let mut json = json!({
        "inputTokens": usage.input_tokens - read - written,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.input_tokens + usage.output_tokens,
        "cacheReadInputTokens": read,
        "cacheWriteInputTokens": written,
    });
    if written > 0 {
        json["cacheDetails"] = json!([{"ttl": "5m", "inputTokens": written}]);
    }
    json
}

/// How a served tier is called.
fn tier_name(tier: ServiceTier) -> &'static str {
    match tier {
        ServiceTier::Standard => "default",
        ServiceTier::Flex => "flex",
        ServiceTier::Priority => "priority",
    }
}

/// Why a key is not taken; `None` of a request without one.
pub(super) fn wrong_key(key: Option<&str>) -> Refusal {
    match key {
        Some(_) => Refusal::new(
            403,
            "The security token included in the request is invalid.",
        )
        .coded("UnrecognizedClientException"),
        None => Refusal::new(403, "Missing Authentication Token")
            .coded("MissingAuthenticationTokenException"),
    }
}

/// What ends a stream that failed.
pub(super) fn error_event(refusal: &Refusal) -> Bytes {
    let name = match refusal.status {
        424 => "modelStreamErrorException",
        429 => "throttlingException",
        503 => "serviceUnavailableException",
        400..=499 => "validationException",
        _ => "internalServerException",
    };
    frame::exception(name, &error_json(refusal))
}

fn error_json(refusal: &Refusal) -> Value {
    json!({"message": refusal.message})
}

pub(super) fn refusal_body(refusal: &Refusal) -> String {
    error_json(refusal).to_string()
}

/// The header that says which exception it is: the body does not.
pub(super) fn error_type(refusal: &Refusal) -> String {
    let name = refusal.code.unwrap_or(match refusal.status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        413 => "RequestEntityTooLargeException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        500..=599 => "InternalServerException",
        _ => "ValidationException",
    });
    format!("{name}:{NAMESPACE}")
}

/// The list that Bedrock's other service has.
pub(super) fn model_list(names: &[&str]) -> String {
    let model = |name: &&str| {
        json!({
            "modelArn": format!("arn:aws:bedrock:us-east-1::foundation-model/{name}"),
            "modelId": name, "modelName": name, "responseStreamingSupported": true,
        })
    };
    let models: Vec<Value> = names.iter().map(model).collect();
    json!({ "modelSummaries": models }).to_string()
}
