//! A training run from audits to a committee, multipliers and a report.
//!
//! Owns: the order of the steps. Fit on one part, calibrate and solve λ out of fold,
//! measure on the other part, ask the gate, and then fit again on everything: what is
//! handed out has seen all prompts, what is reported has not. Pure: same audits, same
//! seed, same committee to the bit. Publishing is somebody else's work.

mod in_use;
mod routes;

use std::collections::BTreeMap;

use spillway_routing::head::Committee;
use spillway_routing::id::{ModelId, RouteId};
use spillway_routing::outcome::Audit;
use spillway_routing::table::{Certificate, Choice};
use spillway_routing::unit::Bps;

use crate::compare::{Contender, compare};
use crate::dataset::{Dataset, Labelled, MODEL_LABELS_MIN};
use crate::evaluate::evaluate;
use crate::fit::PROMPTS_MIN;
use crate::fit::update::update;
use crate::impute::impute;
use crate::learn::{Learned, learn};
use crate::offers::{Comparable, Row, Terms, terms};
use crate::report::{Decline, ModelReport, PriceSource, RouteReport, Rows, RunReport, heads};
pub use in_use::InUse;
use in_use::{Former, Rival};
use routes::{Beside, Gated, Part, finish, gates, slices, unseen};

/// A route that wants a λ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    pub route: RouteId,
    /// Share of the best single model's mean quality to keep.
    pub bar: Bps,
    /// As in the route; [`Bps::ONE`] for none.
    pub guard: Bps,
    /// Models that may answer; empty means all.
    pub models: Vec<ModelId>,
    /// Where the route sends prompts that the committee abstains on.
    pub default: Option<ModelId>,
}

/// What a run is told.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    pub seed: u64,
    pub bars: &'a [Bar],
    /// Share of the audits that is measured on and not fitted, 0..1.
    pub held_out: f64,
    /// The committee in use, to compare with.
    pub current: Option<InUse<'a>>,
    /// Share of the prompts that may go elsewhere than with the committee in use.
    pub flips_max: Bps,
    /// Prices of the catalogue; other models' are read off their costs.
    pub terms: &'a BTreeMap<ModelId, Terms>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Read,
    Fit,
    CrossFit,
    Measure,
    Refit,
    RefitCrossFit,
    Solve,
}

impl Step {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Fit => "fit",
            Self::CrossFit => "cross_fit",
            Self::Measure => "measure",
            Self::Refit => "refit",
            Self::RefitCrossFit => "refit_cross_fit",
            Self::Solve => "solve",
        }
    }
}

/// A route's λ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multiplier {
    pub route: RouteId,
    pub choice: Choice,
    /// Whether the route may use the heads.
    pub learned: bool,
    pub certificate: Option<Certificate>,
}

/// What a run hands out.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    pub committee: Committee,
    /// One per bar, in their order; a route that nothing could be compared for is left
    /// out and keeps what it has.
    pub multipliers: Vec<Multiplier>,
    /// Of models that the catalogue does not list.
    pub observed: BTreeMap<ModelId, Terms>,
    pub report: RunReport,
}

/// Why nothing could be learnt at all.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrainingError {
    #[error("there are no audited prompts; import a labelled set or turn on the audit sampler")]
    NoAudits,
    #[error(
        "of {models} models the best covered has {most} labels, {MODEL_LABELS_MIN} per model are needed; audit more prompts"
    )]
    TooFewLabels { models: usize, most: usize },
    #[error("only {0} has enough labels; there is nothing to choose until a second model has")]
    OneModel(ModelId),
    #[error("the held-out share is {0}, it must lie between 0.05 and 0.9")]
    HeldOut(f64),
}

