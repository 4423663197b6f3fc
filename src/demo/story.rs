//! The demo's world: who serves what at which price, its policy and its audits.
//!
//! Owns: data for the demo, made from the simulator's world. Every figure is simulated.

use std::fmt::Write as _;

use spillway_routing::features::Facts;
use spillway_routing::id::ModelId;
use spillway_routing::outcome::{Answer, Audit, Split};
use spillway_routing::prompt::{PromptView, Role, Turn};
use spillway_routing::tokens::TokenCounter;
use spillway_routing::unit::{Bps, NanoUsd, Tokens, UnixMillis};
use spillway_simulator::{
    Answerer, Behaviour, Fault, ProviderConfig, SimulatorConfig, Speed, World, WorldModel,
    count_input_tokens,
};
use std::sync::Arc;

/// Three providers; the dearest model is served by two of them, so that failing over
/// has somewhere to go.
pub(super) const PROVIDERS: [&str; 3] = ["harbor", "lagoon", "delta"];
/// Audited prompts: enough for the heads, seconds to make.
const AUDITED: u64 = 1_500;
/// Share of one provider's calls that fail, so that the page shows failing over.
const FAULTS: f64 = 0.01;

fn served_by(provider: &str, model: &str) -> bool {
    match model {
        "sim-max" => provider != "harbor",
        "sim-pro" | "sim-coder" => provider == "lagoon",
        _ => provider == "harbor",
    }
}

pub(super) fn simulator(world: &Arc<World>, seed: u64) -> SimulatorConfig {
    let provider = |id: &&'static str| {
        let mut models = world.served();
        models.retain(|model| served_by(id, &model.name));
        let faults = if *id == "lagoon" { FAULTS } else { 0.0 };
        let behaviour = Behaviour::healthy().with_fault(Fault::status(503), faults);
        ProviderConfig::new(*id, models).with_behaviour(behaviour)
    };
    SimulatorConfig {
        providers: PROVIDERS.iter().map(provider).collect(),
        answerer: Answerer::World(Arc::clone(world)),
        seed,
        speed: Speed::Times(2.0),
    }
}

/// A policy over all of it; the baseline is the dearest model.
pub(super) fn policy(world: &World) -> String {
    let mut text = String::from(
        "# Which models may answer, at what price, and what quality to keep.\n\
         # Edit, validate, see what it would have done, publish.\nversion = 1\n",
    );
    for provider in PROVIDERS {
        for model in world
            .models()
            .iter()
            .filter(|model| served_by(provider, model.name))
        {
            let _ = write!(
                text,
                "\n[[upstreams]]\nprovider = \"{provider}\"\nmodels = [\"{}\"]\n",
                model.name
            );
            let _ = writeln!(
                text,
                "prices.standard = {{ input = {:?}, output = {:?} }} # USD per million tokens",
                usd_per_mtok(model.price.input_nano_usd),
                usd_per_mtok(model.price.output_nano_usd)
            );
        }
    }
    text.push_str(
        "\n[routes.auto]\n\
         baseline = \"sim-max\"   # savings are counted against it\n\
         bar = 0.95             # share of the best model's quality to keep on average\n\
         explore = 0.02         # share of requests that try a near-best lane, to learn\n\
         deadline = \"60s\"\n\
         \n[audits]               # some requests are answered by all models, to learn from\n\
         share = 0.02\n\
         usd_per_day = 5.0      # of each proxy, the judge included\n\
         judge = \"sim-max\"\n",
    );
    text
}

/// From billionths of a dollar a token.
fn usd_per_mtok(nano_usd: u64) -> f64 {
    nano_usd as f64 / 1_000.0
}

/// Prompts that every model answered and that were scored: what a sampler would have
/// gathered in a day.
pub(super) fn audits(world: &World, now: UnixMillis) -> Vec<Audit> {
    let counter = TokenCounter::new();
    (0..AUDITED)
        .map(|number| {
            let prompt = world.prompt(number);
            let turns = [Turn {
                role: Role::User,
                text: &prompt.text,
            }];
            let slice = Some(prompt.kind.name());
            let view = PromptView {
                route: "auto",
                turns: &turns,
                slice,
                ..PromptView::default()
            };
            let answers = world
                .models()
                .iter()
                .filter_map(|model| answer(world, model, &prompt.text));
            Audit {
                id: format!("demo/{number}"),
                at: now,
                split: Some(Split::Train),
                facts: Facts::of(&view, &counter),
                answers: answers.collect(),
            }
        })
        .collect()
}

fn answer(world: &World, model: &WorldModel, prompt: &str) -> Option<Answer> {
    let input = count_input_tokens([prompt]);
    let output = world.output_tokens(model.name, prompt)?;
    let tokens = |count: u64| Tokens(u32::try_from(count).unwrap_or(u32::MAX));
    Some(Answer {
        model: ModelId::new(model.name),
        score: Bps::from_share(world.score(model.name, prompt)?),
        input: tokens(input),
        output: tokens(output),
        cost: Some(NanoUsd(model.price.of(input, output))),
        latency: None,
    })
}
