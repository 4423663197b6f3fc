//! The OpenAI Responses wire: the items of an input.
//!
//! Owns: adding them to a conversation, and which may follow which. It must not know the
//! rest of a request.

use serde_json::Value;

use crate::ask::{Refusal, Role, Turn};
use crate::seal;
use crate::shelf::Thread;
use crate::wire::Inbound;
use crate::wire::openai::{self, missing, wrong_type, wrong_value};
use crate::wire::openai_responses::REASONING;

/// Adds an input to the conversation before it.
pub(super) fn add(
    inbound: &Inbound<'_>,
    input: &Value,
    thread: &mut Thread,
) -> Result<(), Refusal> {
    match input {
        Value::Null => return Err(missing("input")),
        Value::String(text) => thread.turns.push(Turn::new(Role::User, text.clone())),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                add_item(inbound, item, &format!("input[{index}]"), thread)?;
            }
        }
        _ => return Err(wrong_type("input", "a string or an array of items")),
    }
    match thread.open_calls.first() {
        None => Ok(()),
        Some(call) => {
            let message = format!("No tool output found for function call {call}.");
            Err(Refusal::invalid(message).about("input"))
        }
    }
}

fn add_item(
    inbound: &Inbound<'_>,
    item: &Value,
    at: &str,
    thread: &mut Thread,
) -> Result<(), Refusal> {
    let text = |name: &str| {
        let value = item[name].as_str();
        value.ok_or_else(|| missing(format!("{at}.{name}")))
    };
    match item["type"].as_str() {
        None | Some("message") => thread.turns.push(message(item, at)?),
        Some("function_call") => {
            text("name")?;
            text("arguments")?;
            thread.open_calls.push(text("call_id")?.to_owned());
        }
        Some("function_call_output") => {
            let call = text("call_id")?;
            let Some(found) = thread.open_calls.iter().position(|open| open == call) else {
                let message =
                    format!("No tool call found for function call output with call_id {call}.");
                return Err(Refusal::invalid(message).about("input"));
            };
            thread.open_calls.remove(found);
            let output = content(Role::Tool, &item["output"], &format!("{at}.output"))?;
            thread.turns.push(output);
        }
        Some("reasoning") => {
            let sealed = &item["encrypted_content"];
            let own = |sealed: &str| seal::holds(inbound.host, REASONING, sealed);
            if !sealed.is_null() && !sealed.as_str().is_some_and(own) {
                let message = "The encrypted content could not be verified.";
                return Err(Refusal::invalid(message).coded("invalid_encrypted_content"));
            }
        }
        Some("item_reference") => {
            let id = text("id")?;
            let known = inbound.shelf.item(id, inbound.owner);
            let known = known.ok_or_else(|| {
                Refusal::new(404, format!("Item with id '{id}' not found.")).about("input")
            })?;
            add_item(inbound, &known, at, thread)?;
        }
        Some("custom_tool_call" | "custom_tool_call_output" | "compaction") => {}
        _ => return Err(wrong_value(format!("{at}.type"), &item["type"])),
    }
    Ok(())
}

fn message(item: &Value, at: &str) -> Result<Turn, Refusal> {
    let role = match item["role"].as_str() {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => return Err(wrong_value(format!("{at}.role"), &item["role"])),
    };
    content(role, &item["content"], &format!("{at}.content"))
}

fn content(role: Role, content: &Value, at: &str) -> Result<Turn, Refusal> {
    let parts = match content {
        Value::String(text) => return Ok(Turn::new(role, text.clone())),
        Value::Array(parts) => parts,
        _ => return Err(wrong_type(at, "a string or an array of parts")),
    };
    let said = role == Role::Assistant;
    let mut texts = Vec::new();
    let mut images = 0;
    for (index, part) in parts.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let text = |name: &str| {
            let value = part[name].as_str();
            value.ok_or_else(|| missing(format!("{at}.{name}")))
        };
        match part["type"].as_str() {
            Some("input_text") if !said => texts.push(text("text")?),
            Some("output_text") if said => texts.push(text("text")?),
            Some("refusal") if said => texts.push(text("refusal")?),
            Some("input_image") if !said => {
                openai::image(part["image_url"].as_str(), &format!("{at}.image_url"))?;
                images += 1;
            }
            Some("input_file" | "input_audio") if !said => {}
            _ => return Err(wrong_value(format!("{at}.type"), &part["type"])),
        }
    }
    let mut turn = Turn::new(role, texts.join("\n"));
    turn.images = images;
    Ok(turn)
}
