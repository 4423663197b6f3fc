//! Proxies that share a minute, with the store between them.

use super::*;
use proptest::prelude::*;

const AT: UnixMillis = UnixMillis(1_800_000_000_000);

/// Proxies that share a key, and the store between them.
struct Fleet {
    text: Option<String>,
    proxies: Vec<Rates<Flow>>,
    start: Instant,
    ms: u64,
    most: Rates<u32>,
}

impl Fleet {
    fn new(proxies: usize, requests: u32, tokens: u32) -> Self {
        let start = Instant::now();
        let flows = Rates {
            requests: Flow::new(requests, true, start),
            tokens: Flow::new(tokens, true, start),
        };
        Self {
            text: None,
            proxies: vec![flows; proxies],
            start,
            ms: 0,
            most: Rates { requests, tokens },
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.ms)
    }

    fn round(&mut self, proxy: usize, round: Round) {
        let (now, at) = (self.now(), UnixMillis(AT.0 + self.ms));
        let Some(ask) = self.proxies[proxy].ask(round) else {
            return;
        };
        let (text, got) = ask.answer(self.text.as_deref(), at);
        self.text = text.or(self.text.take());
        self.proxies[proxy].got(&got, now);
    }

    /// One request of so many tokens, with a round where it needs one.
    fn take(&mut self, proxy: usize, tokens: f64) -> Result<(), Dry> {
        let (now, most) = (self.now(), self.most);
        let mut last = Ok(());
        for _ in 0..2 {
            let flows = &mut self.proxies[proxy];
            flows.requests.turn(most.requests, now);
            flows.tokens.turn(most.tokens, now);
            let requests = flows.requests.gives(1.0, now);
            last = flows.tokens.gives(tokens, now).and(requests);
            if last.is_ok() {
                flows.requests.take(1.0);
                flows.tokens.take(tokens);
                return Ok(());
            }
            self.round(proxy, Round::Wanted);
        }
        last
    }

    fn served(&mut self, proxy: usize, tokens: f64) -> usize {
        (0..1_000)
            .take_while(|_| self.take(proxy, tokens).is_ok())
            .count()
    }
}

#[test]
fn all_proxies_together_have_one_minutes_worth() {
    let mut fleet = Fleet::new(3, 60, u32::MAX);
    let served: usize = (0..300).filter(|i| fleet.take(i % 3, 1.0).is_ok()).count();
    // What other proxies hold of their slices is not lost, but theirs.
    assert!((48..=60).contains(&served), "{served}");
    fleet.ms = 30_000;
    let served = fleet.served(0, 1.0);
    assert!((27..=31).contains(&served), "{served}");
}

#[test]
fn one_proxy_may_have_it_all_also_of_little() {
    let mut fleet = Fleet::new(3, 3, u32::MAX);
    assert_eq!(fleet.served(1, 1.0), 3);
    let Err(Dry::For(wait)) = fleet.take(2, 1.0) else {
        panic!("nothing is left");
    };
    assert!(wait <= Duration::from_secs(20), "{wait:?}");
}

#[test]
fn a_large_request_that_has_to_wait_holds_up_no_small_one() {
    let mut fleet = Fleet::new(2, 100, 1_000);
    assert!(fleet.take(0, 600.0).is_ok());
    let Err(Dry::For(wait)) = fleet.take(1, 900.0) else {
        panic!("so much is not there");
    };
    assert!((25..=35).contains(&wait.as_secs()), "{wait:?}");
    assert!(fleet.take(1, 100.0).is_ok());
    assert!(matches!(fleet.take(1, 900.0), Err(Dry::For(_))));
}

#[test]
fn more_than_a_minutes_worth_needs_a_full_bucket_and_is_owed_by_all() {
    let mut fleet = Fleet::new(2, 100, 1_000);
    assert!(fleet.take(0, 3_000.0).is_ok());
    fleet.ms = 60_000;
    assert!(fleet.take(1, 1.0).is_err());
    fleet.ms = 190_000;
    assert!(fleet.take(1, 1_000.0).is_ok());
}

#[test]
fn what_was_not_needed_can_be_taken_again_and_what_was_taken_beyond_is_booked() {
    let mut fleet = Fleet::new(2, 100, 1_000);
    assert!(fleet.take(0, 900.0).is_ok());
    fleet.proxies[0].tokens.settle(800.0, Duration::ZERO);
    assert!(fleet.take(0, 700.0).is_ok());
    fleet.proxies[0].tokens.settle(-900.0, Duration::ZERO);
    fleet.round(0, Round::Last);
    assert!(fleet.take(1, 100.0).is_err(), "{:?}", fleet.text);
}

