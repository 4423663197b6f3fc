//! How training, history and the push of tables grow with what there is.
//!
//! `make bench-scale` (needs etcd: `scripts/setup.sh test`); `ARGS="training --sizes 10000"`
//! measures a part of it. Everything goes through the code that production runs: a training
//! run is the control plane's own step, from audits and live requests in its history to the
//! published table; outcomes come in at the gRPC door of a `spillway control` process and count when
//! it has acknowledged them, which is after the sync to disk; tables are published at the
//! operators' doors and reach `spillway proxy` processes through etcd. Prompts are those of
//! the simulator's world, and models are made from its models.
//!
//! Each size is a process of its own, whose peak of resident memory (`VmHWM`) is its own.
//!
//! Owns: the arguments, and which process measures what.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints what it found, and its stand is the tests'"
)]

#[path = "../heads.rs"]
mod heads;
mod history;
mod push;
mod report;
#[expect(
    dead_code,
    unused_imports,
    reason = "a part of the tests' stand is used"
)]
#[path = "../../tests/stand/mod.rs"]
mod stand;
mod training;
mod world;

use std::path::PathBuf;
use std::process::Stdio;

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::Value;

/// As in the binary, whose memory is to be known.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures growth.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// What to measure; everything unless said.
    parts: Vec<Part>,
    /// Outcomes of history and labels of training.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    sizes: Vec<u64>,
    /// Watching proxies.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 50])]
    fleets: Vec<usize>,
    /// Said by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Training,
    History,
    Push,
}

/// What a child of the bench does. It says what it measured as one line of JSON.
#[derive(Clone, Subcommand)]
enum Role {
    /// Writes audits into a history.
    #[command(hide = true)]
    Prepare { dir: PathBuf, prompts: u64 },
    /// Trains on them.
    #[command(hide = true)]
    Train { dir: PathBuf, prompts: u64 },
    /// Reads a history of outcomes.
    #[command(hide = true)]
    Scan { dir: PathBuf },
}

/// Runs a child to its end and reads what it measured.
async fn child(role: &str, args: &[&str]) -> Value {
    let binary = std::env::current_exe().unwrap();
    let mut command = tokio::process::Command::new(binary);
    command.arg(role).args(args).stdout(Stdio::piped());
    let child = command.kill_on_drop(true).spawn().unwrap();
    let done = child.wait_with_output().await.unwrap();
    assert!(done.status.success(), "{role} failed");
    serde_json::from_slice(&done.stdout).expect("a line of JSON")
}

async fn compare(arguments: &Arguments) {
    println!("# Growth\n\n{}\n", report::machine());
    let runs = |part: Part| arguments.parts.is_empty() || arguments.parts.contains(&part);
    if runs(Part::Training) {
        training::measure(&arguments.sizes).await;
    }
    if runs(Part::History) {
        history::measure(&arguments.sizes).await;
    }
    if runs(Part::Push) {
        push::measure(&arguments.fleets).await;
    }
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    match &arguments.role {
        None => compare(&arguments).await,
        Some(Role::Prepare { dir, prompts }) => {
            println!("{}", training::prepare(dir, *prompts).await)
        }
        Some(Role::Train { dir, prompts }) => {
            println!("{}", training::train(dir, *prompts).await)
        }
        Some(Role::Scan { dir }) => println!("{}", history::scan(dir).await),
    }
}
