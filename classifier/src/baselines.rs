//! Other ways to route that are known to be good, to compare with.
//!
//! Owns: nearest neighbours over the encoding and one ridge regression per model over
//! all inputs, both with the settings of the published experiments, tuned on held-out
//! training prompts. Nothing here ever reaches a table.

use ndarray::{Array2, ArrayView1, Axis, Slice};
use spillway_routing::encoder::DIMENSIONS;
use spillway_routing::float;
use spillway_routing::head::Committee;
use spillway_routing::head::weights::INPUT_ONE;

use crate::dataset::Dataset;
use crate::ridge::{Moments, Ridge};
use crate::side_by_side::{self, THREADS};

/// Numbers of neighbours that are tried.
const NEIGHBOURS: [usize; 6] = [5, 10, 20, 40, 80, 160];
/// Training prompts beyond this are no neighbours.
const KNOWN_MAX: usize = 10_000;
/// Asked prompts that are compared with the known ones at a time.
const ASKED: usize = 128;
/// How fast a neighbour's weight falls with its cosine distance.
const SHARPNESS: f64 = 8.0;
/// Pull toward each model's mean, in neighbours.
const PULL: f64 = 2.0;
/// Penalties that are tried.
const PENALTIES: [f64; 5] = [3.0, 30.0, 300.0, 3_000.0, 30_000.0];
/// Share of the training prompts that settings are judged on.
const JUDGED: f64 = 0.2;

/// Standardised inputs, n × (features + encoding), as `committee` makes them.
fn inputs(committee: &Committee, data: &Dataset) -> Array2<f64> {
    let width = committee.scaler.mean.len();
    let mut all = Array2::zeros((data.len(), width));
    for (mut row, prompt) in all.rows_mut().into_iter().zip(&data.prompts) {
        let made = committee.inputs(&prompt.facts);
        let pairs = row.iter_mut().zip(made.iter());
        pairs.for_each(|(to, from)| *to = f64::from(*from) / f64::from(INPUT_ONE));
    }
    all
}

/// Labels with each model's mean where one is missing, and the means.
fn filled(data: &Dataset) -> (Array2<f64>, Vec<f64>) {
    let mean = |column: ArrayView1<'_, f64>| {
        let seen: Vec<f64> = column.iter().copied().filter(|q| !q.is_nan()).collect();
        seen.iter().sum::<f64>() / seen.len().max(1) as f64
    };
    let means: Vec<f64> = data.quality.columns().into_iter().map(mean).collect();
    let mut labels = data.quality.clone();
    for (mut column, mean) in labels.columns_mut().into_iter().zip(&means) {
        column.mapv_inplace(|q| if q.is_nan() { *mean } else { q });
    }
    (labels, means)
}

fn error(said: &Array2<f64>, seen: &Array2<f64>) -> f64 {
    let squares = said.iter().zip(seen).map(|(a, b)| (a - b) * (a - b));
    squares.sum::<f64>() / said.len().max(1) as f64
}

/// Rows with the lowest keys: every asked prompt is compared with every known one.
fn few(data: &Dataset) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..data.len()).collect();
    rows.sort_by_key(|row| (data.prompts[*row].key, *row));
    rows.truncate(KNOWN_MAX);
    rows
}

/// Predicted quality of each test prompt and model from its nearest training prompts.
#[must_use]
pub fn nearest_neighbours(
    committee: &Committee,
    train: &Dataset,
    test: &Dataset,
    seed: u64,
) -> Array2<f64> {
    let train = &train.rows(&few(train));
    let (labels, means) = filled(train);
    let points = |data: &Dataset| {
        let all = inputs(committee, data);
        let mut part = all
            .slice_axis(Axis(1), Slice::from(all.ncols() - DIMENSIONS..))
            .to_owned();
        for mut row in part.rows_mut() {
            let length = row.dot(&row).sqrt().max(f64::MIN_POSITIVE);
            row /= length;
        }
        part
    };
    let (known, asked) = (points(train), points(test));
    let (fitted, judged) = train.cut(JUDGED, seed ^ 0x6b6e_6e00);
    let pick = |matrix: &Array2<f64>, rows: &[usize]| matrix.select(Axis(0), rows);
    let most = NEIGHBOURS[NEIGHBOURS.len() - 1];
    let near = neighbours(&pick(&known, &fitted), &pick(&known, &judged), most);
    let (table, truth) = (pick(&labels, &fitted), pick(&labels, &judged));
    let tried = NEIGHBOURS.map(|k| (error(&averages(&near, &table, &means, k), &truth), k));
    let best = tried.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let k = best.map_or(NEIGHBOURS[0], |(_, k)| k);
    averages(&neighbours(&known, &asked, k), &labels, &means, k)
}

/// Per asked point, its nearest known ones with their cosine, nearest first; of equals the
/// first. Points have unit length or none, so the nearest are those with the largest
/// product; products are made by matrices, which is ten times faster than distance by
/// distance.
fn neighbours(known: &Array2<f64>, asked: &Array2<f64>, k: usize) -> Vec<Vec<(usize, f64)>> {
    let firsts: Vec<usize> = (0..asked.nrows()).step_by(ASKED).collect();
    let near = side_by_side::each(THREADS, &firsts, |first| {
        let some = *first..asked.nrows().min(first + ASKED);
        let products = asked.slice_axis(Axis(0), Slice::from(some)).dot(&known.t());
        let rows = products.rows().into_iter();
        rows.map(|row| nearest(row, k)).collect::<Vec<_>>()
    });
    near.into_iter().flatten().collect()
}

