//! The Bedrock Converse wire: what comes in.
//!
//! Owns: reading a request, with the refusals of its provider; its messages are in
//! `messages`, its tools in `tools`. It must not know what an answer looks like.

mod messages;
mod tools;

use serde_json::{Value, json};

use super::Pen;
use crate::ask::{Ask, Format, Refusal, Role, ServiceTier, Turn};
use crate::schema;
use crate::wire::{self, Delivery, Inbound, anthropic};

/// Everything a request may have; anything else is refused.
const KNOWN: [&str; 12] = [
    "messages",
    "system",
    "inferenceConfig",
    "toolConfig",
    "guardrailConfig",
    "additionalModelRequestFields",
    "promptVariables",
    "additionalModelResponseFieldPaths",
    "requestMetadata",
    "performanceConfig",
    "serviceTier",
    "outputConfig",
];
/// What the models know beside that, each in its own words.
const KNOWN_TO_MODELS: [&str; 8] = [
    "thinking",
    "reasoning_config",
    "reasoningConfig",
    "reasoning_effort",
    "output_config",
    "top_k",
    "tool_choice",
    "anthropic_beta",
];
/// More stop sequences are refused.
const STOPS_MAX: usize = 2_500;

/// Reads a request, or says why it is refused.
pub(in crate::wire) fn read(inbound: &Inbound<'_>) -> Result<(Ask, wire::Pen), Refusal> {
    let body: Value = serde_json::from_slice(inbound.body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| {
            let message = "The request body is no JSON object.";
            Refusal::invalid(message).coded("SerializationException")
        })?;
    only_known(&body, &KNOWN, "the request")?;
    let more = object(&body, "additionalModelRequestFields")?;
    if let Some(name) = wire::unknown_member(more, &KNOWN_TO_MODELS) {
        let flaw = format!("{name}: Extra inputs are not permitted");
        return Err(by_model(Refusal::invalid(flaw)));
    }
    let inference = inference(&body)?;
    let thinking = thinking(more);
    let reasoning = anthropic::thinking(&thinking, inference.limit).map_err(by_model)?;
    if reasoning && inference.temperature.is_some_and(|value| value < 1.0) {
        let flaw = "`temperature` may only be set to 1 when thinking is enabled.";
        return Err(by_model(Refusal::invalid(flaw)));
    }
    let mut ask = Ask {
        model: inbound.call.model.clone(),
        streaming: inbound.call.delivery == Delivery::Events,
        output_tokens_max: inference.limit,
        stops: inference.stops,
        format: format(&body, more)?,
        reasoning: reasoning || others_reason(more),
        tier: tier(&body)?,
        cacheable: wire::mentions(&body, "cachePoint"),
        ..Ask::default()
    };
    let mut turns = system(&body)?;
    let talk = messages::read(inbound.host, &body["messages"])?;
    turns.extend(talk.turns);
    ask.hear(turns);
    tools::read(&body, more, &mut ask, talk.uses_tools)?;
    let paths = body["additionalModelResponseFieldPaths"].as_array();
    let pen = Pen {
        host: inbound.host.to_owned(),
        marks: inbound.marks,
        tier: ask.tier,
        omit_thoughts: thinking["thinking"]["display"] == "omitted",
        names_stop: paths.is_some_and(|paths| paths.iter().any(|path| path == "/stop_sequence")),
    };
    Ok((ask, wire::Pen::Converse(pen)))
}

/// A value that a rule of the API's own description refuses.
fn constraint(at: &str, value: &Value, rule: &str) -> Refusal {
    Refusal::invalid(format!(
        "1 validation error detected: Value {value} at '{at}' failed to satisfy constraint: \
         Member must {rule}"
    ))
}

fn missing(at: &str) -> Refusal {
    constraint(at, &Value::Null, "not be null")
}

/// What the model refuses, not the API around it.
fn by_model(refusal: Refusal) -> Refusal {
    let message = &refusal.message;
    Refusal::invalid(format!(
        "The model returned the following errors: {message}"
    ))
}

fn only_known(object: &Value, known: &[&str], at: &str) -> Result<(), Refusal> {
    match wire::unknown_member(object, known) {
        None => Ok(()),
        Some(name) => Err(Refusal::invalid(format!(
            "Malformed input request: extraneous key [{name}] is not permitted in {at}, please \
             reformat your input and try again."
        ))),
    }
}

/// A member that is an object, if it is there at all.
fn object<'a>(members: &'a Value, name: &str) -> Result<&'a Value, Refusal> {
    match &members[name] {
        value @ (Value::Null | Value::Object(_)) => Ok(value),
        other => Err(constraint(name, other, "be a structure")),
    }
}

/// The only member of a union.
fn union<'a>(value: &'a Value, at: &str) -> Result<(&'a str, &'a Value), Refusal> {
    let members = value.as_object().filter(|members| members.len() == 1);
    let only = members.and_then(|members| members.iter().next());
    only.map(|(name, value)| (name.as_str(), value))
        .ok_or_else(|| {
            let flaw = format!("The object at {at} must set exactly one of its keys.");
            Refusal::invalid(flaw)
        })
}

