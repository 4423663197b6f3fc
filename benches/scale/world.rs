//! What is recorded and labelled: made-up prompts, models and requests.
//!
//! Owns: twenty models made from the six of the simulator's world, their policy, audits of
//! its prompts, and outcomes as a proxy would record them for those. Everything follows
//! from numbers; nothing is drawn.

use std::fmt::Write as _;
use std::ops::Range;

use spillway_control_plane::policy::{self, Learned};
use spillway_routing::catalogue::Usage;
use spillway_routing::conditions::Conditions;
use spillway_routing::decide::{Draw, decide};
use spillway_routing::features::Facts;
use spillway_routing::id::{ModelId, ProxyId, RequestId};
use spillway_routing::outcome::{
    Answer, Attempt, AttemptResult, Audit, Ending, Outcome, Split, UsageSource,
};
use spillway_routing::prompt::{PromptView, Role, Turn};
use spillway_routing::table::Table;
use spillway_routing::tokens::TokenCounter;
use spillway_routing::unit::{Bps, Millis, NanoUsd, Tokens, UnixMillis};
use spillway_simulator::{World, WorldModel, WorldPrompt, count_input_tokens};

use crate::heads;

/// Models that answer each audited prompt.
pub(crate) const MODELS: usize = 20;
const SEED: u64 = 7;
/// Audits come from so many days before now.
const DAYS: u64 = 10;
const DAY_MS: u64 = 24 * 3_600_000;
/// Different prompts among the recorded requests.
const ASKED: u64 = 2_000;

/// A model like one of the world's: a little worse, cheaper, and with its own luck.
struct Variant {
    name: String,
    like: &'static WorldModel,
    number: usize,
}

impl Variant {
    fn all(world: &World) -> Vec<Self> {
        let models = world.models();
        let variant = |number: usize| Self {
            name: heads::name(number),
            like: &models[number % models.len()],
            number,
        };
        (0..MODELS).map(variant).collect()
    }

    /// 0 for the world's own, then 1, 2, 3.
    fn step(&self, world: &World) -> f64 {
        (self.number / world.models().len()) as f64
    }

    fn price_part(&self, world: &World) -> f64 {
        1.0 - 0.2 * self.step(world)
    }

    /// In dollars per million tokens: input, output.
    fn price(&self, world: &World) -> (f64, f64) {
        let price = &self.like.price;
        let usd = |nano: u64| nano as f64 / 1e3 * self.price_part(world);
        (usd(price.input_nano_usd), usd(price.output_nano_usd))
    }

    fn answer(&self, world: &World, prompt: &str, number: u64) -> Answer {
        let input = count_input_tokens([prompt]);
        let output = world.output_tokens(self.like.name, prompt).unwrap();
        let luck = unit(number, 1 + self.number as u64) - 0.5;
        let score = world.score(self.like.name, prompt).unwrap();
        let score = score - 0.06 * self.step(world) + 0.3 * luck;
        let charged = self.like.price.of(input, output) as f64 * self.price_part(world);
        let tokens = |count: u64| Tokens(u32::try_from(count).unwrap());
        Answer {
            model: ModelId::new(&self.name),
            score: Bps::from_share(score.clamp(0.0, 1.0)),
            input: tokens(input),
            output: tokens(output),
            cost: Some(NanoUsd(charged as u64)),
            latency: None,
        }
    }
}

/// A number in 0..1 of a place.
fn unit(number: u64, stream: u64) -> f64 {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id[8..].copy_from_slice(&stream.to_be_bytes());
    (Draw::of(RequestId(id)).0 >> 11) as f64 / (1u64 << 53) as f64
}

/// A policy over the first `models` of them, with one route; `bar` tells versions apart.
pub(crate) fn policy(models: usize, bar: f64) -> String {
    let world = World::new(SEED);
    let mut text = format!(
        "version = 1\n[routes.auto]\nbaseline = \"{}\"\nbar = {bar}\n",
        heads::name(5)
    );
    for variant in &Variant::all(&world)[..models] {
        let (input, output) = variant.price(&world);
        write!(
            text,
            "[[upstreams]]\nprovider = \"sim\"\nmodels = [\"{}\"]\n\
             prices.standard = {{ input = {input:?}, output = {output:?} }}\n",
            variant.name
        )
        .unwrap();
    }
    text
}

