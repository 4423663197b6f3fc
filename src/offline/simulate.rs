//! `spillway simulate`: recorded prompts through a Spillway over HTTP.
//!
//! Owns: standing up the recorded models, playing the prompts, and the comparison with
//! always-best and always-cheapest. A Spillway that starts without labels and teaches
//! itself is `teach`'s.

mod event;
mod held_out;
mod picture;
mod planes;
mod teach;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use spillway_control_plane::control::now;
use spillway_routing::id::TableVersion;
use spillway_routing::outcome::{Audit, Split};
use spillway_simulator::{
    Answerer, Ledger, Load, ProviderConfig, Recorded, ServedModel, Simulator, SimulatorConfig,
    Speed, TrafficConfig, TrafficReport, play,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::planes::Planes;
use super::recorded::{self, PROVIDER};
use super::set::{self, Part};
use crate::command::SimulateArgs;
use crate::output::say;
use crate::progress;

/// Requests in flight where no rate is given.
const CONCURRENCY: usize = 16;
const SEED: u64 = 1;

pub(crate) async fn run(args: SimulateArgs) -> anyhow::Result<()> {
    if args.teach.learn {
        return teach::run(args).await;
    }
    let split = Part::parse(&args.split)?;
    anyhow::ensure!(
        split != Part::All || !args.proxy.is_empty(),
        "--split all leaves nothing to learn from: name a running Spillway with --proxy, or play train or test"
    );
    let (set, name) = (args.set.clone(), args.split.clone());
    let recorded = tokio::task::spawn_blocking(move || {
        let split = (name != "all").then_some(name.as_str());
        Recorded::load(&set.prompts, &set.outcomes, split)
    });
    let recorded = Arc::new(recorded.await??);
    let audits = set::audits(&args.set, Part::All, true, now())?;
    let ranked = recorded::ranked(&audits);
    let models: Vec<String> = ranked.iter().map(|(model, _)| model.clone()).collect();
    let listener = TcpListener::bind(&args.providers)
        .await
        .with_context(|| format!("cannot listen on {}", args.providers))?;
    let providers = Simulator::start(simulator(&recorded, &models), listener)?;
    let stop = CancellationToken::new();
    let mut embedded = None;
    let urls = if args.proxy.is_empty() {
        let train = part_of(&audits, split);
        let planes = trained(&args, &train, &providers.base_url(PROVIDER), &stop).await?;
        let url = planes.url.clone();
        embedded = Some(planes);
        vec![url]
    } else {
        args.proxy
            .iter()
            .map(|url| url.trim_end_matches('/').to_owned())
            .collect()
    };
    let reports = play_all(&args, &recorded, &urls).await?;
    stop.cancel();
    let ledger = providers.ledger();
    if let Some(planes) = embedded {
        planes.ended().await?;
    }
    let summary = summary(&reports, &recorded, &models, &ledger, args.limit);
    providers.stop().await?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print_summary(&summary);
    }
    Ok(())
}

/// The recorded models, as one provider that answers at once. Models whose token counts
/// were not recorded have no price per token there; the comparison uses recorded costs.
fn simulator(recorded: &Arc<Recorded>, models: &[String]) -> SimulatorConfig {
    let mut served = recorded.served();
    for model in models {
        if !served.iter().any(|known| known.name == *model) {
            served.push(ServedModel::new(model.clone(), 0, 0));
        }
    }
    SimulatorConfig {
        providers: vec![ProviderConfig::new(PROVIDER, served)],
        answerer: Answerer::Recorded(Arc::clone(recorded)),
        seed: SEED,
        speed: Speed::Instant,
    }
}

/// The prompts that may be learnt from: those of the other split.
fn part_of(audits: &[Audit], played: Part) -> Vec<Audit> {
    let played = |split| played != Part::All && split == played_split(played);
    audits
        .iter()
        .filter(|audit| !played(audit.split))
        .cloned()
        .collect()
}

fn played_split(part: Part) -> Option<Split> {
    match part {
        Part::All => None,
        Part::Only(split) => Some(split),
    }
}

/// An embedded Spillway that was trained on `audits`.
async fn trained(
    args: &SimulateArgs,
    audits: &[Audit],
    provider_url: &str,
    stop: &CancellationToken,
) -> anyhow::Result<Planes> {
    let text = match &args.policy {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?,
        None => {
            let ranked = recorded::ranked(audits);
            let (best, _) = ranked
                .first()
                .context("there are no prompts to learn from in the other split")?;
            let models: Vec<String> = ranked.iter().map(|(model, _)| model.clone()).collect();
            recorded::policy(&models, best, args.bar)
        }
    };
    let planes = Planes::start(provider_url, stop).await?;
    let (draft, _) = tokio::task::block_in_place(|| super::train::train(&text, audits, SEED))?;
    let publisher = &planes.control.publisher;
    let version = publisher
        .publish(draft, TableVersion(0), Vec::new(), now())
        .await?;
    tracing::info!(%version, "published the trained table");
    planes.until_current().await?;
    Ok(planes)
}

