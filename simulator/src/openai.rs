//! The OpenAI Chat Completions wire, server side, written from its description.
//!
//! Owns: reading a request, and the JSON of answers, chunks and errors. It must not
//! know faults, timing or who answers, and shares no code with any router's dialect.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Tokens that the frame of each message takes (role and separators).
const TOKENS_PER_MESSAGE: u64 = 3;
/// Bytes of text that make one token.
const BYTES_PER_TOKEN: u64 = 4;
/// Fields of the router's own that no provider may ever see.
const FOREIGN_FIELDS: [&str; 1] = ["start_within"];
/// When every answer of the simulator was "created" (Unix seconds): a constant, so
/// that the same seed gives the same bytes.
const CREATED: u64 = 1_760_000_000;

/// What a request asks for, as far as a provider cares.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ask {
    pub(crate) model: String,
    pub(crate) streaming: bool,
    pub(crate) include_usage: bool,
    /// Text of the last user message.
    pub(crate) prompt: String,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens_max: Option<u64>,
    /// The tool that may be called: none without tools or with `tool_choice: "none"`.
    pub(crate) tool: Option<Tool>,
    /// `tool_choice` demands a call.
    pub(crate) tool_required: bool,
}

/// A tool, with arguments that satisfy its schema's required part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

/// A request that is refused before anyone answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: &str, param: Option<&str>) -> Self {
        Self {
            status,
            body: error_body(status, message, param),
        }
    }
}

#[derive(Deserialize)]
struct RawAsk {
    model: String,
    messages: Vec<RawMessage>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<RawStreamOptions>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    tools: Option<Vec<Value>>,
    #[serde(default)]
    tool_choice: Value,
}

#[derive(Deserialize)]
struct RawStreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct RawMessage {
    role: String,
    #[serde(default)]
    content: Value,
}

/// Input tokens of a conversation in the simulator's tokenizer: a quarter of the bytes of
/// all message texts, rounded up, and three per message.
pub fn count_input_tokens<'a>(messages: impl IntoIterator<Item = &'a str>) -> u64 {
    let (mut bytes, mut frames) = (0_u64, 0);
    for text in messages {
        bytes += text.len() as u64;
        frames += TOKENS_PER_MESSAGE;
    }
    bytes.div_ceil(BYTES_PER_TOKEN) + frames
}

/// Reads a request body, or says why it is refused.
pub(crate) fn read(body: &[u8]) -> Result<Ask, Refusal> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let message = format!("We could not parse the JSON body of your request: {error}");
        Refusal::new(400, &message, None)
    })?;
    for field in FOREIGN_FIELDS {
        if value.get(field).is_some() {
            let message = format!("Unrecognized request argument supplied: {field}");
            return Err(Refusal::new(400, &message, Some(field)));
        }
    }
    let raw: RawAsk = serde_json::from_value(value)
        .map_err(|error| Refusal::new(400, &format!("Invalid request: {error}"), None))?;
    if raw.messages.is_empty() {
        let message = "[] is too short - 'messages'";
        return Err(Refusal::new(400, message, Some("messages")));
    }
    let streaming = raw.stream.unwrap_or(false);
    if raw.stream_options.is_some() && !streaming {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Refusal::new(400, message, Some("stream_options")));
    }
    let texts: Vec<String> = raw.messages.iter().map(|m| text_of(&m.content)).collect();
    let prompt = raw
        .messages
        .iter()
        .rposition(|message| message.role == "user")
        .and_then(|index| texts.get(index).cloned())
        .unwrap_or_default();
    Ok(Ask {
        streaming,
        include_usage: raw.stream_options.is_some_and(|o| o.include_usage),
        prompt,
        input_tokens: count_input_tokens(texts.iter().map(String::as_str)),
        output_tokens_max: raw.max_completion_tokens.or(raw.max_tokens),
        tool: pick_tool(raw.tools.as_deref().unwrap_or_default(), &raw.tool_choice),
        tool_required: raw.tool_choice == "required" || raw.tool_choice.is_object(),
        model: raw.model,
    })
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

fn pick_tool(tools: &[Value], choice: &Value) -> Option<Tool> {
    if choice == "none" {
        return None;
    }
    let named = choice.pointer("/function/name").and_then(Value::as_str);
    let name_of = |tool: &Value| tool.pointer("/function/name")?.as_str().map(str::to_owned);
    let tool = tools
        .iter()
        .find(|tool| named.is_none() || name_of(tool).as_deref() == named)?;
    let schema = tool.pointer("/function/parameters");
    Some(Tool {
        name: name_of(tool)?,
        arguments: arguments_for(schema).to_string(),
    })
}

