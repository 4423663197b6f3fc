//! Training a small network: one hidden layer that all models share.
//!
//! Owns: the gradient, Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov
//! and Hutter 2019), dropout and when to stop. The loss is the cross-entropy over the
//! observed labels; what is handed out is the state with the least Brier score on
//! prompts that were kept out. linfa has no networks. The products run on kernels that
//! differ between kinds of CPU: training repeats to the bit on one machine, scoring on
//! all of them.

use ndarray::{Array1, Array2, Axis, Zip};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use spillway_routing::float;
use spillway_routing::head::network::Network;
use spillway_routing::head::size::UNITS;
use spillway_routing::head::weights::Weights;

use super::Labels;

const RATE: f32 = 2e-3;
/// Pulled off the weights per step, times the rate.
const DECAY: f32 = 1e-2;
const DROPOUT: f32 = 0.2;
const BATCH: usize = 256;
const ROUNDS_MAX: usize = 60;
/// Rounds without a better Brier score after which it stops.
const PATIENCE: usize = 6;
/// What counts as better.
const BETTER: f64 = 1e-5;
/// Share of prompts that rounds are judged on.
const JUDGED: f64 = 0.12;
/// Decay of the running moments.
const MOMENTS: [f32; 2] = [0.9, 0.999];
/// A first guess is kept this far from 0 and 1 before the logit.
const EDGE: f64 = 0.02;

pub(super) fn fit(labels: &Labels<'_>, seed: u64) -> Network {
    let (train, judged) = labels.cut(JUDGED, seed ^ 0x6e65_7477);
    let mut dice = Xoshiro256Plus::seed_from_u64(seed);
    let mut state = Parameters::start(labels, &mut dice);
    let mut adam = Adam::new(&state);
    let (kept_in, kept_out) = (Sheet::of(labels, &train), Sheet::of(labels, &judged));
    let mut best = (f64::INFINITY, state.clone());
    let mut since = 0;
    let mut order: Vec<usize> = (0..train.len()).collect();
    for _ in 0..ROUNDS_MAX {
        order.shuffle(&mut dice);
        let batches = (order.len() / BATCH).max(1);
        for batch in order.chunks(order.len().div_ceil(batches).max(1)) {
            let gradient = state.gradient(&kept_in.pick(batch), Some(&mut dice));
            adam.step(&mut state, &gradient);
        }
        let brier = state.brier(&kept_out);
        if brier < best.0 - BETTER {
            best = (brier, state.clone());
            since = 0;
        } else {
            since += 1;
            if since > PATIENCE {
                break;
            }
        }
    }
    best.1.network()
}

/// Inputs and labels side by side.
struct Sheet {
    inputs: Array2<f32>,
    quality: Array2<f32>,
}

impl Sheet {
    fn of(labels: &Labels<'_>, rows: &[usize]) -> Self {
        Self {
            inputs: labels.real.select(Axis(0), rows),
            quality: labels.quality.select(Axis(0), rows),
        }
    }

    fn pick(&self, rows: &[usize]) -> Self {
        Self {
            inputs: self.inputs.select(Axis(0), rows),
            quality: self.quality.select(Axis(0), rows),
        }
    }
}

/// Weights, and with the same shapes their gradients and moments.
#[derive(Clone, Debug)]
struct Parameters {
    /// input × unit.
    hidden: Array2<f32>,
    hidden_bias: Array1<f32>,
    /// unit × model.
    output: Array2<f32>,
    output_bias: Array1<f32>,
}

impl Parameters {
    /// Small random weights (spread 1/√inputs, then 0.1 of 1/√units), and each model's
    /// mean as the offset.
    fn start(labels: &Labels<'_>, dice: &mut Xoshiro256Plus) -> Self {
        let inputs = labels.real.ncols();
        let mut matrix = |shape: (usize, usize), variance: f32| {
            let reach = (3.0 * variance).sqrt();
            Array2::from_shape_fn(shape, |_| dice.gen_range(-reach..reach))
        };
        let logit = |mean: &f64| {
            let mean = mean.clamp(EDGE, 1.0 - EDGE);
            float::ln(mean / (1.0 - mean)) as f32
        };
        Self {
            hidden: matrix((inputs, UNITS), 1.0 / inputs as f32),
            hidden_bias: Array1::zeros(UNITS),
            output: matrix((UNITS, labels.models), 0.1 / UNITS as f32),
            output_bias: labels.means.iter().map(logit).collect(),
        }
    }