/// Plays the prompts, an equal share through each proxy.
async fn play_all(
    args: &SimulateArgs,
    recorded: &Arc<Recorded>,
    urls: &[String],
) -> anyhow::Result<Vec<TrafficReport>> {
    let total = args
        .limit
        .unwrap_or(u64::MAX)
        .min(recorded.prompts().len() as u64);
    let bar = progress::bar(total, "requests");
    let count = urls.len() as u64;
    let mut players = Vec::new();
    let mut watches = Vec::new();
    let mut first = 0;
    for (i, url) in urls.iter().enumerate() {
        let share = total / count + u64::from((i as u64) < total % count);
        let oracle = Answerer::Recorded(Arc::clone(recorded));
        let mut config =
            TrafficConfig::new(format!("{url}/v1"), set::ROUTE.to_owned(), oracle, share);
        config.key = args.key.clone();
        config.first_prompt = first;
        config.seed = SEED + i as u64;
        config.load = match args.rps {
            Some(rps) => Load::Open {
                requests_per_second: rps / count as f64,
            },
            None => Load::Closed {
                concurrency: CONCURRENCY,
            },
        };
        let (progress, seen) = watch::channel(spillway_simulator::Progress::default());
        config.progress = Some(progress);
        watches.push(seen);
        first += share;
        players.push(tokio::spawn(play(config)));
    }
    let shown = tokio::spawn(async move {
        loop {
            bar.set_position(
                watches
                    .iter()
                    .map(|seen| {
                        let p = seen.borrow();
                        p.answered + p.failed
                    })
                    .sum(),
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let mut reports = Vec::new();
    for player in players {
        reports.push(player.await??);
    }
    shown.abort();
    Ok(reports)
}

fn summary(
    reports: &[TrafficReport],
    recorded: &Recorded,
    models: &[String],
    ledger: &Ledger,
    limit: Option<u64>,
) -> Value {
    let sum = |value: &dyn Fn(&TrafficReport) -> f64| reports.iter().map(value).sum::<f64>();
    let judged = sum(&|r| r.judged as f64);
    let quality = sum(&|r| r.quality_mean * r.judged as f64) / judged.max(1.0);
    let cost = sum(&|r| r.cost_nano_usd as f64) / 1e9;
    let answered = sum(&|r| r.answered as f64);
    let mut by_model: BTreeMap<&str, u64> = BTreeMap::new();
    for (model, count) in reports.iter().flat_map(|r| &r.by_model) {
        *by_model.entry(model).or_default() += count;
    }
    let shares: BTreeMap<&str, f64> = by_model
        .iter()
        .map(|(model, count)| (*model, *count as f64 / answered.max(1.0)))
        .collect();
    let constants = constants(recorded, models, limit);
    let best = constants.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let cheapest = constants.iter().min_by(|a, b| a.2.total_cmp(&b.2));
    let of = |constant: Option<&(String, f64, f64)>| {
        constant.map(|(model, quality, cost)| json!({ "model": model, "quality": quality, "cost_usd": cost }))
    };
    let worst =
        |value: &dyn Fn(&TrafficReport) -> f64| reports.iter().map(value).fold(0.0, f64::max);
    let failures: Vec<&String> = reports.iter().flat_map(|r| &r.failures).take(5).collect();
    let totals = ledger.totals();
    json!({
        "requests": sum(&|r| r.requests as f64) as u64,
        "answered": answered as u64,
        "failed": sum(&|r| r.failed as f64) as u64,
        "failures": failures,
        "quality": quality,
        "cost_usd": cost,
        "share_by_model": shares,
        "latency_ms": { "p50": worst(&|r| r.latency_ms_p50), "p95": worst(&|r| r.latency_ms_p95), "p99": worst(&|r| r.latency_ms_p99) },
        "always_best": of(best),
        "always_cheapest": of(cheapest),
        "quality_of_best": best.map(|(_, q, _)| quality / q),
        "cost_of_best": best.map(|(_, _, c)| cost / c),
        "ledger": { "attempts": totals.attempts, "answered": totals.answered, "input_tokens": totals.input_tokens, "output_tokens": totals.output_tokens, "cost_usd": totals.cost_nano_usd as f64 / 1e9 },
    })
}

/// Each model alone on the same prompts: mean score and total cost.
fn constants(
    recorded: &Recorded,
    models: &[String],
    limit: Option<u64>,
) -> Vec<(String, f64, f64)> {
    let played = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let prompts = || recorded.prompts().iter().take(played);
    let count = prompts().count().max(1) as f64;
    let sums = |model: &String| {
        let score: f64 = prompts()
            .filter_map(|prompt| recorded.score(model, &prompt.text))
            .sum();
        let cost: f64 = prompts()
            .filter_map(|prompt| recorded.cost_usd(model, &prompt.text))
            .sum();
        (model.clone(), score / count, cost)
    };
    models.iter().map(sums).collect()
}

fn print_summary(summary: &Value) {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    say!(
        "{} requests, {} answered, {} failed",
        summary["requests"],
        summary["answered"],
        summary["failed"]
    );
    say!(
        "{:<16} quality {:.4}   cost ${:.4}",
        "spillway",
        number(&summary["quality"]),
        number(&summary["cost_usd"])
    );
    for (name, key) in [
        ("always best", "always_best"),
        ("always cheapest", "always_cheapest"),
    ] {
        let row = &summary[key];
        say!(
            "{name:<16} quality {:.4}   cost ${:.4}   {}",
            number(&row["quality"]),
            number(&row["cost_usd"]),
            row["model"].as_str().unwrap_or("")
        );
    }
    say!(
        "{:.1} % of the best model's quality at {:.1} % of its cost",
        100.0 * number(&summary["quality_of_best"]),
        100.0 * number(&summary["cost_of_best"])
    );
    if let Some(shares) = summary["share_by_model"].as_object() {
        for (model, share) in shares {
            say!("  {:>5.1} %  {model}", 100.0 * number(share));
        }
    }
    say!(
        "latency p50 {:.0} ms, p95 {:.0} ms",
        number(&summary["latency_ms"]["p50"]),
        number(&summary["latency_ms"]["p95"])
    );
}
