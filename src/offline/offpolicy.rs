//! `spillway evaluate --off-policy`: how far estimates from logged choices are off.
//!
//! Owns: which what-ifs are tried and the printed form. The log is made up of the train
//! split's out-of-fold predictions, whose every outcome is known.

use spillway_classifier::dataset::Dataset;
use spillway_classifier::learn::learn;
use spillway_classifier::multiplier::solve;
use spillway_classifier::offers::{Comparable, Policy, Terms};
use spillway_classifier::offlog::{Trial, WhatIf, trials};
use spillway_routing::offpolicy::Estimates;
use spillway_routing::unit::Bps;

use crate::output::say;

/// Logged choices, and logs.
const CHOICES: usize = 3_000;
const LOGS: u64 = 200;
/// The logging policy keeps this share of the best single model's quality.
const BAR: Bps = Bps::new(9_800);

pub(super) fn run(train: &Dataset, prices: &[Option<Terms>]) -> anyhow::Result<()> {
    let learned = learn(train, prices, 1, &mut || ());
    let all = Comparable::of(train, prices, &[]);
    anyhow::ensure!(
        all.models.len() > 1,
        "fewer than two models can be compared"
    );
    let folds = &learned.folds;
    let rows = all.offers(train, |row| &folds.committees[folds.fold[row]], false);
    let lambda = solve(&rows, &all.truth, all.best(), BAR, Policy::lambda(0)).lambda();
    let choices = CHOICES.min(rows.len());
    say!(
        "{choices} logged choices of {} prompts, {LOGS} logs; mean absolute error in points of quality",
        rows.len()
    );
    say!(
        "{:<26} {:>8} {:>8} {:>14} {:>10} {:>9}",
        "",
        "direct",
        "SNIPS",
        "doubly robust",
        "90 % cover",
        "samples"
    );
    let what_ifs = [
        ("λ / 2", WhatIf::Multiplier(0.5)),
        ("λ × 2", WhatIf::Multiplier(2.0)),
        ("λ × 5", WhatIf::Multiplier(5.0)),
        ("dearest at half its price", WhatIf::Price(0.5)),
    ];
    for (name, other) in what_ifs {
        let found = trials(&rows, &all.truth, lambda, other, choices, LOGS);
        print_line(name, &found);
    }
    Ok(())
}

fn print_line(name: &str, found: &[Trial]) {
    let error = |estimate: fn(&Estimates) -> Option<f64>| {
        let errors = found
            .iter()
            .filter_map(|trial| Some((estimate(&trial.estimates)? - trial.truth).abs()));
        let errors: Vec<f64> = errors.collect();
        if errors.is_empty() {
            return "refused".to_owned();
        }
        format!(
            "{:.2}",
            100.0 * errors.iter().sum::<f64>() / errors.len() as f64
        )
    };
    let covers = |trial: &&Trial| {
        let interval = trial.estimates.interval;
        interval.is_some_and(|(low, high)| (low..=high).contains(&trial.truth))
    };
    let told = found
        .iter()
        .filter(|t| t.estimates.interval.is_some())
        .count();
    let covered = found.iter().filter(covers).count();
    let samples: f64 = found.iter().map(|t| t.estimates.effective_samples).sum();
    say!(
        "{name:<26} {:>8} {:>8} {:>14} {:>9.1} % {:>8.0}",
        error(|e| e.direct),
        error(|e| e.self_normalised),
        error(|e| e.doubly_robust),
        100.0 * covered as f64 / told.max(1) as f64,
        samples / found.len().max(1) as f64
    );
}
