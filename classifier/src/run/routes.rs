//! The λ of each route, and whether it may use the heads.
//!
//! Owns: solving on out-of-fold offers of the training part, asking the gate about the
//! held-out part, and solving again on everything. Knows nothing of fitting.

use std::collections::BTreeMap;

use spillway_routing::id::{ModelId, SliceId};
use spillway_routing::table::Choice;
use spillway_routing::unit::Bps;

use super::Bar;
use super::in_use::{Compared, Rival};
use crate::calibrate::Pair;
use crate::crossfit::CrossFit;
use crate::dataset::Dataset;
use crate::evaluate::deployed::{Tried, deployed_all};
use crate::evaluate::metrics::{Interval, calibration};
use crate::evaluate::{Evaluation, evaluate, gain_over};
use crate::gate::{Evidence, SLICE_PROMPTS_MIN, SliceCalibration, check};
use crate::multiplier::{Solved, Sweep};
use crate::offers::{Comparable, Policy, Row, Terms};
use crate::report::{RouteReport, RunReport};
use crate::side_by_side::{self, THREADS};

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

/// Asks the gate about every bar; the answers are in the bars' order.
pub(super) fn gates(
    bars: &[Bar],
    train: &Part,
    held: &Part,
    beside: &Beside,
    report: &RunReport,
    seed: u64,
) -> Vec<Gated> {
    by_group(bars, |members| {
        let group: Vec<&Bar> = members.iter().map(|i| &bars[*i]).collect();
        Group::of(group[0], train, held, report, seed).map_or_else(
            || group.iter().map(|bar| shut(bar)).collect(),
            |shared| shared.gated(&group, [train, held], beside, seed),
        )
    })
}

fn shut(bar: &Bar) -> Gated {
    Gated {
        report: unsolved(bar),
        open: false,
    }
}

/// Works on bars together that choose alike among the same models: only how much of the
/// best quality they keep differs. `work` gets a group's places among the bars; the results
/// are in the order of all bars.
fn by_group<T>(bars: &[Bar], work: impl Fn(&[usize]) -> Vec<T>) -> Vec<T> {
    let alike =
        |a: &Bar, b: &Bar| (&a.models, a.guard, &a.default) == (&b.models, b.guard, &b.default);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, bar) in bars.iter().enumerate() {
        match groups.iter_mut().find(|group| alike(&bars[group[0]], bar)) {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    let mut done: Vec<(usize, T)> = Vec::with_capacity(bars.len());
    for group in groups {
        let made = work(&group);
        done.extend(group.into_iter().zip(made));
    }
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, made)| made).collect()
}

/// What the bars of a group share.
struct Group {
    inside: Comparable,
    outside: Comparable,
    /// Learned and blind, of the two.
    inside_rows: [Vec<Row>; 2],
    outside_rows: [Vec<Row>; 2],
    best: usize,
    route: Policy,
    evaluation: Evaluation,
    over_blind: Interval,
}

impl Group {
    /// `None` where nothing can be compared.
    fn of(bar: &Bar, train: &Part, held: &Part, report: &RunReport, seed: u64) -> Option<Self> {
        let (inside, learned_inside) = train.all.narrow(&train.offers.0, &bar.models);
        let (_, blind_inside) = train.all.narrow(&train.offers.1, &bar.models);
        let (outside, learned) = held.all.narrow(&held.offers.0, &bar.models);
        let (_, blind) = held.all.narrow(&held.offers.1, &bar.models);
        if inside.rows.is_empty() || inside.models.is_empty() || outside.rows.is_empty() {
            return None;
        }
        let best = inside.best();
        // Routes over all models share the report's evaluation.
        let shared = report.learned.clone().filter(|_| bar.models.is_empty());
        let own = || evaluate(&learned, &outside.truth, &outside.models, best, seed);
        let evaluation = shared.or_else(own)?;
        Some(Self {
            over_blind: gain_over(&learned, &blind, &outside.truth, best, seed),
            best,
            route: policy(bar, &inside),
            evaluation,
            inside,
            outside,
            inside_rows: [learned_inside, blind_inside],
            outside_rows: [learned, blind],
        })
    }

    fn gated(&self, bars: &[&Bar], parts: [&Part; 2], beside: &Beside, seed: u64) -> Vec<Gated> {
        let sweeps = side_by_side::each(THREADS, &self.inside_rows, |rows| {
            Sweep::of(rows, &self.inside.truth, self.route)
        });
        let solved = side_by_side::each(THREADS, bars, |bar| {
            let solve = |sweep: &Sweep<'_>| sweep.solve(self.best, bar.bar);
            sweeps.iter().map(solve).collect::<Vec<Solved>>()
        });
        let with = |choice: Choice| Policy {
            choice,
            ..self.route
        };
        let tried = bars.iter().zip(&solved).flat_map(|(bar, solved)| {
            let pairs = solved.iter().zip(&self.outside_rows);
            pairs.map(|(solved, rows)| Tried {
                rows,
                policy: with(solved.choice),
                bar: bar.bar,
            })
        });
        let tried: Vec<Tried<'_>> = tried.collect();
        let reached = deployed_all(&tried, &self.outside.truth, self.best, seed);
        let rival = Compared::of(parts, &bars[0].models);
        let running = side_by_side::each(THREADS, &solved, |solved| {
            let rival = rival.as_ref()?;
            Some(rival.at(with(solved[0].choice), beside.flips_max, seed))
        });
        let each = bars.iter().zip(&solved).zip(reached.chunks_exact(2));
        let gated = each
            .zip(running)
            .map(|(((bar, solved), reached), running)| {
                let checks = check(&Evidence {
                    solved: &solved[0],
                    deployed: &reached[0],
                    evaluation: &self.evaluation,
                    bar: bar.bar,
                    over_blind: self.over_blind,
                    slices: &beside.slices,
                    running,
                });
                let mut gated = shut(bar);
                gated.open = checks.iter().all(|checked| checked.held);
                gated.report.checks = checks;
                gated.report.deployed = Some(reached[0]);
                gated.report.deployed_blind = Some(reached[1]);
                gated
            });
        gated.collect()
    }
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
    let is_open = |i: usize| gates.get(i).is_some_and(|gated| gated.open);
    let solved = by_group(bars, |members| {
        let first = &bars[members[0]];
        let (some, learned) = all.narrow(&learned, &first.models);
        let (_, blind) = all.narrow(&blind, &first.models);
        if some.rows.is_empty() || some.models.is_empty() {
            return members.iter().map(|_| None).collect();
        }
        let (best, route) = (some.best(), policy(first, &some));
        let sweeps = side_by_side::each(THREADS, &[learned, blind], |rows| {
            Sweep::of(rows, &some.truth, route)
        });
        side_by_side::each(THREADS, members, |i| {
            let solve = |sweep: usize| sweeps[sweep].solve(best, bars[*i].bar);
            let with_heads = is_open(*i).then(|| solve(0)).filter(|s| s.kept);
            let learned = with_heads.is_some();
            let solved = with_heads.unwrap_or_else(|| solve(1));
            Some((learned, solved, some.models.get(best).cloned()))
        })
    });
    let mut gates = gates.into_iter();
    let finished = bars.iter().zip(solved).map(|(bar, solved)| {
        let gated = gates.next().unwrap_or_else(|| shut(bar));
        let Some((learned, solved, best)) = solved else {
            return gated.report;
        };
        RouteReport {
            learned,
            solved: Some(solved),
            best,
            ..gated.report
        }
    });
    finished.collect()
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
