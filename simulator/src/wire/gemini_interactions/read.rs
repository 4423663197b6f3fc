//! The Gemini Interactions wire: what comes in.
//!
//! Owns: reading a request, with the refusals of its provider; its input is in `steps`.
//! It must not know what an answer looks like.

mod steps;

use serde_json::{Map, Value};

use super::Pen;
use crate::ask::{Ask, Choice, Format, Refusal, Role, ServiceTier, Tool, Turn};
use crate::schema;
use crate::shelf::Thread;
use crate::wire::gemini::fits;
use crate::wire::{self, Family, Inbound};

/// Everything a request may have; anything else is refused.
const KNOWN: [&str; 16] = [
    "model",
    "input",
    "system_instruction",
    "tools",
    "generation_config",
    "response_format",
    "response_mime_type",
    "response_modalities",
    "previous_interaction_id",
    "cached_content",
    "safety_settings",
    "labels",
    "service_tier",
    "store",
    "stream",
    "background",
];
/// What this provider has no agents, no machines and no patience for.
const NOT_HERE: [&str; 5] = [
    "agent",
    "agent_config",
    "environment",
    "continuation_token",
    "webhook_config",
];
/// Everything its configuration may have.
const KNOWN_CONFIG: [&str; 12] = [
    "image_config",
    "max_output_tokens",
    "seed",
    "speech_config",
    "stop_sequences",
    "temperature",
    "thinking_level",
    "thinking_summaries",
    "tool_choice",
    "top_p",
    "transcription_config",
    "video_config",
];
const KNOWN_FUNCTION: [&str; 6] = [
    "type",
    "name",
    "description",
    "parameters",
    "defer_loading",
    "short_description",
];
/// Tools of the provider's own: known, and never called.
const OWN_TOOLS: [&str; 9] = [
    "code_execution",
    "computer_use",
    "file_search",
    "google_maps",
    "google_search",
    "mcp_server",
    "retrieval",
    "tool_search",
    "url_context",
];
const LEVELS: [&str; 5] = ["minimal", "low", "medium", "high", "xhigh"];
/// What an interaction repeats of its request.
const ECHOED: [&str; 7] = [
    "previous_interaction_id",
    "system_instruction",
    "tools",
    "generation_config",
    "response_format",
    "response_modalities",
    "labels",
];
/// More stop sequences are refused.
const STOPS_MAX: usize = 5;

/// Reads a request, or says why it is refused.
pub(in crate::wire) fn read(inbound: &Inbound<'_>) -> Result<(Ask, wire::Pen), Refusal> {
    let body: Value = serde_json::from_slice(inbound.body)
        .map_err(|error| Refusal::invalid(format!("Invalid JSON payload received. {error}")))?;
    let asked = |name: &&&str| !body[**name].is_null();
    if let Some(name) = NOT_HERE.iter().find(asked) {
        let message = format!("'{name}' is not supported for this project.");
        return Err(Refusal::invalid(message));
    }
    only_known(&body, &KNOWN, "")?;
    if flag(&body, "background")?.unwrap_or(false) {
        let message = "'background' is only supported for agents.";
        return Err(Refusal::invalid(message));
    }
    let model = body["model"].as_str().filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| Refusal::invalid("'model' or 'agent' must be set."))?;
    let config = match &body["generation_config"] {
        config @ (Value::Null | Value::Object(_)) => config,
        other => return Err(invalid_value("generation_config", other)),
    };
    only_known(config, &KNOWN_CONFIG, " at 'generation_config'")?;
    let thinking = Thinking::read(config)?;
    let mut ask = Ask {
        model: model.to_owned(),
        streaming: flag(&body, "stream")?.unwrap_or(false),
        output_tokens_max: count(config, "max_output_tokens")?,
        stops: stops(&config["stop_sequences"])?,
        format: format(&body)?,
        reasoning: thinking.reasons,
        tier: tier(&body["service_tier"])?,
        cacheable: true,
        ..Ask::default()
    };
    check_modalities(&body["response_modalities"])?;
    let mut thread = previous(inbound, &body["previous_interaction_id"])?;
    steps::add(inbound.host, model, &body["input"], &mut thread)?;
    let mut turns = Vec::new();
    match &body["system_instruction"] {
        Value::Null => {}
        Value::String(text) => turns.push(Turn::new(Role::System, text.clone())),
        other => return Err(invalid_value("system_instruction", other)),
    }
    turns.extend(thread.turns.iter().cloned());
    ask.hear(turns);
    read_tools(&body["tools"], &config["tool_choice"], &mut ask)?;
    let pen = Pen {
        host: inbound.host.to_owned(),
        owner: inbound.owner,
        marks: inbound.marks,
        model: ask.model.clone(),
        tier: ask.tier,
        summaries: thinking.summaries,
        store: flag(&body, "store")?.unwrap_or(true),
        echo: echo(&body),
        input: body["input"].clone(),
        thread,
    };
    Ok((ask, wire::Pen::Interactions(Box::new(pen))))
}

