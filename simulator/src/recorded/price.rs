//! The price per token that best explains recorded costs.
//!
//! Owns: a least-squares fit of two prices. It must not know files or models' names.

use super::RecordedOutcome;
use crate::config::Price;

/// Below this the two token counts go up and down together, and two prices cannot be
/// told apart.
const DETERMINANT_MIN: f64 = 1e-6;

/// Nano-USD per input and output token; `None` without a row that has all three numbers.
pub(super) fn fit<'a>(rows: impl Iterator<Item = &'a RecordedOutcome>) -> Option<Price> {
    let (mut in_in, mut in_out, mut out_out) = (0.0, 0.0, 0.0);
    let (mut in_cost, mut out_cost, mut cost_sum, mut token_sum) = (0.0, 0.0, 0.0, 0.0);
    for row in rows {
        let (Some(input), Some(output), Some(usd)) =
            (row.input_tokens, row.output_tokens, row.cost_usd)
        else {
            continue;
        };
        let (input, output, cost) = (input as f64, output as f64, usd * 1e9);
        in_in += input * input;
        in_out += input * output;
        out_out += output * output;
        in_cost += input * cost;
        out_cost += output * cost;
        cost_sum += cost;
        token_sum += input + output;
    }
    if token_sum <= 0.0 {
        return None;
    }
    let determinant = in_in * out_out - in_out * in_out;
    let input = (in_cost * out_out - out_cost * in_out) / determinant;
    let output = (out_cost * in_in - in_cost * in_out) / determinant;
    let told_apart = determinant > DETERMINANT_MIN * in_in * out_out;
    if told_apart && input >= 0.0 && output >= 0.0 {
        return Some(price(input, output));
    }
    Some(price(cost_sum / token_sum, cost_sum / token_sum))
}

fn price(input: f64, output: f64) -> Price {
    Price {
        input_nano_usd: input.round().max(0.0) as u64,
        output_nano_usd: output.round().max(0.0) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(input_tokens: u64, output_tokens: u64, cost_usd: f64) -> RecordedOutcome {
        RecordedOutcome {
            score: 1.0,
            input_tokens: Some(input_tokens),
            output_tokens: Some(output_tokens),
            cost_usd: Some(cost_usd),
            latency_ms: None,
            estimated: false,
        }
    }

    #[test]
    fn two_prices_are_found_again() {
        let cost = |input: u64, output: u64| (input * 150 + output * 600) as f64 / 1e9;
        let rows: Vec<_> = [(100, 30), (500, 20), (80, 900)]
            .map(|(input, output)| row(input, output, cost(input, output)))
            .into();
        let price = fit(rows.iter()).unwrap();
        assert_eq!((price.input_nano_usd, price.output_nano_usd), (150, 600));
    }

    #[test]
    fn where_they_cannot_be_told_apart_both_are_the_mean() {
        let rows = [row(100, 100, 4e-5), row(200, 200, 8e-5)];
        let price = fit(rows.iter()).unwrap();
        assert_eq!((price.input_nano_usd, price.output_nano_usd), (200, 200));
        assert_eq!(fit(std::iter::empty()), None);
    }
}
