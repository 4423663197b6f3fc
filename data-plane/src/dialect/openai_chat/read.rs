//! A Chat Completions request, read.
//!
//! Owns: what its fields mean in words that all dialects share. Lenient: a message it
//! cannot read is the provider's to judge, and stays with this dialect.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use spillway_routing::prompt::Role;

use super::SETTINGS;
use crate::chat::{Body, Field};
use crate::conversation::{
    Conversation, Effort, Form, Loss, Part, Setting, Source, Thinking, Tool, ToolCall, ToolChoice,
    ToolResult, Turn,
};
use crate::dialect::peek::{at, is_idle, list, text, texts};
use crate::dialect::{Read, required_model};
use crate::failure::Failure;

/// Fields that are read; twice the same one would let router and provider read
/// different values.
const ONCE: [&str; 11] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "service_tier",
    "tools",
    "tool_choice",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "start_within",
];
/// Fields that mean nothing to another provider, or that the lane decides.
const SILENT: [&str; 4] = ["stream", "stream_options", "service_tier", "start_within"];

pub(in crate::dialect) fn read(body: &Body) -> Result<Read, Failure> {
    body.once(&ONCE)?;
    let messages = body.list("messages")?;
    let mut conversation = Conversation::default();
    for raw in messages {
        message(raw.get(), &mut conversation);
    }
    let most = body
        .count("max_completion_tokens")
        .or_else(|| body.count("max_tokens"));
    conversation.max_output = most;
    // Which tools may be called leaves some of them out.
    for field in body.ending_with(&["tool_choice"]) {
        setting(field, &mut conversation);
    }
    let options = body.value("stream_options").unwrap_or_default();
    Ok(Read {
        model: required_model(body.text("model"))?,
        stream: body.flag("stream")?,
        wants_usage: at(&options, "include_usage") == Some(&Value::Bool(true)),
        conversation,
    })
}

fn setting(field: &Field, into: &mut Conversation) {
    let name = field.name.as_str();
    let known = ["model", "messages", "max_tokens", "max_completion_tokens"];
    if known.contains(&name) || SILENT.contains(&name) {
        return;
    }
    let Some(value) = field.parsed() else {
        return into.own.own(name);
    };
    if is_idle(&value) && name != "parallel_tool_calls" {
        return;
    }
    let shared = SETTINGS.iter().find(|(_, known)| *known == name);
    match name {
        _ if shared.is_some() => {
            let setting = shared.map_or(Setting::User, |(setting, _)| *setting);
            into.settings.push((setting, value));
        }
        "tools" => value
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|one| tool(one, into)),
        "tool_choice" => tool_choice(&value, into),
        "parallel_tool_calls" => into.one_call = value == Value::Bool(false),
        "response_format" => into.form = form(&value),
        "stop" => into.stop = texts(&value),
        "reasoning_effort" => into.thinking = thinking(&value),
        // Not OpenAI's, but many hosts take it.
        "top_k" => into.settings.push((Setting::TopK, value)),
        "prediction" => into.own.add(Loss::Prediction),
        "safety_identifier" => into.settings.push((Setting::User, value)),
        "n" => into.own.add_if(value != 1, Loss::Answers),
        "prompt_cache_options" | "prompt_cache_retention" => into.own.add(Loss::CacheHint),
        "web_search_options" => into.own.add(Loss::BuiltInTool),
        "modalities" if value == serde_json::json!(["text"]) => {}
        "audio" | "modalities" => into.own.add(Loss::Audio),
        other => into.own.own(other),
    }
}

fn thinking(effort: &Value) -> Thinking {
    let effort = effort.as_str().and_then(Effort::parse);
    Thinking {
        effort,
        shown: effort.is_some_and(|effort| effort != Effort::None),
    }
}

fn form(value: &Value) -> Form {
    match text(value, "type") {
        Some("json_object") => Form::JsonObject,
        Some("json_schema") => {
            let named = at(value, "json_schema").cloned().unwrap_or_default();
            Form::JsonSchema {
                name: text(&named, "name").map(str::to_owned),
                schema: at(&named, "schema").cloned().unwrap_or_default(),
                strict: at(&named, "strict").and_then(Value::as_bool),
            }
        }
        _ => Form::Text,
    }
}

fn tool(value: &Value, into: &mut Conversation) {
    let Some(function) = at(value, "function").filter(|_| text(value, "type") != Some("custom"))
    else {
        return into.own.add(Loss::BuiltInTool);
    };
    into.tools.push(Tool {
        name: text(function, "name").unwrap_or_default().to_owned(),
        description: text(function, "description").map(str::to_owned),
        parameters: at(function, "parameters").cloned(),
        strict: at(function, "strict").and_then(Value::as_bool),
    });
}

