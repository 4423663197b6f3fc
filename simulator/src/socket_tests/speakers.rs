//! A client of every wire, as small as it can be: writes one wish on all of them. What
//! was said is read in `said`.
//!
//! It must not use the code it tests, nor the crate's own client.

mod said;

use serde_json::{Value, json};

use crate::server::Running;
use crate::stand::{Heard, post, say};
use crate::wire::Wire;

pub(super) use said::Said;

/// Valid base64, and an image as far as anyone looks.
pub(super) const IMAGE: &str = "iVBORw0KGgo=";

/// A way to talk to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    Chat,
    Responses,
    Messages,
    /// Streams as events.
    Gemini,
    /// Streams as one array.
    GeminiArray,
    Converse,
    Interactions,
}

pub(super) const SPEAKERS: [Speaker; 7] = [
    Speaker::Chat,
    Speaker::Responses,
    Speaker::Messages,
    Speaker::Gemini,
    Speaker::GeminiArray,
    Speaker::Converse,
    Speaker::Interactions,
];

/// What is wished of a model, on whatever wire.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) prompt: &'static str,
    pub(super) stream: bool,
    pub(super) system: &'static str,
    /// So many tools: `one`, `two`, …
    pub(super) tools: usize,
    /// The one that must be called.
    pub(super) named: &'static str,
    pub(super) one_call: bool,
    pub(super) reasoning: bool,
    pub(super) schema: Option<Value>,
    pub(super) stop: &'static str,
    pub(super) limit: Option<u64>,
    pub(super) images: usize,
    pub(super) tier: &'static str,
}

impl Wish {
    pub(super) fn new(prompt: &'static str) -> Self {
        Self {
            prompt,
            ..Self::default()
        }
    }
}

pub(super) fn schema() -> Value {
    json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}})
}

const NAMES: [&str; 3] = ["one", "two", "three"];

impl Speaker {
    pub(super) fn wire(self) -> Wire {
        match self {
            Self::Chat => Wire::OpenAiChat,
            Self::Responses => Wire::OpenAiResponses,
            Self::Messages => Wire::AnthropicMessages,
            Self::Gemini | Self::GeminiArray => Wire::GeminiGenerate,
            Self::Converse => Wire::BedrockConverse,
            Self::Interactions => Wire::GeminiInteractions,
        }
    }

    pub(super) async fn ask(self, running: &Running, wish: &Wish) -> Heard {
        say(running.address(), &self.request(wish)).await
    }

    pub(super) async fn hear(self, running: &Running, wish: &Wish) -> Said {
        let heard = self.ask(running, wish).await;
        assert_eq!(heard.status, Some(200), "{self:?} {}", heard.text());
        self.said(&heard, wish.stream)
    }

    pub(super) fn request(self, wish: &Wish) -> Vec<u8> {
        let key = match self {
            Self::Chat | Self::Responses | Self::Converse => "authorization: Bearer sk-1\r\n",
            Self::Messages => "x-api-key: sk-1\r\nanthropic-version: 2023-06-01\r\n",
            Self::Gemini | Self::GeminiArray | Self::Interactions => "x-goog-api-key: sk-1\r\n",
        };
        let path = format!("/alpha/{}", self.path("small", wish.stream));
        post(&path, key, &self.body(wish))
    }

    /// Where a model is asked, below its provider.
    pub(super) fn path(self, model: &str, stream: bool) -> String {
        let gemini = |action: &str| format!("v1beta/models/{model}:{action}");
        match (self, stream) {
            (Self::Chat, _) => "v1/chat/completions".to_owned(),
            (Self::Responses, _) => "v1/responses".to_owned(),
            (Self::Messages, _) => "v1/messages".to_owned(),
            (Self::Gemini | Self::GeminiArray, false) => gemini("generateContent"),
            (Self::Gemini, true) => gemini("streamGenerateContent?alt=sse"),
            (Self::GeminiArray, true) => gemini("streamGenerateContent"),
            (Self::Interactions, _) => "v1beta/interactions".to_owned(),
            (Self::Converse, false) => format!("model/{model}/converse"),
            (Self::Converse, true) => format!("model/{model}/converse-stream"),
        }
    }

    pub(super) fn body(self, wish: &Wish) -> Value {
        match self {
            Self::Chat => chat_body(wish),
            Self::Responses => responses_body(wish),
            Self::Messages => messages_body(wish),
            Self::Gemini | Self::GeminiArray => gemini_body(wish),
            Self::Converse => converse_body(wish),
            Self::Interactions => interactions_body(wish),
        }
    }
}

