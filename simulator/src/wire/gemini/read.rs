//! The Gemini generateContent wire: what comes in.
//!
//! Owns: reading a request, with the refusals of its provider; its contents are in
//! `contents`, its tools in `tools`. It must not know what an answer looks like.

mod contents;
mod tools;

use serde_json::Value;

pub(in crate::wire) use tools::fits;

use super::Pen;
use crate::ask::{Ask, Format, Refusal, ServiceTier, Turn, Work};
use crate::schema;
use crate::wire::{self, Delivery, Inbound, Wire};

/// Everything a request may have; anything else is refused.
const KNOWN: [&str; 11] = [
    "model",
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "safetySettings",
    "cachedContent",
    "serviceTier",
    "generationConfig",
    "labels",
    "store",
];
/// Everything its configuration may have.
const KNOWN_CONFIG: [&str; 21] = [
    "maxOutputTokens",
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "seed",
    "stopSequences",
    "presencePenalty",
    "frequencyPenalty",
    "responseLogprobs",
    "logprobs",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "responseModalities",
    "mediaResolution",
    "thinkingConfig",
    "speechConfig",
    "imageConfig",
    "enableEnhancedCivicAnswers",
    "audioTimestamp",
];
/// More stop sequences are refused.
const STOPS_MAX: usize = 5;

/// Reads a request, or says why it is refused.
pub(in crate::wire) fn read(inbound: &Inbound<'_>) -> Result<(Ask, wire::Pen), Refusal> {
    let body: Value = serde_json::from_slice(inbound.body)
        .map_err(|error| Refusal::invalid(format!("Invalid JSON payload received. {error}")))?;
    let counting = inbound.call.wire == Wire::GeminiCountTokens;
    let body = match field(&body, "generateContentRequest") {
        Some(inner) if counting => inner,
        _ => &body,
    };
    only_known(body, &KNOWN, "")?;
    let config = field(body, "generationConfig").unwrap_or(&Value::Null);
    only_known(config, &KNOWN_CONFIG, " at 'generation_config'")?;
    let (reasoning, include_thoughts) = thinking(config)?;
    let mut ask = Ask {
        model: inbound.call.model.clone(),
        work: if counting { Work::Count } else { Work::Talk },
        streaming: inbound.call.delivery != Delivery::Whole,
        output_tokens_max: count(config, "maxOutputTokens")?,
        stops: stops(config)?,
        format: format(config)?,
        reasoning,
        tier: tier(body)?,
        cacheable: true,
        ..Ask::default()
    };
    let mut turns: Vec<Turn> = contents::system(body)?.into_iter().collect();
    turns.extend(contents::read(inbound.host, &ask.model, body)?);
    ask.hear(turns);
    tools::read(body, &mut ask)?;
    let pen = if counting {
        wire::Pen::GeminiCount
    } else {
        wire::Pen::Gemini(Pen {
            host: inbound.host.to_owned(),
            marks: inbound.marks,
            model: ask.model.clone(),
            tier: ask.tier,
            delivery: inbound.call.delivery,
            include_thoughts,
        })
    };
    Ok((ask, pen))
}

/// A member by its name in camel case, or by the same in snake case. `null` is absence.
fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let value = object.get(name).or_else(|| object.get(snake(name)));
    value.filter(|value| !value.is_null())
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn only_known(object: &Value, known: &[&str], at: &str) -> Result<(), Refusal> {
    let members = object.as_object();
    for name in members.into_iter().flat_map(serde_json::Map::keys) {
        let fits = |known: &&str| *known == name || snake(known) == *name;
        if !known.iter().any(fits) {
            return Err(unknown_name(name, at));
        }
    }
    Ok(())
}

fn unknown_name(name: &str, at: &str) -> Refusal {
    Refusal::invalid(format!(
        "Invalid JSON payload received. Unknown name \"{name}\"{at}: Cannot find field."
    ))
}

fn invalid_value(at: &str, value: &Value) -> Refusal {
    Refusal::invalid(format!("Invalid value at '{at}': {value}"))
}

fn count(config: &Value, name: &str) -> Result<Option<u64>, Refusal> {
    match field(config, name) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| invalid_value(&format!("generation_config.{}", snake(name)), value)),
    }
}

fn stops(config: &Value) -> Result<Vec<String>, Refusal> {
    let Some(value) = field(config, "stopSequences") else {
        return Ok(Vec::new());
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = value.as_array().filter(|list| list.len() <= STOPS_MAX);
    let all: Option<Vec<String>> = list.and_then(|list| list.iter().map(text).collect());
    all.ok_or_else(|| invalid_value("generation_config.stop_sequences", value))
}

fn format(config: &Value) -> Result<Format, Refusal> {
    let sort = field(config, "responseMimeType").and_then(Value::as_str);
    let own = field(config, "responseSchema");
    let schema = own.or_else(|| field(config, "responseJsonSchema"));
    if let Some(schema) = own {
        tools::check_schema(schema, "generation_config.response_schema")?;
    }
    match (sort, schema) {
        (None | Some("text/plain"), None) => Ok(Format::Text),
        (None | Some("text/plain"), Some(_)) => Err(Refusal::invalid(
            "Function calling with a response mime type: response schema needs the response \
             mime type 'application/json'",
        )),
        (Some("application/json"), None) => Ok(Format::Object),
        (Some("application/json"), Some(schema)) => {
            Ok(Format::Example(schema::smallest(schema).to_string()))
        }
        (Some(other), _) => Err(Refusal::invalid(format!(
            "* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are \
             `text/plain` and `application/json`, not {other:?}"
        ))),
    }
}

/// Whether the model thinks, and whether it says what.
fn thinking(config: &Value) -> Result<(bool, bool), Refusal> {
    let Some(thinking) = field(config, "thinkingConfig") else {
        return Ok((false, false));
    };
    let at = "generation_config.thinking_config";
    let known = ["includeThoughts", "thinkingBudget", "thinkingLevel"];
    only_known(thinking, &known, &format!(" at '{at}'"))?;
    let include = match field(thinking, "includeThoughts") {
        None => false,
        Some(Value::Bool(include)) => *include,
        Some(other) => return Err(invalid_value(at, other)),
    };
    let budget = field(thinking, "thinkingBudget");
    let level = field(thinking, "thinkingLevel");
    if budget.is_some() && level.is_some() {
        let message = "You can only set only one of thinking budget and thinking level.";
        return Err(Refusal::invalid(message));
    }
    if let Some(level) = level {
        let name = level.as_str().map(str::to_lowercase);
        let known = ["minimal", "low", "medium", "high", "xhigh", "max"];
        if !name.is_some_and(|name| known.contains(&name.as_str())) {
            return Err(invalid_value(at, level));
        }
    }
    // A budget of -1 leaves it to the model.
    let budget = match budget {
        None => None,
        Some(value) => Some(value.as_i64().ok_or_else(|| invalid_value(at, value))?),
    };
    let reasons = match budget {
        Some(budget) => budget != 0,
        None => include || level.is_some(),
    };
    Ok((reasons, reasons && include))
}

fn tier(body: &Value) -> Result<ServiceTier, Refusal> {
    let Some(value) = field(body, "serviceTier") else {
        return Ok(ServiceTier::Standard);
    };
    match value.as_str().map(str::to_lowercase).as_deref() {
        Some("standard" | "unspecified") => Ok(ServiceTier::Standard),
        Some("flex") => Ok(ServiceTier::Flex),
        Some("priority") => Ok(ServiceTier::Priority),
        _ => Err(invalid_value("service_tier", value)),
    }
}

#[cfg(test)]
mod tests;
