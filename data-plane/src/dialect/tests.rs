//! Every dialect against every other: goldens, and what must come back unchanged.

mod goldens;
mod round_trip;

use spillway_routing::catalogue::Upstream;
use spillway_routing::dialect::Dialect;

use super::event::{Event, Piece, Said, Stamp};
use crate::chat::{Asking, Chat};
use crate::conversation::ToolCall;

/// A request of a dialect, to the route `auto`.
fn chat(dialect: Dialect, body: &str) -> Chat {
    let mut asking = Asking::of(dialect);
    if dialect == Dialect::GeminiGenerate {
        asking.model = Some("auto".to_owned());
    }
    Chat::parse(body.as_bytes(), &asking).unwrap()
}

fn upstream(dialect: Dialect) -> Upstream {
    Upstream {
        id: "p:m".into(),
        model: "m".into(),
        provider: "p".into(),
        wire_model: "wire-model".to_owned(),
        dialects: vec![dialect],
        credential: "c".into(),
    }
}

fn stamp() -> Stamp {
    Stamp {
        id: "0123".to_owned(),
        model: "model-1".to_owned(),
        created: 1_760_000_000,
        wants_usage: true,
        framed: true,
    }
}

/// What events say together.
fn folded(events: Vec<Event>) -> Said {
    let mut said = Said::default();
    let mut calls: Vec<(usize, usize)> = Vec::new();
    let joined = |last: Option<&mut Piece>, next: &Piece| match (last, next) {
        (Some(Piece::Text(text)), Piece::Text(more))
        | (Some(Piece::Reasoning(text)), Piece::Reasoning(more))
        | (Some(Piece::Refusal(text)), Piece::Refusal(more)) => {
            text.push_str(more);
            true
        }
        _ => false,
    };
    for event in events {
        let piece = match event {
            Event::Text(text) => Piece::Text(text),
            Event::Reasoning(text) => Piece::Reasoning(text),
            Event::Refusal(text) => Piece::Refusal(text),
            Event::CallStarts { index, id, name } => {
                calls.push((index, said.pieces.len()));
                let arguments = String::new();
                Piece::Call(ToolCall {
                    id,
                    name,
                    arguments,
                })
            }
            Event::CallArguments { index, json } => {
                let (_, place) = calls.iter().find(|(known, _)| *known == index).unwrap();
                let Piece::Call(call) = &mut said.pieces[*place] else {
                    panic!("no call")
                };
                call.arguments.push_str(&json);
                continue;
            }
            Event::Ends { end, stop } => {
                (said.end, said.stop) = (end, stop);
                continue;
            }
        };
        if !joined(said.pieces.last_mut(), &piece) {
            said.pieces.push(piece);
        }
    }
    said
}
