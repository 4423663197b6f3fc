//! How much each key may still have at this proxy.
//!
//! Owns: requests and tokens a minute as buckets that fill all the time, and money a day
//! (UTC); what a request is expected to take is reserved before it is sent and settled
//! when its record closes. Knows no prices and no callers; time is passed in. It lives as
//! long as the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spillway_routing::id::KeyId;
use spillway_routing::key::KeyLimits;
use spillway_routing::unit::{NanoUsd, Tokens, UnixMillis};

const MINUTE: f64 = 60.0;
const DAY_MS: u64 = 24 * 3_600_000;

/// What a request takes, or is expected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taking {
    pub(crate) tokens: Tokens,
    pub(crate) cost: NanoUsd,
}

/// What was reserved for a request.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    key: KeyId,
    reserved: Taking,
    /// Since 1970.
    day: u64,
}

/// What a key has no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    /// Enough again after that.
    Requests(Duration),
    /// Enough again after that.
    Tokens(Duration),
    /// Until tomorrow.
    Money,
}

impl Short {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Requests(_) => "requests",
            Self::Tokens(_) => "tokens",
            Self::Money => "money",
        }
    }
}

/// Holds at most what flows in within a minute.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    fn full(per_minute: u32, now: Instant) -> Self {
        Self {
            level: f64::from(per_minute),
            at: now,
        }
    }

    fn fill(&mut self, per_minute: u32, now: Instant) {
        let (most, passed) = (
            f64::from(per_minute),
            now.saturating_duration_since(self.at),
        );
        self.level = (self.level + passed.as_secs_f64() * most / MINUTE).min(most);
        self.at = now.max(self.at);
    }

    /// How long until so much is there; what is more than a whole minute's needs a full
    /// bucket, and is owed afterwards.
    fn lacks(&self, amount: f64, per_minute: u32) -> Option<Duration> {
        let most = f64::from(per_minute);
        let missing = amount.min(most) - self.level;
        // A limit of nothing never fills.
        let seconds = missing * MINUTE / most.max(f64::MIN_POSITIVE);
        let wait = || Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        (missing > 0.0 || per_minute == 0).then(wait)
    }
}

#[derive(Clone, Copy, Debug)]
struct Account {
    requests: Bucket,
    tokens: Bucket,
    spent: NanoUsd,
    /// Since 1970.
    day: u64,
}

/// The accounts of all keys that have limits.
#[derive(Debug, Default)]
pub(crate) struct Allowances {
    accounts: Mutex<BTreeMap<KeyId, Account>>,
}

impl Allowances {
    fn accounts(&self) -> MutexGuard<'_, BTreeMap<KeyId, Account>> {
        // Sums stay meaningful whatever panicked between two of them.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a request is expected to need, all of it or nothing.
    pub(crate) fn reserve(
        &self,
        key: &KeyId,
        limits: &KeyLimits,
        expected: Taking,
        now: Instant,
        at: UnixMillis,
    ) -> Result<Grant, Short> {
        let requests_most = limits.requests_per_minute.unwrap_or(u32::MAX);
        let tokens_most = limits.tokens_per_minute.unwrap_or(u32::MAX);
        let mut accounts = self.accounts();
        let account = accounts.entry(key.clone()).or_insert_with(|| Account {
            requests: Bucket::full(requests_most, now),
            tokens: Bucket::full(tokens_most, now),
            spent: NanoUsd::ZERO,
            day: at.0 / DAY_MS,
        });
        account.requests.fill(requests_most, now);
        account.tokens.fill(tokens_most, now);
        account.turn(at);
        let tokens = f64::from(expected.tokens.0);
        if let Some(wait) = account.requests.lacks(1.0, requests_most) {
            return Err(Short::Requests(wait));
        }
        if let Some(wait) = account.tokens.lacks(tokens, tokens_most) {
            return Err(Short::Tokens(wait));
        }
        let spent = account.spent.saturating_add(expected.cost);
        if limits.per_day.is_some_and(|most| spent > most) {
            return Err(Short::Money);
        }
        account.requests.level -= 1.0;
        account.tokens.level -= tokens;
        account.spent = spent;
        Ok(Grant {
            key: key.clone(),
            reserved: expected,
            day: account.day,
        })
    }

    /// What the request took in the end. Over midnight the new day pays.
    pub(crate) fn settle(&self, grant: &Grant, taken: Taking, at: UnixMillis) {
        if let Some(account) = self.accounts().get_mut(&grant.key) {
            let reserved = grant.reserved;
            account.tokens.level += f64::from(reserved.tokens.0) - f64::from(taken.tokens.0);
            account.turn(at);
            if grant.day == account.day {
                account.spent = account.spent.saturating_sub(reserved.cost);
            }
            account.spent = account.spent.saturating_add(taken.cost);
        }
    }
}

