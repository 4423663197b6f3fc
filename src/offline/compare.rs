//! `spillway evaluate` without a table: learn from the train split, measure on the test
//! split, beside other ways to route.
//!
//! Owns: the averages over seeds and their printed form. The curve is `curve.rs`'s.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Value, json};
use spillway_classifier::compare::{Comparison, Contender, compare};
use spillway_classifier::dataset::Dataset;
use spillway_classifier::evaluate::Evaluation;
use spillway_classifier::evaluate::hull::Point;
use spillway_classifier::learn::learn;
use spillway_classifier::offers::terms;
use spillway_routing::outcome::{Audit, Split};
use spillway_routing::unit::UnixMillis;

use super::curve;
use super::set::{self, Part};
use crate::command::EvaluateArgs;
use crate::output::say;
use crate::progress;

/// Shares of the best single model's quality whose cost is shown.
const SHARES: [f64; 3] = [0.95, 0.99, 1.0];

pub(crate) fn run(args: &EvaluateArgs) -> anyhow::Result<()> {
    anyhow::ensure!(args.seeds > 0, "--seeds 0: at least one run is needed");
    let audits = set::audits(&args.set, Part::All, true, UnixMillis(0))?;
    let split = |audit: &Audit| {
        let own = audit.split.filter(|_| !args.resplit);
        own.unwrap_or_else(|| set::cut(&audit.id))
    };
    let (train, test): (Vec<Audit>, Vec<Audit>) = audits
        .into_iter()
        .partition(|audit| split(audit) == Split::Train);
    let train = Dataset::of(&train, None);
    let test = Dataset::of(&test, Some(&train.models));
    anyhow::ensure!(
        !test.is_empty(),
        "{} has no prompts of split test; --resplit cuts anew",
        args.set.prompts.display()
    );
    let prices = terms(&train, &BTreeMap::new());
    let bar = progress::bar(args.seeds, "seeds");
    let mut runs = Vec::new();
    for seed in 1..=args.seeds {
        let committee = learn(&train, &prices, seed, &mut || ()).committee;
        let run = compare(&committee, &train, &test, &prices, seed);
        runs.push(run.context("fewer than two models have a price and answered these prompts")?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(path) = &args.svg {
        let drawn = curve::svg(&runs[0]).context("the curve cannot be drawn")?;
        std::fs::write(path, drawn).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&as_json(&runs))?);
    } else {
        print_table(&runs, &train);
    }
    Ok(())
}

/// One contender, averaged over runs.
struct Figures {
    aiq: f64,
    aiq_log: f64,
    /// Of AIQ_log over the zero router's, 95 %, the bounds averaged too.
    gain: [f64; 2],
    /// Best reachable quality minus the best single model's.
    over_best: f64,
    /// As shares of the best single model's cost; `None` if a run never reached one.
    cost_at: [Option<f64>; 3],
    ece: f64,
}

impl Figures {
    fn of(evaluations: &[&Evaluation]) -> Self {
        let mean = |value: &dyn Fn(&Evaluation) -> f64| {
            evaluations.iter().map(|e| value(e)).sum::<f64>() / evaluations.len().max(1) as f64
        };
        let cost_at = SHARES.map(|share| {
            let costs: Option<Vec<f64>> = evaluations.iter().map(|e| e.cost_share(share)).collect();
            costs.map(|costs| costs.iter().sum::<f64>() / costs.len().max(1) as f64)
        });
        Self {
            aiq: mean(&|e| e.aiq),
            aiq_log: mean(&|e| e.aiq_log),
            gain: [mean(&|e| e.gain.low), mean(&|e| e.gain.high)],
            over_best: mean(&|e| e.hull.best_quality() - e.singles[e.best].quality),
            cost_at,
            ece: mean(&|e| e.calibration.ece),
        }
    }
}

/// Who took part, with the averages, in one order.
fn averages(runs: &[Comparison]) -> Vec<(Contender, Figures)> {
    let mut by_contender: BTreeMap<Contender, Vec<&Evaluation>> = BTreeMap::new();
    for (who, evaluation) in runs.iter().flat_map(|run| &run.contests) {
        by_contender.entry(*who).or_default().push(evaluation);
    }
    by_contender
        .into_iter()
        .map(|(who, evaluations)| (who, Figures::of(&evaluations)))
        .collect()
}

