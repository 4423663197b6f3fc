//! A generateContent request, read.
//!
//! Owns: what its fields and parts mean in words that all dialects share. Both spellings
//! (camelCase and snake_case) are read, as Google's own servers do. The model and whether
//! to stream stand in the path.

use std::collections::{BTreeMap, VecDeque};

use serde_json::value::RawValue;
use serde_json::{Value, json};
use spillway_routing::prompt::Role;

use super::SETTINGS;
use crate::chat::{Asking, Body, Field};
use crate::conversation::{
    Conversation, Effort, Form, Loss, Part, Setting, Tool, ToolCall, ToolChoice, ToolResult, Turn,
};
use crate::dialect::peek::{at, either, list, text, texts};
use crate::dialect::seal::{self, Signed};
use crate::dialect::{Read, google, required_model};
use crate::failure::Failure;

const ONCE: [&str; 8] = [
    "contents",
    "systemInstruction",
    "system_instruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "serviceTier",
    "start_within",
];

/// Fields that are read elsewhere, or that the lane decides.
const SILENT: [&str; 7] = [
    "contents",
    "systemInstruction",
    "system_instruction",
    "serviceTier",
    "service_tier",
    "start_within",
    "model",
];

pub(in crate::dialect) fn read(body: &Body, asking: &Asking) -> Result<Read, Failure> {
    body.once(&ONCE)?;
    let contents = body.raw("contents").unwrap_or_default();
    // One content may stand for a list of one.
    let one = contents.starts_with('{');
    let one = one
        .then(|| serde_json::from_str::<&RawValue>(contents).ok())
        .flatten();
    let contents = match one {
        Some(one) => vec![one],
        None => body.list("contents")?,
    };
    let mut conversation = Conversation::default();
    let mut calls = Calls::default();
    let system = body
        .value("systemInstruction")
        .or_else(|| body.value("system_instruction"));
    if let Some(system) = system {
        turn(&system, Some(Role::System), &mut calls, &mut conversation);
    }
    for raw in contents {
        match serde_json::from_str::<Value>(raw.get()) {
            Ok(content) => turn(&content, None, &mut calls, &mut conversation),
            // Serde refuses lone surrogates; the raw text is near enough to route by.
            Err(_) => {
                conversation.own.own("contents");
                let parts = vec![Part::Text(raw.get().to_owned())];
                let role = Role::User;
                conversation.turns.push(Turn { role, parts });
            }
        }
    }
    // Which tools may be called leaves some of them out.
    for field in body.ending_with(&["toolConfig", "tool_config"]) {
        setting(field, &mut conversation);
    }
    Ok(Read {
        model: required_model(asking.model.clone().or_else(|| body.text("model")))?,
        stream: asking.stream,
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
    if value.is_null() {
        return;
    }
    match name {
        "tools" => value
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|one| tools(one, into)),
        "toolConfig" | "tool_config" => tool_config(&value, into),
        "generationConfig" | "generation_config" => {
            if let Value::Object(fields) = value {
                for (name, value) in &fields {
                    config(name, value, into);
                }
            }
        }
        "safetySettings" | "safety_settings" => into.own.add(Loss::SafetySettings),
        "labels" => into.settings.push((Setting::Metadata, value)),
        "cachedContent" | "cached_content" => into.own.add(Loss::State),
        other => into.own.own(other),
    }
}

fn config(name: &str, value: &Value, into: &mut Conversation) {
    if value.is_null() {
        return;
    }
    let name = camel(name);
    if let Some((setting, _)) = SETTINGS.iter().find(|(_, known)| *known == name) {
        return into.settings.push((*setting, value.clone()));
    }
    match name.as_str() {
        "maxOutputTokens" => into.max_output = value.as_u64(),
        "stopSequences" => into.stop = texts(value),
        "candidateCount" => into.own.add_if(*value != 1, Loss::Answers),
        "responseMimeType" => {
            if value == "application/json" && into.form == Form::Text {
                into.form = Form::JsonObject;
            }
        }
        "responseSchema" | "responseJsonSchema" | "_responseJsonSchema" => {
            into.form = Form::JsonSchema {
                name: None,
                schema: json_schema(value),
                strict: None,
            };
        }
        "responseLogprobs" => into.own.add_if(
            *value == Value::Bool(true),
            Loss::Setting(Setting::Logprobs),
        ),
        "mediaResolution" => into.own.add(Loss::ImageDetail),
        "responseModalities" if *value == json!(["TEXT"]) => {}
        "thinkingConfig" => thinking(value, into),
        other => into.own.own(other),
    }
}

fn thinking(value: &Value, into: &mut Conversation) {
    let level = either(value, "thinkingLevel", "thinking_level").and_then(Value::as_str);
    let budget = either(value, "thinkingBudget", "thinking_budget").and_then(Value::as_i64);
    let shown = either(value, "includeThoughts", "include_thoughts");
    into.thinking.shown = shown == Some(&Value::Bool(true));
    // A budget of -1 leaves it to the model.
    let budget = budget
        .and_then(|budget| u64::try_from(budget).ok())
        .map(Effort::of_budget);
    into.thinking.effort = level.and_then(Effort::parse).or(budget);
}

fn tools(value: &Value, into: &mut Conversation) {
    let Some(fields) = value.as_object() else {
        return;
    };
    for (name, inner) in fields {
        if camel(name) != "functionDeclarations" {
            into.own.add(Loss::BuiltInTool);
            continue;
        }
        for one in inner.as_array().into_iter().flatten() {
            let schema = either(one, "parametersJsonSchema", "parameters_json_schema").cloned();
            let schema = schema.or_else(|| at(one, "parameters").map(json_schema));
            into.tools.push(Tool {
                name: text(one, "name").unwrap_or_default().to_owned(),
                description: text(one, "description").map(str::to_owned),
                parameters: schema,
                strict: None,
            });
        }
    }
}

fn tool_config(value: &Value, into: &mut Conversation) {
    let Some(calling) = either(value, "functionCallingConfig", "function_calling_config") else {
        return;
    };
    let names = either(calling, "allowedFunctionNames", "allowed_function_names");
    let names = names.map(texts).unwrap_or_default();
    let mode = text(calling, "mode").unwrap_or("AUTO").to_ascii_uppercase();
    into.tool_choice = match (mode.as_str(), names.as_slice()) {
        ("NONE", _) => ToolChoice::None,
        ("ANY", [one]) => ToolChoice::Named(one.clone()),
        ("ANY", _) => ToolChoice::Required,
        ("AUTO" | "VALIDATED" | "MODE_UNSPECIFIED", _) => ToolChoice::Auto,
        _ => return into.own.own("toolConfig"),
    };
    if !names.is_empty() && !matches!(into.tool_choice, ToolChoice::Named(_)) {
        into.tools.retain(|tool| names.contains(&tool.name));
    }
}

/// Google's own schemas are OpenAPI's: types in capitals, `nullable` beside them.
fn json_schema(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut schema = serde_json::Map::new();
            for (name, field) in fields {
                let field = match (name.as_str(), field) {
                    ("type", Value::String(kind)) => kind.to_ascii_lowercase().into(),
                    ("nullable" | "propertyOrdering" | "property_ordering", _) => continue,
                    ("enum" | "required" | "default" | "example" | "const", field) => field.clone(),
                    // Names of the caller's own, whatever they are.
                    ("properties" | "$defs" | "defs", Value::Object(named)) => {
                        let each = named.iter();
                        each.map(|(name, one)| (name.clone(), json_schema(one)))
                            .collect()
                    }
                    (_, field) => json_schema(field),
                };
                let name = match name.as_str() {
                    "any_of" => "anyOf",
                    "min_items" => "minItems",
                    "max_items" => "maxItems",
                    other => other,
                };
                schema.insert(name.to_owned(), field);
            }
            if fields.get("nullable") == Some(&Value::Bool(true))
                && let Some(kind) = schema.get("type").cloned()
            {
                schema.insert("type".to_owned(), json!([kind, "null"]));
            }
            Value::Object(schema)
        }
        Value::Array(items) => items.iter().map(json_schema).collect(),
        other => other.clone(),
    }
}

