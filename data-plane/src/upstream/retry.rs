//! What a failed attempt means for the next one.
//!
//! Owns: retry classes, the retry budget, `Retry-After`. Knows no sockets; time is
//! passed in.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use spillway_routing::outcome::AttemptResult;

use crate::dialect::Blame;
use crate::failure::Passed;
use crate::health::Event;

/// Possibly charged attempts of one request: the first, and one more after an unknown
/// outcome.
pub(super) const CHARGES_MAX: usize = 2;
/// Retries a request earns: a tenth, so that an outage is not answered with a storm.
const PER_REQUEST: f64 = 0.1;
/// Retries a second that are always there, for proxies with little traffic.
const PER_SECOND: f64 = 3.0;
/// Retries saved up at most.
const SAVED_MAX: f64 = 10.0;

/// What another attempt would mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// The lane makes requests wait and had no room for this one. Free, as the next one
    /// is; it may be asked again.
    NoRoom,
    /// The lane makes requests wait and did not begin this one. Free: nothing was done,
    /// and waiting there is what the plan meant.
    NotStarted,
    /// The lane will not serve this request. Free: it multiplies only the traffic of the
    /// caller who sends such requests, and must not eat the retries of the others.
    Elsewhere,
    /// The lane is set up wrong: nothing was done, the next lane is free.
    Misconfigured,
    /// A: nothing was sent; free.
    Unsent,
    /// B: refused unread, because we send too much; costs budget.
    Limited,
    /// B: refused unread, because the provider has too much to do; costs budget.
    Overloaded,
    /// C: sent, outcome unknown: a second charge is possible; costs budget.
    Unknown,
    /// The request itself is refused: no other lane would differ.
    Final,
}

/// One attempt that gave no answer.
#[derive(Debug)]
pub(super) struct Miss {
    pub(super) class: Class,
    pub(super) result: AttemptResult,
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<Duration>,
    pub(super) passed: Option<Box<(StatusCode, Passed)>>,
    /// For the log; never a provider's text.
    pub(super) cause: &'static str,
}

impl Miss {
    pub(super) fn new(class: Class, result: AttemptResult, cause: &'static str) -> Self {
        Self {
            class,
            result,
            status: None,
            retry_after: None,
            passed: None,
            cause,
        }
    }

    /// Nothing came in time; what was sent may be charged.
    pub(super) fn late(cause: &'static str) -> Self {
        Self::new(Class::Unknown, AttemptResult::TimedOut, cause)
    }

    /// From what a provider's error says.
    pub(super) fn blamed(blame: Blame, status: Option<u16>) -> Self {
        let (class, result, cause) = match blame {
            Blame::Configuration => (
                Class::Misconfigured,
                AttemptResult::Rejected,
                "our key or model name was refused",
            ),
            Blame::Elsewhere => (
                Class::Elsewhere,
                AttemptResult::Rejected,
                "the lane will not serve this request",
            ),
            Blame::Limit => (Class::Limited, AttemptResult::Overloaded, "rate limited"),
            Blame::Overload => (Class::Overloaded, AttemptResult::Overloaded, "overloaded"),
            Blame::Provider => (Class::Unknown, AttemptResult::Failed, "the provider failed"),
            Blame::Request => (
                Class::Final,
                AttemptResult::Rejected,
                "the request was refused",
            ),
        };
        Self {
            status,
            ..Self::new(class, result, cause)
        }
    }

    /// What it means at a lane that makes requests wait: neither a refusal for want of room
    /// nor silence is a failure there.
    pub(super) fn deferred(self) -> Self {
        let (class, cause) = match (self.class, self.result) {
            (_, AttemptResult::TimedOut) => (Class::NotStarted, "not begun in time"),
            (Class::Limited | Class::Overloaded, _) => (Class::NoRoom, "no room"),
            _ => return self,
        };
        Self {
            class,
            result: AttemptResult::NotStarted,
            cause,
            ..self
        }
    }

    /// What it means where the caller's own key was used: a key that is refused or has no
    /// more quota says nothing of the lane.
    pub(super) fn by_own_key(self) -> Self {
        if !matches!(self.class, Class::Misconfigured | Class::Limited) {
            return self;
        }
        Self {
            class: Class::Elsewhere,
            cause: "the caller's own key was refused",
            ..self
        }
    }