fn facts(prompt: &WorldPrompt, counter: &TokenCounter) -> Facts {
    let turns = [Turn {
        role: Role::User,
        text: &prompt.text,
    }];
    let view = PromptView {
        route: "auto",
        turns: &turns,
        slice: Some(prompt.kind.name()),
        ..PromptView::default()
    };
    Facts::of(&view, counter)
}

/// Prompts that all models answered.
pub(crate) fn audits(numbers: Range<u64>, at: impl Fn(u64) -> UnixMillis) -> Vec<Audit> {
    let (world, counter) = (World::new(SEED), TokenCounter::new());
    let variants = Variant::all(&world);
    let audit = |number: u64| {
        let prompt = world.prompt(number);
        let answer = |variant: &Variant| variant.answer(&world, &prompt.text, number);
        Audit {
            id: format!("scale/{number}"),
            at: at(number),
            split: Some(Split::Train),
            facts: facts(&prompt, &counter),
            answers: variants.iter().map(answer).collect(),
        }
    };
    numbers.map(audit).collect()
}

/// When the `number`-th of so many came, evenly over the last days.
pub(crate) fn spread(number: u64, of: u64, now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0 - DAYS * DAY_MS * (of - number) / of)
}

/// Records of answered requests, decided by a table of some lanes.
pub(crate) struct Requests {
    decided: Vec<Outcome>,
}

impl Requests {
    pub(crate) fn new(lanes: usize) -> Self {
        let text = policy(lanes, 0.95);
        let parsed = policy::parse(&text).unwrap();
        let draft = policy::draft(&parsed, &text, &Learned::default()).unwrap();
        let table = Table::build(draft).unwrap();
        let (world, counter) = (World::new(SEED), TokenCounter::new());
        let decided = |number| decided(&table, facts(&world.prompt(number), &counter), number);
        Self {
            decided: (0..ASKED).map(decided).collect(),
        }
    }

    /// The `number`-th request of a proxy, as it would be recorded now.
    pub(crate) fn outcome(
        &self,
        proxy: &ProxyId,
        stream: u64,
        number: u64,
        now: UnixMillis,
    ) -> Outcome {
        let like = &self.decided[(number % ASKED) as usize];
        let mut id = [0; 16];
        id[..6].copy_from_slice(&now.0.to_be_bytes()[2..]);
        let dice = (unit(number, stream) * f64::from(u32::MAX)) as u32;
        id[6..10].copy_from_slice(&dice.to_be_bytes());
        id[10..].copy_from_slice(&(stream << 40 | number).to_be_bytes()[2..]);
        Outcome {
            id: RequestId(id),
            at: now,
            proxy: proxy.clone(),
            ..like.clone()
        }
    }

    /// The same, served by one model as often as by another: each was judged.
    pub(crate) fn by_any_model(&self, proxy: &ProxyId, number: u64, now: UnixMillis) -> Outcome {
        let model = heads::name((number / ASKED) as usize % MODELS);
        Outcome {
            served_model: Some(ModelId::new(&model)),
            ..self.outcome(proxy, 0, number, now)
        }
    }
}

fn decided(table: &Table, facts: Facts, number: u64) -> Outcome {
    let conditions = Conditions {
        lanes: vec![Default::default(); table.draft().lanes.len()],
    };
    let draw = Draw((unit(number, 99) * u64::MAX as f64) as u64);
    let decision = decide(table, &facts, &conditions, UnixMillis(0), draw).unwrap();
    let chosen = decision.chosen().unwrap();
    let total = Millis(400 + number % 3_000);
    Outcome {
        id: RequestId([0; 16]),
        at: UnixMillis(0),
        proxy: ProxyId::new(""),
        table: table.version(),
        conditions: Vec::new(),
        attempts: vec![Attempt {
            lane: chosen.lane.clone(),
            start: Millis(1),
            end: total,
            result: AttemptResult::Answered,
            status: Some(200),
        }],
        ending: Ending::Answered,
        status: 200,
        served: Some(chosen.lane.clone()),
        served_model: Some(chosen.model.clone()),
        served_tier: Some(spillway_routing::catalogue::Tier::Standard),
        usage: Usage {
            input: facts.o200k,
            output: Tokens(20 + (number % 400) as u32),
            ..Usage::default()
        },
        usage_source: UsageSource::Reported,
        cost: NanoUsd(20_000 + 137 * number),
        baseline_cost: decision.baseline_cost,
        first_token: Some(Millis(100 + number % 500)),
        total,
        decision: Some(decision),
        facts,
    }
}
