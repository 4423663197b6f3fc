//! The Bedrock Converse wire: the messages of a request.
//!
//! Owns: their blocks, and which block may follow which. It must not know the rest of a
//! request.

use serde_json::Value;

use super::{by_model, constraint, missing, union};
use crate::ask::{Refusal, Role, Turn};
use crate::base64;
use crate::seal;

const IMAGES: [&str; 4] = ["png", "jpeg", "gif", "webp"];
const DOCUMENTS: [&str; 9] = [
    "pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md",
];
/// The longest name of a tool, and the longest id of a call.
const NAME_CHARS_MAX: usize = 64;

/// What a conversation comes to.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) turns: Vec<Turn>,
    /// There are calls or results in it.
    pub(super) uses_tools: bool,
}

/// What has been read so far.
struct Reading<'a> {
    host: &'a str,
    turns: Vec<Turn>,
    /// Calls of the last message, which the next one has to answer.
    open: Vec<String>,
    uses_tools: bool,
}

/// The conversation, or what is wrong with it.
pub(super) fn read(host: &str, messages: &Value) -> Result<Talk, Refusal> {
    let messages = messages.as_array().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| {
        Refusal::invalid("A conversation must have at least one message. Try again with one.")
    })?;
    let mut reading = Reading {
        host,
        turns: Vec::new(),
        open: Vec::new(),
        uses_tools: false,
    };
    let mut before = None;
    for (index, message) in messages.iter().enumerate() {
        let role = role(message, index)?;
        check_order(before, role)?;
        before = Some(role);
        reading.message(role, message, &format!("messages.{index}"))?;
    }
    reading.all_answered(&format!("messages.{}", messages.len()))?;
    Ok(Talk {
        turns: reading.turns,
        uses_tools: reading.uses_tools,
    })
}

fn role(message: &Value, index: usize) -> Result<Role, Refusal> {
    match message["role"].as_str() {
        Some("user") => Ok(Role::User),
        Some("assistant") => Ok(Role::Assistant),
        _ => {
            // Members of lists are counted from 1 in these messages.
            let at = format!("messages.{}.member.role", index + 1);
            let rule = "satisfy enum value set: [user, assistant]";
            Err(constraint(&at, &message["role"], rule))
        }
    }
}

fn check_order(before: Option<Role>, role: Role) -> Result<(), Refusal> {
    match before {
        None if role == Role::Assistant => Err(Refusal::invalid(
            "A conversation must start with a user message. Try again with a conversation that \
             starts with a user message.",
        )),
        Some(before) if before == role => Err(Refusal::invalid(
            "A conversation must alternate between user and assistant roles. Make sure the \
             conversation alternates between user and assistant roles and try again.",
        )),
        _ => Ok(()),
    }
}

