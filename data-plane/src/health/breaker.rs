//! One lane's breaker.
//!
//! Owns: when a lane is out and when it gets a probe. Knows no HTTP: it is told
//! [`Event`]s, and the time and the dice come with them.

use std::time::{Duration, Instant};

use spillway_routing::conditions::Gate;

use super::window::Window;

/// Failures in a row that open the breaker.
const CONSECUTIVE_MAX: u32 = 5;
/// Without an ejection for so long, the next one starts small again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// A `Retry-After` beyond this is not believed: nobody should be able to switch a lane
/// off for a week.
pub(crate) const COOL_DOWN_MAX: Duration = Duration::from_secs(60);
/// A wrong key or an unknown model does not heal by itself; one request in so long
/// looks whether somebody repaired it.
const MISCONFIGURED_FOR: Duration = Duration::from_secs(300);

/// What happened to a request at a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Answered,
    /// Unreachable, 5xx, timeout, nonsense, cut.
    Failed,
    /// 429, 503, 529: counts for the rate, not for failures in a row.
    Overloaded {
        retry_after: Option<Duration>,
    },
    /// 401, 403, 404: a fault of configuration, not of health.
    Misconfigured,
}

/// How long ejections last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ejection {
    pub(crate) first: Duration,
    pub(crate) max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// Out until then; afterwards one probe.
    Out {
        until: Instant,
    },
    /// One request is under way to see whether the lane has recovered.
    Probing,
}

#[derive(Clone, Debug)]
pub(super) struct Breaker {
    state: State,
    consecutive: u32,
    ejections: u32,
    last_ejected: Option<Instant>,
    window: Window,
}

impl Breaker {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            consecutive: 0,
            ejections: 0,
            last_ejected: None,
            window: Window::new(now),
        }
    }

    pub(super) fn gate(&self, now: Instant) -> Gate {
        match self.state {
            State::Closed => Gate::Open,
            State::Out { until } if now >= until => Gate::Probing,
            State::Out { .. } | State::Probing => Gate::Shut,
        }
    }

    /// Takes the probe's slot where the gate says `Probing`.
    pub(super) fn start_probe(&mut self) {
        self.state = State::Probing;
    }

    /// The probe ended without saying anything: the next request may probe.
    pub(super) fn release_probe(&mut self, now: Instant) {
        if self.state == State::Probing {
            self.state = State::Out { until: now };
        }
    }

    /// When the lane may be tried again, if it is out.
    pub(super) fn until(&self) -> Option<Instant> {
        match self.state {
            State::Out { until } => Some(until),
            State::Closed | State::Probing => None,
        }
    }

    pub(super) fn record(
        &mut self,
        event: Event,
        probe: bool,
        ejection: Ejection,
        now: Instant,
        dice: u64,
    ) {
        match event {
            Event::Misconfigured => {
                self.out(now + MISCONFIGURED_FOR);
                return;
            }
            Event::Answered => {
                self.consecutive = 0;
                self.window.record(true, now);
                if probe {
                    self.state = State::Closed;
                    self.window.clear();
                }
                return;
            }
            Event::Failed => {
                self.consecutive = self.consecutive.saturating_add(1);
                self.window.record(false, now);
            }
            Event::Overloaded { retry_after } => {
                self.window.record(false, now);
                if let Some(wait) = retry_after.filter(|_| !probe) {
                    self.out(now + wait.min(COOL_DOWN_MAX));
                }
            }
        }
        let failing = self.consecutive >= CONSECUTIVE_MAX || self.window.is_failing(now);
        if probe || (failing && self.state == State::Closed) {
            self.eject(event, ejection, now, dice);
        }
    }

    /// Never shortens what is already longer.
    fn out(&mut self, until: Instant) {
        let until = self.until().map_or(until, |known| known.max(until));
        self.state = State::Out { until };
    }

    fn eject(&mut self, event: Event, ejection: Ejection, now: Instant, dice: u64) {
        let forgiven = self.last_ejected.is_none_or(|at| {
            now.saturating_duration_since(at)
                > FORGIVEN_AFTER.max(ejection.length(self.ejections) * 2)
        });
        self.ejections = if forgiven {
            0
        } else {
            self.ejections.saturating_add(1)
        };
        self.last_ejected = Some(now);
        self.consecutive = 0;
        self.window.clear();
        let asked = match event {
            Event::Overloaded {
                retry_after: Some(wait),
            } => wait.min(COOL_DOWN_MAX),
            _ => Duration::ZERO,
        };
        self.out(
            now + jittered(ejection.length(self.ejections), dice)
                .min(ejection.max)
                .max(asked),
        );
    }
}

impl Ejection {
    fn length(self, ejections: u32) -> Duration {
        self.first
            .saturating_mul(1u32.checked_shl(ejections.min(20)).unwrap_or(u32::MAX))
            .min(self.max)
    }
}

/// Up to a quarter longer, so that a fleet does not come back in step.
fn jittered(length: Duration, dice: u64) -> Duration {
    length + length.mul_f64((dice % 1_000) as f64 / 4_000.0)
}

#[cfg(test)]
mod tests;
