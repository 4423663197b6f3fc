//! The Gemini generateContent wire: the contents of a request.
//!
//! Owns: their parts, and which part may follow which. It must not know the rest of a
//! request.

use serde_json::Value;

use super::{field, invalid_value, unknown_name};
use crate::ask::{Refusal, Role, Turn};
use crate::base64;
use crate::seal;
use crate::wire::gemini::{FOREIGN_SIGNATURES, signs_calls};

/// Where files lie that a request may point to.
const FILE_PLACES: [&str; 2] = ["https://generativelanguage.googleapis.com/", "gs://"];
/// What a part may hold, one of each.
const DATA: [&str; 7] = [
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
];

/// The system instruction, if there is one.
pub(super) fn system(body: &Value) -> Result<Option<Turn>, Refusal> {
    let Some(content) = field(body, "systemInstruction") else {
        return Ok(None);
    };
    let text = |part: &Value| part["text"].as_str().map(str::to_owned);
    let parts = match field(content, "parts") {
        Some(Value::Array(parts)) => parts.as_slice(),
        Some(part @ Value::Object(_)) => std::slice::from_ref(part),
        _ => return Err(invalid_value("system_instruction", content)),
    };
    let texts: Option<Vec<String>> = parts.iter().map(text).collect();
    let texts = texts.ok_or_else(|| invalid_value("system_instruction.parts", content))?;
    Ok(Some(Turn::new(Role::System, texts.join("\n"))))
}

/// What has been read so far.
struct Reading<'a> {
    host: &'a str,
    signs: bool,
    turns: Vec<Turn>,
    /// Names of the calls of the last content, which the next one has to answer.
    open: Vec<String>,
}

/// The conversation, or what is wrong with it.
pub(super) fn read(host: &str, model: &str, body: &Value) -> Result<Vec<Turn>, Refusal> {
    let contents = match field(body, "contents") {
        Some(Value::Array(contents)) if !contents.is_empty() => contents.as_slice(),
        Some(content @ Value::Object(_)) => std::slice::from_ref(content),
        _ => {
            let message = "* GenerateContentRequest.contents: contents is not specified";
            return Err(Refusal::invalid(message));
        }
    };
    let mut reading = Reading {
        host,
        signs: signs_calls(model),
        turns: Vec::new(),
        open: Vec::new(),
    };
    for (index, content) in contents.iter().enumerate() {
        reading.content(content, &format!("contents[{index}]"))?;
    }
    if reading.open.is_empty() {
        Ok(reading.turns)
    } else {
        Err(unbalanced())
    }
}

fn unbalanced() -> Refusal {
    Refusal::invalid(
        "Please ensure that the number of function response parts is equal to the number of \
         function call parts of the function call turn.",
    )
}

impl Reading<'_> {
    fn content(&mut self, content: &Value, at: &str) -> Result<(), Refusal> {
        let role = match field(content, "role").map(Value::as_str) {
            None => Role::User,
            Some(Some("user" | "function")) => Role::User,
            Some(Some("model")) => Role::Assistant,
            Some(_) => {
                return Err(Refusal::invalid("Please use a valid role: user, model."));
            }
        };
        let parts = match field(content, "parts") {
            Some(Value::Array(parts)) if !parts.is_empty() => parts.as_slice(),
            Some(part @ Value::Object(_)) => std::slice::from_ref(part),
            _ => {
                return Err(Refusal::invalid(format!(
                    "* GenerateContentRequest.{at}.parts: contents.parts must not be empty."
                )));
            }
        };
        let answered = parts.iter().any(|p| field(p, "functionResponse").is_some());
        if !self.open.is_empty() && !answered {
            return Err(unbalanced());
        }
        let calls = parts
            .iter()
            .filter_map(|p| field(p, "functionCall").map(|c| (p, c)));
        let calls: Vec<(&Value, &Value)> = calls.collect();
        if let Some((part, call)) = calls.first()
            && self.signs
        {
            self.check_signature(part, call, at)?;
        }
        let mut turn = Turn::new(role, "");
        let mut texts = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let at = format!("{at}.parts[{index}]");
            check_part(part, role, &at)?;
            if let Some(response) = field(part, "functionResponse") {
                self.result(response, &at)?;
            }
            texts.extend(part["text"].as_str().filter(|_| part["thought"] != true));
            turn.images += usize::from(is_image(part, &at)?);
        }
        if !self.open.is_empty() {
            return Err(unbalanced());
        }
        for (_, call) in calls {
            self.open.push(name_of(call, at)?.to_owned());
        }
        if role == Role::Assistant || !texts.is_empty() || turn.images > 0 {
            turn.text = texts.join("\n");
            self.turns.push(turn);
        }
        Ok(())
    }

    fn check_signature(&self, part: &Value, call: &Value, at: &str) -> Result<(), Refusal> {
        let name = name_of(call, at)?;
        let Some(signature) = field(part, "thoughtSignature").and_then(Value::as_str) else {
            return Err(Refusal::invalid(format!(
                "Function call `{name}` in {at} is missing a thought_signature in functionCall \
                 parts. This is required for tools to work correctly."
            )));
        };
        if FOREIGN_SIGNATURES.contains(&signature) || seal::holds(self.host, name, signature) {
            return Ok(());
        }
        Err(Refusal::invalid("Corrupted thought signature."))
    }

    fn result(&mut self, response: &Value, at: &str) -> Result<(), Refusal> {
        let name = name_of(response, at)?;
        let Some(found) = self.open.iter().position(|open| open == name) else {
            return Err(unbalanced());
        };
        self.open.remove(found);
        let said = match field(response, "response") {
            Some(said @ Value::Object(_)) => said,
            other => {
                let at = format!("{at}.function_response.response");
                return Err(invalid_value(&at, other.unwrap_or(&Value::Null)));
            }
        };
        // A lone string is what a router wraps plain text in.
        let lone = said.as_object().filter(|members| members.len() == 1);
        let lone = lone.and_then(|members| members.values().next()?.as_str());
        let text = lone.map_or_else(|| said.to_string(), str::to_owned);
        self.turns.push(Turn::new(Role::Tool, text));
        Ok(())
    }
}

