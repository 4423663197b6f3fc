//! A Messages request, read.
//!
//! Owns: what its fields and blocks mean in words that all dialects share. Lenient: a
//! block it does not know stays with this dialect.

use serde_json::Value;
use spillway_routing::prompt::Role;

use super::SETTINGS;
use crate::chat::{Body, Field};
use crate::conversation::{
    Conversation, Effort, Form, Loss, Part, Setting, Source, Tool, ToolCall, ToolChoice,
    ToolResult, Turn,
};
use crate::dialect::peek::{at, count, is_idle, text, texts};
use crate::dialect::{Read, required_model};
use crate::failure::Failure;

const ONCE: [&str; 10] = [
    "model",
    "messages",
    "system",
    "stream",
    "service_tier",
    "tools",
    "tool_choice",
    "max_tokens",
    "output_config",
    "start_within",
];
/// Fields that mean nothing to another provider, or that the lane decides.
const SILENT: [&str; 8] = [
    "model",
    "messages",
    "system",
    "max_tokens",
    "stream",
    "service_tier",
    "start_within",
    "diagnostics",
];

pub(in crate::dialect) fn read(body: &Body) -> Result<Read, Failure> {
    body.once(&ONCE)?;
    let messages = body.list("messages")?;
    let mut conversation = Conversation::default();
    if let Some(system) = body.value("system") {
        let parts = content(&system, &mut conversation);
        conversation.turns.push(Turn {
            role: Role::System,
            parts,
        });
    }
    for raw in messages {
        message(raw.get(), &mut conversation);
    }
    conversation.max_output = body.count("max_tokens");
    conversation.own.add_if(
        conversation.max_output == Some(0),
        Loss::Own("max_tokens 0".to_owned()),
    );
    for field in &body.0 {
        setting(field, &mut conversation);
    }
    Ok(Read {
        model: required_model(body.text("model"))?,
        stream: body.flag("stream")?,
        wants_usage: true,
        conversation,
    })
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
    if let Some((setting, _)) = SETTINGS.iter().find(|(_, known)| *known == name) {
        into.settings.push((*setting, value));
        return;
    }
    match name {
        "tools" => value
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|one| tool(one, into)),
        "tool_choice" => {
            into.one_call = at(&value, "disable_parallel_tool_use") == Some(&Value::Bool(true));
            into.tool_choice = match text(&value, "type") {
                Some("any") => ToolChoice::Required,
                Some("none") => ToolChoice::None,
                Some("tool") => {
                    ToolChoice::Named(text(&value, "name").unwrap_or_default().to_owned())
                }
                Some("auto") => ToolChoice::Auto,
                _ => return into.own.own("tool_choice"),
            };
        }
        "stop_sequences" => into.stop = texts(&value),
        "metadata" => {
            let user = at(&value, "user_id").cloned();
            into.settings.extend(user.map(|user| (Setting::User, user)));
        }
        "thinking" => thinking(&value, into),
        "output_config" => {
            let effort = text(&value, "effort").and_then(Effort::parse);
            into.thinking.effort = effort.or(into.thinking.effort);
            if let Some(schema) = at(&value, "format").and_then(|format| at(format, "schema")) {
                into.form = Form::JsonSchema {
                    name: None,
                    schema: schema.clone(),
                    strict: None,
                };
            }
        }
        "cache_control" => into.own.add(Loss::CacheHint),
        "container" => into.own.add(Loss::State),
        "mcp_servers" => into.own.add(Loss::BuiltInTool),
        // A thread that goes on has its history at the provider.
        "thread" if text(&value, "type") == Some("create") => into.own.add(Loss::Thread),
        "thread" => into.own.add(Loss::State),
        "context_management" => into.own.add(Loss::ContextManagement),
        "speed" if value == "standard" => {}
        other => into.own.own(other),
    }
}

