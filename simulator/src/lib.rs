//! Fake providers, traffic and faults that cost nothing.
//!
//! Owns: a world of models with known skills and prices, the HTTP server that
//! plays their providers, the faults it can be told to show, the ledger of every
//! attempt it received, and a traffic client that plays prompts against a router.
//!
//! It must not know any other crate of this project, least of all a dialect: it is
//! the independent oracle for them, written from the providers' own descriptions.

mod answer;
mod config;
mod connection;
mod dice;
mod exchange;
mod judge;
mod ledger;
mod openai;
mod plan;
mod recorded;
mod script;
mod server;
#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod stand;
mod traffic;
mod world;

pub use answer::{Answerer, TrafficPrompt};
pub use config::{Price, ProviderConfig, ServedModel, SimulatorConfig};
pub use ledger::{Attempt, Ledger, Outcome, Totals};
pub use openai::{count_input_tokens, error_body};
pub use recorded::{LineFlaw, LoadError, Recorded, RecordedOutcome, RecordedPrompt};
pub use script::{Behaviour, Fault, FaultKind, FaultRule, Latency, RetryAfter, Script, Speed};
pub use server::{Running, Simulator, StartError, StopError};
pub use traffic::{
    Arrivals, Load, Progress, REQUEST_TIMEOUT, SliceLabel, TrafficConfig, TrafficError,
    TrafficReport, play,
};
pub use world::{Kind, Level, World, WorldModel, WorldPrompt};
