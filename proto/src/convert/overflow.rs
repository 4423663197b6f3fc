//! A route's overflow lane.

use spillway_routing::id::LaneId;
use spillway_routing::overflow::{Cause, Overflow};
use spillway_routing::unit::NanoUsd;

use super::facts::{class_of, class_to_pb};
use super::{Invalid, each, named};
use crate::pb;

impl From<&Overflow> for pb::Overflow {
    fn from(overflow: &Overflow) -> Self {
        let after = overflow.after.iter();
        let classes = overflow.classes.iter();
        Self {
            lane: overflow.lane.to_string(),
            after: after.map(|cause| cause.name().to_owned()).collect(),
            in_flight_above: overflow.in_flight,
            queued_above: overflow.queued,
            cost_above_nano_usd: overflow.cost.map(|cost| cost.0),
            spend_above_nano_usd: overflow.spend.map(|spend| spend.0),
            classes: classes.map(|class| class_to_pb(*class).into()).collect(),
            dearer: overflow.dearer,
            per_day_nano_usd: overflow.per_day.map(|money| money.0),
        }
    }
}

impl TryFrom<pb::Overflow> for Overflow {
    type Error = Invalid;

    fn try_from(overflow: pb::Overflow) -> Result<Self, Invalid> {
        Ok(Self {
            lane: LaneId::new(&overflow.lane),
            after: each(overflow.after, "after", |name| {
                named(Cause::parse, &name, "cause")
            })?,
            in_flight: overflow.in_flight_above,
            queued: overflow.queued_above,
            cost: overflow.cost_above_nano_usd.map(NanoUsd),
            spend: overflow.spend_above_nano_usd.map(NanoUsd),
            classes: each(overflow.classes, "classes", |number| {
                class_of(number, "class")
            })?,
            dearer: overflow.dearer,
            per_day: overflow.per_day_nano_usd.map(NanoUsd),
        })
    }
}
