//! What the proxy would weigh for each prompt, and what really happened there.
//!
//! Owns: predicted offers per prompt and model (quality from a committee, cost from
//! price × predicted tokens, never looked up), the observed truth beside them, and
//! picking by `routing::decide::choose`. Knows nothing of how a λ is found or judged.

use std::collections::BTreeMap;

use ndarray::{Array2, Axis};
use spillway_routing::catalogue::Price;
use spillway_routing::decide::{Offer, choose};
use spillway_routing::head::{Abstention, Committee, Scores};
use spillway_routing::id::ModelId;
use spillway_routing::table::Choice;
use spillway_routing::tokens::Family;
use spillway_routing::unit::{Bps, NanoUsd, Tokens, UnixMillis};

use crate::dataset::{Dataset, Prompt};
use crate::price::{Charge, price_of};
use crate::side_by_side;

/// What is needed to price a model's answer before it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    pub price: Price,
    pub family: Family,
    /// Somebody's price list says so: what counts from now on, whatever was charged then.
    pub listed: bool,
}

/// Share of the audited prompts that a model must have answered to be compared.
pub(crate) const COVERAGE_MIN: f64 = 0.95;

/// Prompts and models that can be compared fairly: every one observed with every other,
/// with a price and a cost.
#[derive(Clone, Debug)]
pub struct Comparable {
    /// Rows of the data set, all audits.
    pub rows: Vec<usize>,
    /// Columns of the data set.
    pub columns: Vec<usize>,
    pub models: Vec<ModelId>,
    /// One per column.
    pub terms: Vec<Terms>,
    pub truth: Truth,
}

/// Observed quality (0..=1) and cost (US dollars), prompts × models, without gaps.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    pub quality: Array2<f64>,
    pub cost: Array2<f64>,
}

/// One prompt's offers, a column per model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub offers: Vec<Offer>,
    /// The committee declined; the offers are the prompt-blind ones.
    pub abstained: bool,
}

/// How a route picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub choice: Choice,
    pub guard: Bps,
    /// Column that takes the prompts on which the committee abstains; without one they
    /// are weighed by the prompt-blind means.
    pub default: Option<usize>,
}

impl Policy {
    /// q − λ·cost and nothing else.
    #[must_use]
    pub fn lambda(lambda: u64) -> Self {
        Self {
            choice: Choice::Multiplier(lambda),
            guard: Bps::ONE,
            default: None,
        }
    }

    /// The column picked.
    #[must_use]
    pub fn pick(&self, row: &Row) -> usize {
        match self.default {
            Some(column) if row.abstained => column,
            _ => choose(self.choice, self.guard, &row.offers).map_or(0, |(column, _)| column),
        }
    }
}

/// Prices per model: the catalogue's where it has one, else read off the charges.
#[must_use]
pub fn terms(data: &Dataset, known: &BTreeMap<ModelId, Terms>) -> Vec<Option<Terms>> {
    let observed = |column: usize| {
        let charge = |row: usize| Charge {
            input: data.input[[row, column]],
            output: data.output[[row, column]],
            cost: data.cost[[row, column]],
        };
        let price = price_of(&(0..data.len()).map(charge).collect::<Vec<_>>())?;
        Some(Terms {
            price,
            family: Family::default(),
            listed: false,
        })
    };
    let models = data.models.iter().enumerate();
    models
        .map(|(column, model)| known.get(model).cloned().or_else(|| observed(column)))
        .collect()
}

impl Comparable {
    /// Models with a price that answered nearly every audited prompt, and the prompts
    /// that all of them answered. `only` restricts the models; empty means all.
    #[must_use]
    pub fn of(data: &Dataset, terms: &[Option<Terms>], only: &[ModelId]) -> Self {
        let audits = data.audits();
        let seen = |row: usize, column: usize| !data.quality[[row, column]].is_nan();
        let most = audits.len() as f64 * COVERAGE_MIN;
        let wanted = |column: &usize| {
            terms[*column].is_some()
                && (only.is_empty() || only.contains(&data.models[*column]))
                && audits.iter().filter(|row| seen(**row, *column)).count() as f64 >= most
        };
        let columns: Vec<usize> = (0..data.models.len()).filter(wanted).collect();
        Self::at(data, terms, columns)
    }

