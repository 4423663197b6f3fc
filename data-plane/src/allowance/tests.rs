//! Rates and money of keys.

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

    fn ask(&self, ms: u64, expected: Taking) -> Result<Grant, Refused> {
        let now = self.start + Duration::from_millis(ms);
        let key = KeyId::new("k");
        self.all
            .take(&key, &self.limits, expected, now, UnixMillis(AT.0 + ms))
    }
}

#[test]
fn a_bucket_gives_a_minutes_worth_and_then_what_flows_in() {
    let desk = Desk::new(limits(2, 1_000_000, 1_000));
    assert!(desk.ask(0, taking(1, 0)).is_ok() && desk.ask(0, taking(1, 0)).is_ok());
    assert_eq!(
        desk.ask(0, taking(1, 0)).err(),
        Some(Refused::Short(Short::Requests(Duration::from_secs(30))))
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
        Some(Refused::Short(Short::Tokens(Duration::from_secs(18))))
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
    assert_eq!(
        desk.ask(0, taking(1, 1)).err(),
        Some(Refused::Short(Short::Money))
    );
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

#[test]
fn what_costs_nothing_takes_a_request_and_no_more() {
    let desk = Desk::new(limits(3, 10, 100));
    let grant = desk.ask(0, taking(10, 100)).unwrap();
    // It took more than was thought: money and tokens are owed.
    desk.all.settle(&grant, taking(40, 150), AT);
    let key = KeyId::new("k");
    let count = || desk.all.take_one(&key, &desk.limits, desk.start, AT);
    assert_eq!((count(), count()), (Ok(()), Ok(())));
    let short = count().unwrap_err();
    assert!(matches!(short, Refused::Short(Short::Requests(_))));
}