#[derive(Debug, Default)]
struct Inference {
    limit: Option<u64>,
    temperature: Option<f64>,
    stops: Vec<String>,
}

fn inference(body: &Value) -> Result<Inference, Refusal> {
    let config = object(body, "inferenceConfig")?;
    let known = ["maxTokens", "temperature", "topP", "stopSequences"];
    only_known(config, &known, "inferenceConfig")?;
    let limit = match &config["maxTokens"] {
        Value::Null => None,
        value => Some(value.as_u64().filter(|limit| *limit > 0).ok_or_else(|| {
            let rule = "have value greater than or equal to 1";
            constraint("inferenceConfig.maxTokens", value, rule)
        })?),
    };
    let share = |name: &str| match &config[name] {
        Value::Null => Ok(None),
        value => match value.as_f64().filter(|share| (0.0..=1.0).contains(share)) {
            Some(share) => Ok(Some(share)),
            None => {
                let rule = "have value less than or equal to 1 and not less than 0";
                Err(constraint(&format!("inferenceConfig.{name}"), value, rule))
            }
        },
    };
    share("topP")?;
    Ok(Inference {
        limit,
        temperature: share("temperature")?,
        stops: stops(&config["stopSequences"])?,
    })
}

fn stops(value: &Value) -> Result<Vec<String>, Refusal> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let text = |value: &Value| {
        let text = value.as_str().filter(|text| !text.trim().is_empty());
        text.map(str::to_owned)
    };
    let list = value.as_array().filter(|list| list.len() <= STOPS_MAX);
    let all: Option<Vec<String>> = list.and_then(|list| list.iter().map(text).collect());
    all.ok_or_else(|| {
        let rule = "be a list of texts that are not blank";
        constraint("inferenceConfig.stopSequences", value, rule)
    })
}

/// What Claude's models are told of thinking, under its newer name.
fn thinking(more: &Value) -> Value {
    let thinking = match &more["thinking"] {
        Value::Null => &more["reasoning_config"],
        thinking => thinking,
    };
    json!({ "thinking": thinking })
}

/// Whether another family of models is told to reason.
fn others_reason(more: &Value) -> bool {
    more["reasoningConfig"]["type"] == "enabled" || more["reasoning_effort"].is_string()
}

fn format(body: &Value, more: &Value) -> Result<Format, Refusal> {
    let config = object(body, "outputConfig")?;
    only_known(config, &["textFormat", "effort"], "outputConfig")?;
    let text = &config["textFormat"];
    if text.is_null() {
        return anthropic::format(more).map_err(by_model);
    }
    let at = "outputConfig.textFormat";
    if text["type"] != "json_schema" {
        let rule = "satisfy enum value set: [json_schema]";
        return Err(constraint(&format!("{at}.type"), &text["type"], rule));
    }
    let at = format!("{at}.structure.jsonSchema.schema");
    let written = text["structure"]["jsonSchema"]["schema"].as_str();
    let written = written.ok_or_else(|| missing(&at))?;
    let schema: Option<Value> = serde_json::from_str(written).ok();
    let schema = schema.filter(Value::is_object).ok_or_else(|| {
        Refusal::invalid(format!(
            "The value at {at} is no JSON schema, written as a text."
        ))
    })?;
    Ok(Format::Example(schema::smallest(&schema).to_string()))
}

fn tier(body: &Value) -> Result<ServiceTier, Refusal> {
    let tier = object(body, "serviceTier")?;
    match tier["type"].as_str() {
        None if tier.is_null() => Ok(ServiceTier::Standard),
        // What is reserved is served as usual, and paid for elsewhere.
        Some("default" | "reserved") => Ok(ServiceTier::Standard),
        Some("flex") => Ok(ServiceTier::Flex),
        Some("priority") => Ok(ServiceTier::Priority),
        _ => {
            let rule = "satisfy enum value set: [priority, default, flex, reserved]";
            Err(constraint("serviceTier.type", &tier["type"], rule))
        }
    }
}

fn system(body: &Value) -> Result<Vec<Turn>, Refusal> {
    let blocks = match &body["system"] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(blocks) => blocks,
        other => return Err(constraint("system", other, "be a list")),
    };
    let mut texts = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let at = format!("system.{index}");
        match union(block, &at)? {
            ("text", text) => texts.push(messages::text(text, &at)?),
            ("guardContent", guarded) => {
                texts.push(messages::text(&guarded["text"]["text"], &at)?);
            }
            ("cachePoint", point) => messages::cache_point(point, &at)?,
            (name, _) => return Err(messages::unknown_block(name, &at)),
        }
    }
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Turn::new(Role::System, texts.join("\n"))])
}

#[cfg(test)]
mod tests;
