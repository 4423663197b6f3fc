//! Gemini generateContent and streamGenerateContent.
//!
//! Owns: what is rewritten in a body whose model stands in the path, what a chunk means,
//! whom an error blames. Pure.

mod hear;
mod read;
mod speak;
mod write;

use http::StatusCode;
use serde_json::Value;
use spillway_routing::catalogue::Tier;

use super::peek::{at, list, text};
use super::{Answer, Blame, Garbled, Meaning, Reported, WireRequest, google, seal, usage};
use crate::chat::{Body, quoted};
use crate::conversation::Setting;

pub(super) use self::hear::{events, said};
pub(super) use self::read::read;
pub(super) use self::speak::{Speaker, whole};
pub(super) use self::write::{losses, write};

/// Settings that other dialects know as well, under their names here.
const SETTINGS: [(Setting, &str); 7] = [
    (Setting::Temperature, "temperature"),
    (Setting::TopP, "topP"),
    (Setting::TopK, "topK"),
    (Setting::Seed, "seed"),
    (Setting::PresencePenalty, "presencePenalty"),
    (Setting::FrequencyPenalty, "frequencyPenalty"),
    (Setting::TopLogprobs, "logprobs"),
];

const MALFORMED: &str = "MALFORMED_FUNCTION_CALL";

/// Where a model is asked; streams always come as server-sent events.
pub(super) fn path(wire_model: &str, stream: bool) -> String {
    let method = if stream {
        "streamGenerateContent?alt=sse"
    } else {
        "generateContent"
    };
    format!("/models/{wire_model}:{method}")
}

/// The caller's body at this lane's tier; all other values byte for byte.
pub(super) fn forward(body: &Body, wire_model: &str, tier: Tier, stream: bool) -> WireRequest {
    let tier = google::tier_name(tier).map(quoted);
    let first = tier.as_deref().map(|tier| ("serviceTier", tier));
    let mut first: Vec<(&str, &str)> = first.into_iter().collect();
    let mut without = vec!["model", "start_within", "serviceTier", "service_tier"];
    // Ids may carry what another provider wants back with them.
    let contents = body.raw("contents").and_then(seal::cut);
    if let Some(contents) = &contents {
        first.push(("contents", contents));
        without.push("contents");
    }
    WireRequest {
        path: path(wire_model, stream).into(),
        body: body.rewritten(&first, &without),
    }
}

/// What one chunk means. A chunk that cannot be read means nothing and is passed on.
pub(super) fn meaning(data: &[u8]) -> Meaning {
    let chunk: Value = serde_json::from_slice(data).unwrap_or_default();
    let candidate = list(&chunk, "candidates")
        .first()
        .cloned()
        .unwrap_or_default();
    let error = at(&chunk, "error").is_some();
    let content = content(&candidate);
    // A call that came out as nonsense is no answer.
    let malformed = content == 0 && text(&candidate, "finishReason") == Some(MALFORMED);
    Meaning {
        content,
        finished: hear::ending(&chunk, &candidate).is_some(),
        reported: reported(&chunk),
        error: error
            .then(|| google::blame(StatusCode::OK, &chunk))
            .or(malformed.then_some(Blame::Provider)),
        ..Meaning::default()
    }
}

fn content(candidate: &Value) -> u32 {
    let content = at(candidate, "content").cloned().unwrap_or_default();
    let bytes = list(&content, "parts").iter().map(|part| {
        text(part, "text").map_or_else(
            || {
                if part.as_object().is_some_and(|p| !p.is_empty()) {
                    part.to_string().len()
                } else {
                    0
                }
            },
            str::len,
        )
    });
    u32::try_from(bytes.sum::<usize>()).unwrap_or(u32::MAX)
}

fn reported(body: &Value) -> Reported {
    let usage = usage::found(body, "usageMetadata");
    Reported {
        begun: None,
        usage: usage.and_then(usage::of_gemini),
        tier: usage.and_then(|usage| {
            usage::tier(usage, "serviceTier").or_else(|| usage::tier(usage, "trafficType"))
        }),
    }
}

/// A whole answer: candidates, or the reason why a prompt was blocked.
pub(super) fn answer(body: &[u8]) -> Result<Answer, Garbled> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Garbled)?;
    let candidate = list(&body, "candidates").first().cloned();
    let candidate = candidate.unwrap_or_default();
    let ended = hear::ending(&body, &candidate).is_some();
    let content = content(&candidate);
    let malformed = text(&candidate, "finishReason") == Some(MALFORMED);
    if at(&body, "error").is_some() || (content == 0 && (!ended || malformed)) {
        return Err(Garbled);
    }
    Ok(Answer {
        content,
        reported: reported(&body),
    })
}

/// Whom a response that is no 200 blames.
pub(super) fn blame(status: StatusCode, body: &[u8]) -> Blame {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    // Without server-sent events an error comes as the only element of an array.
    let body = body.get(0).cloned().unwrap_or(body);
    google::blame(status, &body)
}
