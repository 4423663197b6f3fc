//! Errors as callers and providers write them.
//!
//! Owns: the error form of each dialect, the frame that ends a broken stream, and the
//! message in whatever form a provider sent.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use spillway_routing::dialect::Dialect;

use super::peek::{at, text};
use super::{anthropic_messages, google, sse};

/// What an error says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorParts<'a> {
    pub(crate) status: StatusCode,
    pub(crate) message: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) param: Option<&'a str>,
    pub(crate) code: &'a str,
    /// JSON that an SDK may act upon; only Messages has a place for it.
    pub(crate) details: Option<&'a str>,
}

impl ErrorParts<'_> {
    fn openai(&self) -> Value {
        json!({ "message": self.message, "type": self.kind, "param": self.param, "code": self.code })
    }

    /// Interactions has words for codes.
    fn named(&self) -> Value {
        let code = google::error_name(self.status).to_ascii_lowercase();
        json!({ "code": code, "message": self.message })
    }
}

/// An error's body.
pub(crate) fn error_form(dialect: Dialect, parts: &ErrorParts<'_>) -> Bytes {
    match dialect {
        Dialect::OpenAiChat
        | Dialect::OpenAiResponses
        | Dialect::BedrockConverse
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages => Bytes::from(json!({ "error": parts.openai() }).to_string()),
        Dialect::AnthropicMessages => anthropic_messages::error_form(parts),
        Dialect::GeminiGenerate => {
            let status = google::error_name(parts.status);
            let code = parts.status.as_u16();
            let error = json!({ "code": code, "message": parts.message, "status": status });
            Bytes::from(json!({ "error": error }).to_string())
        }
        Dialect::GeminiInteractions => Bytes::from(json!({ "error": parts.named() }).to_string()),
    }
}

/// How a stream is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Events,
    /// One JSON array, of which something has gone out or nothing yet.
    Array {
        begun: bool,
    },
}

/// The frame that ends a broken stream.
pub(crate) fn error_frame(dialect: Dialect, parts: &ErrorParts<'_>, framing: Framing) -> Bytes {
    let form = error_form(dialect, parts);
    let form = String::from_utf8_lossy(&form);
    let mut frame = Vec::new();
    match dialect {
        Dialect::OpenAiChat
        | Dialect::BedrockConverse
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages => sse::write_data(&form, &mut frame),
        // The official SDKs raise where an event has an `error`; the documented form has
        // its fields beside it.
        Dialect::OpenAiResponses => {
            let mut event = parts.openai();
            event["type"] = "error".into();
            event["error"] = parts.openai();
            sse::write_event("error", &event.to_string(), &mut frame);
        }
        Dialect::AnthropicMessages => sse::write_event("error", &form, &mut frame),
        Dialect::GeminiInteractions => {
            let event = json!({ "event_type": "error", "error": parts.named() });
            sse::write_event("error", &event.to_string(), &mut frame);
        }
        Dialect::GeminiGenerate => match framing {
            Framing::Events => sse::write_data(&form, &mut frame),
            Framing::Array { begun } => {
                frame.extend_from_slice(if begun { b",\n" } else { b"[" });
                frame.extend_from_slice(form.as_bytes());
                frame.push(b']');
            }
        },
    }
    Bytes::from(frame)
}

fn is_openai(dialect: Dialect) -> bool {
    matches!(
        dialect,
        Dialect::OpenAiChat
            | Dialect::OpenAiResponses
            | Dialect::OpenAiEmbeddings
            | Dialect::OpenAiImages
    )
}

/// Whether an error of one dialect can be shown to callers of another as it is.
pub(crate) fn is_error_form(own: Dialect, from: Dialect, body: &[u8]) -> bool {
    let same = own == from || (is_openai(own) && is_openai(from));
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    same && at(&body, "error").is_some_and(Value::is_object)
}

/// The message of a provider's error, whichever its form.
pub(crate) fn error_message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let body = body.get(0).unwrap_or(&body);
    let nested = at(body, "response").and_then(|response| at(response, "error"));
    let error = nested.or_else(|| at(body, "error")).unwrap_or(body);
    let message = text(error, "message").or_else(|| error.as_str())?;
    Some(message.to_owned())
}
