//! Ridge regression: many targets over one set of rows.
//!
//! Owns: the normal equations, by Cholesky. linfa's ridge takes no missing labels, and
//! one factor here serves all targets that were seen on the same rows.

use ndarray::{Array1, Array2, Axis};

/// One set of rows: (XᵀX + penalty) = LLᵀ, X centred.
pub(crate) struct Ridge {
    pub(crate) rows: Array2<f64>,
    centre: Array1<f64>,
    factor: Array2<f64>,
}

impl Ridge {
    pub(crate) fn of(rows: Array2<f64>, penalty: f64) -> Self {
        let zeros = || Array1::zeros(rows.ncols());
        let centre = rows.mean_axis(Axis(0)).unwrap_or_else(zeros);
        let centred = &rows - &centre;
        let mut gram = centred.t().dot(&centred);
        gram.diag_mut().mapv_inplace(|d| d + penalty);
        Self {
            factor: cholesky(gram),
            rows,
            centre,
        }
    }

    /// Coefficients and offset.
    pub(crate) fn solve(&self, targets: &Array1<f64>) -> (Array1<f64>, f64) {
        let mean = targets.mean().unwrap_or(0.0);
        let centred = &self.rows - &self.centre;
        let mut x = centred.t().dot(&(targets - mean));
        let n = x.len();
        for i in 0..n {
            let known: f64 = (0..i).map(|j| self.factor[[i, j]] * x[j]).sum();
            x[i] = (x[i] - known) / self.factor[[i, i]];
        }
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|j| self.factor[[j, i]] * x[j]).sum();
            x[i] = (x[i] - known) / self.factor[[i, i]];
        }
        let offset = mean - self.centre.dot(&x);
        (x, offset)
    }
}

/// The lower factor of a positive definite matrix, in place.
fn cholesky(mut a: Array2<f64>) -> Array2<f64> {
    for j in 0..a.nrows() {
        for k in 0..j {
            let scale = a[[j, k]];
            for i in j..a.nrows() {
                a[[i, j]] -= a[[i, k]] * scale;
            }
        }
        // The penalty keeps the diagonal away from zero.
        let root = a[[j, j]].max(f64::MIN_POSITIVE).sqrt();
        for i in j..a.nrows() {
            a[[i, j]] /= root;
        }
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PENALTY: f64 = 3.0;

    proptest! {
        #[test]
        fn the_normal_equations_hold(
            numbers in prop::collection::vec(-2.0f64..2.0, 60),
            targets in prop::collection::vec(-3.0f64..3.0, 20)
        ) {
            let rows = Array2::from_shape_vec((20, 3), numbers).unwrap();
            let targets = Array1::from(targets);
            let solver = Ridge::of(rows.clone(), PENALTY);
            let (x, offset) = solver.solve(&targets);
            // Gradient of ½|y − Xw − b|² + ½·penalty·|w|² is zero in w and in b.
            let residual = &targets - &rows.dot(&x) - offset;
            let gradient = rows.t().dot(&residual) - PENALTY * &x;
            prop_assert!(gradient.iter().all(|g| g.abs() < 1e-8), "{gradient}");
            prop_assert!(residual.sum().abs() < 1e-8);
        }
    }
}
