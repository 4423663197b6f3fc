//! The OpenAI Chat Completions wire: what comes in.
//!
//! Owns: reading a request, with the refusals of its provider. It must not know what an
//! answer looks like.

use serde_json::{Value, json};

use super::Pen;
use crate::ask::{Ask, Choice, Format, Refusal, Role, Tool, Turn};
use crate::schema;
use crate::wire::openai::{self, missing, wrong_type, wrong_value};
use crate::wire::{self, Inbound};

/// More stop sequences are refused.
const STOPS_MAX: usize = 4;

/// Reads a request, or says why it is refused.
pub(in crate::wire) fn read(inbound: &Inbound<'_>) -> Result<(Ask, wire::Pen), Refusal> {
    let body = openai::parse(inbound.body)?;
    let streaming = openai::flag(&body, "stream")?.unwrap_or(false);
    let options = &body["stream_options"];
    if !options.is_null() && !streaming {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Refusal::invalid(message).about("stream_options"));
    }
    let mut ask = Ask {
        model: openai::model(&body)?,
        streaming,
        output_tokens_max: openai::count(&body, "max_completion_tokens")?
            .or(openai::count(&body, "max_tokens")?),
        stops: stops(&body["stop"])?,
        format: format(&body["response_format"])?,
        reasoning: openai::reasons(&body["reasoning_effort"], "reasoning_effort")?,
        tier: openai::tier(&body)?,
        cacheable: true,
        cache_key: body["prompt_cache_key"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        ..Ask::default()
    };
    ask.hear(turns(&body["messages"])?);
    read_tools(&body, &mut ask)?;
    let pen = Pen {
        marks: inbound.marks,
        model: ask.model.clone(),
        tier: ask.tier,
        include_usage: openai::flag(options, "include_usage")?.unwrap_or(false),
    };
    Ok((ask, wire::Pen::Chat(pen)))
}

fn stops(stop: &Value) -> Result<Vec<String>, Refusal> {
    let list = match stop {
        Value::Null => return Ok(Vec::new()),
        Value::String(one) => return Ok(vec![one.clone()]),
        Value::Array(list) if list.len() <= STOPS_MAX => list,
        _ => return Err(wrong_type("stop", "a string or up to 4 strings")),
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let all: Option<Vec<String>> = list.iter().map(text).collect();
    all.ok_or_else(|| wrong_type("stop", "strings"))
}

fn format(format: &Value) -> Result<Format, Refusal> {
    match format["type"].as_str() {
        None if format.is_null() => Ok(Format::Text),
        Some("text") => Ok(Format::Text),
        Some("json_object") => Ok(Format::Object),
        Some("json_schema") => {
            let form = &format["json_schema"];
            if !form["name"].is_string() {
                return Err(missing("response_format.json_schema.name"));
            }
            let schema = form.get("schema").filter(|schema| schema.is_object());
            let schema = schema.ok_or_else(|| missing("response_format.json_schema.schema"))?;
            Ok(Format::Example(schema::smallest(schema).to_string()))
        }
        _ => Err(wrong_value("response_format.type", &format["type"])),
    }
}

fn turns(messages: &Value) -> Result<Vec<Turn>, Refusal> {
    let messages = messages.as_array().ok_or_else(|| missing("messages"))?;
    if messages.is_empty() {
        return Err(Refusal::invalid("[] is too short - 'messages'").about("messages"));
    }
    let mut open: Vec<String> = Vec::new();
    let mut turns = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}]");
        let role = match message["role"].as_str() {
            Some("system" | "developer") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("tool" | "function") => Role::Tool,
            _ => return Err(wrong_value(format!("{at}.role"), &message["role"])),
        };
        if message["role"] == "tool" {
            close(&mut open, message, &at)?;
        } else {
            all_answered(&open)?;
        }
        let calls = &message["tool_calls"];
        if role == Role::Assistant && !calls.is_null() {
            open = call_ids(calls, &format!("{at}.tool_calls"))?;
        }
        let silent = role == Role::Assistant && message["content"].is_null();
        turns.push(if silent {
            Turn::new(role, "")
        } else {
            turn(role, &message["content"], &format!("{at}.content"))?
        });
    }
    all_answered(&open)?;
    Ok(turns)
}

fn close(open: &mut Vec<String>, message: &Value, at: &str) -> Result<(), Refusal> {
    let param = format!("{at}.tool_call_id");
    let id = message["tool_call_id"].as_str();
    let id = id.ok_or_else(|| missing(param.clone()))?;
    let Some(found) = open.iter().position(|call| call == id) else {
        let message = "Invalid parameter: messages with role 'tool' must be a response to a \
            preceeding message with 'tool_calls'.";
        return Err(Refusal::invalid(message).about(param));
    };
    open.remove(found);
    Ok(())
}

fn all_answered(open: &[String]) -> Result<(), Refusal> {
    if open.is_empty() {
        return Ok(());
    }
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to \
         each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
        open.join(", ")
    );
    Err(Refusal::invalid(message).about("messages"))
}