fn tool_choice(value: &Value, into: &mut Conversation) {
    into.tool_choice = match value.as_str() {
        Some("none") => ToolChoice::None,
        Some("required" | "any") => ToolChoice::Required,
        Some("auto") => ToolChoice::Auto,
        Some(_) => return into.own.own("tool_choice"),
        None => match text(value, "type") {
            Some("function") => {
                let function = at(value, "function").cloned().unwrap_or_default();
                ToolChoice::Named(text(&function, "name").unwrap_or_default().to_owned())
            }
            Some("allowed_tools") => {
                let allowed = at(value, "allowed_tools").cloned().unwrap_or_default();
                let names = list(&allowed, "tools").iter();
                let names: Vec<&str> = names
                    .filter_map(|tool| text(at(tool, "function")?, "name"))
                    .collect();
                into.tools
                    .retain(|tool| names.contains(&tool.name.as_str()));
                match text(&allowed, "mode") {
                    Some("required") => ToolChoice::Required,
                    _ => ToolChoice::Auto,
                }
            }
            _ => {
                into.own.own("tool_choice");
                ToolChoice::Auto
            }
        },
    };
}

/// A message that is a role and a text, as most are: no value is made of it.
fn plain(raw: &str) -> Option<Turn> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plain<'a> {
        #[serde(borrow)]
        role: Cow<'a, str>,
        content: String,
    }
    let plain: Plain<'_> = serde_json::from_str(raw).ok()?;
    let role = role(Some(&plain.role));
    let parts = vec![Part::Text(plain.content)];
    (role != Role::Tool).then_some(Turn { role, parts })
}

fn role(name: Option<&str>) -> Role {
    match name {
        Some("system" | "developer") => Role::System,
        Some("assistant") => Role::Assistant,
        Some("tool" | "function") => Role::Tool,
        _ => Role::User,
    }
}

fn message(raw: &str, into: &mut Conversation) {
    if let Some(turn) = plain(raw) {
        return into.turns.push(turn);
    }
    let Ok(mut message) = serde_json::from_str::<Value>(raw) else {
        // Serde refuses lone surrogates; the raw text is near enough to route by.
        into.own.own("message");
        let parts = vec![Part::Text(raw.to_owned())];
        return into.turns.push(Turn {
            role: Role::User,
            parts,
        });
    };
    let role = role(text(&message, "role"));
    into.own
        .add_if(at(&message, "name").is_some(), Loss::SpeakerName);
    let mut parts = Vec::new();
    for thought in ["reasoning_content", "reasoning"] {
        if let Some(thought) = text(&message, thought) {
            parts.push(Part::Reasoning(thought.to_owned()));
            break;
        }
    }
    let given = message.get_mut("content").map(Value::take);
    content(given.unwrap_or_default(), &mut parts, into);
    if let Some(refusal) = text(&message, "refusal") {
        parts.push(Part::Refusal(refusal.to_owned()));
    }
    for call in list(&message, "tool_calls") {
        calls(call, &mut parts, into);
    }
    for own in ["function_call", "audio"] {
        into.own
            .add_if(at(&message, own).is_some(), Loss::Own(own.to_owned()));
    }
    if role == Role::Tool {
        let id = text(&message, "tool_call_id").unwrap_or_default();
        parts = vec![Part::Result(ToolResult {
            id: id.to_owned(),
            parts,
            failed: false,
        })];
    }
    into.turns.push(Turn { role, parts });
}

fn calls(call: &Value, parts: &mut Vec<Part>, into: &mut Conversation) {
    let Some(function) = at(call, "function") else {
        return into.own.add(Loss::BuiltInTool);
    };
    let word = |value: &Value, name| text(value, name).unwrap_or_default().to_owned();
    parts.push(Part::Call(ToolCall {
        id: word(call, "id"),
        name: word(function, "name"),
        arguments: word(function, "arguments"),
    }));
}

fn content(content: Value, parts: &mut Vec<Part>, into: &mut Conversation) {
    match content {
        Value::String(text) => parts.push(Part::Text(text)),
        Value::Array(list) => list.iter().for_each(|one| part(one, parts, into)),
        _ => {}
    }
}

fn part(value: &Value, parts: &mut Vec<Part>, into: &mut Conversation) {
    if let Some(text) = value.as_str() {
        return parts.push(Part::Text(text.to_owned()));
    }
    let hinted = at(value, "prompt_cache_breakpoint").is_some();
    into.own.add_if(
        hinted || at(value, "cache_control").is_some(),
        Loss::CacheHint,
    );
    let kind = text(value, "type").unwrap_or_default();
    let inner = at(value, kind).cloned().unwrap_or_default();
    match kind {
        "text" => parts.extend(text(value, "text").map(|text| Part::Text(text.to_owned()))),
        "refusal" => parts.extend(text(value, kind).map(|text| Part::Refusal(text.to_owned()))),
        "image_url" => {
            let url = inner.as_str().or_else(|| text(&inner, "url"));
            parts.push(Part::Image(Source::of_url(url.unwrap_or_default())));
            into.own.add_if(
                at(&inner, "detail").is_some_and(|d| d != "auto"),
                Loss::ImageDetail,
            );
        }
        "input_audio" => parts.push(Part::Audio(Source::Data {
            media: format!("audio/{}", text(&inner, "format").unwrap_or("wav")),
            base64: text(&inner, "data").unwrap_or_default().to_owned(),
        })),
        "file" => match text(&inner, "file_data") {
            Some(data) => parts.push(Part::File {
                source: Source::of_url(data),
                name: text(&inner, "filename").map(str::to_owned),
            }),
            None => into.own.add(Loss::State),
        },
        // Mistral's models show their reasoning so.
        "thinking" => parts.push(Part::Reasoning(inner.to_string())),
        other => into.own.own(&format!("part {other}")),
    }
}
