//! An answer of another dialect, as generateContent.
//!
//! Owns: the whole form, and its chunks. Calls are told in one piece, so their arguments
//! are kept until they are whole. A stream is server-sent events, or one JSON array
//! where the caller did not ask for events.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::conversation::ToolCall;
use crate::dialect::event::{End, Event, Piece, Said, Stamp, known};
use crate::dialect::seal::{self, Signed};
use crate::dialect::{Reported, sse, usage};

fn reason(end: End) -> &'static str {
    match end {
        End::Whole => "STOP",
        End::CutOff => "MAX_TOKENS",
        End::Refused => "SAFETY",
    }
}

/// A whole answer.
pub(in crate::dialect) fn whole(said: &Said, reported: &Reported, stamp: &Stamp) -> Bytes {
    let parts: Vec<Value> = said.pieces.iter().map(part).collect();
    let body = body(&parts, Some(said.end), Some(reported), stamp);
    Bytes::from(body.to_string())
}

fn part(piece: &Piece) -> Value {
    match piece {
        Piece::Text(text) | Piece::Refusal(text) => json!({ "text": text }),
        Piece::Reasoning(text) => json!({ "text": text, "thought": true }),
        Piece::Call(call) => {
            // Google's own models want every call signed when it comes back, and what
            // another of its dialects signed stays in the id.
            let foreign = seal::signature(&call.id, Signed::Thought).is_some();
            let id = if foreign {
                &call.id
            } else {
                seal::stripped(&call.id)
            };
            json!({
                "functionCall": { "id": id, "name": call.name, "args": call.object() },
                "thoughtSignature": seal::UNSIGNED,
            })
        }
    }
}

fn body(parts: &[Value], end: Option<End>, reported: Option<&Reported>, stamp: &Stamp) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    if let Some(end) = end {
        candidate["finishReason"] = reason(end).into();
    }
    let mut body = json!({ "candidates": [candidate] });
    if let Some(reported) = reported {
        body["usageMetadata"] = usage::gemini(&known(reported.usage));
    }
    body["modelVersion"] = stamp.model.as_str().into();
    body["responseId"] = stamp.id.as_str().into();
    body
}

/// A stream under way.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    /// Calls that are still being written, by their index.
    calls: Vec<(usize, ToolCall)>,
    end: Option<End>,
    /// Something went out.
    begun: bool,
}

impl Speaker {
    pub(in crate::dialect) fn say(&mut self, event: Event, stamp: &Stamp, out: &mut Vec<u8>) {
        let piece = match event {
            Event::Text(text) => Piece::Text(text),
            Event::Refusal(text) => Piece::Refusal(text),
            Event::Reasoning(text) => Piece::Reasoning(text),
            Event::CallStarts { index, id, name } => {
                let arguments = String::new();
                let call = ToolCall {
                    id,
                    name,
                    arguments,
                };
                return self.calls.push((index, call));
            }
            Event::CallArguments { index, json } => {
                let call = self.calls.iter_mut().find(|(known, _)| *known == index);
                if let Some((_, call)) = call {
                    call.arguments.push_str(&json);
                }
                return;
            }
            Event::Ends { end, .. } => {
                self.end = Some(end);
                return;
            }
        };
        let mut parts = self.finished();
        parts.push(part(&piece));
        self.chunk(&body(&parts, None, None, stamp), stamp, out);
    }

    pub(in crate::dialect) fn end(
        &mut self,
        reported: &Reported,
        stamp: &Stamp,
        out: &mut Vec<u8>,
    ) {
        let parts = self.finished();
        let end = self.end.unwrap_or_default();
        let body = body(&parts, Some(end), Some(reported), stamp);
        self.chunk(&body, stamp, out);
        if !stamp.framed {
            out.extend_from_slice(b"]");
        }
    }

    fn finished(&mut self) -> Vec<Value> {
        let calls = self.calls.drain(..);
        calls.map(|(_, call)| part(&Piece::Call(call))).collect()
    }

    fn chunk(&mut self, body: &Value, stamp: &Stamp, out: &mut Vec<u8>) {
        let first = !std::mem::replace(&mut self.begun, true);
        if stamp.framed {
            return sse::write_data(&body.to_string(), out);
        }
        out.extend_from_slice(if first { b"[" } else { b",\n" });
        out.extend_from_slice(body.to_string().as_bytes());
    }
}
