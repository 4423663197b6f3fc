//! What reading and scoring a prompt takes: features, encoder and all heads, 16 models.
//!
//! `cargo bench -p spillway-routing --bench score`. Each call is timed by itself, over
//! many different texts, so that the slow ones show; memory asked for is counted. The
//! token count that a price needs is not part of it.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]

mod heads;

use std::hint::black_box;
use std::time::Instant;

use allocation_counter::measure;
use spillway_routing::features::{Facts, read};
use spillway_routing::head::Scores;
use spillway_routing::prompt::{PromptView, Role, Turn};
use spillway_routing::tokens::TokenCounter;
use spillway_routing::unit::Tokens;

const MODELS: usize = 16;
const TEXTS: usize = 200;
const ROUNDS: usize = 100;

const WORDS: [&str; 40] = [
    "the",
    "reservoir",
    "of",
    "how",
    "many",
    "calculate",
    "river",
    "function",
    "return",
    "Zürich",
    "because",
    "which",
    "following",
    "statement",
    "is",
    "true",
    "about",
    "thermodynamic",
    "equilibrium",
    "(a)",
    "x = 3",
    "explain",
    "step",
    "by",
    "Write",
    "a",
    "poem",
    "JSON",
    "with",
    "keys",
    "12,5",
    "percent",
    "translate",
    "into",
    "French:",
    "\n",
    "Question:",
    "\"quoted\"",
    "supercalifragilistic",
    "42",
];

/// A text by seed and bytes.
type Text = fn(usize, usize) -> String;

/// Words in an order that differs from text to text.
fn prose(seed: usize, bytes: usize) -> String {
    let mut text = String::new();
    let mut state = seed as u64 * 2 + 1;
    while text.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(state >> 33) as usize % WORDS.len()]);
        text.push(' ');
    }
    text.truncate(text.floor_char_boundary(bytes));
    text
}

/// Characters that cost the tokenizer most.
fn hostile(seed: usize, bytes: usize) -> String {
    let kinds: [&[char]; 5] = [
        &['\u{1e9b}', '\u{323}'],
        &['\u{ac00}', '\u{d7a3}'],
        &['\u{1f468}', '\u{200d}', '\u{1f469}'],
        &['\u{3b1}', '\u{345}', '\u{301}'],
        &['a', '\u{300}', '\u{316}', '\u{31b}'],
    ];
    let chars = kinds[seed % kinds.len()].iter().cycle();
    let mut text = String::new();
    for char in chars {
        if text.len() + char.len_utf8() > bytes {
            return text;
        }
        text.push(*char);
    }
    text
}

fn view<'a>(turns: &'a [Turn<'a>]) -> PromptView<'a> {
    PromptView {
        route: "auto",
        turns,
        ..PromptView::default()
    }
}

fn main() {
    let committee = heads::committee(MODELS);
    let counter = TokenCounter::new();
    println!(
        "features, encoder and heads for {MODELS} models, {TEXTS} texts, {ROUNDS} rounds each"
    );
    println!(
        "{:<22} {:>9} {:>9} {:>9} {:>12}",
        "", "p50 µs", "p99 µs", "max µs", "allocations"
    );
    for (kind, text) in [("prose", prose as Text), ("hostile Unicode", hostile)] {
        for bytes in [100, 500, 2_000, 100_000] {
            let texts: Vec<String> = (0..TEXTS).map(|seed| text(seed, bytes)).collect();
            let mut scores = Scores::default();
            let mut facts = Facts::of(&view(&[]), &counter);
            let mut times = Vec::with_capacity(TEXTS * ROUNDS);
            let mut allocations = 0;
            for round in 0..=ROUNDS {
                for text in &texts {
                    let turns = [Turn {
                        role: Role::User,
                        text,
                    }];
                    let view = view(&turns);
                    let mut once = || {
                        (facts.features, facts.encoding) = read(black_box(&view), Tokens(100));
                        committee.score_into(&facts, &mut scores);
                    };
                    // The first round warms up; in the second memory is counted.
                    if round == 1 {
                        allocations += measure(once).count_total;
                        continue;
                    }
                    let start = Instant::now();
                    once();
                    let taken = start.elapsed();
                    if round > 1 {
                        times.push(taken.as_nanos() as f64 / 1e3);
                    }
                    black_box(&scores);
                }
            }
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
            println!(
                "{:<22} {:>9.1} {:>9.1} {:>9.1} {:>12}",
                format!("{kind}, {bytes} B"),
                at(0.5),
                at(0.99),
                at(1.0),
                allocations
            );
        }
    }
}
