//! OpenAI Images, generations.
//!
//! Owns: what is asked for, for counting, what an event of a stream means, and whether an
//! answer is one. Nothing of it is ever translated. Pure.

use http::StatusCode;
use serde_json::Value;
use spillway_routing::prompt::Role;

use super::peek::{at, list, text};
use super::{
    Answer, Garbled, Meaning, Read, Reported, WireRequest, openai_chat, required_model, usage,
};
use crate::chat::{Body, quoted};
use crate::conversation::{Conversation, Part, Turn};
use crate::failure::{Failure, Kind};

const PATH: &str = "/images/generations";
const ONCE: [&str; 4] = ["model", "prompt", "stream", "start_within"];

pub(super) fn read(body: &Body) -> Result<Read, Failure> {
    body.once(&ONCE)?;
    let prompt = body.text("prompt").ok_or_else(|| {
        let message = "prompt is missing or no text; say what is to be seen";
        Failure::client(Kind::BadRequest, message).about("prompt")
    })?;
    let conversation = Conversation {
        turns: vec![Turn {
            role: Role::User,
            parts: vec![Part::Text(prompt)],
        }],
        ..Conversation::default()
    };
    Ok(Read {
        model: required_model(body.text("model"))?,
        stream: body.flag("stream")?,
        wants_usage: true,
        conversation,
    })
}

/// The caller's body with this lane's model; all other values byte for byte.
pub(super) fn forward(body: &Body, wire_model: &str) -> WireRequest {
    let model = quoted(wire_model);
    WireRequest {
        path: PATH.into(),
        body: body.rewritten(&[("model", &model)], &["model", "start_within"]),
    }
}

/// What one event means. An event that cannot be read means nothing and is passed on.
pub(super) fn meaning(data: &[u8]) -> Meaning {
    let event: Value = serde_json::from_slice(data).unwrap_or_default();
    let kind = text(&event, "type").unwrap_or_default();
    let whole = kind == "image_generation.completed";
    let error = at(&event, "error").or((kind == "error").then_some(&event));
    Meaning {
        content: u32::from(kind.starts_with("image_generation.")),
        finished: whole,
        done: whole,
        reported: reported(&event),
        error: error.map(|error| openai_chat::blame_of(StatusCode::OK, Some(error))),
        ..Meaning::default()
    }
}

fn reported(body: &Value) -> Reported {
    Reported {
        usage: usage::found(body, "usage").and_then(usage::of_responses),
        ..Reported::default()
    }
}

/// A whole answer: at least one image.
pub(super) fn answer(body: &[u8]) -> Result<Answer, Garbled> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Garbled)?;
    let images = list(&body, "data");
    let is_image = |item: &Value| at(item, "b64_json").or(at(item, "url")).is_some();
    if images.is_empty() || !images.iter().all(is_image) {
        return Err(Garbled);
    }
    Ok(Answer {
        content: 0,
        reported: reported(&body),
    })
}
