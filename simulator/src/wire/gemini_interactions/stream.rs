//! The Gemini Interactions wire: streams.
//!
//! Owns: the events of a stream and their order. It must not know where the steps come
//! from.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Pen, Step};
use crate::answer::Answer;
use crate::wire::{Stream, named_event};

/// What comes after the last event.
const DONE: &str = "event: done\ndata: [DONE]\n\n";

impl Pen {
    pub(in crate::wire) fn stream(&self, answer: &Answer) -> Stream {
        let mut stream = Stream::default();
        let status = "in_progress";
        let created = json!({
            "id": self.id(), "status": status, "object": "interaction", "model": self.model,
        });
        let created = json!({ "interaction": created });
        let update = json!({"interaction_id": self.id(), "status": status});
        stream.opening = vec![
            event("interaction.created", created),
            event("interaction.status_update", update),
        ];
        for (index, step) in self.steps(answer).iter().enumerate() {
            self.stream_step(&mut stream, index, step);
        }
        let billed: u64 = stream.content.iter().map(|part| part.tokens).sum();
        let unbilled = answer.usage.output_tokens - billed;
        let ended = json!({"interaction": self.ended(answer)});
        stream.end(event("interaction.completed", ended), unbilled);
        stream.end(Bytes::from_static(DONE.as_bytes()), 0);
        stream
    }

    fn stream_step(&self, stream: &mut Stream, index: usize, step: &Step<'_>) {
        let start = json!({"index": index, "step": self.bare_step(step)});
        stream.frame(event("step.start", start));
        let delta = |delta: Value| event("step.delta", json!({"index": index, "delta": delta}));
        match step {
            Step::Thought { pieces, shown } => {
                for piece in pieces.iter().filter(|_| *shown) {
                    let content = json!({"text": piece.text, "type": "text"});
                    let summary = json!({"content": content, "type": "thought_summary"});
                    stream.speak(delta(summary), piece.tokens);
                }
                let signed = json!({"signature": self.signature(), "type": "thought_signature"});
                stream.frame(delta(signed));
                if !shown {
                    stream.bill(pieces.iter().map(|piece| piece.tokens).sum());
                }
            }
            Step::Output(pieces) => {
                for piece in *pieces {
                    let said = json!({"text": piece.text, "type": "text"});
                    stream.speak(delta(said), piece.tokens);
                }
            }
            Step::Call { pieces, .. } => {
                for piece in *pieces {
                    let said = json!({"arguments": piece.text, "type": "arguments_delta"});
                    stream.speak(delta(said), piece.tokens);
                }
            }
        }
        stream.frame(event("step.stop", json!({ "index": index })));
    }
}

fn event(name: &str, mut members: Value) -> Bytes {
    members["event_type"] = json!(name);
    named_event(name, &members)
}
