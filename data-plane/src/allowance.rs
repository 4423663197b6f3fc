//! How much each key may still have at this proxy.
//!
//! Owns: requests and tokens a minute as buckets that fill all the time, and money a day
//! (UTC), which all proxies of a fleet share; what a request is expected to take is
//! reserved before it is sent and settled when its record closes. Knows no prices and no
//! callers. It lives as long as the process.

mod bucket;
pub(crate) mod fleet;
mod money;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spillway_routing::id::KeyId;
use spillway_routing::key::KeyLimits;
use spillway_routing::unit::{NanoUsd, Tokens, UnixMillis};

use self::bucket::Bucket;
use self::fleet::Fleet;
use self::money::{Ask, Day, Granted, Lack, Money, Round};
use crate::clock;

const DAY_MS: u64 = 24 * 3_600_000;
/// How long a request waits for money to be granted; where nobody answers so long, nobody
/// can be asked.
const GRANT_WITHIN: Duration = Duration::from_millis(1_000);

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
    day: Day,
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

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Short(Short),
    /// The fleet may have more.
    Ask,
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

#[derive(Clone, Copy, Debug)]
struct Account {
    requests: Bucket,
    tokens: Bucket,
    money: Money,
}

impl Account {
    /// A key's account, its buckets filled up to now.
    fn of<'a>(
        accounts: &'a mut BTreeMap<KeyId, Self>,
        key: &KeyId,
        limits: &KeyLimits,
        now: Instant,
        at: UnixMillis,
    ) -> &'a mut Self {
        let requests = limits.requests_per_minute.unwrap_or(u32::MAX);
        let tokens = limits.tokens_per_minute.unwrap_or(u32::MAX);
        let account = accounts.entry(key.clone()).or_insert_with(|| Self {
            requests: Bucket::full(requests, now),
            tokens: Bucket::full(tokens, now),
            money: Money::new(at.0 / DAY_MS),
        });
        account.requests.fill(requests, now);
        account.tokens.fill(tokens, now);
        account
    }

    fn may_ask(&self, limits: &KeyLimits) -> Result<(), Short> {
        let most = limits.requests_per_minute.unwrap_or(u32::MAX);
        let wait = self.requests.lacks(1.0, most);
        wait.map_or(Ok(()), |wait| Err(Short::Requests(wait)))
    }
}

/// The accounts of all keys that have limits.
#[derive(Debug, Default)]
pub(crate) struct Allowances {
    accounts: Mutex<BTreeMap<KeyId, Account>>,
    /// Where the money of a day is shared with other proxies.
    fleet: Option<Fleet>,
}

