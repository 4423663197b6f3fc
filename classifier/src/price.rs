//! Prices read off what was charged, for models that no catalogue lists.
//!
//! Owns: the fit of cost on tokens. Knows nothing of catalogues. An observed price is
//! good enough to compare candidates; it is not a price list.

use spillway_routing::catalogue::{Price, Rates};
use spillway_routing::unit::{NanoUsd, NanoUsdPerMtok};

/// A call: provider's input tokens, output tokens, US dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Charge {
    pub input: f64,
    pub output: f64,
    pub cost: f64,
}

/// Rates explain the cost when the mean absolute error is at most this share of it.
const EXPLAINED: f64 = 0.02;
/// With fewer calls only their mean is used.
const CHARGES_MIN: usize = 8;
/// Terms of the fit by bit: input, output, per call. Fewer terms first.
const TERMS: [u8; 7] = [0b011, 0b001, 0b010, 0b100, 0b101, 0b110, 0b111];

/// The price that explains the calls, or their mean cost per call where none does.
/// `None` without a cost above zero. Least squares over each set of terms, taking the
/// first whose factors are all positive and whose error is small: with three terms that
/// is an exact active-set search for the non-negative solution (Lawson and Hanson 1974).
#[must_use]
pub fn price_of(charges: &[Charge]) -> Option<Price> {
    let usable: Vec<Charge> = charges
        .iter()
        .copied()
        .filter(|c| c.cost.is_finite() && c.input.is_finite() && c.output.is_finite())
        .collect();
    let total: f64 = usable.iter().map(|charge| charge.cost).sum();
    if total <= 0.0 {
        return None;
    }
    let explained = |factors: &[f64; 3]| {
        let missed = |charge: &Charge| {
            let terms = terms(charge);
            let cost: f64 = factors
                .iter()
                .zip(terms)
                .map(|(factor, term)| factor * term)
                .sum();
            (cost - charge.cost).abs()
        };
        usable.iter().map(missed).sum::<f64>() <= EXPLAINED * total
    };
    let fitted = TERMS
        .into_iter()
        .filter(|_| usable.len() >= CHARGES_MIN)
        .filter_map(|mask| least_squares(&usable, mask))
        .find(explained);
    let factors = fitted.unwrap_or([0.0, 0.0, total / usable.len() as f64]);
    Some(Price {
        rates: Rates {
            input: NanoUsdPerMtok::from_usd(factors[0]),
            output: NanoUsdPerMtok::from_usd(factors[1]),
            ..Rates::default()
        },
        per_call: NanoUsd::from_usd(factors[2]),
        ..Price::default()
    })
}

/// Millions of tokens and calls, so that factors are prices as lists print them.
fn terms(charge: &Charge) -> [f64; 3] {
    [charge.input / 1e6, charge.output / 1e6, 1.0]
}

/// Factors with the terms of `mask`, all positive; else `None`.
fn least_squares(charges: &[Charge], mask: u8) -> Option<[f64; 3]> {
    let used: Vec<usize> = (0..3).filter(|term| mask >> term & 1 == 1).collect();
    let size = used.len();
    // Columns scaled to length one keep the normal equations well conditioned.
    let mut length = [0.0f64; 3];
    for charge in charges {
        for (sum, term) in length.iter_mut().zip(terms(charge)) {
            *sum += term * term;
        }
    }
    let mut system = vec![vec![0.0f64; size + 1]; size];
    for charge in charges {
        let terms = terms(charge);
        for (row, i) in system.iter_mut().zip(&used) {
            let scaled = |term: usize| terms[term] / length[term].sqrt().max(f64::MIN_POSITIVE);
            for (cell, j) in row.iter_mut().zip(&used) {
                *cell += scaled(*i) * scaled(*j);
            }
            row[size] += scaled(*i) * charge.cost;
        }
    }
    let solved = solve(system)?;
    let mut factors = [0.0; 3];
    for (term, value) in used.into_iter().zip(solved) {
        factors[term] = value / length[term].sqrt().max(f64::MIN_POSITIVE);
    }
    let positive = |(term, factor): (usize, &f64)| mask >> term & 1 == 0 || *factor > 0.0;
    factors.iter().enumerate().all(positive).then_some(factors)
}

/// Gauss-Jordan on an augmented symmetric system; `None` if it is near singular.
fn solve(mut system: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let size = system.len();
    for pivot in 0..size {
        if system[pivot][pivot].abs() < 1e-9 {
            return None;
        }
        for row in 0..size {
            if row == pivot {
                continue;
            }
            let factor = system[row][pivot] / system[pivot][pivot];
            let pivot_row = system[pivot].clone();
            for (cell, other) in system[row].iter_mut().zip(pivot_row) {
                *cell -= factor * other;
            }
        }
    }
    Some((0..size).map(|i| system[i][size] / system[i][i]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charges(cost: impl Fn(f64, f64) -> f64) -> Vec<Charge> {
        let call = |i: u32| {
            let (input, output) = (f64::from(100 + i * 37 % 900), f64::from(20 + i * 61 % 500));
            Charge {
                input,
                output,
                cost: cost(input, output),
            }
        };
        (0..200).map(call).collect()
    }

    #[test]
    fn a_price_list_is_recovered() {
        let price = price_of(&charges(|i, o| (2.5 * i + 10.0 * o) / 1e6)).unwrap();
        assert!((price.rates.input.usd() - 2.5).abs() < 1e-3);
        assert!((price.rates.output.usd() - 10.0).abs() < 1e-3);
        assert_eq!(price.per_call, NanoUsd::ZERO);
    }

    #[test]
    fn a_nominal_answer_length_becomes_a_price_per_call() {
        let mut calls = charges(|i, _| (0.9 * i + 0.9 * 150.0) / 1e6);
        calls.iter_mut().for_each(|call| call.output = 0.0);
        let price = price_of(&calls).unwrap();
        assert!((price.rates.input.usd() - 0.9).abs() < 1e-3);
        assert_eq!(price.rates.output, NanoUsdPerMtok(0));
        assert!((price.per_call.usd() - 0.000_135).abs() < 1e-8);
    }

    #[test]
    fn a_rate_is_never_negative() {
        let price = price_of(&charges(|i, o| (0.01 - 3.0 * i / 1e6 + o / 1e6).max(0.0))).unwrap();
        assert_eq!(price.rates.input, NanoUsdPerMtok(0));
    }

    #[test]
    fn costs_that_tokens_do_not_explain_become_their_mean() {
        let mut turn = 0.0;
        let mut calls = charges(|_, _| 0.0);
        for call in &mut calls {
            turn = 1.0 - turn;
            call.cost = 0.001 + 0.008 * turn;
        }
        let price = price_of(&calls).unwrap();
        assert_eq!(price.rates, Rates::default());
        assert!((price.per_call.usd() - 0.005).abs() < 1e-9);
    }

    #[test]
    fn nothing_charged_is_no_price() {
        assert_eq!(price_of(&[]), None);
        assert_eq!(price_of(&charges(|_, _| 0.0)), None);
        assert_eq!(price_of(&charges(|_, _| f64::NAN)), None);
    }

    #[test]
    fn few_calls_give_their_mean() {
        let calls = &charges(|i, o| (i + o) / 1e6)[..3];
        assert_eq!(price_of(calls).unwrap().rates, Rates::default());
    }
}