fn name_of<'a>(call: &'a Value, at: &str) -> Result<&'a str, Refusal> {
    let name = call["name"].as_str().filter(|name| !name.is_empty());
    name.ok_or_else(|| {
        Refusal::invalid(format!(
            "* GenerateContentRequest.{at}: function name cannot be empty."
        ))
    })
}

fn check_part(part: &Value, role: Role, at: &str) -> Result<(), Refusal> {
    const FRAME: [&str; 4] = [
        "thought",
        "thoughtSignature",
        "videoMetadata",
        "partMetadata",
    ];
    let known: Vec<&str> = DATA.iter().chain(&FRAME).copied().collect();
    super::only_known(part, &known, &format!(" at '{at}'"))?;
    let data = DATA.iter().filter(|name| field(part, name).is_some());
    if data.count() != 1 {
        return Err(Refusal::invalid(format!(
            "* GenerateContentRequest.{at}.data: required oneof field 'data' must have one \
             initialized field"
        )));
    }
    if let Some(call) = field(part, "functionCall") {
        let arguments = field(call, "args");
        if role != Role::Assistant || arguments.is_some_and(|args| !args.is_object()) {
            return Err(invalid_value(&format!("{at}.function_call"), call));
        }
    }
    match part.get("text") {
        None | Some(Value::String(_) | Value::Null) => Ok(()),
        Some(other) => Err(invalid_value(&format!("{at}.text"), other)),
    }
}

fn is_image(part: &Value, at: &str) -> Result<bool, Refusal> {
    if let Some(file) = field(part, "fileData") {
        let uri = field(file, "fileUri").and_then(Value::as_str);
        if !uri.is_some_and(|uri| FILE_PLACES.iter().any(|place| uri.starts_with(place))) {
            return Err(Refusal::invalid(
                "Cannot fetch content from the provided URL.",
            ));
        }
        let sort = field(file, "mimeType").and_then(Value::as_str);
        return Ok(sort.is_some_and(|sort| sort.starts_with("image/")));
    }
    let Some(data) = field(part, "inlineData") else {
        return Ok(false);
    };
    if let Some(name) =
        crate::wire::unknown_member(data, &["data", "mimeType", "mime_type", "displayName"])
    {
        return Err(unknown_name(name, &format!(" at '{at}.inline_data'")));
    }
    let bytes = data["data"].as_str().and_then(base64::decode_any);
    if bytes.is_none_or(|bytes| bytes.is_empty()) {
        return Err(Refusal::invalid(format!(
            "Invalid value at '{at}.inline_data.data' (TYPE_BYTES), Base64 decoding failed"
        )));
    }
    match field(data, "mimeType").and_then(Value::as_str) {
        Some(sort) => Ok(sort.starts_with("image/")),
        None => Err(Refusal::invalid(format!(
            "* GenerateContentRequest.{at}.inline_data.mime_type: must not be empty"
        ))),
    }
}