#[test]
fn where_nobody_can_be_asked_a_proxy_counts_alone() {
    let mut fleet = Fleet::new(1, 4, u32::MAX);
    assert!(fleet.take(0, 1.0).is_ok());
    fleet.proxies[0].cannot_ask();
    let now = fleet.now();
    let requests = &mut fleet.proxies[0].requests;
    for _ in 0..3 {
        assert!(requests.gives(1.0, now).is_ok());
        requests.take(1.0);
    }
    assert!(matches!(requests.gives(1.0, now), Err(Dry::For(_))));
    assert!(requests.runs_low(), "and asks again");
}

#[test]
fn what_was_taken_while_nobody_could_be_asked_is_owed_no_longer_than_it_takes_to_flow_in() {
    let mut fleet = Fleet::new(1, 600, u32::MAX);
    assert!(fleet.take(0, 1.0).is_ok());
    fleet.proxies[0].cannot_ask();
    // Half of the limit for ten minutes.
    for second in 0..600 {
        fleet.ms = second * 1_000;
        let (now, flows) = (fleet.now(), &mut fleet.proxies[0]);
        flows.requests.turn(600, now);
        for _ in 0..5 {
            assert!(flows.requests.gives(1.0, now).is_ok());
            flows.requests.take(1.0);
        }
    }
    fleet.round(0, Round::Tidy);
    fleet.ms += 1_000;
    assert!(fleet.take(0, 1.0).is_ok(), "{:?}", fleet.proxies[0]);
}

#[test]
fn what_is_given_back_late_has_flowed_in_already() {
    let mut fleet = Fleet::new(1, 100, 1_000);
    for minute in 0..10 {
        fleet.ms = minute * 60_000;
        assert!(fleet.take(0, 900.0).is_ok());
    }
    for minute in 0..10 {
        let ago = Duration::from_secs(minute * 60);
        fleet.proxies[0].tokens.settle(890.0, ago);
    }
    let served = fleet.served(0, 10.0);
    assert!((90..=100).contains(&served), "{served}");
}

#[test]
fn what_one_proxy_does_not_need_another_gets() {
    let mut fleet = Fleet::new(2, 100, 1_000);
    assert!(fleet.take(0, 1_000.0).is_ok());
    fleet.proxies[0].tokens.settle(990.0, Duration::ZERO);
    assert!(fleet.take(1, 500.0).is_err());
    // Its last request was as large as a slice gets; a small one makes it let go.
    assert!(fleet.take(0, 10.0).is_ok());
    fleet.round(0, Round::Tidy);
    fleet.ms += 5_000;
    assert!(fleet.take(1, 500.0).is_ok(), "{:?}", fleet.text);
}

#[test]
fn who_stays_within_its_limit_seldom_waits() {
    for per_minute in [10, 32, 600] {
        let mut fleet = Fleet::new(1, per_minute, u32::MAX);
        let (mut waited, every) = (0, 120_000 / u64::from(per_minute));
        for request in 0..100 {
            fleet.ms = request * every;
            let (now, flows) = (fleet.now(), &mut fleet.proxies[0]);
            flows.requests.turn(per_minute, now);
            let at_once = flows.requests.gives(1.0, now).is_ok();
            waited += u32::from(!at_once);
            assert!(fleet.take(0, 1.0).is_ok());
            if fleet.proxies[0].runs_low() {
                fleet.round(0, Round::Wanted);
            }
        }
        assert!(waited <= 2, "{waited} at {per_minute}");
    }
}

#[test]
fn a_clock_that_is_ahead_neither_fills_nor_stops_a_bucket() {
    let most = Rates {
        requests: 60,
        tokens: 60,
    };
    let text = |at: u64| format!("{at} 0 0");
    let kept = |at: u64| Kept::read(Some(&text(at)), most, AT);
    assert_eq!(kept(AT.0 + 1_000).levels.requests, 0.0);
    assert_eq!(kept(AT.0 + 1_000).at, UnixMillis(AT.0 + 1_000));
    assert_eq!(kept(AT.0 + 3_600_000).at, AT);
    assert_eq!(kept(AT.0 - 1_000).levels.requests, 1.0);
    for odd in ["", "x", "1 2", "1 NaN 0", "1 0 inf"] {
        assert_eq!(
            Kept::read(Some(odd), most, AT).levels.requests,
            60.0,
            "{odd}"
        );
    }
}

proptest! {
    #[test]
    fn no_minute_has_more_than_its_worth(
        steps in prop::collection::vec((0usize..3, 0u64..400, 1u32..300), 1..200),
    ) {
        let mut fleet = Fleet::new(3, u32::MAX, 1_000);
        let mut taken = 0.0;
        for (proxy, later, tokens) in steps {
            fleet.ms += later;
            if fleet.take(proxy, f64::from(tokens)).is_ok() {
                taken += f64::from(tokens);
            }
            let flowed = 1_000.0 * (1.0 + fleet.ms as f64 / 60_000.0);
            prop_assert!(taken <= flowed + 0.1, "{taken} of {flowed}");
        }
    }
}
