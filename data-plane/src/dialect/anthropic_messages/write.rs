//! A request of another dialect, as Messages.
//!
//! Owns: the body that is sent, and what it cannot say. Messages wants an output limit,
//! turns that alternate, no empty text, and results of tools before anything else.

use serde_json::{Map, Value, json};
use spillway_routing::catalogue::Upstream;
use spillway_routing::prompt::Role;
use spillway_routing::unit::Tokens;

use super::SETTINGS;
use crate::conversation::{
    Conversation, Form, Loss, Losses, Part, Setting, Source, ToolChoice, ToolResult,
};
use crate::dialect::{JSON_ONLY, OPENING, claude, seal};

/// Media types of images that it takes.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// What this dialect cannot say of a conversation.
pub(in crate::dialect) fn losses(conversation: &Conversation) -> Losses {
    let mut losses = conversation.losses_without(|wanted| {
        wanted == Setting::User || SETTINGS.iter().any(|(known, _)| *known == wanted)
    });
    losses.add_if(conversation.instructs_later(), Loss::LaterInstructions);
    losses.add_if(conversation.form == Form::JsonObject, Loss::JsonObject);
    losses.add_if(conversation.ends_with_answer(), Loss::Prefill);
    let hot = |value: &Value| value.as_f64().is_some_and(|degree| degree > 1.0);
    let temperature = conversation.setting(Setting::Temperature);
    losses.add_if(temperature.is_some_and(hot), Loss::Temperature);
    claude::losses(conversation, &mut losses);
    let blank = |stop: &String| stop.trim().is_empty();
    losses.add_if(conversation.stop.iter().any(blank), Loss::Stop);
    for part in conversation.turns.iter().flat_map(|turn| &turn.parts) {
        match part {
            Part::Reasoning(_) => losses.add(Loss::EarlierReasoning),
            Part::Result(result) => result.parts.iter().for_each(|part| lost(part, &mut losses)),
            part => lost(part, &mut losses),
        }
    }
    losses
}

fn lost(part: &Part, losses: &mut Losses) {
    match part {
        Part::Audio(_) => losses.add(Loss::Audio),
        Part::Image(Source::Data { media, .. }) => {
            losses.add_if(!IMAGES.contains(&media.as_str()), Loss::File);
        }
        Part::File {
            source: Source::Data { media, .. },
            ..
        } => losses.add_if(media != "application/pdf", Loss::File),
        _ => {}
    }
}

/// The body, without what the lane decides. `most` is the model's own limit.
pub(in crate::dialect) fn write(
    conversation: &Conversation,
    upstream: &Upstream,
    most: Tokens,
) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("model".into(), upstream.wire_model.as_str().into());
    let most = u64::from(most.0);
    let limit = conversation
        .max_output
        .map_or(most, |limit| limit.min(most));
    if let Some(effort) = conversation.thinking.effort {
        claude::think(effort, conversation, &upstream.wire_model, limit, &mut body);
    }
    body.insert("max_tokens".into(), limit.into());
    let mut system: Vec<&str> = conversation.system();
    if conversation.form == Form::JsonObject {
        system.push(JSON_ONLY);
    }
    if !system.is_empty() {
        body.insert("system".into(), system.join("\n\n").into());
    }
    body.insert("messages".into(), messages(conversation).into());
    let stops: Vec<&String> = conversation
        .stop
        .iter()
        .filter(|s| !s.trim().is_empty())
        .collect();
    if !stops.is_empty() {
        body.insert("stop_sequences".into(), json!(stops));
    }
    tools(conversation, &mut body);
    if let Form::JsonSchema { schema, .. } = &conversation.form {
        let config = body.entry("output_config").or_insert_with(|| json!({}));
        let schema = claude::schema(schema);
        config["format"] = json!({ "type": "json_schema", "schema": schema });
    }
    settings(conversation, &upstream.wire_model, &mut body);
    body
}

