//! Decision latency: from a prompt to facts to a decision.
//!
//! `cargo bench -p spillway-routing --bench decide`. Prompts of 200 B, 2 KB and 20 KB; 2, 20 and 60
//! candidates with learned heads. What a request pays is `facts` once and `decide` once.

mod heads;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use spillway_routing::catalogue::{
    Capabilities, Lane, Model, Pace, Price, Rates, Room, Tier, Upstream,
};
use spillway_routing::conditions::Conditions;
use spillway_routing::decide::{Draw, decide};
use spillway_routing::dialect::{Dialect, Fidelity};
use spillway_routing::features::Facts;
use spillway_routing::id::TableVersion;
use spillway_routing::prompt::{PromptView, Role, Turn};
use spillway_routing::table::{Choice, Draft, Route, Table};
use spillway_routing::tokens::{Families, Family, TokenCounter};
use spillway_routing::unit::{Bps, Millis, NanoUsdPerMtok, Tokens, UnixMillis};

use heads::{committee, name};

const NOW: UnixMillis = UnixMillis(1_795_262_400_000);

fn prompt(bytes: usize) -> String {
    let words =
        "How many litres of water pass the dam in 24 hours if the gate is half open? Explain. ";
    words.chars().cycle().take(bytes).collect()
}

fn upstream(i: usize) -> String {
    format!("p{}:{}", i % 5, name(i))
}

fn model(i: usize) -> Model {
    Model {
        id: name(i).as_str().into(),
        family: Family::ALL[i % Family::ALL.len()],
        context: Tokens(200_000),
        max_output: Tokens(16_000),
        capabilities: Capabilities::ALL,
        prior: None,
        typical_output: Tokens(300),
    }
}

fn lane(i: usize) -> Lane {
    let rate = NanoUsdPerMtok(100_000_000 * (i as u64 + 1));
    let rates = Rates {
        input: rate,
        output: rate,
        ..Rates::default()
    };
    Lane {
        id: format!("{}/standard", upstream(i)).as_str().into(),
        upstream: upstream(i).as_str().into(),
        tier: Tier::Standard,
        price: Some(Price {
            rates,
            ..Price::default()
        }),
        pace: Pace::default(),
        room: Room::default(),
    }
}

/// A table with one route that has `models` candidates.
fn table(models: usize) -> Table {
    let draft = Draft {
        version: TableVersion(1),
        models: (0..models).map(model).collect(),
        upstreams: (0..models)
            .map(|i| Upstream {
                id: upstream(i).as_str().into(),
                model: name(i).as_str().into(),
                provider: format!("p{}", i % 5).as_str().into(),
                wire_model: name(i),
                dialects: vec![Dialect::OpenAiChat],
                credential: "none".into(),
            })
            .collect(),
        lanes: (0..models).map(lane).collect(),
        committee: Some(committee(models)),
        routes: vec![Route {
            id: "auto".into(),
            models: Vec::new(),
            default_lane: lane(0).id,
            baseline: lane(0).id,
            bar: Bps::new(9_500),
            choice: Choice::Multiplier(300_000),
            guard: Bps::ONE,
            learned: true,
            explore: Bps::new(200),
            max_cost: None,
            first_token_max: None,
            deadline: Millis(60_000),
            attempts_max: 3,
            lossy: Fidelity::Hints,
            overflow: None,
            certificate: None,
        }],
        ..Draft::default()
    };
    Table::build(draft)
        .unwrap_or_else(|flaws| unreachable!("the bench's table is sound: {flaws:?}"))
}

fn facts(text: &str, counter: &TokenCounter) -> Facts {
    let turns = [Turn {
        role: Role::User,
        text,
    }];
    Facts::of(
        &PromptView {
            route: "auto",
            turns: &turns,
            ..PromptView::default()
        },
        counter,
    )
}

/// What tokenizers are slowest at.
fn hostile() -> [(&'static str, String); 4] {
    const BYTES: usize = 1 << 20;
    let mut seed = 1u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let letters = (0..BYTES).map(|_| char::from(b'a' + draw(26) as u8));
    let letters = letters.collect();
    let marks = (0..BYTES).map(|_| char::from(b'!' + draw(14) as u8));
    [
        ("letters", letters),
        ("marks", marks.collect()),
        ("spaces", " ".repeat(BYTES)),
        ("one letter", "a".repeat(BYTES)),
    ]
}

fn decisions(criterion: &mut Criterion) {
    let counter = TokenCounter::new();
    let mut group = criterion.benchmark_group("facts");
    for bytes in [200, 2_000, 20_000] {
        let text = prompt(bytes);
        group.bench_function(BenchmarkId::from_parameter(format!("{bytes} B")), |bench| {
            bench.iter(|| facts(black_box(&text), &counter));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("facts, all tokenizers");
    let all = counter.measuring(Families::ALL);
    for bytes in [200, 2_000, 20_000] {
        let text = prompt(bytes);
        group.bench_function(BenchmarkId::from_parameter(format!("{bytes} B")), |bench| {
            bench.iter(|| facts(black_box(&text), &all));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("1 MiB of");
    for (name, text) in hostile() {
        group.bench_function(BenchmarkId::from_parameter(name), |bench| {
            bench.iter(|| {
                let o200k = all.count(black_box(&text));
                all.ratios(&text, o200k)
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("decide");
    for models in [2, 20, 60] {
        let table = table(models);
        let facts = facts(&prompt(2_000), &counter);
        let conditions = Conditions::default();
        group.bench_function(
            BenchmarkId::from_parameter(format!("{models} candidates")),
            |bench| {
                bench.iter(|| decide(&table, black_box(&facts), &conditions, NOW, Draw(7)));
            },
        );
    }
    group.finish();
    let mut group = criterion.benchmark_group("facts and decide");
    for (bytes, models) in [(200, 2), (2_000, 20), (20_000, 60)] {
        let (table, text) = (table(models), prompt(bytes));
        let conditions = Conditions::default();
        let name = format!("{bytes} B, {models} candidates");
        group.bench_function(BenchmarkId::from_parameter(name), |bench| {
            bench.iter(|| {
                decide(
                    &table,
                    &facts(black_box(&text), &counter),
                    &conditions,
                    NOW,
                    Draw(7),
                )
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
