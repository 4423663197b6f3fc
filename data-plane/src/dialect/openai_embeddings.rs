//! OpenAI Embeddings.
//!
//! Owns: what is embedded, for counting, and whether an answer is one. Nothing of it is
//! ever translated: vectors of one model mean nothing to another. Pure.

use serde_json::Value;
use spillway_routing::prompt::Role;

use super::peek::{at, list};
use super::{Answer, Garbled, Read, Reported, WireRequest, required_model, usage};
use crate::chat::{Body, quoted};
use crate::conversation::{Conversation, Part, Turn};
use crate::failure::{Failure, Kind};

const PATH: &str = "/embeddings";
const ONCE: [&str; 3] = ["model", "input", "start_within"];
/// Token ids that are counted at most.
const IDS_MAX: usize = 100_000;

pub(super) fn read(body: &Body) -> Result<Read, Failure> {
    body.once(&ONCE)?;
    let input = body.value("input").filter(|input| !input.is_null());
    let input = input.ok_or_else(|| {
        let message = "input is missing; send a text, a list of texts or token ids";
        Failure::client(Kind::BadRequest, message).about("input")
    })?;
    let mut texts = Vec::new();
    gather(&input, &mut texts);
    let conversation = Conversation {
        turns: vec![Turn {
            role: Role::User,
            parts: vec![Part::Text(texts.join("\n"))],
        }],
        max_output: Some(1),
        ..Conversation::default()
    };
    Ok(Read {
        model: required_model(body.text("model"))?,
        stream: false,
        wants_usage: false,
        conversation,
    })
}

/// Texts, and for token ids words of one token each: only their number counts.
fn gather(input: &Value, texts: &mut Vec<String>) {
    match input {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) if items.iter().all(Value::is_number) => {
            texts.push(" a".repeat(items.len().min(IDS_MAX)));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, texts)),
        _ => {}
    }
}

/// The caller's body with this lane's model; all other values byte for byte.
pub(super) fn forward(body: &Body, wire_model: &str) -> WireRequest {
    let model = quoted(wire_model);
    WireRequest {
        path: PATH.into(),
        body: body.rewritten(&[("model", &model)], &["model", "start_within"]),
    }
}

/// A whole answer: at least one vector.
pub(super) fn answer(body: &[u8]) -> Result<Answer, Garbled> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Garbled)?;
    let vectors = list(&body, "data");
    let has_vector = |item: &Value| at(item, "embedding").is_some();
    if vectors.is_empty() || !vectors.iter().all(has_vector) {
        return Err(Garbled);
    }
    Ok(Answer {
        content: 0,
        reported: Reported {
            usage: usage::found(&body, "usage").and_then(usage::of_embeddings),
            ..Reported::default()
        },
    })
}