fn only_known(object: &Value, known: &[&str], at: &str) -> Result<(), Refusal> {
    match wire::unknown_member(object, known) {
        None => Ok(()),
        Some(name) => Err(Refusal::invalid(format!(
            "Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field."
        ))),
    }
}

fn invalid_value(at: &str, value: &Value) -> Refusal {
    Refusal::invalid(format!("Invalid value at '{at}': {value}"))
}

fn flag(body: &Value, name: &str) -> Result<Option<bool>, Refusal> {
    match &body[name] {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(*flag)),
        other => Err(invalid_value(name, other)),
    }
}

fn count(config: &Value, name: &str) -> Result<Option<u64>, Refusal> {
    match &config[name] {
        Value::Null => Ok(None),
        value => match value.as_u64() {
            Some(count) if count > 0 => Ok(Some(count)),
            _ => Err(invalid_value(&format!("generation_config.{name}"), value)),
        },
    }
}

fn stops(value: &Value) -> Result<Vec<String>, Refusal> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = value.as_array().filter(|list| list.len() <= STOPS_MAX);
    let all: Option<Vec<String>> = list.and_then(|list| list.iter().map(text).collect());
    all.ok_or_else(|| invalid_value("generation_config.stop_sequences", value))
}

/// Whether the model thinks, and whether it says what.
#[derive(Debug, Clone, Copy)]
struct Thinking {
    reasons: bool,
    summaries: bool,
}

impl Thinking {
    fn read(config: &Value) -> Result<Self, Refusal> {
        let level = &config["thinking_level"];
        if !(level.is_null() || level.as_str().is_some_and(|name| LEVELS.contains(&name))) {
            return Err(invalid_value("generation_config.thinking_level", level));
        }
        let summaries = match &config["thinking_summaries"] {
            Value::Null => false,
            value => match value.as_str() {
                Some("auto") => true,
                Some("none") => false,
                _ => return Err(invalid_value("generation_config.thinking_summaries", value)),
            },
        };
        Ok(Self {
            reasons: summaries || !level.is_null(),
            summaries,
        })
    }
}

/// What a text has to look like; other things than texts are not made here.
fn format(body: &Value) -> Result<Format, Refusal> {
    let at = "response_format";
    let formats = match &body[at] {
        Value::Null => &[],
        Value::Array(formats) => formats.as_slice(),
        format => std::slice::from_ref(format),
    };
    let Some(format) = formats.first() else {
        return match body["response_mime_type"].as_str() {
            Some("application/json") => Ok(Format::Object),
            _ => Ok(Format::Text),
        };
    };
    if formats.len() > 1 || format["type"] != "text" {
        return Err(invalid_value(at, &body[at]));
    }
    let known = ["type", "mime_type", "schema"];
    only_known(format, &known, " at 'response_format'")?;
    match (format["mime_type"].as_str(), &format["schema"]) {
        (None | Some("text/plain"), Value::Null) => Ok(Format::Text),
        (Some("application/json"), Value::Null) => Ok(Format::Object),
        (Some("application/json"), schema @ Value::Object(_)) => {
            Ok(Format::Example(schema::smallest(schema).to_string()))
        }
        (None | Some("text/plain"), _) => Err(Refusal::invalid(
            "'response_format.schema' needs the mime_type 'application/json'.",
        )),
        _ => Err(invalid_value(at, format)),
    }
}

