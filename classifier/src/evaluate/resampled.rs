//! Curves of a sweep, also for prompts that are drawn again.
//!
//! Owns: the truth of what each λ picks, prompt by prompt, of which any resample is a
//! weighted sum. A bootstrap asks for a thousand of those; some are summed at a time, so
//! that the table is read from memory less often. Each goes over the prompts in their
//! order all the same, and comes to the same bits alone and beside others.

use ndarray::Array2;

use super::hull::{Hull, Point};
use super::{SweepPoint, lambdas};
use crate::offers::{Policy, Row, Truth};
use crate::picks::Fronts;

/// Resamples that are summed at a time: their sums fit into a core's first cache.
pub(super) const TOGETHER: usize = 8;

pub(super) struct Table {
    lambdas: Vec<u64>,
    /// A row per prompt: the quality of what each λ picks, then of each single model;
    /// after these as many costs.
    values: Array2<f64>,
}

pub(super) struct Curves {
    pub(super) singles: Vec<Point>,
    pub(super) cheapest: usize,
    pub(super) router: Hull,
    pub(super) zero: Hull,
}

impl Curves {
    /// The cheapest single model belongs to the router's points: λ without end picks it.
    fn of(mut router: Vec<Point>, singles: Vec<Point>) -> Self {
        let cheapest = (0..singles.len())
            .min_by(|a, b| singles[*a].cost.total_cmp(&singles[*b].cost))
            .unwrap_or(0);
        router.push(singles[cheapest]);
        Self {
            router: Hull::of(&router),
            zero: Hull::of(&singles),
            singles,
            cheapest,
        }
    }

    /// Of all prompts, without a table of them.
    pub(super) fn of_sweep(rows: &[Row], truth: &Truth) -> Self {
        let fronts = Fronts::of(rows);
        let router = lambdas(rows).into_iter();
        let router = router.map(|lambda| mean(truth, fronts.picks(Policy::lambda(lambda))));
        let singles = 0..truth.quality.ncols();
        let singles = singles.map(|model| mean(truth, std::iter::repeat_n(model, rows.len())));
        Self::of(router.collect(), singles.collect())
    }

    pub(super) fn aiq_log(&self, best: usize) -> (f64, f64) {
        let (from, to) = (self.singles[self.cheapest].cost, self.singles[best].cost);
        (self.router.mean_log(from, to), self.zero.mean_log(from, to))
    }
}

/// What picking so gives, prompt by prompt.
fn mean(truth: &Truth, picks: impl Iterator<Item = usize>) -> Point {
    let (mut quality, mut cost, mut prompts) = (0.0, 0.0, 0.0);
    for (row, pick) in picks.enumerate() {
        quality += truth.quality[[row, pick]];
        cost += truth.cost[[row, pick]];
        prompts += 1.0;
    }
    Point {
        cost: cost / prompts,
        quality: quality / prompts,
    }
}

impl Table {
    pub(super) fn of(rows: &[Row], truth: &Truth) -> Self {
        let lambdas = lambdas(rows);
        let fronts = Fronts::of(rows);
        let points = lambdas.len() + truth.quality.ncols();
        let mut values = Array2::zeros((rows.len(), 2 * points));
        for (k, lambda) in lambdas.iter().enumerate() {
            for (i, pick) in fronts.picks(Policy::lambda(*lambda)).enumerate() {
                values[[i, k]] = truth.quality[[i, pick]];
                values[[i, points + k]] = truth.cost[[i, pick]];
            }
        }
        for ((i, model), quality) in truth.quality.indexed_iter() {
            values[[i, lambdas.len() + model]] = *quality;
            values[[i, points + lambdas.len() + model]] = truth.cost[[i, model]];
        }
        Self { lambdas, values }
    }

    /// Of all prompts.
    pub(super) fn curves(&self) -> Curves {
        let mut points = self.points(&self.all());
        Curves::of(points.remove(0), points.remove(0))
    }

    /// With each prompt counted as often as a draw says, for each of some draws.
    pub(super) fn resampled(&self, draws: &[Vec<f64>]) -> Vec<Curves> {
        let mut points = self.points(draws).into_iter();
        let mut curves = Vec::with_capacity(draws.len());
        while let (Some(router), Some(singles)) = (points.next(), points.next()) {
            curves.push(Curves::of(router, singles));
        }
        curves
    }

