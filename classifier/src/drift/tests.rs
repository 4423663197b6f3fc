//! A table learnt in a made-up world, and what happens to that world afterwards.

use super::*;
use crate::run::{Bar, Settings, run};
use crate::synthetic::{MODELS, audits, outcome};
use spillway_routing::catalogue::{
    Capabilities, Lane, Model, Pace, Price, Rates, Room, Tier, Upstream,
};
use spillway_routing::dialect::{Dialect, Fidelity};
use spillway_routing::id::{LaneId, TableVersion};
use spillway_routing::outcome::Attempt;
use spillway_routing::table::Draft;
use spillway_routing::tokens::Family;
use spillway_routing::unit::{Millis, NanoUsdPerMtok, Tokens};

const LEARNT_AT: UnixMillis = UnixMillis(1_000_000);

fn lane(model: &str) -> LaneId {
    LaneId::new(&format!("p:{model}/standard"))
}

/// What was learnt from 2,500 audits, as a table.
fn table() -> Table {
    let bar = Bar {
        route: "auto".into(),
        bar: Bps::new(9_500),
        guard: Bps::ONE,
        models: Vec::new(),
        default: None,
    };
    let settings = Settings {
        seed: 5,
        bars: &[bar],
        held_out: 0.3,
        current: None,
        flips_max: Bps::ONE,
        terms: &BTreeMap::new(),
    };
    let trained = run(
        &audits(2_500, true, false, 2),
        &[],
        &settings,
        &mut |_, _| (),
    )
    .unwrap();
    assert!(trained.multipliers[0].learned);
    let dollars = [1.0, 1.0, 100.0];
    Table::build(Draft {
        version: TableVersion(1),
        models: MODELS.map(model).to_vec(),
        upstreams: MODELS.map(upstream).to_vec(),
        lanes: MODELS
            .iter()
            .zip(dollars)
            .map(|(model, usd)| priced(model, usd))
            .collect(),
        routes: vec![Route {
            id: "auto".into(),
            models: vec![],
            default_lane: lane("dear"),
            baseline: lane("dear"),
            bar: Bps::new(9_500),
            choice: trained.multipliers[0].choice,
            guard: Bps::ONE,
            learned: true,
            explore: Bps::ZERO,
            max_cost: None,
            first_token_max: None,
            deadline: Millis(1_000),
            attempts_max: 1,
            lossy: Fidelity::Hints,
            overflow: None,
            certificate: None,
        }],
        committee: Some(trained.committee),
        learnt_at: LEARNT_AT,
        ..Draft::default()
    })
    .unwrap()
}

fn model(name: &str) -> Model {
    Model {
        id: name.into(),
        family: Family::O200k,
        context: Tokens(100_000),
        max_output: Tokens(1_000),
        capabilities: Capabilities::ALL,
        prior: None,
        typical_output: Tokens(100),
    }
}

fn upstream(model: &str) -> Upstream {
    Upstream {
        id: format!("p:{model}").as_str().into(),
        model: model.into(),
        provider: "p".into(),
        wire_model: model.to_owned(),
        dialects: vec![Dialect::OpenAiChat],
        credential: "p".into(),
    }
}

fn priced(model: &str, usd: f64) -> Lane {
    let rate = NanoUsdPerMtok::from_usd(usd);
    Lane {
        id: lane(model),
        upstream: format!("p:{model}").as_str().into(),
        tier: Tier::Standard,
        price: Some(Price {
            rates: Rates {
                input: rate,
                output: rate,
                ..Rates::default()
            },
            ..Price::default()
        }),
        pace: Pace::default(),
        room: Room::default(),
    }
}

/// Audits after the learning, of requests to the route.
fn later(count: usize, seed: u64) -> Vec<Audit> {
    let mut later = audits(count, true, false, seed);
    for audit in &mut later {
        audit.at = UnixMillis(LEARNT_AT.0 + 1);
        audit.facts.route = Some("auto".into());
    }
    later
}

/// Requests after the learning that the dear model answered with so many tokens each.
fn live(lengths: impl Iterator<Item = u32>) -> Vec<(Outcome, Option<Bps>)> {
    let facts = audits(2_000, true, false, 20)
        .into_iter()
        .map(|audit| audit.facts);
    let one = |(facts, length): (Facts, u32)| {
        let mut outcome = outcome(1, LEARNT_AT.0 + 1, "dear", 1_000_000);
        outcome.facts = facts;
        outcome.usage.output = Tokens(length);
        (outcome, None)
    };
    facts.zip(lengths).map(one).collect()
}

