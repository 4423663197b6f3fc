//! An answer of another dialect, as Interactions.
//!
//! Owns: the whole form, and the events in their order: created, steps one after the
//! other, completed with usage.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use crate::dialect::event::{End, Event, Piece, Said, Stamp, known};
use crate::dialect::{Reported, sse, usage};

/// Nothing is kept, so nothing can be gone on from; an id is there all the same.
const ID: &str = "int_";

fn status(end: End, calls: bool) -> &'static str {
    match end {
        End::CutOff => "incomplete",
        End::Refused => "failed",
        End::Whole if calls => "requires_action",
        End::Whole => "completed",
    }
}

/// A whole answer.
pub(in crate::dialect) fn whole(said: &Said, reported: &Reported, stamp: &Stamp) -> Bytes {
    let steps: Vec<Value> = said.pieces.iter().map(step).collect();
    let status = status(said.end, said.calls().next().is_some());
    let mut interaction = interaction(status, stamp);
    interaction["steps"] = steps.into();
    interaction["usage"] = usage::interactions(&known(reported.usage));
    if said.end == End::Refused {
        interaction["errors"] = json!([withheld()]);
    }
    Bytes::from(interaction.to_string())
}

/// Why an answer has the status of a failure.
fn withheld() -> Value {
    json!({ "code": "safety", "message": "the model did not answer" })
}

fn interaction(status: &str, stamp: &Stamp) -> Value {
    let at = i64::try_from(stamp.created).ok();
    let at = at.and_then(|at| DateTime::from_timestamp(at, 0));
    let at = at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
    json!({
        "id": format!("{ID}{}", stamp.id),
        "object": "interaction",
        "model": stamp.model,
        "status": status,
        "created": at,
        "updated": at,
    })
}

fn content(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn step(piece: &Piece) -> Value {
    match piece {
        Piece::Text(text) | Piece::Refusal(text) => {
            json!({ "type": "model_output", "content": [content(text)] })
        }
        Piece::Reasoning(text) => json!({ "type": "thought", "summary": [content(text)] }),
        Piece::Call(call) => json!({
            "type": "function_call", "id": call.id, "name": call.name, "arguments": call.object(),
        }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Output,
    Thought,
    Call,
}

/// A stream under way.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    begun: bool,
    /// Steps so far.
    steps: usize,
    open: Option<Open>,
    /// Calls so far: index in the provider's words, and the step.
    calls: Vec<(usize, usize)>,
    end: Option<End>,
}

impl Speaker {
    pub(in crate::dialect) fn say(&mut self, event: Event, stamp: &Stamp, out: &mut Vec<u8>) {
        self.begins(stamp, out);
        match event {
            Event::Text(text) | Event::Refusal(text) => {
                self.opens(Open::Output, out);
                let delta = content(&text);
                emit(
                    "step.delta",
                    json!({ "index": self.last(), "delta": delta }),
                    out,
                );
            }
            Event::Reasoning(text) => {
                self.opens(Open::Thought, out);
                let delta = json!({ "type": "thought_summary", "content": content(&text) });
                emit(
                    "step.delta",
                    json!({ "index": self.last(), "delta": delta }),
                    out,
                );
            }
            Event::CallStarts { index, id, name } => {
                let call =
                    json!({ "type": "function_call", "id": id, "name": name, "arguments": {} });
                self.starts(Open::Call, &call, out);
                self.calls.push((index, self.last()));
            }
            // Also for a step that has ended: readers go by its index.
            Event::CallArguments { index, json } => {
                let known = self.calls.iter().find(|(call, _)| *call == index);
                if let Some((_, step)) = known {
                    let delta = json!({ "type": "arguments_delta", "arguments": json });
                    emit("step.delta", json!({ "index": step, "delta": delta }), out);
                }
            }
            Event::Ends { end, .. } => self.end = Some(end),
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
        let end = self.end.take().unwrap_or_default();
        let mut interaction = interaction(status(end, !self.calls.is_empty()), stamp);
        interaction["usage"] = usage::interactions(&known(reported.usage));
        if end == End::Refused {
            interaction["errors"] = json!([withheld()]);
        }
        emit(
            "interaction.completed",
            json!({ "interaction": interaction }),
            out,
        );
        sse::write_event("done", "[DONE]", out);
    }

    fn begins(&mut self, stamp: &Stamp, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.begun, true) {
            let interaction = interaction("in_progress", stamp);
            emit(
                "interaction.created",
                json!({ "interaction": interaction }),
                out,
            );
        }
    }

    /// The step that was begun last.
    fn last(&self) -> usize {
        self.steps.saturating_sub(1)
    }

    fn opens(&mut self, kind: Open, out: &mut Vec<u8>) {
        if self.open == Some(kind) {
            return;
        }
        let step = match kind {
            Open::Output | Open::Call => json!({ "type": "model_output", "content": [] }),
            Open::Thought => json!({ "type": "thought", "summary": [] }),
        };
        self.starts(kind, &step, out);
    }

    fn starts(&mut self, kind: Open, step: &Value, out: &mut Vec<u8>) {
        self.closes(out);
        emit(
            "step.start",
            json!({ "index": self.steps, "step": step }),
            out,
        );
        self.steps += 1;
        self.open = Some(kind);
    }

    /// Ends the open step.
    fn closes(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            emit("step.stop", json!({ "index": self.last() }), out);
        }
    }
}

fn emit(kind: &str, fields: Value, out: &mut Vec<u8>) {
    let mut event = json!({ "event_type": kind });
    if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
        event.extend(fields);
    }
    sse::write_event(kind, &event.to_string(), out);
}
