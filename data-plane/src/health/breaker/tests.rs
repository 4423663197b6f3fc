//! The breaker under made-up time.

use super::*;
use proptest::prelude::*;

const EJECTION: Ejection = Ejection {
    first: Duration::from_secs(2),
    max: Duration::from_secs(300),
};

struct Lane {
    breaker: Breaker,
    now: Instant,
}

impl Lane {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            breaker: Breaker::new(now),
            now,
        }
    }

    fn see(&mut self, event: Event) -> &mut Self {
        self.breaker.record(event, false, EJECTION, self.now, 0);
        self
    }

    fn probe(&mut self, event: Event) -> &mut Self {
        assert_eq!(self.gate(), Gate::Probing);
        self.breaker.start_probe();
        assert_eq!(self.gate(), Gate::Shut, "one probe at a time");
        self.breaker.record(event, true, EJECTION, self.now, 0);
        self
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }

    fn gate(&self) -> Gate {
        self.breaker.gate(self.now)
    }
}

#[test]
fn five_failures_in_a_row_open_it_and_a_good_probe_closes_it() {
    let mut lane = Lane::new();
    for _ in 0..4 {
        lane.see(Event::Failed);
    }
    assert_eq!(lane.gate(), Gate::Open);
    lane.see(Event::Failed);
    assert_eq!(lane.gate(), Gate::Shut);
    lane.wait(2).probe(Event::Answered);
    assert_eq!(lane.gate(), Gate::Open);
}

#[test]
fn a_rate_limit_does_not_count_for_failures_in_a_row() {
    let mut lane = Lane::new();
    let now = |lane: &Lane| lane.breaker.consecutive;
    lane.see(Event::Limited { retry_after: None });
    assert_eq!(now(&lane), 0);
    assert_eq!(lane.gate(), Gate::Shut);
    lane.see(Event::Overloaded { retry_after: None });
    assert_eq!(now(&lane), 1);
}

#[test]
fn cool_downs_double_while_it_stays_overloaded() {
    for event in [
        Event::Limited { retry_after: None },
        Event::Overloaded { retry_after: None },
    ] {
        let mut lane = Lane::new();
        lane.see(event).see(event);
        for seconds in [1, 2, 4] {
            lane.now += Duration::from_millis(seconds * 1_000 - 1);
            assert_eq!(lane.gate(), Gate::Shut, "{seconds}");
            lane.now += Duration::from_millis(1);
            lane.probe(event);
        }
        lane.wait(60).probe(Event::Answered).see(event);
        assert_eq!(lane.wait(1).gate(), Gate::Probing, "a success forgives");
    }
}

#[test]
fn a_rate_limit_never_rests_longer_than_its_maximum() {
    let mut lane = Lane::new();
    lane.see(Event::Limited { retry_after: None });
    for _ in 0..9 {
        lane.wait(COOL_DOWN_DEFAULT_MAX.as_secs());
        lane.probe(Event::Limited { retry_after: None });
    }
    lane.wait(COOL_DOWN_DEFAULT_MAX.as_secs() - 1);
    assert_eq!(lane.gate(), Gate::Shut);
    assert_eq!(lane.wait(1).gate(), Gate::Probing);
}

#[test]
fn an_ejected_lane_that_is_overloaded_is_ejected_again() {
    let mut lane = Lane::new();
    for _ in 0..5 {
        lane.see(Event::Failed);
    }
    lane.wait(2).probe(Event::Limited { retry_after: None });
    assert_eq!(lane.wait(3).gate(), Gate::Shut);
    assert_eq!(lane.wait(1).gate(), Gate::Probing);
}

#[test]
fn one_refusal_among_many_answers_is_no_reason_to_rest() {
    let mut lane = Lane::new();
    for _ in 0..20 {
        lane.see(Event::Answered);
    }
    lane.see(Event::Limited { retry_after: None });
    lane.see(Event::Overloaded { retry_after: None });
    assert_eq!(lane.gate(), Gate::Open);
    lane.see(Event::Limited { retry_after: None });
    assert_eq!(lane.gate(), Gate::Shut);
    // Unless the lane says how long.
    lane.wait(1).probe(Event::Answered);
    for _ in 0..20 {
        lane.see(Event::Answered);
    }
    lane.see(Event::Limited {
        retry_after: Some(Duration::from_secs(3)),
    });
    assert_eq!(lane.gate(), Gate::Shut);
}

