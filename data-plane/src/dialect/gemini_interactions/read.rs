//! An Interactions request, read.
//!
//! Owns: what its fields, steps and contents mean in words that all dialects share.
//! Lenient: a step it does not know stays with this dialect.

use serde_json::Value;
use spillway_routing::prompt::Role;

use super::{PREVIOUS, SETTINGS};
use crate::chat::{Body, Field};
use crate::conversation::{
    Conversation, Effort, Form, Loss, Part, Setting, Tool, ToolCall, ToolChoice, ToolResult, Turn,
};
use crate::dialect::peek::{at, is_idle, list, text, texts};
use crate::dialect::{Read, google, kept, required_model};
use crate::failure::{Failure, Kind};

const ONCE: [&str; 9] = [
    "model",
    "input",
    "system_instruction",
    "stream",
    "service_tier",
    "tools",
    "generation_config",
    "response_format",
    "start_within",
];
/// Fields that mean nothing to another provider, or that the lane decides.
const SILENT: [&str; 8] = [
    "model",
    "input",
    "system_instruction",
    "stream",
    "service_tier",
    "start_within",
    // Kept is the default here, and what keeps it is the provider.
    "store",
    "background",
];
/// Fields that point at what one provider keeps.
const STATE: [&str; 4] = [
    PREVIOUS,
    "cached_content",
    "continuation_token",
    "environment",
];

pub(in crate::dialect) fn read(body: &Body) -> Result<Read, Failure> {
    body.once(&ONCE)?;
    let refused = |message, field| Err(Failure::client(Kind::BadRequest, message).about(field));
    if body.raw("agent").is_some() {
        let message = "agents are not routed; name a route or a model instead";
        return refused(message, "agent");
    }
    if body.flag("background")? {
        let message = "interactions do not run in the background here; leave background out, or ask \
                       at /v1/responses, where work is kept";
        return refused(message, "background");
    }
    let mut conversation = Conversation::default();
    if let Some(system) = body.text("system_instruction") {
        conversation.turns.push(said(Role::System, system));
    }
    match body.value("input") {
        Some(input) => steps(&input, &mut conversation),
        // Serde refuses lone surrogates; the raw text is near enough to route by.
        None if body.raw("input").is_some() => {
            conversation.own.own("input");
            let raw = body.raw("input").unwrap_or_default().to_owned();
            conversation.turns.push(said(Role::User, raw));
        }
        None if body.raw(PREVIOUS).is_some() => {}
        None => {
            let message = "input is missing; send a text, contents or steps";
            return refused(message, "input");
        }
    }
    let previous = body.text(PREVIOUS);
    conversation.kept_by = previous.and_then(|id| kept::opened(&id).1);
    for field in &body.0 {
        setting(field, &mut conversation);
    }
    allow(body, &mut conversation);
    Ok(Read {
        model: required_model(body.text("model"))?,
        stream: body.flag("stream")?,
        wants_usage: true,
        conversation,
    })
}

fn said(role: Role, text: String) -> Turn {
    Turn {
        role,
        parts: vec![Part::Text(text)],
    }
}

fn setting(field: &Field, into: &mut Conversation) {
    let name = field.name.as_str();
    if SILENT.contains(&name) {
        return;
    }
    let Some(value) = field.parsed() else {
        return into.own.own(name);
    };
    if is_idle(&value) {
        return;
    }
    match name {
        "tools" => value
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|one| tool(one, into)),
        "generation_config" => {
            for (name, value) in value.as_object().into_iter().flatten() {
                config(name, value, into);
            }
        }
        "response_format" => form(&value, into),
        "response_mime_type" => {
            if value == "application/json" && into.form == Form::Text {
                into.form = Form::JsonObject;
            }
        }
        "response_modalities" if value == serde_json::json!(["text"]) => {}
        "safety_settings" => into.own.add(Loss::SafetySettings),
        "labels" => into.settings.push((Setting::Metadata, value)),
        state if STATE.contains(&state) => into.own.add(Loss::State),
        other => into.own.own(other),
    }
}

fn config(name: &str, value: &Value, into: &mut Conversation) {
    if value.is_null() {
        return;
    }
    if let Some((setting, _)) = SETTINGS.iter().find(|(_, known)| *known == name) {
        return into.settings.push((*setting, value.clone()));
    }
    match name {
        "max_output_tokens" => into.max_output = value.as_u64(),
        "stop_sequences" => into.stop = texts(value),
        "thinking_level" => into.thinking.effort = value.as_str().and_then(Effort::parse),
        "thinking_summaries" => into.thinking.shown = value == "auto",
        "tool_choice" => tool_choice(value, into),
        other => into.own.own(other),
    }
}

fn tool_choice(value: &Value, into: &mut Conversation) {
    let allowed = at(value, "allowed_tools");
    let mode = allowed.map_or_else(|| value.as_str(), |allowed| text(allowed, "mode"));
    into.tool_choice = match (mode.unwrap_or("auto"), allowed_tools(value).as_slice()) {
        ("none", _) => ToolChoice::None,
        ("any", [one]) => ToolChoice::Named(one.clone()),
        ("any", _) => ToolChoice::Required,
        ("auto" | "validated", _) => ToolChoice::Auto,
        _ => return into.own.own("tool_choice"),
    };
}

fn allowed_tools(choice: &Value) -> Vec<String> {
    let names = at(choice, "allowed_tools").and_then(|allowed| at(allowed, "tools"));
    names.map(texts).unwrap_or_default()
}

