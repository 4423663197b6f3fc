//! Properties of the decision, over random tables, facts and conditions.

use super::*;
use crate::catalogue::{Capabilities, Lane, Model, Pace, Price, Rates, Tier, Upstream};
use crate::conditions::{Gate, LaneState};
use crate::dialect::{Dialect, Fidelity};
use crate::features::Requirements;
use crate::id::TableVersion;
use crate::id::{CredentialName, ProviderId, UpstreamId};
use crate::rule::{Action, Match, Rule};
use crate::table::{Draft, Route};
use crate::tokens::Family;
use crate::unit::NanoUsdPerMtok;
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct ModelSpec {
    quality: u16,
    rate: u64,
    tools: bool,
    priced: bool,
    context: u32,
}

fn table(specs: &[ModelSpec], choice: Choice, explore: u16, rules: Vec<Rule>) -> Table {
    let name = |i: usize| format!("m{i}");
    let lane = |i: usize| LaneId::new(&format!("p{}:m{i}/standard", i % 2));
    let draft = Draft {
        version: TableVersion(1),
        models: specs
            .iter()
            .enumerate()
            .map(|(i, spec)| model(&name(i), spec))
            .collect(),
        upstreams: (0..specs.len())
            .map(|i| Upstream {
                id: UpstreamId::new(&format!("p{}:m{i}", i % 2)),
                model: name(i).as_str().into(),
                provider: ProviderId::new(&format!("p{}", i % 2)),
                wire_model: name(i),
                dialects: vec![Dialect::OpenAiChat],
                credential: CredentialName::new("none"),
            })
            .collect(),
        lanes: specs
            .iter()
            .enumerate()
            .map(|(i, spec)| Lane {
                id: lane(i),
                upstream: UpstreamId::new(&format!("p{}:m{i}", i % 2)),
                tier: Tier::Standard,
                price: spec.priced.then(|| price(spec.rate)),
                pace: Pace::default(),
            })
            .collect(),
        routes: vec![Route {
            id: "auto".into(),
            models: vec![],
            default_lane: lane(0),
            baseline: lane(0),
            bar: Bps::ONE,
            choice,
            guard: Bps::ONE,
            learned: false,
            explore: Bps::new(explore),
            max_cost: None,
            first_token_max: None,
            deadline: Millis(30_000),
            attempts_max: 3,
            lossy: Fidelity::Hints,
            certificate: None,
        }],
        rules,
        ..Draft::default()
    };
    Table::build(draft).unwrap()
}

fn model(name: &str, spec: &ModelSpec) -> Model {
    Model {
        id: name.into(),
        family: Family::O200k,
        context: Tokens(spec.context),
        max_output: Tokens(1_000),
        capabilities: Capabilities {
            tools: spec.tools,
            ..Capabilities::ALL
        },
        prior: Some(Bps::new(spec.quality)),
        typical_output: Tokens(100),
    }
}

fn price(rate: u64) -> Price {
    let rate = NanoUsdPerMtok(rate);
    Price {
        rates: Rates {
            input: rate,
            output: rate,
            ..Rates::default()
        },
        ..Price::default()
    }
}

fn facts(tools: bool, input: u32) -> Facts {
    Facts {
        stream: true,
        route: Some("auto".into()),
        requirements: Requirements {
            tools,
            ..Requirements::default()
        },
        o200k: Tokens(input),
        ..Facts::default()
    }
}

const NOW: UnixMillis = UnixMillis(1_795_262_400_000);

fn specs() -> impl Strategy<Value = Vec<ModelSpec>> {
    let one = (
        0u16..=10_000,
        0u64..50_000_000_000,
        any::<bool>(),
        prop::bool::weighted(0.9),
        100u32..100_000,
    )
        .prop_map(|(quality, rate, tools, priced, context)| ModelSpec {
            quality,
            rate,
            tools,
            priced,
            context,
        });
    prop::collection::vec(one, 1..12)
}

fn choices() -> impl Strategy<Value = Choice> {
    prop_oneof![
        (0u64..10_000_000_000).prop_map(Choice::Multiplier),
        (0u16..=10_000).prop_map(|floor| Choice::Floor(Bps::new(floor))),
    ]
}

fn gates() -> impl Strategy<Value = Conditions> {
    let gate = prop_oneof![3 => Just(Gate::Open), 1 => Just(Gate::Shut), 1 => Just(Gate::Full), 1 => Just(Gate::Probing)];
    let state = (gate, 0u32..100).prop_map(|(gate, in_flight)| LaneState {
        gate,
        in_flight,
        ..LaneState::default()
    });
    prop::collection::vec(state, 0..12).prop_map(|lanes| Conditions { lanes })
}

