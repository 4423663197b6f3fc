//! Places at lanes, and turns in front of them.
//!
//! Owns: [`Permit`], one request under way at a lane, and [`Ticket`], one that waits for
//! its place; both give back what they hold when they are dropped. What is learnt of a
//! lane while it is held is handed on to its breaker and its pace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use spillway_routing::conditions::Gate;
use spillway_routing::id::LaneId;
use tokio::sync::oneshot;

use super::{Event, Health};

/// One request under way at a lane. Dropped, it frees its place.
pub(crate) struct Permit {
    health: Arc<Health>,
    lane: LaneId,
    probe: bool,
    reported: bool,
}

impl Permit {
    /// For a place that was counted already.
    pub(super) fn new(health: &Arc<Health>, lane: &LaneId, probe: bool) -> Self {
        Self {
            health: Arc::clone(health),
            lane: lane.clone(),
            probe,
            reported: false,
        }
    }

    /// Says what happened; the first report also settles the probe.
    pub(crate) fn report(&mut self, event: Event, now: Instant, dice: u64) {
        let probe = self.probe && !self.reported;
        self.reported = true;
        let ejection = self.health.ejection;
        self.health.with(&self.lane, |seen| {
            seen.breaker.record(
                event,
                probe && seen.breaker.gate(now) != Gate::Open,
                ejection,
                now,
                dice,
            );
            seen.turn_away(now);
        });
    }

    /// Whether the lane still takes requests as usual.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        let lanes = self.health.lanes();
        let seen = lanes.get(&self.lane);
        seen.is_none_or(|seen| seen.breaker.gate(now) == Gate::Open)
    }

    pub(crate) fn first_token(&self, took: Duration, now: Instant) {
        self.health
            .with(&self.lane, |seen| seen.pace.first_token(took, now));
    }

    pub(crate) fn per_token(&self, took: Duration, now: Instant) {
        self.health
            .with(&self.lane, |seen| seen.pace.per_token(took, now));
    }

    fn release(&mut self, now: Instant) {
        let unsettled = self.probe && !self.reported;
        let mut next = None;
        self.health.with(&self.lane, |seen| {
            seen.in_flight = seen.in_flight.saturating_sub(1);
            if unsettled {
                seen.breaker.release_probe(now);
            }
            next = seen.next(now);
        });
        if let Some(next) = next {
            // Whoever waited may have left in between: then the place goes on to the next.
            let _ = next.send(Self::new(&self.health, &self.lane, false));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release(Instant::now());
    }
}

/// A request's turn in front of a lane that is full. Dropped, it is given up.
pub(crate) struct Ticket {
    health: Arc<Health>,
    lane: LaneId,
    place: oneshot::Receiver<Permit>,
}

impl Ticket {
    /// For a turn that was counted already.
    pub(super) fn new(
        health: &Arc<Health>,
        lane: &LaneId,
        place: oneshot::Receiver<Permit>,
    ) -> Self {
        Self {
            health: Arc::clone(health),
            lane: lane.clone(),
            place,
        }
    }

    /// Waits for a place; `None` where the lane was shut meanwhile.
    pub(crate) async fn place(&mut self) -> Option<Permit> {
        (&mut self.place).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.health.with(&self.lane, |seen| {
            seen.waiting = seen.waiting.saturating_sub(1);
        });
    }
}