fn as_json(runs: &[Comparison]) -> Value {
    let contests = averages(runs).into_iter().map(|(who, f)| {
        json!({
            "router": who.name(), "aiq": f.aiq, "aiq_log": f.aiq_log, "aiq_log_gain_95": f.gain,
            "over_best_single": f.over_best, "ece": f.ece,
            "cost_at": SHARES.iter().zip(f.cost_at).map(|(share, cost)| json!({ "share": share, "of_best": cost })).collect::<Vec<_>>(),
        })
    });
    let e = &runs[0].contests[0].1;
    json!({
        "prompts": e.prompts,
        "models": e.singles.len(),
        "seeds": runs.len(),
        "abstained": runs.iter().map(|run| run.abstained).collect::<Vec<_>>(),
        "zero_router": { "aiq": e.aiq_zero, "aiq_log": e.aiq_log_zero },
        "best": { "model": e.singles[e.best].model.as_str(), "quality": e.singles[e.best].quality, "cost_usd": e.singles[e.best].cost },
        "cheapest": { "model": e.singles[e.cheapest].model.as_str(), "quality": e.singles[e.cheapest].quality, "cost_usd": e.singles[e.cheapest].cost },
        "oracle": { "quality": e.oracle.quality, "cost_usd": e.oracle.cost },
        "routers": contests.collect::<Vec<_>>(),
    })
}

fn print_table(runs: &[Comparison], train: &Dataset) {
    let e = &runs[0].contests[0].1;
    say!(
        "{} train and {} test prompts, {} models, mean of {} seeds; {} test prompts abstained on",
        train.len(),
        e.prompts,
        e.singles.len(),
        runs.len(),
        runs.iter().map(|run| run.abstained).sum::<usize>() / runs.len()
    );
    let fixed = |name: String, point: Point| {
        say!(
            "{name:<52} quality {:.4}, $ {:.4} per 1,000",
            point.quality,
            point.cost * 1_000.0
        );
    };
    for (what, index) in [("best single", e.best), ("cheapest", e.cheapest)] {
        let single = &e.singles[index];
        let point = Point {
            cost: single.cost,
            quality: single.quality,
        };
        fixed(format!("{what}: {}", single.model), point);
    }
    fixed("oracle".to_owned(), e.oracle);
    say!(
        "\n{:<24} {:>7} {:>8} {:>19} {:>9} {:>7} {:>7} {:>7} {:>7}",
        "",
        "AIQ",
        "AIQ_log",
        "gain 95 %",
        "over best",
        "c95",
        "c99",
        "c100",
        "ECE"
    );
    let zero = SHARES.map(|share| {
        e.cost_at
            .iter()
            .find(|at| (at.share - share).abs() < 1e-9)?
            .zero
    });
    let line = |name: &str, aiq: f64, log: f64, costs: [Option<f64>; 3], rest: [String; 3]| {
        let shown =
            costs.map(|cost| cost.map_or("never".to_owned(), |c| format!("{:.1}", 100.0 * c)));
        say!(
            "{name:<24} {aiq:>7.4} {log:>8.4} {:>19} {:>9} {:>7} {:>7} {:>7} {:>7}",
            rest[0],
            rest[1],
            shown[0],
            shown[1],
            shown[2],
            rest[2]
        );
    };
    line(
        "zero router",
        e.aiq_zero,
        e.aiq_log_zero,
        zero,
        Default::default(),
    );
    for (who, f) in averages(runs) {
        let rest = [
            format!("{:+.4}..{:+.4}", f.gain[0], f.gain[1]),
            format!("{:+.2}", 100.0 * f.over_best),
            format!("{:.4}", f.ece),
        ];
        line(who.name(), f.aiq, f.aiq_log, f.cost_at, rest);
    }
    say!(
        "\nover best: points above the best single model; cX: cost in % of its, for X % of its quality"
    );
}
