//! `spillway evaluate`: a table on labelled prompts it has not seen. Without a table,
//! `compare.rs` learns one from the set's own train split.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Value, json};
use spillway_classifier::dataset::Dataset;
use spillway_classifier::evaluate::deployed::{Deployed, deployed};
use spillway_classifier::evaluate::{Evaluation, evaluate};
use spillway_classifier::offers::{Comparable, Policy, Row, Terms};
use spillway_routing::head::Committee;
use spillway_routing::id::ModelId;
use spillway_routing::outcome::Audit;
use spillway_routing::table::{Choice, Draft};
use spillway_routing::unit::{Bps, UnixMillis};

use super::set::{self, Part};
use super::{compare, table};
use crate::command::EvaluateArgs;
use crate::output::say;

/// Draws of the bootstrap are seeded: the same set gives the same intervals.
const SEED: u64 = 1;
/// Bars at which the deployed point is measured.
const BARS: [u16; 4] = [9_500, 9_800, 9_900, 10_000];

pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    let Some(path) = &args.table else {
        return compare::run(args);
    };
    let table = table::read(path)?;
    let part = Part::parse(&args.split)?;
    let audits = set::audits(&args.set, part, args.with_slices, UnixMillis(0))?;
    anyhow::ensure!(
        !audits.is_empty(),
        "{} has no prompts of split {}",
        args.set.prompts.display(),
        args.split
    );
    let committee = table.draft().committee.as_ref();
    let committee =
        committee.context("this table has learnt nothing: train one with `spillway train`")?;
    let mut data = Dataset::of(&audits, Some(&committee.models));
    if args.with_slices {
        // Data sets hide the labels of the kind of work, since nobody promises that a
        // caller will give one; here they are asked for.
        data = data.with_slices_shown();
    }
    let terms = terms(table.draft(), committee);
    let all = Comparable::of(&data, &terms, &[]);
    anyhow::ensure!(
        all.models.len() > 1,
        "fewer than two of the table's models answered these prompts and have a price"
    );
    // The best single model as training named it: nobody can know the test set's.
    let best = best_on_training(&all, committee);
    let learned = all.offers(&data, |_| committee, false);
    let evaluation =
        evaluate(&learned, &all.truth, &all.models, best, SEED).context("nothing to compare")?;
    let blind = all.offers(&data, |_| committee, true);
    let points = points(table.draft(), &learned, &blind, &all, best);
    let abstained = learned.iter().filter(|row| row.abstained).count();
    if args.json {
        say!(
            "{}",
            serde_json::to_string_pretty(&as_json(&evaluation, &points, abstained))?
        );
    } else {
        print_table(&evaluation, &points, abstained);
    }
    Ok(())
}

/// What a committee is worth on labelled prompts, by the table's prices.
pub(super) fn committee(
    committee: &Committee,
    terms: &[Option<Terms>],
    audits: &[Audit],
    with_slices: bool,
) -> anyhow::Result<Evaluation> {
    let mut data = Dataset::of(audits, Some(&committee.models));
    if with_slices {
        data = data.with_slices_shown();
    }
    let all = Comparable::of(&data, terms, &[]);
    let best = best_on_training(&all, committee);
    let offers = all.offers(&data, |_| committee, false);
    evaluate(&offers, &all.truth, &all.models, best, SEED).context("nothing to compare")
}

/// Prices as the table has them, per column of the committee.
pub(super) fn terms(draft: &Draft, committee: &Committee) -> Vec<Option<Terms>> {
    let mut by_model: BTreeMap<&ModelId, Terms> = BTreeMap::new();
    for lane in &draft.lanes {
        let upstream = draft
            .upstreams
            .iter()
            .find(|upstream| upstream.id == lane.upstream);
        let model = upstream.and_then(|u| draft.models.iter().find(|model| model.id == u.model));
        if let (Some(model), Some(price)) = (model, lane.price.clone()) {
            by_model.entry(&model.id).or_insert(Terms {
                price,
                family: model.family,
                listed: false,
            });
        }
    }
    committee
        .models
        .iter()
        .map(|model| by_model.get(model).cloned())
        .collect()
}

fn best_on_training(all: &Comparable, committee: &Committee) -> usize {
    let quality = |i: &usize| committee.mean_quality[all.columns[*i]];
    (0..all.models.len()).max_by_key(quality).unwrap_or(0)
}

/// What an operator gets who sets a bar: λ from training, quality and cost from here.
struct DeployedPoint {
    bar: Bps,
    /// Whether the gate let the heads be used at this bar.
    learned: bool,
    reached: Deployed,
}

fn points(
    draft: &Draft,
    learned: &[Row],
    blind: &[Row],
    all: &Comparable,
    best: usize,
) -> Vec<DeployedPoint> {
    // As live: what the heads do not judge goes to the route's default.
    let default_lane = draft.routes.first().map(|route| &route.default_lane);
    let lane = draft
        .lanes
        .iter()
        .find(|lane| Some(&lane.id) == default_lane);
    let upstream = lane.and_then(|lane| draft.upstreams.iter().find(|u| u.id == lane.upstream));
    let default = upstream.and_then(|u| all.models.iter().position(|model| *model == u.model));
    let point = |bar: u16| {
        let bar = Bps::new(bar);
        let solved = draft.frontier.iter().find(|point| point.bar == bar)?;
        let choice = Choice::Multiplier(solved.multiplier);
        let policy = Policy {
            choice,
            guard: Bps::ONE,
            default,
        };
        let rows = if solved.learned { learned } else { blind };
        let reached = deployed(rows, &all.truth, policy, best, bar, SEED);
        Some(DeployedPoint {
            bar,
            learned: solved.learned,
            reached,
        })
    };
    BARS.into_iter().filter_map(point).collect()
}

