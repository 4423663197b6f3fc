//! The OpenAI Responses wire: what comes in.
//!
//! Owns: reading a request, with the refusals of its provider; the items of its input
//! are in `items`. It must not know what an answer looks like.

mod items;

use serde_json::{Map, Value, json};

use super::Pen;
use crate::ask::{Ask, Choice, Format, Refusal, Role, ServiceTier, Tool, Turn};
use crate::schema;
use crate::shelf::Thread;
use crate::wire::openai::{self, missing, wrong_type, wrong_value};
use crate::wire::{self, Inbound};

/// Everything a request may have; anything else is refused.
const KNOWN: [&str; 32] = [
    "model",
    "input",
    "instructions",
    "background",
    "background_options",
    "context_management",
    "conversation",
    "include",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

/// Reads a request, or says why it is refused.
pub(in crate::wire) fn read(inbound: &Inbound<'_>) -> Result<(Ask, wire::Pen), Refusal> {
    let body = openai::parse(inbound.body)?;
    if let Some(name) = wire::unknown_member(&body, &KNOWN) {
        return Err(Refusal::invalid(format!("Unknown parameter: '{name}'."))
            .about(name)
            .coded("unknown_parameter"));
    }
    let mut ask = Ask {
        model: openai::model(&body)?,
        streaming: openai::flag(&body, "stream")?.unwrap_or(false),
        output_tokens_max: openai::count(&body, "max_output_tokens")?,
        format: format(body.pointer("/text/format").unwrap_or(&Value::Null))?,
        reasoning: openai::reasons(&body["reasoning"]["effort"], "reasoning.effort")?,
        tier: openai::tier(&body)?,
        cacheable: true,
        cache_key: body["prompt_cache_key"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        ..Ask::default()
    };
    let mut thread = previous(inbound, &body)?;
    items::add(inbound, &body["input"], &mut thread)?;
    let mut turns = Vec::new();
    match &body["instructions"] {
        Value::Null => {}
        Value::String(text) => turns.push(Turn::new(Role::System, text.clone())),
        _ => return Err(wrong_type("instructions", "a string")),
    }
    turns.extend(thread.turns.iter().cloned());
    ask.hear(turns);
    read_tools(&body, &mut ask)?;
    let includes = body["include"].as_array();
    let encrypted = "reasoning.encrypted_content";
    let pen = Pen {
        host: inbound.host.to_owned(),
        owner: inbound.owner,
        marks: inbound.marks,
        model: ask.model.clone(),
        tier: ask.tier,
        summary: body["reasoning"]["summary"].is_string(),
        encrypted: includes.is_some_and(|all| all.iter().any(|name| name == encrypted)),
        background: background(&body, &ask)?,
        store: openai::flag(&body, "store")?.unwrap_or(true),
        echo: echo(&body),
        thread,
    };
    Ok((ask, wire::Pen::Responses(Box::new(pen))))
}

/// The conversation that is gone on with.
fn previous(inbound: &Inbound<'_>, body: &Value) -> Result<Thread, Refusal> {
    let param = "previous_response_id";
    let id = match &body[param] {
        Value::Null => return Ok(Thread::default()),
        Value::String(id) => id,
        _ => return Err(wrong_type(param, "a string")),
    };
    inbound.shelf.thread(id, inbound.owner).ok_or_else(|| {
        Refusal::new(404, format!("Previous response with id '{id}' not found."))
            .about(param)
            .coded("previous_response_not_found")
    })
}

fn background(body: &Value, ask: &Ask) -> Result<bool, Refusal> {
    let background = openai::flag(body, "background")?.unwrap_or(false);
    let window = &body["background_options"]["completion_window"];
    match window.as_str() {
        None if window.is_null() => {}
        Some("soonest") => {}
        Some("2h" | "8h") => {
            if !background || ask.streaming || ask.tier != ServiceTier::Standard {
                let message = "completion_window needs background: true, the default service \
                    tier and no stream.";
                return Err(Refusal::invalid(message).about("background_options.completion_window"));
            }
        }
        _ => return Err(wrong_value("background_options.completion_window", window)),
    }
    Ok(background)
}

fn format(format: &Value) -> Result<Format, Refusal> {
    match format["type"].as_str() {
        None if format.is_null() => Ok(Format::Text),
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Object),
        Some("json_schema") => {
            if !format["name"].is_string() {
                return Err(missing("text.format.name"));
            }
            let schema = format.get("schema").filter(|schema| schema.is_object());
            let schema = schema.ok_or_else(|| missing("text.format.schema"))?;
            Ok(Format::Example(schema::smallest(schema).to_string()))
        }
        _ => Err(wrong_value("text.format.type", &format["type"])),
    }
}

fn read_tools(body: &Value, ask: &mut Ask) -> Result<(), Refusal> {
    let tools = match &body["tools"] {
        Value::Null => &Vec::new(),
        Value::Array(tools) => tools,
        _ => return Err(wrong_type("tools", "an array")),
    };
    for (index, tool) in tools.iter().enumerate() {
        match tool["type"].as_str() {
            Some("function") => {
                let name = tool["name"].as_str();
                let name = name.ok_or_else(|| missing(format!("tools[{index}].name")))?;
                ask.tools.push(Tool {
                    name: name.to_owned(),
                    arguments: schema::arguments(tool.get("parameters")).to_string(),
                });
            }
            // Tools of the provider's own are known and never called.
            Some(_) => {}
            None => return Err(missing(format!("tools[{index}].type"))),
        }
    }
    ask.one_call = openai::flag(body, "parallel_tool_calls")? == Some(false);
    let choice = choice(&body["tool_choice"])?;
    if ask.choose(&choice) {
        Ok(())
    } else {
        Err(wrong_value("tool_choice", &body["tool_choice"]))
    }
}

fn choice(choice: &Value) -> Result<Choice, Refusal> {
    let refuse = || wrong_value("tool_choice", choice);
    match choice {
        Value::Null => return Ok(Choice::Auto),
        Value::String(word) => {
            return match word.as_str() {
                "auto" => Ok(Choice::Auto),
                "none" => Ok(Choice::None),
                "required" => Ok(Choice::Required),
                _ => Err(refuse()),
            };
        }
        _ => {}
    }
    match choice["type"].as_str() {
        Some("function") => Ok(Choice::named(choice["name"].as_str().ok_or_else(refuse)?)),
        Some("allowed_tools") => {
            let tools = choice["tools"].as_array().ok_or_else(refuse)?;
            let name = |tool: &Value| Some(tool["name"].as_str()?.to_owned());
            Ok(Choice::Among {
                required: choice["mode"] == "required",
                names: tools.iter().filter_map(name).collect(),
            })
        }
        _ => Err(refuse()),
    }
}

/// What the response repeats of the request, or the defaults.
fn echo(body: &Value) -> Map<String, Value> {
    let defaults = json!({
        "instructions": null, "max_output_tokens": null, "metadata": {},
        "parallel_tool_calls": true, "previous_response_id": null, "prompt_cache_key": null,
        "reasoning": {"effort": null, "summary": null}, "safety_identifier": null,
        "store": true, "temperature": 1.0, "text": {"format": {"type": "text"}},
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled", "user": null,
    });
    let Value::Object(mut echo) = defaults else {
        return Map::new();
    };
    for (name, value) in &mut echo {
        if let Some(asked) = body.get(name).filter(|asked| !asked.is_null()) {
            *value = asked.clone();
        }
    }
    echo
}

#[cfg(test)]
mod tests;
