//! Gateways side by side: Spillway, what else is installed, and no gateway at all.
//!
//! `make bench-gateway` (needs etcd: `scripts/setup.sh test`; nginx, HAProxy and others
//! where they are installed). Provider and load generator are this binary in other roles,
//! on one core with etcd and the control plane; the gateway has another for itself. Each
//! phase is measured of all gateways in turn, and all phases once a run; medians of the
//! runs are printed, and ratios to nginx are what should be quoted.
//!
//! Owns: the arguments, the order of the measurings, and that everything ends with this.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints what it found, and its stand is the tests'"
)]

mod driver;
mod gateways;
mod http1;
mod load;
mod machine;
mod mock;
mod phases;
mod report;
mod requests;
#[expect(
    dead_code,
    unused_imports,
    reason = "a part of the tests' stand is used"
)]
#[path = "../../tests/stand/mod.rs"]
mod stand;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::driver::Provider;
use crate::gateways::Kind;
use crate::phases::{Bench, Phase};
use crate::report::Records;

/// Measures gateways side by side.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// How often everything is measured.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Gateways to measure; all that are installed unless said. `direct` is always there.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Phases to measure; all unless said.
    #[arg(long, value_enum, value_delimiter = ',')]
    phases: Vec<Phase>,
    /// One short run, to see whether everything works.
    #[arg(long)]
    quick: bool,
    /// Said by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Subcommand)]
enum Role {
    #[command(hide = true)]
    Mock,
    #[command(hide = true)]
    Load(load::Arguments),
}

/// Those to measure, direct first; says which are left out.
fn chosen(arguments: &Arguments) -> Vec<Kind> {
    let asked = |kind: &Kind| {
        arguments.only.is_empty() || arguments.only.contains(kind) || *kind == Kind::Direct
    };
    let mut chosen = Vec::new();
    for kind in Kind::value_variants().iter().copied().filter(asked) {
        match kind.missing() {
            None => chosen.push(kind),
            Some(why) => println!("- {}: **left out**, {why}", kind.name()),
        }
    }
    chosen
}

async fn measure(bench: &mut Bench<'_>, phase: Phase, kind: Kind) {
    let began = Instant::now();
    let result = bench.measure(phase, kind).await;
    let name = format!("run {} {phase:?} {}", bench.run, kind.name()).to_lowercase();
    match result {
        Ok(()) => eprintln!("{name}: {:.1} s", began.elapsed().as_secs_f64()),
        Err(error) => println!("\n{name} **failed**: {error:#}"),
    }
}

async fn compare(arguments: &Arguments) -> Result<()> {
    println!("# Gateways side by side\n\n{}.", machine::description());
    println!(
        "Core {}: provider, load generator, etcd, control plane. Core {}: the gateway.\n",
        machine::SIDE_CORE,
        machine::GATEWAY_CORE
    );
    let kinds = chosen(arguments);
    for kind in &kinds {
        println!("- {}: {}", kind.name(), kind.version().await);
    }
    let all = Phase::value_variants();
    let asked = |phase: &&Phase| arguments.phases.is_empty() || arguments.phases.contains(*phase);
    let phases: Vec<Phase> = all.iter().filter(asked).copied().collect();
    let runs = if arguments.quick { 1 } else { arguments.runs };
    ensure!(runs > 0, "at least one run");
    let folder = tempfile::tempdir()?;
    let provider = Provider::start().await?;
    let file = format!("gateway-{}.jsonl", machine::nanos() / 1_000_000_000);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let mut bench = Bench {
        provider: &provider,
        records: Records::new(&file)?,
        folder: folder.path(),
        quick: arguments.quick,
        run: 0,
    };
    for run in 1..=runs {
        bench.run = run;
        for phase in &phases {
            // Direct first, the others in another order each time.
            let others = kinds.len() - 1;
            let turn = |index: usize| 1 + (index + run) % others;
            let order = (0..others).map(|index| kinds[turn(index)]);
            for kind in std::iter::once(Kind::Direct).chain(order) {
                if phase.takes(kind) {
                    measure(&mut bench, *phase, kind).await;
                }
            }
        }
    }
    println!("\nMedians of {runs} runs [least–most].");
    println!("{}", bench.records.tables());
    println!(
        "Every figure of every run: {}",
        bench.records.path.display()
    );
    Ok(())
}

/// Runs to the end, or until it is told to stop; what was started ends either way.
async fn interruptible(arguments: &Arguments) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        result = compare(arguments) => result,
        _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
        _ = interrupted.recv() => Err(anyhow::anyhow!("interrupted")),
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.role.is_none() {
        // Before there are threads; children inherit it.
        machine::pin_to_side()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match arguments.role.clone() {
            Some(Role::Mock) => mock::run().await,
            Some(Role::Load(load)) => load::run(load).await,
            None => interruptible(&arguments).await,
        }
    })
}