proptest! {
    #[test]
    fn every_lane_of_the_plan_meets_every_hard_limit(
        specs in specs(), choice in choices(), conditions in gates(), tools: bool, input in 1u32..50_000, draw: u64,
    ) {
        let table = table(&specs, choice, 500, vec![]);
        let facts = facts(tools, input);
        let Ok(decision) = decide(&table, &facts, &conditions, NOW, Draw(draw)) else { return Ok(()) };
        let capable = |i: usize| specs[i].priced && specs[i].context >= input && (!tools || specs[i].tools);
        let able = (0..specs.len()).filter(|i| capable(*i)).count();
        for step in &decision.plan {
            let i = table.lane_index(&step.lane).unwrap();
            prop_assert!(capable(i));
            let open = matches!(conditions.lane(i).gate, Gate::Open | Gate::Probing);
            prop_assert!(open || able == 1, "a shut lane is used only when it is the last");
        }
    }

    #[test]
    fn a_plan_never_repeats_a_lane_and_its_deadlines_grow(
        specs in specs(), choice in choices(), conditions in gates(), draw: u64,
    ) {
        let table = table(&specs, choice, 500, vec![]);
        let Ok(decision) = decide(&table, &facts(false, 10), &conditions, NOW, Draw(draw)) else { return Ok(()) };
        let mut lanes: Vec<_> = decision.plan.iter().map(|step| &step.lane).collect();
        lanes.sort();
        lanes.dedup();
        prop_assert_eq!(lanes.len(), decision.plan.len());
        prop_assert!(decision.plan.windows(2).all(|pair| pair[0].give_up < pair[1].give_up));
        prop_assert_eq!(decision.plan.last().unwrap().give_up, Millis(30_000));
        prop_assert_eq!(decision.trail.iter().filter(|c| matches!(c.verdict, Verdict::Chosen(_))).count(), 1);
        prop_assert_eq!(&decision.chosen().unwrap().lane, &decision.plan[0].lane);
        prop_assert!(decision.propensity <= Ppm::ONE && decision.propensity.0 > 0);
    }

    #[test]
    fn deciding_twice_is_the_same_decision(
        specs in specs(), choice in choices(), conditions in gates(), draw: u64,
    ) {
        let table = table(&specs, choice, 2_000, vec![]);
        let once = decide(&table, &facts(true, 10), &conditions, NOW, Draw(draw));
        let twice = decide(&table, &facts(true, 10), &conditions, NOW, Draw(draw));
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn raising_the_price_of_money_never_raises_the_cost(
        specs in specs(), low in 0u64..10_000_000_000, more in 0u64..10_000_000_000,
    ) {
        let cost = |lambda| {
            let table = table(&specs, Choice::Multiplier(lambda), 0, vec![]);
            let decision = decide(&table, &facts(false, 10), &Conditions::default(), NOW, Draw(0)).ok()?;
            decision.chosen()?.cost
        };
        prop_assert!(cost(low + more) <= cost(low));
    }

    #[test]
    fn raising_the_floor_never_lowers_the_quality(
        specs in specs(), low in 0u16..=10_000, more in 0u16..=10_000,
    ) {
        let quality = |floor| {
            let table = table(&specs, Choice::Floor(Bps::new(floor)), 0, vec![]);
            let decision = decide(&table, &facts(false, 10), &Conditions::default(), NOW, Draw(0)).ok()?;
            decision.chosen()?.quality
        };
        let (low, high) = (quality(low), quality(low.saturating_add(more).min(10_000)));
        // Where nobody reaches the higher floor the best is taken, which is no lower.
        prop_assert!(high >= low, "{low:?} then {high:?}");
    }

    #[test]
    fn without_exploring_the_draw_does_not_matter(specs in specs(), choice in choices(), a: u64, b: u64) {
        let table = table(&specs, choice, 0, vec![]);
        let decide = |draw| decide(&table, &facts(false, 10), &Conditions::default(), NOW, Draw(draw));
        prop_assert_eq!(decide(a), decide(b));
    }

    #[test]
    fn a_guard_keeps_the_choice_near_the_best(
        offers in prop::collection::vec((0u16..=10_000, 0u64..1_000_000), 1..10), lambda in 0u64..1_000_000_000_000, guard in 0u16..10_000,
    ) {
        let offers: Vec<Offer> = offers.into_iter().map(|(q, c)| Offer { quality: Bps::new(q), cost: NanoUsd(c) }).collect();
        let best = offers.iter().map(|offer| offer.quality).max().unwrap();
        let (chosen, _) = choose(Choice::Multiplier(lambda), Bps::new(guard), &offers).unwrap();
        prop_assert!(offers[chosen].quality >= best.saturating_sub(Bps::new(guard)));
    }
}

fn two() -> Vec<ModelSpec> {
    let spec = |quality, rate| ModelSpec {
        quality,
        rate,
        tools: true,
        priced: true,
        context: 100_000,
    };
    vec![
        spec(9_000, 10_000_000_000),
        spec(8_000, 1_000_000_000),
        spec(5_000, 100_000_000),
    ]
}

#[test]
fn a_rule_that_pins_wins_and_the_rest_stay_as_fallbacks() {
    let rule = Rule {
        id: "legal-to-best".into(),
        when: vec![Match::Tag {
            name: "team".into(),
            value: "legal".into(),
        }],
        then: Action::Pin("p0:m0/standard".into()),
    };
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![rule]);
    let mut facts = facts(false, 10);
    let free = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
    assert_eq!(free.plan[0].lane.as_str(), "p0:m2/standard");
    facts.tags = vec![("team".into(), "legal".into())];
    let pinned = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
    assert_eq!(pinned.plan[0].lane.as_str(), "p0:m0/standard");
    assert_eq!(pinned.plan.len(), 3);
    assert_eq!(
        pinned.plan[1].lane.as_str(),
        "p1:m1/standard",
        "another provider comes first"
    );
}