impl Account {
    fn turn(&mut self, at: UnixMillis) {
        let day = at.0 / DAY_MS;
        if day > self.day {
            (self.day, self.spent) = (day, NanoUsd::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: UnixMillis = UnixMillis(20_000 * DAY_MS);

    fn taking(tokens: u32, cost: u64) -> Taking {
        Taking {
            tokens: Tokens(tokens),
            cost: NanoUsd(cost),
        }
    }

    fn limits(requests: u32, tokens: u32, per_day: u64) -> KeyLimits {
        KeyLimits {
            requests_per_minute: Some(requests),
            tokens_per_minute: Some(tokens),
            per_day: Some(NanoUsd(per_day)),
        }
    }

    struct Desk {
        all: Allowances,
        start: Instant,
        limits: KeyLimits,
    }

    impl Desk {
        fn new(limits: KeyLimits) -> Self {
            Self {
                all: Allowances::default(),
                start: Instant::now(),
                limits,
            }
        }

        fn ask(&self, ms: u64, expected: Taking) -> Result<Grant, Short> {
            let now = self.start + Duration::from_millis(ms);
            let key = KeyId::new("k");
            self.all
                .reserve(&key, &self.limits, expected, now, UnixMillis(AT.0 + ms))
        }
    }

    #[test]
    fn a_bucket_gives_a_minutes_worth_and_then_what_flows_in() {
        let desk = Desk::new(limits(2, 1_000_000, 1_000));
        assert!(desk.ask(0, taking(1, 0)).is_ok() && desk.ask(0, taking(1, 0)).is_ok());
        assert_eq!(
            desk.ask(0, taking(1, 0)).err(),
            Some(Short::Requests(Duration::from_secs(30)))
        );
        assert!(desk.ask(30_000, taking(1, 0)).is_ok());
        assert!(desk.ask(30_000, taking(1, 0)).is_err());
    }

    #[test]
    fn tokens_that_were_not_needed_come_back() {
        let desk = Desk::new(limits(100, 1_000, 1_000));
        let grant = desk.ask(0, taking(900, 0)).unwrap();
        assert_eq!(
            desk.ask(0, taking(400, 0)).err(),
            Some(Short::Tokens(Duration::from_secs(18)))
        );
        desk.all.settle(&grant, taking(100, 0), AT);
        assert!(desk.ask(0, taking(400, 0)).is_ok());
    }

    #[test]
    fn a_request_beyond_a_minutes_worth_needs_a_full_bucket_and_is_owed() {
        let desk = Desk::new(limits(100, 1_000, 1_000));
        assert!(desk.ask(0, taking(3_000, 0)).is_ok());
        assert!(desk.ask(60_000, taking(1, 0)).is_err());
        assert!(desk.ask(180_000, taking(1_000, 0)).is_ok());
    }

    #[test]
    fn money_is_for_a_day() {
        let desk = Desk::new(limits(100, 100_000, 10));
        let grant = desk.ask(0, taking(1, 10)).unwrap();
        assert_eq!(desk.ask(0, taking(1, 1)).err(), Some(Short::Money));
        desk.all.settle(&grant, taking(1, 4), AT);
        assert!(desk.ask(0, taking(1, 6)).is_ok());
        assert!(desk.ask(DAY_MS - 1, taking(1, 1)).is_err());
        assert!(desk.ask(DAY_MS, taking(1, 9)).is_ok());
        // What was reserved yesterday frees nothing of today.
        desk.all
            .settle(&grant, taking(1, 1), UnixMillis(AT.0 + DAY_MS));
        assert!(desk.ask(DAY_MS, taking(1, 1)).is_err());
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through() {
        let desk = Desk::new(limits(0, 10, 10));
        assert!(desk.ask(0, taking(1, 0)).is_err());
        assert!(desk.ask(600_000, taking(1, 0)).is_err());
    }

    proptest! {
        #[test]
        fn no_day_costs_more_than_its_money(costs in prop::collection::vec((0u64..100, 0u64..=100), 1..200)) {
            let desk = Desk::new(limits(u32::MAX, u32::MAX, 1_000));
            let (mut settled, mut open) = (0, Vec::new());
            for (expected, share) in costs {
                if let Ok(grant) = desk.ask(0, taking(0, expected)) {
                    open.push((grant, expected * share / 100));
                }
                if open.len() > 3 {
                    let (grant, cost) = open.remove(0);
                    desk.all.settle(&grant, taking(0, cost), AT);
                    settled += cost;
                }
                let reserved: u64 = open.iter().map(|(grant, _)| grant.reserved.cost.0).sum();
                prop_assert!(settled + reserved <= 1_000);
            }
        }
    }
}
