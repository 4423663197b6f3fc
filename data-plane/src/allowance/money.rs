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
/// What a proxy may spend beyond its grants where it cannot ask for more: this part of the
/// whole.
const OVERDRAFT_OF_ALL: i128 = 50;

/// What is known of the money that other proxies left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Supply {
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
    /// Now and then: what was not used since the last such round goes back.
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
    /// Not granted to requests since the last grant.
    wanted: NanoUsd,
    /// As it was with the last grant.
    slice: NanoUsd,
    supply: Supply,
    /// Since the last tidy round.
    used: bool,
}

/// What one proxy asks of the fleet's money, or gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) day: Day,
    limit: NanoUsd,
    /// Granted and not spent; negative where more was spent than granted.
    held: i128,
    wanted: NanoUsd,
    /// Everything that is not spent goes back.
    idle: bool,
}

/// The answer to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    /// What all proxies were granted together, with this one's.
    pub(super) total: NanoUsd,
    /// This one's part of it; negative where it gave back.
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
            supply: Supply::Open,
            used: false,
        }
    }

    /// A new day has new money.
    pub(super) fn turn(&mut self, day: Day) {
        if day > self.day {
            *self = Self::new(day);
        }
    }

    /// Spends of the whole limit: nobody else spends.
    pub(super) fn spend_alone(&mut self, cost: NanoUsd, limit: NanoUsd) -> Result<(), Lack> {
        let spent = self.spent.saturating_add(cost);
        if spent > limit {
            return Err(Lack::Money);
        }
        self.spent = spent;
        Ok(())
    }

    /// Spends of what was granted, and a little beyond where nobody can be asked.
    pub(super) fn spend_granted(&mut self, cost: NanoUsd, limit: NanoUsd) -> Result<(), Lack> {
        if limit != self.limit {
            (self.limit, self.supply) = (limit, Supply::Open);
        }
        let overdraft = match self.supply {
            Supply::Away => nano(i128::from(limit.0) / OVERDRAFT_OF_ALL),
            Supply::Open | Supply::Exhausted => NanoUsd::ZERO,
        };
        let spent = self.spent.saturating_add(cost);
        self.used = true;
        if spent <= self.granted.saturating_add(overdraft) {
            self.spent = spent;
            return Ok(());
        }
        self.wanted = self.wanted.saturating_add(cost);
        match self.supply {
            Supply::Open if cost <= limit => Err(Lack::Grant),
            _ => Err(Lack::Money),
        }
    }

    /// What was reserved is paid, at its price in the end.
    pub(super) fn settle(&mut self, reserved: NanoUsd, cost: NanoUsd) {
        self.spent = self.spent.saturating_sub(reserved).saturating_add(cost);
    }

    fn held(&self) -> i128 {
        i128::from(self.granted.0) - i128::from(self.spent.0)
    }

    /// Whether to ask for more now rather than with the next tidy round.
    pub(super) fn runs_low(&self) -> bool {
        let enough = i128::from(self.wanted.0) + i128::from(self.slice.0) / 2;
        self.supply == Supply::Open && self.held() < enough
    }

    /// This proxy's part in a round; `None` where it has none.
    pub(super) fn ask(&mut self, round: Round) -> Option<Ask> {
        let idle = match round {
            Round::Wanted => false,
            Round::Tidy => !std::mem::take(&mut self.used),
            Round::Last => true,
        };
        let wanted = self.wanted;
        let takes_part = match round {
            Round::Wanted => self.runs_low(),
            Round::Tidy | Round::Last => !idle || self.held() != 0 || wanted > NanoUsd::ZERO,
        };
        if !takes_part || self.limit == NanoUsd::ZERO {
            return None;
        }
        self.wanted = NanoUsd::ZERO;
        Some(Ask {
            day: self.day,
            limit: self.limit,
            held: self.held(),
            wanted,
            idle,
        })
    }

    pub(super) fn take(&mut self, granted: &Granted) {
        let sum = i128::from(self.granted.0) + granted.change;
        self.granted = nano(sum);
        self.slice = granted.slice;
        self.supply = if granted.total >= self.limit {
            Supply::Exhausted
        } else {
            Supply::Open
        };
    }

    pub(super) fn cannot_ask(&mut self) {
        self.supply = Supply::Away;
    }
}