/// Leaves the tools that may be called, once all were read. A name that nobody declared is
/// the provider's to judge.
fn allow(body: &Body, into: &mut Conversation) {
    let config = body.value("generation_config").unwrap_or_default();
    let names = at(&config, "tool_choice").map(allowed_tools);
    let names = names.unwrap_or_default();
    let known = |name: &String| into.tools.iter().any(|tool| tool.name == *name);
    if !names.is_empty() && names.iter().all(known) {
        into.tools.retain(|tool| names.contains(&tool.name));
    }
}

fn tool(value: &Value, into: &mut Conversation) {
    if text(value, "type") != Some("function") {
        return into.own.add(Loss::BuiltInTool);
    }
    into.tools.push(Tool {
        name: text(value, "name").unwrap_or_default().to_owned(),
        description: text(value, "description").map(str::to_owned),
        parameters: at(value, "parameters").cloned(),
        strict: None,
    });
}

/// One format, or one of each kind that may come.
fn form(value: &Value, into: &mut Conversation) {
    let formats = value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice);
    for format in formats {
        match (text(format, "type"), at(format, "schema")) {
            (Some("text"), Some(schema)) => {
                into.form = Form::JsonSchema {
                    name: None,
                    schema: schema.clone(),
                    strict: None,
                };
            }
            (Some("text"), None) => {
                if text(format, "mime_type") == Some("application/json") {
                    into.form = Form::JsonObject;
                }
            }
            // A bare schema was once taken too.
            (kind, _) => into
                .own
                .own(&format!("response_format {}", kind.unwrap_or("object"))),
        }
    }
}

/// A text, contents or steps.
fn steps(input: &Value, into: &mut Conversation) {
    let steps = match input {
        Value::String(text) => return into.turns.push(said(Role::User, text.clone())),
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let is_step = |one: &Value| {
        let kind = text(one, "type").unwrap_or_default();
        at(one, "content").is_some() || kind == "thought" || kind.contains('_')
    };
    // Contents alone are what the user says.
    if !steps.iter().any(is_step) {
        let parts = contents(steps, into);
        return into.hears(Role::User, parts);
    }
    for one in steps {
        step(one, into);
    }
}

/// A thought's signature is for Google's own lanes, which get the steps as they are.
fn step(step: &Value, into: &mut Conversation) {
    let word = |name| text(step, name).unwrap_or_default().to_owned();
    match text(step, "type").unwrap_or_default() {
        "user_input" => {
            let parts = contents(list(step, "content"), into);
            into.hears(Role::User, parts);
        }
        "model_output" => {
            let parts = contents(list(step, "content"), into);
            answers(parts, into);
        }
        "thought" => {
            let summary = list(step, "summary").iter();
            let thought: String = summary
                .filter_map(|content| text(content, "text"))
                .collect();
            // One without words is only there for its signature.
            if !thought.is_empty() {
                answers(vec![Part::Reasoning(thought)], into);
            }
        }
        "function_call" => {
            let call = ToolCall {
                id: word("id"),
                name: word("name"),
                arguments: at(step, "arguments").map_or_else(|| "{}".to_owned(), Value::to_string),
            };
            answers(vec![Part::Call(call)], into);
        }
        "function_result" => {
            let result = ToolResult {
                id: word("call_id"),
                parts: result(step, into),
                failed: at(step, "is_error") == Some(&Value::Bool(true)),
            };
            into.hears(Role::User, vec![Part::Result(result)]);
        }
        "text" | "image" | "document" | "audio" | "video" => {
            let parts = contents(std::slice::from_ref(step), into);
            into.hears(Role::User, parts);
        }
        kind if kind.ends_with("_call") || kind.ends_with("_result") => {
            into.own.add(Loss::BuiltInTool);
        }
        other => into.own.own(&format!("step {other}")),
    }
}

/// The steps of one answer are one turn.
fn answers(parts: Vec<Part>, into: &mut Conversation) {
    match into.turns.last_mut() {
        Some(last) if last.role == Role::Assistant => last.parts.extend(parts),
        _ => into.hears(Role::Assistant, parts),
    }
}

fn result(step: &Value, into: &mut Conversation) -> Vec<Part> {
    match at(step, "result") {
        Some(Value::String(text)) => vec![Part::Text(text.clone())],
        Some(Value::Array(items)) if items.iter().all(|one| text(one, "type").is_some()) => {
            contents(items, into)
        }
        Some(other) => vec![Part::Text(other.to_string())],
        None => Vec::new(),
    }
}

fn contents(contents: &[Value], into: &mut Conversation) -> Vec<Part> {
    let parts = contents.iter().filter_map(|content| part(content, into));
    parts.collect()
}

fn part(content: &Value, into: &mut Conversation) -> Option<Part> {
    let kind = text(content, "type").unwrap_or_default();
    let media = text(content, "mime_type");
    match kind {
        "text" => {
            let cited = at(content, "annotations").is_some_and(|notes| !is_idle(notes));
            into.own.add_if(cited, Loss::Own("annotations".to_owned()));
            Some(Part::Text(
                text(content, "text").unwrap_or_default().to_owned(),
            ))
        }
        "image" | "document" | "audio" => {
            into.own
                .add_if(at(content, "resolution").is_some(), Loss::ImageDetail);
            let usual = (kind == "image").then_some("image/png");
            if let Some(data) = text(content, "data") {
                return Some(google::media(media.or(usual), data));
            }
            let uri = text(content, "uri").unwrap_or_default();
            let part = google::elsewhere(media.or(usual), uri);
            into.own.add_if(part.is_none(), Loss::State);
            part
        }
        other => {
            into.own.own(&format!("content {other}"));
            None
        }
    }
}
