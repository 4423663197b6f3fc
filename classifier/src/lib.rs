//! Learning: from audited prompts to a committee, multipliers and a report.
//!
//! Owns: everything between labelled outcomes and the numbers in a table. Scoring and
//! choosing are `routing`'s; this crate calls them, so that what is measured here is
//! what proxies do. It does no I/O, reads no clock, is not async, and takes its seed as
//! an argument: the same audits give the same committee to the bit.
//!
//! Reading order: [`dataset`], [`impute`], [`fit`](mod@fit), [`calibrate`], [`mix`], [`crossfit`],
//! [`price`], [`offers`], [`certificate`],
//! [`multiplier`], [`evaluate`](mod@evaluate), [`learn`](mod@learn),
//! [`gate`], [`run`](mod@run), [`report`]; after a table went out, [`drift`].

pub mod align;
pub mod baselines;
pub mod calibrate;
pub mod certificate;
pub mod compare;
pub mod crossfit;
pub mod dataset;
pub mod drift;
pub mod evaluate;
pub mod fit;
pub mod gate;
pub mod guarantee;
pub mod impute;
pub mod learn;
pub mod mix;
pub mod multiplier;
pub mod offers;
pub mod offlog;
mod picks;
pub mod price;
pub mod report;
mod ridge;
pub mod run;
mod side_by_side;

#[cfg(test)]
mod synthetic;
