//! Recorded requests under another table: what would have been different.
//!
//! Owns: [`replay`]: the same `decide` on recorded facts and conditions, exact prices,
//! and estimates of quality (`offpolicy.rs`) that say what they rest on. It needs no
//! prompt text and never re-tokenises.

use std::collections::BTreeMap;

use crate::conditions::Conditions;
use crate::decide::{Decision, Draw, decide};
use crate::id::{LaneId, RequestId};
use crate::offpolicy::{Estimates, Estimator, Observed};
use crate::outcome::Outcome;
use crate::table::{Route, Table};
use crate::unit::{Bps, NanoUsd, Tokens};

/// Examples of changed requests that are kept.
const EXAMPLES_MAX: usize = 50;

/// A recorded request with what was observed of its quality.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    pub outcome: &'a Outcome,
    pub quality: Option<Bps>,
}

/// One request that would have gone elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: RequestId,
    pub before: LaneId,
    /// `None`: it would have been refused.
    pub after: Option<LaneId>,
    pub cost_before: NanoUsd,
    pub cost_after: NanoUsd,
}

/// Sums over one segment of traffic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    pub requests: u64,
    pub cost_before: NanoUsd,
    pub cost_after: NanoUsd,
    /// Sum over requests of estimated quality, 0..=1 each.
    pub quality_before: f64,
    pub quality_after: f64,
}

/// What a table would have changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    pub requests: u64,
    pub changed: u64,
    pub refused: u64,
    pub cost_before: NanoUsd,
    pub cost_after: NanoUsd,
    pub baseline: NanoUsd,
    /// Mean of what was observed or, without a verdict, predicted, 0..=1; `None` without
    /// either.
    pub quality_before: Option<f64>,
    pub quality_after: Estimates,
    /// Share of requests whose choice agrees with the recorded one and has a verdict.
    pub coverage: f64,
    pub segments: BTreeMap<String, Segment>,
    pub examples: Vec<Change>,
}

/// Replays recorded requests under `table`.
#[must_use]
pub fn replay<'a>(table: &Table, recorded: impl IntoIterator<Item = Recorded<'a>>) -> Comparison {
    let mut sums = Sums {
        still: without_exploring(table),
        ..Sums::default()
    };
    for record in recorded {
        // What nobody served cost nothing and says nothing of quality or price.
        let served = record.outcome.served.is_some();
        if let Some(before) = record.outcome.decision.as_ref().filter(|_| served) {
            sums.add(table, record, before);
        }
    }
    sums.finish()
}

/// The same table where it draws nothing; `None` where it never does. A request's draw made
/// the logged choice as well: where the replay drew from it, both would agree on what was
/// drawn, and inverse propensities would count that many times over.
fn without_exploring(table: &Table) -> Option<Table> {
    let mut draft = table.draft().clone();
    let explores = |route: &Route| route.explore != Bps::ZERO;
    if !draft.routes.iter().any(explores) {
        return None;
    }
    for route in &mut draft.routes {
        route.explore = Bps::ZERO;
    }
    Table::build(draft).ok()
}

#[derive(Default)]
struct Sums {
    /// What quality is estimated of, where the table itself explores.
    still: Option<Table>,
    comparison: Comparison,
    before: (f64, f64),
    after: Estimator,
    agreed: u64,
}

