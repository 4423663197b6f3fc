//! The learned router beside what else one could do, on prompts that none has seen.
//!
//! Owns: who takes part and that all are priced and judged alike: predicted cost comes
//! from the same price list and the same predicted lengths for everyone, so that only
//! predicted quality differs.

use ndarray::Array2;
use spillway_routing::head::{Committee, Scores};
use spillway_routing::unit::Bps;

use crate::baselines::{nearest_neighbours, ridges};
use crate::dataset::Dataset;
use crate::evaluate::{Evaluation, evaluate};
use crate::offers::{Comparable, Row, Terms};
use crate::side_by_side::{self, THREADS};

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// Each model's mean for every prompt.
    NoFeatures,
    NearestNeighbours,
    /// One regression per model.
    Ridge,
    Committee,
    /// The committee, told the prompts' own labels of the kind of work.
    CommitteeWithSlices,
}

impl Contender {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoFeatures => "no features",
            Self::NearestNeighbours => "kNN",
            Self::Ridge => "ridge per model",
            Self::Committee => "committee",
            Self::CommitteeWithSlices => "committee, slice given",
        }
    }
}

/// All contenders on one test set.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub contests: Vec<(Contender, Evaluation)>,
    /// Test prompts on which the committee declined to predict.
    pub abstained: usize,
}

/// Trains nothing but the baselines: `committee` must have been learnt from `train`.
/// `None` where fewer than two models can be compared.
#[must_use]
pub fn compare(
    committee: &Committee,
    train: &Dataset,
    test: &Dataset,
    prices: &[Option<Terms>],
    seed: u64,
) -> Option<Comparison> {
    let inside = Comparable::of(train, prices, &[]);
    let outside = Comparable::at(test, prices, inside.columns.clone());
    if outside.models.len() < 2 {
        return None;
    }
    let judge = |rows: &[Row]| {
        let (truth, models) = (&outside.truth, &outside.models);
        evaluate(rows, truth, models, inside.best(), seed)
    };
    let said = |quality: &Array2<f64>| {
        outside.offers_of(test, |row| {
            let mut scores = committee.score(&test.prompts[row].facts);
            replace(&mut scores, quality.row(row).iter());
            scores
        })
    };
    let learned = outside.offers(test, |_| committee, false);
    let abstained = learned.iter().filter(|row| row.abstained).count();
    let mut contests = vec![
        (
            Contender::NoFeatures,
            outside.offers(test, |_| committee, true),
        ),
        (
            Contender::NearestNeighbours,
            said(&nearest_neighbours(committee, train, test, seed)),
        ),
        (
            Contender::Ridge,
            said(&ridges(committee, train, test, seed)),
        ),
        (Contender::Committee, learned),
    ];
    if test.prompts.iter().any(|prompt| prompt.slice.is_some()) {
        let shown = test.with_slices_shown();
        let rows = outside.offers(&shown, |_| committee, false);
        contests.push((Contender::CommitteeWithSlices, rows));
    }
    let judged = side_by_side::each(THREADS, &contests, |(who, rows)| Some((*who, judge(rows)?)));
    Some(Comparison {
        contests: judged.into_iter().collect::<Option<_>>()?,
        abstained,
    })
}

fn replace<'a>(scores: &mut Scores, quality: impl Iterator<Item = &'a f64>) {
    for (score, quality) in scores.models.iter_mut().zip(quality) {
        score.quality = Bps::from_share(*quality);
    }
    scores.abstention = None;
}
