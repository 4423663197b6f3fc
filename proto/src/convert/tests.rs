//! What is written is what is read.

mod old;
mod size;

use super::*;
use crate::pb;
use prost::Message as _;
use spillway_routing::account::Account;
use spillway_routing::audit::Audits;
use spillway_routing::catalogue::{
    Capabilities, ClockRule, Lane, LongContext, Model, Pace, Price, Rates, Room, Tier, Upstream,
    Usage,
};
use spillway_routing::conditions::{Conditions, Gate, LaneState};
use spillway_routing::decide::{Draw, decide};
use spillway_routing::dialect::{Dialect, Fidelity, Reach};
use spillway_routing::encoder::{DIMENSIONS, EncoderId};
use spillway_routing::features::{FEATURES, Facts};
use spillway_routing::head::cells::{Cells, Clusters, Slices};
use spillway_routing::head::curve::Curve;
use spillway_routing::head::familiar::Familiar;
use spillway_routing::head::forest::{Branch, Node, Tree};
use spillway_routing::head::network::Network;
use spillway_routing::head::weights::Weights;
use spillway_routing::head::{Committee, Head, Lengths, Scaler};
use spillway_routing::id::{LaneId, ModelId, RequestId, TableVersion};
use spillway_routing::key::{KeyLimits, KeyTerms};
use spillway_routing::outcome::{
    Answer, Attempt, AttemptResult, Audit, Ending, Outcome, UsageSource, Verdict, VerdictSource,
};
use spillway_routing::overflow::{Cause, Overflow};
use spillway_routing::prompt::{Class, PromptView, Role, Turn};
use spillway_routing::rule::{Action, Match, Rule};
use spillway_routing::start::{Start, Starts};
use spillway_routing::table::{BarPoint, Certificate, Choice, Draft, Probe, Route, Table};
use spillway_routing::tokens::{Family, TokenCounter};
use spillway_routing::unit::{Bps, Millis, NanoUsd, NanoUsdPerMtok, Tokens, UnixMillis};

fn facts() -> Facts {
    let turns = [
        Turn {
            role: Role::System,
            text: "Be brief.",
        },
        Turn {
            role: Role::User,
            text: "How many rivers flow into the Rhine?",
        },
    ];
    let view = PromptView {
        route: "auto",
        turns: &turns,
        tools: "[]",
        tool_count: 2,
        max_output: Some(Tokens(300)),
        start: Start::Within(Millis(5_000)),
        slice: Some("geography"),
        key: "team-a",
        tags: &[("team", "a")],
        min_quality: Some(4_000),
        class: Class::Batch,
        dialect: Dialect::AnthropicMessages,
        own_keys: &["sim".into()],
        kept_by: Some(Account::of(&"sim".into(), None)),
        reach: Reach::default().with(Dialect::OpenAiChat, Some(Fidelity::Hints)),
        ..PromptView::default()
    };
    Facts::of(&view, &TokenCounter::new())
}

fn committee() -> Committee {
    let inputs = FEATURES + DIMENSIONS;
    let cells = || Cells {
        quality: vec![128; 2],
        labels: vec![30; 2],
    };
    let numbers = |rows: usize, columns: usize| {
        let number = |i: usize| (i * 37 % 11) as f32 / 11.0 - 0.5;
        Weights::of(
            columns,
            &(0..rows * columns).map(number).collect::<Vec<_>>(),
        )
    };
    Committee {
        encoder: EncoderId::MiniLm64,
        models: vec!["small".into(), "large".into()],
        mean_quality: vec![Bps::new(6_100), Bps::new(9_000)],
        mean_output: vec![Tokens(20), Tokens(200)],
        labels: 400,
        scaler: Scaler {
            mean: vec![0.25; inputs],
            inverse_spread: vec![1.5; inputs],
        },
        heads: vec![
            Head::Slices(Slices {
                names: vec!["geography".into()],
                weights: numbers(1, inputs),
                bias: vec![-1.0],
                cells: cells(),
                familiar: Familiar {
                    centres: vec![-3; FEATURES],
                    weights: vec![200; FEATURES],
                    limits: vec![u32::MAX],
                },
            }),
            Head::Clusters(Clusters {
                centroids: numbers(1, DIMENSIONS),
                similarity_min: -1.0,
                cells: cells(),
            }),
            Head::Forest(vec![
                tree(),
                Tree {
                    nodes: Vec::new(),
                    leaves: vec![9, 200],
                },
            ]),
            Head::Networks(vec![Network {
                hidden: numbers(3, inputs),
                hidden_bias: vec![0.5, -0.5, 0.0],
                output: numbers(2, 3),
                output_bias: vec![-1.0, 1.0],
            }]),
        ],
        mix: [2_000, 1_000, 3_000, 4_000].map(Bps::new).to_vec(),
        given: Bps::new(7_500),
        lengths: Lengths {
            weights: numbers(2, inputs),
            bias: vec![3.0, 5.0],
        },
        calibration: vec![
            Curve::identity(),
            Curve {
                knots: vec![Bps::ZERO, Bps::new(5_000), Bps::ONE],
            },
        ],
        labels_min: 20,
    }
}

