//! A made-up world: models with different skill per kind of prompt, and their prices.
//!
//! Owns: which model is how good at which prompt, how long its answers are, and what
//! prompts there are. All of it follows from one seed. It must not know HTTP, providers
//! or faults; `prompts` owns the words of the prompts, `prose` those of the answers.

mod prompts;
mod prose;

use crate::config::{Price, ServedModel};
use crate::dice::Dice;
use crate::script::Latency;

pub(crate) use prose::write;

/// No answer is longer than this many tokens.
pub(crate) const OUTPUT_TOKENS_MAX: u64 = 1_500;
/// How much harder than plain an intricate prompt begins.
const INTRICATE_FROM: f64 = 0.35;
/// How steeply quality falls when a prompt is harder than a model is able.
const STEEPNESS: f64 = 12.0;
/// Luck of one model with one prompt, in units of difficulty.
const LUCK: f64 = 0.12;

/// The kinds of work in this world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Arithmetic,
    Code,
    Extraction,
    Translation,
    Trivia,
    Writing,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Arithmetic,
        Self::Code,
        Self::Extraction,
        Self::Translation,
        Self::Trivia,
        Self::Writing,
    ];

    /// A lower-case word, fit for a slice label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arithmetic => "arithmetic",
            Self::Code => "code",
            Self::Extraction => "extraction",
            Self::Translation => "translation",
            Self::Trivia => "trivia",
            Self::Writing => "writing",
        }
    }

    fn output_tokens_median(self) -> f64 {
        match self {
            Self::Arithmetic => 45.0,
            Self::Code => 160.0,
            Self::Extraction => 35.0,
            Self::Translation => 50.0,
            Self::Trivia => 30.0,
            Self::Writing => 220.0,
        }
    }
}

/// How demanding a prompt says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Nothing special.
    Plain,
    /// It carries an extra demand, in words that can be learnt.
    Intricate,
}

/// A prompt of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldPrompt {
    /// What it is about.
    pub kind: Kind,
    /// How demanding it says it is.
    pub level: Level,
    /// The user message.
    pub text: String,
}

/// A model of the world.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldModel {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its list price.
    pub price: Price,
    /// Its usual latency.
    pub latency: Latency,
    /// How wordy it is; 1 is usual.
    pub verbosity: f64,
    /// Ability 0..1 for each kind, in the order of [`Kind::ALL`].
    pub skill: [f64; 6],
}

impl WorldModel {
    fn ability(&self, kind: Kind) -> f64 {
        match kind {
            Kind::Arithmetic => self.skill[0],
            Kind::Code => self.skill[1],
            Kind::Extraction => self.skill[2],
            Kind::Translation => self.skill[3],
            Kind::Trivia => self.skill[4],
            Kind::Writing => self.skill[5],
        }
    }
}

const fn model(
    name: &'static str,
    prices: (u64, u64),
    latency: (f64, f64),
    verbosity: f64,
    skill: [f64; 6],
) -> WorldModel {
    WorldModel {
        name,
        price: Price {
            input_nano_usd: prices.0,
            output_nano_usd: prices.1,
        },
        latency: Latency {
            first_token_median_ms: latency.0,
            spread: 0.35,
            tokens_per_second: latency.1,
        },
        verbosity,
        skill,
    }
}

/// From cheap to dear. The cheap ones are each best at something: extraction, arithmetic,
/// code, translation and writing; nothing cheap is good at trivia.
const MODELS: [WorldModel; 6] = [
    model(
        "sim-nano",
        (50, 200),
        (180.0, 180.0),
        0.8,
        [0.30, 0.18, 0.90, 0.40, 0.30, 0.40],
    ),
    model(
        "sim-mini",
        (150, 600),
        (260.0, 130.0),
        0.9,
        [0.92, 0.45, 0.70, 0.55, 0.55, 0.55],
    ),
    model(
        "sim-polyglot",
        (180, 720),
        (280.0, 120.0),
        1.1,
        [0.30, 0.22, 0.60, 0.94, 0.45, 0.88],
    ),
    model(
        "sim-coder",
        (200, 800),
        (300.0, 110.0),
        1.0,
        [0.60, 0.94, 0.65, 0.30, 0.30, 0.30],
    ),
    model(
        "sim-pro",
        (1_250, 5_000),
        (450.0, 80.0),
        1.0,
        [0.92, 0.88, 0.92, 0.90, 0.88, 0.88],
    ),
    model(
        "sim-max",
        (3_000, 15_000),
        (700.0, 55.0),
        1.3,
        [0.99, 0.98, 0.97, 0.98, 0.98, 0.98],
    ),
];

/// The world of one seed.
#[derive(Debug, Clone)]
pub struct World {
    seed: u64,
}

impl World {
    /// The world of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// All models, from cheap to dear.
    pub fn models(&self) -> &'static [WorldModel] {
        const { &MODELS }
    }

    /// The model of this name; a provider's prefix (`alpha/sim-mini`) is looked through.
    pub fn model(&self, name: &str) -> Option<&'static WorldModel> {
        let bare = name.rsplit('/').next().unwrap_or(name);
        self.models().iter().find(|model| model.name == bare)
    }

    /// All models at their list prices, to give to a provider.
    pub fn served(&self) -> Vec<ServedModel> {
        self.models()
            .iter()
            .map(|model| ServedModel::at(model.name, model.price))
            .collect()
    }

    /// The `number`-th prompt.
    pub fn prompt(&self, number: u64) -> WorldPrompt {
        prompts::compose(&mut Dice::numbered(self.seed, "prompt", number))
    }

    /// What a text is about; a text that is none of this world's gets a kind by its hash.
    pub fn kind(&self, prompt: &str) -> Kind {
        prompts::kind_of(prompt).unwrap_or_else(|| {
            let mut dice = Dice::of(self.seed, &["kind", prompt]);
            dice.pick(&Kind::ALL).copied().unwrap_or(Kind::Trivia)
        })
    }

    /// How good this model's answer to this prompt is, 0..1; `None` for an unknown model.
    pub fn score(&self, model: &str, prompt: &str) -> Option<f64> {
        let model = self.model(model)?;
        let mut fate = Dice::of(self.seed, &["difficulty", prompt]);
        let difficulty = match prompts::level_of(prompt) {
            Level::Plain => fate.unit() * (1.0 - INTRICATE_FROM / 2.0),
            Level::Intricate => INTRICATE_FROM + fate.unit() * (1.0 - INTRICATE_FROM),
        };
        let mut luck = Dice::of(self.seed, &["luck", model.name, prompt]);
        let swing = (luck.unit() - 0.5) * 2.0 * LUCK;
        let margin = model.ability(self.kind(prompt)) - difficulty + swing;
        let quality = 1.0 / (1.0 + (-STEEPNESS * margin).exp());
        Some((quality * 10_000.0).round() / 10_000.0)
    }

    /// How many tokens this model answers with; `None` for an unknown model.
    pub fn output_tokens(&self, model: &str, prompt: &str) -> Option<u64> {
        let model = self.model(model)?;
        let mut dice = Dice::of(self.seed, &["length", model.name, prompt]);
        let median = self.kind(prompt).output_tokens_median() * model.verbosity;
        Some((dice.log_normal(median, 0.3) as u64).clamp(4, OUTPUT_TOKENS_MAX))
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }
}

#[cfg(test)]
mod tests;
