//! A request of another dialect, as generateContent.
//!
//! Owns: the body that is sent, and what it cannot say.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use spillway_routing::catalogue::Upstream;
use spillway_routing::prompt::Role;

use super::SETTINGS;
use crate::conversation::{
    Conversation, Form, Loss, Losses, Part, Setting, Source, Thinking, ToolChoice, ToolResult,
};
use crate::dialect::OPENING;
use crate::dialect::google::{self, STOPS_MAX};
use crate::dialect::seal::{self, Signed};

/// What this dialect cannot say of a conversation.
pub(in crate::dialect) fn losses(conversation: &Conversation) -> Losses {
    let mut losses = conversation.losses_without(|wanted| {
        wanted == Setting::Logprobs || SETTINGS.iter().any(|(known, _)| *known == wanted)
    });
    google::losses(conversation, &mut losses);
    let parts = conversation.turns.iter().flat_map(|turn| &turn.parts);
    let media = |part: &Part| !matches!(part, Part::Text(_) | Part::Refusal(_));
    let mut results = parts.filter_map(|part| match part {
        Part::Result(result) => Some(result),
        _ => None,
    });
    losses.add_if(
        results.any(|result| result.parts.iter().any(media)),
        Loss::ToolMedia,
    );
    losses
}

/// The body, without what the lane decides.
pub(in crate::dialect) fn write(
    conversation: &Conversation,
    upstream: &Upstream,
) -> Map<String, Value> {
    let mut body = Map::new();
    let system = conversation.system();
    if !system.is_empty() {
        let parts: Vec<Value> = system.iter().map(|text| json!({ "text": text })).collect();
        body.insert("systemInstruction".into(), json!({ "parts": parts }));
    }
    let names = conversation.called();
    let contents = conversation.exchanges().into_iter().map(|(role, parts)| {
        let role = if role == Role::Assistant {
            "model"
        } else {
            "user"
        };
        let parts = parts.iter().filter_map(|part| self::part(part, &names));
        json!({ "role": role, "parts": parts.collect::<Vec<_>>() })
    });
    let spoken = |content: &Value| !content["parts"].as_array().is_none_or(Vec::is_empty);
    let mut contents: Vec<Value> = contents.filter(spoken).collect();
    // Google wants somebody to have said something.
    if contents.is_empty() {
        contents.push(json!({ "role": "user", "parts": [{ "text": OPENING }] }));
    }
    body.insert("contents".into(), contents.into());
    tools(conversation, &mut body);
    let config = config(conversation, &upstream.wire_model);
    if !config.is_empty() {
        body.insert("generationConfig".into(), config.into());
    }
    body
}

fn part(part: &Part, names: &BTreeMap<&str, &str>) -> Option<Value> {
    Some(match part {
        Part::Text(text) | Part::Refusal(text) if text.is_empty() => return None,
        Part::Text(text) | Part::Refusal(text) => json!({ "text": text }),
        Part::Image(source) | Part::File { source, .. } | Part::Audio(source) => match source {
            Source::Data { media, base64 } => {
                json!({ "inlineData": { "mimeType": media, "data": base64 } })
            }
            Source::Url(url) => json!({ "fileData": { "fileUri": url } }),
        },
        Part::Call(call) => {
            let signature = seal::signature(&call.id, Signed::Call);
            json!({
                "functionCall": {
                    "id": seal::stripped(&call.id), "name": call.name, "args": call.object(),
                },
                "thoughtSignature": signature.as_deref().unwrap_or(seal::UNSIGNED),
            })
        }
        Part::Result(result) => json!({ "functionResponse": {
            "id": seal::stripped(&result.id),
            "name": names.get(result.id.as_str()).copied().unwrap_or(&result.id),
            "response": response(result),
        } }),
        Part::Reasoning(_) => return None,
    })
}

/// Results are objects here.
fn response(result: &ToolResult) -> Value {
    let text = result.text();
    if result.failed {
        return json!({ "error": text });
    }
    let object = serde_json::from_str::<Value>(&text).ok();
    object
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({ "result": text }))
}

fn tools(conversation: &Conversation, body: &mut Map<String, Value>) {
    if conversation.tools.is_empty() {
        return;
    }
    let declarations = conversation.tools.iter().map(|tool| {
        let mut one = json!({ "name": tool.name });
        if let Some(description) = &tool.description {
            one["description"] = description.as_str().into();
        }
        if let Some(parameters) = &tool.parameters {
            one["parametersJsonSchema"] = parameters.clone();
        }
        one
    });
    let declarations: Vec<Value> = declarations.collect();
    body.insert(
        "tools".into(),
        json!([{ "functionDeclarations": declarations }]),
    );
    let calling = match &conversation.tool_choice {
        ToolChoice::Auto => return,
        ToolChoice::None => json!({ "mode": "NONE" }),
        ToolChoice::Required => json!({ "mode": "ANY" }),
        ToolChoice::Named(name) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
    };
    body.insert(
        "toolConfig".into(),
        json!({ "functionCallingConfig": calling }),
    );
}

fn config(conversation: &Conversation, wire_model: &str) -> Map<String, Value> {
    let mut config = Map::new();
    if let Some(most) = conversation.max_output {
        config.insert("maxOutputTokens".into(), most.into());
    }
    if !conversation.stop.is_empty() {
        let some = &conversation.stop[..conversation.stop.len().min(STOPS_MAX)];
        config.insert("stopSequences".into(), json!(some));
    }
    match &conversation.form {
        Form::Text => {}
        Form::JsonObject => {
            config.insert("responseMimeType".into(), "application/json".into());
        }
        Form::JsonSchema { schema, .. } => {
            config.insert("responseMimeType".into(), "application/json".into());
            config.insert("responseJsonSchema".into(), schema.clone());
        }
    }
    if let Some(thinking) = thinking(conversation.thinking, wire_model) {
        config.insert("thinkingConfig".into(), thinking);
    }
    for (setting, value) in &conversation.settings {
        if *setting == Setting::Logprobs {
            config.insert("responseLogprobs".into(), value.clone());
        }
        if let Some((_, name)) = SETTINGS.iter().find(|(known, _)| known == setting) {
            config.insert((*name).into(), value.clone());
        }
    }
    config
}

/// Models of the second generation take a budget, later ones a level.
fn thinking(thinking: Thinking, wire_model: &str) -> Option<Value> {
    let effort = thinking.effort?;
    let level = google::level(effort)?;
    let mut config = if wire_model.contains("gemini-2") {
        json!({ "thinkingBudget": effort.budget() })
    } else {
        json!({ "thinkingLevel": level })
    };
    config["includeThoughts"] = thinking.shown.into();
    Some(config)
}
