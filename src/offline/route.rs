//! `spillway route`: the model for each prompt under a bar, by the same `decide` as live.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};

use anyhow::Context as _;
use serde_json::json;
use spillway_control_plane::control::now;
use spillway_routing::conditions::Conditions;
use spillway_routing::decide::{Decision, Draw, decide};
use spillway_routing::table::{Choice, Draft, Table};
use spillway_routing::unit::{Bps, NanoUsd};

use super::set::{self, Part, ROUTE};
use super::table;
use crate::command::RouteArgs;
use crate::output::say;

pub(crate) fn run(args: &RouteArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        (0.0..=1.0).contains(&args.bar),
        "--bar {} is not between 0 and 1",
        args.bar
    );
    let table = with_bar(
        table::read(&args.table)?.draft().clone(),
        Bps::from_share(args.bar),
    )?;
    let prompts = set::prompts(&args.prompts, Part::parse(&args.split)?, args.with_slices)?;
    let file =
        File::create(&args.out).with_context(|| format!("cannot write {}", args.out.display()))?;
    let mut out = BufWriter::new(file);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut spent = NanoUsd::ZERO;
    let now = now();
    for prompt in &prompts {
        let decision = decide(&table, &prompt.facts, &Conditions::default(), now, Draw(0));
        let decision =
            decision.with_context(|| format!("prompt {:?} cannot be routed", prompt.id))?;
        let chosen = decision.chosen().context("a decision without a choice")?;
        *counts.entry(chosen.model.to_string()).or_default() += 1;
        spent = spent.saturating_add(chosen.cost.unwrap_or_default());
        writeln!(out, "{}", line(&prompt.id, &decision))?;
    }
    out.flush()?;
    say!("routed {} prompts for an expected {spent}", prompts.len());
    for (model, count) in counts {
        say!(
            "  {:>5.1} %  {model}",
            100.0 * count as f64 / prompts.len().max(1) as f64
        );
    }
    Ok(())
}

fn line(id: &str, decision: &Decision) -> serde_json::Value {
    let chosen = decision.chosen();
    json!({
        "prompt_id": id,
        "model": chosen.map(|c| c.model.as_str()),
        "quality": chosen.and_then(|c| c.quality).map(Bps::share),
        "cost_usd": chosen.and_then(|c| c.cost).map(NanoUsd::usd),
    })
}

/// The table with its one route set to another bar: the multiplier comes from the
/// frontier that training solved, never from the prompts at hand.
fn with_bar(mut draft: Draft, bar: Bps) -> anyhow::Result<Table> {
    let solved = draft
        .frontier
        .iter()
        .filter(|point| point.bar >= bar)
        .min_by_key(|point| point.bar)
        .copied();
    let route = draft
        .routes
        .iter_mut()
        .find(|route| route.id.as_str() == ROUTE);
    let route = route.with_context(|| format!("this table has no route {ROUTE:?}"))?;
    if route.bar != bar {
        let solved = solved.context(
            "this table has no multipliers: nothing could be compared when it was trained",
        )?;
        route.bar = bar;
        route.choice = Choice::Multiplier(solved.multiplier);
        route.learned = solved.learned;
    }
    Table::build(draft).map_err(|flaws| anyhow::anyhow!("the table does not build: {flaws:?}"))
}
