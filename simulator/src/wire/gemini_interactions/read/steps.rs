//! The Gemini Interactions wire: the input of a request.
//!
//! Owns: adding its steps to a conversation, and which may follow which. It must not
//! know the rest of a request.

use serde_json::Value;

use super::{invalid_value, only_known};
use crate::ask::{Refusal, Role, Turn};
use crate::base64;
use crate::seal;
use crate::shelf::Thread;
use crate::wire::gemini::{FOREIGN_SIGNATURES, signs_calls};
use crate::wire::gemini_interactions::THOUGHT;

const CONTENTS: [&str; 5] = ["text", "image", "audio", "document", "video"];
/// Steps that the provider took by itself: known, and not gone into.
const OWN_STEPS: [&str; 18] = [
    "code_execution_call",
    "code_execution_result",
    "file_search_call",
    "file_search_result",
    "google_maps_call",
    "google_maps_result",
    "google_search_call",
    "google_search_result",
    "mcp_server_tool_call",
    "mcp_server_tool_result",
    "processing_call",
    "processing_result",
    "retrieval_call",
    "retrieval_result",
    "tool_search_call",
    "tool_search_result",
    "url_context_call",
    "url_context_result",
];
/// Where media lie that an input may point to.
const PLACES: [&str; 3] = ["https://", "http://", "gs://"];

/// What the steps before one come to.
struct Reading<'a> {
    host: &'a str,
    /// Calls of this model need a signed thought before them.
    signs: bool,
    /// A signed thought (or a call after one) has just come.
    signed: bool,
    thread: &'a mut Thread,
}

/// Adds an input to the conversation before it: a text, contents, or steps.
pub(super) fn add(
    host: &str,
    model: &str,
    input: &Value,
    thread: &mut Thread,
) -> Result<(), Refusal> {
    let mut reading = Reading {
        host,
        signs: signs_calls(model),
        signed: false,
        thread,
    };
    match input {
        Value::String(text) => {
            reading.all_answered()?;
            reading
                .thread
                .turns
                .push(Turn::new(Role::User, text.clone()));
        }
        Value::Object(_) => reading.said(Role::User, std::slice::from_ref(input), "input")?,
        Value::Array(items) if items.is_empty() => {
            return Err(Refusal::invalid("'input' must not be empty."));
        }
        Value::Array(items) if items.iter().all(is_content) => {
            reading.said(Role::User, items, "input")?;
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                reading.step(item, &format!("input[{index}]"))?;
            }
        }
        Value::Null => return Err(Refusal::invalid("'input' must be set.")),
        other => return Err(invalid_value("input", other)),
    }
    reading.all_answered()
}

fn is_content(item: &Value) -> bool {
    let sort = item["type"].as_str();
    sort.is_some_and(|sort| CONTENTS.contains(&sort))
}

