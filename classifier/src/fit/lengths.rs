//! How long answers get: ridge regression on the logarithm of output tokens.
//!
//! Owns: the correction that makes predicted tokens right on average, which money is
//! counted by. Prices come later, from the catalogue: a price change needs no new fit.

use ndarray::{Array1, Axis};
use spillway_routing::float;
use spillway_routing::head::Lengths;
use spillway_routing::head::weights::Weights;

use super::{Inputs, Means};
use crate::dataset::Dataset;
use crate::ridge::Ridge;

/// Weight of the L2 penalty against the summed squared error; inputs have spread 1.
const PENALTY: f64 = 100.0;

pub(super) fn fit(data: &Dataset, inputs: &Inputs, means: &Means) -> Lengths {
    let width = inputs.real.ncols();
    let (mut weights, mut bias) = (Vec::new(), Vec::new());
    let mut solved: Option<(Vec<usize>, Ridge)> = None;
    for model in 0..data.models.len() {
        let seen = |row: &usize| !data.output[[*row, model]].is_nan();
        let rows: Vec<usize> = (0..data.len()).filter(seen).collect();
        // Most models were seen on the same prompts: one factor serves them all.
        if solved.as_ref().is_none_or(|(known, _)| *known != rows) {
            let chosen = inputs.real.select(Axis(0), &rows).mapv(f64::from);
            solved = Some((rows.clone(), Ridge::of(chosen, PENALTY)));
        }
        let Some((_, solver)) = &solved else { continue };
        let tokens: Array1<f64> = rows
            .iter()
            .map(|row| data.output[[*row, model]].max(1.0))
            .collect();
        let (coefficients, mean) = solver.solve(&tokens.mapv(float::ln));
        let (coefficients, mean) = right_on_average(solver, coefficients, mean, &tokens)
            .unwrap_or_else(|| (Array1::zeros(width), float::ln(means.output[model])));
        weights.extend(coefficients.iter().map(|w| *w as f32));
        bias.push(mean as f32);
    }
    Lengths {
        weights: Weights::of(width, &weights),
        bias,
    }
}

/// The offset moved until predicted tokens sum to the observed ones (a smearing
/// correction, Duan 1983, as a ratio). `None` without rows.
fn right_on_average(
    solver: &Ridge,
    coefficients: Array1<f64>,
    mean: f64,
    tokens: &Array1<f64>,
) -> Option<(Array1<f64>, f64)> {
    let predicted: f64 = solver
        .rows
        .dot(&coefficients)
        .iter()
        .map(|log| float::exp(log + mean))
        .sum();
    let ratio = tokens.sum() / predicted;
    (ratio.is_finite() && ratio > 0.0).then(|| (coefficients, mean + float::ln(ratio)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn predicted_tokens_sum_to_the_observed() {
        let rows =
            Array2::from_shape_fn((50, 2), |(r, c)| ((r * 7 + c * 3) % 11) as f64 / 5.0 - 1.0);
        let tokens: Array1<f64> = (0..50).map(|r| 10.0 + 40.0 * f64::from(r % 9)).collect();
        let solver = Ridge::of(rows, PENALTY);
        let (x, offset) = solver.solve(&tokens.mapv(float::ln));
        let (x, offset) = right_on_average(&solver, x, offset, &tokens).unwrap();
        let predicted: f64 = solver
            .rows
            .dot(&x)
            .iter()
            .map(|log| float::exp(log + offset))
            .sum();
        assert!((predicted / tokens.sum() - 1.0).abs() < 1e-9);
    }
}