    /// The hidden layer before it is rectified, and after dropout by the given factors.
    fn units(&self, inputs: &Array2<f32>) -> Array2<f32> {
        inputs.dot(&self.hidden) + &self.hidden_bias
    }

    fn quality(&self, units: &Array2<f32>) -> Array2<f32> {
        let logits = units.dot(&self.output) + &self.output_bias;
        logits.mapv_into(|logit| float::logistic(f64::from(logit)) as f32)
    }

    /// Of the mean cross-entropy per prompt. With dice, units drop out.
    fn gradient(&self, sheet: &Sheet, dice: Option<&mut Xoshiro256Plus>) -> Self {
        let before = self.units(&sheet.inputs);
        // What passes of each unit: 0 where it is rectified or drops out.
        let mut passes = before.mapv(|x| f32::from(u8::from(x > 0.0)));
        if let Some(dice) = dice {
            passes.mapv_inplace(|pass| {
                let stays = dice.r#gen::<f32>() >= DROPOUT;
                if stays { pass / (1.0 - DROPOUT) } else { 0.0 }
            });
        }
        let units = before * &passes;
        let n = sheet.inputs.nrows().max(1) as f32;
        let mut error = self.quality(&units);
        Zip::from(&mut error)
            .and(&sheet.quality)
            .for_each(|said, seen| {
                *said = if seen.is_nan() {
                    0.0
                } else {
                    (*said - seen) / n
                }
            });
        let back = error.dot(&self.output.t()) * &passes;
        Self {
            hidden: sheet.inputs.t().dot(&back),
            hidden_bias: back.sum_axis(Axis(0)),
            output: units.t().dot(&error),
            output_bias: error.sum_axis(Axis(0)),
        }
    }

    fn brier(&self, sheet: &Sheet) -> f64 {
        let units = self.units(&sheet.inputs).mapv_into(|x| x.max(0.0));
        let (mut sum, mut count) = (0.0, 0.0);
        for (said, seen) in self.quality(&units).iter().zip(&sheet.quality) {
            if !seen.is_nan() {
                sum += f64::from((said - seen) * (said - seen));
                count += 1.0;
            }
        }
        sum / f64::max(count, 1.0)
    }

    fn network(&self) -> Network {
        let rows = |matrix: &Array2<f32>| {
            let numbers: Vec<f32> = matrix.t().iter().copied().collect();
            Weights::of(matrix.nrows(), &numbers)
        };
        Network {
            hidden: rows(&self.hidden),
            hidden_bias: self.hidden_bias.to_vec(),
            output: rows(&self.output),
            output_bias: self.output_bias.to_vec(),
        }
    }

    fn zeros(&self) -> Self {
        Self {
            hidden: Array2::zeros(self.hidden.dim()),
            hidden_bias: Array1::zeros(self.hidden_bias.dim()),
            output: Array2::zeros(self.output.dim()),
            output_bias: Array1::zeros(self.output_bias.dim()),
        }
    }

    /// All numbers, part by part, with what decays of each part.
    fn parts(&mut self) -> [(&mut [f32], f32); 4] {
        // Freshly made arrays lie in one piece.
        [
            (self.hidden.as_slice_mut().unwrap_or_default(), DECAY),
            (self.hidden_bias.as_slice_mut().unwrap_or_default(), 0.0),
            (self.output.as_slice_mut().unwrap_or_default(), DECAY),
            (self.output_bias.as_slice_mut().unwrap_or_default(), 0.0),
        ]
    }
}

/// Running moments of the gradient.
struct Adam {
    mean: Parameters,
    square: Parameters,
    steps: i32,
}

impl Adam {
    fn new(like: &Parameters) -> Self {
        Self {
            mean: like.zeros(),
            square: like.zeros(),
            steps: 0,
        }
    }

