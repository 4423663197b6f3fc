//! Requests whose start may wait: cheap lanes first, never dearer, never another model.

use super::*;
use crate::start::{EDGES, Start, Starts};

/// Each model of the table also on the flex tier, at half the price.
fn with_flex(specs: &[ModelSpec], choice: Choice) -> Table {
    let mut draft = table(specs, choice, 0, vec![]).draft().clone();
    let flex: Vec<Lane> = draft
        .lanes
        .iter()
        .zip(specs)
        .map(|(lane, spec)| Lane {
            id: LaneId::new(&lane.id.as_str().replace("standard", "flex")),
            tier: Tier::Flex,
            price: spec.priced.then(|| price(spec.rate / 2)),
            ..lane.clone()
        })
        .collect();
    draft.lanes.extend(flex);
    Table::build(draft).unwrap()
}

fn asking(start: Start) -> Facts {
    Facts {
        start,
        ..facts(false, 1_000)
    }
}

fn plan(table: &Table, start: Start) -> Vec<(String, u64)> {
    let decision = decide(table, &asking(start), &Conditions::default(), NOW, Draw(0)).unwrap();
    let steps = decision.plan.into_iter();
    steps
        .map(|step| (step.lane.to_string(), step.give_up.0))
        .collect()
}

const MINUTE: Start = Start::Within(Millis(60_000));

#[test]
fn nobody_waits_who_did_not_ask_to() {
    let table = with_flex(&two(), Choice::Floor(Bps::ZERO));
    for start in [Start::Unsaid, Start::Default] {
        let plan = plan(&table, start);
        assert!(
            plan.iter().all(|(lane, _)| lane.ends_with("standard")),
            "{plan:?}"
        );
    }
}

#[test]
fn the_cheap_lane_comes_first_and_ends_in_time_for_the_other() {
    let table = with_flex(&two(), Choice::Floor(Bps::ZERO));
    let plain = plan(&table, Start::Unsaid);
    let waiting = plan(&table, MINUTE);
    let (lane, until) = &waiting[0];
    assert!(lane.ends_with("flex"), "{waiting:?}");
    // Three times the 600 ms that a first token is expected to take are kept.
    assert_eq!(*until, 60_000 - 1_800);
    assert_eq!(waiting[1].0, plain[0].0);
    assert!(waiting[1].1 > *until + 7_000);
    let decision = decide(
        &table,
        &asking(MINUTE),
        &Conditions::default(),
        NOW,
        Draw(0),
    )
    .unwrap();
    assert_eq!(
        decision.chosen().unwrap().verdict,
        Verdict::Chosen(Why::MayWait)
    );
}

#[test]
fn a_lane_that_hardly_begins_in_time_is_left_out() {
    let table = with_flex(&two(), Choice::Floor(Bps::ZERO));
    let state = LaneState {
        starts: Some(Starts::of([0.01; EDGES.len()])),
        ..LaneState::default()
    };
    let conditions = Conditions {
        lanes: vec![state; table.draft().lanes.len()],
    };
    let decision = decide(&table, &asking(MINUTE), &conditions, NOW, Draw(0)).unwrap();
    assert!(
        decision
            .plan
            .iter()
            .all(|step| step.lane.as_str().ends_with("standard"))
    );
    let hardly = |c: &&Considered| matches!(c.verdict, Verdict::Removed(Removal::HardlyInTime(_)));
    assert_eq!(decision.trail.iter().filter(hardly).count(), two().len());
}

/// A little dearer and far likelier is expected to cost less.
#[test]
fn the_likelier_of_two_cheap_lanes_comes_first() {
    let table = with_flex(&two(), Choice::Floor(Bps::ZERO));
    let mut draft = table.draft().clone();
    let chosen = plan(&table, Start::Unsaid)[0].0.clone();
    let chosen = LaneId::new(&chosen.replace("standard", "flex"));
    let lanes = draft.lanes.clone();
    let cheap = lanes.iter().find(|lane| lane.id == chosen).unwrap();
    let rate = cheap.price.as_ref().unwrap().rates.input.0;
    draft.lanes.push(Lane {
        id: LaneId::new(&format!("{chosen}-other")),
        price: Some(price(rate + rate / 20)),
        ..cheap.clone()
    });
    let table = Table::build(draft).unwrap();
    let first = |likely: &str| {
        let state = |lane: &Lane| LaneState {
            starts: Some(Starts::of(if lane.id.as_str() == likely {
                [0.9; EDGES.len()]
            } else {
                [0.3; EDGES.len()]
            })),
            ..LaneState::default()
        };
        let conditions = Conditions {
            lanes: table.draft().lanes.iter().map(state).collect(),
        };
        let decision = decide(&table, &asking(MINUTE), &conditions, NOW, Draw(0)).unwrap();
        decision.plan[0].lane.to_string()
    };
    let other = format!("{chosen}-other");
    assert_eq!(first(chosen.as_str()), chosen.to_string());
    assert_eq!(first(&other), other);
}

