//! OpenAI Chat Completions, as OpenAI and its many imitators speak it.
//!
//! Owns: which top-level fields are rewritten, what a chunk means, usage in its normal
//! form, whom an error blames. Reads leniently: hosts differ in everything that is not
//! tested. Pure.

mod said;
mod usage;

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use spillway_routing::catalogue::Tier;

pub(super) use self::said::said;
use super::sse::Frame;
use super::{Answer, Blame, Garbled, Meaning, Reported, WireRequest};
use crate::chat::Chat;
use crate::failure;

/// Fields that are Spillway's own or that the lane decides.
const TAKEN: [&str; 4] = ["model", "service_tier", "stream_options", "start_within"];

/// The caller's body with this lane's model and tier; all other values byte for byte.
pub(super) fn request(chat: &Chat, wire_model: &str, tier: Tier) -> WireRequest {
    let size: usize = chat
        .fields
        .iter()
        .map(|f| f.name.len() + f.value.get().len() + 4)
        .sum();
    let mut body = BytesMut::with_capacity(size + 128);
    body.put_u8(b'{');
    put(&mut body, "model", &quoted(wire_model));
    for field in &chat.fields {
        if !TAKEN.contains(&field.name.as_str()) {
            put(&mut body, &field.name, field.value.get());
        }
    }
    // A standard lane names no tier: hosts that have none refuse the field.
    match tier {
        Tier::Flex | Tier::Priority => put(&mut body, "service_tier", &quoted(tier.name())),
        Tier::Standard | Tier::Background | Tier::Batch => {}
    }
    if chat.stream {
        put(&mut body, "stream_options", &stream_options(chat));
    }
    body.put_u8(b'}');
    WireRequest {
        path: "/chat/completions",
        body: body.freeze(),
    }
}

fn put(body: &mut BytesMut, name: &str, value: &str) {
    if body.len() > 1 {
        body.put_u8(b',');
    }
    body.put_slice(quoted(name).as_bytes());
    body.put_u8(b':');
    body.put_slice(value.as_bytes());
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The caller's options with usage asked for: without it nothing can be accounted.
fn stream_options(chat: &Chat) -> String {
    let given = chat
        .fields
        .iter()
        .find(|field| field.name == "stream_options");
    let mut options: BTreeMap<String, Box<RawValue>> = given
        .and_then(|field| serde_json::from_str(field.value.get()).ok())
        .unwrap_or_default();
    options.remove("include_usage");
    let mut text = String::from(r#"{"include_usage":true"#);
    for (name, value) in options {
        text.push(',');
        text.push_str(&quoted(&name));
        text.push(':');
        text.push_str(value.get());
    }
    text.push('}');
    text
}

#[derive(Default, Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    x_groq: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_tier: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default, alias = "message")]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

/// Fields of a delta or message that are an answer; a role alone is none.
#[derive(Default, Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    audio: Option<&'a RawValue>,
}

impl Parts<'_> {
    fn bytes(&self) -> u32 {
        let parts = [
            self.content,
            self.refusal,
            self.tool_calls,
            self.function_call,
            self.reasoning.or(self.reasoning_content),
            self.audio,
        ];
        let length = |raw: &RawValue| match raw.get() {
            "null" | "\"\"" | "[]" | "{}" => 0,
            text if text.starts_with('"') => text.len().saturating_sub(2),
            text => text.len(),
        };
        let sum: usize = parts.into_iter().flatten().map(length).sum();
        u32::try_from(sum).unwrap_or(u32::MAX)
    }
}