fn tree() -> Tree {
    Tree {
        nodes: vec![
            Node {
                input: 3,
                threshold: -700,
                left: Branch::Leaf(0),
                right: Branch::Node(1),
            },
            Node {
                input: 70,
                threshold: 4_000,
                left: Branch::Leaf(1),
                right: Branch::Leaf(2),
            },
        ],
        leaves: vec![0, 255, 100, 20, 30, 40],
    }
}

fn price() -> Price {
    let rates = |usd| Rates {
        input: NanoUsdPerMtok::from_usd(usd),
        output: NanoUsdPerMtok::from_usd(4.0 * usd),
        cache_read: Some(NanoUsdPerMtok::from_usd(usd / 10.0)),
        cache_write: None,
    };
    Price {
        rates: rates(1.0),
        long_context: vec![LongContext {
            above: Tokens(200_000),
            rates: rates(2.0),
        }],
        clock: vec![ClockRule {
            weekdays: 0x1f,
            from_minute: 60,
            to_minute: 240,
            permille: 500,
        }],
        per_call: NanoUsd(12),
    }
}

/// A table with one of everything.
pub(crate) fn draft() -> Draft {
    probed(bare_draft())
}

/// With a recorded request.
fn probed(mut draft: Draft) -> Draft {
    let table = Table::build(draft.clone()).unwrap();
    let now = UnixMillis(1_795_262_400_000);
    let decision = decide(&table, &facts(), &Conditions::default(), now, Draw(9)).unwrap();
    draft.probes.push(Probe {
        facts: facts(),
        conditions: vec![],
        now,
        draw: Draw(9),
        expected: decision.plan.into_iter().map(|step| step.lane).collect(),
    });
    draft
}

fn routes() -> Vec<Route> {
    let route = Route {
        id: "auto".into(),
        models: vec!["small".into(), "large".into()],
        default_lane: "sim:large/standard".into(),
        baseline: "sim:large/standard".into(),
        bar: Bps::new(9_700),
        choice: Choice::Multiplier(123_456),
        guard: Bps::new(3_000),
        learned: true,
        explore: Bps::new(200),
        max_cost: Some(NanoUsd(5_000_000_000)),
        first_token_max: Some(Millis(9_000)),
        deadline: Millis(60_000),
        attempts_max: 3,
        lossy: Fidelity::Hints,
        overflow: Some(Overflow {
            lane: "sim:small/standard".into(),
            after: vec![Cause::Limited, Cause::Waited],
            in_flight: Some(4),
            queued: Some(0),
            cost: Some(NanoUsd(5)),
            spend: Some(NanoUsd(6)),
            classes: vec![Class::Batch],
            dearer: true,
            per_day: Some(NanoUsd(7)),
        }),
        certificate: Some(Certificate {
            allowed: Bps::new(200),
            confidence: Bps::new(9_000),
            audits: 1_234,
        }),
    };
    let floor = Route {
        id: "plain".into(),
        choice: Choice::Floor(Bps::new(8_000)),
        ..route.clone()
    };
    vec![route, floor]
}

fn rules() -> Vec<Rule> {
    let when = vec![
        Match::Route("auto".into()),
        Match::Slice("s".into()),
        Match::Key("k".into()),
        Match::Tag {
            name: "team".into(),
            value: "b".into(),
        },
        Match::Class(Class::Background),
        Match::InputAbove(Tokens(9)),
    ];
    let rule = |id: &str, then| Rule {
        id: id.into(),
        when: when.clone(),
        then,
    };
    vec![
        rule("a", Action::Only(vec!["small".into()])),
        rule("b", Action::Without(vec!["small".into()])),
        rule("c", Action::WithoutProvider("sim".into())),
        rule("d", Action::Pin("sim:small/flex".into())),
    ]
}

fn keys() -> Vec<KeyTerms> {
    vec![KeyTerms {
        id: "team".into(),
        sha256: Some([7; 32]),
        routes: Some(vec!["auto".into()]),
        tags: vec![("team".to_owned(), "b".to_owned())],
        limits: KeyLimits {
            requests_per_minute: Some(60),
            tokens_per_minute: Some(9_000),
            per_day: Some(NanoUsd(5)),
        },
    }]
}

