//! OpenAI Chat Completions, as OpenAI and its many imitators speak it.
//!
//! Owns: which top-level fields are rewritten, what a chunk means, usage in its normal
//! form, whom an error blames. Reads leniently: hosts differ in everything that is not
//! tested. Pure.

mod hear;
mod read;
mod speak;
mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use spillway_routing::catalogue::{Tier, Upstream};

use super::host::Host;
use super::peek::{at, text};
use super::{Answer, Blame, Garbled, Meaning, Reported, WireRequest, usage};
use crate::chat::{Body, quoted};
use crate::conversation::Setting;

pub(super) use self::hear::{events, said};
pub(super) use self::read::read;
pub(super) use self::speak::{Speaker, whole};
pub(super) use self::write::{audio_format, losses, write};

pub(super) const PATH: &str = "/chat/completions";

/// Ends of what is no whole answer, as JSON.
const GIVEN_UP: [&str; 3] = ["\"error\"", "\"insufficient_system_resource\"", "\"abort\""];

/// Settings that other dialects know as well, under their names here.
const SETTINGS: [(Setting, &str); 13] = [
    (Setting::Temperature, "temperature"),
    (Setting::TopP, "top_p"),
    (Setting::Seed, "seed"),
    (Setting::PresencePenalty, "presence_penalty"),
    (Setting::FrequencyPenalty, "frequency_penalty"),
    (Setting::LogitBias, "logit_bias"),
    (Setting::Logprobs, "logprobs"),
    (Setting::TopLogprobs, "top_logprobs"),
    (Setting::Verbosity, "verbosity"),
    (Setting::User, "user"),
    (Setting::Metadata, "metadata"),
    (Setting::CacheKey, "prompt_cache_key"),
    (Setting::Store, "store"),
];

/// The caller's body with this lane's model and tier; all other values byte for byte.
pub(super) fn forward(body: &Body, upstream: &Upstream, tier: Tier, stream: bool) -> WireRequest {
    let (model, tier) = (quoted(&upstream.wire_model), tier_name(tier).map(quoted));
    let mut first = vec![("model", model.as_str())];
    let mut without = vec!["model", "service_tier", "start_within"];
    let options = stream.then(|| stream_options(body));
    // What other hosts' answers left in them.
    let host = Host::of(upstream);
    let messages = body.raw("messages").and_then(|raw| host.fitted(raw));
    if let Some(messages) = &messages {
        first.push(("messages", messages));
        without.push("messages");
    }
    first.extend(tier.as_deref().map(|tier| ("service_tier", tier)));
    if stream && body.raw("stream") != Some("true") {
        first.push(("stream", "true"));
        without.push("stream");
    }
    if let Some(options) = &options {
        first.push(("stream_options", options));
        without.push("stream_options");
    }
    WireRequest {
        path: PATH.into(),
        body: body.rewritten(&first, &without),
    }
}

/// What is asked for at a tier. A standard lane names none: hosts that have no tiers
/// refuse the field.
pub(super) fn tier_name(tier: Tier) -> Option<&'static str> {
    match tier {
        Tier::Flex | Tier::Priority => Some(tier.name()),
        Tier::Standard | Tier::Background | Tier::Batch => None,
    }
}

/// The caller's options with usage asked for: without it nothing can be accounted.
fn stream_options(body: &Body) -> String {
    let given = body.raw("stream_options");
    let mut options: BTreeMap<String, Box<RawValue>> = given
        .and_then(|given| serde_json::from_str(given).ok())
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

impl Choice<'_> {
    /// By hosts that broke off: OpenRouter, DeepSeek, vLLM.
    fn is_given_up(&self) -> bool {
        let reason = given(self.finish_reason);
        reason.is_some_and(|reason| GIVEN_UP.contains(&reason))
    }
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
            begun: None,
            usage: given(self.usage).and_then(usage::of_chat).or_else(nested),
            tier: self.service_tier.as_deref().and_then(usage::tier_of),
        }
    }
}

/// What one frame means. A frame that cannot be read means nothing and is passed on.
pub(super) fn meaning(data: &[u8]) -> Meaning {
    if data.trim_ascii() == b"[DONE]" {
        return Meaning {
            done: true,
            ..Meaning::default()
        };
    }
    let chunk: Chunk<'_> = serde_json::from_slice(data).unwrap_or_default();
    let choices = chunk.choices.as_deref().unwrap_or_default();
    let mut ends = choices
        .iter()
        .filter_map(|choice| given(choice.finish_reason));
    let broke = choices.iter().any(Choice::is_given_up);
    let error = given(chunk.error).map(|error| {
        let error: Value = serde_json::from_str(error).unwrap_or_default();
        blame_of(StatusCode::OK, Some(&error))
    });
    let reported = chunk.reported();
    Meaning {
        content: content(choices),
        finished: ends.next().is_some(),
        done: false,
        only_usage: choices.is_empty() && chunk.choices.is_some() && reported.usage.is_some(),
        reported,
        error: error.or(broke.then_some(Blame::Provider)),
        events: Vec::new(),
    }
}

/// A whole answer: JSON with at least one choice, none of them broken off, or it is none.
pub(super) fn answer(body: &[u8]) -> Result<Answer, Garbled> {
    let chunk: Chunk<'_> = serde_json::from_slice(body).map_err(|_| Garbled)?;
    let choices = chunk
        .choices
        .as_deref()
        .filter(|c| !c.is_empty())
        .ok_or(Garbled)?;
    let broke = given(chunk.error).is_some() || choices.iter().any(Choice::is_given_up);
    if broke || choices.iter().all(|choice| choice.delta.is_none()) {
        return Err(Garbled);
    }
    Ok(Answer {
        content: content(choices),
        reported: chunk.reported(),
    })
}

/// Whom a response that is no 200 blames.
pub(super) fn blame(status: StatusCode, body: &[u8]) -> Blame {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    blame_of(status, at(&body, "error"))
}

/// The same from the error itself; in a stream it comes with 200.
pub(super) fn blame_of(status: StatusCode, error: Option<&Value>) -> Blame {
    let error = error.cloned().unwrap_or_default();
    let names = [text(&error, "code"), text(&error, "type")];
    let says = |known: &[&str]| names.iter().flatten().any(|name| known.contains(name));
    // Some hosts put the status into the code of an error that comes in a stream.
    let code = at(&error, "code").and_then(Value::as_u64);
    let code = code.and_then(|code| u16::try_from(code).ok());
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
        200 if says(&["invalid_prompt", "invalid_request_error"]) => Blame::Request,
        100..=299 => Blame::Provider,
        _ => Blame::Request,
    }
}

#[cfg(test)]
mod tests;