#[test]
fn of_several_pins_the_first_rule_wins() {
    let pin = |id: &str, lane: &str| Rule {
        id: id.into(),
        when: vec![],
        then: Action::Pin(lane.into()),
    };
    let rules = vec![
        pin("first", "p1:m1/standard"),
        pin("second", "p0:m0/standard"),
    ];
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, rules);
    let decision = decide(
        &table,
        &facts(false, 10),
        &Conditions::default(),
        NOW,
        Draw(0),
    )
    .unwrap();
    assert_eq!(
        decision.chosen().unwrap().verdict,
        Verdict::Chosen(Why::Pinned("first".into()))
    );
}

#[test]
fn relaxing_one_limit_leaves_the_others_standing() {
    let mut draft = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![])
        .draft()
        .clone();
    draft.routes[0].first_token_max = Some(Millis(1));
    let table = Table::build(draft).unwrap();
    let facts = Facts {
        min_quality: Some(Bps::new(8_500)),
        ..facts(false, 10)
    };
    let decision = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
    assert_eq!(decision.relaxed, vec![Limit::Latency]);
    assert_eq!(
        decision.chosen().unwrap().model.as_str(),
        "m0",
        "only m0 has the quality asked for"
    );
}

#[test]
fn exploring_stays_within_the_guard() {
    let spec = |quality| ModelSpec {
        quality,
        rate: 1,
        tools: true,
        priced: true,
        context: 100_000,
    };
    let mut draft = table(
        &[spec(9_000), spec(8_700)],
        Choice::Multiplier(0),
        10_000,
        vec![],
    )
    .draft()
    .clone();
    draft.routes[0].guard = Bps::new(100);
    let table = Table::build(draft).unwrap();
    for draw in 0..200u64 {
        let draw = Draw(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let decision =
            decide(&table, &facts(false, 10), &Conditions::default(), NOW, draw).unwrap();
        assert_eq!(decision.chosen().unwrap().model.as_str(), "m0");
    }
}

#[test]
fn where_no_quality_is_known_the_default_serves_and_not_the_cheapest() {
    let mut draft = table(&two(), Choice::Floor(Bps::new(9_500)), 0, vec![])
        .draft()
        .clone();
    draft.models.iter_mut().for_each(|model| model.prior = None);
    let table = Table::build(draft).unwrap();
    let decision = decide(
        &table,
        &facts(false, 10),
        &Conditions::default(),
        NOW,
        Draw(0),
    )
    .unwrap();
    assert_eq!(
        decision.chosen().unwrap().verdict,
        Verdict::Chosen(Why::Default(Abstention::NotTrained))
    );
    assert_eq!(decision.chosen().unwrap().lane.as_str(), "p0:m0/standard");
}

#[test]
fn a_whole_answer_has_time_to_be_written() {
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![]);
    let give_up = |stream| {
        let facts = Facts {
            stream,
            ..facts(false, 10)
        };
        let decision = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
        decision
            .plan
            .iter()
            .map(|step| step.give_up.0)
            .collect::<Vec<u64>>()
    };
    assert_eq!(give_up(true), [15_000, 22_500, 30_000]);
    // 100 tokens at 15 ms, ten times over, for each lane up to its own.
    assert_eq!(give_up(false), [30_000, 52_500, 75_000]);
}

