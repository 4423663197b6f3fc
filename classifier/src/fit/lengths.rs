//! How long answers get: ridge regression on the logarithm of output tokens.
//!
//! Owns: the correction that makes predicted tokens right on average, which money is
//! counted by. Prices come later, from the catalogue: a price change needs no new fit.

use ndarray::{Array1, Array2, ArrayView1, Axis};
use spillway_routing::float;
use spillway_routing::head::Lengths;
use spillway_routing::head::weights::Weights;

use super::{Inputs, Means};
use crate::dataset::Dataset;
use crate::ridge::{Moments, Ridge};

/// Weight of the L2 penalty against the summed squared error; inputs have spread 1.
const PENALTY: f64 = 100.0;

pub(super) fn fit(data: &Dataset, inputs: &Inputs, means: &Means) -> Lengths {
    let width = inputs.real.ncols();
    let (mut weights, mut bias) = (Vec::new(), Vec::new());
    // Audits show most models on the same prompts, whose moments are taken once; verdicts on
    // live requests add a few to each.
    let answered = |row: usize, model: usize| !data.output[[row, model]].is_nan();
    let by_all = |row: usize| (0..data.models.len()).all(|model| answered(row, model));
    let (shared, others): (Vec<usize>, Vec<usize>) = (0..data.len()).partition(|row| by_all(*row));
    let shared = Seen::of(inputs, shared);
    let mut own = Seen::of(inputs, Vec::new());
    let mut solver = shared.moments.ridge(PENALTY);
    for model in 0..data.models.len() {
        let rows: Vec<usize> = others
            .iter()
            .copied()
            .filter(|row| answered(*row, model))
            .collect();
        if rows != own.rows {
            own = Seen::of(inputs, rows);
            solver = shared.moments.with(&own.moments).ridge(PENALTY);
        }
        let parts = [&shared, &own];
        let tokens = parts.iter().flat_map(|seen| &seen.rows);
        let tokens: Array1<f64> = tokens
            .map(|row| data.output[[*row, model]].max(1.0))
            .collect();
        let (coefficients, mean) = right_on_average(&solver, parts, &tokens)
            .unwrap_or_else(|| (Array1::zeros(width), float::ln(means.output[model])));
        weights.extend(coefficients.iter().map(|w| *w as f32));
        bias.push(mean as f32);
    }
    Lengths {
        weights: Weights::of(width, &weights),
        bias,
    }
}

/// Prompts that a model was seen on.
struct Seen {
    rows: Vec<usize>,
    inputs: Array2<f64>,
    moments: Moments,
}

impl Seen {
    fn of(inputs: &Inputs, rows: Vec<usize>) -> Self {
        let inputs = inputs.real.select(Axis(0), &rows).mapv(f64::from);
        Self {
            moments: Moments::of(&inputs),
            inputs,
            rows,
        }
    }

    fn inputs(&self) -> impl Iterator<Item = ArrayView1<'_, f64>> {
        self.inputs.rows().into_iter()
    }
}

/// Coefficients, and an offset that is moved until predicted tokens sum to the observed ones
/// (a smearing correction, Duan 1983, as a ratio). `None` without rows.
fn right_on_average(
    solver: &Ridge,
    seen: [&Seen; 2],
    tokens: &Array1<f64>,
) -> Option<(Array1<f64>, f64)> {
    let inputs = || seen.into_iter().flat_map(Seen::inputs);
    let (coefficients, mean) = solver.solve(inputs(), &tokens.mapv(float::ln));
    let predicted: f64 = inputs()
        .map(|input| float::exp(input.dot(&coefficients) + mean))
        .sum();
    let ratio = tokens.sum() / predicted;
    (ratio.is_finite() && ratio > 0.0).then(|| (coefficients, mean + float::ln(ratio)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(rows: usize) -> Inputs {
        let number = |(r, c): (usize, usize)| ((r * 7 + c * 3) % 11) as f32 / 5.0 - 1.0;
        Inputs {
            fixed: Vec::new(),
            real: Array2::from_shape_fn((rows, 2), number),
        }
    }

    #[test]
    fn predicted_tokens_sum_to_the_observed() {
        let inputs = inputs(50);
        // As though one part were seen by all models and the other by this one.
        let parts = [
            &Seen::of(&inputs, (0..40).collect()),
            &Seen::of(&inputs, (40..50).collect()),
        ];
        let tokens: Array1<f64> = (0..50).map(|r| 10.0 + 40.0 * f64::from(r % 9)).collect();
        let solver = parts[0].moments.with(&parts[1].moments).ridge(PENALTY);
        let (x, offset) = right_on_average(&solver, parts, &tokens).unwrap();
        let logs = inputs.real.mapv(f64::from).dot(&x) + offset;
        let predicted = logs.mapv(float::exp).sum();
        assert!((predicted / tokens.sum() - 1.0).abs() < 1e-9);
        let none = Seen::of(&inputs, Vec::new());
        assert!(right_on_average(&solver, [&none, &none], &Array1::zeros(0)).is_none());
    }
}
