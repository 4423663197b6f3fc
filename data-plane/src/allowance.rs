//! How much each key may still have.
//!
//! Owns: requests and tokens a minute as buckets that fill all the time, and money a day
//! (UTC), all of which the proxies of a fleet share; what a request is expected to take is
//! reserved before it is sent and settled when its record closes. Knows no prices and no
//! callers. It lives as long as the process.

mod bucket;
pub(crate) mod fleet;
mod flow;
mod money;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spillway_routing::id::KeyId;
use spillway_routing::key::KeyLimits;
use spillway_routing::unit::{NanoUsd, Tokens, UnixMillis};

use self::fleet::Fleet;
use self::flow::{Dry, Flow, Rates};
use self::money::{Day, Lack, Money, Round};
use crate::clock;

const DAY_MS: u64 = 24 * 3_600_000;
/// How long a request waits to be granted what it needs; where nobody answers so long, nobody
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
    at: UnixMillis,
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
    /// The fleet may have more; what to say where nobody answers.
    Ask(Short),
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
    rates: Rates<Flow>,
    money: Money,
}

/// What this proxy asks of the fleet for a key.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Money(money::Ask),
    Rates(flow::Ask),
}

impl Account {
    fn new(limits: &KeyLimits, shared: bool, now: Instant, at: UnixMillis) -> Self {
        let flow = |per_minute: Option<u32>| Flow::new(unlimited(per_minute), shared, now);
        Self {
            rates: Rates {
                requests: flow(limits.requests_per_minute),
                tokens: flow(limits.tokens_per_minute),
            },
            money: Money::new(at.0 / DAY_MS),
        }
    }

    /// Whether one more request, of so many tokens where they count, is within its rates.
    fn may_take(&mut self, tokens: Option<f64>, now: Instant) -> Result<(), Refused> {
        let rates = &mut self.rates;
        let requests = rates.requests.gives(1.0, now);
        // Both are asked for at once.
        let tokens = tokens.map_or(Ok(()), |tokens| rates.tokens.gives(tokens, now));
        let short = match (requests, tokens) {
            (Ok(()), Ok(())) => return Ok(()),
            (Err(Dry::For(wait)), _) => Short::Requests(wait),
            (_, Err(Dry::For(wait))) => Short::Tokens(wait),
            (Err(Dry::Ask), _) => return Err(Refused::Ask(Short::Requests(GRANT_WITHIN))),
            (_, Err(Dry::Ask)) => return Err(Refused::Ask(Short::Tokens(GRANT_WITHIN))),
        };
        // What the other rate was asked for is wanted by nobody now.
        rates.requests.wants_nothing();
        rates.tokens.wants_nothing();
        Err(Refused::Short(short))
    }
}

fn unlimited(per_minute: Option<u32>) -> u32 {
    per_minute.unwrap_or(u32::MAX)
}

/// The accounts of all keys that have limits.
#[derive(Debug, Default)]
pub(crate) struct Allowances {
    accounts: Mutex<BTreeMap<KeyId, Account>>,
    /// Where keys are shared with other proxies.
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
    /// Waits a moment where the fleet has to be asked.
    pub(crate) async fn reserve(
        &self,
        key: &KeyId,
        limits: &KeyLimits,
        expected: Taking,
    ) -> Result<Grant, Short> {
        self.granted_within(key, || {
            self.take(key, limits, expected, Instant::now(), clock::now())
        })
        .await
    }

    /// Takes one request of the minute, and nothing else.
    pub(crate) async fn count(&self, key: &KeyId, limits: &KeyLimits) -> Result<(), Short> {
        self.granted_within(key, || {
            self.take_one(key, limits, Instant::now(), clock::now())
        })
        .await
    }

    async fn granted_within<T>(
        &self,
        key: &KeyId,
        take: impl Fn() -> Result<T, Refused>,
    ) -> Result<T, Short> {
        let until = Instant::now() + GRANT_WITHIN;
        loop {
            // Watched before the look, so that no round in between is missed.
            let rounds = self.fleet.as_ref().map(Fleet::rounds);
            match take() {
                Ok(taken) => return Ok(taken),
                Err(Refused::Short(short)) => return Err(short),
                Err(Refused::Ask(short)) if rounds.is_none() => return Err(short),
                Err(Refused::Ask(_)) => {}
            }
            let Some(mut rounds) = rounds else { continue };
            let answered = tokio::time::timeout_at(until.into(), rounds.changed()).await;
            if !matches!(answered, Ok(Ok(()))) {
                self.with(key, |account| {
                    account.money.cannot_ask();
                    account.rates.waited();
                });
                return take().map_err(|refused| match refused {
                    Refused::Short(short) | Refused::Ask(short) => short,
                });
            }
        }
    }