fn call_ids(calls: &Value, at: &str) -> Result<Vec<String>, Refusal> {
    let calls = calls.as_array().filter(|calls| !calls.is_empty());
    let calls = calls.ok_or_else(|| wrong_type(at, "an array with at least one call"))?;
    let id = |(index, call): (usize, &Value)| {
        let function = &call["function"];
        let sound = function["name"].is_string() && function["arguments"].is_string();
        match call["id"].as_str() {
            Some(id) if sound || call["type"] == "custom" => Ok(id.to_owned()),
            _ => Err(wrong_value(format!("{at}[{index}]"), call)),
        }
    };
    calls.iter().enumerate().map(id).collect()
}

fn turn(role: Role, content: &Value, at: &str) -> Result<Turn, Refusal> {
    let parts = match content {
        Value::String(text) => return Ok(Turn::new(role, text.clone())),
        Value::Array(parts) => parts,
        _ => return Err(wrong_type(at, "a string or an array of parts")),
    };
    let mut texts = Vec::new();
    let mut images = 0;
    for (index, part) in parts.iter().enumerate() {
        let at = format!("{at}[{index}]");
        match part["type"].as_str() {
            Some("text") => {
                let text = part["text"].as_str();
                texts.push(text.ok_or_else(|| missing(format!("{at}.text")))?);
            }
            Some("refusal") if role == Role::Assistant => {
                texts.extend(part["refusal"].as_str());
            }
            Some("image_url") if role == Role::User => {
                let url = part.pointer("/image_url/url").and_then(Value::as_str);
                openai::image(url, &format!("{at}.image_url.url"))?;
                images += 1;
            }
            Some("input_audio" | "file") if role == Role::User => {}
            _ => return Err(wrong_value(format!("{at}.type"), &part["type"])),
        }
    }
    let mut turn = Turn::new(role, texts.join("\n"));
    turn.images = images;
    Ok(turn)
}

fn read_tools(body: &Value, ask: &mut Ask) -> Result<(), Refusal> {
    let tools = match &body["tools"] {
        Value::Null => &Vec::new(),
        Value::Array(tools) => tools,
        _ => return Err(wrong_type("tools", "an array")),
    };
    for (index, tool) in tools.iter().enumerate() {
        let at = format!("tools[{index}]");
        match tool["type"].as_str() {
            Some("function") => {
                let name = tool.pointer("/function/name").and_then(Value::as_str);
                let name = name.ok_or_else(|| missing(format!("{at}.function")))?;
                let parameters = tool.pointer("/function/parameters");
                ask.tools.push(Tool {
                    name: name.to_owned(),
                    arguments: schema::arguments(parameters).to_string(),
                });
            }
            Some("custom") => {}
            _ => return Err(wrong_value(format!("{at}.type"), &tool["type"])),
        }
    }
    let parallel = openai::flag(body, "parallel_tool_calls")?;
    if parallel.is_some() && tools.is_empty() {
        let message = "'parallel_tool_calls' is only allowed when 'tools' are specified.";
        return Err(Refusal::invalid(message).about("parallel_tool_calls"));
    }
    ask.one_call = parallel == Some(false);
    refuse_reasoned_calls(ask)?;
    let choice = choice(&body["tool_choice"])?;
    if ask.choose(&choice) {
        Ok(())
    } else {
        Err(wrong_value("tool_choice", &body["tool_choice"]))
    }
}

/// Newer models want these requests on the Responses wire.
fn refuse_reasoned_calls(ask: &Ask) -> Result<(), Refusal> {
    let newer = ["gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-6"];
    let newer = newer.iter().any(|name| ask.model.starts_with(name));
    if newer && ask.reasoning && !ask.tools.is_empty() {
        let message = "Function tools with reasoning_effort are not supported in \
            /v1/chat/completions. Please use /v1/responses instead";
        return Err(Refusal::invalid(message).about("reasoning_effort"));
    }
    Ok(())
}

fn choice(choice: &Value) -> Result<Choice, Refusal> {
    let refuse = || wrong_value("tool_choice", choice);
    match choice {
        Value::Null => Ok(Choice::Auto),
        Value::String(word) => match word.as_str() {
            "auto" => Ok(Choice::Auto),
            "none" => Ok(Choice::None),
            "required" => Ok(Choice::Required),
            _ => Err(refuse()),
        },
        _ if choice["type"] == json!("allowed_tools") => {
            let allowed = &choice["allowed_tools"];
            let tools = allowed["tools"].as_array().ok_or_else(refuse)?;
            let name = |tool: &Value| Some(tool.pointer("/function/name")?.as_str()?.to_owned());
            Ok(Choice::Among {
                required: allowed["mode"] == "required",
                names: tools.iter().filter_map(name).collect(),
            })
        }
        _ => {
            let name = choice.pointer("/function/name").and_then(Value::as_str);
            Ok(Choice::named(name.ok_or_else(refuse)?))
        }
    }
}

#[cfg(test)]
mod tests;
