//! `spillway evaluate` without a table: learn from the train split, measure on the test
//! split, beside other ways to route.
//!
//! Owns: the averages over seeds and their printed form. The curve is `curve.rs`'s.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Value, json};
use spillway_classifier::certificate::ALLOWED;
use spillway_classifier::compare::{Comparison, Contender, compare};
use spillway_classifier::crossfit::CrossFit;
use spillway_classifier::dataset::Dataset;
use spillway_classifier::evaluate::Evaluation;
use spillway_classifier::guarantee::{DRAWS, Kept, guarantee};
use spillway_classifier::learn::{Learned, learn};
use spillway_classifier::offers::{Comparable, Terms, terms};
use spillway_routing::outcome::{Audit, Split};
use spillway_routing::unit::UnixMillis;

use super::set::{self, Part};
use super::{curve, newcomer, offpolicy, unseen};
use crate::command::EvaluateArgs;
use crate::output::say;
use crate::progress;

/// Shares of the best single model's quality whose cost is shown.
const SHARES: [f64; 3] = [0.95, 0.99, 1.0];
/// Audits that a multiplier is set by when promises are counted.
const AUDITS: [usize; 3] = [300, 1_000, 3_000];

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
    if args.unseen {
        return unseen::run(&train, &test, 1);
    }
    let prices = terms(&train, &BTreeMap::new());
    if let Some(model) = &args.newcomer {
        return newcomer::run(model, &train, &test, &prices, args.seeds);
    }
    if args.off_policy {
        return offpolicy::run(&train, &prices);
    }
    let bar = progress::bar(args.seeds, "seeds");
    let mut runs = Vec::new();
    let mut kept = Vec::new();
    for seed in 1..=args.seeds {
        let Learned { committee, folds } = learn(&train, &prices, seed, &mut || ());
        if args.guarantee && seed == 1 {
            kept = promises(&train, &prices, &folds);
        }
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
        for (audits, kept) in kept {
            say!(
                "{audits} audits, {}: {:.1} % of {DRAWS} draws lose more than {:.0} points; cost {:.1} % of the best",
                kept.rule.name(),
                100.0 * kept.violations,
                100.0 * ALLOWED,
                100.0 * kept.cost
            );
        }
    }
    Ok(())
}

/// Promises kept on out-of-fold offers of the training part, for several numbers of
/// audits.
fn promises(train: &Dataset, prices: &[Option<Terms>], folds: &CrossFit) -> Vec<(usize, Kept)> {
    let all = Comparable::of(train, prices, &[]);
    let rows = all.offers(train, |row| &folds.committees[folds.fold[row]], false);
    let count = |audits: usize| {
        let kept = guarantee(&rows, &all.truth, all.best(), audits, 1);
        kept.into_iter().flatten().map(move |kept| (audits, kept))
    };
    AUDITS.into_iter().flat_map(count).collect()
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
    print_points(e);
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
    print_line("zero router", &zero_router(e), false);
    for (who, figures) in averages(runs) {
        print_line(who.name(), &figures, true);
    }
    say!(
        "\nover best: points above the best single model; cX: cost in % of its, for X % of its quality"
    );
}

/// What is measured of the zero router; the rest stays zero.
fn zero_router(e: &Evaluation) -> Figures {
    let zero = |share: f64| {
        e.cost_at
            .iter()
            .find(|at| (at.share - share).abs() < 1e-9)?
            .zero
    };
    Figures {
        aiq: e.aiq_zero,
        aiq_log: e.aiq_log_zero,
        gain: [0.0; 2],
        over_best: 0.0,
        cost_at: SHARES.map(zero),
        ece: 0.0,
    }
}

fn print_points(e: &Evaluation) {
    let point = |name: String, quality: f64, cost: f64| {
        say!(
            "{name:<52} quality {quality:.4}, $ {:.4} per 1,000",
            cost * 1_000.0
        );
    };
    for (what, index) in [("best single", e.best), ("cheapest", e.cheapest)] {
        let single = &e.singles[index];
        point(
            format!("{what}: {}", single.model),
            single.quality,
            single.cost,
        );
    }
    point("oracle".to_owned(), e.oracle.quality, e.oracle.cost);
}

fn print_line(name: &str, f: &Figures, predicts: bool) {
    let cost = |cost: Option<f64>| cost.map_or("never".to_owned(), |c| format!("{:.1}", 100.0 * c));
    let [c95, c99, c100] = f.cost_at.map(cost);
    let only = |text: String| if predicts { text } else { String::new() };
    let gain = only(format!("{:+.4}..{:+.4}", f.gain[0], f.gain[1]));
    let over = only(format!("{:+.2}", 100.0 * f.over_best));
    let ece = only(format!("{:.4}", f.ece));
    let (aiq, log) = (f.aiq, f.aiq_log);
    say!(
        "{name:<24} {aiq:>7.4} {log:>8.4} {gain:>19} {over:>9} {c95:>7} {c99:>7} {c100:>7} {ece:>7}"
    );
}
