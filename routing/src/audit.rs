//! Which requests are audited: answered once more, by all models of their route, and
//! scored. Audits are what learning lives on.
//!
//! Owns: the strata and their shares, as a pure function of table, facts and draw. Knows
//! no money spent and no calls: those are the proxy's.

use crate::decide::Draw;
use crate::features::Facts;
use crate::id::{LaneId, RouteId};
use crate::table::Table;
use crate::unit::{Bps, NanoUsd};

/// Labelled prompts that teach the whole committee and certify a bar within two points;
/// below, more is audited. (Measured by `spillway simulate --learn`: with 2,000 a bar costs
/// less than one and a half times what it does with twice or four times as many.)
pub const LABELS_ENOUGH: u32 = 2_000;
/// Tells the audit's draw from the exploration's, which reads the same id.
const SALT: u64 = 0x9e37_79b9_7f4a_7c15;

/// How much is audited, as the policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audits {
    /// Share of the requests of which enough is known.
    pub share: Bps,
    /// Share of the others (see [`Stratum`]).
    pub starting: Bps,
    /// What one proxy may spend on audits in a day (UTC), the judge included.
    pub per_day: NanoUsd,
    /// Scores answers that no rule can; without it only answers that must have a form
    /// (a schema, a tool's arguments) are audited.
    pub judge: Option<LaneId>,
}

/// What is known of requests like this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stratum {
    /// Too few labels in all, or none of one of the route's models.
    FewLabels,
    /// The heads decline to judge it: a new kind of work, or an unlike text.
    Unlike,
    /// Enough.
    Usual,
}

impl Stratum {
    pub const ALL: [Self; 3] = [Self::FewLabels, Self::Unlike, Self::Usual];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FewLabels => "few_labels",
            Self::Unlike => "unlike",
            Self::Usual => "usual",
        }
    }
}

impl Audits {
    /// The share of a stratum.
    #[must_use]
    pub fn share_of(&self, stratum: Stratum) -> Bps {
        match stratum {
            Stratum::FewLabels | Stratum::Unlike => self.starting.max(self.share),
            Stratum::Usual => self.share,
        }
    }
}

/// Whether this request is audited, and as what. `None` for most.
#[must_use]
pub fn picked(table: &Table, facts: &Facts, draw: Draw) -> Option<Stratum> {
    let audits = table.draft().audits.as_ref()?;
    let dice = mixed(draw) % 10_000;
    let drawn = |share: Bps| dice < u64::from(share.get());
    // The heads are asked only where they can still matter.
    if !drawn(audits.share_of(Stratum::Unlike)) {
        return None;
    }
    let stratum = stratum(table, facts)?;
    drawn(audits.share_of(stratum)).then_some(stratum)
}

/// What is known of requests like this one; `None` where its route has no choice.
#[must_use]
pub fn stratum(table: &Table, facts: &Facts) -> Option<Stratum> {
    let name = facts.route.as_ref().map_or("", RouteId::as_str);
    let (_, lanes) = table.route(name)?;
    let first = table.place(*lanes.first()?).model;
    if lanes.iter().all(|lane| table.place(*lane).model == first) {
        return None;
    }
    let committee = table.draft().committee.as_ref();
    let Some(committee) = committee.filter(|c| c.labels >= LABELS_ENOUGH) else {
        return Some(Stratum::FewLabels);
    };
    if lanes.iter().any(|lane| table.place(*lane).column.is_none()) {
        return Some(Stratum::FewLabels);
    }
    Some(match committee.score(facts).abstention {
        Some(_) => Stratum::Unlike,
        None => Stratum::Usual,
    })
}

/// `SplitMix64`'s finaliser over the salted draw.
fn mixed(draw: Draw) -> u64 {
    let mut hash = draw.0.wrapping_add(SALT);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests;