fn settings(conversation: &Conversation, wire_model: &str, body: &mut Map<String, Value>) {
    for (setting, value) in &conversation.settings {
        if *setting == Setting::User {
            body.insert("metadata".into(), json!({ "user_id": value }));
            continue;
        }
        let Some((_, name)) = SETTINGS.iter().find(|(known, _)| known == setting) else {
            continue;
        };
        if claude::may_set(*setting, conversation, wire_model) {
            let degree = value.as_f64().filter(|_| *setting == Setting::Temperature);
            let value = degree.map_or_else(|| value.clone(), |degree| degree.min(1.0).into());
            body.insert((*name).into(), value);
        }
    }
}

fn messages(conversation: &Conversation) -> Vec<Value> {
    let mut messages = Vec::new();
    for (role, parts) in conversation.exchanges() {
        let results = parts.iter().filter_map(|part| match part {
            Part::Result(result) => Some(self::result(result)),
            _ => None,
        });
        let mut blocks: Vec<Value> = results.collect();
        blocks.extend(parts.iter().filter_map(|part| block(part)));
        if blocks.is_empty() {
            continue;
        }
        let role = if role == Role::Assistant {
            "assistant"
        } else {
            "user"
        };
        if messages.is_empty() && role == "assistant" {
            messages.push(json!({ "role": "user", "content": OPENING }));
        }
        messages.push(json!({ "role": role, "content": blocks }));
    }
    if messages.is_empty() {
        messages.push(json!({ "role": "user", "content": OPENING }));
    }
    messages
}

fn block(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Text(text) | Part::Refusal(text) if text.trim().is_empty() => return None,
        Part::Text(text) | Part::Refusal(text) => json!({ "type": "text", "text": text }),
        Part::Image(source) => json!({ "type": "image", "source": self::source(source) }),
        Part::File { source, name } => {
            let mut block = json!({ "type": "document", "source": self::source(source) });
            if let Some(name) = name {
                block["title"] = name.as_str().into();
            }
            block
        }
        Part::Call(call) => json!({
            "type": "tool_use", "id": id(&call.id), "name": call.name, "input": call.object(),
        }),
        Part::Audio(_) | Part::Reasoning(_) | Part::Result(_) => return None,
    })
}

fn result(result: &ToolResult) -> Value {
    let blocks: Vec<Value> = result.parts.iter().filter_map(block).collect();
    let mut block = json!({
        "type": "tool_result", "tool_use_id": id(&result.id), "content": blocks,
    });
    if result.failed {
        block["is_error"] = true.into();
    }
    block
}

fn source(source: &Source) -> Value {
    match source {
        Source::Data { media, base64 } => {
            json!({ "type": "base64", "media_type": media, "data": base64 })
        }
        Source::Url(url) => json!({ "type": "url", "url": url }),
    }
}

/// Ids are letters, digits and lines here.
fn id(id: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let id = seal::stripped(id).chars();
    id.map(|c| if safe(c) { c } else { '_' }).collect()
}

fn tools(conversation: &Conversation, body: &mut Map<String, Value>) {
    if conversation.tools.is_empty() {
        return;
    }
    let tools = conversation.tools.iter().map(|tool| {
        let given = tool.parameters.clone();
        let given = given.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
        let schema = match tool.strict {
            Some(true) => claude::schema(&given),
            _ => given,
        };
        let mut one = json!({ "name": tool.name, "input_schema": schema });
        if let Some(description) = &tool.description {
            one["description"] = description.as_str().into();
        }
        if tool.strict == Some(true) {
            one["strict"] = true.into();
        }
        one
    });
    body.insert("tools".into(), tools.collect());
    let mut choice = match &conversation.tool_choice {
        ToolChoice::Auto => json!({ "type": "auto" }),
        ToolChoice::None => json!({ "type": "none" }),
        ToolChoice::Required => json!({ "type": "any" }),
        ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
    };
    if conversation.one_call && conversation.tool_choice != ToolChoice::None {
        choice["disable_parallel_tool_use"] = true.into();
    }
    body.insert("tool_choice".into(), choice);
}