#[test]
fn a_tier_that_no_lane_has_is_refused() {
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![]);
    for (start, tier) in [
        (MINUTE, Tier::Flex),
        (Start::Flex, Tier::Flex),
        (Start::Priority, Tier::Priority),
    ] {
        let refused = decide(&table, &asking(start), &Conditions::default(), NOW, Draw(0));
        assert_eq!(refused, Err(Refusal::NoTier(tier)));
    }
    // A class alone asks for nothing.
    let facts = Facts {
        class: crate::prompt::Class::Batch,
        ..facts(false, 1_000)
    };
    assert!(decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).is_ok());
}

#[test]
fn the_flex_tier_alone_has_ten_minutes() {
    let table = with_flex(&two(), Choice::Floor(Bps::ZERO));
    let plan = plan(&table, Start::Flex);
    assert!(plan.iter().all(|(lane, _)| lane.ends_with("flex")));
    assert_eq!(plan.last().unwrap().1, 600_000);
}

proptest! {
    #[test]
    fn waiting_is_never_dearer_and_changes_no_model(
        specs in specs(), choice in choices(), seconds in 5u64..3_600, draw: u64,
    ) {
        let table = with_flex(&specs, choice);
        let decided = |start| decide(&table, &asking(start), &Conditions::default(), NOW, Draw(draw));
        let Ok(plain) = decided(Start::Unsaid) else { return Ok(()) };
        let waiting = decided(Start::Within(Millis(seconds * 1_000))).unwrap();
        let line = |decision: &Decision, lane: &LaneId| {
            decision.trail.iter().find(|c| c.lane == *lane).unwrap().clone()
        };
        let first = line(&plain, &plain.plan[0].lane);
        let mut prompt = waiting.plan.iter().filter(|step| step.lane.as_str().ends_with("standard"));
        prop_assert_eq!(&prompt.next().unwrap().lane, &plain.plan[0].lane);
        for step in waiting.plan.iter().filter(|step| step.lane.as_str().ends_with("flex")) {
            let cheap = line(&waiting, &step.lane);
            prop_assert_eq!(&cheap.model, &first.model);
            prop_assert!(cheap.cost < first.cost);
            prop_assert!(step.give_up.0 < seconds * 1_000);
        }
    }

    #[test]
    fn no_lane_is_twice_in_a_plan(
        specs in specs(), choice in choices(), shut in 0u8..8, draw: u64,
    ) {
        let table = with_flex(&specs, choice);
        let state = |(i, lane): (usize, &Lane)| LaneState {
            // Mostly, no lane is left that answers at once.
            gate: match lane.tier {
                Tier::Standard if shut > 1 || i % 2 == usize::from(shut) => Gate::Shut,
                _ => Gate::Open,
            },
            ..LaneState::default()
        };
        let conditions = Conditions {
            lanes: table.draft().lanes.iter().enumerate().map(state).collect(),
        };
        let Ok(decision) = decide(&table, &asking(MINUTE), &conditions, NOW, Draw(draw)) else {
            return Ok(());
        };
        let mut lanes: Vec<_> = decision.plan.iter().map(|step| &step.lane).collect();
        let all = lanes.len();
        lanes.sort();
        lanes.dedup();
        prop_assert_eq!(lanes.len(), all);
    }
}

/// A rule pins the dearer model's cheap lane: whoever may wait does so there, whoever may not
/// is served by the same model at once.
#[test]
fn a_pin_to_a_lane_that_waits_is_followed() {
    let free = with_flex(&two(), Choice::Floor(Bps::ZERO));
    let usual = plan(&free, MINUTE)[0].0.clone();
    let mut draft = free.draft().clone();
    let other = draft.lanes.iter().map(|lane| lane.id.clone());
    let mut other = other.filter(|id| id.as_str().ends_with("flex") && id.as_str() != usual);
    let pinned = other.next().unwrap();
    draft.rules = vec![Rule {
        id: "pin".into(),
        when: vec![],
        then: Action::Pin(pinned.clone()),
    }];
    let table = Table::build(draft).unwrap();
    let waiting = plan(&table, MINUTE);
    assert_eq!(waiting[0].0, pinned.as_str());
    assert_eq!(waiting[1].0, pinned.as_str().replace("flex", "standard"));
}
