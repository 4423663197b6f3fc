//! OpenAI Responses.
//!
//! Owns: which top-level fields are rewritten, what an event means, whom an error blames.
//! Pure.

mod hear;
mod read;
mod speak;
mod write;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use spillway_routing::catalogue::Tier;

use super::peek::{at, list, text};
use super::{Answer, Garbled, Meaning, Reported, WireRequest, kept, openai_chat, seal, usage};
use crate::chat::Body;
use crate::conversation::Setting;

pub(super) use self::hear::{events, said};
pub(super) use self::read::read;
pub(super) use self::speak::{Speaker, whole};
pub(super) use self::write::{losses, write};

pub(super) const PATH: &str = "/responses";
/// The response that a request goes on from.
const PREVIOUS: &str = "previous_response_id";

/// Settings that other dialects know as well, under their names here.
const SETTINGS: [(Setting, &str); 7] = [
    (Setting::Temperature, "temperature"),
    (Setting::TopP, "top_p"),
    (Setting::TopLogprobs, "top_logprobs"),
    (Setting::User, "user"),
    (Setting::Metadata, "metadata"),
    (Setting::CacheKey, "prompt_cache_key"),
    (Setting::Store, "store"),
];

/// The caller's body with this lane's model and tier; all other values byte for byte.
pub(super) fn forward(body: &Body, wire_model: &str, tier: Tier, stream: bool) -> WireRequest {
    let lane = kept::Lane {
        path: PATH,
        model: wire_model,
        tier: openai_chat::tier_name(tier),
        stream,
    };
    let input = body.raw("input").and_then(cleaned);
    lane.forward(body, PREVIOUS, input.as_deref())
}

/// Items without what only others made: ids with a seal, thoughts that a translated answer
/// told. `None` where there is nothing of the kind.
fn cleaned(input: &str) -> Option<String> {
    let sealless = seal::cut(input);
    let now = sealless.as_deref().unwrap_or(input);
    // Providers' own thoughts, long as they may be, are not read for it.
    let mut ids = now.match_indices("\"rs_").map(|(at, _)| &now[at + 1..]);
    let told = ids.any(|id| id.split_once('"').is_some_and(|(id, _)| speak::is_told(id)));
    if !told {
        return sealless;
    }
    let Ok(Value::Array(mut items)) = serde_json::from_str(now) else {
        return sealless;
    };
    let count = items.len();
    items.retain(|item| !text(item, "id").is_some_and(speak::is_told));
    if items.len() < count {
        Some(Value::Array(items).to_string())
    } else {
        sealless
    }
}

/// What one event means. An event that cannot be read means nothing and is passed on.
pub(super) fn meaning(data: &[u8]) -> Meaning {
    let event: Value = serde_json::from_slice(data).unwrap_or_default();
    let kind = text(&event, "type").unwrap_or_default();
    let response = at(&event, "response");
    let mut meaning = Meaning::default();
    match kind {
        "response.completed" | "response.incomplete" => {
            // A whole one without output would be none either.
            let output = response.and_then(|response| at(response, "output"));
            let empty = output.and_then(Value::as_array).is_some_and(Vec::is_empty);
            meaning.finished = kind == "response.incomplete" || !empty;
            meaning.done = true;
        }
        "response.failed" => {
            let error = response.and_then(|response| at(response, "error"));
            meaning.error = Some(openai_chat::blame_of(StatusCode::OK, error));
        }
        "error" => {
            // Some put the error into a field of its own, some into the event.
            let error = at(&event, "error").unwrap_or(&event);
            meaning.error = Some(openai_chat::blame_of(StatusCode::OK, Some(error)));
        }
        // An item begins only once the model answers.
        "response.output_item.added" => meaning.content = 1,
        _ if kind.ends_with(".delta") => {
            let bytes = text(&event, "delta").map_or(1, str::len);
            meaning.content = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
        _ => {}
    }
    meaning.reported = response.map(reported).unwrap_or_default();
    meaning
}

/// The response in the event that ends it.
pub(super) fn in_closing(data: &[u8]) -> Option<Bytes> {
    #[derive(Deserialize)]
    struct Closing<'a> {
        #[serde(borrow)]
        response: &'a RawValue,
    }
    let closing: Closing<'_> = serde_json::from_slice(data).ok()?;
    Some(Bytes::copy_from_slice(closing.response.get().as_bytes()))
}

fn reported(response: &Value) -> Reported {
    Reported {
        begun: None,
        usage: usage::found(response, "usage").and_then(usage::of_responses),
        tier: usage::tier(response, "service_tier"),
    }
}

/// A whole answer: a response that did not fail.
pub(super) fn answer(body: &[u8]) -> Result<Answer, Garbled> {
    let response: Value = serde_json::from_slice(body).map_err(|_| Garbled)?;
    let failed = matches!(text(&response, "status"), Some("failed" | "cancelled"));
    // What runs in the background has no output yet, and is an answer all the same.
    let waiting = matches!(text(&response, "status"), Some("queued" | "in_progress"));
    let output = list(&response, "output");
    // An answer that was held back, or had no room, may have no output.
    let said = text(&response, "status") == Some("incomplete") || !output.is_empty();
    if failed || at(&response, "error").is_some() || !(said || waiting) {
        return Err(Garbled);
    }
    let bytes: usize = output.iter().map(|item| item.to_string().len()).sum();
    Ok(Answer {
        content: u32::try_from(bytes).unwrap_or(u32::MAX),
        reported: reported(&response),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_that_no_provider_knows_are_left_out() {
        let told =
            r#"{"id":"rs_01a21e78723c764db3e33dc1e236e44d_0","type":"reasoning","summary":[]}"#;
        let kept =
            r#"{"id":"rs_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b","type":"reasoning"}"#;
        let asked = r#"{"role":"user","content":"is \"rs_1_2\" an id"}"#;
        let items = |items: &[&str]| format!("[{}]", items.join(","));
        assert_eq!(cleaned(&items(&[asked, kept])), None);
        let without: Value = serde_json::from_str(&items(&[asked, kept])).unwrap();
        assert_eq!(
            cleaned(&items(&[asked, told, kept])),
            Some(without.to_string())
        );
    }
}