    /// What the lane's breaker learns from it, if anything.
    pub(super) fn event(&self) -> Option<Event> {
        let retry_after = self.retry_after;
        match self.class {
            Class::Elsewhere | Class::NoRoom | Class::NotStarted => None,
            Class::Misconfigured => Some(Event::Misconfigured),
            Class::Unsent | Class::Unknown => Some(Event::Failed),
            Class::Limited => Some(Event::Limited { retry_after }),
            Class::Overloaded => Some(Event::Overloaded { retry_after }),
            // The lane read the request and answered.
            Class::Final => Some(Event::Answered),
        }
    }

    /// Whether the next attempt takes from the budget. A lane that is out after the miss
    /// gets no new requests, so what moves away from it is no storm: the budget is there
    /// for lanes that stay open and fail.
    pub(super) fn costs_budget(&self, lane_open: bool) -> bool {
        match self.class {
            Class::NoRoom
            | Class::NotStarted
            | Class::Elsewhere
            | Class::Misconfigured
            | Class::Unsent => false,
            Class::Limited | Class::Overloaded | Class::Unknown => lane_open,
            // Never tried again.
            Class::Final => true,
        }
    }
}

/// Retries that may still be made.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    saved: Mutex<(f64, Instant)>,
}

impl RetryBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            saved: Mutex::new((SAVED_MAX, now)),
        }
    }

    /// A request came: it earns a share of a retry.
    pub(super) fn earn(&self, now: Instant) {
        self.change(now, |saved| *saved = (*saved + PER_REQUEST).min(SAVED_MAX));
    }

    /// Whether one more retry may be made; takes it.
    pub(super) fn spend(&self, now: Instant) -> bool {
        self.change(now, |saved| {
            let enough = *saved >= 1.0;
            if enough {
                *saved -= 1.0;
            }
            enough
        })
    }

    fn change<T>(&self, now: Instant, change: impl FnOnce(&mut f64) -> T) -> T {
        let mut guard = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let (saved, at) = &mut *guard;
        let passed = now.saturating_duration_since(*at).as_secs_f64();
        *saved = (*saved + passed * PER_SECOND).min(SAVED_MAX);
        *at = now.max(*at);
        change(saved)
    }
}

/// `retry-after-ms`, else `retry-after` in seconds. A date is not believed: clocks
/// differ, and every provider sends seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms")
        .map(|ms| ms / 1e3)
        .or_else(|| number("retry-after"))?;
    (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn retry_after_is_read_in_its_forms() {
        let read = |name: &'static str, value: &str| {
            retry_after(&HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                value.parse().unwrap(),
            )]))
        };
        assert_eq!(read("retry-after", "30"), Some(Duration::from_secs(30)));
        assert_eq!(
            read("retry-after-ms", "250"),
            Some(Duration::from_millis(250))
        );
        assert!(read("retry-after", "1000000000").is_some());
        assert_eq!(read("retry-after", "1e300"), Some(Duration::MAX));
        for odd in ["-1", "soon", "nan", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            assert_eq!(read("retry-after", odd), None, "{odd}");
        }
    }

    #[test]
    fn classes_follow_the_blame() {
        for (blame, class, result) in [
            (
                Blame::Configuration,
                Class::Misconfigured,
                AttemptResult::Rejected,
            ),
            (Blame::Elsewhere, Class::Elsewhere, AttemptResult::Rejected),
            (Blame::Limit, Class::Limited, AttemptResult::Overloaded),
            (
                Blame::Overload,
                Class::Overloaded,
                AttemptResult::Overloaded,
            ),
            (Blame::Provider, Class::Unknown, AttemptResult::Failed),
            (Blame::Request, Class::Final, AttemptResult::Rejected),
        ] {
            let miss = Miss::blamed(blame, None);
            assert_eq!((miss.class, miss.result), (class, result));
            let charged = class == Class::Unknown;
            assert_eq!(miss.result.possibly_charged(), charged);
            assert_eq!(
                miss.event().is_none(),
                class == Class::Elsewhere,
                "{blame:?}"
            );
            assert!(class == Class::Final || !miss.costs_budget(false));
            assert_eq!(miss.costs_budget(true), class > Class::Unsent);
        }
    }

    proptest! {
        #[test]
        fn retries_stay_within_a_tenth_and_three_a_second(gaps in prop::collection::vec(0u64..50, 1..500)) {
            let start = Instant::now();
            let budget = RetryBudget::new(start);
            let (mut now, mut retries) = (start, 0u32);
            for gap in &gaps {
                now += Duration::from_millis(*gap);
                budget.earn(now);
                retries += u32::from(budget.spend(now)) + u32::from(budget.spend(now));
            }
            let seconds = (now - start).as_secs_f64();
            prop_assert!(f64::from(retries) <= SAVED_MAX + gaps.len() as f64 * 0.1 + seconds * 3.0 + 1e-6);
        }
    }
}
