//! The Anthropic Messages wire: the messages of a request.
//!
//! Owns: their blocks, and which block may follow which. It must not know the rest of a
//! request.

use serde_json::Value;

use super::{flawed, is_name, required};
use crate::ask::{Refusal, Role, Turn};
use crate::base64;
use crate::seal;

/// The sorts of images that are read.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// What has been read so far.
struct Reading<'a> {
    host: &'a str,
    turns: Vec<Turn>,
    /// Calls of the last message, which the next one has to answer.
    open: Vec<String>,
}

/// The conversation, or what is wrong with it.
pub(super) fn read(host: &str, messages: &Value) -> Result<Vec<Turn>, Refusal> {
    let messages = messages.as_array().ok_or_else(|| required("messages"))?;
    if messages.is_empty() {
        return Err(flawed("messages", "at least one message is required"));
    }
    if messages.first().is_some_and(|m| m["role"] == "assistant") {
        let flaw = "first message must use the \"user\" role";
        return Err(flawed("messages", flaw));
    }
    let mut reading = Reading {
        host,
        turns: Vec::new(),
        open: Vec::new(),
    };
    for (index, message) in messages.iter().enumerate() {
        let last = index + 1 == messages.len();
        reading.message(message, &format!("messages.{index}"), last)?;
    }
    reading.all_answered("messages")?;
    Ok(reading.turns)
}

impl Reading<'_> {
    fn message(&mut self, message: &Value, at: &str, last: bool) -> Result<(), Refusal> {
        let role = match message["role"].as_str() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            _ => {
                return Err(Refusal::invalid(format!(
                    "{at}.role: Unexpected role {}. Allowed roles are \"user\" or \"assistant\"",
                    message["role"]
                )));
            }
        };
        let prefill = role == Role::Assistant && last;
        let blocks = match &message["content"] {
            Value::String(text) if text.is_empty() && !prefill => return Err(empty(at)),
            Value::String(text) => {
                self.all_answered(at)?;
                self.turns.push(Turn::new(role, text.clone()));
                return Ok(());
            }
            Value::Array(blocks) if blocks.is_empty() && !prefill => return Err(empty(at)),
            Value::Array(blocks) => blocks,
            _ => {
                let name = format!("{at}.content");
                return Err(flawed(&name, "Input should be a valid string or array"));
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
        for (index, block) in blocks.iter().enumerate() {
            let at = format!("{at}.content.{index}");
            if block["type"] == "tool_result" {
                self.result(block, &at)?;
                continue;
            }
            // Results come first: anything before them separates them from their calls.
            self.all_answered(&at)?;
            match block["type"].as_str() {
                Some("text") => texts.push(text(block, &at)?),
                Some("image") => {
                    image(&block["source"], &at)?;
                    turn.images += 1;
                }
                Some("document" | "search_result" | "container_upload") => {}
                _ => return Err(unknown_block(block, &at)),
            }
        }
        self.all_answered(at)?;
        if !texts.is_empty() || turn.images > 0 {
            turn.text = texts.join("\n");
            self.turns.push(turn);
        }
        Ok(())
    }

    fn result(&mut self, block: &Value, at: &str) -> Result<(), Refusal> {
        let id = block["tool_use_id"].as_str();
        let id = id.ok_or_else(|| required(&format!("{at}.tool_result.tool_use_id")))?;
        let Some(found) = self.open.iter().position(|open| open == id) else {
            let flaw = format!(
                "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` \
                 block must have a corresponding `tool_use` block in the previous message."
            );
            return Err(flawed(at, &flaw));
        };
        self.open.remove(found);
        let mut turn = Turn::new(Role::Tool, "");
        match &block["content"] {
            Value::Null => {}
            Value::String(text) => turn.text.clone_from(text),
            Value::Array(parts) => {
                let mut texts = Vec::new();
                for (index, part) in parts.iter().enumerate() {
                    let at = format!("{at}.tool_result.content.{index}");
                    match part["type"].as_str() {
                        Some("text") => texts.push(text(part, &at)?),
                        Some("image") => {
                            image(&part["source"], &at)?;
                            turn.images += 1;
                        }
                        Some("document" | "search_result") => {}
                        _ => return Err(unknown_block(part, &at)),
                    }
                }
                turn.text = texts.join("\n");
            }
            _ => return Err(flawed(at, "Input should be a valid string or array")),
        }
        self.turns.push(turn);
        Ok(())
    }

    fn assistant(&mut self, blocks: &[Value], at: &str) -> Result<(), Refusal> {
        self.all_answered(at)?;
        let mut texts = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let at = format!("{at}.content.{index}");
            match block["type"].as_str() {
                Some("text") => texts.push(text(block, &at)?),
                Some("tool_use") => self.open.push(call(block, &at)?),
                Some("thinking") => {
                    let thoughts = block["thinking"].as_str();
                    let signature = block["signature"].as_str();
                    let name = format!("{at}.thinking.signature");
                    let signature = signature.ok_or_else(|| required(&name))?;
                    if !seal::holds(self.host, thoughts.unwrap_or_default(), signature) {
                        let flaw = "Invalid `signature` in `thinking` block";
                        return Err(flawed(&at, flaw));
                    }
                }
                Some("redacted_thinking" | "server_tool_use" | "web_search_tool_result") => {}
                _ => return Err(unknown_block(block, &at)),
            }
        }
        self.turns
            .push(Turn::new(Role::Assistant, texts.join("\n")));
        Ok(())
    }

    fn all_answered(&self, at: &str) -> Result<(), Refusal> {
        if self.open.is_empty() {
            return Ok(());
        }
        let flaw = format!(
            "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
             `tool_use` block must have a corresponding `tool_result` block in the next message.",
            self.open.join(", ")
        );
        Err(flawed(at, &flaw))
    }
}

