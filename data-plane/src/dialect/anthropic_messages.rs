//! Anthropic Messages.
//!
//! Owns: which top-level fields are rewritten, what an event means, whom an error blames,
//! the error form. Pure.

mod hear;
mod read;
mod speak;
mod write;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use spillway_routing::catalogue::{Tier, Usage};

use super::peek::{at, list, text};
use super::{
    Answer, Blame, ErrorParts, Garbled, Meaning, Reported, WireRequest, claude, seal, usage,
};
use crate::chat::{Body, quoted};
use crate::conversation::{Conversation, Setting};

pub(super) use self::hear::{events, said};
pub(super) use self::read::read;
pub(super) use self::speak::{Speaker, whole};
pub(super) use self::write::{losses, write};

pub(super) const PATH: &str = "/messages";

/// Settings that other dialects know as well, under their names here.
const SETTINGS: [(Setting, &str); 3] = [
    (Setting::Temperature, "temperature"),
    (Setting::TopP, "top_p"),
    (Setting::TopK, "top_k"),
];

/// The caller's body with this lane's model; all other values byte for byte. The tier is
/// the caller's own word here unless the lane has one to say.
pub(super) fn forward(
    body: &Body,
    conversation: &Conversation,
    wire_model: &str,
    tier: Tier,
    stream: bool,
) -> WireRequest {
    let model = quoted(wire_model);
    let mut first = vec![("model", model.as_str())];
    let mut without = vec!["model", "start_within"];
    let tier = tier_name(tier).map(quoted);
    if let Some(tier) = &tier {
        first.push(("service_tier", tier.as_str()));
        without.push("service_tier");
    }
    if stream && body.raw("stream") != Some("true") {
        first.push(("stream", "true"));
        without.push("stream");
    }
    let messages = body.raw("messages").and_then(cleaned);
    if let Some(messages) = &messages {
        first.push(("messages", messages));
        without.push("messages");
    }
    // Within calls Claude thinks on only from a thought of its own.
    let enabled = |raw: &str| raw.contains("\"enabled\"");
    let own = || conversation.answers_from_a_thought() && !is_told(body.raw("messages"));
    if claude::is_within_calls(conversation) && body.raw("thinking").is_some_and(enabled) && !own()
    {
        without.push("thinking");
    }
    WireRequest {
        path: PATH.into(),
        body: body.rewritten(&first, &without),
    }
}

/// Whether the answer that is under way begins with a thought that nobody signed.
fn is_told(messages: Option<&str>) -> bool {
    let suspected = messages.filter(|raw| raw.contains("\"signature\":\"\""));
    let turns = suspected.and_then(|raw| serde_json::from_str::<Vec<Value>>(raw).ok());
    let turns = turns.unwrap_or_default();
    let is_result = |block: &Value| text(block, "type") == Some("tool_result");
    let speaks = |turn: &&Value| {
        text(turn, "role") == Some("user") && !list(turn, "content").iter().any(is_result)
    };
    let under_way = turns.iter().rev().take_while(|turn| !speaks(turn));
    let answers = under_way.filter(|turn| text(turn, "role") == Some("assistant"));
    let first = answers
        .last()
        .and_then(|turn| list(turn, "content").first());
    first.is_some_and(|block| text(block, "signature") == Some(""))
}

/// Turns without what only others made: thoughts that nobody signed, ids with a seal.
/// `None` where there is nothing of the kind.
fn cleaned(raw: &str) -> Option<String> {
    let sealless = seal::cut(raw);
    if !raw.contains("\"thinking\"") || !raw.contains("\"signature\"") {
        return sealless;
    }
    let mut turns: Value = serde_json::from_str(sealless.as_deref().unwrap_or(raw)).ok()?;
    let unsigned = |block: &Value| {
        text(block, "type") == Some("thinking") && text(block, "signature") == Some("")
    };
    let mut found = false;
    for turn in turns.as_array_mut()? {
        let Some(blocks) = turn.get_mut("content").and_then(Value::as_array_mut) else {
            continue;
        };
        found |= blocks.iter().any(unsigned);
        blocks.retain(|block| !unsigned(block));
    }
    if found {
        Some(turns.to_string())
    } else {
        sealless
    }
}

/// What is asked for at a tier; only old commitments give priority.
pub(super) fn tier_name(tier: Tier) -> Option<&'static str> {
    match tier {
        Tier::Priority => Some("auto"),
        Tier::Standard | Tier::Flex | Tier::Background | Tier::Batch => None,
    }
}