fn thinking(value: &Value, into: &mut Conversation) {
    let kind = text(value, "type").unwrap_or_default();
    into.thinking.shown = kind != "disabled" && text(value, "display") != Some("omitted");
    let effort = match kind {
        "disabled" => Effort::None,
        "enabled" => Effort::of_budget(count(value, "budget_tokens").unwrap_or(1_024)),
        _ => return,
    };
    into.thinking.effort = into.thinking.effort.or(Some(effort));
}

fn tool(value: &Value, into: &mut Conversation) {
    if !matches!(text(value, "type"), None | Some("custom")) {
        return into.own.add(Loss::BuiltInTool);
    }
    into.own
        .add_if(at(value, "cache_control").is_some(), Loss::CacheHint);
    into.tools.push(Tool {
        name: text(value, "name").unwrap_or_default().to_owned(),
        description: text(value, "description").map(str::to_owned),
        parameters: at(value, "input_schema").cloned(),
        strict: at(value, "strict").and_then(Value::as_bool),
    });
}

fn message(raw: &str, into: &mut Conversation) {
    let Ok(message) = serde_json::from_str::<Value>(raw) else {
        // Serde refuses lone surrogates; the raw text is near enough to route by.
        into.own.own("message");
        let parts = vec![Part::Text(raw.to_owned())];
        return into.turns.push(Turn {
            role: Role::User,
            parts,
        });
    };
    let role = match text(&message, "role") {
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        _ => Role::User,
    };
    let parts = content(&message["content"], into);
    into.hears(role, parts);
}

fn content(content: &Value, into: &mut Conversation) -> Vec<Part> {
    let mut parts = Vec::new();
    match content {
        Value::String(text) => parts.push(Part::Text(text.clone())),
        Value::Array(blocks) => blocks.iter().for_each(|one| block(one, &mut parts, into)),
        _ => {}
    }
    parts
}

fn block(value: &Value, parts: &mut Vec<Part>, into: &mut Conversation) {
    into.own
        .add_if(at(value, "cache_control").is_some(), Loss::CacheHint);
    let word = |name| text(value, name).unwrap_or_default().to_owned();
    match text(value, "type").unwrap_or_default() {
        "text" => {
            let cited = at(value, "citations").is_some();
            into.own.add_if(cited, Loss::Own("citations".to_owned()));
            parts.push(Part::Text(word("text")));
        }
        "image" => match source(value) {
            Some(source) => parts.push(Part::Image(source)),
            None => into.own.add(Loss::State),
        },
        "document" => match source(value) {
            Some(source) => parts.push(Part::File {
                source,
                name: text(value, "title").map(str::to_owned),
            }),
            None => match at(value, "source").and_then(|source| text(source, "data")) {
                Some(plain) => parts.push(Part::Text(plain.to_owned())),
                None => into.own.own("document"),
            },
        },
        "tool_use" => {
            let input = at(value, "input").map_or_else(|| "{}".to_owned(), Value::to_string);
            parts.push(Part::Call(ToolCall {
                id: word("id"),
                name: word("name"),
                arguments: input,
            }));
        }
        "tool_result" => {
            let parts_of = at(value, "content").map(|inner| content(inner, into));
            parts.push(Part::Result(ToolResult {
                id: word("tool_use_id"),
                parts: parts_of.unwrap_or_default(),
                failed: at(value, "is_error") == Some(&Value::Bool(true)),
            }));
        }
        "thinking" => parts.push(Part::Reasoning(word("thinking"))),
        "redacted_thinking" => parts.push(Part::Reasoning(String::new())),
        kind if kind.starts_with("server_tool") || kind.ends_with("_tool_result") => {
            into.own.add(Loss::BuiltInTool);
        }
        other => into.own.own(&format!("block {other}")),
    }
}

fn source(value: &Value) -> Option<Source> {
    let source = at(value, "source")?;
    match text(source, "type")? {
        "base64" => Some(Source::data(
            text(source, "media_type")?,
            text(source, "data")?,
        )),
        "url" => Some(Source::of_url(text(source, "url")?)),
        _ => None,
    }
}