fn content(choices: &[Choice<'_>]) -> u32 {
    let deltas = choices.iter().filter_map(|choice| choice.delta);
    let parts = deltas.map(|d| serde_json::from_str::<Parts<'_>>(d.get()).unwrap_or_default());
    parts.fold(0u32, |sum, parts| sum.saturating_add(parts.bytes()))
}

fn given(raw: Option<&RawValue>) -> Option<&str> {
    raw.map(RawValue::get).filter(|text| *text != "null")
}

impl Chunk<'_> {
    fn reported(&self) -> Reported {
        let nested = || {
            let groq = given(self.x_groq)?;
            serde_json::from_str::<Chunk<'_>>(groq)
                .ok()?
                .reported()
                .usage
        };
        Reported {
            usage: given(self.usage).and_then(usage::read).or_else(nested),
            tier: self.service_tier.as_deref().and_then(tier),
        }
    }
}

/// A tier as hosts name it in their answers.
fn tier(name: &str) -> Option<Tier> {
    match name {
        "default" | "standard" | "on_demand" => Some(Tier::Standard),
        "flex" => Some(Tier::Flex),
        "priority" | "fast" => Some(Tier::Priority),
        _ => None,
    }
}

/// What one frame means. A frame that cannot be read means nothing and is passed on.
pub(super) fn meaning(frame: &Frame) -> Meaning {
    let Some(data) = frame.data() else {
        return Meaning::default();
    };
    if data.trim_ascii() == b"[DONE]" {
        return Meaning {
            done: true,
            ..Meaning::default()
        };
    }
    let chunk: Chunk<'_> = serde_json::from_slice(&data).unwrap_or_default();
    let choices = chunk.choices.as_deref().unwrap_or_default();
    let mut ends = choices
        .iter()
        .filter_map(|choice| given(choice.finish_reason));
    let broke = ends.clone().any(|reason| reason == "\"error\"");
    let error = given(chunk.error).map(|error| blame_of(StatusCode::OK, error));
    let reported = chunk.reported();
    Meaning {
        content: content(choices),
        finished: ends.next().is_some(),
        done: false,
        only_usage: choices.is_empty() && chunk.choices.is_some() && reported.usage.is_some(),
        reported,
        error: error.or(broke.then_some(Blame::Provider)),
    }
}

/// A whole answer: JSON with at least one choice, or it is none.
pub(super) fn answer(body: &[u8]) -> Result<Answer, Garbled> {
    let chunk: Chunk<'_> = serde_json::from_slice(body).map_err(|_| Garbled)?;
    let choices = chunk
        .choices
        .as_deref()
        .filter(|c| !c.is_empty())
        .ok_or(Garbled)?;
    if choices.iter().all(|choice| choice.delta.is_none()) || given(chunk.error).is_some() {
        return Err(Garbled);
    }
    Ok(Answer {
        content: content(choices),
        reported: chunk.reported(),
    })
}

#[derive(Default, Deserialize)]
struct ErrorBody<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct ErrorFields {
    #[serde(default)]
    code: serde_json::Value,
    #[serde(default, rename = "type")]
    kind: serde_json::Value,
}

/// Whom a response that is no 200 blames.
pub(super) fn blame(status: StatusCode, body: &[u8]) -> Blame {
    let body: ErrorBody<'_> = serde_json::from_slice(body).unwrap_or_default();
    blame_of(status, body.error.map_or("", RawValue::get))
}

fn blame_of(status: StatusCode, error: &str) -> Blame {
    let fields: ErrorFields = serde_json::from_str(error).unwrap_or_default();
    let names = [
        fields.code.as_str().unwrap_or_default(),
        fields.kind.as_str().unwrap_or_default(),
    ];
    let says = |known: &[&str]| names.iter().any(|name| known.contains(name));
    // Some hosts put the status into the code of an error that comes in a stream.
    let code = fields
        .code
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    match code
        .filter(|_| status.is_success())
        .unwrap_or(status.as_u16())
    {
        // The key has no money left: waiting does not help.
        429 if says(&["insufficient_quota", "credit_balance_exhausted"]) => Blame::Configuration,
        429 => Blame::Limit,
        503 | 529 => Blame::Overload,
        401 => Blame::Configuration,
        404 if says(&["model_not_found"]) => Blame::Configuration,
        // What one caller asked for can cause these: they say nothing of the lane.
        402..=404 | 300..=399 => Blame::Elsewhere,
        408 | 500.. => Blame::Provider,
        200 if says(&["rate_limit_exceeded", "rate_limit_error"]) => Blame::Limit,
        200 if says(&["server_is_overloaded", "overloaded_error"]) => Blame::Overload,
        100..=299 => Blame::Provider,
        _ => Blame::Request,
    }
}

pub(super) fn error_frame(message: &str, code: &str) -> Bytes {
    let error = failure::error_form(message, "upstream_error", None, code);
    let mut frame = BytesMut::with_capacity(error.len() + 8);
    frame.put_slice(b"data: ");
    frame.put_slice(&error);
    frame.put_slice(b"\n\n");
    frame.freeze()
}

#[cfg(test)]
mod tests;