impl Reading<'_> {
    fn step(&mut self, step: &Value, at: &str) -> Result<(), Refusal> {
        let signed = std::mem::take(&mut self.signed);
        match step["type"].as_str() {
            Some("user_input") => {
                only_known(step, &["type", "content"], &format!(" at '{at}'"))?;
                self.said(Role::User, contents(step, at)?, at)
            }
            Some("model_output") => {
                only_known(step, &["type", "content", "error"], &format!(" at '{at}'"))?;
                self.said(Role::Assistant, contents(step, at)?, at)
            }
            Some("thought") => self.thought(step, at),
            Some("function_call") => {
                self.signed = signed;
                self.call(step, at)
            }
            Some("function_result") => self.result(step, at),
            Some(own) if OWN_STEPS.contains(&own) => Ok(()),
            _ => Err(invalid_value(&format!("{at}.type"), &step["type"])),
        }
    }

    fn said(&mut self, role: Role, contents: &[Value], at: &str) -> Result<(), Refusal> {
        self.all_answered()?;
        let turn = turn(role, contents, at)?;
        self.thread.turns.push(turn);
        Ok(())
    }

    fn thought(&mut self, step: &Value, at: &str) -> Result<(), Refusal> {
        let known = ["type", "signature", "summary"];
        only_known(step, &known, &format!(" at '{at}'"))?;
        self.all_answered()?;
        let signature = step["signature"].as_str().unwrap_or_default();
        let own = seal::holds(self.host, THOUGHT, signature);
        if !own && !FOREIGN_SIGNATURES.contains(&signature) {
            return Err(Refusal::invalid("Corrupted thought signature."));
        }
        self.signed = true;
        Ok(())
    }

    fn call(&mut self, step: &Value, at: &str) -> Result<(), Refusal> {
        let known = ["type", "id", "name", "arguments", "signature"];
        only_known(step, &known, &format!(" at '{at}'"))?;
        let name = text(step, "name", at)?;
        if self.signs && !self.signed {
            return Err(Refusal::invalid(format!(
                "Function call `{name}` in {at} is missing a thought_signature in the thought \
                 before it. This is required for tools to work correctly."
            )));
        }
        if !step["arguments"].is_object() {
            let at = format!("{at}.arguments");
            return Err(invalid_value(&at, &step["arguments"]));
        }
        let id = text(step, "id", at)?;
        self.thread.open_calls.push(id.to_owned());
        Ok(())
    }

    fn result(&mut self, step: &Value, at: &str) -> Result<(), Refusal> {
        let known = ["type", "call_id", "result", "is_error", "name", "signature"];
        only_known(step, &known, &format!(" at '{at}'"))?;
        let id = text(step, "call_id", at)?;
        let open = &mut self.thread.open_calls;
        let Some(found) = open.iter().position(|call| call == id) else {
            let message = format!("{at}: there is no function call '{id}' without a result.");
            return Err(Refusal::invalid(message));
        };
        open.remove(found);
        if !(step["is_error"].is_null() || step["is_error"].is_boolean()) {
            let at = format!("{at}.is_error");
            return Err(invalid_value(&at, &step["is_error"]));
        }
        let turn = match &step["result"] {
            Value::String(text) => Turn::new(Role::Tool, text.clone()),
            Value::Array(parts) => turn(Role::Tool, parts, &format!("{at}.result"))?,
            Value::Object(members) => {
                // A lone string is what plain text is wrapped in.
                let lone = members.values().next().filter(|_| members.len() == 1);
                let lone = lone.and_then(Value::as_str).map(str::to_owned);
                Turn::new(
                    Role::Tool,
                    lone.unwrap_or_else(|| step["result"].to_string()),
                )
            }
            other => return Err(invalid_value(&format!("{at}.result"), other)),
        };
        self.thread.turns.push(turn);
        Ok(())
    }

    fn all_answered(&self) -> Result<(), Refusal> {
        match self.thread.open_calls.first() {
            None => Ok(()),
            Some(call) => Err(Refusal::invalid(format!(
                "Please ensure that every function call has a function result: '{call}' has none."
            ))),
        }
    }
}

fn contents<'a>(step: &'a Value, at: &str) -> Result<&'a [Value], Refusal> {
    match &step["content"] {
        Value::Array(contents) => Ok(contents),
        other => Err(invalid_value(&format!("{at}.content"), other)),
    }
}

fn text<'a>(step: &'a Value, name: &str, at: &str) -> Result<&'a str, Refusal> {
    let text = step[name].as_str().filter(|text| !text.is_empty());
    text.ok_or_else(|| invalid_value(&format!("{at}.{name}"), &step[name]))
}

/// The texts and images of some contents.
fn turn(role: Role, contents: &[Value], at: &str) -> Result<Turn, Refusal> {
    let mut turn = Turn::new(role, "");
    let mut texts = Vec::new();
    for (index, content) in contents.iter().enumerate() {
        let at = format!("{at}[{index}]");
        match content["type"].as_str() {
            Some("text") => {
                let known = ["type", "text", "annotations"];
                only_known(content, &known, &format!(" at '{at}'"))?;
                let said = content["text"].as_str();
                let at = format!("{at}.text");
                texts.push(said.ok_or_else(|| invalid_value(&at, &content["text"]))?);
            }
            Some("image") => {
                media(content, &at)?;
                turn.images += 1;
            }
            Some("audio" | "document" | "video") => media(content, &at)?,
            _ => return Err(invalid_value(&format!("{at}.type"), &content["type"])),
        }
    }
    turn.text = texts.join("\n");
    Ok(turn)
}

/// Bytes in base64 with what they are, or a place where they lie.
fn media(content: &Value, at: &str) -> Result<(), Refusal> {
    let known = [
        "type",
        "data",
        "mime_type",
        "uri",
        "resolution",
        "processing",
        "channels",
        "sample_rate",
    ];
    only_known(content, &known, &format!(" at '{at}'"))?;
    match (&content["data"], &content["uri"]) {
        (Value::String(data), Value::Null) => {
            if base64::decode_any(data).is_none_or(|bytes| bytes.is_empty()) {
                return Err(Refusal::invalid(format!(
                    "Invalid value at '{at}.data' (TYPE_BYTES), Base64 decoding failed"
                )));
            }
            if content["mime_type"].is_string() {
                return Ok(());
            }
            let at = format!("{at}.mime_type");
            Err(invalid_value(&at, &content["mime_type"]))
        }
        (Value::Null, Value::String(uri)) => {
            if PLACES.iter().any(|place| uri.starts_with(place)) {
                return Ok(());
            }
            Err(invalid_value(&format!("{at}.uri"), &content["uri"]))
        }
        _ => Err(Refusal::invalid(format!(
            "{at}: exactly one of 'data' and 'uri' must be set."
        ))),
    }
}
