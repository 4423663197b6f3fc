//! A Responses request, read.
//!
//! Owns: what its fields and items mean in words that all dialects share. Lenient: an
//! item it does not know stays with this dialect.

use serde_json::Value;
use spillway_routing::prompt::Role;

use super::{PREVIOUS, SETTINGS};
use crate::chat::{Body, Field};
use crate::conversation::{
    Conversation, Effort, Form, Loss, Part, Setting, Source, Tool, ToolCall, ToolChoice,
    ToolResult, Turn,
};
use crate::dialect::peek::{at, is_idle, list, text};
use crate::dialect::{Read, kept, required_model};
use crate::failure::{Failure, Kind};

const ONCE: [&str; 10] = [
    "model",
    "input",
    "instructions",
    "stream",
    "service_tier",
    "tools",
    "tool_choice",
    "text",
    "max_output_tokens",
    "start_within",
];
/// Fields that mean nothing to another provider, or that the lane decides.
const SILENT: [&str; 6] = [
    "model",
    "input",
    "stream",
    "stream_options",
    "service_tier",
    "start_within",
];
/// Fields that point at what one provider keeps.
const STATE: [&str; 4] = [PREVIOUS, "conversation", "prompt", "background"];

pub(in crate::dialect) fn read(body: &Body) -> Result<Read, Failure> {
    body.once(&ONCE)?;
    let mut conversation = Conversation::default();
    if let Some(instructions) = body.text("instructions") {
        conversation.turns.push(said(Role::System, instructions));
    }
    let input = body.value("input");
    let kept = STATE.iter().any(|name| body.raw(name).is_some());
    match input {
        Some(Value::String(text)) => conversation.turns.push(said(Role::User, text)),
        Some(Value::Array(items)) => {
            for one in &items {
                item(one, &mut conversation);
            }
        }
        // Serde refuses lone surrogates; the raw text is near enough to route by.
        None if body.raw("input").is_some() => {
            conversation.own.own("input");
            let raw = body.raw("input").unwrap_or_default().to_owned();
            conversation.turns.push(said(Role::User, raw));
        }
        _ if kept => {}
        _ => {
            let message = "input is missing; send a text or a list of items";
            return Err(Failure::client(Kind::BadRequest, message).about("input"));
        }
    }
    conversation.max_output = body.count("max_output_tokens");
    let previous = body.text(PREVIOUS);
    conversation.kept_by = previous.and_then(|id| kept::opened(&id).1);
    // Which tools may be called leaves some of them out.
    for field in body.ending_with(&["tool_choice"]) {
        setting(field, &mut conversation);
    }
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
    if SILENT.contains(&name) || matches!(name, "instructions" | "max_output_tokens") {
        return;
    }
    let Some(value) = field.parsed() else {
        return into.own.own(name);
    };
    if name == "parallel_tool_calls" {
        into.one_call = value == Value::Bool(false);
        return;
    }
    if is_idle(&value) {
        return;
    }
    if let Some((setting, _)) = SETTINGS.iter().find(|(_, known)| *known == name) {
        // Kept is the default here, and what keeps it is the provider.
        if *setting != Setting::Store {
            into.settings.push((*setting, value));
        }
        return;
    }
    match name {
        "tools" => value
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|one| tool(one, into)),
        "tool_choice" => tool_choice(&value, into),
        "text" => {
            into.form = form(at(&value, "format"));
            let verbosity = at(&value, "verbosity").cloned();
            into.settings
                .extend(verbosity.map(|verbosity| (Setting::Verbosity, verbosity)));
        }
        "reasoning" => {
            let effort = text(&value, "effort").and_then(Effort::parse);
            into.thinking.effort = effort;
            into.thinking.shown =
                at(&value, "summary").is_some() || at(&value, "generate_summary").is_some();
        }
        "safety_identifier" => into.settings.push((Setting::User, value)),
        "include" => {
            let sealed = |one: &Value| one == "reasoning.encrypted_content";
            let only = value.as_array().is_some_and(|list| list.iter().all(sealed));
            let own = || Loss::Own("include".to_owned());
            into.own
                .add(if only { Loss::EarlierReasoning } else { own() });
        }
        "truncation" if value == "disabled" => {}
        "prompt_cache_options" | "prompt_cache_retention" => into.own.add(Loss::CacheHint),
        _ if STATE.contains(&name) => into.own.add(Loss::State),
        other => into.own.own(other),
    }
}

