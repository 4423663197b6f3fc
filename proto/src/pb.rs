//! Generated from `proto/spillway/v1/*.proto`; `tests/bootstrap.rs` regenerates it and
//! fails on a difference (`SPILLWAY_REWRITE=1` writes it anew).

#![allow(
    clippy::all,
    unreachable_pub,
    missing_debug_implementations,
    unused_qualifications
)]
#![allow(
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

include!("gen/spillway.v1.rs");

/// The descriptors of all files, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/spillway.v1.bin");
