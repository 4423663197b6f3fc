//! A key's money of one day, shared between proxies by slices.
//!
//! Owns: how much of the day's money this proxy was granted and has spent, and how much
//! more it should be granted, given what all proxies were. A slice is a sixteenth of what
//! is left, so that the last money of a day is not cut off in other proxies' slices, and
//! what nobody uses here goes back. Pure: the sum over all proxies is passed in.

use spillway_routing::unit::NanoUsd;

/// Since 1970 (UTC).
pub(super) type Day = u64;

/// Of what is left of a day's money.
const SLICE_OF_LEFT: i128 = 16;
/// Slices get no smaller than this part of the whole.
const SLICE_OF_ALL: i128 = 200;
/// What a proxy may spend in a day beyond its grants where it cannot ask for more: this
/// part of the whole.
const OVERDRAFT_OF_ALL: i128 = 50;
/// Tidy rounds without a request after which everything goes back.
const IDLE_ROUNDS: u32 = 12;

/// What is known of the money that other proxies left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Supply {
    #[default]
    Open,
    /// All was granted when last asked.
    Exhausted,
    /// Nobody could be asked.
    Away,
}

/// Why proxies ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Somebody waits, or will before long.
    Wanted,
    /// Now and then: what is not used goes back.
    Tidy,
    /// Before the end: everything goes back.
    Last,
}

/// Why money cannot be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// There is no more today.
    Money,
    /// There may be more where the fleet's is kept.
    Grant,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Money {
    pub(super) day: Day,
    /// Of the whole fleet, when last looked at.
    limit: NanoUsd,
    granted: NanoUsd,
    /// Settled and reserved.
    spent: NanoUsd,
    /// The dearest request that waits for a grant.
    wanted: NanoUsd,
    /// As it was with the last grant.
    slice: NanoUsd,
    /// Spent beyond grants, and booked since.
    overdrawn: NanoUsd,
    supply: Supply,
    /// Tidy rounds since the last request.
    unused: u32,
}

/// What one proxy does to the fleet's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) day: Day,
    limit: NanoUsd,
    change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It is no longer counted here, whatever comes of the ask.
    GiveBack(NanoUsd),
    Take {
        /// Granted and not spent; negative where more was spent than granted.
        held: i128,
        wanted: NanoUsd,
        /// Nobody is there to spend more than is booked.
        idle: bool,
    },
}

/// The answer to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// What all proxies were granted together, with this one's.
    pub(super) total: NanoUsd,
    change: i128,
    slice: NanoUsd,
}

impl Money {
    pub(super) fn new(day: Day) -> Self {
        Self {
            day,
            limit: NanoUsd::ZERO,
            granted: NanoUsd::ZERO,
            spent: NanoUsd::ZERO,
            wanted: NanoUsd::ZERO,
            slice: NanoUsd::ZERO,
            overdrawn: NanoUsd::ZERO,
            supply: Supply::Open,
            unused: 0,
        }
    }

    /// A new day has new money.
    pub(super) fn turn(&mut self, day: Day) {
        if day > self.day {
            *self = Self::new(day);
        }
    }

    /// Spends without a limit, so that one that comes later counts it.
    pub(super) fn spend(&mut self, cost: NanoUsd) {
        self.spent = self.spent.saturating_add(cost);
    }

    /// Spends of the whole limit: nobody else spends.
    pub(super) fn spend_alone(&mut self, cost: NanoUsd, limit: NanoUsd) -> Result<(), Lack> {
        if self.spent.saturating_add(cost) > limit {
            return Err(Lack::Money);
        }
        self.spend(cost);
        Ok(())
    }

    /// Spends of what was granted, and a little beyond where nobody can be asked.
    pub(super) fn spend_granted(&mut self, cost: NanoUsd, limit: NanoUsd) -> Result<(), Lack> {
        if limit != self.limit {
            (self.limit, self.supply) = (limit, Supply::Open);
        }
        self.unused = 0;
        let most = self.granted.saturating_add(self.overdraft());
        if self.spent.saturating_add(cost) <= most {
            self.spend(cost);
            return Ok(());
        }
        if self.supply == Supply::Exhausted || cost > limit {
            return Err(Lack::Money);
        }
        self.wanted = self.wanted.max(cost);
        Err(Lack::Grant)
    }