/// What one event means, given what was reported before it. An event that cannot be read
/// means nothing and is passed on.
pub(super) fn meaning(data: &[u8], before: Option<&Usage>) -> Meaning {
    let event: Value = serde_json::from_slice(data).unwrap_or_default();
    let mut meaning = Meaning::default();
    match text(&event, "type").unwrap_or_default() {
        "message_start" => {
            // Its count of output is only a beginning.
            let message = at(&event, "message");
            let begun = message.map(|message| reported(message, before));
            let begun = begun.unwrap_or_default();
            meaning.reported = Reported {
                usage: None,
                begun: begun.usage,
                tier: begun.tier,
            };
        }
        "content_block_start" => meaning.content = 1,
        "content_block_delta" => {
            let delta = at(&event, "delta").cloned().unwrap_or_default();
            let texts = ["text", "partial_json", "thinking"];
            let bytes: usize = texts
                .iter()
                .filter_map(|name| text(&delta, name))
                .map(str::len)
                .sum();
            meaning.content = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
        "message_delta" => {
            let delta = at(&event, "delta");
            meaning.finished = delta.is_some_and(|delta| at(delta, "stop_reason").is_some());
            meaning.reported = reported(&event, before);
        }
        "message_stop" => {
            meaning.finished = true;
            meaning.done = true;
        }
        "error" => meaning.error = Some(blame_of(StatusCode::OK, &event)),
        _ => {}
    }
    meaning
}

fn reported(message: &Value, before: Option<&Usage>) -> Reported {
    let usage = usage::found(message, "usage");
    Reported {
        usage: usage.and_then(|usage| usage::of_anthropic(usage, before)),
        tier: usage.and_then(|usage| usage::tier(usage, "service_tier")),
        begun: None,
    }
}

/// A whole answer: a message with content, or one that says why it has none.
pub(super) fn answer(body: &[u8]) -> Result<Answer, Garbled> {
    let message: Value = serde_json::from_slice(body).map_err(|_| Garbled)?;
    let content = list(&message, "content");
    let ended = at(&message, "stop_reason").is_some();
    if text(&message, "type") != Some("message") || (content.is_empty() && !ended) {
        return Err(Garbled);
    }
    let bytes: usize = content.iter().map(|block| block.to_string().len()).sum();
    Ok(Answer {
        content: u32::try_from(bytes).unwrap_or(u32::MAX),
        reported: reported(&message, None),
    })
}

/// Whom a response that is no 200 blames.
pub(super) fn blame(status: StatusCode, body: &[u8]) -> Blame {
    blame_of(status, &serde_json::from_slice(body).unwrap_or_default())
}

fn blame_of(status: StatusCode, body: &Value) -> Blame {
    let error = at(body, "error").cloned().unwrap_or_default();
    let kind = text(&error, "type").unwrap_or_default();
    let says = |word: &str| {
        [text(&error, "code"), text(&error, "message")]
            .into_iter()
            .flatten()
            .any(|found| found.contains(word))
    };
    match (status.as_u16(), kind) {
        // A month's money is spent: waiting does not help.
        (429, _) if says("spend_limit") => Blame::Configuration,
        (429, _) | (200, "rate_limit_error") => Blame::Limit,
        (503 | 529, _) | (200, "overloaded_error") => Blame::Overload,
        (401, _) => Blame::Configuration,
        (404, _) if text(&error, "message").is_some_and(|said| said.starts_with("model:")) => {
            Blame::Configuration
        }
        // What one caller asked for can cause these: they say nothing of the lane.
        (402..=404 | 300..=399, _) => Blame::Elsewhere,
        (200, "invalid_request_error" | "request_too_large") => Blame::Request,
        (408 | 500.. | 100..=299, _) => Blame::Provider,
        _ => Blame::Request,
    }
}

/// The error form of this dialect.
pub(super) fn error_form(parts: &ErrorParts<'_>) -> Bytes {
    let kind = match parts.status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    let mut error = json!({ "type": kind, "message": parts.message });
    let details = parts
        .details
        .and_then(|json| serde_json::from_str::<Value>(json).ok());
    if let Some(details) = details {
        error["details"] = details;
    }
    Bytes::from(json!({ "type": "error", "error": error }).to_string())
}
