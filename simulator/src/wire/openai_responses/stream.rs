//! The OpenAI Responses wire: streams.
//!
//! Owns: the events of a stream, their order and their numbers. It must not know where
//! the response's content comes from.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Pen, part};
use crate::answer::{Answer, Finish, Item, Piece};
use crate::shelf::unfinished;
use crate::wire::{Stream, named_event};

/// Numbers the events of one stream.
#[derive(Debug, Default)]
struct Tape {
    stream: Stream,
    events: u64,
}

impl Tape {
    fn event(&mut self, name: &str, members: Value) -> Bytes {
        let mut data = json!({"type": name, "sequence_number": self.events});
        self.events += 1;
        if let (Some(data), Value::Object(members)) = (data.as_object_mut(), members) {
            data.extend(members);
        }
        named_event(name, &data)
    }

    fn frame(&mut self, name: &str, members: Value) {
        let event = self.event(name, members);
        self.stream.frame(event);
    }

    fn speak(&mut self, name: &str, members: Value, tokens: u64) {
        let event = self.event(name, members);
        self.stream.speak(event, tokens);
    }
}

/// Where an event belongs.
#[derive(Debug, Clone)]
struct Place {
    item_id: Value,
    output_index: usize,
}

impl Place {
    /// The members of an event about the item itself.
    fn item(&self, more: Value) -> Value {
        merged(
            json!({"item_id": self.item_id, "output_index": self.output_index}),
            more,
        )
    }

    /// The members of an event about its only part.
    fn part(&self, more: Value) -> Value {
        merged(self.item(json!({"content_index": 0})), more)
    }

    /// The members of an event about its only summary.
    fn summary(&self, more: Value) -> Value {
        merged(self.item(json!({"summary_index": 0})), more)
    }
}

fn merged(mut members: Value, more: Value) -> Value {
    if let (Some(members), Value::Object(more)) = (members.as_object_mut(), more) {
        members.extend(more);
    }
    members
}

impl Pen {
    pub(in crate::wire) fn stream(&self, answer: &Answer) -> Stream {
        let response = self.response(answer);
        let started = unfinished(&response, "in_progress");
        let mut tape = Tape::default();
        let created = json!({ "response": started });
        let mut opening = vec![tape.event("response.created", created.clone())];
        if self.background {
            let queued = json!({"response": unfinished(&response, "queued")});
            opening.push(tape.event("response.queued", queued));
        }
        opening.push(tape.event("response.in_progress", created));
        for (index, item) in answer.items.iter().enumerate() {
            self.stream_item(&mut tape, index, item, answer);
        }
        let name = match answer.finish {
            Finish::Length => "response.incomplete",
            _ => "response.completed",
        };
        let terminal = tape.event(name, json!({ "response": response }));
        let mut stream = tape.stream;
        stream.opening = opening;
        stream.end(terminal, 0);
        stream
    }

    fn stream_item(&self, tape: &mut Tape, index: usize, item: &Item, answer: &Answer) {
        let bare = self.bare_item(index, item, "in_progress");
        let place = Place {
            item_id: bare["id"].clone(),
            output_index: index,
        };
        let added = json!({"output_index": index, "item": bare});
        tape.frame("response.output_item.added", added);
        let text = item.text();
        match item {
            Item::Reasoning(pieces) if self.summary => {
                stream_summary(tape, &place, pieces, &text);
            }
            Item::Reasoning(_) => tape.stream.bill(item.tokens()),
            Item::Text(pieces) | Item::Refusal(pieces) => {
                stream_message(tape, &place, item, pieces, &text);
            }
            Item::Call { name, arguments } => {
                for piece in arguments {
                    let delta = place.item(json!({"delta": piece.text}));
                    let event = "response.function_call_arguments.delta";
                    tape.speak(event, delta, piece.tokens);
                }
                let done = place.item(json!({"name": name, "arguments": text}));
                tape.frame("response.function_call_arguments.done", done);
            }
        }
        let done = json!({"output_index": index, "item": self.item(index, item, answer)});
        tape.frame("response.output_item.done", done);
    }
}

fn stream_summary(tape: &mut Tape, place: &Place, pieces: &[Piece], text: &str) {
    let part = |text: &str| place.summary(json!({"part": {"type": "summary_text", "text": text}}));
    tape.frame("response.reasoning_summary_part.added", part(""));
    for piece in pieces {
        let delta = place.summary(json!({"delta": piece.text}));
        tape.speak("response.reasoning_summary_text.delta", delta, piece.tokens);
    }
    let done = place.summary(json!({ "text": text }));
    tape.frame("response.reasoning_summary_text.done", done);
    tape.frame("response.reasoning_summary_part.done", part(text));
}

fn stream_message(tape: &mut Tape, place: &Place, item: &Item, pieces: &[Piece], text: &str) {
    let refused = matches!(item, Item::Refusal(_));
    let added = place.part(json!({"part": part(item, "")}));
    tape.frame("response.content_part.added", added);
    for piece in pieces {
        if refused {
            let delta = place.part(json!({"delta": piece.text}));
            tape.speak("response.refusal.delta", delta, piece.tokens);
        } else {
            let delta = place.part(json!({"delta": piece.text, "logprobs": []}));
            tape.speak("response.output_text.delta", delta, piece.tokens);
        }
    }
    if refused {
        let done = place.part(json!({ "refusal": text }));
        tape.frame("response.refusal.done", done);
    } else {
        let done = place.part(json!({"text": text, "logprobs": []}));
        tape.frame("response.output_text.done", done);
    }
    let done = place.part(json!({"part": part(item, text)}));
    tape.frame("response.content_part.done", done);
}