impl Reading<'_> {
    fn message(&mut self, role: Role, message: &Value, at: &str) -> Result<(), Refusal> {
        super::only_known(message, &["role", "content"], at)?;
        let blocks = match &message["content"] {
            Value::Array(blocks) if !blocks.is_empty() => blocks,
            _ => {
                return Err(Refusal::invalid(format!(
                    "The content field in the Message object at {at} is empty. Add a ContentBlock \
                     object to the content field and try again."
                )));
            }
        };
        if role == Role::User {
            self.user(blocks, at)
        } else {
            self.assistant(blocks, at)
        }
    }

    fn user(&mut self, blocks: &[Value], at: &str) -> Result<(), Refusal> {
        let mut turn = Turn::new(Role::User, "");
        let mut texts = Vec::new();
        let mut documents = 0;
        for (index, block) in blocks.iter().enumerate() {
            let at = format!("{at}.content.{index}");
            let (name, value) = union(block, &at)?;
            if name == "toolResult" {
                self.result(value, &at)?;
                continue;
            }
            // Results come first: anything before them separates them from their calls.
            self.all_answered(&at)?;
            match name {
                "text" => texts.push(text(value, &at)?),
                "guardContent" => texts.push(text(&value["text"]["text"], &at)?),
                "image" => {
                    media(value, "image", &IMAGES, &at)?;
                    turn.images += 1;
                }
                "document" => {
                    document(value, &at)?;
                    documents += 1;
                }
                "cachePoint" => cache_point(value, &at)?,
                "video" | "audio" | "searchResult" | "toolAddition" | "toolRemoval" => {}
                _ => return Err(unknown_block(name, &at)),
            }
        }
        self.all_answered(at)?;
        if documents > 0 && texts.is_empty() {
            return Err(Refusal::invalid(format!(
                "The message at {at} has a document and no text. Add a text block and try again."
            )));
        }
        if !texts.is_empty() || turn.images > 0 {
            turn.text = texts.join("\n");
            self.turns.push(turn);
        }
        Ok(())
    }

    fn result(&mut self, result: &Value, at: &str) -> Result<(), Refusal> {
        self.uses_tools = true;
        let at = format!("{at}.toolResult");
        let known = ["toolUseId", "content", "status", "type"];
        super::only_known(result, &known, &at)?;
        let id = result["toolUseId"].as_str();
        let id = id.ok_or_else(|| missing(&format!("{at}.toolUseId")))?;
        let Some(found) = self.open.iter().position(|open| open == id) else {
            return Err(Refusal::invalid(format!(
                "The number of toolResult blocks at {at} exceeds the number of toolUse blocks of \
                 previous turn: there is no call {id}."
            )));
        };
        self.open.remove(found);
        match result["status"].as_str() {
            None if result["status"].is_null() => {}
            Some("success" | "error") => {}
            _ => {
                let rule = "satisfy enum value set: [success, error]";
                let at = format!("{at}.status");
                return Err(constraint(&at, &result["status"], rule));
            }
        }
        let parts = result["content"].as_array();
        let parts = parts.ok_or_else(|| missing(&format!("{at}.content")))?;
        let mut turn = Turn::new(Role::Tool, "");
        let mut texts = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let at = format!("{at}.content.{index}");
            match union(part, &at)? {
                ("text", text) => texts.push(self::text(text, &at)?.to_owned()),
                ("json", value) if value.is_object() => texts.push(value.to_string()),
                ("json", _) => {
                    return Err(Refusal::invalid(format!(
                        "The format of the value at {at}.json is invalid. Provide a json object \
                         for the field and try again."
                    )));
                }
                ("image", image) => {
                    media(image, "image", &IMAGES, &at)?;
                    turn.images += 1;
                }
                ("document", value) => document(value, &at)?,
                ("video" | "searchResult", _) => {}
                (name, _) => return Err(unknown_block(name, &at)),
            }
        }
        turn.text = texts.join("\n");
        self.turns.push(turn);
        Ok(())
    }

    fn assistant(&mut self, blocks: &[Value], at: &str) -> Result<(), Refusal> {
        self.all_answered(at)?;
        let mut texts = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let at = format!("{at}.content.{index}");
            match union(block, &at)? {
                ("text", text) => texts.push(self::text(text, &at)?),
                ("toolUse", call) => {
                    self.uses_tools = true;
                    self.open.push(self::call(call, &at)?);
                }
                ("reasoningContent", thought) => self.thought(thought, &at)?,
                ("cachePoint", point) => cache_point(point, &at)?,
                ("citationsContent" | "image" | "audio", _) => {}
                (name, _) => return Err(unknown_block(name, &at)),
            }
        }
        self.turns
            .push(Turn::new(Role::Assistant, texts.join("\n")));
        Ok(())
    }

    fn thought(&self, thought: &Value, at: &str) -> Result<(), Refusal> {
        let (name, value) = union(thought, &format!("{at}.reasoningContent"))?;
        match name {
            "redactedContent" => return Ok(()),
            "reasoningText" => {}
            _ => return Err(unknown_block(name, at)),
        }
        let Some(text) = value["text"].as_str() else {
            let at = format!("{at}.reasoningContent.reasoningText.text");
            return Err(missing(&at));
        };
        let Some(signature) = value["signature"].as_str() else {
            let flaw = format!("{at}.thinking.signature: Field required");
            return Err(by_model(Refusal::invalid(flaw)));
        };
        if seal::holds(self.host, text, signature) {
            return Ok(());
        }
        let flaw = format!("{at}: Invalid `signature` in `thinking` block");
        Err(by_model(Refusal::invalid(flaw)))
    }

    fn all_answered(&self, at: &str) -> Result<(), Refusal> {
        if self.open.is_empty() {
            return Ok(());
        }
        let ids = self.open.join(", ");
        Err(Refusal::invalid(format!(
            "Expected toolResult blocks at {at} for the following Ids: {ids}"
        )))
    }
}

