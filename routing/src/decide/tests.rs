//! Properties of the decision, over random tables, facts and conditions; cases and waits
//! have files of their own.

mod cases;
mod spill;
mod waiting;

use super::*;
use crate::catalogue::{Capabilities, Lane, Model, Pace, Price, Rates, Room, Tier, Upstream};
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
                room: Room::default(),
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
            overflow: None,
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
