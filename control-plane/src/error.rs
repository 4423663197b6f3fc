//! What can go wrong behind any door of the control plane.
//!
//! Owns: [`ControlError`]. The doors turn it into a gRPC status or an HTTP response;
//! nobody else does.

use spillway_history::HistoryError;

use crate::policy::Fault;
use crate::publish::PublishError;
use crate::store::StoreError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("the policy has {} faults; the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Policy(Vec<Fault>),
    #[error(
        "the policy was changed meanwhile: version {current} is current, not {expected}; reload and repeat the change"
    )]
    PolicyConflict { expected: u64, current: u64 },
    #[error("there is no {what} {name}")]
    NotFound { what: &'static str, name: String },
    #[error("{0}")]
    BadRequest(String),
    #[error("a training run is going on already: number {0}")]
    AlreadyTraining(u64),
    #[error("another table is in use by now than the one that this was learnt to replace")]
    Overtaken,
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the history could not be read or written")]
    History(#[from] HistoryError),
}

impl ControlError {
    /// The error with everything that caused it, for one line of log or page.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
