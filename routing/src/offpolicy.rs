//! What another policy would have scored, from choices that were logged under this one.
//!
//! Owns: three estimates of its mean quality and what they rest on. The *direct* one
//! trusts the heads' predictions for the new choices; the *self-normalised* one
//! (SNIPS, Swaminathan and Joachims 2015) trusts only what was observed where both
//! policies chose alike, weighted by the inverse of the logged propensity; the *doubly
//! robust* one (Dudík, Langford and Li 2011) corrects the first by the second. Weights
//! are clipped. Verdicts are taken to come to requests whatever was chosen for them.

/// Inverse propensities are clipped here: beyond it variance grows faster than bias
/// shrinks (measured on logged routing data).
const WEIGHT_MAX: f64 = 30.0;
/// z of the two-sided 90 % interval.
const INTERVAL_Z: f64 = 1.6449;
/// With fewer effective samples an estimate from the log is refused: it would be off by
/// many points, and say so by nothing.
pub const SAMPLES_MIN: f64 = 100.0;

/// What was seen of one logged request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// 0..=1.
    pub quality: f64,
    /// Whether the new policy makes the logged choice.
    pub agrees: bool,
    /// The chance that the logged choice had.
    pub propensity: f64,
}

/// Collects logged requests.
#[derive(Clone, Debug, Default)]
pub struct Estimator {
    predicted: Moments,
    correction: Moments,
    /// Σw, Σw² and Σw·quality where the policies agree.
    weight: f64,
    weight_square: f64,
    weighted: f64,
}

/// What was estimated. Qualities are 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimates {
    /// Of the heads alone.
    pub direct: Option<f64>,
    /// `None` with fewer than [`SAMPLES_MIN`] effective samples.
    pub self_normalised: Option<f64>,
    /// Likewise.
    pub doubly_robust: Option<f64>,
    /// Two-sided 90 % interval of `doubly_robust`.
    pub interval: Option<(f64, f64)>,
    /// (Σw)²/Σw² (Kish 1965): so many direct observations of the new policy would tell
    /// as much.
    pub effective_samples: f64,
}

impl Estimator {
    /// `predicted` is the heads' quality for the new choice.
    pub fn add(&mut self, predicted: f64, observed: Option<Observed>) {
        self.predicted.add(predicted);
        let Some(observed) = observed else {
            return;
        };
        let weight = if observed.agrees {
            (1.0 / observed.propensity.max(1e-6)).min(WEIGHT_MAX)
        } else {
            0.0
        };
        self.weight += weight;
        self.weight_square += weight * weight;
        self.weighted += weight * observed.quality;
        self.correction.add(weight * (observed.quality - predicted));
    }

    #[must_use]
    pub fn estimates(&self) -> Estimates {
        let mut estimates = Estimates {
            direct: (self.predicted.count > 0.0).then(|| self.predicted.mean()),
            ..Estimates::default()
        };
        if self.weight_square > 0.0 {
            estimates.effective_samples = self.weight * self.weight / self.weight_square;
        }
        if estimates.effective_samples < SAMPLES_MIN {
            return estimates;
        }
        let centre = self.predicted.mean() + self.correction.mean();
        let error = (self.predicted.error_square() + self.correction.error_square()).sqrt();
        let share = |quality: f64| quality.clamp(0.0, 1.0);
        estimates.self_normalised = Some(self.weighted / self.weight);
        estimates.doubly_robust = Some(share(centre));
        estimates.interval = Some((
            share(centre - INTERVAL_Z * error),
            share(centre + INTERVAL_Z * error),
        ));
        estimates
    }
}

/// Running mean and spread.
#[derive(Clone, Debug, Default)]
struct Moments {
    count: f64,
    sum: f64,
    square: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
        self.square += value * value;
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }

    /// Squared standard error of the mean.
    fn error_square(&self) -> f64 {
        let n = self.count.max(2.0);
        let variance = (self.square / n - self.mean() * self.mean()).max(0.0) * n / (n - 1.0);
        variance / n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two arms; the log takes the first with chance 0.8. Arm qualities 0.3 and 0.9, the
    /// heads think 0.5 of both. The new policy always takes the second.
    fn logged(requests: u32) -> Estimates {
        let mut estimator = Estimator::default();
        for i in 0..requests {
            let first = i % 5 != 0;
            let right = if first { i % 10 < 3 } else { i % 50 != 0 };
            estimator.add(
                0.5,
                Some(Observed {
                    quality: f64::from(u8::from(right)),
                    agrees: !first,
                    propensity: if first { 0.8 } else { 0.2 },
                }),
            );
        }
        estimator.estimates()
    }

    #[test]
    fn what_was_observed_corrects_wrong_heads() {
        let estimates = logged(5_000);
        let truth = 0.9;
        assert!((estimates.direct.unwrap() - 0.5).abs() < 1e-9);
        assert!((estimates.self_normalised.unwrap() - truth).abs() < 0.01);
        assert!((estimates.doubly_robust.unwrap() - truth).abs() < 0.01);
        let (low, high) = estimates.interval.unwrap();
        assert!(low < truth && truth < high && high - low < 0.08);
        assert!((estimates.effective_samples - 1_000.0).abs() < 1.0);
    }

    #[test]
    fn too_little_agreement_is_refused() {
        let estimates = logged(400);
        assert!(estimates.effective_samples < SAMPLES_MIN);
        assert_eq!(estimates.doubly_robust, None);
        assert!(
            estimates.direct.is_some(),
            "what the heads think is still told"
        );
        assert_eq!(Estimator::default().estimates(), Estimates::default());
    }

    #[test]
    fn verdicts_on_some_requests_count_as_on_all() {
        let mut estimator = Estimator::default();
        for i in 0..2_000u32 {
            let observed = Observed {
                quality: 0.8,
                agrees: true,
                propensity: 1.0,
            };
            estimator.add(0.6, (i % 10 == 0).then_some(observed));
        }
        let estimates = estimator.estimates();
        assert!((estimates.doubly_robust.unwrap() - 0.8).abs() < 1e-9);
    }
}