fn turn(content: &Value, role: Option<Role>, calls: &mut Calls, into: &mut Conversation) {
    let role = role.unwrap_or_else(|| match text(content, "role") {
        Some("model") => Role::Assistant,
        Some("system") => Role::System,
        _ => Role::User,
    });
    let mut parts = Vec::new();
    match content {
        Value::String(text) => parts.push(Part::Text(text.clone())),
        content => match at(content, "parts") {
            Some(one @ Value::Object(_)) => part(one, &mut parts, calls, into),
            _ => {
                for one in list(content, "parts") {
                    part(one, &mut parts, calls, into);
                }
            }
        },
    }
    into.hears(role, parts);
}

fn part(value: &Value, parts: &mut Vec<Part>, calls: &mut Calls, into: &mut Conversation) {
    let signature = either(value, "thoughtSignature", "thought_signature").and_then(Value::as_str);
    if let Some(said) = text(value, "text") {
        let thought = at(value, "thought") == Some(&Value::Bool(true));
        return parts.push(if thought {
            Part::Reasoning(said.to_owned())
        } else {
            Part::Text(said.to_owned())
        });
    }
    if let Some(data) = either(value, "inlineData", "inline_data") {
        let media = either(data, "mimeType", "mime_type").and_then(Value::as_str);
        return parts.push(google::media(media, text(data, "data").unwrap_or_default()));
    }
    if let Some(file) = either(value, "fileData", "file_data") {
        let uri = either(file, "fileUri", "file_uri").and_then(Value::as_str);
        let media = either(file, "mimeType", "mime_type").and_then(Value::as_str);
        match google::elsewhere(media, uri.unwrap_or_default()) {
            Some(part) => parts.push(part),
            None => into.own.add(Loss::State),
        }
        return;
    }
    if let Some(call) = either(value, "functionCall", "function_call") {
        let name = text(call, "name").unwrap_or_default().to_owned();
        let id = text(call, "id").map(str::to_owned);
        return parts.push(Part::Call(ToolCall {
            id: calls.begin(id, &name, signature),
            name,
            arguments: at(call, "args").map_or_else(|| "{}".to_owned(), Value::to_string),
        }));
    }
    if let Some(result) = either(value, "functionResponse", "function_response") {
        return parts.push(Part::Result(tool_result(result, calls)));
    }
    let name = value.as_object().and_then(|fields| fields.keys().next());
    let name = name.map_or("empty", String::as_str);
    into.own.own(&format!("part {name}"));
}

