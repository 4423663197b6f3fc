//! The cluster head: nearby prompts, and how models do on them.
//!
//! Owns: centroids (k-means on row-normalised standardised encodings), their number,
//! and the similarity below which a prompt is unlike the training data. Knows nothing
//! of slices.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_clustering::{KMeans, KMeansInit};
use ndarray::{Array2, Axis, Slice};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use spillway_routing::encoder::DIMENSIONS;
use spillway_routing::head::Head;
use spillway_routing::head::cells::{Cells, Clusters};
use spillway_routing::head::size::CLUSTERS_MAX;
use spillway_routing::head::weights::Weights;

use super::tables::{Spreads, cells, expected};
use super::{Inputs, Means};
use crate::dataset::Dataset;

/// Numbers of clusters that are tried.
const CHOICES: [usize; 5] = [8, 16, 32, 64, CLUSTERS_MAX];
/// Prompts that a cluster should hold on average, or its table is the prior.
const PROMPTS_PER_CLUSTER: usize = 25;
/// Share of prompts that the number of clusters is judged on.
const JUDGED: f64 = 0.2;
/// Prompts beyond this, by key, do not move centroids any more.
const PROMPTS_MAX: usize = 10_000;
const ROUNDS_MAX: u64 = 30;
/// Shift of all centroids together at which k-means stops.
const SHIFT_MIN: f32 = 1e-3;
/// Prompts less similar than this share of the training prompts are unlike them.
const UNLIKE: f64 = 0.01;

pub(super) fn fit(
    data: &Dataset,
    inputs: &Inputs,
    means: &Means,
    count: Option<usize>,
    seed: u64,
) -> Option<Head> {
    let count = count.unwrap_or_else(|| choose(data, inputs, means, seed));
    let rows: Vec<usize> = (0..data.len()).collect();
    let mut head = centroids(data, inputs, &rows, count, seed)?;
    head.cells = self::count(data, inputs, &head, means);
    head.similarity_min = unlike(&head, inputs);
    Some(Head::Clusters(head))
}

/// Outcomes by likeness to the centroids of a head.
pub(super) fn count(data: &Dataset, inputs: &Inputs, head: &Clusters, means: &Means) -> Cells {
    let rows: Vec<usize> = (0..data.len()).collect();
    let spread = spread(head, inputs, &rows);
    cells(data, &spread, head.centroids.rows(), means)
}

/// The number of clusters with the least Brier score on prompts that neither centroids
/// nor tables saw.
fn choose(data: &Dataset, inputs: &Inputs, means: &Means, seed: u64) -> usize {
    let (train, judged) = data.cut(JUDGED, seed ^ 0x6b6d);
    let part = data.rows(&train);
    let mut best = (f64::INFINITY, CHOICES[0]);
    for count in CHOICES {
        if count > CHOICES[0] && count * PROMPTS_PER_CLUSTER > train.len() {
            continue;
        }
        let Some(head) = centroids(data, inputs, &train, count, seed) else {
            continue;
        };
        let table = cells(&part, &spread(&head, inputs, &train), count, means);
        let brier = brier(data, &judged, &spread(&head, inputs, &judged), &table);
        if brier < best.0 {
            best = (brier, count);
        }
    }
    best.1
}

fn brier(data: &Dataset, rows: &[usize], spread: &Spreads, table: &Cells) -> f64 {
    let models = data.models.len();
    let (mut sum, mut count) = (0.0, 0.0);
    for (row, shares) in rows.iter().zip(spread) {
        for model in 0..models {
            let seen = data.quality[[*row, model]];
            if !seen.is_nan() {
                let error = expected(table, shares, models, model) - seen;
                sum += error * error;
                count += 1.0;
            }
        }
    }
    if count > 0.0 {
        sum / count
    } else {
        f64::INFINITY
    }
}

