//! Calibration: predicted shares bent to the observed ones, per model.
//!
//! Owns: the curves. Each is a Platt scaling (Platt 1999: logistic regression on the
//! logit of the prediction) fitted by Newton's method on fractional labels, reduced to
//! knots so that the proxy needs no logarithm. A quadratic penalty pulls it toward the
//! identity, which is what few labels get. Knows nothing of how predictions were made;
//! they must come from committees that did not see the prompts.

use spillway_routing::float;
use spillway_routing::head::Curve;
use spillway_routing::unit::Bps;

/// Knots of a curve: every sixteenth.
pub const KNOTS: usize = 17;
/// Predictions are kept this far from 0 and 1 before the logit.
const EDGE: f64 = 1e-3;
/// Strength of the pull toward slope 1 and offset 0, in labels: with a hundred labels
/// data and identity weigh about the same.
const PULL: f64 = 20.0;
const STEPS_MAX: usize = 30;
const STEP_MIN: f64 = 1e-9;

/// A curve from (predicted, observed) pairs, both 0..=1. Never falls; the identity
/// without pairs.
#[must_use]
pub fn curve(pairs: &[(f64, f64)]) -> Curve {
    if pairs.is_empty() {
        return Curve::identity();
    }
    let (slope, offset) = platt(pairs);
    let knot = |i: usize| {
        let share = i as f64 / (KNOTS - 1) as f64;
        Bps::from_share(float::logistic(slope * logit(share) + offset))
    };
    Curve {
        knots: (0..KNOTS).map(knot).collect(),
    }
}

fn logit(share: f64) -> f64 {
    let share = share.clamp(EDGE, 1.0 - EDGE);
    float::ln(share / (1.0 - share))
}

/// Slope (at least 0) and offset that minimise the penalised cross-entropy.
fn platt(pairs: &[(f64, f64)]) -> (f64, f64) {
    let points: Vec<(f64, f64)> = pairs.iter().map(|(p, y)| (logit(*p), *y)).collect();
    let (slope, offset) = newton(&points, 1.0, true);
    if slope >= 0.0 {
        return (slope, offset);
    }
    // Upside-down predictions: the best curve that does not fall is a constant.
    newton(&points, 0.0, false)
}

/// Newton's method from `slope`, which moves only if it is `free`.
fn newton(points: &[(f64, f64)], mut slope: f64, free: bool) -> (f64, f64) {
    let mut offset = 0.0f64;
    for _ in 0..STEPS_MAX {
        // Gradient (a, b) and Hessian [[aa, ab], [ab, bb]].
        let (mut a, mut b) = (PULL * (slope - 1.0), PULL * offset);
        let (mut aa, mut ab, mut bb) = (PULL, 0.0, PULL);
        for (x, y) in points {
            let p = float::logistic(slope * x + offset);
            let curvature = p * (1.0 - p);
            a += (p - y) * x;
            b += p - y;
            aa += curvature * x * x;
            ab += curvature * x;
            bb += curvature;
        }
        if !free {
            (a, ab) = (0.0, 0.0);
        }
        let determinant = aa * bb - ab * ab; // Positive: the penalty makes it so.
        let slope_step = (bb * a - ab * b) / determinant;
        let offset_step = (aa * b - ab * a) / determinant;
        slope -= slope_step.clamp(-1.0, 1.0);
        offset -= offset_step.clamp(-1.0, 1.0);
        if slope_step.abs() + offset_step.abs() < STEP_MIN {
            break;
        }
    }
    (slope, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `observed` of a prediction, a thousand times each.
    fn pairs(n: usize, observed: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..n)
            .map(|i| (i as f64 + 0.5) / n as f64)
            .map(|p| (p, observed(p)))
            .collect()
    }

    #[test]
    fn true_predictions_stay_as_they_are() {
        let curve = curve(&pairs(2_000, |p| p));
        for p in [0.1, 0.35, 0.5, 0.8, 0.95] {
            assert!((curve.at(p) - p).abs() < 0.02, "{p} became {}", curve.at(p));
        }
    }

    #[test]
    fn overconfidence_is_bent_toward_the_middle() {
        let curve = curve(&pairs(5_000, |p| 0.5 + (p - 0.5) * 0.4));
        assert!((curve.at(0.9) - 0.66).abs() < 0.03, "{}", curve.at(0.9));
        assert!((curve.at(0.1) - 0.34).abs() < 0.03, "{}", curve.at(0.1));
    }

    #[test]
    fn few_labels_hardly_move_it() {
        let few = curve(&[(0.8, 0.0), (0.9, 0.0)]);
        let many = curve(&[(0.8, 0.0), (0.9, 0.0)].repeat(500));
        assert!(few.at(0.85) > 0.7 && many.at(0.85) < 0.1);
    }

    #[test]
    fn one_class_of_labels_stays_finite() {
        for label in [0.0, 1.0] {
            let curve = curve(&pairs(500, |_| label));
            assert!((curve.at(0.5) - label).abs() < 0.2, "{:?}", curve.knots);
        }
    }

    proptest! {
        #[test]
        fn a_curve_never_falls(labels in prop::collection::vec((0.0f64..=1.0, 0.0f64..=1.0), 0..200)) {
            let curve = curve(&labels);
            prop_assert!(curve.knots.windows(2).all(|pair| pair[0] <= pair[1]));
        }
    }
}
