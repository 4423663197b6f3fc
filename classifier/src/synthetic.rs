//! A made-up world with a known truth, for tests: two kinds of prompts that differ in
//! words and in one feature, and three models, each best for its price somewhere.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use spillway_routing::catalogue::Usage;
use spillway_routing::decide::Decision;
use spillway_routing::encoder::Encoder;
use spillway_routing::features::{FEATURES, Facts, Features};
use spillway_routing::id::{ModelId, ProxyId, RequestId, RouteId, SliceId, TableVersion};
use spillway_routing::outcome::{Answer, Audit, Ending, Outcome, UsageSource};
use spillway_routing::unit::{Bps, Millis, NanoUsd, Ppm, Tokens, UnixMillis};

pub(crate) const MODELS: [&str; 3] = ["cheap-code", "cheap-prose", "dear"];
/// Chance of a right answer by kind and model.
pub(crate) const CHANCE: [[f64; 3]; 2] = [[0.92, 0.3, 0.95], [0.3, 0.92, 0.95]];
const DOLLARS: [f64; 3] = [0.0001, 0.0001, 0.01];
const WORDS: [[&str; 4]; 2] = [
    ["loop", "array", "print", "index"],
    ["poem", "rain", "love", "verse"],
];
/// Words that tell nothing.
const COMMON: [&str; 12] = [
    "the", "a", "of", "with", "please", "that", "one", "two", "and", "give", "some", "now",
];

/// Facts of one prompt of a kind; without `telling` all prompts look alike.
pub(crate) fn facts(kind: usize, telling: bool, dice: &mut Xoshiro256Plus) -> Facts {
    let shown = if telling { kind } else { 0 };
    let mut features = vec![0.5; FEATURES]; // Constant but for two.
    features[0] = dice.gen_range(0.0..1.0);
    features[1] = shown as f32 + dice.gen_range(-0.3..0.3);
    let mut encoder = Encoder::default();
    for _ in 0..12 {
        encoder.read(WORDS[shown][dice.gen_range(0..4)]);
        encoder.read(COMMON[dice.gen_range(0..COMMON.len())]);
    }
    Facts {
        o200k: Tokens(dice.gen_range(50..150)),
        features: Features::of(&features),
        encoding: encoder.finish(),
        ..Facts::default()
    }
}

/// Audited prompts; `telling` says whether facts show the kind, `labelled` whether the
/// kind is given as a slice.
pub(crate) fn audits(count: usize, telling: bool, labelled: bool, seed: u64) -> Vec<Audit> {
    let mut dice = Xoshiro256Plus::seed_from_u64(seed);
    let one = |i: usize| {
        let kind = usize::from(dice.gen_bool(0.5));
        let mut facts = facts(kind, telling, &mut dice);
        facts.slice = labelled.then(|| SliceId::new(["code", "prose"][kind]));
        let answer = |(m, model): (usize, &&str)| Answer {
            model: ModelId::new(model),
            score: Bps::from_share(f64::from(u8::from(dice.gen_bool(CHANCE[kind][m])))),
            input: facts.o200k,
            output: Tokens(100),
            cost: Some(NanoUsd::from_usd(DOLLARS[m])),
            latency: None,
        };
        Audit {
            id: format!("synthetic/{seed}/{i}"),
            at: UnixMillis(i as u64),
            split: None,
            answers: MODELS.iter().enumerate().map(answer).collect(),
            facts,
        }
    };
    (0..count).map(one).collect()
}

/// A live request that a model answered.
pub(crate) fn outcome(id: u8, at: u64, model: &str, propensity: u32) -> Outcome {
    Outcome {
        id: RequestId([id; 16]),
        at: UnixMillis(at),
        proxy: ProxyId::new("p"),
        table: TableVersion(1),
        facts: Facts::default(),
        conditions: Vec::new(),
        decision: Some(Decision {
            route: RouteId::new("auto"),
            plan: Vec::new(),
            trail: Vec::new(),
            abstention: None,
            explored: false,
            propensity: Ppm(propensity),
            baseline_cost: NanoUsd::ZERO,
            relaxed: Vec::new(),
        }),
        attempts: Vec::new(),
        ending: Ending::Answered,
        status: 200,
        served: None,
        served_model: Some(ModelId::new(model)),
        served_tier: None,
        usage: Usage {
            input: Tokens(10),
            output: Tokens(20),
            ..Usage::default()
        },
        usage_source: UsageSource::Reported,
        cost: NanoUsd::from_usd(0.5),
        baseline_cost: NanoUsd::ZERO,
        first_token: None,
        total: Millis(1),
    }
}
