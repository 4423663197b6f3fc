//! What Claude's models want, by whichever dialect they are spoken to.
//!
//! Owns: which of them think as they see fit, which take a budget, which refuse to have
//! their sampling changed, what they take of schemas. Knows no dialect's body beside the
//! fields of thinking.

mod schema;

use serde_json::{Map, Value, json};
use spillway_routing::catalogue::Upstream;

use self::schema::is_kept;
pub(super) use self::schema::schema;
use crate::conversation::{Conversation, Effort, Form, Loss, Losses, Part, Setting, ToolChoice};

/// The shortest time to think.
const BUDGET_MIN: u64 = 1_024;
/// From this version on models decide by themselves how long they think.
const ADAPTIVE: (u32, u32) = (4, 6);
/// From this version on models refuse to have their sampling changed.
const OWN_SAMPLING: (u32, u32) = (4, 7);

/// The name of a model of theirs; hosts may call it by one that says nothing.
pub(super) fn name(upstream: &Upstream) -> Option<&str> {
    let names = [upstream.wire_model.as_str(), upstream.model.as_str()];
    names.into_iter().find(|name| name.contains("claude"))
}

/// What is lost where thinking and something else exclude each other, and of schemas.
pub(super) fn losses(conversation: &Conversation, losses: &mut Losses) {
    if let Form::JsonSchema { schema: given, .. } = &conversation.form {
        losses.add_if(!is_kept(given), Loss::Strict);
    }
    // Models before 4.7 take one of them only, later ones neither.
    let both = [Setting::Temperature, Setting::TopP].map(|one| conversation.setting(one));
    losses.add_if(
        both.iter().all(Option::is_some),
        Loss::Setting(Setting::TopP),
    );
    let strict = conversation
        .tools
        .iter()
        .filter(|tool| tool.strict == Some(true));
    for given in strict.filter_map(|tool| tool.parameters.as_ref()) {
        losses.add_if(!is_kept(given), Loss::Strict);
    }
    if thinks(conversation) {
        for setting in [Setting::Temperature, Setting::TopP, Setting::TopK] {
            let given = conversation.setting(setting).is_some();
            losses.add_if(given, Loss::Setting(setting));
        }
    }
    let wanted = conversation
        .thinking
        .effort
        .is_some_and(|effort| effort > Effort::None);
    let room = conversation
        .max_output
        .is_none_or(|most| most >= 2 * BUDGET_MIN);
    // Models before 4.6 think on only from a thought that they signed themselves.
    let hindered = !room || forces_a_call(conversation) || is_within_calls(conversation);
    losses.add_if(wanted && hindered, Loss::Effort);
}

/// Whether one of its sampling settings may be set: of temperature and nucleus, which
/// exclude each other, the temperature goes.
pub(super) fn may_set(setting: Setting, conversation: &Conversation, wire_model: &str) -> bool {
    let twice = setting == Setting::TopP && conversation.setting(Setting::Temperature).is_some();
    !thinks(conversation) && version(wire_model) < OWN_SAMPLING && !twice
}

/// Whether a model is to think; where a call is demanded it may not.
fn thinks(conversation: &Conversation) -> bool {
    let effort = conversation.thinking.effort;
    effort.is_some_and(|effort| effort > Effort::None) && !forces_a_call(conversation)
}

fn forces_a_call(conversation: &Conversation) -> bool {
    let forced = matches!(
        conversation.tool_choice,
        ToolChoice::Required | ToolChoice::Named(_)
    );
    forced && !conversation.tools.is_empty()
}

/// Whether the conversation ends with what tools gave, and no thought was kept of the calls.
pub(super) fn is_within_calls(conversation: &Conversation) -> bool {
    let exchanges = conversation.exchanges();
    let last = exchanges.last().map_or(&[][..], |(_, parts)| parts);
    last.iter().any(|part| matches!(part, Part::Result(_)))
}

/// Newer models think as they see fit and take an effort; older ones take a budget, which
/// must leave room below the limit of the whole answer.
pub(super) fn think(
    effort: Effort,
    conversation: &Conversation,
    wire_model: &str,
    limit: u64,
    body: &mut Map<String, Value>,
) {
    if effort == Effort::None {
        body.insert("thinking".into(), json!({ "type": "disabled" }));
        return;
    }
    if !thinks(conversation) {
        return;
    }
    if version(wire_model) >= ADAPTIVE {
        let shown = conversation.thinking.shown;
        let display = if shown { "summarized" } else { "omitted" };
        let adaptive = json!({ "type": "adaptive", "display": display });
        body.insert("thinking".into(), adaptive);
        let name = match effort {
            Effort::None | Effort::Minimal | Effort::Low => "low",
            other => other.name(),
        };
        body.insert("output_config".into(), json!({ "effort": name }));
        return;
    }
    let room = limit.saturating_sub(BUDGET_MIN);
    if room >= BUDGET_MIN && !is_within_calls(conversation) {
        let budget = effort.budget().clamp(BUDGET_MIN, room);
        let enabled = json!({ "type": "enabled", "budget_tokens": budget });
        body.insert("thinking".into(), enabled);
    }
}

/// A model's version, by the numbers in its name (`claude-opus-4-6`, `claude-sonnet-5`).
fn version(wire_model: &str) -> (u32, u32) {
    let name = wire_model
        .split_once("claude-")
        .map_or("", |(_, name)| name);
    let parts = name.split(['-', '.', '@', ':']);
    // A date is no version.
    let mut numbers = parts.filter_map(|part| part.parse::<u32>().ok().filter(|n| *n < 100));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_from_4_6_on_think_as_they_see_fit() {
        for (name, adaptive) in [
            ("claude-3-5-sonnet-20241022", false),
            ("claude-sonnet-4-5-20250929", false),
            ("claude-opus-4-6", true),
            ("claude-opus-4-20250514", false),
            ("claude-sonnet-5", true),
            ("claude-sonnet-5-5", true),
            ("anthropic.claude-opus-4-8-v1:0", true),
            ("small", false),
        ] {
            assert_eq!(version(name) >= ADAPTIVE, adaptive, "{name}");
        }
    }
}
