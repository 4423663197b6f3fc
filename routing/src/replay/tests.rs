//! What a replay says of requests whose answer is known.

use super::*;
use crate::catalogue::{
    Capabilities, Lane, Model, Pace, Price, Rates, Room, Tier, Upstream, Usage,
};
use crate::dialect::{Dialect, Fidelity};
use crate::features::Facts;
use crate::id::TableVersion;
use crate::outcome::{Ending, UsageSource};
use crate::table::{Choice, Draft, Route};
use crate::tokens::Family;
use crate::unit::{Millis, NanoUsdPerMtok, UnixMillis};

/// So many dollars per million tokens, in and out.
fn price(usd: f64) -> Price {
    let rate = NanoUsdPerMtok::from_usd(usd);
    Price {
        rates: Rates {
            input: rate,
            output: rate,
            ..Rates::default()
        },
        ..Price::default()
    }
}

/// Two models at a provider each; `rates` are dollars per million tokens.
fn table(rates: [f64; 2], floor: u16) -> Table {
    let names = ["cheap", "dear"];
    let lane = |name: &str| format!("p:{name}/standard");
    let draft = Draft {
        version: TableVersion(1),
        models: names
            .iter()
            .zip([6_000, 9_000])
            .map(|(name, prior)| Model {
                id: (*name).into(),
                family: Family::O200k,
                context: Tokens(1_000),
                max_output: Tokens(1_000),
                capabilities: Capabilities::ALL,
                prior: Some(Bps::new(prior)),
                typical_output: Tokens(10),
            })
            .collect(),
        upstreams: names
            .iter()
            .map(|name| Upstream {
                id: format!("p:{name}").as_str().into(),
                model: (*name).into(),
                provider: "p".into(),
                wire_model: (*name).to_owned(),
                dialects: vec![Dialect::OpenAiChat],
                credential: "none".into(),
            })
            .collect(),
        lanes: names
            .iter()
            .zip(rates)
            .map(|(name, usd)| Lane {
                id: lane(name).as_str().into(),
                upstream: format!("p:{name}").as_str().into(),
                tier: Tier::Standard,
                price: Some(price(usd)),
                pace: Pace::default(),
                room: Room::default(),
            })
            .collect(),
        routes: vec![Route {
            id: "auto".into(),
            models: vec![],
            default_lane: lane("dear").as_str().into(),
            baseline: lane("dear").as_str().into(),
            bar: Bps::ONE,
            choice: Choice::Floor(Bps::new(floor)),
            guard: Bps::ONE,
            learned: false,
            explore: Bps::ZERO,
            max_cost: None,
            first_token_max: None,
            deadline: Millis(1_000),
            attempts_max: 2,
            lossy: Fidelity::Hints,
            overflow: None,
            certificate: None,
        }],
        ..Draft::default()
    };
    Table::build(draft).unwrap()
}

/// A request that `table` sent to its choice, which used 100 + 100 tokens.
fn outcome(table: &Table) -> Outcome {
    outcome_of(table, RequestId([1; 16]))
}

fn outcome_of(table: &Table, id: RequestId) -> Outcome {
    let facts = Facts {
        route: Some("auto".into()),
        o200k: Tokens(100),
        ..Facts::default()
    };
    let now = UnixMillis(0);
    let decision = decide(table, &facts, &Conditions::default(), now, Draw::of(id)).unwrap();
    let served = decision.plan[0].lane.clone();
    let lane = table.lane_index(&served).unwrap();
    let usage = Usage {
        input: Tokens(100),
        output: Tokens(100),
        ..Usage::default()
    };
    Outcome {
        id,
        at: now,
        proxy: "p".into(),
        table: TableVersion(1),
        facts,
        conditions: vec![],
        attempts: vec![],
        ending: Ending::Answered,
        status: 200,
        served_model: Some(table.model_of(lane).id.clone()),
        served_tier: Some(Tier::Standard),
        cost: table.lane(lane).price.as_ref().unwrap().settle(&usage, now),
        served: Some(served),
        decision: Some(decision),
        usage,
        usage_source: UsageSource::Reported,
        baseline_cost: NanoUsd::ZERO,
        first_token: None,
        total: Millis(5),
    }
}

fn compare(old: &Table, new: &Table, quality: Option<u16>) -> Comparison {
    let outcome = outcome(old);
    let recorded = Recorded {
        outcome: &outcome,
        quality: quality.map(Bps::new),
    };
    replay(new, [recorded; 200])
}