fn as_json(e: &Evaluation, points: &[DeployedPoint], abstained: usize) -> Value {
    let single = |i: usize| {
        let single = &e.singles[i];
        json!({ "model": single.model.as_str(), "quality": single.quality, "cost_usd": single.cost })
    };
    let hull = |points: &[spillway_classifier::evaluate::hull::Point]| {
        points
            .iter()
            .map(|p| json!([p.cost, p.quality]))
            .collect::<Vec<_>>()
    };
    json!({
        "prompts": e.prompts,
        "abstained": abstained,
        "aiq": e.aiq,
        "aiq_zero": e.aiq_zero,
        "aiq_log": e.aiq_log,
        "aiq_log_zero": e.aiq_log_zero,
        "aiq_log_gain_95": [e.gain.low, e.gain.high],
        "cost_at": e.cost_at.iter().map(|at| json!({ "share": at.share, "of_best": at.cost, "zero_router": at.zero })).collect::<Vec<_>>(),
        "best": single(e.best),
        "cheapest": single(e.cheapest),
        "oracle": { "quality": e.oracle.quality, "cost_usd": e.oracle.cost },
        "best_reachable_quality": e.hull.best_quality(),
        "ece": e.calibration.ece,
        "brier": e.calibration.brier,
        "regret": e.regret.iter().map(|r| json!({ "lambda": r.lambda, "regret": r.regret, "quality_regret": r.quality_regret, "cost_ratio": r.cost_ratio })).collect::<Vec<_>>(),
        "deployed": points.iter().map(|p| json!({
            "bar": p.bar.share(), "learned": p.learned, "quality": p.reached.quality, "cost_usd": p.reached.cost,
            "quality_of_best": p.reached.quality / p.reached.best_quality,
            "cost_of_best": p.reached.cost / p.reached.best_cost,
            "shortfall_95": [p.reached.shortfall.low, p.reached.shortfall.high],
        })).collect::<Vec<_>>(),
        "singles": (0..e.singles.len()).map(single).collect::<Vec<_>>(),
        "curve": hull(&e.hull.points),
        "zero_curve": hull(&e.zero_hull.points),
    })
}

fn print_table(e: &Evaluation, points: &[DeployedPoint], abstained: usize) {
    let per_thousand = |usd: f64| usd * 1_000.0;
    say!(
        "{} prompts, {} models, {abstained} abstained",
        e.prompts,
        e.singles.len()
    );
    say!("\n{:<32} {:>8} {:>12}", "", "quality", "$ per 1,000");
    for (name, i) in [
        ("best single model", e.best),
        ("cheapest model", e.cheapest),
    ] {
        let single = &e.singles[i];
        let name = format!("{name}: {}", single.model);
        say!(
            "{name:<32} {:>8.4} {:>12.4}",
            single.quality,
            per_thousand(single.cost)
        );
    }
    say!(
        "{:<32} {:>8.4} {:>12.4}",
        "oracle",
        e.oracle.quality,
        per_thousand(e.oracle.cost)
    );
    say!("{:<32} {:>8.4}", "best reachable", e.hull.best_quality());
    say!("\n{:<32} {:>10} {:>12}", "", "this table", "zero router");
    say!("{:<32} {:>10.4} {:>12.4}", "AIQ", e.aiq, e.aiq_zero);
    say!(
        "{:<32} {:>10.4} {:>12.4}   gain {:+.4} [{:+.4}, {:+.4}]",
        "AIQ_log",
        e.aiq_log,
        e.aiq_log_zero,
        e.aiq_log - e.aiq_log_zero,
        e.gain.low,
        e.gain.high
    );
    for at in &e.cost_at {
        let shown = |share: Option<f64>| {
            share.map_or("never".to_owned(), |s| format!("{:.1} %", s * 100.0))
        };
        let name = format!("cost at {:.0} % of the best", at.share * 100.0);
        say!("{name:<32} {:>10} {:>12}", shown(at.cost), shown(at.zero));
    }
    say!(
        "\ncalibration: ECE {:.4}, Brier {:.4}",
        e.calibration.ece,
        e.calibration.brier
    );
    for r in &e.regret {
        say!(
            "regret at λ {}: {:.4} ({:.4} of quality, {:.2} × the oracle's cost)",
            r.lambda,
            r.regret,
            r.quality_regret,
            r.cost_ratio
        );
    }
    for p in points {
        say!(
            "bar {} ({}): quality {:.4} ({:.1} % of the best), cost {:.1} % of the best",
            p.bar,
            if p.learned { "learned" } else { "prompt-blind" },
            p.reached.quality,
            100.0 * p.reached.quality / p.reached.best_quality,
            100.0 * p.reached.cost / p.reached.best_cost
        );
    }
}