fn tools(wish: &Wish, form: impl Fn(&str) -> Value) -> Value {
    NAMES
        .iter()
        .take(wish.tools)
        .map(|name| form(name))
        .collect()
}

fn chat_body(wish: &Wish) -> Value {
    let mut content = vec![json!({"type": "text", "text": wish.prompt})];
    for _ in 0..wish.images {
        let url = format!("data:image/png;base64,{IMAGE}");
        content.push(json!({"type": "image_url", "image_url": {"url": url}}));
    }
    let mut messages = vec![json!({"role": "user", "content": content})];
    if !wish.system.is_empty() {
        messages.insert(0, json!({"role": "system", "content": wish.system}));
    }
    let mut body = json!({"model": "small", "messages": messages, "stream": wish.stream});
    if wish.stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    if wish.tools > 0 {
        body["tools"] = tools(
            wish,
            |name| json!({"type": "function", "function": {"name": name, "parameters": schema()}}),
        );
    }
    if !wish.named.is_empty() {
        body["tool_choice"] = json!({"type": "function", "function": {"name": wish.named}});
    }
    if wish.one_call {
        body["parallel_tool_calls"] = json!(false);
    }
    if wish.reasoning {
        body["reasoning_effort"] = json!("high");
    }
    if let Some(schema) = &wish.schema {
        let form = json!({"name": "form", "schema": schema});
        body["response_format"] = json!({"type": "json_schema", "json_schema": form});
    }
    if !wish.stop.is_empty() {
        body["stop"] = json!([wish.stop]);
    }
    if let Some(limit) = wish.limit {
        body["max_completion_tokens"] = json!(limit);
    }
    if !wish.tier.is_empty() {
        body["service_tier"] = json!(wish.tier);
    }
    body
}

fn responses_body(wish: &Wish) -> Value {
    let mut content = vec![json!({"type": "input_text", "text": wish.prompt})];
    for _ in 0..wish.images {
        let url = format!("data:image/png;base64,{IMAGE}");
        content.push(json!({"type": "input_image", "image_url": url}));
    }
    let input = json!([{"role": "user", "content": content}]);
    let mut body = json!({"model": "small", "input": input, "stream": wish.stream});
    if !wish.system.is_empty() {
        body["instructions"] = json!(wish.system);
    }
    if wish.tools > 0 {
        body["tools"] = tools(
            wish,
            |name| json!({"type": "function", "name": name, "parameters": schema()}),
        );
    }
    if !wish.named.is_empty() {
        body["tool_choice"] = json!({"type": "function", "name": wish.named});
    }
    if wish.one_call {
        body["parallel_tool_calls"] = json!(false);
    }
    if wish.reasoning {
        body["reasoning"] = json!({"effort": "high", "summary": "auto"});
    }
    if let Some(schema) = &wish.schema {
        let form = json!({"type": "json_schema", "name": "form", "schema": schema});
        body["text"] = json!({ "format": form });
    }
    if let Some(limit) = wish.limit {
        body["max_output_tokens"] = json!(limit);
    }
    if !wish.tier.is_empty() {
        body["service_tier"] = json!(wish.tier);
    }
    body
}

fn messages_body(wish: &Wish) -> Value {
    let mut content = vec![json!({"type": "text", "text": wish.prompt})];
    for _ in 0..wish.images {
        let source = json!({"type": "base64", "media_type": "image/png", "data": IMAGE});
        content.push(json!({"type": "image", "source": source}));
    }
    let messages = json!([{"role": "user", "content": content}]);
    let mut body = json!({
        "model": "small", "max_tokens": wish.limit.unwrap_or(4_096), "messages": messages,
        "stream": wish.stream,
    });
    if !wish.system.is_empty() {
        body["system"] = json!([{"type": "text", "text": wish.system}]);
    }
    if wish.tools > 0 {
        body["tools"] = tools(wish, |name| json!({"name": name, "input_schema": schema()}));
        let mut choice = json!({"type": "auto"});
        if !wish.named.is_empty() {
            choice = json!({"type": "tool", "name": wish.named});
        }
        choice["disable_parallel_tool_use"] = json!(wish.one_call);
        body["tool_choice"] = choice;
    }
    if wish.reasoning {
        body["thinking"] = json!({"type": "adaptive"});
    }
    if let Some(schema) = &wish.schema {
        body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
    }
    if !wish.stop.is_empty() {
        body["stop_sequences"] = json!([wish.stop]);
    }
    if !wish.tier.is_empty() {
        body["service_tier"] = json!(wish.tier);
    }
    body
}