    fn overdraft(&self) -> NanoUsd {
        match self.supply {
            Supply::Away => {
                let most = nano(i128::from(self.limit.0) / OVERDRAFT_OF_ALL);
                most.saturating_sub(self.overdrawn)
            }
            Supply::Open | Supply::Exhausted => NanoUsd::ZERO,
        }
    }

    /// What was reserved is paid, at its price in the end.
    pub(super) fn settle(&mut self, reserved: NanoUsd, cost: NanoUsd) {
        self.spent = self.spent.saturating_sub(reserved).saturating_add(cost);
    }

    fn held(&self) -> i128 {
        i128::from(self.granted.0) - i128::from(self.spent.0)
    }

    fn is_low(&self) -> bool {
        self.held() < i128::from(self.wanted.0) + i128::from(self.slice.0) / 2
    }

    /// Whether to ask for more now rather than with the next tidy round.
    pub(super) fn runs_low(&self) -> bool {
        self.supply != Supply::Exhausted && self.is_low()
    }

    /// This proxy's part in a round; `None` where it has none. What goes back is spent by
    /// nobody here from now on.
    pub(super) fn ask(&mut self, round: Round) -> Option<Ask> {
        let unlimited = self.limit == NanoUsd::ZERO && self.granted == NanoUsd::ZERO;
        if unlimited {
            return None;
        }
        if round == Round::Tidy {
            self.unused = self.unused.saturating_add(1);
        }
        let idle = round == Round::Last || self.unused >= IDLE_ROUNDS;
        let kept = i128::from(self.slice.0) + i128::from(self.wanted.0);
        let surplus = match round {
            _ if idle => self.held(),
            Round::Tidy if self.held() > kept + i128::from(self.slice.0) => self.held() - kept,
            _ => 0,
        };
        let asks = if idle {
            self.held() < 0
        } else {
            self.is_low() && (round == Round::Tidy || self.runs_low())
        };
        let change = if surplus > 0 {
            let surplus = nano(surplus);
            self.granted = self.granted.saturating_sub(surplus);
            Change::GiveBack(surplus)
        } else if asks {
            Change::Take {
                held: self.held(),
                wanted: std::mem::take(&mut self.wanted),
                idle,
            }
        } else {
            return None;
        };
        Some(Ask {
            day: self.day,
            limit: self.limit,
            change,
        })
    }

    /// What was asked was done.
    pub(super) fn take(&mut self, ask: &Ask, granted: &Granted) {
        if let Change::Take { held, .. } = ask.change {
            let sum = i128::from(self.granted.0) + granted.change;
            self.granted = nano(sum);
            self.overdrawn = self.overdrawn.saturating_add(nano(-held));
        }
        self.slice = granted.slice;
        self.supply = if granted.total >= self.limit {
            Supply::Exhausted
        } else {
            Supply::Open
        };
    }

    /// What was asked was not done; or, where that is not certain, perhaps it was: then
    /// what was to go back stays lost for the day, since another proxy may have it.
    pub(super) fn failed(&mut self, ask: &Ask, certain: bool) {
        if let (Change::GiveBack(surplus), true) = (ask.change, certain) {
            self.granted = self.granted.saturating_add(surplus);
        }
        self.cannot_ask();
    }

    pub(super) fn cannot_ask(&mut self) {
        if self.supply == Supply::Open {
            self.supply = Supply::Away;
        }
    }
}

impl Ask {
    /// What to grant, where all proxies together were granted `total`.
    pub(super) fn answer(&self, total: NanoUsd) -> Granted {
        let (limit, total) = (i128::from(self.limit.0), i128::from(total.0));
        let left = (limit - total).max(0);
        let slice = (left / SLICE_OF_LEFT).max(limit / SLICE_OF_ALL);
        let change = match self.change {
            Change::GiveBack(surplus) => -i128::from(surplus.0),
            Change::Take { held, wanted, idle } => {
                let target = i128::from(wanted.0) + if idle { 0 } else { slice };
                // What was spent beyond the grants is on the books, whatever is left.
                (target - held).min(left).max(-held).max(0)
            }
        };
        Granted {
            total: nano(total + change),
            change,
            slice: nano(slice),
        }
    }
}

