//! Overflow lanes: kept for what spills, in time, within their money.

use super::*;
use crate::overflow::{Cause, Overflow};
use crate::prompt::Class;

const KEPT: &str = "p1:m1/standard";
const USUAL: &str = "p0:m2/standard";

fn overflow() -> Overflow {
    Overflow {
        lane: KEPT.into(),
        after: vec![Cause::Limited],
        in_flight: None,
        queued: None,
        cost: None,
        spend: None,
        classes: vec![],
        dearer: true,
        per_day: None,
    }
}

/// The cheapest lane is the usual one, the middle one the overflow lane.
fn spilling(change: impl FnOnce(&mut Overflow)) -> Table {
    let mut draft = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![])
        .draft()
        .clone();
    let mut overflow = overflow();
    change(&mut overflow);
    draft.routes[0].overflow = Some(overflow);
    Table::build(draft).unwrap()
}

/// What is decided while the lanes are so.
fn decided(table: &Table, states: &[(&str, LaneState)], class: Class) -> Result<Decision, Refusal> {
    let named: Vec<(LaneId, LaneState)> = states
        .iter()
        .map(|(lane, state)| (LaneId::new(lane), *state))
        .collect();
    let lanes = table.draft().lanes.iter().map(|lane| &lane.id);
    let conditions = Conditions::named(&named, lanes);
    let facts = Facts {
        class,
        ..facts(false, 1_000)
    };
    decide(table, &facts, &conditions, NOW, Draw(0))
}

fn plan(table: &Table, states: &[(&str, LaneState)]) -> Vec<String> {
    let decision = decided(table, states, Class::Interactive).unwrap();
    let steps = decision.plan.iter();
    steps.map(|step| step.lane.to_string()).collect()
}

fn cause(decision: &Decision) -> Option<Cause> {
    match decision.chosen()?.verdict {
        Verdict::Chosen(Why::Overflowed(cause)) => Some(cause),
        _ => None,
    }
}

fn busy(in_flight: u32, waiting: u32) -> LaneState {
    LaneState {
        in_flight,
        waiting,
        ..LaneState::default()
    }
}

fn out(gate: Gate) -> LaneState {
    LaneState {
        gate,
        ..LaneState::default()
    }
}

#[test]
fn the_lane_is_kept_and_comes_right_after_the_chosen_one() {
    let kept = spilling(|_| {});
    assert_eq!(plan(&kept, &[]), [USUAL, KEPT, "p0:m0/standard"]);
    let decision = decided(&kept, &[], Class::Interactive).unwrap();
    let until: Vec<u64> = decision.plan.iter().map(|step| step.give_up.0).collect();
    assert_eq!(until, [22_500, 30_000, 30_000], "it takes nobody's time");
    let late = spilling(|overflow| overflow.after = vec![Cause::TimedOut]);
    let decision = decided(&late, &[], Class::Interactive).unwrap();
    let until: Vec<u64> = decision.plan.iter().map(|step| step.give_up.0).collect();
    assert_eq!(until, [15_000, 30_000, 22_500], "its own part");
    let never = spilling(|overflow| overflow.after.clear());
    assert_eq!(plan(&never, &[]), [USUAL, "p0:m0/standard"]);
    let decision = decided(&never, &[], Class::Interactive).unwrap();
    assert_eq!(
        decision.trail[1].verdict,
        Verdict::Removed(Removal::KeptForOverflow)
    );
}

#[test]
fn each_trigger_spills_beyond_its_limit_and_not_at_it() {
    let usual = |state| [(USUAL, state)];
    let spent = |nano| LaneState {
        spent: NanoUsd(nano),
        ..LaneState::default()
    };
    // 1,000 tokens in and 100 out, at 0.1 dollars for a million.
    let cost = NanoUsd(110_000);
    type Change = fn(&mut Overflow);
    let cases: [(Change, LaneState, LaneState, Cause); 3] = [
        (
            |overflow| overflow.in_flight = Some(3),
            busy(3, 0),
            busy(4, 0),
            Cause::InFlight,
        ),
        (
            |overflow| overflow.queued = Some(3),
            busy(9, 3),
            busy(9, 4),
            Cause::Queued,
        ),
        (
            |overflow| overflow.spend = Some(NanoUsd(50)),
            spent(50),
            spent(51),
            Cause::Spend,
        ),
    ];
    for (change, at, beyond, expected) in cases {
        let table = spilling(change);
        let stays = decided(&table, &usual(at), Class::Interactive).unwrap();
        assert_eq!((cause(&stays), stays.plan[0].lane.as_str()), (None, USUAL));
        let spills = decided(&table, &usual(beyond), Class::Interactive).unwrap();
        assert_eq!(cause(&spills), Some(expected));
        let lanes: Vec<&str> = spills.plan.iter().map(|s| s.lane.as_str()).collect();
        assert_eq!(lanes, [KEPT, USUAL, "p0:m0/standard"]);
    }
    let dear = |limit| {
        let table = spilling(|overflow| overflow.cost = Some(limit));
        cause(&decided(&table, &[], Class::Interactive).unwrap())
    };
    assert_eq!(dear(cost), None);
    assert_eq!(
        dear(NanoUsd(cost.0 - 1)),
        Some(Cause::Cost),
        "expected cost"
    );
    let table = spilling(|overflow| overflow.classes = vec![Class::Background]);
    let by_class = |class| cause(&decided(&table, &[], class).unwrap());
    assert_eq!(by_class(Class::Interactive), None);
    assert_eq!(by_class(Class::Background), Some(Cause::Class));
}