impl Ask {
    /// What to grant, where all proxies together were granted `total`.
    pub(super) fn answer(&self, total: NanoUsd) -> Granted {
        let (limit, total) = (i128::from(self.limit.0), i128::from(total.0));
        let left = (limit - total).max(0);
        let slice = (left / SLICE_OF_LEFT).max(limit / SLICE_OF_ALL);
        let wanted = i128::from(self.wanted.0);
        let target = if self.idle { wanted } else { wanted + slice };
        let low = self.held < wanted + if self.idle { 0 } else { slice / 2 };
        let much = self.held > target + if self.idle { 0 } else { slice };
        let change = if low {
            // What was spent beyond the grants is on the books, whatever is left.
            (target - self.held).min(left).max(-self.held)
        } else if much {
            target - self.held
        } else {
            0
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
                let granted = ask.answer(self.total);
                self.total = granted.total;
                money.take(&granted);
            }
        }
    }

    #[test]
    fn the_first_request_waits_for_a_grant_and_the_next_ones_do_not() {
        let (mut treasury, mut money) = (Treasury::default(), Money::new(1));
        assert_eq!(money.spend_granted(NanoUsd(100), LIMIT), Err(Lack::Grant));
        assert!(money.runs_low());
        treasury.round(&mut money, Round::Tidy);
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
        treasury.round(&mut money, Round::Tidy);
        money.spend_granted(NanoUsd(100), LIMIT).unwrap();
        treasury.round(&mut money, Round::Tidy);
        assert_eq!(treasury.total, NanoUsd(1_100));
        treasury.round(&mut money, Round::Tidy);
        assert_eq!(treasury.total, NanoUsd(100), "no request for a whole round");
        assert_eq!(money.ask(Round::Tidy), None);
    }

    #[test]
    fn where_nobody_can_be_asked_a_little_more_is_spent_and_then_booked() {
        let (mut treasury, mut money) = (Treasury::default(), Money::new(1));
        assert_eq!(money.spend_granted(NanoUsd(300), LIMIT), Err(Lack::Grant));
        money.cannot_ask();
        assert_eq!(money.spend_granted(NanoUsd(300), LIMIT), Ok(()));
        assert_eq!(money.spend_granted(NanoUsd(21), LIMIT), Err(Lack::Money));
        treasury.total = LIMIT;
        treasury.round(&mut money, Round::Tidy);
        assert_eq!(treasury.total, NanoUsd(16_300));
        assert_eq!(money.spend_granted(NanoUsd(1), LIMIT), Err(Lack::Money));
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
        Round,
        Tidy,
        Leave,
    }

    fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
        let step = prop_oneof![
            4 => (1u64..3_000).prop_map(Step::Spend),
            2 => (0u64..=100).prop_map(Step::Settle),
            3 => Just(Step::Round),
            1 => Just(Step::Tidy),
            1 => Just(Step::Leave),
        ];
        prop::collection::vec((0usize..3, step), 1..200)
    }

    proptest! {
        #[test]
        fn proxies_together_never_spend_more_than_the_limit(steps in steps()) {
            let mut treasury = Treasury::default();
            let mut proxies = [Money::new(1); 3];
            let mut open: [Vec<u64>; 3] = Default::default();
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
                    Step::Round => treasury.round(&mut proxies[at], Round::Wanted),
                    Step::Tidy => treasury.round(&mut proxies[at], Round::Tidy),
                    Step::Leave => treasury.round(&mut proxies[at], Round::Last),
                }
                let spent: u64 = proxies.iter().map(|money| money.spent.0).sum();
                prop_assert!(spent <= LIMIT.0);
                let granted: u64 = proxies.iter().map(|money| money.granted.0).sum();
                prop_assert_eq!(granted, treasury.total.0);
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