impl Granted {
    pub(super) fn changes(&self) -> bool {
        self.change != 0
    }
}

fn nano(amount: i128) -> NanoUsd {
    NanoUsd(u64::try_from(amount.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: NanoUsd = NanoUsd(16_000);

    /// The fleet's money, as a store would keep it.
    #[derive(Default)]
    struct Treasury {
        total: NanoUsd,
    }

    impl Treasury {
        fn round(&mut self, money: &mut Money, round: Round) {
            if let Some(ask) = money.ask(round) {
                let granted = self.swaps(&ask);
                money.take(&ask, &granted);
            }
        }

        fn swaps(&mut self, ask: &Ask) -> Granted {
            let granted = ask.answer(self.total);
            self.total = granted.total;
            granted
        }
    }

    #[test]
    fn the_first_request_waits_for_a_grant_and_the_next_ones_do_not() {
        let (mut treasury, mut money) = (Treasury::default(), Money::new(1));
        assert_eq!(money.spend_granted(NanoUsd(100), LIMIT), Err(Lack::Grant));
        assert!(money.runs_low());
        treasury.round(&mut money, Round::Wanted);
        assert_eq!(treasury.total, NanoUsd(1_100), "what it wants and a slice");
        assert_eq!(money.spend_granted(NanoUsd(100), LIMIT), Ok(()));
        assert_eq!(money.spend_granted(NanoUsd(400), LIMIT), Ok(()));
        assert!(!money.runs_low());
        assert_eq!(money.spend_granted(NanoUsd(200), LIMIT), Ok(()));
        assert!(money.runs_low(), "before anybody has to wait");
    }

    #[test]
    fn what_is_not_used_goes_back() {
        let (mut treasury, mut money) = (Treasury::default(), Money::new(1));
        let _ = money.spend_granted(NanoUsd(100), LIMIT);
        treasury.round(&mut money, Round::Wanted);
        money.spend_granted(NanoUsd(100), LIMIT).unwrap();
        for _ in 1..IDLE_ROUNDS {
            treasury.round(&mut money, Round::Tidy);
            assert_eq!(treasury.total, NanoUsd(1_100));
        }
        treasury.round(&mut money, Round::Tidy);
        assert_eq!(treasury.total, NanoUsd(100), "no request for a minute");
        assert_eq!(money.ask(Round::Tidy), None);
    }

    #[test]
    fn what_is_on_its_way_back_is_not_spent() {
        let (mut treasury, mut money) = (Treasury::default(), Money::new(1));
        let _ = money.spend_granted(NanoUsd(1_000), LIMIT);
        treasury.round(&mut money, Round::Wanted);
        let ask = money.ask(Round::Last).unwrap();
        assert_eq!(money.spend_granted(NanoUsd(1), LIMIT), Err(Lack::Grant));
        money.failed(&ask, false);
        assert_eq!(money.granted, NanoUsd::ZERO, "another proxy may have it");
        let mut money = Money::new(1);
        let _ = money.spend_granted(NanoUsd(1_000), LIMIT);
        treasury.round(&mut money, Round::Wanted);
        let ask = money.ask(Round::Last).unwrap();
        money.failed(&ask, true);
        assert_eq!(money.spend_granted(NanoUsd(1_000), LIMIT), Ok(()));
    }

    #[test]
    fn a_request_that_never_fits_takes_nothing_from_the_others() {
        let (mut treasury, mut money) = (Treasury::default(), Money::new(1));
        let more = NanoUsd(LIMIT.0 + 1);
        assert_eq!(money.spend_granted(more, LIMIT), Err(Lack::Money));
        treasury.round(&mut money, Round::Tidy);
        assert_eq!(treasury.total, NanoUsd::ZERO);
    }

    #[test]
    fn where_nobody_can_be_asked_a_little_more_is_spent_and_then_booked() {
        let (mut treasury, mut money) = (Treasury::default(), Money::new(1));
        assert_eq!(money.spend_granted(NanoUsd(300), LIMIT), Err(Lack::Grant));
        money.cannot_ask();
        assert_eq!(money.spend_granted(NanoUsd(300), LIMIT), Ok(()));
        assert_eq!(money.spend_granted(NanoUsd(21), LIMIT), Err(Lack::Grant));
        treasury.round(&mut money, Round::Tidy);
        assert_eq!(money.held(), 1_000 + 300, "a slice, and what was wanted");
        // Once in a day, however often etcd is away.
        money.spend_granted(NanoUsd(1_300), LIMIT).unwrap();
        money.cannot_ask();
        assert_eq!(money.spend_granted(NanoUsd(20), LIMIT), Ok(()));
        assert_eq!(money.spend_granted(NanoUsd(1), LIMIT), Err(Lack::Grant));
    }

    #[test]
    fn a_limit_that_was_raised_is_asked_for_again() {
        let (mut treasury, mut money) = (Treasury { total: LIMIT }, Money::new(1));
        let _ = money.spend_granted(NanoUsd(10), LIMIT);
        treasury.round(&mut money, Round::Tidy);
        assert_eq!(money.spend_granted(NanoUsd(10), LIMIT), Err(Lack::Money));
        let more = NanoUsd(17_000);
        assert_eq!(money.spend_granted(NanoUsd(10), more), Err(Lack::Grant));
        treasury.round(&mut money, Round::Tidy);
        assert_eq!(money.spend_granted(NanoUsd(10), more), Ok(()));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Spend(u64),
        Settle(u64),
        Ask(Round),
        Answer,
        Lose,
    }

    fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
        let step = prop_oneof![
            4 => (1u64..3_000).prop_map(Step::Spend),
            2 => (0u64..=100).prop_map(Step::Settle),
            3 => Just(Step::Ask(Round::Wanted)),
            2 => Just(Step::Ask(Round::Tidy)),
            1 => Just(Step::Ask(Round::Last)),
            4 => Just(Step::Answer),
            1 => Just(Step::Lose),
        ];
        prop::collection::vec((0usize..3, step), 1..200)
    }

    proptest! {
        #[test]
        fn proxies_together_never_spend_more_than_the_limit(steps in steps()) {
            let mut treasury = Treasury::default();
            let mut proxies = [Money::new(1); 3];
            let mut open: [Vec<u64>; 3] = Default::default();
            let mut asked = [None; 3];
            for (at, step) in steps {
                match step {
                    Step::Spend(cost) => {
                        if proxies[at].spend_granted(NanoUsd(cost), LIMIT).is_ok() {
                            open[at].push(cost);
                        }
                    }
                    Step::Settle(share) => {
                        if let Some(cost) = open[at].pop() {
                            proxies[at].settle(NanoUsd(cost), NanoUsd(cost * share / 100));
                        }
                    }
                    Step::Ask(round) => {
                        if asked[at].is_none() {
                            asked[at] = proxies[at].ask(round);
                        }
                    }
                    Step::Answer => {
                        if let Some(ask) = asked[at].take() {
                            let granted = treasury.swaps(&ask);
                            proxies[at].take(&ask, &granted);
                        }
                    }
                    Step::Lose => {
                        // Done, and nobody here knows.
                        if let Some(ask) = asked[at].take() {
                            treasury.swaps(&ask);
                            proxies[at].failed(&ask, false);
                        }
                    }
                }
                let spent: u64 = proxies.iter().map(|money| money.spent.0).sum();
                // Beyond it goes only what may where nobody can be asked.
                let beyond = 3 * LIMIT.0 / OVERDRAFT_OF_ALL as u64;
                prop_assert!(spent <= LIMIT.0 + beyond);
                let granted: u64 = proxies.iter().map(|money| money.granted.0).sum();
                prop_assert!(granted <= treasury.total.0);
            }
        }

        #[test]
        fn the_last_money_of_a_day_can_be_spent_by_whoever_wants_it(idle in 1usize..3) {
            let mut treasury = Treasury::default();
            let mut proxies = [Money::new(1); 3];
            for money in &mut proxies[..idle] {
                let _ = money.spend_granted(NanoUsd(1), LIMIT);
                treasury.round(money, Round::Wanted);
            }
            let mut spent = 0;
            for _ in 0..1_000 {
                if proxies[2].spend_granted(NanoUsd(50), LIMIT).is_ok() {
                    spent += 50;
                }
                for money in &mut proxies {
                    treasury.round(money, Round::Tidy);
                }
            }
            prop_assert_eq!(spent, LIMIT.0);
        }
    }
}
