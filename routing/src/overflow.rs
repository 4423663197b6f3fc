//! A route's overflow lane: where requests spill when the lane they should go to is full,
//! failing, or too dear for them.
//!
//! Owns: [`Overflow`], what a policy says of it, and [`Cause`], why a request spilled.
//! Knows no conditions: whether a cause holds is asked of `decide`, and after a failed
//! attempt of the proxy.

use crate::id::LaneId;
use crate::prompt::Class;
use crate::unit::NanoUsd;

/// Why a request went to its route's overflow lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The lane before it answered 429.
    Limited,
    /// The lane before it could not be reached, answered 5xx or broke off.
    Failed,
    /// The lane before it gave no content in time.
    TimedOut,
    /// It waited in the lane's queue as long as it may.
    Waited,
    /// The lane had more requests under way than the policy wants.
    InFlight,
    /// The lane's queue was longer than the policy wants.
    Queued,
    /// The request would have cost more than the policy wants.
    Cost,
    /// The lane has cost more within the hour than the policy wants.
    Spend,
    /// Work of this class always spills.
    Class,
    /// Every other lane was out.
    Out,
}

impl Cause {
    pub const ALL: [Self; 10] = [
        Self::Limited,
        Self::Failed,
        Self::TimedOut,
        Self::Waited,
        Self::InFlight,
        Self::Queued,
        Self::Cost,
        Self::Spend,
        Self::Class,
        Self::Out,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Limited => "429",
            Self::Failed => "5xx",
            Self::TimedOut => "timeout",
            Self::Waited => "queue_wait",
            Self::InFlight => "in_flight",
            Self::Queued => "queue_depth",
            Self::Cost => "cost",
            Self::Spend => "spend",
            Self::Class => "class",
            Self::Out => "out",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// Whether it shows only once a lane was tried.
    #[must_use]
    pub fn is_after_attempt(self) -> bool {
        matches!(
            self,
            Self::Limited | Self::Failed | Self::TimedOut | Self::Waited
        )
    }
}

/// What a policy says of a route's overflow lane. The lane is kept for it: no request of
/// the route goes there for another reason, unless a rule pins it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    pub lane: LaneId,
    /// After an attempt that ended so, it is tried next.
    pub after: Vec<Cause>,
    /// Requests under way at the chosen lane, beyond which it is used instead.
    pub in_flight: Option<u32>,
    /// Requests waiting in front of the chosen lane, beyond which it is used instead.
    pub queued: Option<u32>,
    /// What a request is expected to cost, beyond which it is used instead.
    pub cost: Option<NanoUsd>,
    /// What the chosen lane cost one proxy in the last hour, beyond which it is used
    /// instead.
    pub spend: Option<NanoUsd>,
    /// Work that always goes there.
    pub classes: Vec<Class>,
    /// Whether it may be expected to cost more than the lane that it stands in for.
    pub dearer: bool,
    /// What each proxy may spend on it in a day (UTC); `None` for no cap.
    pub per_day: Option<NanoUsd>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_read_back() {
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.name()), Some(cause));
        }
        assert_eq!(Cause::parse("418"), None);
    }
}
