//! Frames, cut out of a provider's stream.
//!
//! Owns: which framing a dialect has, and reading AWS's binary one. Its messages become
//! frames as all others are, so that nothing behind this knows two kinds: an event is an
//! object with its name, as AWS's SDKs have it, an exception an object with an `error`.

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::event_stream::Message;
use bytes::BytesMut;
use serde_json::{Value, json};
use spillway_routing::dialect::Dialect;

use super::peek::text;
use super::sse::{self, FRAME_BYTES_MAX, Frame, FrameTooLong};

/// Why no frame can be cut out of what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unframed {
    #[error(transparent)]
    TooLong(#[from] FrameTooLong),
    #[error("what came is no frame, or was changed on its way")]
    Garbled,
}

#[derive(Debug)]
pub(crate) enum Splitter {
    Events(sse::Splitter),
    Messages(Messages),
}

impl Splitter {
    pub(crate) fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::BedrockConverse => Self::Messages(Messages::default()),
            Dialect::OpenAiChat
            | Dialect::OpenAiResponses
            | Dialect::AnthropicMessages
            | Dialect::GeminiGenerate
            | Dialect::GeminiInteractions
            | Dialect::OpenAiEmbeddings
            | Dialect::OpenAiImages => Self::Events(sse::Splitter::default()),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Events(events) => events.push(bytes),
            Self::Messages(messages) => messages.buffer.extend_from_slice(bytes),
        }
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Unframed> {
        match self {
            Self::Events(events) => Ok(events.next()?),
            Self::Messages(messages) => messages.next(),
        }
    }

    /// What is left at the end of the stream. Half a message is none.
    pub(crate) fn finish(&mut self) -> Option<Frame> {
        match self {
            Self::Events(events) => events.finish(),
            Self::Messages(_) => None,
        }
    }
}

/// Messages of `application/vnd.amazon.eventstream`.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    buffer: BytesMut,
}

impl Messages {
    fn next(&mut self) -> Result<Option<Frame>, Unframed> {
        let Some(length) = self.buffer.first_chunk() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            // Whatever is no message at all mostly looks like an endless one.
            return Err(FrameTooLong.into());
        }
        if self.buffer.len() < length {
            return Ok(None);
        }
        let message = read_message_from(self.buffer.split_to(length).freeze());
        frame(&message.map_err(|_| Unframed::Garbled)?).map(Some)
    }
}

fn frame(message: &Message) -> Result<Frame, Unframed> {
    let header = |wanted: &str| {
        let mut headers = message.headers().iter();
        let found = headers.find(|header| header.name().as_str() == wanted);
        found.and_then(|header| Some(header.value().as_string().ok()?.as_str()))
    };
    let payload: Option<Value> = serde_json::from_slice(message.payload()).ok();
    let error = |kind: Option<&str>, said: Option<&str>| {
        let said = said.or_else(|| text(payload.as_ref()?, "message"));
        json!({ "error": { "type": kind, "message": said } })
    };
    let data = match header(":message-type") {
        Some("event") => {
            let name = header(":event-type").ok_or(Unframed::Garbled)?;
            json!({ name: payload.ok_or(Unframed::Garbled)? })
        }
        Some("exception") => error(header(":exception-type"), None),
        _ => error(header(":error-code"), header(":error-message")),
    };
    let mut frame = Vec::new();
    sse::write_data(&data.to_string(), &mut frame);
    Ok(Frame(frame.into()))
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn message(kind: &str, name: &str, payload: &str) -> Vec<u8> {
        let text = |text: &str| HeaderValue::String(text.to_owned().into());
        let message = Message::new(payload.as_bytes().to_vec())
            .add_header(Header::new(":message-type", text(kind)))
            .add_header(Header::new(format!(":{kind}-type"), text(name)));
        let mut bytes = Vec::new();
        write_message_to(&message, &mut bytes).unwrap();
        bytes
    }

    fn cut(pieces: &[&[u8]]) -> Result<Vec<String>, Unframed> {
        let mut splitter = Splitter::of(Dialect::BedrockConverse);
        let mut frames = Vec::new();
        for piece in pieces {
            splitter.push(piece);
            while let Some(frame) = splitter.next()? {
                frames.push(String::from_utf8(frame.data().unwrap().into_owned()).unwrap());
            }
        }
        assert_eq!(splitter.finish(), None);
        Ok(frames)
    }

    fn stream() -> Vec<u8> {
        let delta = r#"{"contentBlockIndex":0,"delta":{"text":"dé\n"}}"#;
        let late = r#"{"message":"later"}"#;
        let delta = message("event", "contentBlockDelta", delta);
        [delta, message("exception", "throttlingException", late)].concat()
    }

    #[test]
    fn a_split_at_every_byte_gives_the_same_frames() {
        let stream = stream();
        let frames = [
            r#"{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"text":"dé\n"}}}"#,
            r#"{"error":{"type":"throttlingException","message":"later"}}"#,
        ];
        for at in 0..stream.len() {
            assert_eq!(cut(&[&stream[..at], &stream[at..]]).unwrap(), frames);
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(cut(&bytes).unwrap(), frames);
    }

    #[test]
    fn an_error_that_aws_did_not_model_has_no_payload() {
        let text = |text: &str| HeaderValue::String(text.to_owned().into());
        let message = Message::new(Vec::new())
            .add_header(Header::new(":message-type", text("error")))
            .add_header(Header::new(":error-code", text("ThrottlingException")))
            .add_header(Header::new(":error-message", text("later")));
        let mut bytes = Vec::new();
        write_message_to(&message, &mut bytes).unwrap();
        let said = r#"{"error":{"type":"ThrottlingException","message":"later"}}"#;
        assert_eq!(cut(&[&bytes]).unwrap(), [said]);
    }

    #[test]
    fn a_changed_byte_is_no_frame() {
        let mut stream = stream();
        stream[40] ^= 1;
        assert_eq!(cut(&[&stream]), Err(Unframed::Garbled));
        assert!(cut(&[b"<html>bad gateway</html>"]).is_err());
    }

    #[test]
    fn an_endless_message_is_refused() {
        let mut splitter = Splitter::of(Dialect::BedrockConverse);
        let length = u32::try_from(FRAME_BYTES_MAX * 2).unwrap().to_be_bytes();
        splitter.push(&[length.as_slice(), &vec![0; FRAME_BYTES_MAX + 1]].concat());
        assert!(splitter.next().is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = cut(&[&bytes]);
        }
    }
}
