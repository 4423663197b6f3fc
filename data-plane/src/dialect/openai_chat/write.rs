//! A request of another dialect, as Chat Completions.
//!
//! Owns: the body that is sent, and what it cannot say.

use serde_json::{Map, Value, json};
use spillway_routing::catalogue::Upstream;
use spillway_routing::dialect::Dialect;
use spillway_routing::prompt::Role;

use super::SETTINGS;
use crate::conversation::{
    Conversation, Form, Loss, Losses, Part, Source, Tool, ToolChoice, ToolResult, Turn, texts,
};
use crate::dialect::gpt;
use crate::dialect::host::Host;

/// Stop sequences at most.
const STOPS_MAX: usize = 4;

/// What this dialect cannot say of a conversation.
pub(in crate::dialect) fn losses(conversation: &Conversation) -> Losses {
    let mut losses =
        conversation.losses_without(|wanted| SETTINGS.iter().any(|(known, _)| *known == wanted));
    losses.add_if(conversation.stop.len() > STOPS_MAX, Loss::Stop);
    for turn in &conversation.turns {
        for part in &turn.parts {
            match part {
                Part::Reasoning(_) => losses.add(Loss::EarlierReasoning),
                Part::File {
                    source: Source::Url(_),
                    ..
                }
                | Part::Audio(Source::Url(_)) => losses.add(Loss::RemoteFile),
                Part::File {
                    source: Source::Data { media, .. },
                    ..
                } => losses.add_if(media != "application/pdf", Loss::File),
                Part::Result(result) => {
                    let media = |part: &Part| !matches!(part, Part::Text(_) | Part::Refusal(_));
                    losses.add_if(result.parts.iter().any(media), Loss::ToolMedia);
                    losses.add_if(result.failed, Loss::ToolFailure);
                }
                _ => {}
            }
        }
    }
    losses.add_if(conversation.ends_with_answer(), Loss::Prefill);
    losses
}

/// The body, without what the lane decides.
pub(in crate::dialect) fn write(
    conversation: &Conversation,
    upstream: &Upstream,
) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("model".into(), upstream.wire_model.as_str().into());
    let host = Host::of(upstream);
    let turns = conversation.turns.iter();
    let messages: Vec<Value> = turns.flat_map(|turn| messages(turn, host)).collect();
    body.insert("messages".into(), messages.into());
    if let Some(most) = conversation.max_output {
        // OpenAI's reasoning models refuse the older name; many other hosts know only that one.
        let newer = matches!(upstream.provider.as_str(), "openai" | "azure");
        let newer = newer || gpt::reasons(upstream);
        let name = if newer {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        body.insert(name.into(), most.into());
    }
    if !conversation.stop.is_empty() {
        let some = &conversation.stop[..conversation.stop.len().min(STOPS_MAX)];
        body.insert("stop".into(), json!(some));
    }
    let effort = gpt::effort(conversation.thinking.effort, upstream, Dialect::OpenAiChat);
    if let Some(effort) = effort {
        body.insert("reasoning_effort".into(), effort.name().into());
    }
    if !conversation.tools.is_empty() {
        let tools: Vec<Value> = conversation.tools.iter().map(tool).collect();
        body.insert("tools".into(), tools.into());
        if let Some(choice) = choice(&conversation.tool_choice) {
            body.insert("tool_choice".into(), choice);
        }
        if conversation.one_call {
            body.insert("parallel_tool_calls".into(), false.into());
        }
    }
    if let Some(form) = form(&conversation.form) {
        body.insert("response_format".into(), form);
    }
    for (setting, value) in &conversation.settings {
        let named = SETTINGS.iter().find(|(known, _)| known == setting);
        let named = named.filter(|_| gpt::may_set(*setting, upstream, effort));
        if let Some((_, name)) = named {
            body.insert((*name).into(), value.clone());
        }
    }
    body
}

