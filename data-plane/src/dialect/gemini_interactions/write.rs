//! A request of another dialect, as Interactions.
//!
//! Owns: the body that is sent, and what it cannot say. Nothing of it is to be kept.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use spillway_routing::catalogue::Upstream;
use spillway_routing::prompt::Role;

use super::SETTINGS;
use crate::conversation::{Conversation, Form, Loss, Losses, Part, Source, ToolChoice, ToolResult};
use crate::dialect::OPENING;
use crate::dialect::google::{self, STOPS_MAX};
use crate::dialect::seal::{self, Signed};

/// What this dialect cannot say of a conversation.
pub(in crate::dialect) fn losses(conversation: &Conversation) -> Losses {
    let has = |wanted| SETTINGS.iter().any(|(known, _)| *known == wanted);
    let mut losses = conversation.losses_without(has);
    google::losses(conversation, &mut losses);
    for part in conversation.turns.iter().flat_map(|turn| &turn.parts) {
        let Part::Result(result) = part else { continue };
        let sayable = |part: &Part| {
            let image = matches!(part, Part::Image(Source::Data { .. }));
            image || matches!(part, Part::Text(_) | Part::Refusal(_))
        };
        losses.add_if(!result.parts.iter().all(sayable), Loss::ToolMedia);
    }
    losses
}

/// The body, without what the lane decides.
pub(in crate::dialect) fn write(
    conversation: &Conversation,
    upstream: &Upstream,
) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("model".into(), upstream.wire_model.as_str().into());
    body.insert("store".into(), false.into());
    let system = conversation.system();
    if !system.is_empty() {
        body.insert("system_instruction".into(), system.join("\n\n").into());
    }
    let mut steps = steps(conversation);
    // Google wants somebody to have said something.
    if steps.is_empty() {
        let opening = json!({ "type": "text", "text": OPENING });
        steps.push(json!({ "type": "user_input", "content": [opening] }));
    }
    body.insert("input".into(), steps.into());
    let mut config = config(conversation);
    tools(conversation, &mut body, &mut config);
    if !config.is_empty() {
        body.insert("generation_config".into(), config.into());
    }
    let json_form = |schema: Option<&Value>| {
        let mut form = json!({ "type": "text", "mime_type": "application/json" });
        if let Some(schema) = schema {
            form["schema"] = schema.clone();
        }
        form
    };
    let form = match &conversation.form {
        Form::Text => None,
        Form::JsonObject => Some(json_form(None)),
        Form::JsonSchema { schema, .. } => Some(json_form(Some(schema))),
    };
    if let Some(form) = form {
        body.insert("response_format".into(), form);
    }
    body
}

fn steps(conversation: &Conversation) -> Vec<Value> {
    let names = conversation.called();
    let mut steps = Vec::new();
    for (role, parts) in conversation.exchanges() {
        let mut said: Vec<Value> = Vec::new();
        let kind = if role == Role::Assistant {
            "model_output"
        } else {
            "user_input"
        };
        let close = |said: &mut Vec<Value>, steps: &mut Vec<Value>| {
            if !said.is_empty() {
                let content = std::mem::take(said);
                steps.push(json!({ "type": kind, "content": content }));
            }
        };
        // One thought is before all calls of an answer.
        let mut signed = None;
        for part in parts {
            match part {
                Part::Call(call) => {
                    close(&mut said, &mut steps);
                    let signature = seal::signature(&call.id, Signed::Thought);
                    let signature = signature.unwrap_or_else(|| seal::UNSIGNED.to_owned());
                    if signed.as_ref() != Some(&signature) {
                        steps.push(json!({ "type": "thought", "signature": signature }));
                        signed = Some(signature);
                    }
                    steps.push(json!({
                        "type": "function_call", "id": seal::stripped(&call.id),
                        "name": call.name, "arguments": call.object(),
                    }));
                }
                Part::Result(one) => {
                    close(&mut said, &mut steps);
                    steps.push(result(one, &names));
                }
                part => said.extend(content(part)),
            }
        }
        close(&mut said, &mut steps);
    }
    steps
}

fn content(part: &Part) -> Option<Value> {
    let media = |kind: &str, source: &Source| match source {
        Source::Data { media, base64 } => {
            json!({ "type": kind, "mime_type": media, "data": base64 })
        }
        Source::Url(url) => json!({ "type": kind, "uri": url }),
    };
    Some(match part {
        Part::Text(text) | Part::Refusal(text) if text.is_empty() => return None,
        Part::Text(text) | Part::Refusal(text) => json!({ "type": "text", "text": text }),
        Part::Image(source) => media("image", source),
        Part::File { source, .. } => media("document", source),
        Part::Audio(source) => media("audio", source),
        Part::Reasoning(_) | Part::Call(_) | Part::Result(_) => return None,
    })
}

fn result(result: &ToolResult, names: &BTreeMap<&str, &str>) -> Value {
    let only_text = result
        .parts
        .iter()
        .all(|part| matches!(part, Part::Text(_) | Part::Refusal(_)));
    let said = if only_text {
        Value::from(result.text())
    } else {
        result.parts.iter().filter_map(content).collect()
    };
    let mut step = json!({
        "type": "function_result", "call_id": seal::stripped(&result.id), "result": said,
    });
    if let Some(name) = names.get(result.id.as_str()) {
        step["name"] = (*name).into();
    }
    if result.failed {
        step["is_error"] = true.into();
    }
    step
}

fn tools(
    conversation: &Conversation,
    body: &mut Map<String, Value>,
    config: &mut Map<String, Value>,
) {
    if conversation.tools.is_empty() {
        return;
    }
    let tools = conversation.tools.iter().map(|tool| {
        let mut one = json!({ "type": "function", "name": tool.name });
        if let Some(description) = &tool.description {
            one["description"] = description.as_str().into();
        }
        if let Some(parameters) = &tool.parameters {
            one["parameters"] = parameters.clone();
        }
        one
    });
    body.insert("tools".into(), tools.collect());
    let choice = match &conversation.tool_choice {
        ToolChoice::Auto => return,
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("any"),
        ToolChoice::Named(name) => json!({ "allowed_tools": { "mode": "any", "tools": [name] } }),
    };
    config.insert("tool_choice".into(), choice);
}

fn config(conversation: &Conversation) -> Map<String, Value> {
    let mut config = Map::new();
    if let Some(most) = conversation.max_output {
        config.insert("max_output_tokens".into(), most.into());
    }
    if !conversation.stop.is_empty() {
        let some = &conversation.stop[..conversation.stop.len().min(STOPS_MAX)];
        config.insert("stop_sequences".into(), json!(some));
    }
    let level = conversation.thinking.effort.and_then(google::level);
    if let Some(level) = level {
        config.insert("thinking_level".into(), level.into());
        let shown = conversation.thinking.shown;
        let summaries = if shown { "auto" } else { "none" };
        config.insert("thinking_summaries".into(), summaries.into());
    }
    for (setting, name) in SETTINGS {
        if let Some(value) = conversation.setting(setting) {
            config.insert(name.into(), value.clone());
        }
    }
    config
}