    /// The same columns on other rows, so that two parts of the data can be compared.
    #[must_use]
    pub fn at(data: &Dataset, terms: &[Option<Terms>], columns: Vec<usize>) -> Self {
        let audits = data.audits();
        let seen = |row: usize, column: usize| !data.quality[[row, column]].is_nan();
        let whole = |row: &usize| columns.iter().all(|column| seen(*row, *column));
        let rows: Vec<usize> = audits.iter().copied().filter(whole).collect();
        let chosen: Vec<Terms> = columns.iter().filter_map(|c| terms[*c].clone()).collect();
        let shape = (rows.len(), columns.len());
        let cost = |row: usize, i: usize| {
            let column = columns[i];
            let charged = data.cost[[row, column]];
            let (input, output) = (data.input[[row, column]], data.output[[row, column]]);
            let counted = chosen[i].listed && input > 0.0 && output > 0.0;
            if !charged.is_nan() && !counted {
                return charged;
            }
            let at = data.prompts[row].at;
            estimate(
                &chosen[i].price,
                Tokens(input as u32),
                Tokens(output as u32),
                at,
            )
            .usd()
        };
        let truth = Truth {
            quality: Array2::from_shape_fn(shape, |(r, c)| data.quality[[rows[r], columns[c]]]),
            cost: Array2::from_shape_fn(shape, |(r, c)| cost(rows[r], c)),
        };
        Self {
            models: columns.iter().map(|c| data.models[*c].clone()).collect(),
            rows,
            columns,
            terms: chosen,
            truth,
        }
    }

    /// Only some of the models, with the offers narrowed alike. Empty means all.
    #[must_use]
    pub fn narrow(&self, offers: &[Row], only: &[ModelId]) -> (Self, Vec<Row>) {
        let wanted = |i: &usize| only.is_empty() || only.contains(&self.models[*i]);
        let kept: Vec<usize> = (0..self.models.len()).filter(wanted).collect();
        let narrowed = Self {
            rows: self.rows.clone(),
            columns: kept.iter().map(|i| self.columns[*i]).collect(),
            models: kept.iter().map(|i| self.models[*i].clone()).collect(),
            terms: kept.iter().map(|i| self.terms[*i].clone()).collect(),
            truth: Truth {
                quality: self.truth.quality.select(Axis(1), &kept),
                cost: self.truth.cost.select(Axis(1), &kept),
            },
        };
        let row = |row: &Row| Row {
            offers: kept.iter().map(|i| row.offers[*i]).collect(),
            abstained: row.abstained,
        };
        (narrowed, offers.iter().map(row).collect())
    }

    /// The column with the best mean quality, the cheapest among ties.
    #[must_use]
    pub fn best(&self) -> usize {
        let mean = |matrix: &Array2<f64>, c: usize| matrix.column(c).sum();
        let quality = |c: usize| mean(&self.truth.quality, c);
        let cost = |c: usize| mean(&self.truth.cost, c);
        (0..self.columns.len())
            .max_by(|a, b| {
                quality(*a)
                    .total_cmp(&quality(*b))
                    .then(cost(*b).total_cmp(&cost(*a)))
            })
            .unwrap_or(0)
    }

    /// Offers for each row by the committee that `of_row` names (an index into `rows`).
    #[must_use]
    pub fn offers<'a>(
        &self,
        data: &Dataset,
        of_row: impl Fn(usize) -> &'a Committee + Sync,
        blind: bool,
    ) -> Vec<Row> {
        let scores = |row: usize| {
            let committee = of_row(row);
            let scores = committee.score(&data.prompts[row].facts);
            if blind || scores.abstention.is_some() {
                let reason = scores.abstention.filter(|_| !blind);
                return Scores {
                    abstention: reason,
                    ..committee.blind(Abstention::NotTrained)
                };
            }
            scores
        };
        self.offers_of(data, scores)
    }

    /// Offers by whatever predicts; scores are in the order of the data set's models.
    #[must_use]
    pub fn offers_of(&self, data: &Dataset, scores: impl Fn(usize) -> Scores + Sync) -> Vec<Row> {
        let row = |row: &usize| {
            let scores = scores(*row);
            Row {
                offers: self.price(&data.prompts[*row], &scores),
                abstained: scores.abstention.is_some(),
            }
        };
        side_by_side::rows(&self.rows, row)
    }

    fn price(&self, prompt: &Prompt, scores: &Scores) -> Vec<Offer> {
        let offer = |(column, terms): (&usize, &Terms)| {
            let score = scores.models[*column];
            let input = prompt.facts.input(terms.family);
            Offer {
                quality: score.quality,
                cost: estimate(&terms.price, input, score.output, prompt.at),
            }
        };
        self.columns.iter().zip(&self.terms).map(offer).collect()
    }
}

fn estimate(price: &Price, input: Tokens, output: Tokens, at: UnixMillis) -> NanoUsd {
    price.estimate(input, Tokens(0), output, at)
}