fn gemini_body(wish: &Wish) -> Value {
    let mut parts = vec![json!({"text": wish.prompt})];
    for _ in 0..wish.images {
        parts.push(json!({"inlineData": {"mimeType": "image/png", "data": IMAGE}}));
    }
    let mut body = json!({"contents": [{"role": "user", "parts": parts}]});
    let mut config = json!({});
    if !wish.system.is_empty() {
        body["systemInstruction"] = json!({"parts": [{"text": wish.system}]});
    }
    if wish.tools > 0 {
        let declared = tools(
            wish,
            |name| json!({"name": name, "parametersJsonSchema": schema()}),
        );
        body["tools"] = json!([{"functionDeclarations": declared}]);
    }
    if !wish.named.is_empty() {
        let calling = json!({"mode": "ANY", "allowedFunctionNames": [wish.named]});
        body["toolConfig"] = json!({"functionCallingConfig": calling});
    }
    if wish.reasoning {
        config["thinkingConfig"] = json!({"includeThoughts": true, "thinkingLevel": "high"});
    }
    if let Some(schema) = &wish.schema {
        config["responseMimeType"] = json!("application/json");
        config["responseJsonSchema"] = schema.clone();
    }
    if !wish.stop.is_empty() {
        config["stopSequences"] = json!([wish.stop]);
    }
    if let Some(limit) = wish.limit {
        config["maxOutputTokens"] = json!(limit);
    }
    body["generationConfig"] = config;
    if !wish.tier.is_empty() {
        body["serviceTier"] = json!(wish.tier);
    }
    body
}

fn converse_body(wish: &Wish) -> Value {
    let mut content = vec![json!({"text": wish.prompt})];
    for _ in 0..wish.images {
        content.push(json!({"image": {"format": "png", "source": {"bytes": IMAGE}}}));
    }
    let mut body = json!({"messages": [{"role": "user", "content": content}]});
    let mut inference = json!({});
    let mut more = json!({});
    if !wish.system.is_empty() {
        body["system"] = json!([{"text": wish.system}]);
    }
    if wish.tools > 0 {
        let tools = tools(
            wish,
            |name| json!({"toolSpec": {"name": name, "inputSchema": {"json": schema()}}}),
        );
        let mut choice = json!({"auto": {}});
        if !wish.named.is_empty() {
            choice = json!({"tool": {"name": wish.named}});
        }
        body["toolConfig"] = json!({"tools": tools, "toolChoice": choice});
        if wish.one_call {
            more["tool_choice"] = json!({"type": "auto", "disable_parallel_tool_use": true});
        }
    }
    if wish.reasoning {
        more["thinking"] = json!({"type": "adaptive"});
    }
    if let Some(schema) = &wish.schema {
        let schema = json!({"name": "form", "schema": schema.to_string()});
        let format = json!({"type": "json_schema", "structure": {"jsonSchema": schema}});
        body["outputConfig"] = json!({ "textFormat": format });
    }
    if !wish.stop.is_empty() {
        inference["stopSequences"] = json!([wish.stop]);
    }
    if let Some(limit) = wish.limit {
        inference["maxTokens"] = json!(limit);
    }
    body["inferenceConfig"] = inference;
    body["additionalModelRequestFields"] = more;
    if !wish.tier.is_empty() {
        body["serviceTier"] = json!({"type": wish.tier});
    }
    body
}

fn interactions_body(wish: &Wish) -> Value {
    let mut content = vec![json!({"type": "text", "text": wish.prompt})];
    for _ in 0..wish.images {
        content.push(json!({"type": "image", "mime_type": "image/png", "data": IMAGE}));
    }
    let mut body = json!({"model": "small", "input": content, "stream": wish.stream});
    let mut config = json!({});
    if !wish.system.is_empty() {
        body["system_instruction"] = json!(wish.system);
    }
    if wish.tools > 0 {
        body["tools"] = tools(
            wish,
            |name| json!({"type": "function", "name": name, "parameters": schema()}),
        );
    }
    if !wish.named.is_empty() {
        let allowed = json!({"mode": "any", "tools": [wish.named]});
        config["tool_choice"] = json!({ "allowed_tools": allowed });
    }
    if wish.reasoning {
        config["thinking_level"] = json!("high");
        config["thinking_summaries"] = json!("auto");
    }
    if let Some(schema) = &wish.schema {
        body["response_format"] =
            json!({"type": "text", "mime_type": "application/json", "schema": schema});
    }
    if !wish.stop.is_empty() {
        config["stop_sequences"] = json!([wish.stop]);
    }
    if let Some(limit) = wish.limit {
        config["max_output_tokens"] = json!(limit);
    }
    body["generation_config"] = config;
    if !wish.tier.is_empty() {
        body["service_tier"] = json!(wish.tier);
    }
    body
}