fn empty(at: &str) -> Refusal {
    let flaw = "all messages must have non-empty content except for the optional final \
        assistant message";
    flawed(at, flaw)
}

fn unknown_block(block: &Value, at: &str) -> Refusal {
    let flaw = format!(
        "Input tag {} does not match any of the expected tags",
        block["type"]
    );
    flawed(at, &flaw)
}

fn text<'a>(block: &'a Value, at: &str) -> Result<&'a str, Refusal> {
    match block["text"].as_str() {
        None => Err(required(&format!("{at}.text.text"))),
        Some("") => Err(flawed("messages", "text content blocks must be non-empty")),
        Some(text) => Ok(text),
    }
}

fn call(block: &Value, at: &str) -> Result<String, Refusal> {
    let member = |name: &str| format!("{at}.tool_use.{name}");
    let id = block["id"]
        .as_str()
        .ok_or_else(|| required(&member("id")))?;
    if !is_name(id) {
        let flaw = "String should match pattern '^[a-zA-Z0-9_-]+$'";
        return Err(flawed(&member("id"), flaw));
    }
    if !block["name"].as_str().is_some_and(is_name) {
        return Err(required(&member("name")));
    }
    if !block["input"].is_object() {
        return Err(flawed(
            &member("input"),
            "Input should be a valid dictionary",
        ));
    }
    Ok(id.to_owned())
}

fn image(source: &Value, at: &str) -> Result<(), Refusal> {
    let name = format!("{at}.image.source");
    match source["type"].as_str() {
        Some("base64") => {
            let sort = source["media_type"].as_str();
            if !sort.is_some_and(|sort| IMAGES.contains(&sort)) {
                let flaw = "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'";
                return Err(flawed(&format!("{name}.base64.media_type"), flaw));
            }
            let bytes = source["data"].as_str().and_then(base64::decode);
            match bytes {
                Some(bytes) if !bytes.is_empty() => Ok(()),
                _ => Err(flawed(&format!("{name}.base64"), "invalid base64 data")),
            }
        }
        Some("url") => {
            let url = source["url"].as_str().unwrap_or_default();
            if url.starts_with("https://") || url.starts_with("http://") {
                Ok(())
            } else {
                Err(flawed(
                    &format!("{name}.url"),
                    "Only HTTPS URLs are supported.",
                ))
            }
        }
        Some("file") => Ok(()),
        _ => Err(required(&format!("{name}.type"))),
    }
}
