//! The Anthropic Messages wire: what comes in.
//!
//! Owns: reading a request, with the refusals of its provider; its messages are in
//! `messages`. It must not know what an answer looks like.

mod messages;

use serde_json::Value;

use super::Pen;
use crate::ask::{Ask, Choice, Format, Refusal, Role, Tool, Turn, Work};
use crate::schema;
use crate::wire::{self, Inbound, Wire};

/// Everything a request may have; anything else is refused.
const KNOWN: [&str; 24] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "betas",
    "cache_control",
    "container",
    "context_management",
    "diagnostics",
    "inference_geo",
    "mcp_servers",
    "metadata",
    "output_config",
    "output_format",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];
/// The smallest budget of thoughts.
const BUDGET_MIN: u64 = 1_024;
/// The longest name of a tool.
const NAME_CHARS_MAX: usize = 128;

/// Reads a request, or says why it is refused.
pub(in crate::wire) fn read(inbound: &Inbound<'_>) -> Result<(Ask, wire::Pen), Refusal> {
    if !inbound.headers.contains_key("anthropic-version") {
        return Err(Refusal::invalid("anthropic-version: header is required"));
    }
    let body: Value = serde_json::from_slice(inbound.body).map_err(|error| {
        Refusal::invalid(format!("The request body is not valid JSON: {error}"))
    })?;
    // Threads are a beta that this provider does not offer; SDKs go on without one.
    if body.get("thread").is_some() {
        let refusal = Refusal::invalid("thread: threads are not supported here");
        return Err(refusal.about("thread").coded("thread_unsupported_request"));
    }
    if let Some(name) = wire::unknown_member(&body, &KNOWN) {
        let message = format!("{name}: Extra inputs are not permitted");
        return Err(Refusal::invalid(message));
    }
    let counting = inbound.call.wire == Wire::AnthropicCountTokens;
    let model = body["model"].as_str().ok_or_else(|| required("model"))?;
    let limit = match (&body["max_tokens"], counting) {
        (Value::Null, true) => None,
        (Value::Null, false) => return Err(required("max_tokens")),
        (value, _) => Some(
            value
                .as_u64()
                .ok_or_else(|| flawed("max_tokens", "Input should be a valid integer"))?,
        ),
    };
    let thinking = thinking(&body, limit)?;
    check_sampling(&body, thinking)?;
    let mut ask = Ask {
        model: model.to_owned(),
        work: if counting { Work::Count } else { Work::Talk },
        streaming: flag(&body, "stream")?,
        output_tokens_max: limit,
        stops: stops(&body["stop_sequences"])?,
        format: format(&body)?,
        reasoning: thinking,
        cacheable: wire::mentions(&body, "cache_control"),
        ..Ask::default()
    };
    check_tier(&body["service_tier"])?;
    let mut turns = system(&body["system"])?;
    turns.extend(messages::read(inbound.host, &body["messages"])?);
    ask.hear(turns);
    read_tools(&body, &mut ask)?;
    let pen = if counting {
        wire::Pen::CountTokens
    } else {
        wire::Pen::Messages(Pen {
            host: inbound.host.to_owned(),
            marks: inbound.marks,
            model: ask.model.clone(),
            omit_thoughts: body["thinking"]["display"] == "omitted",
        })
    };
    Ok((ask, pen))
}

fn required(name: &str) -> Refusal {
    flawed(name, "Field required")
}

fn flawed(name: &str, flaw: &str) -> Refusal {
    Refusal::invalid(format!("{name}: {flaw}"))
}

fn flag(body: &Value, name: &str) -> Result<bool, Refusal> {
    match &body[name] {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        _ => Err(flawed(name, "Input should be a valid boolean")),
    }
}

/// Whether the model is to think.
pub(in crate::wire) fn thinking(body: &Value, limit: Option<u64>) -> Result<bool, Refusal> {
    let thinking = &body["thinking"];
    match thinking["type"].as_str() {
        None if thinking.is_null() => Ok(false),
        Some("disabled") => Ok(false),
        Some("adaptive" | "between_tools") => Ok(true),
        Some("enabled") => {
            let name = "thinking.enabled.budget_tokens";
            let budget = thinking["budget_tokens"].as_u64();
            let budget = budget.ok_or_else(|| required(name))?;
            if budget < BUDGET_MIN {
                let flaw = "Input should be greater than or equal to 1024";
                return Err(flawed(name, flaw));
            }
            if limit.is_some_and(|limit| limit <= budget) {
                let message = "`max_tokens` must be greater than `thinking.budget_tokens`.";
                return Err(Refusal::invalid(message));
            }
            Ok(true)
        }
        _ => Err(flawed(
            "thinking.type",
            "Input should be 'adaptive', 'disabled' or 'enabled'",
        )),
    }
}

fn check_sampling(body: &Value, thinking: bool) -> Result<(), Refusal> {
    let number = |name: &str| match &body[name] {
        Value::Null => Ok(None),
        value => value
            .as_f64()
            .map(Some)
            .ok_or_else(|| flawed(name, "Input should be a valid number")),
    };
    for name in ["temperature", "top_p"] {
        if number(name)?.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            return Err(flawed(name, "range: 0..1"));
        }
    }
    if thinking && number("temperature")?.is_some_and(|value| value < 1.0) {
        let message = "`temperature` may only be set to 1 when thinking is enabled.";
        return Err(Refusal::invalid(message));
    }
    number("top_k").map(|_| ())
}