fn form(format: Option<&Value>) -> Form {
    let Some(format) = format else {
        return Form::Text;
    };
    match text(format, "type") {
        Some("json_object") => Form::JsonObject,
        Some("json_schema") => Form::JsonSchema {
            name: text(format, "name").map(str::to_owned),
            schema: at(format, "schema").cloned().unwrap_or_default(),
            strict: at(format, "strict").and_then(Value::as_bool),
        },
        _ => Form::Text,
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
        strict: at(value, "strict").and_then(Value::as_bool),
    });
}

fn tool_choice(value: &Value, into: &mut Conversation) {
    into.tool_choice = match value.as_str() {
        Some("none") => ToolChoice::None,
        Some("required") => ToolChoice::Required,
        Some("auto") => ToolChoice::Auto,
        Some(_) => return into.own.own("tool_choice"),
        None => match text(value, "type") {
            Some("function") => {
                ToolChoice::Named(text(value, "name").unwrap_or_default().to_owned())
            }
            Some("allowed_tools") => {
                let names = list(value, "tools").iter();
                let names: Vec<&str> = names.filter_map(|tool| text(tool, "name")).collect();
                into.tools
                    .retain(|tool| names.contains(&tool.name.as_str()));
                match text(value, "mode") {
                    Some("required") => ToolChoice::Required,
                    _ => ToolChoice::Auto,
                }
            }
            _ => {
                into.own.add(Loss::BuiltInTool);
                ToolChoice::Auto
            }
        },
    };
}

fn item(value: &Value, into: &mut Conversation) {
    let word = |name| text(value, name).unwrap_or_default().to_owned();
    let (role, parts) = match text(value, "type").unwrap_or("message") {
        "message" => {
            let role = match text(value, "role") {
                Some("system" | "developer") => Role::System,
                Some("assistant") => Role::Assistant,
                _ => Role::User,
            };
            (role, content(at(value, "content"), into))
        }
        "function_call" => {
            let call = ToolCall {
                id: word("call_id"),
                name: word("name"),
                arguments: word("arguments"),
            };
            (Role::Assistant, vec![Part::Call(call)])
        }
        "function_call_output" => {
            let result = ToolResult {
                id: word("call_id"),
                parts: content(at(value, "output"), into),
                failed: false,
            };
            (Role::Tool, vec![Part::Result(result)])
        }
        "reasoning" => {
            let summary = list(value, "summary").iter().chain(list(value, "content"));
            let texts: Vec<&str> = summary.filter_map(|part| text(part, "text")).collect();
            (Role::Assistant, vec![Part::Reasoning(texts.join("\n"))])
        }
        "item_reference" => return into.own.add(Loss::State),
        other => return into.own.own(&format!("item {other}")),
    };
    // An answer is several items here and one message elsewhere.
    match into.turns.last_mut() {
        Some(last) if last.role == Role::Assistant && role == Role::Assistant => {
            last.parts.extend(parts);
        }
        _ => into.turns.push(Turn { role, parts }),
    }
}

fn content(content: Option<&Value>, into: &mut Conversation) -> Vec<Part> {
    let mut parts = Vec::new();
    match content {
        Some(Value::String(text)) => parts.push(Part::Text(text.clone())),
        Some(Value::Array(list)) => list.iter().for_each(|one| part(one, &mut parts, into)),
        _ => {}
    }
    parts
}

fn part(value: &Value, parts: &mut Vec<Part>, into: &mut Conversation) {
    into.own.add_if(
        at(value, "prompt_cache_breakpoint").is_some(),
        Loss::CacheHint,
    );
    match text(value, "type").unwrap_or_default() {
        "input_text" | "output_text" | "text" => {
            parts.extend(text(value, "text").map(|text| Part::Text(text.to_owned())));
        }
        "refusal" => {
            parts.extend(text(value, "refusal").map(|text| Part::Refusal(text.to_owned())));
        }
        "input_image" => match text(value, "image_url") {
            Some(url) => {
                parts.push(Part::Image(Source::of_url(url)));
                into.own.add_if(
                    at(value, "detail").is_some_and(|d| d != "auto"),
                    Loss::ImageDetail,
                );
            }
            None => into.own.add(Loss::State),
        },
        "input_file" => match text(value, "file_data").or_else(|| text(value, "file_url")) {
            Some(data) => parts.push(Part::File {
                source: Source::of_url(data),
                name: text(value, "filename").map(str::to_owned),
            }),
            None => into.own.add(Loss::State),
        },
        "input_audio" => {
            let audio = at(value, "input_audio").cloned().unwrap_or_default();
            parts.push(Part::Audio(Source::Data {
                media: format!("audio/{}", text(&audio, "format").unwrap_or("wav")),
                base64: text(&audio, "data").unwrap_or_default().to_owned(),
            }));
        }
        other => into.own.own(&format!("part {other}")),
    }
}
