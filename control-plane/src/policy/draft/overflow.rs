//! What is typed of full lanes: their room and queue, and where a route's requests spill.
//!
//! Owns: defaults and faults of `in_flight`, `queue` and `[routes.NAME.overflow]`.

use spillway_routing::catalogue::Room;
use spillway_routing::overflow::{Cause, Overflow};
use spillway_routing::unit::NanoUsd;

use super::Compiler;
use crate::policy::document::{OverflowEntry, UpstreamEntry};
use crate::policy::typed::class_of;

/// What may be typed into `after`, and holds where nothing is.
const AFTER: [Cause; 4] = [
    Cause::Limited,
    Cause::Failed,
    Cause::TimedOut,
    Cause::Waited,
];

impl Compiler<'_> {
    pub(super) fn room(&mut self, at: &str, entry: &UpstreamEntry) -> Room {
        let Some(queue) = &entry.queue else {
            return Room {
                in_flight: entry.in_flight,
                ..Room::default()
            };
        };
        let wait = self.duration(&["upstreams", at, "queue", "wait"], Some(&queue.wait));
        Room {
            in_flight: entry.in_flight,
            queue: queue.depth,
            wait: wait.unwrap_or_default(),
        }
    }

    pub(super) fn overflow(&mut self, route: &str, entry: &OverflowEntry) -> Option<Overflow> {
        let lane = self.lane_named(&["routes", route, "overflow", "to"], &entry.to);
        let mut after = Vec::new();
        for name in entry.after.iter().flatten() {
            match AFTER.into_iter().find(|cause| cause.name() == name) {
                Some(cause) => after.push(cause),
                None => {
                    let known = AFTER.map(Cause::name).join(", ");
                    let message = format!("{name:?} is no way to fail; known are {known}");
                    self.fault(&["routes", route, "overflow", "after"], message);
                }
            }
        }
        if entry.after.is_none() {
            after = AFTER.to_vec();
        }
        for (field, value) in [
            ("cost_above_usd", entry.cost_above_usd),
            ("spend_above_usd_per_hour", entry.spend_above_usd_per_hour),
            ("usd_per_day", entry.usd_per_day),
        ] {
            if value.is_some_and(|usd| !(usd.is_finite() && usd >= 0.0)) {
                let message = "must be dollars from 0 on, e.g. 5.0".to_owned();
                self.fault(&["routes", route, "overflow", field], message);
            }
        }
        Some(Overflow {
            lane: lane?,
            after,
            in_flight: entry.in_flight_above,
            queued: entry.queue_depth_above,
            cost: entry.cost_above_usd.map(NanoUsd::from_usd),
            spend: entry.spend_above_usd_per_hour.map(NanoUsd::from_usd),
            classes: entry.classes.iter().map(|class| class_of(*class)).collect(),
            dearer: entry.dearer,
            per_day: entry.usd_per_day.map(NanoUsd::from_usd),
        })
    }
}