fn check_tier(tier: &Value) -> Result<(), Refusal> {
    match tier.as_str() {
        None if tier.is_null() => Ok(()),
        Some("auto" | "standard_only") => Ok(()),
        _ => Err(flawed(
            "service_tier",
            "Input should be 'auto' or 'standard_only'",
        )),
    }
}

fn stops(stops: &Value) -> Result<Vec<String>, Refusal> {
    let list = match stops {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        _ => return Err(flawed("stop_sequences", "Input should be a valid array")),
    };
    let text = |value: &Value| {
        let text = value.as_str().filter(|text| !text.trim().is_empty());
        text.map(str::to_owned)
    };
    let all: Option<Vec<String>> = list.iter().map(text).collect();
    all.ok_or_else(|| {
        flawed(
            "stop_sequences",
            "each stop sequence must contain non-whitespace",
        )
    })
}

pub(in crate::wire) fn format(body: &Value) -> Result<Format, Refusal> {
    let format = &body["output_config"]["format"];
    let format = if format.is_null() {
        &body["output_format"]
    } else {
        format
    };
    match format["type"].as_str() {
        None if format.is_null() => Ok(Format::Text),
        Some("json_schema") => {
            let schema = format.get("schema").filter(|schema| schema.is_object());
            let schema = schema.ok_or_else(|| required("output_config.format.schema"))?;
            Ok(Format::Example(schema::smallest(schema).to_string()))
        }
        _ => Err(flawed(
            "output_config.format.type",
            "Input should be 'json_schema'",
        )),
    }
}

fn system(system: &Value) -> Result<Vec<Turn>, Refusal> {
    let blocks = match system {
        Value::Null => return Ok(Vec::new()),
        Value::String(text) => return Ok(vec![Turn::new(Role::System, text.clone())]),
        Value::Array(blocks) => blocks,
        _ => return Err(flawed("system", "Input should be a valid string or array")),
    };
    let text = |block: &Value| {
        let text = block["text"].as_str().filter(|_| block["type"] == "text");
        text.map(str::to_owned)
    };
    let texts: Option<Vec<String>> = blocks.iter().map(text).collect();
    let texts = texts.ok_or_else(|| flawed("system", "Input should be text blocks"))?;
    if texts.iter().any(String::is_empty) {
        return Err(flawed("system", "text content blocks must be non-empty"));
    }
    Ok(vec![Turn::new(Role::System, texts.join("\n"))])
}

fn read_tools(body: &Value, ask: &mut Ask) -> Result<(), Refusal> {
    let tools = match &body["tools"] {
        Value::Null => &Vec::new(),
        Value::Array(tools) => tools,
        _ => return Err(flawed("tools", "Input should be a valid array")),
    };
    for (index, tool) in tools.iter().enumerate() {
        // Tools of the provider's own have a type; they are known and never called.
        if !(tool["type"].is_null() || tool["type"] == "custom") {
            continue;
        }
        let at = format!("tools.{index}.custom");
        let name = tool["name"].as_str();
        let name = name.ok_or_else(|| required(&format!("{at}.name")))?;
        if !is_name(name) || name.len() > NAME_CHARS_MAX {
            let flaw = "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'";
            return Err(flawed(&format!("{at}.name"), flaw));
        }
        let schema = &tool["input_schema"];
        if !schema.is_object() {
            return Err(required(&format!("{at}.input_schema")));
        }
        if schema["type"] != "object" {
            let name = format!("{at}.input_schema.type");
            return Err(flawed(&name, "Input should be 'object'"));
        }
        ask.tools.push(Tool {
            name: name.to_owned(),
            arguments: schema::arguments(Some(schema)).to_string(),
        });
    }
    let choice = &body["tool_choice"];
    if !choice.is_null() && tools.is_empty() {
        let flaw = "may only be specified while providing `tools`.";
        return Err(flawed("tool_choice", flaw));
    }
    ask.one_call = flag(choice, "disable_parallel_tool_use")?;
    let wanted = match choice["type"].as_str() {
        None if choice.is_null() => Choice::Auto,
        Some("auto") => Choice::Auto,
        Some("none") => Choice::None,
        Some("any") => Choice::Required,
        Some("tool") => {
            let name = choice["name"].as_str();
            Choice::named(name.ok_or_else(|| required("tool_choice.tool.name"))?)
        }
        _ => return Err(flawed("tool_choice.type", "Input should be a known type")),
    };
    if !ask.choose(&wanted) {
        return Err(flawed("tool_choice", "no such tool among `tools`"));
    }
    if ask.reasoning && ask.tool_required {
        let message = "Thinking may not be enabled when tool_choice forces tool use.";
        return Err(Refusal::invalid(message));
    }
    Ok(())
}

/// Letters, digits, `_` and `-`: what names and ids of tools are made of.
fn is_name(text: &str) -> bool {
    let fit = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    !text.is_empty() && text.chars().all(fit)
}

#[cfg(test)]
mod tests;
