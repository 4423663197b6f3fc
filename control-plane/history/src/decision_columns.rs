//! A decision as columns: plan, trail, and what was relaxed or explored.
//!
//! Owns: names and types of the columns that a decision fills, both ways. The enums of
//! the trail become one kind and the few columns that their parameters need. All
//! columns are null where no plan could be made.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, AsArray, BooleanArray, ListArray, StringArray, UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::{UInt32Type, UInt64Type};
use spillway_routing::decide::{Decision, Limit, Step};
use spillway_routing::head::Abstention;
use spillway_routing::id::{LaneId, RouteId};
use spillway_routing::unit::{Millis, NanoUsd, Ppm};

use crate::columns::{Columns, Rows, span, text_at};
use crate::error::HistoryError;
use crate::trail_columns::{self, TrailRows};

/// Adds the columns of `decisions`.
pub(crate) fn push(
    columns: &mut Columns,
    decisions: &[Option<&Decision>],
) -> Result<(), HistoryError> {
    let rows = || decisions.iter().copied();
    let made = || decisions.iter().copied().flatten();
    columns.text_opt("decided_route", rows().map(|d| d.map(|d| d.route.as_str())));
    let mut steps = Columns::default();
    steps.text(
        "lane",
        made().flat_map(|d| &d.plan).map(|s| s.lane.as_str()),
    );
    let give_up = made().flat_map(|d| &d.plan).map(|s| s.give_up.0);
    steps.number::<UInt64Type>("give_up_ms", give_up);
    let lengths: Vec<_> = rows().map(|d| d.map(|d| d.plan.len())).collect();
    columns.list_opt("plan", &lengths, Arc::new(steps.into_struct()?))?;
    let trail: Vec<_> = made().flat_map(|d| &d.trail).collect();
    let lengths: Vec<_> = rows().map(|d| d.map(|d| d.trail.len())).collect();
    columns.list_opt("trail", &lengths, Arc::new(trail_columns::encode(&trail)?))?;
    let abstention = |d: Option<&Decision>| d?.abstention.map(Abstention::name);
    columns.text_opt("abstention", rows().map(abstention));
    columns.flag_opt("explored", rows().map(|d| d.map(|d| d.explored)));
    let propensity = rows().map(|d| d.map(|d| d.propensity.0));
    columns.number_opt::<UInt32Type>("propensity_ppm", propensity);
    let baseline = rows().map(|d| d.map(|d| d.baseline_cost.0));
    columns.number_opt::<UInt64Type>("expected_baseline_nano_usd", baseline);
    let relaxed = made()
        .flat_map(|d| &d.relaxed)
        .map(|limit| limit_name(*limit));
    let relaxed: StringArray = relaxed.map(Some).collect();
    let lengths: Vec<_> = rows().map(|d| d.map(|d| d.relaxed.len())).collect();
    columns.list_opt("relaxed", &lengths, Arc::new(relaxed))
}

/// The columns of decisions, to read rows from.
#[derive(Debug)]
pub(crate) struct DecisionRows<'a> {
    route: &'a StringArray,
    plan: &'a ListArray,
    step_lanes: &'a StringArray,
    step_give_ups: &'a UInt64Array,
    trail: &'a ListArray,
    trail_rows: TrailRows<'a>,
    abstention: &'a StringArray,
    explored: &'a BooleanArray,
    propensity: &'a UInt32Array,
    baseline: &'a UInt64Array,
    relaxed: &'a ListArray,
    relaxed_items: &'a StringArray,
}

impl<'a> DecisionRows<'a> {
    pub(crate) fn of(rows: Rows<'a>) -> Result<Self, HistoryError> {
        let plan = rows.list("plan")?;
        let steps = Rows::of_items(plan, "plan")?;
        let trail = rows.list("trail")?;
        let relaxed = rows.list("relaxed")?;
        let relaxed_items = relaxed.values().as_string_opt();
        Ok(Self {
            route: rows.text("decided_route")?,
            plan,
            step_lanes: steps.text("lane")?,
            step_give_ups: steps.number("give_up_ms")?,
            trail,
            trail_rows: TrailRows::of(Rows::of_items(trail, "trail")?)?,
            abstention: rows.text("abstention")?,
            explored: rows.flag("explored")?,
            propensity: rows.number("propensity_ppm")?,
            baseline: rows.number("expected_baseline_nano_usd")?,
            relaxed,
            relaxed_items: relaxed_items.ok_or(HistoryError::malformed("relaxed"))?,
        })
    }

    pub(crate) fn row(&self, i: usize) -> Result<Option<Decision>, HistoryError> {
        if self.route.is_null(i) {
            return Ok(None);
        }
        let step = |s: usize| Step {
            lane: LaneId::new(self.step_lanes.value(s)),
            give_up: Millis(self.step_give_ups.value(s)),
        };
        let abstention =
            |name: &str| Abstention::parse(name).ok_or(HistoryError::malformed("abstention"));
        let limit = |l: usize| {
            limit_named(self.relaxed_items.value(l)).ok_or(HistoryError::malformed("relaxed"))
        };
        Ok(Some(Decision {
            route: RouteId::new(self.route.value(i)),
            plan: span(self.plan, i).map(step).collect(),
            trail: span(self.trail, i)
                .map(|t| self.trail_rows.row(t))
                .collect::<Result<_, _>>()?,
            abstention: text_at(self.abstention, i).map(abstention).transpose()?,
            explored: self.explored.value(i),
            propensity: Ppm(self.propensity.value(i)),
            baseline_cost: NanoUsd(self.baseline.value(i)),
            relaxed: span(self.relaxed, i).map(limit).collect::<Result<_, _>>()?,
        }))
    }
}

fn limit_name(limit: Limit) -> &'static str {
    match limit {
        Limit::Latency => "latency",
        Limit::Cost => "cost",
        Limit::MinQuality => "min_quality",
    }
}

fn limit_named(name: &str) -> Option<Limit> {
    Limit::RELAXED_IN_ORDER
        .into_iter()
        .find(|limit| limit_name(*limit) == name)
}
