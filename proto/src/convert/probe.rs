//! Probes: recorded requests, and the plans that are expected of them.
//!
//! Owns: the split between the two, by which requests keep their bytes when a policy
//! changes, and plans as places in the table's lanes. A plan with a lane that the table
//! does not have is written as one that nobody can read.

use spillway_routing::catalogue::Lane;
use spillway_routing::decide::Draw;
use spillway_routing::id::LaneId;
use spillway_routing::table::Probe;
use spillway_routing::unit::UnixMillis;

use super::facts::{state_of, state_to_pb};
use super::{Invalid, InvalidFlaw, each, required};
use crate::pb;

impl From<&Probe> for pb::Probe {
    fn from(probe: &Probe) -> Self {
        Self {
            facts: Some((&probe.facts).into()),
            conditions: probe.conditions.iter().map(state_to_pb).collect(),
            now_ms: probe.now.0,
            draw: probe.draw.0,
        }
    }
}

pub(super) fn plan_to_pb(lanes: &[Lane]) -> impl Fn(&Probe) -> pb::Plan {
    let place = |id: &LaneId| {
        let place = lanes.iter().position(|lane| lane.id == *id);
        place.unwrap_or(lanes.len()) as u32
    };
    move |probe| pb::Plan {
        lanes: probe.expected.iter().map(place).collect(),
    }
}

/// Probes with their plans.
pub(super) fn probes_of(
    probes: Vec<pb::Probe>,
    plans: Vec<pb::Plan>,
    lanes: &[Lane],
) -> Result<Vec<Probe>, Invalid> {
    if probes.len() != plans.len() {
        let (expected, found) = (probes.len(), plans.len());
        return Err(Invalid::new(
            "plans",
            InvalidFlaw::Length { expected, found },
        ));
    }
    let lane = |place: u32| {
        let lane = usize::try_from(place)
            .ok()
            .and_then(|place| lanes.get(place));
        let flaw = InvalidFlaw::Range(place.into());
        Ok(lane.ok_or_else(|| Invalid::new("place", flaw))?.id.clone())
    };
    let plans = each(plans, "plans", |plan| each(plan.lanes, "lanes", lane))?;
    let mut probes = each(probes, "probes", requested)?;
    for (probe, plan) in probes.iter_mut().zip(plans) {
        probe.expected = plan;
    }
    Ok(probes)
}

/// A probe of which nothing is expected yet.
fn requested(probe: pb::Probe) -> Result<Probe, Invalid> {
    let facts = required(probe.facts, "facts")?;
    Ok(Probe {
        facts: facts.try_into().map_err(|e: Invalid| e.within("facts"))?,
        conditions: each(probe.conditions, "conditions", state_of)?,
        now: UnixMillis(probe.now_ms),
        draw: Draw(probe.draw),
        expected: Vec::new(),
    })
}
