//! `spillway evaluate --unseen`: kinds of work that nobody ever labelled.
//!
//! Owns: leaving one slice out of training at a time and routing it by what was learnt
//! from the others, with callers who name the slice and callers who do not.

use anyhow::Context as _;
use spillway_classifier::dataset::Dataset;
use spillway_classifier::evaluate::evaluate;
use spillway_classifier::learn::learn;
use spillway_classifier::offers::{Comparable, Row, terms};
use spillway_routing::id::SliceId;
use std::collections::{BTreeMap, BTreeSet};

use crate::output::say;
use crate::progress;

/// Slices with fewer test prompts are left out: their hulls are noise.
const PROMPTS_MIN: usize = 20;

/// One slice that was left out: AIQ of its own test prompts.
struct Left {
    slice: SliceId,
    prompts: usize,
    blind: f64,
    unnamed: f64,
    named: f64,
}

pub(super) fn run(train: &Dataset, test: &Dataset, seed: u64) -> anyhow::Result<()> {
    let slices: BTreeSet<&SliceId> = test
        .prompts
        .iter()
        .filter_map(|p| p.slice.as_ref())
        .collect();
    let bar = progress::bar(slices.len() as u64, "slices");
    let mut left = Vec::new();
    for slice in slices {
        left.extend(leave_out(slice, train, test, seed)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    anyhow::ensure!(
        left.len() > 1,
        "fewer than two slices have {PROMPTS_MIN} test prompts"
    );
    say!("AIQ on a slice that training did not see, in points above no features");
    say!(
        "{:<32} {:>8} {:>12} {:>9} {:>9}",
        "",
        "prompts",
        "no features",
        "unnamed",
        "named"
    );
    let points = |x: f64| 100.0 * x;
    for l in &left {
        say!(
            "{:<32} {:>8} {:>12.4} {:>+9.2} {:>+9.2}",
            l.slice,
            l.prompts,
            l.blind,
            points(l.unnamed - l.blind),
            points(l.named - l.blind)
        );
    }
    let mean = |value: fn(&Left) -> f64| left.iter().map(value).sum::<f64>() / left.len() as f64;
    say!(
        "{:<32} {:>8} {:>12.4} {:>+9.2} {:>+9.2}",
        "mean",
        "",
        mean(|l| l.blind),
        points(mean(|l| l.unnamed - l.blind)),
        points(mean(|l| l.named - l.blind))
    );
    Ok(())
}

fn leave_out(
    slice: &SliceId,
    train: &Dataset,
    test: &Dataset,
    seed: u64,
) -> anyhow::Result<Option<Left>> {
    let of = |data: &Dataset, inside: bool| -> Vec<usize> {
        let is = |row: &usize| (data.prompts[*row].slice.as_ref() == Some(slice)) == inside;
        (0..data.len()).filter(is).collect()
    };
    let test = test.rows(&of(test, true));
    if test.len() < PROMPTS_MIN {
        return Ok(None);
    }
    let train = train.rows(&of(train, false));
    let prices = terms(&train, &BTreeMap::new());
    let committee = learn(&train, &prices, seed, &mut || ()).committee;
    let inside = Comparable::of(&train, &prices, &[]);
    let outside = Comparable::at(&test, &prices, inside.columns.clone());
    let aiq = |rows: &[Row]| {
        let judged = evaluate(rows, &outside.truth, &outside.models, inside.best(), seed);
        judged
            .map(|e| e.aiq)
            .context("fewer than two models can be compared")
    };
    Ok(Some(Left {
        slice: slice.clone(),
        prompts: test.len(),
        blind: aiq(&outside.offers(&test, |_| &committee, true))?,
        unnamed: aiq(&outside.offers(&test, |_| &committee, false))?,
        named: aiq(&outside.offers(&test.with_slices_shown(), |_| &committee, false))?,
    }))
}