    fn step(&mut self, state: &mut Parameters, gradient: &Parameters) {
        self.steps += 1;
        let [first, second] = MOMENTS;
        let unbias = MOMENTS.map(|moment| 1.0 - moment.powi(self.steps));
        let mut gradient = gradient.clone();
        let moments = self.mean.parts().into_iter().zip(self.square.parts());
        let states = state.parts().into_iter().zip(gradient.parts());
        for (((mean, _), (square, _)), ((state, decay), (gradient, _))) in moments.zip(states) {
            let moments = mean.iter_mut().zip(square);
            for ((m, s), (x, g)) in moments.zip(state.iter_mut().zip(gradient)) {
                *m = first * *m + (1.0 - first) * *g;
                *s = second * *s + (1.0 - second) * *g * *g;
                let step = (*m / unbias[0]) / ((*s / unbias[1]).sqrt() + 1e-8);
                *x -= RATE * (step + decay * *x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spillway_routing::head::weights::{INPUT_ONE, input};

    fn rows(count: usize, inputs: usize) -> Vec<Vec<i16>> {
        let mut dice = Xoshiro256Plus::seed_from_u64(5);
        (0..count)
            .map(|_| {
                (0..inputs)
                    .map(|_| input(dice.gen_range(-2.0..2.0)))
                    .collect()
            })
            .collect()
    }

    fn labels<'a>(rows: &'a [Vec<i16>], quality: Array2<f32>, means: &'a [f64]) -> Labels<'a> {
        let shape = (rows.len(), rows[0].len());
        Labels {
            models: means.len(),
            keys: (0..rows.len() as u64)
                .map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .collect(),
            fixed: rows.iter().map(Vec::as_slice).collect(),
            real: Array2::from_shape_fn(shape, |(r, c)| f32::from(rows[r][c]) / INPUT_ONE),
            quality,
            means,
        }
    }

    fn loss(state: &Parameters, sheet: &Sheet) -> f64 {
        let units = state.units(&sheet.inputs).mapv_into(|x| x.max(0.0));
        let mut sum = 0.0;
        for (said, seen) in state.quality(&units).iter().zip(&sheet.quality) {
            if !seen.is_nan() {
                let (said, seen) = (f64::from(*said), f64::from(*seen));
                sum -= seen * float::ln(said) + (1.0 - seen) * float::ln(1.0 - said);
            }
        }
        sum / sheet.inputs.nrows() as f64
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let rows = rows(40, 5);
        let quality = Array2::from_shape_fn((40, 2), |(r, c)| match (r + c) % 4 {
            0 => f32::NAN,
            1 => 1.0,
            2 => 0.3,
            _ => 0.0,
        });
        let labels = labels(&rows, quality, &[0.4, 0.5]);
        let sheet = Sheet::of(&labels, &(0..40).collect::<Vec<_>>());
        let mut state = Parameters::start(&labels, &mut Xoshiro256Plus::seed_from_u64(2));
        let mut gradient = state.gradient(&sheet, None);
        for part in 0..4 {
            for at in [0, 1] {
                let known = f64::from(gradient.parts()[part].0[at]);
                let mut slope = 0.0;
                for side in [1.0f32, -1.0] {
                    state.parts()[part].0[at] += side * 1e-2;
                    slope += f64::from(side) * loss(&state, &sheet) / 2e-2;
                    state.parts()[part].0[at] -= side * 1e-2;
                }
                assert!((slope - known).abs() < 2e-3, "{part} {at}: {slope} {known}");
            }
        }
    }

    #[test]
    fn a_bent_rule_is_learnt_and_survives_its_rounding() {
        // Right where two inputs have the same sign: no line tells them apart.
        let rows = rows(3_000, 4);
        let same = |row: &Vec<i16>| (row[0] > 0) == (row[1] > 0);
        let quality =
            Array2::from_shape_fn((3_000, 1), |(r, _)| f32::from(u8::from(same(&rows[r]))));
        let labels = labels(&rows, quality, &[0.5]);
        let network = fit(&labels, 4);
        let right = rows.iter().filter(|row| {
            let units = network.hidden.products(row, INPUT_ONE);
            let units: Vec<f32> = units
                .zip(&network.hidden_bias)
                .map(|(x, b)| (x + b).max(0.0))
                .collect();
            let weights = network.output.row(0);
            let logit: f32 =
                weights.zip(units).map(|(w, x)| w * x).sum::<f32>() + network.output_bias[0];
            (logit > 0.0) == same(row)
        });
        assert!(right.count() > 2_700);
    }
}
