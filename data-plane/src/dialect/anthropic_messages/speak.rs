//! An answer of another dialect, as Messages.
//!
//! Owns: the whole form, and the events in their order: start, blocks one after the
//! other, delta with the stop reason and usage, stop.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::event::{End, Event, Piece, Said, Stamp, known};
use crate::dialect::{Reported, sse, usage};

fn reason(end: End, calls: bool, stop: Option<&str>) -> &'static str {
    match end {
        End::CutOff => "max_tokens",
        End::Refused => "refusal",
        End::Whole if calls => "tool_use",
        End::Whole if stop.is_some() => "stop_sequence",
        End::Whole => "end_turn",
    }
}

/// A whole answer.
pub(in crate::dialect) fn whole(said: &Said, reported: &Reported, stamp: &Stamp) -> Bytes {
    let blocks = said.pieces.iter().filter_map(|piece| match piece {
        Piece::Text(text) | Piece::Refusal(text) if text.trim().is_empty() => None,
        Piece::Text(text) | Piece::Refusal(text) => Some(json!({ "type": "text", "text": text })),
        Piece::Reasoning(text) => {
            Some(json!({ "type": "thinking", "thinking": text, "signature": "" }))
        }
        Piece::Call(call) => Some(json!({
            "type": "tool_use", "id": call.id, "name": call.name, "input": call.object(),
        })),
    });
    let calls = said.calls().next().is_some();
    let mut message = start(stamp);
    message["content"] = blocks.collect();
    message["stop_reason"] = reason(said.end, calls, said.stop.as_deref()).into();
    message["stop_sequence"] = said.stop.as_deref().into();
    message["usage"] = usage::anthropic(&known(reported.usage));
    Bytes::from(message.to_string())
}

fn start(stamp: &Stamp) -> Value {
    json!({
        "id": format!("msg_{}", stamp.id),
        "type": "message",
        "role": "assistant",
        "model": stamp.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage::anthropic(&known(None)),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    Call,
}

/// A stream under way.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    begun: bool,
    /// Blocks so far.
    blocks: usize,
    open: Option<Open>,
    /// Calls so far: index in the provider's words, and the block.
    calls: Vec<(usize, usize)>,
    end: Option<(End, Option<String>)>,
}

impl Speaker {
    pub(in crate::dialect) fn say(&mut self, event: Event, stamp: &Stamp, out: &mut Vec<u8>) {
        self.begins(stamp, out);
        match event {
            Event::Text(text) | Event::Refusal(text) => {
                self.opens(Open::Text, out);
                self.delta(json!({ "type": "text_delta", "text": text }), out);
            }
            Event::Reasoning(text) => {
                self.opens(Open::Thinking, out);
                self.delta(json!({ "type": "thinking_delta", "thinking": text }), out);
            }
            Event::CallStarts { index, id, name } => {
                self.closes(out);
                let block = self.blocks;
                self.blocks += 1;
                self.open = Some(Open::Call);
                self.calls.push((index, block));
                let call = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                begin(block, &call, out);
            }
            // Also for a block that has ended: readers go by its index.
            Event::CallArguments { index, json } => {
                let known = self.calls.iter().find(|(call, _)| *call == index);
                if let Some((_, block)) = known {
                    let delta = json!({ "type": "input_json_delta", "partial_json": json });
                    emit(
                        "content_block_delta",
                        json!({ "index": block, "delta": delta }),
                        out,
                    );
                }
            }
            Event::Ends { end, stop } => self.end = Some((end, stop)),
        }
    }

    pub(in crate::dialect) fn end(
        &mut self,
        reported: &Reported,
        stamp: &Stamp,
        out: &mut Vec<u8>,
    ) {
        self.begins(stamp, out);
        self.closes(out);
        let (end, stop) = self.end.take().unwrap_or_default();
        let delta = json!({
            "stop_reason": reason(end, !self.calls.is_empty(), stop.as_deref()), "stop_sequence": stop,
        });
        let usage = usage::anthropic(&known(reported.usage));
        emit(
            "message_delta",
            json!({ "delta": delta, "usage": usage }),
            out,
        );
        emit("message_stop", json!({}), out);
    }

    fn begins(&mut self, stamp: &Stamp, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            emit("message_start", json!({ "message": start(stamp) }), out);
        }
    }

    fn opens(&mut self, kind: Open, out: &mut Vec<u8>) {
        if self.open == Some(kind) {
            return;
        }
        self.closes(out);
        let block = match kind {
            Open::Text | Open::Call => json!({ "type": "text", "text": "" }),
            Open::Thinking => json!({ "type": "thinking", "thinking": "", "signature": "" }),
        };
        begin(self.blocks, &block, out);
        self.blocks += 1;
        self.open = Some(kind);
    }

    fn delta(&self, delta: Value, out: &mut Vec<u8>) {
        let index = self.blocks.saturating_sub(1);
        emit(
            "content_block_delta",
            json!({ "index": index, "delta": delta }),
            out,
        );
    }

    /// Ends the open block.
    fn closes(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            let index = self.blocks.saturating_sub(1);
            emit("content_block_stop", json!({ "index": index }), out);
        }
    }
}

fn begin(index: usize, block: &Value, out: &mut Vec<u8>) {
    emit(
        "content_block_start",
        json!({ "index": index, "content_block": block }),
        out,
    );
}

fn emit(kind: &str, fields: Value, out: &mut Vec<u8>) {
    let mut event = json!({ "type": kind });
    if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
        event.extend(fields);
    }
    sse::write_event(kind, &event.to_string(), out);
}
