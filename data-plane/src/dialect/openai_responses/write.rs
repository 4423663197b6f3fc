//! A request of another dialect, as Responses.
//!
//! Owns: the body that is sent, and what it cannot say. Nothing is kept at the provider:
//! the caller's dialect has no name for what would be kept.

use serde_json::{Map, Value, json};
use spillway_routing::catalogue::Upstream;
use spillway_routing::dialect::Dialect;
use spillway_routing::prompt::Role;

use super::SETTINGS;
use crate::conversation::{
    Conversation, Effort, Form, Loss, Losses, Part, Setting, Source, Tool, ToolChoice, Turn, texts,
};
use crate::dialect::{gpt, openai_chat, seal};

/// What this dialect cannot say of a conversation.
pub(in crate::dialect) fn losses(conversation: &Conversation) -> Losses {
    let mut losses = conversation.losses_without(|wanted| {
        wanted == Setting::Verbosity || SETTINGS.iter().any(|(known, _)| *known == wanted)
    });
    losses.add_if(!conversation.stop.is_empty(), Loss::Stop);
    losses.add_if(conversation.ends_with_answer(), Loss::Prefill);
    for part in conversation.turns.iter().flat_map(|turn| &turn.parts) {
        match part {
            Part::Reasoning(_) => losses.add(Loss::EarlierReasoning),
            Part::Audio(Source::Url(_)) => losses.add(Loss::RemoteFile),
            Part::Result(result) => losses.add_if(result.failed, Loss::ToolFailure),
            Part::File {
                source: Source::Data { media, .. },
                ..
            } => losses.add_if(media != "application/pdf", Loss::File),
            _ => {}
        }
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
    let items: Vec<Value> = conversation.turns.iter().flat_map(items).collect();
    body.insert("input".into(), items.into());
    body.insert("store".into(), false.into());
    if let Some(most) = conversation.max_output {
        body.insert("max_output_tokens".into(), most.into());
    }
    let effort = gpt::effort(
        conversation.thinking.effort,
        upstream,
        Dialect::OpenAiResponses,
    );
    if let Some(effort) = effort {
        let mut reasoning = json!({ "effort": effort.name() });
        if conversation.thinking.shown && effort > Effort::None {
            reasoning["summary"] = "auto".into();
        }
        body.insert("reasoning".into(), reasoning);
    }
    if !conversation.tools.is_empty() {
        let tools: Vec<Value> = conversation.tools.iter().map(tool).collect();
        body.insert("tools".into(), tools.into());
        let choice = match &conversation.tool_choice {
            ToolChoice::Auto => "auto".into(),
            ToolChoice::None => "none".into(),
            ToolChoice::Required => "required".into(),
            ToolChoice::Named(name) => json!({ "type": "function", "name": name }),
        };
        body.insert("tool_choice".into(), choice);
        if conversation.one_call {
            body.insert("parallel_tool_calls".into(), false.into());
        }
    }
    let mut text = Map::new();
    if let Some(format) = format(&conversation.form) {
        text.insert("format".into(), format);
    }
    let settings = conversation.settings.iter();
    for (setting, value) in settings.filter(|(one, _)| gpt::may_set(*one, upstream, effort)) {
        match SETTINGS.iter().find(|(known, _)| known == setting) {
            Some((Setting::Store, _)) => {}
            Some((_, name)) => {
                body.insert((*name).into(), value.clone());
            }
            None if *setting == Setting::Verbosity => {
                text.insert("verbosity".into(), value.clone());
            }
            None => {}
        }
    }
    if !text.is_empty() {
        body.insert("text".into(), text.into());
    }
    body
}

/// Calls and results are items of their own; results come before what else was said.
fn items(turn: &Turn) -> Vec<Value> {
    let mut items = Vec::new();
    let mut said = Vec::new();
    for part in &turn.parts {
        match part {
            Part::Result(result) => items.push(json!({
                "type": "function_call_output",
                "call_id": seal::stripped(&result.id),
                "output": output(&result.parts),
            })),
            part => said.extend(self::part(part, turn.role)),
        }
    }
    if !said.is_empty() {
        let role = match turn.role {
            Role::System => "developer",
            Role::Assistant => "assistant",
            Role::User | Role::Tool => "user",
        };
        items.push(json!({ "type": "message", "role": role, "content": said }));
    }
    for part in &turn.parts {
        if let Part::Call(call) = part {
            items.push(json!({
                "type": "function_call",
                "call_id": seal::stripped(&call.id),
                "name": call.name,
                "arguments": call.arguments,
            }));
        }
    }
    items
}

/// Plain text where there is nothing else.
fn output(parts: &[Part]) -> Value {
    if parts
        .iter()
        .all(|part| matches!(part, Part::Text(_) | Part::Refusal(_)))
    {
        return texts(parts).into();
    }
    parts
        .iter()
        .filter_map(|part| self::part(part, Role::User))
        .collect()
}

fn part(part: &Part, role: Role) -> Option<Value> {
    let kind = if role == Role::Assistant {
        "output_text"
    } else {
        "input_text"
    };
    Some(match part {
        Part::Text(text) => json!({ "type": kind, "text": text }),
        Part::Refusal(text) if role == Role::Assistant => {
            json!({ "type": "refusal", "refusal": text })
        }
        Part::Refusal(text) => json!({ "type": kind, "text": text }),
        Part::Image(source) => {
            json!({ "type": "input_image", "detail": "auto", "image_url": source.to_url() })
        }
        Part::File { source, name } => match source {
            Source::Url(url) => json!({ "type": "input_file", "file_url": url }),
            Source::Data { .. } => json!({
                "type": "input_file",
                "filename": name.as_deref().unwrap_or("file"),
                "file_data": source.to_url(),
            }),
        },
        Part::Audio(Source::Data { media, base64 }) => {
            let format = openai_chat::audio_format(media);
            json!({ "type": "input_audio", "input_audio": { "data": base64, "format": format } })
        }
        Part::Audio(_) | Part::Reasoning(_) | Part::Call(_) | Part::Result(_) => return None,
    })
}

fn tool(tool: &Tool) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} })),
        // Without a word this API keeps schemas to the letter, the others do not.
        "strict": tool.strict.unwrap_or(false),
    })
}

fn format(form: &Form) -> Option<Value> {
    match form {
        Form::Text => None,
        Form::JsonObject => Some(json!({ "type": "json_object" })),
        Form::JsonSchema {
            name,
            schema,
            strict,
        } => Some(json!({
            "type": "json_schema",
            "name": name.as_deref().unwrap_or("answer"),
            "schema": schema,
            "strict": strict.unwrap_or(false),
        })),
    }
}