    /// A key's account as it stands now.
    fn account<'a>(
        &self,
        accounts: &'a mut BTreeMap<KeyId, Account>,
        key: &KeyId,
        limits: &KeyLimits,
        (now, at): (Instant, UnixMillis),
    ) -> &'a mut Account {
        let shared = self.fleet.is_some();
        let account = accounts.entry(key.clone());
        let account = account.or_insert_with(|| Account::new(limits, shared, now, at));
        let rates = &mut account.rates;
        rates
            .requests
            .turn(unlimited(limits.requests_per_minute), now);
        rates.tokens.turn(unlimited(limits.tokens_per_minute), now);
        account.money.turn(at.0 / DAY_MS);
        account
    }

    fn take(
        &self,
        key: &KeyId,
        limits: &KeyLimits,
        expected: Taking,
        now: Instant,
        at: UnixMillis,
    ) -> Result<Grant, Refused> {
        let mut accounts = self.accounts();
        let account = self.account(&mut accounts, key, limits, (now, at));
        let tokens = f64::from(expected.tokens.0);
        let may = account.may_take(Some(tokens), now);
        if may.is_err() {
            self.wake_for(account);
        }
        may?;
        match limits.per_day {
            Some(most) => self.pay(&mut account.money, expected.cost, most)?,
            None => account.money.spend(expected.cost),
        }
        account.rates.requests.take(1.0);
        account.rates.tokens.take(tokens);
        // Before the next one has to wait.
        self.wake_for(account);
        Ok(Grant {
            key: key.clone(),
            reserved: expected,
            at,
            day: account.money.day,
        })
    }

    fn take_one(
        &self,
        key: &KeyId,
        limits: &KeyLimits,
        now: Instant,
        at: UnixMillis,
    ) -> Result<(), Refused> {
        let mut accounts = self.accounts();
        let account = self.account(&mut accounts, key, limits, (now, at));
        let may = account.may_take(None, now);
        if may.is_ok() {
            account.rates.requests.take(1.0);
        }
        self.wake_for(account);
        may
    }

    fn wake_for(&self, account: &Account) {
        if let Some(fleet) = self.fleet.as_ref().filter(|_| account.rates.runs_low()) {
            fleet.wake();
        }
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
            Lack::Grant => Refused::Ask(Short::Money),
        })
    }

    /// What the request took in the end. Over midnight the new day pays.
    pub(crate) fn settle(&self, grant: &Grant, taken: Taking, at: UnixMillis) {
        if let Some(account) = self.accounts().get_mut(&grant.key) {
            let reserved = grant.reserved;
            let unused = f64::from(reserved.tokens.0) - f64::from(taken.tokens.0);
            let ago = Duration::from_millis(at.since(grant.at).0);
            account.rates.tokens.settle(unused, ago);
            account.money.turn(at.0 / DAY_MS);
            let today = grant.day == account.money.day;
            let reserved = if today { reserved.cost } else { NanoUsd::ZERO };
            account.money.settle(reserved, taken.cost);
        }
    }

    /// What keys ask of the fleet.
    fn asks(&self, round: Round, at: UnixMillis) -> Vec<(KeyId, Ask)> {
        let mut accounts = self.accounts();
        let asks = accounts.iter_mut().flat_map(|(key, account)| {
            account.money.turn(at.0 / DAY_MS);
            let money = account.money.ask(round).map(Ask::Money);
            let rates = account.rates.ask(round).map(Ask::Rates);
            let asks = money.into_iter().chain(rates);
            asks.map(|ask| (key.clone(), ask)).collect::<Vec<_>>()
        });
        asks.collect()
    }

    /// It came to nothing; or, where that is not certain, perhaps it did not.
    fn failed(&self, key: &KeyId, ask: &Ask, certain: bool) {
        match ask {
            Ask::Money(ask) => self.of_day(key, ask, |money| money.failed(ask, certain)),
            Ask::Rates(_) => self.with(key, |account| account.rates.cannot_ask()),
        }
    }

    fn of_day(&self, key: &KeyId, ask: &money::Ask, change: impl FnOnce(&mut Money)) {
        self.with(key, |account| {
            if account.money.day == ask.day {
                change(&mut account.money);
            }
        });
    }

    fn with(&self, key: &KeyId, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.accounts().get_mut(key) {
            change(account);
        }
    }
}

#[cfg(test)]
mod tests;
