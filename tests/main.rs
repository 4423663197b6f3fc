//! Scenarios through real sockets and real processes, and the house rules as tests.
//!
//! One binary, so that it links once. Every scenario builds its stand with
//! [`stand::Stand`]: a real etcd where tables travel, the `spillway` binary itself as
//! control plane and proxies, the simulator as providers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says why"
)]

mod architecture;
mod bedrock;
mod bills;
mod buckets;
mod caches;
mod cli;
mod dashboard;
mod deadline;
mod dialects;
mod failover;
mod fault_matrix;
mod faults;
mod jobs;
mod keys;
mod overflow;
mod own_keys;
mod request;
mod restart;
mod sdk;
mod shutdown;
mod simulate;
mod stand;
mod stored;
mod streaming;
mod table;
mod teach;
mod training;
mod vectors;
