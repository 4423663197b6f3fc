//! Calibration, regret and resampling: metrics that are not about the hull.
//!
//! Owns: their arithmetic on plain numbers. Knows nothing of committees.

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;

/// Bins of the expected calibration error, with equally many pairs each.
pub const BINS: usize = 10;
/// Resamples of a bootstrap.
pub const DRAWS: usize = 1_000;

/// One bin of predictions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Means, 0..=1.
    pub predicted: f64,
    pub observed: f64,
    pub count: usize,
}

/// How far predictions are from what came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// Mean squared error.
    pub brier: f64,
    /// Mean absolute difference of a bin's means, weighted by its size.
    pub ece: f64,
    pub bins: Vec<Bin>,
}

/// Calibration of (predicted, observed) pairs.
#[must_use]
pub fn calibration(mut pairs: Vec<(f64, f64)>) -> Calibration {
    if pairs.is_empty() {
        return Calibration::default();
    }
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total = pairs.len();
    let square = |pair: &(f64, f64)| (pair.0 - pair.1) * (pair.0 - pair.1);
    let brier = pairs.iter().map(square).sum::<f64>() / total as f64;
    // Which of several equal predictions falls into which bin must not matter.
    for equal in pairs.chunk_by_mut(|a, b| a.0 == b.0) {
        let mean = equal.iter().map(|pair| pair.1).sum::<f64>() / equal.len() as f64;
        equal.iter_mut().for_each(|pair| pair.1 = mean);
    }
    let bin = |k: usize| {
        let part = &pairs[k * total / BINS..(k + 1) * total / BINS];
        let mean = |value: fn(&(f64, f64)) -> f64| {
            part.iter().map(value).sum::<f64>() / part.len().max(1) as f64
        };
        Bin {
            predicted: mean(|pair| pair.0),
            observed: mean(|pair| pair.1),
            count: part.len(),
        }
    };
    let bins: Vec<Bin> = (0..BINS).map(bin).filter(|bin| bin.count > 0).collect();
    let gap = |bin: &Bin| bin.count as f64 * (bin.predicted - bin.observed).abs();
    Calibration {
        brier,
        ece: bins.iter().map(gap).sum::<f64>() / total as f64,
        bins,
    }
}

/// Two-sided 95 %.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Percentile bootstrap (Efron 1979) over `rows` prompts: `statistic` gets how often
/// each prompt was drawn.
#[must_use]
pub fn bootstrap(rows: usize, seed: u64, mut statistic: impl FnMut(&[f64]) -> f64) -> Interval {
    bootstrap_by(1, rows, seed, |draws| {
        draws.iter().map(|counts| statistic(counts)).collect()
    })
}

/// The same with `together` draws at a time, for statistics that are cheaper so.
#[must_use]
pub fn bootstrap_by(
    together: usize,
    rows: usize,
    seed: u64,
    mut statistics: impl FnMut(&[Vec<f64>]) -> Vec<f64>,
) -> Interval {
    let mut values = Vec::with_capacity(DRAWS);
    each_draw(together, rows, seed, |draws| {
        values.extend(statistics(draws));
    });
    interval(values)
}

/// How often each prompt was drawn, for [`DRAWS`] resamples, `together` at a time.
fn each_draw(together: usize, rows: usize, seed: u64, mut look: impl FnMut(&[Vec<f64>])) {
    if rows == 0 {
        return;
    }
    let mut dice = Xoshiro256Plus::seed_from_u64(seed);
    let mut draws = vec![vec![0.0; rows]; together.max(1)];
    let mut left = DRAWS;
    while left > 0 {
        draws.truncate(left);
        for counts in &mut draws {
            counts.fill(0.0);
            (0..rows).for_each(|_| counts[dice.gen_range(0..rows)] += 1.0);
        }
        look(&draws);
        left -= draws.len();
    }
}

