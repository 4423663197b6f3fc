//! The acceptance lines on real labelled sets: learn on the train split, measure on the
//! test split.
//!
//! Reads `../../shared/data`; without it every test prints "skipped: no data" and
//! passes. Labels of the kind of work are known for training rows only.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that measures: it prints its figures, and stops at odd data"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use spillway_classifier::dataset::Dataset;
use spillway_classifier::evaluate::deployed::{Deployed, deployed};
use spillway_classifier::evaluate::{Evaluation, evaluate};
use spillway_classifier::learn::{Learned, learn};
use spillway_classifier::multiplier::{Solved, solve};
use spillway_classifier::offers::{Comparable, Policy, Row, terms};
use spillway_routing::features::Facts;
use spillway_routing::id::{ModelId, SliceId};
use spillway_routing::outcome::{Answer, Audit, Split};
use spillway_routing::prompt::{PromptView, Role, Turn};
use spillway_routing::tokens::TokenCounter;
use spillway_routing::unit::{Bps, NanoUsd, Tokens, UnixMillis};

const SEED: u64 = 11;

fn folder(set: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data")
        .join(set);
    if !folder.is_dir() {
        println!("skipped: no data");
        return None;
    }
    Some(folder)
}

/// Lines of a file, packed or not.
fn lines(folder: &Path, name: &str) -> Vec<Value> {
    let plain = folder.join(format!("{name}.jsonl"));
    let text = match std::fs::read(&plain) {
        Ok(text) => text,
        Err(_) => {
            let packed = std::fs::File::open(folder.join(format!("{name}.jsonl.zst"))).unwrap();
            zstd::decode_all(packed).unwrap()
        }
    };
    let text = String::from_utf8(text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn answer(line: &Value) -> Answer {
    let tokens = |name: &str| Tokens(line[name].as_u64().unwrap_or(0) as u32);
    Answer {
        model: ModelId::new(line["model"].as_str().unwrap()),
        score: Bps::from_share(line["score"].as_f64().unwrap()),
        input: tokens("input_tokens"),
        output: tokens("output_tokens"),
        cost: line["cost_usd"].as_f64().map(NanoUsd::from_usd),
        latency: None,
    }
}

fn facts(prompt: &Value, counter: &TokenCounter) -> Facts {
    let turns = [Turn {
        role: Role::User,
        text: prompt["prompt"].as_str().unwrap(),
    }];
    let tools = prompt["tools"].as_str().unwrap_or("");
    let declared: Option<Vec<Value>> = serde_json::from_str(tools).ok();
    let view = PromptView {
        turns: &turns,
        tools,
        tool_count: declared.map_or(0, |tools| tools.len() as u16),
        ..PromptView::default()
    };
    let mut facts = Facts::of(&view, counter);
    facts.slice = prompt["task"].as_str().map(SliceId::new);
    facts
}

fn audits(folder: &Path) -> Vec<Audit> {
    let mut answers: BTreeMap<String, Vec<Answer>> = BTreeMap::new();
    for line in lines(folder, "outcomes") {
        let id = line["prompt_id"].as_str().unwrap().to_owned();
        // Models without a recorded cost cannot be compared here.
        if line["cost_usd"].is_number() {
            answers.entry(id).or_default().push(answer(&line));
        }
    }
    let counter = TokenCounter::new();
    let audit = |prompt: &Value| {
        let id = prompt["prompt_id"].as_str().unwrap();
        Audit {
            id: id.to_owned(),
            at: UnixMillis(0),
            split: prompt["split"].as_str().and_then(Split::parse),
            facts: facts(prompt, &counter),
            answers: answers.get(id).cloned().unwrap_or_default(),
        }
    };
    lines(folder, "prompts").iter().map(audit).collect()
}

struct Measured {
    learned: Evaluation,
    blind: Evaluation,
    solved: Vec<(Solved, Deployed)>,
    solved_blind: (Solved, Deployed),
}

fn measure(train: &Dataset, test: &Dataset, bars: &[u16]) -> Measured {
    let prices = terms(train, &BTreeMap::new());
    let Learned { committee, folds } = learn(train, &prices, SEED, &mut || ());
    let inside = Comparable::of(train, &prices, &[]);
    let outside = Comparable::at(test, &prices, inside.columns.clone());
    let best = inside.best();
    let of_row = |row: usize| &folds.committees[folds.fold[row]];
    let unseen = inside.offers(train, of_row, false);
    let unseen_blind = inside.offers(train, of_row, true);
    let learned = outside.offers(test, |_| &committee, false);
    let blind = outside.offers(test, |_| &committee, true);
    let abstained = learned.iter().filter(|row| row.abstained).count();
    println!(
        "heads {:?} mix {:?}",
        spillway_classifier::report::heads(&committee),
        committee.mix
    );
    println!("abstained {abstained} of {}", learned.len());
    println!(
        "models {} train {} test {}",
        inside.models.len(),
        inside.rows.len(),
        outside.rows.len()
    );
    let judge = |rows: &[Row]| evaluate(rows, &outside.truth, &outside.models, best, SEED).unwrap();
    let own = evaluate(&unseen, &inside.truth, &inside.models, best, SEED).unwrap();
    print("train, out of fold", &own);
    let reach = |inner: &[Row], outer: &[Row], bar: u16| {
        let bar = Bps::new(bar);
        let solved = solve(inner, &inside.truth, best, bar, Policy::lambda(0));
        let policy = Policy::lambda(solved.lambda());
        let reached = deployed(outer, &outside.truth, policy, best, bar, SEED);
        println!(
            "bar {bar}: λ {} kept {} expected {:.4} at {:.1} %; reached {:.4} = {:.2} % of best at {:.1} %, short {:+.4}..{:+.4}",
            solved.lambda(),
            solved.kept,
            solved.quality,
            100.0 * solved.cost / inside.truth.cost.column(best).mean().unwrap(),
            reached.quality,
            100.0 * reached.quality / reached.best_quality,
            100.0 * reached.cost / reached.best_cost,
            reached.shortfall.low,
            reached.shortfall.high
        );
        (solved, reached)
    };
    let measured = Measured {
        learned: judge(&learned),
        blind: judge(&blind),
        solved: bars
            .iter()
            .map(|bar| reach(&unseen, &learned, *bar))
            .collect(),
        solved_blind: reach(&unseen_blind, &blind, 10_000),
    };
    print("test, learned", &measured.learned);
    print("test, blind", &measured.blind);
    measured
}

fn print(what: &str, e: &Evaluation) {
    let share = |cost: Option<f64>| cost.map_or("never".into(), |c| format!("{:.1}", c * 100.0));
    println!(
        "{what}: AIQ {:.4} (zero {:.4}) AIQ_log {:.4} (zero {:.4}, gain {:+.4}..{:+.4}) best {:.4} max {:.4} oracle {:.4} ECE {:.4} Brier {:.4}",
        e.aiq,
        e.aiq_zero,
        e.aiq_log,
        e.aiq_log_zero,
        e.gain.low,
        e.gain.high,
        e.singles[e.best].quality,
        e.hull.best_quality(),
        e.oracle.quality,
        e.calibration.ece,
        e.calibration.brier
    );
    for at in &e.cost_at {
        print!(
            "  c{} {} ({})",
            at.share * 100.0,
            share(at.cost),
            share(at.zero)
        );
    }
    println!();
}

/// The lines that every set must reach.
fn accept(measured: &Measured) {
    let learned = &measured.learned;
    assert!(
        learned.aiq_log > learned.aiq_log_zero,
        "no better than prompt-blind"
    );
    assert!(
        learned.calibration.ece <= 0.05,
        "not calibrated: {}",
        learned.calibration.ece
    );
    // Asked for all of the best single model's quality: never more than a point below.
    // Where no λ keeps it, prompt-blind choice is handed out, and that is that model.
    let whole = &measured.solved[1];
    let (_, reached) = if whole.0.kept {
        whole
    } else {
        &measured.solved_blind
    };
    assert!(reached.quality >= reached.best_quality - 0.01);
    assert!(measured.blind.prompts == learned.prompts);
}

fn split(audits: Vec<Audit>) -> (Dataset, Dataset) {
    let (train, test): (Vec<Audit>, Vec<Audit>) = audits
        .into_iter()
        .partition(|audit| audit.split != Some(Split::Test));
    let train = Dataset::of(&train, None);
    let test = Dataset::of(&test, Some(&train.models));
    (train, test)
}

#[test]
fn zeroeval() {
    let Some(folder) = folder("zeroeval") else {
        return;
    };
    let (train, test) = split(audits(&folder));
    let measured = measure(&train, &test, &[9_500, 10_000]);
    accept(&measured);
    let (_, reached) = &measured.solved[0];
    assert!(reached.quality >= 0.94 * reached.best_quality);
    assert!(reached.cost <= 0.30 * reached.best_cost);
}

#[test]
fn mmlu_pro() {
    let Some(folder) = folder("mmlu_pro") else {
        return;
    };
    let (train, test) = split(audits(&folder));
    accept(&measure(&train, &test, &[9_500, 10_000]));
}

#[test]
fn llmrouter() {
    let Some(folder) = folder("llmrouter") else {
        return;
    };
    let (train, test) = split(audits(&folder));
    accept(&measure(&train, &test, &[9_500, 10_000]));
}

#[test]
fn bfcl_dev() {
    let Some(folder) = folder("bfcl_dev") else {
        return;
    };
    let all = Dataset::of(&audits(&folder), None);
    let (train, test) = all.cut(0.3, SEED);
    accept(&measure(
        &all.rows(&train),
        &all.rows(&test),
        &[9_500, 10_000],
    ));
}