#[test]
fn a_dearer_lane_takes_nothing_unless_it_may() {
    let table = spilling(|overflow| {
        overflow.dearer = false;
        overflow.in_flight = Some(0);
    });
    assert_eq!(
        plan(&table, &[(USUAL, busy(9, 0))]),
        [USUAL, "p0:m0/standard"]
    );
    // Where the usual lane is out, the dearest lane is meant, and the kept one is cheaper.
    let dear = [(USUAL, out(Gate::Shut)), (KEPT, busy(0, 0))];
    assert_eq!(
        plan(&table, &[dear[0], ("p0:m0/standard", busy(1, 0))])[0],
        KEPT
    );
}

#[test]
fn where_all_others_are_out_it_takes_the_request() {
    let table = spilling(|overflow| overflow.after.clear());
    let gone = [
        (USUAL, out(Gate::Shut)),
        ("p0:m0/standard", out(Gate::Full)),
    ];
    let decision = decided(&table, &gone, Class::Interactive).unwrap();
    assert_eq!(cause(&decision), Some(Cause::Out));
    assert_eq!(decision.plan.len(), 1);
    let all = [gone[0], gone[1], (KEPT, out(Gate::Shut))];
    assert!(matches!(
        decided(&table, &all, Class::Interactive),
        Err(Refusal::AllShut(_))
    ));
}

#[test]
fn its_money_for_the_day_is_a_cap() {
    // 1,000 tokens in and 100 out, at a dollar for a million.
    let cost = 1_100_000;
    let spent = |nano| {
        [(
            KEPT,
            LaneState {
                overflowed: NanoUsd(nano),
                ..LaneState::default()
            },
        )]
    };
    let table = spilling(|overflow| {
        overflow.per_day = Some(NanoUsd(cost * 10));
        overflow.classes = vec![Class::Interactive];
    });
    let at = |nano| decided(&table, &spent(nano), Class::Interactive).unwrap();
    assert_eq!(cause(&at(cost * 9)), Some(Cause::Class));
    let over = at(cost * 9 + 1);
    assert_eq!(over.plan[0].lane.as_str(), USUAL);
    assert!(matches!(
        over.trail[1].verdict,
        Verdict::Removed(Removal::OverflowSpent { .. })
    ));
}

#[test]
fn a_rule_may_still_pin_it() {
    let mut draft = spilling(|_| {}).draft().clone();
    draft.rules.push(Rule {
        id: "pin".into(),
        when: vec![],
        then: Action::Pin(KEPT.into()),
    });
    let table = Table::build(draft).unwrap();
    assert_eq!(plan(&table, &[])[0], KEPT);
}

#[test]
fn a_lane_that_is_kept_and_out_serves_nothing_by_itself() {
    let mut draft = spilling(|_| {}).draft().clone();
    for lane in &mut draft.lanes {
        if lane.id.as_str() != KEPT {
            lane.price = None;
        }
    }
    let table = Table::build(draft).unwrap();
    let refused = decided(&table, &[(KEPT, out(Gate::Shut))], Class::Interactive);
    assert!(refused.is_err(), "{refused:?}");
}

proptest! {
    #[test]
    fn an_overflow_lane_never_displaces_what_a_plan_needs(
        specs in specs(), choice in choices(), conditions in gates(), kept in 1usize..12, draw: u64, dearer: bool,
    ) {
        prop_assume!(kept < specs.len());
        let mut draft = table(&specs, choice, 500, vec![]).draft().clone();
        let lane = draft.lanes[kept].id.clone();
        draft.routes[0].overflow = Some(Overflow { lane: lane.clone(), dearer, in_flight: Some(50), ..overflow() });
        let with = decide(&Table::build(draft).unwrap(), &facts(false, 10), &conditions, NOW, Draw(draw));
        let Ok(with) = with else { return Ok(()) };
        let mut lanes: Vec<_> = with.plan.iter().map(|step| &step.lane).collect();
        lanes.sort();
        lanes.dedup();
        prop_assert_eq!(lanes.len(), with.plan.len());
        let mut others: Vec<_> = with.plan.clone();
        if cause(&with).is_none() {
            others.retain(|step| step.lane != lane);
        }
        prop_assert!(others.len() <= 3);
        prop_assert!(others.windows(2).all(|pair| pair[0].give_up < pair[1].give_up));
        match others.last() {
            Some(last) => prop_assert_eq!(last.give_up, Millis(30_000)),
            // No other lane can serve the request.
            None => prop_assert_eq!(with.plan.len(), 1),
        }
        prop_assert_eq!(&with.chosen().unwrap().lane, &with.plan[0].lane);
        let place = with.plan.iter().position(|step| step.lane == lane);
        match place {
            Some(0) => prop_assert!(cause(&with).is_some()),
            Some(place) => prop_assert_eq!(place, 1),
            None => {}
        }
        if let Some(0 | 1) = place
            && let Some(other) = with.plan.iter().find(|step| step.lane != lane)
        {
            let cost = |lane: &LaneId| with.trail.iter().find(|c| c.lane == *lane).unwrap().cost;
            prop_assert!(dearer || cost(&lane) <= cost(&other.lane));
        }
    }
}