/// Calls so far. Callers may leave ids out; a call is then known by its name and its
/// turn. An id carries the call's signature; a result names the bare one.
#[derive(Default)]
struct Calls {
    count: usize,
    /// Full ids by the bare ones.
    full: BTreeMap<String, String>,
    /// Of each tool the calls that have no result yet.
    open: BTreeMap<String, VecDeque<String>>,
}

impl Calls {
    fn begin(&mut self, id: Option<String>, name: &str, signature: Option<&str>) -> String {
        let id = id.unwrap_or_else(|| format!("call_{}", self.count));
        self.count += 1;
        let full = seal::sealed(&id, Signed::Call, signature);
        self.full.insert(id, full.clone());
        let open = self.open.entry(name.to_owned()).or_default();
        open.push_back(full.clone());
        full
    }

    fn end(&mut self, id: Option<&str>, name: &str) -> String {
        if let Some(id) = id {
            let full = self.full.get(id);
            return full.cloned().unwrap_or_else(|| id.to_owned());
        }
        let open = self.open.get_mut(name).and_then(VecDeque::pop_front);
        open.unwrap_or_else(|| name.to_owned())
    }
}

fn tool_result(result: &Value, calls: &mut Calls) -> ToolResult {
    let name = text(result, "name").unwrap_or_default();
    let id = calls.end(text(result, "id"), name);
    let response = at(result, "response").cloned().unwrap_or_default();
    let failed = at(&response, "error");
    let plain = failed
        .or_else(|| at(&response, "result"))
        .or_else(|| at(&response, "output"));
    let only = response.as_object().is_some_and(|fields| fields.len() == 1);
    let said = match plain.filter(|_| only) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => response.to_string(),
    };
    ToolResult {
        id,
        parts: vec![Part::Text(said)],
        failed: failed.is_some() && only,
    }
}

/// `max_output_tokens` → `maxOutputTokens`.
fn camel(name: &str) -> String {
    let mut upper = false;
    let mut camel = String::with_capacity(name.len());
    for (place, c) in name.chars().enumerate() {
        if c == '_' && place > 0 {
            upper = true;
        } else if std::mem::take(&mut upper) {
            camel.extend(c.to_uppercase());
        } else {
            camel.push(c);
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one() {
        assert_eq!(camel("max_output_tokens"), "maxOutputTokens");
        assert_eq!(camel("maxOutputTokens"), "maxOutputTokens");
        assert_eq!(camel("_responseJsonSchema"), "_responseJsonSchema");
    }

    #[test]
    fn an_openapi_schema_becomes_a_json_schema() {
        let given = json!({"type":"OBJECT","properties":{"type":{"type":"STRING","nullable":true},
            "n":{"type":"ARRAY","items":{"type":"INTEGER"}}},"required":["type"]});
        let expected = json!({"type":"object","properties":{"type":{"type":["string","null"]},
            "n":{"type":"array","items":{"type":"integer"}}},"required":["type"]});
        assert_eq!(json_schema(&given), expected);
        // Names of fields are the caller's, also where they are words of schemas.
        let field = |kind: &str| json!({ "type": kind });
        let named = |kind: &str| {
            json!({ "type": kind.to_owned(), "properties": { "required": field("B"), "max_items": field("B"),
                "nullable": field("B"), "default": field("B") } })
        };
        let lower = json_schema(&named("OBJECT"));
        let names: Vec<&String> = lower["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["required", "max_items", "nullable", "default"]);
        assert!(
            lower["properties"]
                .as_object()
                .unwrap()
                .values()
                .all(|one| one["type"] == "b")
        );
    }
}
