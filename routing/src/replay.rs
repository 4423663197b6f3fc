//! Recorded requests under another table: what would have been different.
//!
//! Owns: [`replay`]: the same `decide` on recorded facts and conditions, exact prices,
//! and an estimate of quality that says how much of it is extrapolated. It needs no
//! prompt text and never re-tokenises.
//!
//! Quality is estimated doubly robust (Dudík, Langford and Li 2011): the head's
//! prediction for the new choice, corrected by the observed error where the old and
//! the new choice agree, weighted by the inverse of the recorded propensity, clipped.

use std::collections::BTreeMap;

use crate::conditions::Conditions;
use crate::decide::{Decision, Draw, decide};
use crate::id::{LaneId, RequestId};
use crate::outcome::Outcome;
use crate::table::Table;
use crate::unit::{Bps, NanoUsd, Tokens};

/// Inverse propensities are clipped here: beyond it variance grows faster than bias
/// shrinks (measured on logged routing data).
const WEIGHT_MAX: f64 = 30.0;
/// z of the two-sided 90 % interval.
const INTERVAL_Z: f64 = 1.6449;
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
    /// Means of the estimate, 0..=1; `None` without any prediction or verdict.
    pub quality_before: Option<f64>,
    pub quality_after: Option<f64>,
    /// Two-sided 90 % interval of `quality_after`.
    pub quality_interval: Option<(f64, f64)>,
    /// Share of requests whose choice agrees with the recorded one and has a verdict:
    /// what the estimate rests on; the rest is the heads' prediction.
    pub coverage: f64,
    /// (Σw)²/Σw² of the correction's weights.
    pub effective_samples: f64,
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
    before: Vec<f64>,
    after: Vec<f64>,
    agreed: u64,
    weight: f64,
    weight_square: f64,
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
        let mut new = predicted_new;
        if let (true, Some(observed)) = (same, observed) {
            let weight = (1.0 / before.propensity.share().max(1e-6)).min(WEIGHT_MAX);
            new += weight * (observed - predicted_new);
            self.agreed += 1;
            self.weight += weight;
            self.weight_square += weight * weight;
        }
        self.before.push(old);
        self.after.push(new);
        Some((old, new))
    }

    fn finish(self) -> Comparison {
        let mut comparison = self.comparison;
        comparison.quality_before = mean(&self.before);
        comparison.quality_after = mean(&self.after);
        comparison.quality_interval = interval(&self.after);
        comparison.coverage = self.agreed as f64 / (comparison.requests.max(1)) as f64;
        if self.weight_square > 0.0 {
            comparison.effective_samples = self.weight * self.weight / self.weight_square;
        }
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

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let centre = mean(values)?;
    let n = values.len() as f64;
    let variance = values
        .iter()
        .map(|v| (v - centre) * (v - centre))
        .sum::<f64>()
        / (n - 1.0).max(1.0);
    let half = INTERVAL_Z * (variance / n).sqrt();
    Some((
        (centre - half).clamp(0.0, 1.0),
        (centre + half).clamp(0.0, 1.0),
    ))
}

#[cfg(test)]
mod tests;
