//! The routing table and the decision.
//!
//! Owns: what a request, a lane, a table and a decision *are*, and the pure function
//! that makes the decision. Both planes link this crate, so "the same code decided"
//! is a fact of the build. It does no I/O, reads no clock, rolls no dice, knows no
//! wire format and is not async.
//!
//! Reading order: [`unit`](mod@unit), [`id`], [`prompt`], [`tokens`], [`dialect`],
//! [`start`], [`key`], [`overflow`], [`features`], [`catalogue`], [`account`], [`encoder`], [`head`], [`rule`], [`table`], [`check`],
//! [`conditions`], [`decide`](mod@decide), [`outcome`], [`audit`], [`offpolicy`],
//! [`replay`](mod@replay).

pub mod account;
pub mod audit;
pub mod catalogue;
pub mod check;
pub mod conditions;
pub mod decide;
pub mod dialect;
pub mod encoder;
pub mod features;
pub mod float;
pub mod head;
pub mod id;
pub mod key;
mod octets;
pub mod offpolicy;
pub mod outcome;
pub mod overflow;
pub mod prompt;
pub mod replay;
pub mod rule;
pub mod start;
pub mod table;
pub mod tokens;
pub mod unit;
