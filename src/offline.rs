//! Commands on files: no server, no network.
//!
//! Owns: reading sets and tables, calling the pure crates, printing results. Each
//! command is one file; what they share is what they share in words: a set, a table.

pub(crate) mod check;
mod compare;
mod curve;
pub(crate) mod evaluate;
pub(crate) mod import;
pub(crate) mod key;
mod newcomer;
mod offpolicy;
pub(crate) mod predict;
mod recorded;
pub(crate) mod replay;
pub(crate) mod route;
mod set;
pub(crate) mod simulate;
pub(crate) mod table;
pub(crate) mod train;
mod unseen;