    pub(super) fn sweep(&self) -> Vec<SweepPoint> {
        let point = |(lambda, point): (&u64, Point)| SweepPoint {
            lambda: *lambda,
            cost: point.cost,
            quality: point.quality,
        };
        let points = self.points(&self.all()).remove(0);
        self.lambdas.iter().zip(points).map(point).collect()
    }

    fn all(&self) -> [Vec<f64>; 1] {
        [vec![1.0; self.values.nrows()]]
    }

    /// Weighted means: of each draw first the λs', then the single models'.
    fn points(&self, draws: &[Vec<f64>]) -> Vec<Vec<Point>> {
        let width = self.values.ncols();
        let mut sums = vec![vec![0.0; width]; draws.len()];
        let mut totals = vec![0.0; draws.len()];
        for (i, values) in self.values.rows().into_iter().enumerate() {
            let values = values.to_slice().unwrap_or_default(); // Rows lie in one piece.
            for ((sums, total), counts) in sums.iter_mut().zip(&mut totals).zip(draws) {
                let count = counts[i];
                if count > 0.0 {
                    *total += count;
                    let pairs = sums.iter_mut().zip(values);
                    pairs.for_each(|(sum, value)| *sum += count * value);
                }
            }
        }
        let split = |(sums, total): (&Vec<f64>, &f64)| {
            let (quality, cost) = sums.split_at(width / 2);
            let pairs = quality.iter().zip(cost);
            let point = |(quality, cost): (&f64, &f64)| Point {
                cost: cost / total,
                quality: quality / total,
            };
            let mut points: Vec<Point> = pairs.map(point).collect();
            let singles = points.split_off(self.lambdas.len());
            [points, singles]
        };
        sums.iter().zip(&totals).flat_map(split).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use spillway_routing::decide::Offer;
    use spillway_routing::unit::{Bps, NanoUsd};

    /// Forty prompts and three models, of which a dearer one is mostly better.
    fn world() -> (Vec<Row>, Truth) {
        let cost = |(i, model): (usize, usize)| ((model + 1) * (3 + i % 5)) as f64 * 1e-4;
        let quality = |(i, model): (usize, usize)| ((i * 7 + model * 5) % 11) as f64 / 11.0;
        let truth = Truth {
            quality: Array2::from_shape_fn((40, 3), quality),
            cost: Array2::from_shape_fn((40, 3), cost),
        };
        let offer = |i: usize, model: usize| Offer {
            quality: Bps::from_share(quality((i + model % 2, model))),
            cost: NanoUsd::from_usd(cost((i, model))),
        };
        let row = |i: usize| Row {
            offers: (0..3).map(|model| offer(i, model)).collect(),
            abstained: false,
        };
        ((0..40).map(row).collect(), truth)
    }

    fn said(curves: &Curves) -> (Vec<Point>, Vec<Point>, Vec<Point>) {
        let (router, zero) = (curves.router.points.clone(), curves.zero.points.clone());
        (router, zero, curves.singles.clone())
    }

    #[test]
    fn draws_come_to_the_same_alone_and_beside_others() {
        let (rows, truth) = world();
        let table = Table::of(&rows, &truth);
        let draws: Vec<Vec<f64>> = (0..3)
            .map(|draw| (0..40).map(|i| ((i * 3 + draw) % 4) as f64).collect())
            .collect();
        let together = table.resampled(&draws);
        assert_eq!(together.len(), 3);
        for (curves, draw) in together.iter().zip(&draws) {
            let alone = table.resampled(std::slice::from_ref(draw));
            assert_eq!(said(curves), said(&alone[0]));
        }
        assert_ne!(said(&together[0]), said(&together[1]));
    }

    #[test]
    fn no_table_is_needed_for_all_prompts() {
        let (rows, truth) = world();
        let curves = Table::of(&rows, &truth).curves();
        assert_eq!(said(&Curves::of_sweep(&rows, &truth)), said(&curves));
    }
}
