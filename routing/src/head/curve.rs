//! Calibration curves: predicted shares bent to observed ones.
//!
//! Owns: their look-up. Fitting them is the classifier's.

use crate::unit::Bps;

/// A piecewise-linear curve over 0..=1 at evenly spaced knots.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub knots: Vec<Bps>,
}

impl Curve {
    /// The curve that changes nothing.
    #[must_use]
    pub fn identity() -> Self {
        Self {
            knots: vec![Bps::ZERO, Bps::ONE],
        }
    }

    /// Value at `share` 0..=1.
    #[must_use]
    pub fn at(&self, share: f64) -> f64 {
        let Some(last) = self.knots.len().checked_sub(1).filter(|last| *last > 0) else {
            return share;
        };
        let position = share.clamp(0.0, 1.0) * last as f64;
        let left = (position.floor() as usize).min(last - 1);
        let (from, to) = (self.knots[left].share(), self.knots[left + 1].share());
        from + (to - from) * (position - left as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_interpolates_between_its_knots() {
        let curve = Curve {
            knots: vec![Bps::ZERO, Bps::new(8_000), Bps::ONE],
        };
        assert!((curve.at(0.25) - 0.4).abs() < 1e-9);
        assert!((curve.at(2.0) - 1.0).abs() < 1e-9);
    }
}
