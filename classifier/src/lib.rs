//! Learning: from audited prompts to a committee, multipliers and a report.
//!
//! Owns: everything between labelled outcomes and the numbers in a table. Scoring and
//! choosing are `routing`'s; this crate calls them, so that what is measured here is
//! what proxies do. It does no I/O, reads no clock, is not async, and takes its seed as
//! an argument: the same audits give the same committee to the bit.
//!
//! Reading order: [`dataset`], [`fit`](mod@fit), [`calibrate`], [`crossfit`], [`price`],
//! [`offers`], [`multiplier`], [`evaluate`](mod@evaluate), [`gate`], [`run`](mod@run),
//! [`report`].

pub mod calibrate;
pub mod crossfit;
pub mod dataset;
pub mod evaluate;
pub mod fit;
pub mod gate;
pub mod multiplier;
pub mod offers;
pub mod price;
pub mod report;
pub mod run;

#[cfg(test)]
mod synthetic;
