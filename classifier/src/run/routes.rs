//! The λ of each route, and whether it may use the heads.
//!
//! Owns: solving on out-of-fold offers of the training part, asking the gate about the
//! held-out part, and solving again on everything. Knows nothing of fitting.

use std::collections::BTreeMap;

use spillway_routing::id::{ModelId, SliceId};
use spillway_routing::table::Choice;
use spillway_routing::unit::Bps;

use super::Bar;
use super::in_use::{Rival, compared};
use crate::calibrate::Pair;
use crate::crossfit::CrossFit;
use crate::dataset::Dataset;
use crate::evaluate::deployed::deployed;
use crate::evaluate::evaluate;
use crate::evaluate::metrics::calibration;
use crate::gate::{Evidence, SLICE_PROMPTS_MIN, SliceCalibration, check};
use crate::multiplier::{Solved, solve};
use crate::offers::{Comparable, Policy, Row, Terms};
use crate::report::{RouteReport, RunReport};

/// Offers by the committees that did not see their rows, learned and blind.
pub(super) fn unseen(data: &Dataset, all: &Comparable, folds: &CrossFit) -> (Vec<Row>, Vec<Row>) {
    let of_row = |row: usize| &folds.committees[folds.fold[row]];
    (
        all.offers(data, of_row, false),
        all.offers(data, of_row, true),
    )
}

/// What the gate said of one route.
pub(super) struct Gated {
    pub(super) report: RouteReport,
    pub(super) open: bool,
}

/// Offers, learned and blind, on one part of the data.
pub(super) struct Part {
    pub(super) all: Comparable,
    pub(super) offers: (Vec<Row>, Vec<Row>),
    /// The heads in use, if any.
    pub(super) rival: Option<Rival>,
}

/// What held-out prompts tell beside the offers of the new committee.
pub(super) struct Beside {
    pub(super) slices: Vec<SliceCalibration>,
    pub(super) flips_max: Bps,
}

/// Calibration error of each slice with enough compared prompts.
pub(super) fn slices(data: &Dataset, all: &Comparable, learned: &[Row]) -> Vec<SliceCalibration> {
    let mut pairs: BTreeMap<&SliceId, (usize, Vec<Pair>)> = BTreeMap::new();
    for (i, row) in all.rows.iter().enumerate() {
        let Some(slice) = &data.prompts[*row].slice else {
            continue;
        };
        let (prompts, pairs) = pairs.entry(slice).or_default();
        *prompts += 1;
        let offers = learned[i].offers.iter().enumerate();
        pairs.extend(offers.map(|(c, offer)| (offer.quality.share(), all.truth.quality[[i, c]])));
    }
    let large = pairs
        .into_iter()
        .filter(|(_, (prompts, _))| *prompts >= SLICE_PROMPTS_MIN);
    large
        .map(|(slice, (_, pairs))| SliceCalibration {
            slice: slice.clone(),
            ece: calibration(pairs).ece,
        })
        .collect()
}

pub(super) fn gate(
    bar: &Bar,
    train: &Part,
    held: &Part,
    beside: &Beside,
    report: &RunReport,
    seed: u64,
) -> Gated {
    let (inside, learned_rows) = train.all.narrow(&train.offers.0, &bar.models);
    let (_, blind_rows) = train.all.narrow(&train.offers.1, &bar.models);
    let (outside, learned) = held.all.narrow(&held.offers.0, &bar.models);
    let (_, blind) = held.all.narrow(&held.offers.1, &bar.models);
    let mut gated = Gated {
        report: unsolved(bar),
        open: false,
    };
    if inside.rows.is_empty() || inside.models.is_empty() || outside.rows.is_empty() {
        return gated;
    }
    let best = inside.best();
    let route = policy(bar, &inside);
    let solved = solve(&learned_rows, &inside.truth, best, bar.bar, route);
    let solved_blind = solve(&blind_rows, &inside.truth, best, bar.bar, route);
    let with = |choice: Choice| Policy { choice, ..route };
    let truth = &outside.truth;
    let reached = deployed(&learned, truth, with(solved.choice), best, bar.bar, seed);
    let reached_blind = deployed(
        &blind,
        truth,
        with(solved_blind.choice),
        best,
        bar.bar,
        seed,
    );
    // Routes over all models share the report's evaluation.
    let shared = report.learned.clone().filter(|_| bar.models.is_empty());
    let own = || evaluate(&learned, truth, &outside.models, best, seed);
    let Some(evaluation) = shared.or_else(own) else {
        return gated;
    };
    let running = compared(
        [train, held],
        &bar.models,
        with(solved.choice),
        beside.flips_max,
        seed,
    );
    let checks = check(&Evidence {
        solved: &solved,
        deployed: &reached,
        evaluation: &evaluation,
        bar: bar.bar,
        slices: &beside.slices,
        running,
    });
    gated.open = checks.iter().all(|checked| checked.held);
    gated.report.checks = checks;
    gated.report.deployed = Some(reached);
    gated.report.deployed_blind = Some(reached_blind);
    gated
}

/// λ of every route on all prompts, with the heads where the gate is open.
pub(super) fn finish(
    data: &Dataset,
    prices: &[Option<Terms>],
    folds: &CrossFit,
    bars: &[Bar],
    gates: Vec<Gated>,
) -> Vec<RouteReport> {
    let all = Comparable::of(data, prices, &[]);
    let (learned, blind) = unseen(data, &all, folds);
    let mut gates = gates.into_iter();
    let finished = |bar: &Bar| {
        let gated = gates.next();
        let open = gated.as_ref().is_some_and(|gated| gated.open);
        let mut report = gated.map_or_else(|| unsolved(bar), |gated| gated.report);
        let (some, learned) = all.narrow(&learned, &bar.models);
        let (_, blind) = all.narrow(&blind, &bar.models);
        if some.rows.is_empty() || some.models.is_empty() {
            return report;
        }
        let best = some.best();
        let solved = |rows: &[Row]| solve(rows, &some.truth, best, bar.bar, policy(bar, &some));
        let with_heads: Option<Solved> = open.then(|| solved(&learned)).filter(|s| s.kept);
        report.learned = with_heads.is_some();
        report.solved = Some(with_heads.unwrap_or_else(|| solved(&blind)));
        report.best = some.models.get(best).cloned();
        report
    };
    bars.iter().map(finished).collect()
}

fn unsolved(bar: &Bar) -> RouteReport {
    RouteReport {
        route: bar.route.clone(),
        bar: bar.bar,
        best: None,
        checks: Vec::new(),
        learned: false,
        solved: None,
        deployed: None,
        deployed_blind: None,
    }
}

fn policy(bar: &Bar, models: &Comparable) -> Policy {
    let column = |default: &ModelId| models.models.iter().position(|model| model == default);
    Policy {
        choice: Choice::Multiplier(0),
        guard: bar.guard,
        default: bar.default.as_ref().and_then(column),
    }
}
