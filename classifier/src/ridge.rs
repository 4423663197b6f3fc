//! Ridge regression: many targets over one set of rows.
//!
//! Owns: what the normal equations need of rows, put together from parts of them, and their
//! solution by Cholesky. linfa's ridge takes no missing labels, and one factor here serves
//! all targets that were seen on the same rows.

use ndarray::{Array1, Array2, ArrayView1, Axis};

/// All that the normal equations need of some rows without their targets.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    count: f64,
    centre: Array1<f64>,
    /// XᵀX, X centred.
    gram: Array2<f64>,
}

impl Moments {
    pub(crate) fn of(rows: &Array2<f64>) -> Self {
        let zeros = || Array1::zeros(rows.ncols());
        let centre = rows.mean_axis(Axis(0)).unwrap_or_else(zeros);
        let centred = rows - &centre;
        Self {
            count: rows.nrows() as f64,
            gram: centred.t().dot(&centred),
            centre,
        }
    }

    /// Of both sets of rows (Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise
    /// algorithm for computing sample variances").
    pub(crate) fn with(&self, other: &Self) -> Self {
        let count = self.count + other.count;
        if other.count == 0.0 || self.count == 0.0 {
            let some = if other.count == 0.0 { self } else { other };
            return some.clone();
        }
        let apart = &other.centre - &self.centre;
        let column = apart.view().insert_axis(Axis(1));
        let between = column.dot(&column.t()) * (self.count * other.count / count);
        Self {
            count,
            centre: &self.centre + &(apart * (other.count / count)),
            gram: &self.gram + &other.gram + between,
        }
    }

    pub(crate) fn ridge(&self, penalty: f64) -> Ridge {
        let mut penalised = self.gram.clone();
        penalised.diag_mut().mapv_inplace(|d| d + penalty);
        Ridge {
            centre: self.centre.clone(),
            factor: cholesky(penalised),
        }
    }
}

/// One set of rows under a penalty: (XᵀX + penalty) = LLᵀ, X centred.
#[derive(Debug)]
pub(crate) struct Ridge {
    centre: Array1<f64>,
    factor: Array2<f64>,
}

impl Ridge {
    /// Coefficients and offset, for the targets of the rows.
    pub(crate) fn solve<'a>(
        &self,
        rows: impl Iterator<Item = ArrayView1<'a, f64>>,
        targets: &Array1<f64>,
    ) -> (Array1<f64>, f64) {
        let mean = targets.mean().unwrap_or(0.0);
        // Xᵀ(y − mean), row by row as they lie in memory. What is left of the targets sums
        // to zero, so it is the same for rows that are not centred.
        let mut x = Array1::zeros(self.centre.len());
        for (row, target) in rows.zip(targets) {
            x.scaled_add(target - mean, &row);
        }
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
            targets in prop::collection::vec(-3.0f64..3.0, 20),
            split in 0usize..=20,
        ) {
            let rows = Array2::from_shape_vec((20, 3), numbers).unwrap();
            let targets = Array1::from(targets);
            // Whole, and put together from parts.
            let order: Vec<usize> = (0..20).collect();
            let part = |some: &[usize]| Moments::of(&rows.select(Axis(0), some));
            let parts = part(&order[..split]).with(&part(&order[split..]));
            let solve = |moments: &Moments| {
                let solver = moments.ridge(PENALTY);
                solver.solve(rows.rows().into_iter(), &targets)
            };
            let (x, offset) = solve(&Moments::of(&rows));
            let (again, same) = solve(&parts);
            prop_assert!((&again - &x).iter().all(|apart| apart.abs() < 1e-9));
            prop_assert!((same - offset).abs() < 1e-9);
            // Gradient of ½|y − Xw − b|² + ½·penalty·|w|² is zero in w and in b.
            let residual = &targets - &rows.dot(&x) - offset;
            let gradient = rows.t().dot(&residual) - PENALTY * &x;
            prop_assert!(gradient.iter().all(|g| g.abs() < 1e-8), "{gradient}");
            prop_assert!(residual.sum().abs() < 1e-8);
        }
    }
}
