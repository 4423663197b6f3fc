//! What the deciding proxy has lately seen, as plain data.
//!
//! Owns: `Conditions` and `LaneState`. The proxy fills them in; a replay passes in the
//! recorded ones and must come to the same choice. Knows no clock: whoever makes them
//! has already turned times into states.

use crate::id::LaneId;
use crate::start::Starts;
use crate::unit::{Millis, NanoUsd, Tokens};

/// Whether a lane may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    #[default]
    Open,
    /// Let one request through to see whether the lane has recovered.
    Probing,
    /// Out: failing, cooling down or misconfigured.
    Shut,
    /// At its limit of requests in flight.
    Full,
}

impl Gate {
    pub const ALL: [Self; 4] = [Self::Open, Self::Probing, Self::Shut, Self::Full];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Probing => "probing",
            Self::Shut => "shut",
            Self::Full => "full",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gate| gate.name() == name)
    }
}

/// One lane as lately seen; the default is "nothing seen".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneState {
    pub gate: Gate,
    pub in_flight: u32,
    /// Requests that wait for a place here.
    pub waiting: u32,
    /// Smoothed time to the first token; `None` until something was seen.
    pub first_token: Option<Millis>,
    /// Smoothed microseconds from one token to the next.
    pub per_token_us: Option<u32>,
    /// How likely requests begin here, where they may have to wait.
    pub starts: Option<Starts>,
    /// What it cost this proxy within the last hour.
    pub spent: NanoUsd,
    /// What it cost this proxy today (UTC) as an overflow lane.
    pub overflowed: NanoUsd,
    /// How much of *this* request, in o200k, its provider probably has in its prompt cache.
    pub cached: Tokens,
}

/// The states of a table's lanes, in that table's order. Lanes beyond the end were
/// not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    pub lanes: Vec<LaneState>,
}

impl Conditions {
    #[must_use]
    pub fn lane(&self, index: usize) -> LaneState {
        self.lanes.get(index).copied().unwrap_or_default()
    }

    /// From named states, for a table whose lanes are `order`.
    #[must_use]
    pub fn named<'a>(
        states: &[(LaneId, LaneState)],
        order: impl Iterator<Item = &'a LaneId>,
    ) -> Self {
        let find = |lane: &LaneId| {
            states
                .iter()
                .find(|(id, _)| id == lane)
                .map(|(_, state)| *state)
        };
        Self {
            lanes: order.map(|lane| find(lane).unwrap_or_default()).collect(),
        }
    }
}