/// The middle 95 % of all draws' values; zero without any.
fn interval(mut values: Vec<f64>) -> Interval {
    if values.len() < DRAWS {
        return Interval::default();
    }
    values.sort_by(f64::total_cmp);
    Interval {
        low: values[DRAWS * 25 / 1_000],
        high: values[DRAWS * 975 / 1_000 - 1],
    }
}

/// [`bootstrap`] of the mean of each column of `values`, a row per prompt.
#[must_use]
pub fn bootstrap_means(values: &Array2<f64>, seed: u64) -> Vec<Interval> {
    let (rows, columns) = values.dim();
    let mut means = vec![Vec::with_capacity(DRAWS); columns];
    each_draw(1, rows, seed, |draws| {
        let mut sums = vec![-0.0; columns]; // As sums of numbers begin.
        for (values, count) in values.rows().into_iter().zip(&draws[0]) {
            let pairs = sums.iter_mut().zip(&values);
            pairs.for_each(|(sum, value)| *sum += value * count);
        }
        let pairs = means.iter_mut().zip(sums);
        pairs.for_each(|(means, sum)| means.push(sum / rows as f64));
    });
    means.into_iter().map(interval).collect()
}

/// Mean and standard error of the mean.
#[must_use]
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    if values.len() < 2 {
        return (values.first().copied().unwrap_or(0.0), f64::INFINITY);
    }
    let mean = values.iter().sum::<f64>() / n;
    let square: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (mean, (square / (n - 1.0) / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_by_hand() {
        // Ten pairs, ten bins of one: the error of each counts a tenth.
        let pairs = (0..10)
            .map(|i| (f64::from(i) / 10.0, f64::from(i % 2)))
            .collect();
        let result = calibration(pairs);
        let expected: f64 = (0..10)
            .map(|i| (f64::from(i) / 10.0 - f64::from(i % 2)).abs())
            .sum::<f64>()
            / 10.0;
        assert!((result.ece - expected).abs() < 1e-12);
        let brier: f64 = (0..10)
            .map(|i| (f64::from(i) / 10.0 - f64::from(i % 2)).powi(2))
            .sum::<f64>()
            / 10.0;
        assert!((result.brier - brier).abs() < 1e-12);
        assert_eq!(calibration(Vec::new()), Calibration::default());
    }

    #[test]
    fn the_order_of_equal_predictions_does_not_matter() {
        let mut half = [(0.5, 0.0)].repeat(500);
        half.extend([(0.5, 1.0)].repeat(500));
        let result = calibration(half);
        assert!(result.ece.abs() < 1e-12 && (result.brier - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_bootstrap_interval_has_the_width_of_the_normal_one() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let mean = |counts: &[f64]| {
            counts.iter().zip(&values).map(|(c, v)| c * v).sum::<f64>() / values.len() as f64
        };
        let interval = bootstrap(values.len(), 7, mean);
        let (middle, error) = mean_and_error(&values);
        assert!((interval.low - (middle - 1.96 * error)).abs() < 0.01);
        assert!((interval.high - (middle + 1.96 * error)).abs() < 0.01);
        assert_eq!(interval, bootstrap(values.len(), 7, mean));
    }

    #[test]
    fn draws_taken_together_give_the_same_interval() {
        let values = Array2::from_shape_fn((90, 3), |(i, k)| ((i * 7 + k * 5) % 11) as f64 / 3.0);
        let mean = |counts: &[f64], k: usize| {
            let pairs = values.column(k).into_iter().zip(counts);
            pairs.map(|(value, count)| value * count).sum::<f64>() / 90.0
        };
        let alone = |k: usize| bootstrap(90, 3, |counts| mean(counts, k));
        let expected: Vec<Interval> = (0..3).map(alone).collect();
        assert_eq!(bootstrap_means(&values, 3), expected);
        // Seven do not divide a thousand.
        let some = |draws: &[Vec<f64>]| draws.iter().map(|counts| mean(counts, 1)).collect();
        assert_eq!(bootstrap_by(7, 90, 3, some), expected[1]);
        assert_eq!(
            bootstrap_means(&Array2::zeros((0, 2)), 3),
            [Interval::default(); 2]
        );
    }
}
