//! What Google's two dialects share.
//!
//! Owns: whom Google's errors blame and what they are called, its tiers and levels of
//! thinking, how it takes bytes and addresses, and what neither of the two can say.

use http::StatusCode;
use serde_json::Value;
use spillway_routing::catalogue::Tier;

use super::Blame;
use super::peek::{at, list, text};
use crate::conversation::{Conversation, Effort, Loss, Losses, Part, Source};

/// Stop sequences at most.
pub(super) const STOPS_MAX: usize = 5;

pub(super) fn tier_name(tier: Tier) -> Option<&'static str> {
    match tier {
        Tier::Flex => Some("flex"),
        Tier::Priority => Some("priority"),
        Tier::Standard | Tier::Background | Tier::Batch => None,
    }
}

/// How hard to think, in Google's words; `None` where that cannot be asked for.
pub(super) fn level(effort: Effort) -> Option<&'static str> {
    Some(match effort {
        // Some models cannot be told not to think.
        Effort::None => return None,
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::XHigh | Effort::Max => "high",
    })
}

/// Adds what neither dialect can say of a conversation.
pub(super) fn losses(conversation: &Conversation, losses: &mut Losses) {
    losses.add_if(conversation.instructs_later(), Loss::LaterInstructions);
    losses.add_if(conversation.stop.len() > STOPS_MAX, Loss::Stop);
    losses.add_if(conversation.one_call, Loss::OneCall);
    let strict = conversation
        .tools
        .iter()
        .any(|tool| tool.strict == Some(true));
    losses.add_if(strict, Loss::Strict);
    losses.add_if(conversation.ends_with_answer(), Loss::Prefill);
    for part in conversation.turns.iter().flat_map(|turn| &turn.parts) {
        match part {
            Part::Reasoning(_) => losses.add(Loss::EarlierReasoning),
            Part::File { name: Some(_), .. } => losses.add(Loss::FileName),
            _ => {}
        }
        losses.add_if(is_remote(part), Loss::RemoteFile);
    }
}

fn is_remote(part: &Part) -> bool {
    matches!(
        part,
        Part::Image(Source::Url(_))
            | Part::Audio(Source::Url(_))
            | Part::File {
                source: Source::Url(_),
                ..
            }
    )
}

/// Bytes in a request, by their media type.
pub(super) fn media(media: Option<&str>, base64: &str) -> Part {
    let media = media.unwrap_or("application/octet-stream");
    let source = Source::data(media, &standard(base64));
    match media.split('/').next() {
        Some("image") => Part::Image(source),
        Some("audio") => Part::Audio(source),
        _ => Part::File { source, name: None },
    }
}

/// Something that stands elsewhere; `None` where only Google has it: what was uploaded
/// there stands under Google's address.
pub(super) fn elsewhere(media: Option<&str>, uri: &str) -> Option<Part> {
    if uri.contains("googleapis.com") || !uri.starts_with("http") {
        return None;
    }
    let source = Source::Url(uri.to_owned());
    Some(match media {
        Some(media) if media.starts_with("image/") => Part::Image(source),
        _ => Part::File { source, name: None },
    })
}

/// Google takes base64 in both alphabets, with padding or without, and its SDKs send the
/// one for URLs; everybody else takes the standard form only.
fn standard(base64: &str) -> String {
    let bare = base64.trim_end_matches('=').chars().map(|c| match c {
        '-' => '+',
        '_' => '/',
        other => other,
    });
    let mut standard: String = bare.collect();
    while !standard.len().is_multiple_of(4) {
        standard.push('=');
    }
    standard
}

/// How messages about a key begin; some repeat it.
const KEY_MESSAGES: [&str; 4] = [
    "API key ",
    "Your API key",
    "Permission denied: Consumer",
    "Method doesn't allow unregistered callers",
];
/// Reasons (of `google.rpc.ErrorInfo`) that are the key's or its project's.
const KEY_REASONS: [&str; 4] = [
    "CONSUMER_INVALID",
    "CONSUMER_SUSPENDED",
    "SERVICE_DISABLED",
    "BILLING_DISABLED",
];

fn is_about_the_key(detail: &Value) -> bool {
    let reason = text(detail, "reason").unwrap_or_default();
    reason.starts_with("API_KEY_") || KEY_REASONS.contains(&reason)
}

/// Whom an error blames; in a stream it comes with a 200.
pub(super) fn blame(status: StatusCode, body: &Value) -> Blame {
    let error = at(body, "error").cloned().unwrap_or_default();
    let code = at(&error, "code").and_then(Value::as_u64);
    let code = code.and_then(|code| u16::try_from(code).ok());
    let code = code
        .filter(|_| status.is_success())
        .unwrap_or(status.as_u16());
    let message = text(&error, "message").unwrap_or_default();
    let unusable_key = list(&error, "details").iter().any(is_about_the_key)
        || KEY_MESSAGES.iter().any(|known| message.starts_with(known));
    let unknown_model = message.starts_with("models/") || message.starts_with("Model ");
    // The status of one dialect, the code of the other.
    let name = text(&error, "status").or_else(|| text(&error, "code"));
    let name = name.unwrap_or_default().to_ascii_uppercase();
    match (code, name.as_str()) {
        (429, _) | (200, "RESOURCE_EXHAUSTED") => Blame::Limit,
        (503, _) | (200, "UNAVAILABLE") => Blame::Overload,
        (401, _) => Blame::Configuration,
        // An unknown key is an invalid argument at Google.
        (400 | 403, _) if unusable_key => Blame::Configuration,
        // What a caller points at may be gone, and the lane none the worse for it.
        (404, _) if unknown_model => Blame::Configuration,
        (402..=404 | 300..=399, _) => Blame::Elsewhere,
        (408 | 499.. | 100..=299, _) => Blame::Provider,
        _ => Blame::Request,
    }
}

/// An error by the name that Google has for its status.
pub(super) fn error_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 413 | 415 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 | 405 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        400..=499 => "FAILED_PRECONDITION",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn base64_takes_the_standard_form() {
        assert_eq!(standard("-_8"), "+/8=");
        assert_eq!(standard("+/8="), "+/8=");
        assert_eq!(standard(""), "");
    }

    #[test]
    fn a_key_that_cannot_be_used_is_the_operators() {
        let message = "Permission denied: Consumer 'api_key:AIzaSy' has been suspended.";
        let suspended = json!({ "error": { "code": 403, "message": message,
            "details": [{ "reason": "CONSUMER_SUSPENDED" }] } });
        assert_eq!(
            blame(StatusCode::FORBIDDEN, &suspended),
            Blame::Configuration
        );
        let other = json!({ "error": { "code": 403, "message": "no access to this file" } });
        assert_eq!(blame(StatusCode::FORBIDDEN, &other), Blame::Elsewhere);
    }

    #[test]
    fn what_one_caller_points_at_says_nothing_of_the_lane() {
        let blame = |message: &str| {
            let body =
                json!({ "error": { "code": 404, "message": message, "status": "NOT_FOUND" } });
            blame(StatusCode::NOT_FOUND, &body)
        };
        let model = "models/x is not found for API version v1beta.";
        assert_eq!(blame(model), Blame::Configuration);
        assert_eq!(blame("CachedContent not found"), Blame::Elsewhere);
    }
}