/// The smallest object that has every required property, with a value of its type.
fn arguments_for(schema: Option<&Value>) -> Value {
    let mut object = Map::new();
    let required = schema
        .and_then(|schema| schema.get("required"))
        .and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        let property = schema
            .and_then(|schema| schema.get("properties"))
            .and_then(|all| all.get(name));
        object.insert(name.to_owned(), value_for(property));
    }
    Value::Object(object)
}

fn value_for(property: Option<&Value>) -> Value {
    if let Some(first) = property.and_then(|p| p.pointer("/enum/0")) {
        return first.clone();
    }
    let sort = property.and_then(|p| p.get("type")).and_then(Value::as_str);
    match sort {
        Some("integer" | "number" | "float") => json!(7),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object" | "dict") => arguments_for(property),
        _ => json!("sample"),
    }
}

/// The provider's error form, with the type and code that belong to a status.
pub fn error_body(status: u16, message: &str, param: Option<&str>) -> String {
    let (sort, code) = match status {
        400 => ("invalid_request_error", None),
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("invalid_request_error", Some("permission_denied")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("rate_limit_error", Some("rate_limit_exceeded")),
        503 => ("service_unavailable_error", Some("server_is_overloaded")),
        529 => ("overloaded_error", Some("overloaded")),
        500..=599 => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    json!({"error": {"message": message, "type": sort, "param": param, "code": code}}).to_string()
}

/// Token counts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
}

impl Usage {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
            },
        })
    }
}

/// What every piece of one answer carries.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    pub(crate) id: String,
    pub(crate) model: String,
    /// Chunks say `"usage": null` only where a usage chunk will follow.
    pub(crate) include_usage: bool,
}

impl Stamp {
    fn chunk(&self, choices: &Value, usage: Option<Usage>) -> Bytes {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": CREATED,
            "model": self.model, "service_tier": "default", "system_fingerprint": "fp_simulator",
            "choices": choices,
        });
        if self.include_usage {
            chunk["usage"] = usage.map_or(Value::Null, Usage::json);
        }
        event(&chunk.to_string())
    }

    fn delta(&self, delta: &Value, finish_reason: Option<&str>) -> Bytes {
        let choice = json!([{
            "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason,
        }]);
        self.chunk(&choice, None)
    }

    pub(crate) fn role_chunk(&self) -> Bytes {
        self.delta(
            &json!({"role": "assistant", "content": "", "refusal": null}),
            None,
        )
    }

    pub(crate) fn text_chunk(&self, text: &str) -> Bytes {
        self.delta(&json!({ "content": text }), None)
    }

    pub(crate) fn tool_head_chunk(&self, call_id: &str, name: &str) -> Bytes {
        let function = json!({"name": name, "arguments": ""});
        let call = json!([{"index": 0, "id": call_id, "type": "function", "function": function}]);
        self.delta(&json!({ "tool_calls": call }), None)
    }

    pub(crate) fn tool_arguments_chunk(&self, fragment: &str) -> Bytes {
        let call = json!([{"index": 0, "function": {"arguments": fragment}}]);
        self.delta(&json!({ "tool_calls": call }), None)
    }

    pub(crate) fn finish_chunk(&self, reason: &str) -> Bytes {
        self.delta(&json!({}), Some(reason))
    }

    pub(crate) fn usage_chunk(&self, usage: Usage) -> Bytes {
        self.chunk(&json!([]), Some(usage))
    }

    /// A whole answer; `choices` is empty for a provider that forgot to answer.
    pub(crate) fn completion(&self, choices: &Value, usage: Usage) -> String {
        json!({
            "id": self.id, "object": "chat.completion", "created": CREATED, "model": self.model,
            "service_tier": "default", "system_fingerprint": "fp_simulator",
            "choices": choices, "usage": usage.json(),
        })
        .to_string()
    }
}

/// The one choice of a whole answer.
pub(crate) fn choice(content: Option<&str>, tool_calls: &Value, reason: &str) -> Value {
    let mut message = json!({
        "role": "assistant", "content": content, "refusal": null, "annotations": [],
    });
    if !tool_calls.is_null() {
        message["tool_calls"] = tool_calls.clone();
    }
    json!([{"index": 0, "message": message, "logprobs": null, "finish_reason": reason}])
}

/// One server-sent event.
pub(crate) fn event(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// The list of models of a provider.
pub(crate) fn model_list<'a>(provider: &str, names: impl Iterator<Item = &'a str>) -> String {
    let models: Vec<Value> = names
        .map(
            |name| json!({"id": name, "object": "model", "created": CREATED, "owned_by": provider}),
        )
        .collect();
    json!({"object": "list", "data": models}).to_string()
}

#[cfg(test)]
mod tests;
