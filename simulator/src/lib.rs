//! Fake providers, traffic and faults that cost nothing.
//!
//! Owns: a world of models with known skills and prices, the HTTP server that
//! plays their providers, the faults it can be told to show, the ledger of every
//! attempt it received, and a traffic client that plays prompts against a router.
//!
//! It must not know any other crate of this project, least of all a dialect: it is
//! the independent oracle for them, written from the providers' own descriptions.

//!
//! Every provider speaks every wire (see [`Wire`]). Requests to Bedrock may be signed
//! (`AWS4-HMAC-SHA256`), and the signature is checked: the secret of the access key id
//! `K` is `secret-K`. What a model says follows from its
//! answerer, but these phrases in the last user message are answered by all of them:
//!
//! | phrase | answer |
//! |---|---|
//! | `call the tool` | a call of the first tool (as with a tool choice that demands one) |
//! | `call both tools`, `call all tools` | a call of each tool, or of the first where the request allows one only |
//! | `how many images` | `I see N images` |
//! | `what is your instruction` | `My instruction is: ` and the system text |
//! | `what did I say first` | `You said first: ` and the first user message |
//! | `refuse this` | a refusal |
//!
//! A conversation that ends with tool results is answered with `The tool said: ` and the
//! results, joined by `; `. A request for JSON is answered with the smallest value of its
//! schema, a request for reasoning with `thinking about it` before the answer.

mod answer;
mod answerer;
mod ask;
mod base64;
mod cache;
mod config;
mod connection;
mod day;
mod dice;
mod errand;
mod exchange;
mod judge;
mod ledger;
mod plan;
mod recorded;
mod route;
mod schema;
mod script;
mod seal;
mod server;
mod shelf;
#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod stand;
mod traffic;
mod wire;
mod world;

pub use answerer::{Answerer, TrafficPrompt};
pub use ask::{ServiceTier, count_input_tokens};
pub use config::{Price, ProviderConfig, ServedModel, SimulatorConfig};
pub use day::{Capacity, DayRequest, Offer, day};
pub use ledger::{Attempt, Ledger, Outcome, Totals};
pub use recorded::{LineFlaw, LoadError, Recorded, RecordedOutcome, RecordedPrompt};
pub use script::{Behaviour, Fault, FaultKind, FaultRule, Latency, RetryAfter, Script, Speed};
pub use server::{Running, Simulator, StartError, StopError};
pub use traffic::{
    Arrivals, Load, Progress, REQUEST_TIMEOUT, SliceLabel, TrafficConfig, TrafficError,
    TrafficReport, play,
};
pub use wire::{Wire, error_body};
pub use world::{Kind, Level, World, WorldModel, WorldPrompt};