fn check_modalities(value: &Value) -> Result<(), Refusal> {
    let texts = |list: &Vec<Value>| list.iter().all(|modality| modality == "text");
    if value.is_null() || value.as_array().is_some_and(texts) {
        return Ok(());
    }
    Err(invalid_value("response_modalities", value))
}

fn tier(value: &Value) -> Result<ServiceTier, Refusal> {
    match value.as_str() {
        None if value.is_null() => Ok(ServiceTier::Standard),
        Some("standard") => Ok(ServiceTier::Standard),
        Some("flex") => Ok(ServiceTier::Flex),
        Some("priority") => Ok(ServiceTier::Priority),
        Some("deferred") => Err(Refusal::invalid(
            "The service tier 'deferred' needs an interaction in the background.",
        )),
        _ => Err(invalid_value("service_tier", value)),
    }
}

/// The conversation that is gone on with.
fn previous(inbound: &Inbound<'_>, id: &Value) -> Result<Thread, Refusal> {
    let id = match id {
        Value::Null => return Ok(Thread::default()),
        Value::String(id) => id,
        other => return Err(invalid_value("previous_interaction_id", other)),
    };
    let thread = inbound.shelf.thread(id, inbound.owner);
    thread.ok_or_else(|| Family::Gemini.not_stored(id))
}

fn read_tools(tools: &Value, choice: &Value, ask: &mut Ask) -> Result<(), Refusal> {
    let tools = match tools {
        Value::Null => &Vec::new(),
        Value::Array(tools) => tools,
        other => return Err(invalid_value("tools", other)),
    };
    for (index, tool) in tools.iter().enumerate() {
        let at = format!("tools[{index}]");
        match tool["type"].as_str() {
            Some("function") => {
                only_known(tool, &KNOWN_FUNCTION, &format!(" at '{at}'"))?;
                let name = tool["name"].as_str().filter(|name| fits(name));
                let name =
                    name.ok_or_else(|| invalid_value(&format!("{at}.name"), &tool["name"]))?;
                let parameters = &tool["parameters"];
                if !(parameters.is_null() || parameters.is_object()) {
                    return Err(invalid_value(&format!("{at}.parameters"), parameters));
                }
                let parameters = Some(parameters).filter(|schema| schema.is_object());
                ask.tools.push(Tool {
                    name: name.to_owned(),
                    arguments: schema::arguments(parameters).to_string(),
                });
            }
            Some(own) if OWN_TOOLS.contains(&own) => {}
            _ => return Err(invalid_value(&format!("{at}.type"), &tool["type"])),
        }
    }
    let wanted = self::choice(choice)?;
    if ask.choose(&wanted) {
        return Ok(());
    }
    let message = "Function calling config: no function declaration of an allowed name.";
    Err(Refusal::invalid(message))
}

fn choice(choice: &Value) -> Result<Choice, Refusal> {
    let at = "generation_config.tool_choice";
    let (mode, names) = match choice {
        Value::Null => return Ok(Choice::Auto),
        Value::String(mode) => (Some(mode.as_str()), None),
        _ => {
            only_known(choice, &["allowed_tools"], &format!(" at '{at}'"))?;
            let allowed = &choice["allowed_tools"];
            let names = allowed["tools"].as_array().map(|names| {
                let names = names.iter().filter_map(Value::as_str);
                names.map(str::to_owned).collect()
            });
            (allowed["mode"].as_str(), names)
        }
    };
    match (mode, names) {
        (None | Some("auto" | "validated"), None) => Ok(Choice::Auto),
        (Some("none"), None) => Ok(Choice::None),
        (Some("any"), None) => Ok(Choice::Required),
        (Some("any"), Some(names)) => Ok(Choice::Among {
            required: true,
            names,
        }),
        (None | Some("auto" | "validated"), Some(names)) => Ok(Choice::Among {
            required: false,
            names,
        }),
        (Some(_), _) => Err(invalid_value(at, choice)),
    }
}

fn echo(body: &Value) -> Map<String, Value> {
    let asked = ECHOED.iter().filter(|name| !body[**name].is_null());
    asked
        .map(|name| ((*name).to_owned(), body[*name].clone()))
        .collect()
}

#[cfg(test)]
mod tests;