#[test]
fn only_a_lane_that_rests_is_waited_for() {
    let mut lane = Lane::new();
    let rest = |lane: &Lane| lane.breaker.rest(lane.now).map(|rest| rest.as_millis());
    assert_eq!(rest(&lane), None);
    lane.see(Event::Limited { retry_after: None });
    assert_eq!(rest(&lane), Some(1_000));
    lane.wait(1).breaker.start_probe();
    assert_eq!(rest(&lane), Some(20));
    let now = lane.now;
    lane.breaker.record(Event::Failed, true, EJECTION, now, 0);
    assert_eq!((rest(&lane), lane.gate()), (None, Gate::Shut));
    lane.wait(2).probe(Event::Answered);
    lane.see(Event::Misconfigured);
    assert_eq!(rest(&lane), None);
}

#[test]
fn a_retry_after_is_capped() {
    let mut lane = Lane::new();
    lane.see(Event::Overloaded {
        retry_after: Some(Duration::from_secs(1_000_000_000)),
    });
    assert_eq!(lane.wait(59).gate(), Gate::Shut);
    assert_eq!(lane.wait(1).gate(), Gate::Probing);
}

#[test]
fn ejections_grow_while_it_flaps_and_are_forgiven_later() {
    let mut lane = Lane::new();
    for _ in 0..5 {
        lane.see(Event::Failed);
    }
    lane.wait(2).probe(Event::Failed);
    assert_eq!(
        lane.wait(3).gate(),
        Gate::Shut,
        "the second ejection lasts four seconds"
    );
    lane.wait(1).probe(Event::Failed);
    assert_eq!(lane.wait(7).gate(), Gate::Shut);
    lane.wait(1).probe(Event::Answered);
    lane.wait(600);
    for _ in 0..5 {
        lane.see(Event::Failed);
    }
    assert_eq!(
        lane.wait(2).gate(),
        Gate::Probing,
        "back to the first length"
    );
}

#[test]
fn a_lane_that_is_needed_is_looked_at_every_five_seconds() {
    let mut lane = Lane::new();
    for _ in 0..5 {
        lane.see(Event::Failed);
    }
    for seconds in [2, 4, 8] {
        lane.wait(seconds).probe(Event::Failed);
    }
    let wake = |lane: &mut Lane| {
        let now = lane.now;
        lane.breaker.wake(now)
    };
    assert!(!wake(lane.wait(4)) && lane.gate() == Gate::Shut);
    assert!(wake(lane.wait(1)) && lane.gate() == Gate::Probing);
    assert!(!wake(&mut lane), "it is awake");
    lane.probe(Event::Answered);
    assert_eq!(lane.gate(), Gate::Open);
    for _ in 0..5 {
        lane.see(Event::Overloaded {
            retry_after: Some(Duration::from_secs(9)),
        });
    }
    assert!(!wake(lane.wait(8)), "it said how long");
    lane.wait(60).probe(Event::Answered);
    lane.see(Event::Misconfigured);
    assert!(!wake(lane.wait(9)), "nobody repaired it");
}

#[test]
fn a_client_that_leaves_frees_the_probe() {
    let mut lane = Lane::new();
    for _ in 0..5 {
        lane.see(Event::Failed);
    }
    lane.wait(2).breaker.start_probe();
    assert_eq!(lane.gate(), Gate::Shut);
    let now = lane.now;
    lane.breaker.release_probe(now);
    assert_eq!(lane.gate(), Gate::Probing);
}

#[test]
fn a_fault_of_configuration_is_out_for_ever_longer() {
    let mut lane = Lane::new();
    lane.see(Event::Misconfigured).see(Event::Misconfigured);
    for seconds in [10, 20, 40, 80, 160, 300, 300] {
        assert_eq!(lane.wait(seconds - 1).gate(), Gate::Shut);
        lane.wait(1).probe(Event::Misconfigured);
    }
    lane.wait(300).probe(Event::Answered);
    lane.see(Event::Misconfigured);
    assert_eq!(lane.wait(10).gate(), Gate::Probing);
}

proptest! {
    #[test]
    fn no_ejection_is_longer_than_the_longest(events in prop::collection::vec((0u8..6, 0u64..40), 1..200), dice: u64) {
        let mut lane = Lane::new();
        for (event, wait) in events {
            lane.wait(wait);
            let event = match event {
                0 => Event::Answered,
                1 => Event::Failed,
                2 => Event::Misconfigured,
                3 => Event::Limited { retry_after: None },
                4 => Event::Overloaded { retry_after: None },
                _ => Event::Overloaded { retry_after: Some(Duration::from_secs(wait)) },
            };
            let probe = lane.gate() == Gate::Probing;
            if probe {
                lane.breaker.start_probe();
            }
            lane.breaker.record(event, probe, EJECTION, lane.now, dice);
        }
        lane.wait(EJECTION.max.as_secs() + 1);
        prop_assert_ne!(lane.gate(), Gate::Shut);
    }
}