pub(super) fn unknown_block(name: &str, at: &str) -> Refusal {
    Refusal::invalid(format!(
        "The object at {at} must set one of the keys that it may have, not: {name}."
    ))
}

pub(super) fn text<'a>(text: &'a Value, at: &str) -> Result<&'a str, Refusal> {
    let said = text.as_str();
    let said = said.ok_or_else(|| constraint(&format!("{at}.text"), text, "be a text"))?;
    if said.trim().is_empty() {
        return Err(Refusal::invalid(format!(
            "The text field in the ContentBlock object at {at} is blank. Add text to the text \
             field, and try again."
        )));
    }
    Ok(said)
}

pub(super) fn cache_point(point: &Value, at: &str) -> Result<(), Refusal> {
    let kept = [Value::Null, "5m".into(), "1h".into()].contains(&point["ttl"]);
    if point["type"] == "default" && kept {
        return Ok(());
    }
    let rule = "be of type default, with ttl 5m, 1h or none";
    Err(constraint(&format!("{at}.cachePoint"), point, rule))
}

fn call(call: &Value, at: &str) -> Result<String, Refusal> {
    let at = format!("{at}.toolUse");
    let fits = |id: &&str| {
        let fit = |letter: char| letter.is_ascii_alphanumeric() || "_.:-".contains(letter);
        !id.is_empty() && id.len() <= NAME_CHARS_MAX && id.chars().all(fit)
    };
    let id = call["toolUseId"].as_str().filter(fits);
    let id = id.ok_or_else(|| {
        let rule = "satisfy regular expression pattern: [a-zA-Z0-9_.:-]+";
        constraint(&format!("{at}.toolUseId"), &call["toolUseId"], rule)
    })?;
    if !call["name"].as_str().is_some_and(is_name) {
        let rule = "satisfy regular expression pattern: [a-zA-Z0-9_-]+";
        return Err(constraint(&format!("{at}.name"), &call["name"], rule));
    }
    if !call["input"].is_object() {
        return Err(Refusal::invalid(format!(
            "The format of the value at {at}.input is invalid. Provide a json object for the field \
             and try again."
        )));
    }
    Ok(id.to_owned())
}

/// Letters, digits, `_` and `-`: what names of tools are made of.
pub(super) fn is_name(text: &str) -> bool {
    let fit = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    !text.is_empty() && text.len() <= NAME_CHARS_MAX && text.chars().all(fit)
}

fn document(value: &Value, at: &str) -> Result<(), Refusal> {
    let fit = |letter: char| letter.is_alphanumeric() || " \t\n-()[]".contains(letter);
    let named = value["name"].as_str();
    let named = named.ok_or_else(|| missing(&format!("{at}.document.name")))?;
    if named.is_empty() || !named.chars().all(fit) || named.contains("  ") {
        return Err(Refusal::invalid(
            "The document file name can only contain alphanumeric characters, whitespace \
             characters, hyphens, parentheses, and square brackets. The name can't contain more \
             than one consecutive whitespace character.",
        ));
    }
    let source = &value["source"];
    if source["text"].is_string() || source["content"].is_array() {
        return Ok(());
    }
    media(value, "document", &DOCUMENTS, at)
}

/// A format of a list, and bytes in base64 or a place in S3.
fn media(value: &Value, name: &str, formats: &[&str], at: &str) -> Result<(), Refusal> {
    let at = format!("{at}.{name}");
    let format = value["format"].as_str();
    if !format.is_some_and(|format| formats.contains(&format)) {
        let rule = format!("satisfy enum value set: [{}]", formats.join(", "));
        return Err(constraint(&format!("{at}.format"), &value["format"], &rule));
    }
    let at = format!("{at}.source");
    match union(&value["source"], &at)? {
        ("bytes", bytes) => {
            let bytes = bytes.as_str().and_then(base64::decode);
            if bytes.is_some_and(|bytes| !bytes.is_empty()) {
                return Ok(());
            }
            let flaw = format!("The value at {at}.bytes is no base64.");
            Err(Refusal::invalid(flaw).coded("SerializationException"))
        }
        ("s3Location", place)
            if place["uri"]
                .as_str()
                .is_some_and(|uri| uri.starts_with("s3://")) =>
        {
            Ok(())
        }
        (name, value) => Err(constraint(
            &format!("{at}.{name}"),
            value,
            "be a place in S3",
        )),
    }
}