#[test]
fn the_same_table_changes_nothing_and_keeps_what_was_observed() {
    let table = table([1.0, 10.0], 5_000);
    let same = compare(&table, &table, Some(7_700));
    assert_eq!((same.requests, same.changed), (200, 0));
    assert_eq!(same.cost_before, same.cost_after);
    assert!((same.quality_after.doubly_robust.unwrap() - 0.77).abs() < 1e-9);
    assert!((same.coverage - 1.0).abs() < 1e-9);
}

/// Both models are as good by what is expected, and half of the requests are drawn.
#[test]
fn what_was_drawn_is_not_counted_many_times_over() {
    let mut draft = table([1.0, 1.0], 5_000).draft().clone();
    draft
        .models
        .iter_mut()
        .for_each(|model| model.prior = Some(Bps::new(9_000)));
    draft.routes[0].choice = Choice::Multiplier(1);
    draft.routes[0].explore = Bps::new(5_000);
    let table = Table::build(draft).unwrap();
    let outcomes: Vec<Outcome> = (0..4_000u32)
        .map(|number| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            outcome_of(&table, RequestId(id))
        })
        .collect();
    let quality = |outcome: &Outcome| {
        let cheap = outcome.served.as_ref().unwrap().as_str() == "p:cheap/standard";
        Some(Bps::new(if cheap { 9_000 } else { 7_000 }))
    };
    let of = |lane: &str| {
        let at = |outcome: &&Outcome| outcome.served.as_ref().unwrap().as_str() == lane;
        outcomes.iter().filter(at).count()
    };
    let (cheap, dear) = (of("p:cheap/standard"), of("p:dear/standard"));
    assert!(cheap.min(dear) > 500, "{cheap} {dear}");
    let usual = if cheap > dear { 0.9 } else { 0.7 };
    let recorded = outcomes.iter().map(|outcome| Recorded {
        outcome,
        quality: quality(outcome),
    });
    let same = replay(&table, recorded);
    assert_eq!((same.changed, same.cost_before), (0, same.cost_after));
    let estimate = same.quality_after.self_normalised.unwrap();
    assert!((estimate - usual).abs() < 0.01, "{estimate} for {usual}");
}

#[test]
fn callers_own_keys_cost_the_operator_nothing_under_any_table() {
    let table = table([1.0, 10.0], 5_000);
    let mut own = outcome(&table);
    own.facts.own_keys = vec!["p".into()];
    let recorded = Recorded {
        outcome: &own,
        quality: None,
    };
    let same = replay(&table, [recorded]);
    assert_eq!((same.requests, same.cost_before), (1, NanoUsd::ZERO));
    assert_eq!(
        (same.cost_after, same.baseline),
        (NanoUsd::ZERO, NanoUsd::ZERO)
    );
}

#[test]
fn a_price_change_shows_even_where_the_choice_stays() {
    let dearer = compare(
        &table([1.0, 100.0], 5_000),
        &table([9.0, 100.0], 5_000),
        None,
    );
    assert_eq!(dearer.changed, 0);
    assert_eq!(dearer.cost_after.0, 9 * dearer.cost_before.0);
}

#[test]
fn a_changed_choice_is_priced_at_its_own_rate_and_judged_by_prediction() {
    let moved = compare(
        &table([1.0, 10.0], 5_000),
        &table([1.0, 10.0], 8_000),
        Some(5_000),
    );
    assert_eq!(moved.changed, 200);
    assert_eq!(moved.cost_after.0, 10 * moved.cost_before.0);
    assert!(
        (moved.quality_before.unwrap() - 0.5).abs() < 1e-9,
        "what was observed"
    );
    assert!(
        (moved.quality_after.direct.unwrap() - 0.9).abs() < 1e-9,
        "what is predicted"
    );
    assert_eq!(
        moved.quality_after.doubly_robust, None,
        "nothing was observed"
    );
    assert!(moved.coverage < 1e-9);
    assert_eq!(
        moved.examples[0].after.as_ref().unwrap().as_str(),
        "p:dear/standard"
    );
}

#[test]
fn what_nobody_served_is_left_out() {
    let table = table([1.0, 10.0], 5_000);
    let mut failed = outcome(&table);
    failed.served = None;
    let none = replay(
        &table,
        [Recorded {
            outcome: &failed,
            quality: None,
        }],
    );
    assert_eq!(none.requests, 0);
}