/// Trains.
///
/// # Errors
///
/// When there is nothing to learn from; each error says what to do. Too few prompts for
/// heads is no error: the committee is then prompt-blind and the report says so.
pub fn run(
    audits: &[Audit],
    live: &[Labelled<'_>],
    settings: &Settings<'_>,
    progress: &mut dyn FnMut(Step, f32),
) -> Result<Trained, TrainingError> {
    progress(Step::Read, 0.0);
    if !(0.05..=0.9).contains(&settings.held_out) {
        return Err(TrainingError::HeldOut(settings.held_out));
    }
    let data = read(audits, live)?;
    let prices = terms(&data, settings.terms);
    let mut report = RunReport {
        models: model_reports(&data, &prices, settings),
        ..RunReport::default()
    };
    report.rows.audits = data.audits().len();
    report.rows.live = data.len() - report.rows.audits;
    let data = impute(data);
    report.declined = decline(&data, &prices);
    let gates = if report.declined.is_none() {
        let former = settings.current;
        let former = former.and_then(|current| current.as_learnt(audits, live, &data));
        measure(&data, &prices, settings, former, &mut report, progress)
    } else {
        Vec::new()
    };
    progress(Step::Refit, 0.5);
    let Learned { committee, folds } = learn(&data, &prices, settings.seed, &mut || {
        progress(Step::RefitCrossFit, 0.65);
    });
    progress(Step::Solve, 0.9);
    report.heads = heads(&committee);
    report.routes = finish(&data, &prices, &folds, settings.bars, gates);
    progress(Step::Solve, 1.0);
    let multiplier = |route: &RouteReport| {
        Some(Multiplier {
            route: route.route.clone(),
            choice: route.solved.as_ref()?.choice,
            learned: route.learned,
            certificate: route.solved.as_ref()?.certificate(),
        })
    };
    Ok(Trained {
        multipliers: report.routes.iter().filter_map(multiplier).collect(),
        observed: observed(&data, &prices, settings),
        committee,
        report,
    })
}

fn read(audits: &[Audit], live: &[Labelled<'_>]) -> Result<Dataset, TrainingError> {
    if audits.iter().all(|audit| audit.answers.is_empty()) {
        return Err(TrainingError::NoAudits);
    }
    let data = Dataset::of(audits, None);
    match data.models.as_slice() {
        [] => {
            let mut counts: BTreeMap<&ModelId, usize> = BTreeMap::new();
            for answer in audits.iter().flat_map(|audit| &audit.answers) {
                *counts.entry(&answer.model).or_default() += 1;
            }
            Err(TrainingError::TooFewLabels {
                models: counts.len(),
                most: counts.values().copied().max().unwrap_or(0),
            })
        }
        [only] => Err(TrainingError::OneModel(only.clone())),
        _ => Ok(data.with_live(live)),
    }
}

/// The committee with its tables counted again over all labels (`fit/update.rs`); `None`
/// where the labels are of other models. Its prompt-blind means stay: between them λ stands
/// on a knife's edge, and it was solved for these.
#[must_use]
pub fn refreshed(
    committee: &Committee,
    audits: &[Audit],
    live: &[Labelled<'_>],
) -> Option<Committee> {
    let data = Dataset::of(audits, Some(&committee.models)).with_live(live);
    let counted = update(committee, &impute(data))?;
    Some(Committee {
        mean_quality: committee.mean_quality.clone(),
        mean_output: committee.mean_output.clone(),
        ..counted
    })
}

fn decline(data: &Dataset, prices: &[Option<Terms>]) -> Option<Decline> {
    let have = data.audits().len();
    let comparable = Comparable::of(data, prices, &[]);
    if comparable.models.len() < 2 || comparable.rows.is_empty() {
        Some(Decline::NothingComparable)
    } else if have < PROMPTS_MIN {
        Some(Decline::FewPrompts {
            have,
            need: PROMPTS_MIN,
        })
    } else {
        None
    }
}

/// Fits on the training part and measures on the rest.
fn measure(
    data: &Dataset,
    prices: &[Option<Terms>],
    settings: &Settings<'_>,
    former: Option<Former>,
    report: &mut RunReport,
    progress: &mut dyn FnMut(Step, f32),
) -> Vec<Gated> {
    let (train, held) = data.cut(settings.held_out, settings.seed);
    let (train, held) = (data.rows(&train), data.rows(&held));
    progress(Step::Fit, 0.05);
    let Learned { committee, folds } = learn(&train, prices, settings.seed, &mut || {
        progress(Step::CrossFit, 0.2);
    });
    progress(Step::Measure, 0.4);
    let inside = Comparable::of(&train, prices, &[]);
    let outside = Comparable::at(&held, prices, inside.columns.clone());
    let others = compare(&committee, &train, &held, prices, settings.seed);
    report.contests = others.map_or_else(Vec::new, |others| others.contests);
    let learned = outside.offers(&held, |_| &committee, false);
    let blind = outside.offers(&held, |_| &committee, true);
    let judge = |rows: &[Row]| {
        evaluate(
            rows,
            &outside.truth,
            &outside.models,
            inside.best(),
            settings.seed,
        )
    };
    report.rows = Rows {
        train: train.len(),
        held_out: held.len(),
        compared: outside.rows.len(),
        ..report.rows
    };
    let judged = |who: Contender| {
        let mut contests = report.contests.iter();
        contests
            .find(|(known, _)| *known == who)
            .map(|(_, judged)| judged.clone())
    };
    (report.learned, report.blind) = (judged(Contender::Committee), judged(Contender::NoFeatures));
    let rival = |rows: &Comparable, data: &Dataset| {
        let former = former.as_ref()?;
        Some(Rival::on(rows, data, former))
    };
    let rivals = (rival(&inside, &train), rival(&outside, &held));
    report.current = rivals.1.as_ref().and_then(|rival| judge(rival.offers()));
    let trained = Part {
        rival: rivals.0,
        offers: unseen(&train, &inside, &folds),
        all: inside,
    };
    let slices = slices(&held, &outside, &learned);
    let tested = Part {
        rival: rivals.1,
        offers: (learned, blind),
        all: outside,
    };
    let beside = Beside {
        slices,
        flips_max: settings.flips_max,
    };
    let (bars, seed) = (settings.bars, settings.seed);
    gates(bars, &trained, &tested, &beside, report, seed)
}

fn model_reports(
    data: &Dataset,
    prices: &[Option<Terms>],
    settings: &Settings<'_>,
) -> Vec<ModelReport> {
    let labels = data.labels();
    let report = |(column, model): (usize, &ModelId)| {
        let seen = data.quality.column(column);
        let sum: f64 = seen.iter().filter(|quality| !quality.is_nan()).sum();
        let price = match (&prices[column], settings.terms.contains_key(model)) {
            (Some(_), true) => PriceSource::Catalogue,
            (Some(terms), false) => PriceSource::Observed(terms.price.clone()),
            (None, _) => PriceSource::Unknown,
        };
        ModelReport {
            model: model.clone(),
            labels: labels[column],
            mean_quality: Bps::from_share(sum / labels[column].max(1) as f64),
            price,
        }
    };
    data.models.iter().enumerate().map(report).collect()
}

fn observed(
    data: &Dataset,
    prices: &[Option<Terms>],
    settings: &Settings<'_>,
) -> BTreeMap<ModelId, Terms> {
    let pairs = data.models.iter().zip(prices);
    pairs
        .filter(|(model, _)| !settings.terms.contains_key(*model))
        .filter_map(|(model, terms)| Some((model.clone(), terms.clone()?)))
        .collect()
}

#[cfg(test)]
mod tests;