/// A head with unit-length centroids and nothing in its table yet.
fn centroids(
    data: &Dataset,
    inputs: &Inputs,
    rows: &[usize],
    count: usize,
    seed: u64,
) -> Option<Clusters> {
    let mut rows = rows.to_vec();
    if rows.len() > PROMPTS_MAX {
        rows.sort_by_key(|row| (data.prompts[*row].key, *row));
        rows.truncate(PROMPTS_MAX);
    }
    if rows.len() < count {
        return None;
    }
    let from = inputs.real.ncols() - DIMENSIONS;
    let mut points = inputs
        .real
        .slice_axis(Axis(1), Slice::from(from..))
        .select(Axis(0), &rows);
    points.rows_mut().into_iter().for_each(|mut row| {
        let length = row.iter().fold(0.0f32, |sum, x| sum + x * x).sqrt();
        row.mapv_inplace(|x| x / length.max(f32::MIN_POSITIVE));
    });
    let mut dice = Xoshiro256Plus::seed_from_u64(seed);
    let start = plus_plus(&points, count, &mut dice);
    let model = KMeans::params_with_rng(count, dice)
        .init_method(KMeansInit::Precomputed(start))
        .n_runs(1)
        .max_n_iterations(ROUNDS_MAX)
        .tolerance(SHIFT_MIN)
        .fit(&DatasetBase::from(points))
        .ok()?;
    let mut centroids = Vec::with_capacity(count * DIMENSIONS);
    for row in model.centroids().rows() {
        let length = row.iter().fold(0.0f32, |sum, x| sum + x * x).sqrt();
        centroids.extend(row.iter().map(|x| x / length.max(1e-12)));
    }
    Some(Clusters {
        centroids: Weights::of(DIMENSIONS, &centroids),
        similarity_min: -1.0,
        cells: Cells::default(),
    })
}

/// Starting points by k-means++ (Arthur and Vassilvitskii 2007): each next one drawn in
/// proportion to its squared distance from the nearest so far. linfa's own goes over all
/// earlier points again for each new one, which took most of the training time.
fn plus_plus(points: &Array2<f32>, count: usize, dice: &mut Xoshiro256Plus) -> Array2<f32> {
    let mut chosen = vec![dice.gen_range(0..points.nrows())];
    let mut distance = vec![f64::INFINITY; points.nrows()];
    while chosen.len() < count {
        let last = points.row(chosen[chosen.len() - 1]);
        for (nearest, point) in distance.iter_mut().zip(points.rows()) {
            let square = |(a, b): (&f32, &f32)| f64::from((a - b) * (a - b));
            let new: f64 = point.iter().zip(last).map(square).sum();
            *nearest = nearest.min(new);
        }
        let mut left = dice.r#gen::<f64>() * distance.iter().sum::<f64>();
        let drawn = distance.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        // All points are used up when the distances are all zero: any will do then.
        chosen.push(drawn.unwrap_or(chosen.len() % points.nrows()));
    }
    points.select(Axis(0), &chosen)
}

fn spread(head: &Clusters, inputs: &Inputs, rows: &[usize]) -> Spreads {
    let shares = |row: &usize| {
        let mut shares = Vec::new();
        head.spread(&inputs.fixed[*row], |cell, share| {
            shares.push((cell, share))
        });
        shares
    };
    rows.iter().map(shares).collect()
}

/// The quantile of the training prompts' similarity to their nearest centroid. Above it
/// predictions count in full: shrinking them up to the 20 % quantile, as the published
/// experiments do, was worse out of fold on all four training sets.
fn unlike(head: &Clusters, inputs: &Inputs) -> f32 {
    let nearest = inputs.fixed.iter().map(|row| head.similarity(row));
    let mut nearest: Vec<f64> = nearest.collect();
    nearest.sort_by(f64::total_cmp);
    let quantile = nearest.get((nearest.len() as f64 * UNLIKE) as usize);
    quantile.map_or(-1.0, |similarity| similarity.clamp(-1.0, 1.0) as f32)
}