fn bare_draft() -> Draft {
    let model = |id: &str, family| Model {
        id: id.into(),
        family,
        context: Tokens(100_000),
        max_output: Tokens(8_000),
        capabilities: Capabilities {
            vision: false,
            ..Capabilities::ALL
        },
        prior: Some(Bps::new(5_000)),
        typical_output: Tokens(300),
    };
    let upstream = |model: &str| Upstream {
        id: format!("sim:{model}").as_str().into(),
        model: model.into(),
        provider: "sim".into(),
        wire_model: format!("{model}-2026"),
        dialects: vec![Dialect::OpenAiChat],
        credential: "sim".into(),
    };
    let lane = |model: &str, tier: Tier| Lane {
        id: format!("sim:{model}/{}", tier.name()).as_str().into(),
        upstream: format!("sim:{model}").as_str().into(),
        tier,
        price: Some(price()),
        pace: Pace::default(),
        room: Room {
            in_flight: Some(8),
            queue: 9,
            wait: Millis(1_000),
        },
    };
    Draft {
        version: TableVersion(8),
        parent: TableVersion(7),
        made_at: UnixMillis(1_795_262_000_000),
        note: "one of everything".to_owned(),
        policy: 4,
        observed: vec![("small".into(), price())],
        audits: Some(Audits {
            share: Bps::new(200),
            starting: Bps::new(2_000),
            per_day: NanoUsd(5_000_000_000),
            judge: Some("sim:large/standard".into()),
        }),
        learnt_at: UnixMillis(1_795_000_000_000),
        suspended: Vec::new(),
        keys: keys(),
        models: vec![
            model("small", Family::O200k),
            model("large", Family::Claude47),
        ],
        upstreams: vec![upstream("small"), upstream("large")],
        lanes: vec![
            lane("small", Tier::Standard),
            lane("small", Tier::Flex),
            lane("large", Tier::Standard),
        ],
        committee: Some(committee()),
        routes: routes(),
        rules: rules(),
        probes: vec![],
        frontier: vec![BarPoint {
            bar: Bps::new(9_500),
            multiplier: 77,
            learned: true,
        }],
    }
}

#[test]
fn a_table_survives_the_wire() {
    let mut draft = draft();
    draft.suspended = vec!["large".into()];
    assert_eq!(decode_table(&encode_table(&draft)), Ok(draft));
}

#[test]
fn an_outcome_survives_the_wire() {
    let table = Table::build(draft()).unwrap();
    let states = vec![(
        LaneId::new("sim:small/flex"),
        LaneState {
            gate: Gate::Shut,
            in_flight: 3,
            first_token: Some(Millis(4)),
            per_token_us: Some(5),
            starts: Some(Starts::from_bits(0xfac8_9664_3219_0a05)),
            waiting: 6,
            spent: NanoUsd(7),
            overflowed: NanoUsd(8),
            cached: Tokens(9),
        },
    )];
    let order = table.draft().lanes.iter().map(|lane| &lane.id);
    let conditions = Conditions::named(&states, order);
    let outcome = Outcome {
        id: RequestId([3; 16]),
        at: UnixMillis(1_795_262_400_000),
        proxy: "p1-0a".into(),
        table: TableVersion(8),
        facts: facts(),
        conditions: states,
        decision: decide(
            &table,
            &facts(),
            &conditions,
            UnixMillis(1_795_262_400_000),
            Draw(1),
        )
        .ok(),
        attempts: vec![Attempt {
            lane: "sim:small/flex".into(),
            start: Millis(1),
            end: Millis(90),
            result: AttemptResult::Overloaded,
            status: Some(429),
        }],
        ending: Ending::Answered,
        status: 200,
        served: Some("sim:large/standard".into()),
        served_model: Some("large".into()),
        served_tier: Some(Tier::Standard),
        usage: Usage {
            input: Tokens(10),
            output: Tokens(20),
            ..Usage::default()
        },
        usage_source: UsageSource::Reported,
        cost: NanoUsd(99),
        baseline_cost: NanoUsd(100),
        first_token: Some(Millis(80)),
        total: Millis(200),
    };
    assert!(outcome.decision.is_some());
    let bytes = pb::Outcome::from(&outcome).encode_to_vec();
    assert_eq!(
        pb::Outcome::decode(&*bytes).unwrap().try_into(),
        Ok(outcome)
    );
    let verdict = Verdict {
        request: RequestId([3; 16]),
        source: VerdictSource::App,
        score: Bps::new(7_500),
        at: UnixMillis(5),
    };
    assert_eq!(pb::Verdict::from(&verdict).try_into(), Ok(verdict));
}

#[test]
fn audits_survive_the_wire() {
    let answer = Answer {
        model: "small".into(),
        score: Bps::new(2_500),
        input: Tokens(10),
        output: Tokens(20),
        cost: Some(NanoUsd(30)),
        latency: None,
    };
    let audit = Audit {
        id: "edge.1/7".to_owned(),
        at: UnixMillis(5),
        split: None,
        facts: Facts::default(),
        answers: vec![answer],
    };
    let bytes = pb::Audit::from(&audit).encode_to_vec();
    assert_eq!(pb::Audit::decode(&*bytes).unwrap().try_into(), Ok(audit));
}

#[test]
fn an_error_names_the_field() {
    let mut table = pb::Table::from(&draft());
    table.lanes[1].tier = "turbo".to_owned();
    let error = Draft::try_from(table).unwrap_err();
    assert_eq!(
        error.to_string(),
        "lanes[1].tier: \"turbo\" is not known here"
    );
    let mut table = pb::Table::from(&draft());
    table.routes[0].choice = None;
    assert_eq!(
        Draft::try_from(table).unwrap_err().to_string(),
        "routes[0].choice: is missing"
    );
}

#[test]
fn a_newer_form_is_refused() {
    let mut table = pb::Table::from(&draft());
    table.format = TABLE_FORMAT + 1;
    assert!(
        Draft::try_from(table)
            .unwrap_err()
            .to_string()
            .contains("format")
    );
}
