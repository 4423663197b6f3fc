//! One lane's breaker.
//!
//! Owns: when a lane is out and when it gets a probe. Knows no HTTP: it is told
//! [`Event`]s, and the time and the dice come with them.

use std::time::{Duration, Instant};

use spillway_routing::conditions::Gate;

use super::pause::{Pauses, doubled};
use super::window::Window;

/// Failures in a row that open the breaker.
const CONSECUTIVE_MAX: u32 = 5;
/// Without an ejection for so long, the next one starts small again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// A `Retry-After` beyond this is not believed: nobody should be able to switch a lane
/// off for a week.
pub(crate) const COOL_DOWN_MAX: Duration = Duration::from_secs(60);
/// Refusals in a row that a lane may make, as long as it mostly answers.
const REFUSED_MAX: u32 = 2;
/// Rest of an overloaded lane that does not say how long it needs: rate limits count in
/// seconds or minutes, so one second finds most of them over and half a minute the rest.
const COOL_DOWN_FIRST: Duration = Duration::from_secs(1);
const COOL_DOWN_DEFAULT_MAX: Duration = Duration::from_secs(30);
/// A wrong key may be one refused in a rollover, which is over soon; one that stays wrong
/// does not heal by itself, and a request in so long looks whether somebody repaired it.
const MISCONFIGURED_FIRST: Duration = Duration::from_secs(10);
const MISCONFIGURED_MAX: Duration = Duration::from_secs(300);

/// How soon a request that waits looks again at the least: a probe may be under way.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A lane is not out for longer while requests have no other: a fleet whose providers all
/// failed for a minute would else be out for half a minute after they have healed.
const WOKEN_AFTER: Duration = Duration::from_secs(5);

/// What happened to a request at a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Answered,
    /// Unreachable, 5xx, timeout, nonsense, cut.
    Failed,
    /// 429: a cool-down; counts for the rate, not for failures in a row.
    Limited {
        retry_after: Option<Duration>,
    },
    /// 503, 529: a cool-down, and a failure.
    Overloaded {
        retry_after: Option<Duration>,
    },
    /// Our key or our model name is refused: a fault of configuration, not of health.
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
    /// For want of room, in a row.
    refused: u32,
    ejections: u32,
    last_ejected: Option<Instant>,
    /// It is out because it failed, not because it rests.
    ejected: bool,
    /// It is out because it said so, and for nothing else.
    resting: bool,
    /// Until when it said itself that it needs a rest.
    asked_until: Option<Instant>,
    cool_downs: Pauses,
    misconfigured: Pauses,
    window: Window,
}

impl Breaker {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            consecutive: 0,
            refused: 0,
            ejections: 0,
            last_ejected: None,
            ejected: false,
            resting: false,
            asked_until: None,
            cool_downs: Pauses::new(COOL_DOWN_FIRST, COOL_DOWN_DEFAULT_MAX),
            misconfigured: Pauses::new(MISCONFIGURED_FIRST, MISCONFIGURED_MAX),
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

    /// How long a lane that only rests is out; while a request looks whether it is over,
    /// a moment.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Out { until } if self.resting => {
                Some(until.saturating_duration_since(now).max(LOOK_AGAIN))
            }
            State::Probing if self.resting => Some(LOOK_AGAIN),
            State::Out { .. } | State::Probing | State::Closed => None,
        }
    }

    /// Ends an ejection for one probe where it lasts long already; says whether it did. For
    /// a lane that requests have nothing but.
    pub(super) fn wake(&mut self, now: Instant) -> bool {
        let since = self.last_ejected.filter(|_| self.ejected);
        let long = since.is_some_and(|at| now.saturating_duration_since(at) >= WOKEN_AFTER);
        let out = matches!(self.state, State::Out { until } if until > now);
        let asked = self.asked_until.is_some_and(|until| until > now);
        if !(long && out) || asked {
            return false;
        }
        self.state = State::Out { until: now };
        true
    }

    pub(super) fn record(
        &mut self,
        event: Event,
        probe: bool,
        ejection: Ejection,
        now: Instant,
        dice: u64,
    ) {
        let taken = probe || self.state == State::Closed;
        match event {
            Event::Misconfigured => {
                let until = self.misconfigured.next(now);
                (self.ejected, self.resting) = (false, false);
                return self.out(until);
            }
            Event::Answered => return self.answered(probe, now),
            Event::Failed => self.failed(now),
            Event::Limited { retry_after } => {
                self.window.record(false, now);
                self.cool_down(retry_after, now);
            }
            Event::Overloaded { retry_after } => {
                self.failed(now);
                self.cool_down(retry_after, now);
            }
        }
        let failing = self.consecutive >= CONSECUTIVE_MAX || self.window.is_failing(now);
        // A probe after a mere rest that finds the lane still overloaded only rests longer.
        let in_vain = probe && (self.ejected || event == Event::Failed);
        if in_vain || (failing && taken) {
            self.eject(ejection, now, dice);
        }
    }

    fn answered(&mut self, probe: bool, now: Instant) {
        let taken = probe || self.state == State::Closed;
        (self.consecutive, self.refused) = (0, 0);
        self.window.record(true, now);
        // What was under way when the lane went out says nothing of how it is now.
        if taken {
            self.cool_downs.reset();
            self.misconfigured.reset();
        }
        if probe {
            self.state = State::Closed;
            (self.ejected, self.resting) = (false, false);
            self.window.clear();
        }
    }

    fn failed(&mut self, now: Instant) {
        self.consecutive = self.consecutive.saturating_add(1);
        self.window.record(false, now);
    }

    fn cool_down(&mut self, asked: Option<Duration>, now: Instant) {
        self.refused = self.refused.saturating_add(1);
        let until = match asked {
            Some(wait) => {
                let until = now + wait.min(COOL_DOWN_MAX);
                self.asked_until = Some(until);
                until
            }
            // One refusal among many answers says nothing of the next request.
            None if self.is_well(now) => return,
            None => self.cool_downs.next(now),
        };
        self.resting |= self.state == State::Closed;
        self.out(until);
    }

    fn is_well(&self, now: Instant) -> bool {
        let seldom = self.refused <= REFUSED_MAX && self.window.is_well(now);
        self.state == State::Closed && seldom
    }

    /// Never shortens what is already longer.
    fn out(&mut self, until: Instant) {
        let until = self.until().map_or(until, |known| known.max(until));
        self.state = State::Out { until };
    }

    fn eject(&mut self, ejection: Ejection, now: Instant, dice: u64) {
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
        (self.ejected, self.resting) = (true, false);
        self.consecutive = 0;
        self.window.clear();
        // A cool-down that the lane asked for, where it is longer, stays.
        self.out(now + jittered(ejection.length(self.ejections), dice).min(ejection.max));
    }
}

impl Ejection {
    fn length(self, ejections: u32) -> Duration {
        doubled(self.first, ejections).min(self.max)
    }
}

/// Up to a quarter longer, so that a fleet does not come back in step.
fn jittered(length: Duration, dice: u64) -> Duration {
    length + length.mul_f64((dice % 1_000) as f64 / 4_000.0)
}

#[cfg(test)]
mod tests;
