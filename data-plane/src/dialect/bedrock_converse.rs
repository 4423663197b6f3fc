//! Bedrock's Converse and ConverseStream, as they are asked of AWS.
//!
//! Owns: where a model is asked, what an event means, whom an error blames. No caller
//! speaks it here: what is read is only what a provider answers. Pure.

mod hear;
mod write;

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use spillway_routing::catalogue::Tier;

use super::peek::{at, list, text};
use super::{Answer, Blame, Garbled, Meaning, Reported, usage};

pub(super) use self::hear::{events, said};
pub(super) use self::write::{losses, write};

/// Streams come in AWS's own frames.
pub(super) const STREAM: &str = "application/vnd.amazon.eventstream";

/// What may stand in a path as it is (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where a model is asked. Names of models hold colons, those of profiles slashes.
pub(super) fn path(wire_model: &str, stream: bool) -> String {
    let model = utf8_percent_encode(wire_model, ESCAPED);
    let method = if stream {
        "converse-stream"
    } else {
        "converse"
    };
    format!("/model/{model}/{method}")
}

pub(super) fn tier_name(tier: Tier) -> Option<&'static str> {
    match tier {
        Tier::Flex => Some("flex"),
        Tier::Priority => Some("priority"),
        Tier::Standard | Tier::Background | Tier::Batch => None,
    }
}

/// What one event means: an object with the event's name, as the SDKs have it too.
pub(super) fn meaning(data: &[u8]) -> Meaning {
    let event: Value = serde_json::from_slice(data).unwrap_or_default();
    let mut meaning = Meaning::default();
    if let Some(start) = at(&event, "contentBlockStart") {
        meaning.content = u32::from(at(start, "start").is_some());
    }
    if let Some(delta) = at(&event, "contentBlockDelta").and_then(|block| at(block, "delta")) {
        meaning.content = content(delta);
    }
    if let Some(stop) = at(&event, "messageStop") {
        // What came out as nonsense is no answer, however it ends.
        let malformed = text(stop, "stopReason").is_some_and(is_malformed);
        meaning.error = malformed.then_some(Blame::Provider);
        meaning.finished = !malformed;
    }
    if let Some(metadata) = at(&event, "metadata") {
        meaning.reported = reported(metadata);
        meaning.done = true;
    }
    if let Some(error) = at(&event, "error") {
        meaning.error = Some(streamed(text(error, "type").unwrap_or_default()));
    }
    meaning
}

fn is_malformed(reason: &str) -> bool {
    reason.starts_with("malformed")
}

/// Bytes of what one block or delta holds.
fn content(block: &Value) -> u32 {
    let reasoning = at(block, "reasoningContent");
    let reasoning = reasoning.map(|thought| at(thought, "reasoningText").unwrap_or(thought));
    let call = at(block, "toolUse");
    let texts = [
        text(block, "text"),
        reasoning.and_then(|thought| text(thought, "text")),
        call.and_then(|call| text(call, "input")),
    ];
    let bytes: usize = texts.into_iter().flatten().map(str::len).sum();
    let whole = call.is_some_and(|call| at(call, "toolUseId").is_some());
    u32::try_from(bytes)
        .unwrap_or(u32::MAX)
        .max(u32::from(whole))
}

fn reported(body: &Value) -> Reported {
    let usage = usage::found(body, "usage");
    Reported {
        usage: usage.and_then(usage::of_converse),
        tier: usage::found(body, "serviceTier").and_then(|tier| usage::tier(tier, "type")),
        begun: None,
    }
}

/// A whole answer: a message with content, or one that says why it has none.
pub(super) fn answer(body: &[u8]) -> Result<Answer, Garbled> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Garbled)?;
    let message = at(&body, "output").and_then(|output| at(output, "message"));
    let content = list(message.ok_or(Garbled)?, "content");
    let reason = text(&body, "stopReason").ok_or(Garbled)?;
    if is_malformed(reason) {
        return Err(Garbled);
    }
    let bytes = content.iter().map(self::content);
    Ok(Answer {
        content: bytes.fold(0, u32::saturating_add),
        reported: reported(&body),
    })
}

/// How messages about a model that an account does not have begin.
const MODEL_MESSAGES: [&str; 4] = [
    "The provided model identifier",
    "Invocation of model ID",
    "You don't have access to the model",
    "Access denied",
];

/// Whom a response that is no 200 blames.
pub(super) fn blame(status: StatusCode, body: &[u8]) -> Blame {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = text(&body, "message").unwrap_or_default();
    // The account's own affair, though AWS calls it the request's. Messages that repeat what
    // a caller wrote begin otherwise.
    let model = MODEL_MESSAGES.iter().any(|known| said.starts_with(known));
    match status.as_u16() {
        400 if model => Blame::Configuration,
        429 => Blame::Limit,
        503 => Blame::Overload,
        401 | 403 | 404 => Blame::Configuration,
        402 | 300..=399 => Blame::Elsewhere,
        408 | 424 | 500.. | 100..=299 => Blame::Provider,
        _ => Blame::Request,
    }
}

fn streamed(kind: &str) -> Blame {
    // Modelled errors begin with a small letter, others with a capital.
    match kind.to_ascii_lowercase().as_str() {
        "throttlingexception" => Blame::Limit,
        "serviceunavailableexception" => Blame::Overload,
        "validationexception" => Blame::Request,
        _ => Blame::Provider,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_stands_in_the_path_as_one_segment() {
        assert_eq!(
            path("anthropic.claude-opus-4-8-v1:0", false),
            "/model/anthropic.claude-opus-4-8-v1%3A0/converse"
        );
        assert_eq!(
            path(
                "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.x~y_z",
                true
            ),
            "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.x~y_z/converse-stream"
        );
    }

    #[test]
    fn what_an_account_lacks_is_no_fault_of_the_request() {
        let blame = |status: u16, message: &str| {
            let body = serde_json::json!({ "message": message }).to_string();
            blame(StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        let lacking = "The provided model identifier is invalid.";
        assert_eq!(blame(400, lacking), Blame::Configuration);
        assert_eq!(blame(400, "messages: too odd"), Blame::Request);
        let named = "Value 'model identifier' at 'toolConfig' failed to satisfy constraint";
        assert_eq!(blame(400, named), Blame::Request);
        assert_eq!(blame(403, "no access"), Blame::Configuration);
        assert_eq!(blame(424, "the model failed"), Blame::Provider);
        assert_eq!(blame(429, "Too many requests"), Blame::Limit);
    }
}
