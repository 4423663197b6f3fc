//! New heads against those in use, on prompts that are new to both.
//!
//! Owns: the heads in use as they were when they were learnt, which prompts came later,
//! and what the two policies made of those. Whether that lets a table through is the
//! gate's.

use std::collections::HashSet;

use spillway_routing::head::Committee;
use spillway_routing::id::ModelId;
use spillway_routing::outcome::Audit;
use spillway_routing::table::Choice;
use spillway_routing::unit::{Bps, UnixMillis};

use super::refreshed;
use super::routes::Part;
use crate::align::aligned;
use crate::dataset::{Dataset, Labelled};
use crate::evaluate::metrics::bootstrap;
use crate::gate::Running;
use crate::offers::{Comparable, Policy, Row};

/// Prompts on which heads are compared with those in use.
const NEW_PROMPTS_MIN: usize = 100;

/// A committee in use.
#[derive(Clone, Copy, Debug)]
pub struct InUse<'a> {
    pub committee: &'a Committee,
    /// It was fitted to the labels of prompts until then; its tables may have been counted
    /// again since.
    pub learnt_at: UnixMillis,
}

impl InUse<'_> {
    /// As it was when it was learnt: its tables counted without what came later. `None` if
    /// it has no heads, predicts other models, or knows one that all is forgotten of.
    pub(super) fn as_learnt(
        &self,
        audits: &[Audit],
        live: &[Labelled<'_>],
        data: &Dataset,
    ) -> Option<Former> {
        if self.committee.heads.is_empty() {
            return None;
        }
        let earlier = |at: UnixMillis| at <= self.learnt_at;
        let audits: Vec<Audit> = audits.iter().filter(|a| earlier(a.at)).cloned().collect();
        let answers = || audits.iter().flat_map(|audit| &audit.answers);
        let is_labelled = |model: &ModelId| answers().any(|answer| answer.model == *model);
        if !self.committee.models.iter().all(is_labelled) {
            return None;
        }
        let live: Vec<Labelled<'_>> = live
            .iter()
            .filter(|labelled| earlier(labelled.outcome.at))
            .copied()
            .collect();
        let before = refreshed(self.committee, &audits, &live)?;
        let prompts = data.prompts.iter();
        Some(Former {
            committee: aligned(&before, &data.models)?,
            learnt_at: self.learnt_at,
            known: prompts
                .filter(|prompt| earlier(prompt.at))
                .map(|prompt| prompt.alike)
                .collect(),
        })
    }
}

/// The heads in use as they were when they were learnt.
#[derive(Debug, PartialEq)]
pub(super) struct Former {
    committee: Committee,
    learnt_at: UnixMillis,
    /// What the prompts that it learnt from looked like.
    known: HashSet<u64>,
}

/// What the heads in use would offer for some rows, and which of these are new to them.
pub(super) struct Rival {
    offers: Vec<Row>,
    new: Vec<bool>,
}

impl Rival {
    pub(super) fn on(rows: &Comparable, data: &Dataset, former: &Former) -> Self {
        let is_new = |row: &usize| {
            let prompt = &data.prompts[*row];
            prompt.at > former.learnt_at && !former.known.contains(&prompt.alike)
        };
        Self {
            offers: rows.offers(data, |_| &former.committee, false),
            new: rows.rows.iter().map(is_new).collect(),
        }
    }

    pub(super) fn offers(&self) -> &[Row] {
        &self.offers
    }
}

/// New policies against that of the heads in use, on all new prompts of some parts.
pub(super) struct Compared<'a> {
    parts: Vec<Side<'a>>,
}

/// One part's offers among some models, ours and theirs.
struct Side<'a> {
    rows: Comparable,
    ours: Vec<Row>,
    theirs: Vec<Row>,
    new: &'a [bool],
}

