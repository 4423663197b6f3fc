//! Every dialect against every other: goldens, and what must come back unchanged.

mod goldens;
mod round_trip;

use spillway_routing::catalogue::Upstream;
use spillway_routing::dialect::Dialect;

use super::event::{Assembly, Event, Said, Stamp};
use crate::chat::{Asking, Chat};

/// A request of a dialect, to the route `auto`.
fn chat(dialect: Dialect, body: &str) -> Chat {
    let mut asking = Asking::of(dialect);
    if dialect == Dialect::GeminiGenerate {
        asking.model = Some("auto".to_owned());
    }
    Chat::parse(&body.to_owned().into(), &asking).unwrap()
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
    let mut assembly = Assembly::default();
    events.into_iter().for_each(|event| assembly.add(event));
    assembly.said
}
