//! Gemini Interactions.
//!
//! Owns: which top-level fields are rewritten, what an event means, whom an error blames.
//! Pure.

mod hear;
mod read;
mod speak;
mod steps;
mod write;

use http::StatusCode;
use serde_json::{Value, json};
use spillway_routing::catalogue::Tier;

use super::peek::{at, list, text};
use super::{Answer, Blame, Garbled, Meaning, Reported, WireRequest, google, kept, seal, usage};
use crate::chat::Body;
use crate::conversation::Setting;

pub(super) use self::hear::{events, said};
pub(super) use self::read::read;
pub(super) use self::speak::{Speaker, whole};
pub(super) use self::steps::Steps;
pub(super) use self::write::{losses, write};

pub(super) const PATH: &str = "/interactions";
/// The interaction that a request goes on from.
const PREVIOUS: &str = "previous_interaction_id";

/// Settings that other dialects know as well, under their names here.
const SETTINGS: [(Setting, &str); 3] = [
    (Setting::Temperature, "temperature"),
    (Setting::TopP, "top_p"),
    (Setting::Seed, "seed"),
];

/// The caller's body with this lane's model and tier; all other values byte for byte.
pub(super) fn forward(body: &Body, wire_model: &str, tier: Tier, stream: bool) -> WireRequest {
    let lane = kept::Lane {
        path: PATH,
        model: wire_model,
        tier: google::tier_name(tier),
        stream,
    };
    // Ids may carry what another provider wants back with them.
    let input = body.raw("input").and_then(cleaned);
    lane.forward(body, PREVIOUS, input.as_deref())
}

/// Steps as Google takes them back: no id carries a seal, thoughts are signed, and every
/// answer that calls has one before, Google's own or marked as another's. `None` where they
/// are so.
fn cleaned(raw: &str) -> Option<String> {
    let sealless = seal::cut(raw);
    if !raw.contains("\"function_call\"") && !raw.contains("\"thought\"") {
        return sealless;
    }
    let steps: Value = serde_json::from_str(sealless.as_deref().unwrap_or(raw)).ok()?;
    let Value::Array(steps) = steps else {
        return sealless;
    };
    let (mut signed, mut changed) = (false, false);
    let mut cleaned = Vec::with_capacity(steps.len());
    for step in steps {
        match text(&step, "type").unwrap_or_default() {
            "thought" if text(&step, "signature").is_none_or(str::is_empty) => {
                changed = true;
                continue;
            }
            "thought" => signed = true,
            "function_call" if !signed => {
                cleaned.push(json!({ "type": "thought", "signature": seal::UNSIGNED }));
                (signed, changed) = (true, true);
            }
            "user_input" | "function_result" => signed = false,
            _ => {}
        }
        cleaned.push(step);
    }
    if changed {
        Some(Value::Array(cleaned).to_string())
    } else {
        sealless
    }
}

/// What one event means. An event that cannot be read means nothing and is passed on.
pub(super) fn meaning(data: &[u8]) -> Meaning {
    let mut meaning = Meaning::default();
    if data == b"[DONE]" {
        meaning.done = true;
        return meaning;
    }
    let event: Value = serde_json::from_slice(data).unwrap_or_default();
    let interaction = at(&event, "interaction");
    match text(&event, "event_type").unwrap_or_default() {
        // A step begins only once the model answers.
        "step.start" => meaning.content = 1,
        "step.delta" => {
            let delta = at(&event, "delta").cloned().unwrap_or_default();
            let summary = at(&delta, "content").and_then(|content| text(content, "text"));
            let texts = [text(&delta, "text"), text(&delta, "arguments"), summary];
            let bytes: usize = texts.into_iter().flatten().map(str::len).sum();
            meaning.content = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        }
        "interaction.completed" => {
            let failed = interaction.is_some_and(is_failed);
            meaning.error = failed.then_some(Blame::Provider);
            // An end before any step is an answer only where it says why.
            meaning.finished = interaction.is_some_and(is_short);
            meaning.done = true;
        }
        "error" => meaning.error = Some(google::blame(StatusCode::OK, &event)),
        _ => {}
    }
    meaning.reported = interaction.map(reported).unwrap_or_default();
    meaning
}

fn reported(interaction: &Value) -> Reported {
    Reported {
        begun: None,
        usage: usage::found(interaction, "usage").and_then(usage::of_interactions),
        tier: usage::tier(interaction, "service_tier"),
    }
}

/// It came to nothing, and not because it was held back.
fn is_failed(interaction: &Value) -> bool {
    let status = text(interaction, "status");
    matches!(status, Some("failed" | "cancelled")) && !hear::is_refused(interaction)
}

/// It says why there is little of it, or nothing.
fn is_short(interaction: &Value) -> bool {
    text(interaction, "status") == Some("incomplete") || hear::is_refused(interaction)
}

/// A whole answer: an interaction that did not fail.
pub(super) fn answer(body: &[u8]) -> Result<Answer, Garbled> {
    let interaction: Value = serde_json::from_slice(body).map_err(|_| Garbled)?;
    text(&interaction, "status").ok_or(Garbled)?;
    let steps = list(&interaction, "steps");
    let said = steps
        .iter()
        .filter(|step| text(step, "type") != Some("user_input"));
    let bytes: usize = said.map(|step| step.to_string().len()).sum();
    if is_failed(&interaction) || (bytes == 0 && !is_short(&interaction)) {
        return Err(Garbled);
    }
    Ok(Answer {
        content: u32::try_from(bytes).unwrap_or(u32::MAX),
        reported: reported(&interaction),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_that_another_wrote_is_made_googles() {
        let call = json!({ "type": "function_call", "id": "a", "name": "f", "arguments": {} });
        let thought = json!({ "type": "thought", "signature": "c2ln" });
        let unsigned = json!({ "type": "thought", "summary": [] });
        let marked = json!({ "type": "thought", "signature": seal::UNSIGNED });
        let cleaned = |steps: Value| {
            let cleaned = cleaned(&steps.to_string());
            cleaned.map(|steps| serde_json::from_str::<Value>(&steps).unwrap())
        };
        assert_eq!(cleaned(json!([thought, call, call])), None);
        assert_eq!(
            cleaned(json!([unsigned, call])),
            Some(json!([marked, call]))
        );
        let result = json!({ "type": "function_result", "call_id": "a", "result": "" });
        assert_eq!(
            cleaned(json!([thought, call, result, call])),
            Some(json!([thought, call, result, marked, call]))
        );
        assert_eq!(cleaned(json!("a function_call")), None);
    }
}
