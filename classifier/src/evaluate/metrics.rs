//! Calibration, regret and resampling: metrics that are not about the hull.
//!
//! Owns: their arithmetic on plain numbers. Knows nothing of committees.

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
    if rows == 0 {
        return Interval::default();
    }
    let mut dice = Xoshiro256Plus::seed_from_u64(seed);
    let mut values = Vec::with_capacity(DRAWS);
    let mut counts = vec![0.0; rows];
    for _ in 0..DRAWS {
        counts.fill(0.0);
        (0..rows).for_each(|_| counts[dice.gen_range(0..rows)] += 1.0);
        values.push(statistic(&counts));
    }
    values.sort_by(f64::total_cmp);
    Interval {
        low: values[DRAWS * 25 / 1_000],
        high: values[DRAWS * 975 / 1_000 - 1],
    }
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
}
