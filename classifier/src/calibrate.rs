//! Calibration: predicted shares bent to the observed ones, per model.
//!
//! Owns: the curves. Each is a Platt scaling (Platt 1999: logistic regression on the
//! logit of the prediction) fitted by Newton's method on fractional labels, reduced to
//! knots so that the proxy needs no logarithm. Quadratic penalties pull each model
//! toward the slope that all models share, and that one toward the identity, which is
//! what few labels get: models that are compared with each other should not differ in
//! slope by chance. Knows nothing of how predictions were made; they must come from
//! committees that did not see the prompts.

use spillway_routing::float;
use spillway_routing::head::curve::Curve;
use spillway_routing::head::size::KNOTS;
use spillway_routing::unit::Bps;

/// Predictions are kept this far from 0 and 1 before the logit.
const EDGE: f64 = 1e-3;
/// Strength of the pull toward slope 1 and offset 0, in labels: with a hundred labels
/// data and identity weigh about the same.
const PULL: f64 = 20.0;
/// Strength of a model's pull toward the common slope.
const PULL_TOGETHER: f64 = 300.0;
const STEPS_MAX: usize = 30;
const STEP_MIN: f64 = 1e-9;

/// Predicted and observed shares, both 0..=1.
pub type Pair = (f64, f64);

/// A curve per model. None falls; the identity for a model without pairs.
#[must_use]
pub fn curves(models: &[Vec<Pair>]) -> Vec<Curve> {
    let models: Vec<Vec<Pair>> = models.iter().map(|pairs| logits(pairs)).collect();
    let common = rising(&models.concat(), Line::IDENTITY, PULL).slope;
    let curve = |points: &Vec<Pair>| {
        if points.is_empty() {
            return Curve::identity();
        }
        let toward = Line {
            slope: common,
            ..Line::IDENTITY
        };
        let line = rising(points, toward, PULL_TOGETHER);
        let knot = |i: usize| {
            let share = i as f64 / (KNOTS - 1) as f64;
            Bps::from_share(float::logistic(line.slope * logit(share) + line.offset))
        };
        Curve {
            knots: (0..KNOTS).map(knot).collect(),
        }
    };
    models.iter().map(curve).collect()
}

fn logits(pairs: &[Pair]) -> Vec<Pair> {
    pairs
        .iter()
        .map(|(said, seen)| (logit(*said), *seen))
        .collect()
}

fn logit(share: f64) -> f64 {
    let share = share.clamp(EDGE, 1.0 - EDGE);
    float::ln(share / (1.0 - share))
}

/// What logits are bent by.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    slope: f64,
    offset: f64,
}

impl Line {
    const IDENTITY: Self = Self {
        slope: 1.0,
        offset: 0.0,
    };
}

/// The line that minimises the penalised cross-entropy, among those that do not fall.
fn rising(points: &[Pair], toward: Line, pull: f64) -> Line {
    let line = newton(points, toward, pull, true);
    if line.slope >= 0.0 {
        return line;
    }
    // Upside-down predictions: the best curve that does not fall is a constant.
    let flat = Line {
        slope: 0.0,
        ..toward
    };
    newton(points, flat, pull, false)
}

/// Newton's method from the line that the penalty pulls toward; its slope moves only if
/// it is `free`.
fn newton(points: &[Pair], toward: Line, pull: f64, free: bool) -> Line {
    let mut line = toward;
    for _ in 0..STEPS_MAX {
        // Gradient (a, b) and Hessian [[aa, ab], [ab, bb]].
        let mut a = pull * (line.slope - toward.slope);
        let mut b = PULL * (line.offset - toward.offset);
        let (mut aa, mut ab, mut bb) = (pull, 0.0, PULL);
        for (x, y) in points {
            let p = float::logistic(line.slope * x + line.offset);
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
        line.slope -= slope_step.clamp(-1.0, 1.0);
        line.offset -= offset_step.clamp(-1.0, 1.0);
        if slope_step.abs() + offset_step.abs() < STEP_MIN {
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of a model on its own.
    fn curve(pairs: &[Pair]) -> Curve {
        curves(&[pairs.to_vec()]).remove(0)
    }

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

    #[test]
    fn a_model_with_few_labels_bends_as_the_others_do() {
        let flat = |p: f64| 0.5 + (p - 0.5) * 0.4;
        let few = [(0.9, 1.0), (0.8, 1.0), (0.2, 0.0), (0.1, 0.0)].repeat(5);
        let both = curves(&[pairs(5_000, flat), few.clone()]);
        assert!(both[1].at(0.9) < curve(&few).at(0.9) - 0.1, "{both:?}");
        assert_eq!(
            curves(&[pairs(100, flat), Vec::new()])[1],
            Curve::identity()
        );
    }

    proptest! {
        #[test]
        fn a_curve_never_falls(labels in prop::collection::vec((0.0f64..=1.0, 0.0f64..=1.0), 0..200)) {
            let curve = curve(&labels);
            prop_assert!(curve.knots.windows(2).all(|pair| pair[0] <= pair[1]));
        }
    }
}
