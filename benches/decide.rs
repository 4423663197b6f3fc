//! What a decision takes, from a prompt to a plan, and its parts.
//!
//! `make bench-decide`. Each call is timed by itself over prompts that all differ, with
//! words as often as in real texts (few of them most of the time), so that what is
//! remembered of one helps the next no more than in production; memory asked for is counted
//! (the median). A request pays "facts" and "decide" once each. All families means that the
//! table has models of all eleven families of tokenizers, each of which is measured on every
//! prompt.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]

mod heads;

use std::hint::black_box;
use std::time::Instant;

use allocation_counter::measure;

use spillway_routing::catalogue::{
    Capabilities, Lane, Model, Pace, Price, Rates, Room, Tier, Upstream,
};
use spillway_routing::conditions::Conditions;
use spillway_routing::decide::{Draw, decide};
use spillway_routing::dialect::{Dialect, Fidelity};
use spillway_routing::features::{Facts, read};
use spillway_routing::head::Scores;
use spillway_routing::id::TableVersion;
use spillway_routing::prompt::{PromptView, Role, Turn};
use spillway_routing::table::{Choice, Draft, Route, Table};
use spillway_routing::tokens::{Families, Family, TokenCounter};
use spillway_routing::unit::{Bps, Millis, NanoUsdPerMtok, Tokens, UnixMillis};

use heads::{committee, name};

/// Where words are from: o200k cuts these texts into pieces of 4.3 bytes, and prompts of
/// public sets (mmlu_pro, llmrouter, zeroeval, bfcl) into pieces of 4.2 to 4.7.
const TEXTS: [&str; 3] = [
    include_str!("../docs/life-of-a-request.md"),
    include_str!("../docs/life-of-a-table.md"),
    include_str!("../docs/life-of-a-training-run.md"),
];
/// Texts whose allocations are counted; their median is told.
const ALLOCATIONS_OF: usize = 101;
const NOW: UnixMillis = UnixMillis(1_795_262_400_000);

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

/// Draws by a linear congruential generator: the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }

    /// A text of known words, the nth drawn about as often as one in n.
    fn prose(&mut self, bytes: usize) -> String {
        let words = || TEXTS.iter().flat_map(|text| text.split_ascii_whitespace());
        let all = words().count();
        let known: Vec<&str> = words().collect();
        let mut text = String::with_capacity(bytes + 32);
        while text.len() < bytes {
            let share = self.below(1 << 16) as f64 / f64::from(1 << 16);
            let rank = (all as f64).powf(share) as usize;
            // Ranks spread over the text, whose first words are no frequent ones.
            text.push_str(known[rank * 7_919 % all]);
            text.push(' ');
        }
        text.truncate(text.floor_char_boundary(bytes));
        text
    }

    /// One run of what tokenizers are slowest at.
    fn hostile(&mut self, kind: usize, bytes: usize) -> String {
        let first = [b'a', b'!', b' ', b'a'][kind];
        let among = [26, 14, 1, 1][kind];
        let chars = (0..bytes).map(|_| char::from(first + self.below(among) as u8));
        chars.collect()
    }
}

fn facts(text: &str, counter: &TokenCounter) -> Facts {
    let turns = [Turn {
        role: Role::User,
        text,
    }];
    Facts::of(&view(&turns), counter)
}

fn view<'a>(turns: &'a [Turn<'a>]) -> PromptView<'a> {
    PromptView {
        route: "auto",
        turns,
        ..PromptView::default()
    }
}

/// Times `once` of every text but the first tenth, which warms up, and prints a line.
fn time(name: &str, texts: &[String], mut once: impl FnMut(&str)) {
    let warm = texts.len().div_ceil(10);
    texts[..warm].iter().for_each(|text| once(text));
    let counted = texts[warm..].iter().take(ALLOCATIONS_OF);
    let mut counts: Vec<u64> = counted
        .map(|text| measure(|| once(text)).count_total)
        .collect();
    counts.sort_unstable();
    let allocations = counts[counts.len() / 2];
    let mut times = Vec::with_capacity(texts.len());
    for text in &texts[warm..] {
        let start = Instant::now();
        once(text);
        times.push(start.elapsed().as_nanos() as f64 / 1e3);
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "{name:<44} {:>9.1} {:>9.1} {allocations:>12}",
        at(0.5),
        at(0.99)
    );
}

fn parts(size: &str, texts: &[String]) {
    let counter = TokenCounter::new();
    let all = counter.measuring(Families::ALL);
    time(&format!("{size}: o200k tokens"), texts, |text| {
        black_box(counter.count(text));
    });
    time(&format!("{size}: all families' tokens"), texts, |text| {
        black_box(all.measure(text));
    });
    time(&format!("{size}: features and encoding"), texts, |text| {
        let turns = [Turn {
            role: Role::User,
            text,
        }];
        black_box(read(&view(&turns), Tokens(100)));
    });
    time(&format!("{size}: facts, o200k alone"), texts, |text| {
        black_box(facts(text, &counter));
    });
    time(&format!("{size}: facts, all families"), texts, |text| {
        black_box(facts(text, &all));
    });
}

fn decisions(size: &str, texts: &[String], models: usize) {
    let (table, conditions) = (table(models), Conditions::default());
    let counter = TokenCounter::new().measuring(Families::ALL);
    let (committee, mut scores) = (committee(models), Scores::default());
    let known = facts(&texts[0], &counter);
    if size == "2 KB" {
        time(&format!("heads, {models} candidates"), texts, |_| {
            committee.score_into(&known, &mut scores);
        });
        time(&format!("decide, {models} candidates"), texts, |_| {
            let _ = black_box(decide(&table, &known, &conditions, NOW, Draw(7)));
        });
    }
    let name = format!("{size}, {models} candidates: facts and decide");
    time(&name, texts, |text| {
        let facts = facts(text, &counter);
        let _ = black_box(decide(&table, &facts, &conditions, NOW, Draw(7)));
    });
}

fn main() {
    let mut draws = Draws(1);
    println!(
        "{:<44} {:>9} {:>9} {:>12}",
        "", "p50 µs", "p99 µs", "allocations"
    );
    let sizes = [
        ("200 B", 200, 20_000),
        ("2 KB", 2_000, 20_000),
        ("20 KB", 20_000, 2_000),
        ("200 KB", 200_000, 200),
    ];
    for (size, bytes, count) in sizes {
        let texts: Vec<String> = (0..count).map(|_| draws.prose(bytes)).collect();
        parts(size, &texts);
        for models in [2, 20, 60] {
            decisions(size, &texts, models);
        }
    }
    let counter = TokenCounter::new().measuring(Families::ALL);
    for (kind, name) in ["letters", "marks", "spaces", "one letter"]
        .into_iter()
        .enumerate()
    {
        let texts: Vec<String> = (0..30).map(|_| draws.hostile(kind, 1 << 20)).collect();
        time(
            &format!("1 MB of {name}: facts, all families"),
            &texts,
            |text| {
                black_box(facts(text, &counter));
            },
        );
    }
}
