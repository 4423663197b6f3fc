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
use crate::table::Table;
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
    let mut sums = Sums::default();
    for record in recorded {
        // What nobody served cost nothing and says nothing of quality or price.
        let served = record.outcome.served.is_some();
        if let Some(before) = record.outcome.decision.as_ref().filter(|_| served) {
            sums.add(table, record, before);
        }
    }
    sums.finish()
}

#[derive(Default)]
struct Sums {
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
        let decided = decide(
            table,
            &outcome.facts,
            &conditions,
            outcome.at,
            Draw::of(outcome.id),
        );
        let after = decided.as_ref().ok();
        let old_lane = before.chosen().map(|c| c.lane.clone());
        let new_lane = after.and_then(|d| d.chosen()).map(|c| c.lane.clone());
        let changed = old_lane != new_lane;
        // The verdict and the tokens are those of the lane that served.
        let same = outcome.served.is_some() && outcome.served == new_lane;
        let cost_after = after.map_or(NanoUsd::ZERO, |decision| {
            priced(table, decision, outcome, same)
        });
        let quality = self.quality(record, before, after, same);
        let comparison = &mut self.comparison;
        comparison.requests += 1;
        comparison.refused += u64::from(after.is_none());
        comparison.changed += u64::from(changed);
        comparison.cost_before = comparison.cost_before.saturating_add(outcome.cost);
        comparison.cost_after = comparison.cost_after.saturating_add(cost_after);
        comparison.baseline = comparison.baseline.saturating_add(outcome.baseline_cost);
        let segment = comparison.segments.entry(segment_of(outcome)).or_default();
        segment.requests += 1;
        segment.cost_before = segment.cost_before.saturating_add(outcome.cost);
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
                cost_before: outcome.cost,
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
        same: bool,
    ) -> Option<(f64, f64)> {
        let observed = record.quality.map(Bps::share);
        let predicted_new = after?
            .chosen()?
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