fn kinds(table: &Table, live: &[(Outcome, Option<Bps>)]) -> Vec<Kind> {
    let alarms = watch(table, Since { audits: &[], live });
    alarms.into_iter().map(|alarm| alarm.kind).collect()
}

fn alarms(table: &Table, audits: &[Audit]) -> Vec<(Kind, String)> {
    let alarms = watch(table, Since { audits, live: &[] });
    alarms
        .into_iter()
        .map(|alarm| (alarm.kind, alarm.subject))
        .collect()
}

#[test]
fn the_same_world_raises_no_alarm() {
    let table = table();
    for seed in 10..14 {
        assert_eq!(alarms(&table, &later(1_500, seed)), []);
    }
}

#[test]
fn a_model_that_grew_worse_is_named() {
    let table = table();
    let mut later = later(300, 10);
    for answer in later.iter_mut().flat_map(|audit| &mut audit.answers) {
        if answer.model.as_str() == "cheap-code" {
            answer.score = Bps::new(answer.score.get() / 4);
        }
    }
    let alarms = alarms(&table, &later);
    assert!(
        alarms.contains(&(Kind::Worse, "cheap-code".to_owned())),
        "{alarms:?}"
    );
    assert!(
        alarms.contains(&(Kind::Loss, "auto".to_owned())),
        "{alarms:?}"
    );
    assert!(
        !alarms.iter().any(|(_, subject)| subject == "dear"),
        "{alarms:?}"
    );
    // What came before the learning is no news.
    later.iter_mut().for_each(|audit| audit.at = UnixMillis(0));
    assert_eq!(
        watch(
            &table,
            Since {
                audits: &later,
                live: &[]
            }
        ),
        []
    );
}

#[test]
fn a_shift_of_the_mix_is_told_from_noise() {
    let even: Vec<usize> = (0..2_000).map(|i| i * 7 % SHIFT_GROUPS).collect();
    assert_eq!(shift(&even, LEARNT_AT), None);
    let mut shifted = even.clone();
    shifted[1_000..].iter_mut().for_each(|group| *group /= 3);
    assert_eq!(
        shift(&shifted, LEARNT_AT).map(|alarm| alarm.kind),
        Some(Kind::Shift)
    );
    assert_eq!(shift(&shifted[500..], LEARNT_AT), None, "too few to say");
}

#[test]
fn what_needs_no_label_is_watched_as_well() {
    let table = table();
    // Learnt with a hundred tokens each; skewed, but always the same.
    let usual = |i: u32| if i.is_multiple_of(3) { 400 } else { 60 };
    assert_eq!(kinds(&table, &live((0..1_500).map(usual))), []);
    let longer = |i: u32| if i < 300 { usual(i) } else { 3 * usual(i) };
    assert_eq!(kinds(&table, &live((0..1_500).map(longer))), [Kind::Length]);
    let empty = |i: u32| if i.is_multiple_of(5) { 0 } else { 100 };
    assert!(kinds(&table, &live((0..1_500).map(empty))).contains(&Kind::Empty));
    let mut strange = live((0..500).map(usual));
    for (outcome, _) in &mut strange {
        outcome.facts.encoding = Facts::default().encoding;
    }
    assert!(kinds(&table, &strange).contains(&Kind::Unlike));
    let mut failing = live((0..500).map(usual));
    for (i, (outcome, _)) in failing.iter_mut().enumerate() {
        let idle = Conditions {
            lanes: vec![Default::default(); 3],
        };
        outcome.facts.route = Some("auto".into());
        let decided = decide(&table, &outcome.facts, &idle, outcome.at, Draw(0)).unwrap();
        let result = if i % 3 == 0 {
            AttemptResult::Failed
        } else {
            AttemptResult::Answered
        };
        outcome.attempts.push(Attempt {
            lane: lane("dear"),
            start: Millis(0),
            end: Millis(1),
            result,
            status: None,
        });
        outcome.decision = Some(decided);
    }
    assert_eq!(kinds(&table, &failing), [Kind::Failures]);
}
