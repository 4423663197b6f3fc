//! The frames of an AWS event stream.
//!
//! Owns: their headers and their binary form. It must not know what the events mean.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::Value;

/// What every stream consists of.
pub(in crate::wire) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

pub(super) fn event(name: &'static str, payload: &Value) -> Bytes {
    frame("event", ":event-type", name, payload)
}

/// The end of a stream that failed.
pub(super) fn exception(name: &'static str, payload: &Value) -> Bytes {
    frame("exception", ":exception-type", name, payload)
}

fn frame(sort: &'static str, key: &'static str, name: &'static str, payload: &Value) -> Bytes {
    let header = |key: &'static str, value: &'static str| {
        Header::new(key, HeaderValue::String(value.into()))
    };
    let message = Message::new(payload.to_string())
        .add_header(header(key, name))
        .add_header(header(":content-type", "application/json"))
        .add_header(header(":message-type", sort));
    let mut bytes = Vec::new();
    match write_message_to(&message, &mut bytes) {
        Ok(()) => Bytes::from(bytes),
        // Only a payload beyond the format's limit does not fit; no answer is that long.
        Err(_) => Bytes::new(),
    }
}