impl Sums {
    fn add(&mut self, table: &Table, record: Recorded<'_>, before: &Decision) {
        let outcome = record.outcome;
        let order = table.draft().lanes.iter().map(|lane| &lane.id);
        let conditions = Conditions::named(&outcome.conditions, order);
        let (at, draw) = (outcome.at, Draw::of(outcome.id));
        let decided = |table| decide(table, &outcome.facts, &conditions, at, draw).ok();
        let still = self.still.as_ref().map(decided);
        let after = decided(table);
        let after = after.as_ref();
        let old_lane = before.chosen().map(|c| c.lane.clone());
        let new_lane = after.and_then(|d| d.chosen()).map(|c| c.lane.clone());
        let changed = old_lane != new_lane;
        // The verdict and the tokens are those of the lane that served.
        let same = outcome.served.is_some() && outcome.served == new_lane;
        // With keys of their own callers pay themselves, under any policy.
        let ours = outcome.facts.own_keys.is_empty();
        let paid = |cost| if ours { cost } else { NanoUsd::ZERO };
        let cost_before = paid(outcome.cost);
        let cost_after = after.filter(|_| ours).map_or(NanoUsd::ZERO, |decision| {
            priced(table, decision, outcome, same)
        });
        let quality = match &still {
            Some(still) => self.quality(record, before, still.as_ref()),
            None => self.quality(record, before, after),
        };
        let comparison = &mut self.comparison;
        comparison.requests += 1;
        comparison.refused += u64::from(after.is_none());
        comparison.changed += u64::from(changed);
        comparison.cost_before = comparison.cost_before.saturating_add(cost_before);
        comparison.cost_after = comparison.cost_after.saturating_add(cost_after);
        let baseline = paid(outcome.baseline_cost);
        comparison.baseline = comparison.baseline.saturating_add(baseline);
        let segment = comparison.segments.entry(segment_of(outcome)).or_default();
        segment.requests += 1;
        segment.cost_before = segment.cost_before.saturating_add(cost_before);
        segment.cost_after = segment.cost_after.saturating_add(cost_after);
        if let Some((old, new)) = quality {
            segment.quality_before += old;
            segment.quality_after += new;
        }
        if let (true, Some(before)) = (changed, old_lane) {
            let id = outcome.id;
            let change = Change {
                id,
                before,
                after: new_lane,
                cost_before,
                cost_after,
            };
            if self.comparison.examples.len() < EXAMPLES_MAX {
                self.comparison.examples.push(change);
            }
        }
    }

    /// Estimated quality before and after, where anything is known of either.
    fn quality(
        &mut self,
        record: Recorded<'_>,
        before: &Decision,
        after: Option<&Decision>,
    ) -> Option<(f64, f64)> {
        let served = record.outcome.served.as_ref();
        let chosen = after.and_then(Decision::chosen);
        let same = served.is_some() && served == chosen.map(|chosen| &chosen.lane);
        let observed = record.quality.map(Bps::share);
        let predicted_new = chosen?
            .quality
            .map(Bps::share)
            .or(observed.filter(|_| same))?;
        let predicted_old = before.chosen()?.quality.map_or(predicted_new, Bps::share);
        let old = observed.unwrap_or(predicted_old);
        let seen = observed.map(|quality| Observed {
            quality,
            agrees: same,
            propensity: before.propensity.share(),
        });
        self.after.add(predicted_new, seen);
        self.before = (self.before.0 + old, self.before.1 + 1.0);
        self.agreed += u64::from(same && observed.is_some());
        Some((old, observed.filter(|_| same).unwrap_or(predicted_new)))
    }

    fn finish(self) -> Comparison {
        let mut comparison = self.comparison;
        let (sum, count) = self.before;
        comparison.quality_before = (count > 0.0).then(|| sum / count);
        comparison.quality_after = self.after.estimates();
        comparison.coverage = self.agreed as f64 / (comparison.requests.max(1)) as f64;
        comparison
    }
}

/// What the new choice would have cost at the new table's prices: for the tokens that
/// were used where the lane that served is chosen again, else for the length the old
/// answer had, since the request was the same.
fn priced(table: &Table, decision: &Decision, outcome: &Outcome, same: bool) -> NanoUsd {
    let chosen = decision
        .chosen()
        .and_then(|chosen| table.lane_index(&chosen.lane));
    let Some(lane) = chosen else {
        return NanoUsd::ZERO;
    };
    let Some(price) = &table.lane(lane).price else {
        return NanoUsd::ZERO;
    };
    if same {
        return price.settle(&outcome.usage, outcome.at);
    }
    let input = outcome.facts.input(table.model_of(lane).family);
    price.estimate(input, Tokens(0), outcome.usage.output, outcome.at)
}

fn segment_of(outcome: &Outcome) -> String {
    let route = outcome
        .facts
        .route
        .as_ref()
        .map_or("", |route| route.as_str());
    match &outcome.facts.slice {
        Some(slice) => format!("{route} / {slice}"),
        None => route.to_owned(),
    }
}

#[cfg(test)]
mod tests;