impl<'a> Compared<'a> {
    /// `None` where no heads are in use, or too few prompts are new.
    pub(super) fn of(parts: [&'a Part; 2], models: &[ModelId]) -> Option<Self> {
        let rivals = parts.map(|part| part.rival.as_ref());
        let new = |rival: &Rival| rival.new.iter().filter(|new| **new).count();
        let count: usize = rivals.into_iter().flatten().map(new).sum();
        if count < NEW_PROMPTS_MIN {
            return None;
        }
        let side = |part: &'a Part| {
            let rival = part.rival.as_ref()?;
            let (rows, ours) = part.all.narrow(&part.offers.0, models);
            let (_, theirs) = part.all.narrow(&rival.offers, models);
            Some(Side {
                rows,
                ours,
                theirs,
                new: &rival.new,
            })
        };
        let parts = parts.into_iter().map(side).collect::<Option<_>>()?;
        Some(Self { parts })
    }

    /// Both at the same λ.
    pub(super) fn at(&self, policy: Policy, flips_max: Bps, seed: u64) -> Running {
        let lambda = match policy.choice {
            Choice::Multiplier(lambda) => lambda as f64 * 1e-4,
            Choice::Floor(_) => 0.0,
        };
        let (mut gains, mut flips) = (Vec::new(), 0);
        for side in &self.parts {
            let truth = &side.rows.truth;
            let worth = |row: usize, pick: usize| {
                truth.quality[[row, pick]] - lambda * truth.cost[[row, pick]]
            };
            for row in (0..side.ours.len()).filter(|row| side.new[*row]) {
                let our = policy.pick(&side.ours[row]);
                let their = policy.pick(&side.theirs[row]);
                gains.push(worth(row, our) - worth(row, their));
                flips += usize::from(our != their);
            }
        }
        let n = gains.len() as f64;
        Running {
            gain: bootstrap(gains.len(), seed, |counts| {
                let pairs = gains.iter().zip(counts);
                pairs.map(|(gain, count)| gain * count).sum::<f64>() / n
            }),
            flips: flips as f64 / n,
            flips_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::{FitSettings, PROMPTS_MIN, fit};
    use crate::synthetic::audits;

    #[test]
    fn what_was_counted_later_is_taken_out_again() {
        let mut all = audits(2 * PROMPTS_MIN, true, true, 3);
        for (i, audit) in all.iter_mut().enumerate() {
            audit.at = UnixMillis(i as u64);
        }
        let (before, _) = all.split_at(PROMPTS_MIN);
        let settings = FitSettings {
            seed: 1,
            shape: None,
            networks: 1,
            threads: 1,
        };
        let fitted = fit(&Dataset::of(before, None), settings);
        let counted = refreshed(&fitted, &all, &[]).unwrap();
        assert_ne!(counted.heads, fitted.heads);
        let in_use = InUse {
            committee: &counted,
            learnt_at: before.last().unwrap().at,
        };
        let data = Dataset::of(&all, None);
        let former = in_use.as_learnt(&all, &[], &data).unwrap();
        assert_eq!(former.committee.heads, fitted.heads);
        let rows = Comparable::at(&data, &vec![None; data.models.len()], Vec::new());
        let rival = Rival::on(&rows, &data, &former);
        assert!(rival.new.iter().skip(PROMPTS_MIN).any(|new| *new));
        assert!(rival.new.iter().take(PROMPTS_MIN).all(|new| !new));
        // One that comes again is not new.
        let again = Audit {
            at: UnixMillis(u64::MAX),
            ..all[0].clone()
        };
        let again = Dataset::of(&[again], Some(&data.models));
        let rows = Comparable::at(&again, &vec![None; data.models.len()], Vec::new());
        assert_eq!(Rival::on(&rows, &again, &former).new, [false]);
        // What it knew of a model is forgotten.
        for audit in &mut all {
            audit
                .answers
                .retain(|answer| answer.model != data.models[0]);
        }
        assert_eq!(in_use.as_learnt(&all, &[], &data), None);
    }
}