/// Results of tools are messages of their own here, and come before what else was said.
fn messages(turn: &Turn, host: Host<'_>) -> Vec<Value> {
    let results = turn.parts.iter().filter_map(|part| match part {
        Part::Result(result) => Some(self::result(result, host)),
        _ => None,
    });
    let mut messages: Vec<Value> = results.collect();
    let rest: Vec<&Part> = turn
        .parts
        .iter()
        .filter(|part| !matches!(part, Part::Result(_) | Part::Reasoning(_)))
        .collect();
    if !rest.is_empty() || messages.is_empty() {
        messages.push(match turn.role {
            Role::Assistant => assistant(turn, &rest, host),
            Role::System => json!({ "role": "system", "content": content(&rest) }),
            Role::User | Role::Tool => json!({ "role": "user", "content": content(&rest) }),
        });
    }
    messages
}

fn result(result: &ToolResult, host: Host<'_>) -> Value {
    json!({
        "role": "tool",
        "tool_call_id": host.id(&result.id),
        "content": result.text(),
    })
}

fn assistant(turn: &Turn, parts: &[&Part], host: Host<'_>) -> Value {
    let owned: Vec<Part> = parts.iter().map(|part| (*part).clone()).collect();
    let calls = parts.iter().filter_map(|part| match part {
        Part::Call(call) => Some(json!({
            "id": host.id(&call.id),
            "type": "function",
            "function": { "name": call.name, "arguments": call.arguments },
        })),
        _ => None,
    });
    let calls: Vec<Value> = calls.collect();
    let said = texts(&owned);
    let said = (!said.is_empty() || calls.is_empty()).then_some(said);
    let mut message = json!({ "role": "assistant", "content": said });
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
        if host.wants_reasoning() {
            let thoughts = turn.parts.iter().filter_map(|part| match part {
                Part::Reasoning(thought) => Some(thought.as_str()),
                _ => None,
            });
            let thoughts: Vec<&str> = thoughts.collect();
            let thoughts = thoughts.join("\n");
            // Nothing is taken for missing where another model made the call.
            let thoughts = if thoughts.is_empty() { " " } else { &thoughts };
            message["reasoning_content"] = thoughts.into();
        }
    }
    message
}

/// Plain text where there is nothing else.
fn content(parts: &[&Part]) -> Value {
    match parts {
        [] => "".into(),
        [Part::Text(text)] => text.as_str().into(),
        parts => parts.iter().filter_map(|part| self::part(part)).collect(),
    }
}

fn part(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Text(text) | Part::Refusal(text) => json!({ "type": "text", "text": text }),
        Part::Image(source) => {
            json!({ "type": "image_url", "image_url": { "url": source.to_url() } })
        }
        Part::File { source, name } => json!({
            "type": "file",
            "file": { "filename": name.as_deref().unwrap_or("file"), "file_data": source.to_url() },
        }),
        Part::Audio(Source::Data { media, base64 }) => {
            let format = audio_format(media);
            json!({ "type": "input_audio", "input_audio": { "data": base64, "format": format } })
        }
        Part::Audio(_) | Part::Reasoning(_) | Part::Call(_) | Part::Result(_) => return None,
    })
}

/// OpenAI's names for what media types call otherwise.
pub(in crate::dialect) fn audio_format(media: &str) -> &str {
    match media.rsplit('/').next().unwrap_or("wav") {
        "mpeg" => "mp3",
        "x-wav" | "wave" => "wav",
        other => other,
    }
}

fn tool(tool: &Tool) -> Value {
    let mut function = json!({ "name": tool.name });
    if let Some(description) = &tool.description {
        function["description"] = description.as_str().into();
    }
    if let Some(parameters) = &tool.parameters {
        function["parameters"] = parameters.clone();
    }
    if let Some(strict) = tool.strict {
        function["strict"] = strict.into();
    }
    json!({ "type": "function", "function": function })
}

fn choice(choice: &ToolChoice) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some("none".into()),
        ToolChoice::Required => Some("required".into()),
        ToolChoice::Named(name) => {
            Some(json!({ "type": "function", "function": { "name": name } }))
        }
    }
}

fn form(form: &Form) -> Option<Value> {
    match form {
        Form::Text => None,
        Form::JsonObject => Some(json!({ "type": "json_object" })),
        Form::JsonSchema {
            name,
            schema,
            strict,
        } => {
            let mut named =
                json!({ "name": name.as_deref().unwrap_or("answer"), "schema": schema });
            if let Some(strict) = strict {
                named["strict"] = (*strict).into();
            }
            Some(json!({ "type": "json_schema", "json_schema": named }))
        }
    }
}
