//! `spillway evaluate --newcomer`: what a few audits of a new model are worth.
//!
//! Owns: hiding most labels of one model at a time, and measuring on the test split what
//! routing with it gains over routing without it, as a share of what all labels give.

use anyhow::Context as _;
use spillway_classifier::dataset::Dataset;
use spillway_classifier::evaluate::evaluate;
use spillway_classifier::impute::impute;
use spillway_classifier::learn::learn;
use spillway_classifier::offers::{Comparable, Row, Terms};
use spillway_routing::head::{Abstention, Committee, Scores};
use spillway_routing::unit::Bps;

use crate::output::say;

/// Numbers of audits that are tried.
const AUDITS: [usize; 2] = [100, 300];

pub(super) fn run(
    model: &str,
    train: &Dataset,
    test: &Dataset,
    prices: &[Option<Terms>],
    seeds: u64,
) -> anyhow::Result<()> {
    let place = train.models.iter().position(|id| id.as_str() == model);
    let place = place.with_context(|| format!("the set has no model {model:?}"))?;
    let all = Comparable::of(train, prices, &[]);
    let set = Set {
        train,
        test,
        prices,
        place,
        outside: Comparable::at(test, prices, all.columns.clone()),
        best: all.best(),
    };
    let mut sums = vec![[0.0; 2]; AUDITS.len() + 2];
    for seed in 1..=seeds {
        let mut measured = vec![set.without(seed)?, set.with(train.labels()[place], seed)?];
        for audits in AUDITS {
            measured.push(set.with(audits, seed)?);
        }
        for (sum, one) in sums.iter_mut().zip(measured) {
            sum[0] += one[0] / seeds as f64;
            sum[1] += one[1] / seeds as f64;
        }
    }
    let (absent, full) = (sums[0], sums[1]);
    say!(
        "{model} as a newcomer, mean of {seeds} seeds: (AIQ − zero) / (oracle − zero), and AIQ_log"
    );
    say!(
        "  absent {:.4} {:.4}, all labels {:.4} {:.4}",
        absent[0],
        absent[1],
        full[0],
        full[1]
    );
    for (audits, found) in AUDITS.iter().zip(&sums[2..]) {
        let share = |i: usize| 100.0 * (found[i] - absent[i]) / (full[i] - absent[i]);
        say!(
            "  {audits} audits {:.4} {:.4}: {:.0} % and {:.0} % of the gap",
            found[0],
            found[1],
            share(0),
            share(1)
        );
    }
    Ok(())
}

struct Set<'a> {
    train: &'a Dataset,
    test: &'a Dataset,
    prices: &'a [Option<Terms>],
    place: usize,
    outside: Comparable,
    best: usize,
}

impl Set<'_> {
    fn judge(&self, rows: &[Row]) -> anyhow::Result<[f64; 2]> {
        let (truth, models) = (&self.outside.truth, &self.outside.models);
        let e = evaluate(rows, truth, models, self.best, 1).context("nothing to compare")?;
        Ok([
            (e.aiq - e.aiq_zero) / (e.oracle.quality - e.aiq_zero),
            e.aiq_log,
        ])
    }

    /// With so many of its labels, those of the prompts with the lowest keys.
    fn with(&self, labels: usize, seed: u64) -> anyhow::Result<[f64; 2]> {
        let mut data = self.train.clone();
        let mut rows: Vec<usize> = (0..data.len()).collect();
        rows.sort_by_key(|row| data.prompts[*row].key.rotate_left(seed as u32 * 7));
        for row in rows.into_iter().skip(labels) {
            let at = [row, self.place];
            for matrix in [
                &mut data.quality,
                &mut data.input,
                &mut data.output,
                &mut data.cost,
            ] {
                matrix[at] = f64::NAN;
            }
        }
        let committee = learn(&impute(data), self.prices, seed, &mut || ()).committee;
        self.judge(&self.outside.offers(self.test, |_| &committee, false))
    }

    /// The others alone; the newcomer is expected to do nothing right.
    fn without(&self, seed: u64) -> anyhow::Result<[f64; 2]> {
        let kept: Vec<usize> = (0..self.train.models.len())
            .filter(|m| *m != self.place)
            .collect();
        let prices: Vec<Option<Terms>> = kept.iter().map(|m| self.prices[*m].clone()).collect();
        let committee = learn(&self.train.columns(&kept), &prices, seed, &mut || ()).committee;
        let rows = self.outside.offers_of(self.test, |row| {
            let scores = committee.score(&self.test.prompts[row].facts);
            self.widen(scores, &committee)
        });
        self.judge(&rows)
    }

    fn widen(&self, mut scores: Scores, committee: &Committee) -> Scores {
        if scores.abstention.is_some() {
            scores = committee.blind(Abstention::NotTrained);
        }
        let mut nothing = scores.models[0];
        nothing.quality = Bps::ZERO;
        scores.models.insert(self.place, nothing);
        scores
    }
}
