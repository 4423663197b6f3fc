//! What an Interactions provider says, in words that all dialects share.
//!
//! Owns: reading the steps of an answer, whole or event by event. What cannot be read
//! says nothing. A thought's signature is wanted back with the calls that follow from it,
//! so it travels in their ids.

use serde_json::Value;

use crate::conversation::ToolCall;
use crate::dialect::event::{End, Event, Piece, Said};
use crate::dialect::peek::{at, count, list, text};
use crate::dialect::seal::{self, Signed};

pub(in crate::dialect) fn said(body: &[u8]) -> Said {
    let interaction: Value = serde_json::from_slice(body).unwrap_or_default();
    let (mut pieces, mut signature) = (Vec::new(), None);
    for step in list(&interaction, "steps") {
        match text(step, "type").unwrap_or_default() {
            "model_output" => pieces.extend(texts(step, "content").map(Piece::Text)),
            "thought" => {
                signature = text(step, "signature").map(str::to_owned);
                let thought: String = texts(step, "summary").collect();
                pieces.extend((!thought.is_empty()).then_some(Piece::Reasoning(thought)));
            }
            "function_call" => {
                let arguments =
                    at(step, "arguments").map_or_else(|| "{}".to_owned(), Value::to_string);
                let begun = begun(step, signature.as_deref());
                pieces.push(Piece::Call(ToolCall { arguments, ..begun }));
            }
            _ => {}
        }
    }
    Said {
        pieces,
        end: end(&interaction).unwrap_or_default(),
        stop: None,
    }
}

/// The words of a step's contents.
fn texts<'a>(step: &'a Value, name: &str) -> impl Iterator<Item = String> + 'a {
    let contents = list(step, name).iter();
    let texts = contents.filter_map(|content| text(content, "text"));
    texts.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A call without its arguments.
fn begun(step: &Value, signature: Option<&str>) -> ToolCall {
    ToolCall {
        id: seal::sealed(
            text(step, "id").unwrap_or_default(),
            Signed::Thought,
            signature,
        ),
        name: text(step, "name").unwrap_or_default().to_owned(),
        arguments: String::new(),
    }
}

/// Whether an answer was held back. The words for it are Google's, not the model's.
pub(super) fn is_refused(interaction: &Value) -> bool {
    let held_back = |error: &Value| {
        let code = at(error, "code").map(Value::to_string).unwrap_or_default();
        let code = code.to_ascii_uppercase();
        let words = ["SAFETY", "PROHIBITED", "BLOCKED"];
        words.iter().any(|word| code.contains(word))
    };
    let errors = list(interaction, "errors").iter();
    let steps = list(interaction, "steps").iter();
    let mut errors = errors.chain(steps.filter_map(|step| at(step, "error")));
    errors.any(held_back)
}

/// How an interaction ended, if it did.
fn end(interaction: &Value) -> Option<End> {
    if is_refused(interaction) {
        return Some(End::Refused);
    }
    match text(interaction, "status")? {
        "completed" | "requires_action" => Some(End::Whole),
        "incomplete" | "budget_exceeded" | "requires_continuation" => Some(End::CutOff),
        _ => None,
    }
}

/// What one event adds. `signature` is that of the last thought.
pub(in crate::dialect) fn events(data: &[u8], signature: &mut Option<String>) -> Vec<Event> {
    let event: Value = serde_json::from_slice(data).unwrap_or_default();
    let index = count(&event, "index").and_then(|index| usize::try_from(index).ok());
    let index = index.unwrap_or(0);
    match text(&event, "event_type").unwrap_or_default() {
        "step.start" => {
            let step = at(&event, "step").cloned().unwrap_or_default();
            starts(&step, index, signature)
        }
        "step.delta" => {
            let delta = at(&event, "delta").cloned().unwrap_or_default();
            adds(&delta, index, signature).into_iter().collect()
        }
        "interaction.completed" => {
            let interaction = at(&event, "interaction").cloned().unwrap_or_default();
            let end = end(&interaction).unwrap_or_default();
            vec![Event::Ends { end, stop: None }]
        }
        _ => Vec::new(),
    }
}

/// A step may come with something in it, or empty.
fn starts(step: &Value, index: usize, signature: &mut Option<String>) -> Vec<Event> {
    match text(step, "type").unwrap_or_default() {
        "model_output" => texts(step, "content").map(Event::Text).collect(),
        "thought" => {
            *signature = text(step, "signature").map(str::to_owned);
            texts(step, "summary").map(Event::Reasoning).collect()
        }
        "function_call" => {
            let ToolCall { id, name, .. } = begun(step, signature.as_deref());
            let mut events = vec![Event::CallStarts { index, id, name }];
            let given = at(step, "arguments").and_then(Value::as_object);
            if let Some(given) = given.filter(|given| !given.is_empty()) {
                let json = Value::Object(given.clone()).to_string();
                events.push(Event::CallArguments { index, json });
            }
            events
        }
        _ => Vec::new(),
    }
}

fn adds(delta: &Value, index: usize, signature: &mut Option<String>) -> Option<Event> {
    match text(delta, "type")? {
        "text" => Some(Event::Text(text(delta, "text")?.to_owned())),
        "arguments_delta" => {
            let json = text(delta, "arguments")?.to_owned();
            Some(Event::CallArguments { index, json })
        }
        "thought_summary" => {
            let thought = at(delta, "content").and_then(|content| text(content, "text"));
            Some(Event::Reasoning(thought?.to_owned()))
        }
        "thought_signature" => {
            *signature = text(delta, "signature").map(str::to_owned);
            None
        }
        _ => None,
    }
}