fn nearest(cosines: ArrayView1<'_, f64>, k: usize) -> Vec<(usize, f64)> {
    let order = |a: &(usize, f64), b: &(usize, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let mut all: Vec<(usize, f64)> = cosines.iter().copied().enumerate().collect();
    if k < all.len() {
        all.select_nth_unstable_by(k, order);
    }
    // A list of its own: that of all would keep its size.
    let mut near = all[..k.min(all.len())].to_vec();
    near.sort_unstable_by(order);
    near
}

fn averages(
    near: &[Vec<(usize, f64)>],
    labels: &Array2<f64>,
    means: &[f64],
    k: usize,
) -> Array2<f64> {
    let mut said = Array2::zeros((near.len(), means.len()));
    for (mut row, near) in said.rows_mut().into_iter().zip(near) {
        let near = &near[..k.min(near.len())];
        let first = near.first().map_or(0.0, |(_, cosine)| *cosine);
        let weights: Vec<f64> = near
            .iter()
            .map(|(_, cosine)| float::exp(SHARPNESS * (cosine - first)))
            .collect();
        let whole: f64 = weights.iter().sum();
        let pull = PULL * whole / k as f64;
        for (model, value) in row.iter_mut().enumerate() {
            let pairs = near.iter().zip(&weights);
            let sum: f64 = pairs
                .map(|((other, _), w)| w * labels[[*other, model]])
                .sum();
            *value = (sum + pull * means[model]) / (whole + pull);
        }
    }
    said
}

/// Predicted quality of each test prompt and model by one ridge regression per model.
#[must_use]
pub fn ridges(committee: &Committee, train: &Dataset, test: &Dataset, seed: u64) -> Array2<f64> {
    let (labels, _) = filled(train);
    let (known, asked) = (inputs(committee, train), inputs(committee, test));
    let (fitted, judged) = train.cut(JUDGED, seed ^ 0x7269_6467);
    let pick = |matrix: &Array2<f64>, rows: &[usize]| matrix.select(Axis(0), rows);
    let predict = |rows: &Array2<f64>, ridge: &Ridge, labels: &Array2<f64>, asked: &Array2<f64>| {
        let mut said = Array2::zeros((asked.nrows(), labels.ncols()));
        for (mut column, seen) in said.columns_mut().into_iter().zip(labels.columns()) {
            let (weights, offset) = ridge.solve(rows.rows().into_iter(), &seen.to_owned());
            column.assign(&asked.dot(&weights).mapv(|x| (x + offset).clamp(0.0, 1.0)));
        }
        said
    };
    let (table, truth) = (pick(&labels, &fitted), pick(&labels, &judged));
    let (some, inside) = (pick(&known, &fitted), pick(&known, &judged));
    let moments = Moments::of(&some);
    let tried = PENALTIES.map(|penalty| {
        let said = predict(&some, &moments.ridge(penalty), &table, &inside);
        (error(&said, &truth), penalty)
    });
    let best = tried.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let penalty = best.map_or(PENALTIES[0], |(_, penalty)| penalty);
    let ridge = Moments::of(&known).ridge(penalty);
    predict(&known, &ridge, &labels, &asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::learn;
    use crate::offers::terms;
    use crate::synthetic::{CHANCE, audits};
    use std::collections::BTreeMap;

    #[test]
    fn the_nearest_are_the_same_as_one_by_one() {
        let point = |(row, part): (usize, usize)| ((row * 37 + part * 11) % 29) as f64 - 14.0;
        let unit = |rows: usize| {
            let mut points = Array2::from_shape_fn((rows, 5), point);
            for mut row in points.rows_mut() {
                let length = row.dot(&row).sqrt();
                row /= length;
            }
            points
        };
        // More points than are compared at a time, and more neighbours than there are.
        let (known, asked) = (unit(20), unit(ASKED + 30));
        for k in [1, 7, 20, 50] {
            for (point, near) in asked.rows().into_iter().zip(neighbours(&known, &asked, k)) {
                let mut all: Vec<f64> = known.rows().into_iter().map(|x| x.dot(&point)).collect();
                all.sort_by(|a, b| b.total_cmp(a));
                assert_eq!(near.len(), k.min(20));
                for ((row, cosine), largest) in near.iter().zip(&all) {
                    assert!((cosine - largest).abs() < 1e-12);
                    assert!((known.row(*row).dot(&point) - cosine).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn both_find_what_differs_between_two_kinds_of_prompts() {
        let train = Dataset::of(&audits(900, true, true, 3), None);
        let test = Dataset::of(&audits(300, true, true, 4), Some(&train.models));
        let prices = terms(&train, &BTreeMap::new());
        let committee = learn(&train, &prices, 1, &mut || ()).committee;
        for said in [
            nearest_neighbours(&committee, &train, &test, 1),
            ridges(&committee, &train, &test, 1),
        ] {
            for (kind, slice) in ["code", "prose"].into_iter().enumerate() {
                let rows = (0..test.len()).filter(|row| {
                    test.prompts[*row]
                        .slice
                        .as_ref()
                        .is_some_and(|s| s.as_str() == slice)
                });
                let rows: Vec<usize> = rows.collect();
                for model in 0..3 {
                    let mean =
                        rows.iter().map(|row| said[[*row, model]]).sum::<f64>() / rows.len() as f64;
                    assert!(
                        (mean - CHANCE[kind][model]).abs() < 0.15,
                        "{slice} {model}: {mean}"
                    );
                }
            }
        }
    }
}