impl Allowances {
    pub(crate) fn new(fleet: Option<Fleet>) -> Self {
        Self {
            accounts: Mutex::default(),
            fleet,
        }
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<KeyId, Account>> {
        // Sums stay meaningful whatever panicked between two of them.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a request is expected to need, all of it or nothing.
    ///
    /// Waits a moment where money has to be asked of the fleet.
    pub(crate) async fn reserve(
        &self,
        key: &KeyId,
        limits: &KeyLimits,
        expected: Taking,
    ) -> Result<Grant, Short> {
        let until = Instant::now() + GRANT_WITHIN;
        let take = || self.take(key, limits, expected, Instant::now(), clock::now());
        loop {
            // Watched before the look, so that no round in between is missed.
            let rounds = self.fleet.as_ref().map(Fleet::rounds);
            match take() {
                Ok(grant) => return Ok(grant),
                Err(Refused::Short(short)) => return Err(short),
                Err(Refused::Ask) => {}
            }
            let Some(mut rounds) = rounds else {
                return Err(Short::Money);
            };
            let answered = tokio::time::timeout_at(until.into(), rounds.changed()).await;
            if !matches!(answered, Ok(Ok(()))) {
                self.with(key, Money::cannot_ask);
                return take().map_err(|refused| match refused {
                    Refused::Short(short) => short,
                    Refused::Ask => Short::Money,
                });
            }
        }
    }

    fn take(
        &self,
        key: &KeyId,
        limits: &KeyLimits,
        expected: Taking,
        now: Instant,
        at: UnixMillis,
    ) -> Result<Grant, Refused> {
        let tokens_most = limits.tokens_per_minute.unwrap_or(u32::MAX);
        let mut accounts = self.accounts();
        let account = Account::of(&mut accounts, key, limits, now, at);
        account.may_ask(limits).map_err(Refused::Short)?;
        let tokens = f64::from(expected.tokens.0);
        if let Some(wait) = account.tokens.lacks(tokens, tokens_most) {
            return Err(Refused::Short(Short::Tokens(wait)));
        }
        account.money.turn(at.0 / DAY_MS);
        match limits.per_day {
            Some(most) => self.pay(&mut account.money, expected.cost, most)?,
            None => account.money.spend(expected.cost),
        }
        account.requests.level -= 1.0;
        account.tokens.level -= tokens;
        Ok(Grant {
            key: key.clone(),
            reserved: expected,
            day: account.money.day,
        })
    }

    /// Takes one request of the minute, and nothing else.
    pub(crate) fn count(&self, key: &KeyId, limits: &KeyLimits) -> Result<(), Short> {
        let mut accounts = self.accounts();
        let account = Account::of(&mut accounts, key, limits, Instant::now(), clock::now());
        account.may_ask(limits)?;
        account.requests.level -= 1.0;
        Ok(())
    }

    fn pay(&self, money: &mut Money, cost: NanoUsd, most: NanoUsd) -> Result<(), Refused> {
        let Some(fleet) = &self.fleet else {
            let paid = money.spend_alone(cost, most);
            return paid.map_err(|_| Refused::Short(Short::Money));
        };
        let paid = money.spend_granted(cost, most);
        if money.runs_low() {
            fleet.wake();
        }
        paid.map_err(|lack| match lack {
            Lack::Money => Refused::Short(Short::Money),
            Lack::Grant => Refused::Ask,
        })
    }

    /// What the request took in the end. Over midnight the new day pays.
    pub(crate) fn settle(&self, grant: &Grant, taken: Taking, at: UnixMillis) {
        if let Some(account) = self.accounts().get_mut(&grant.key) {
            let reserved = grant.reserved;
            account.tokens.level += f64::from(reserved.tokens.0) - f64::from(taken.tokens.0);
            account.money.turn(at.0 / DAY_MS);
            let today = grant.day == account.money.day;
            let reserved = if today { reserved.cost } else { NanoUsd::ZERO };
            account.money.settle(reserved, taken.cost);
        }
    }

    /// What keys ask of the fleet's money.
    fn asks(&self, round: Round, at: UnixMillis) -> Vec<(KeyId, Ask)> {
        let mut accounts = self.accounts();
        let asks = accounts.iter_mut().filter_map(|(key, account)| {
            account.money.turn(at.0 / DAY_MS);
            Some((key.clone(), account.money.ask(round)?))
        });
        asks.collect()
    }

    fn granted(&self, key: &KeyId, ask: &Ask, granted: &Granted) {
        self.of_day(key, ask, |money| money.take(ask, granted));
    }

    fn failed(&self, key: &KeyId, ask: &Ask, certain: bool) {
        self.of_day(key, ask, |money| money.failed(ask, certain));
    }

    fn of_day(&self, key: &KeyId, ask: &Ask, change: impl FnOnce(&mut Money)) {
        self.with(key, |money| {
            if money.day == ask.day {
                change(money);
            }
        });
    }

    fn with(&self, key: &KeyId, change: impl FnOnce(&mut Money)) {
        if let Some(account) = self.accounts().get_mut(key) {
            change(&mut account.money);
        }
    }
}

#[cfg(test)]
mod tests;