#[test]
fn fallbacks_visit_every_failure_domain_before_one_twice() {
    let spec = |quality, rate| ModelSpec {
        quality,
        rate,
        tools: true,
        priced: true,
        context: 100_000,
    };
    // p0 serves m0, m2, m4; p1 serves m1, m3.
    let specs = [
        spec(9_000, 5),
        spec(8_000, 1),
        spec(8_900, 5),
        spec(7_000, 1),
        spec(8_800, 5),
    ];
    let table = table(&specs, Choice::Multiplier(0), 0, vec![]);
    let decision = decide(
        &table,
        &facts(false, 10),
        &Conditions::default(),
        NOW,
        Draw(0),
    )
    .unwrap();
    let plan: Vec<&str> = decision
        .plan
        .iter()
        .map(|step| step.lane.as_str())
        .collect();
    assert_eq!(plan, ["p0:m0/standard", "p1:m1/standard", "p0:m2/standard"]);
}

#[test]
fn a_models_own_name_is_a_route_that_pins_it() {
    let mut facts = facts(false, 10);
    facts.route = Some("m1".into());
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![]);
    let decision = decide(&table, &facts, &Conditions::default(), NOW, Draw(0)).unwrap();
    assert_eq!(decision.plan.len(), 1);
    assert_eq!(decision.chosen().unwrap().model.as_str(), "m1");
}

#[test]
fn refusals_say_why() {
    let table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![]);
    let mut unknown = facts(false, 10);
    unknown.route = Some("nope".into());
    assert_eq!(
        decide(&table, &unknown, &Conditions::default(), NOW, Draw(0)),
        Err(Refusal::UnknownRoute("nope".into()))
    );
    let long = facts(false, 1_000_000);
    let refusal = decide(&table, &long, &Conditions::default(), NOW, Draw(0)).unwrap_err();
    assert!(refusal.to_string().contains("takes 100000"), "{refusal}");
    let shut = LaneState {
        gate: Gate::Shut,
        ..LaneState::default()
    };
    let conditions = Conditions {
        lanes: vec![shut; 3],
    };
    let refusal = decide(&table, &facts(false, 10), &conditions, NOW, Draw(0)).unwrap_err();
    assert!(matches!(refusal, Refusal::AllShut(lanes) if lanes.len() == 3));
}

#[test]
fn a_limit_that_nothing_meets_is_relaxed_and_said() {
    let mut table = table(&two(), Choice::Floor(Bps::ZERO), 0, vec![])
        .draft()
        .clone();
    table.routes[0].max_cost = Some(NanoUsd(1));
    let table = Table::build(table).unwrap();
    let decision = decide(
        &table,
        &facts(false, 10),
        &Conditions::default(),
        NOW,
        Draw(0),
    )
    .unwrap();
    assert_eq!(decision.relaxed, vec![Limit::Cost]);
}

#[test]
fn exploring_happens_at_its_share_and_says_its_odds() {
    let near = vec![
        ModelSpec {
            quality: 9_000,
            rate: 1,
            tools: true,
            priced: true,
            context: 100_000,
        },
        ModelSpec {
            quality: 8_800,
            rate: 1,
            tools: true,
            priced: true,
            context: 100_000,
        },
    ];
    let table = table(&near, Choice::Multiplier(0), 1_000, vec![]);
    let runs = 20_000u64;
    let mut explored = 0;
    for i in 0..runs {
        let id = RequestId(
            u128::from(i)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
                .to_be_bytes(),
        );
        let decision = decide(
            &table,
            &facts(false, 10),
            &Conditions::default(),
            NOW,
            Draw::of(id),
        )
        .unwrap();
        explored += u64::from(decision.explored);
        let expected = if decision.explored { 0.0339 } else { 0.9661 };
        assert!((decision.propensity.share() - expected).abs() < 0.001);
    }
    let share = explored as f64 / runs as f64;
    assert!((share - 0.0339).abs() < 0.005, "{share}");
}
