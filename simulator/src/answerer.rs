//! Who answers what: the world, a recording, or an echo.
//!
//! Owns: the content of answers, their token counts and their usual tempo, and the
//! truth about quality and cost that judges traffic. It must not know wires or faults.
//! What a prompt can ask for in so many words is in `cues`.

mod cues;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::{Answer, Draft, Tempo};
use crate::ask::{Ask, count_input_tokens};
use crate::dice::Dice;
use crate::judge;
use crate::recorded::{Recorded, RecordedOutcome};
use crate::script::{Latency, Pace, seconds};
use crate::world::{self, Kind, OUTPUT_TOKENS_MAX, World};

/// The share of a recorded latency that passes before the first token: recordings
/// have one number per answer, and a quarter is usual for answers of this length.
const FIRST_TOKEN_SHARE: f64 = 0.25;

/// Who thinks up the answers of all providers.
#[derive(Debug, Clone)]
pub enum Answerer {
    /// A made-up world.
    World(Arc<World>),
    /// A recording of real models.
    Recorded(Arc<Recorded>),
    /// The prompt itself comes back.
    Echo,
}

/// A prompt to be played by the traffic client.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficPrompt {
    /// The one user message.
    pub text: String,
    /// The request's `tools`, in the provider's form.
    pub tools: Option<Value>,
    /// The kind of work, if it is known: a label for slices.
    pub slice: Option<String>,
}

impl Answerer {
    /// The `number`-th prompt there is to play.
    pub fn prompt(&self, number: u64) -> TrafficPrompt {
        match self {
            Self::World(world) => {
                let prompt = world.prompt(number);
                TrafficPrompt {
                    text: prompt.text,
                    tools: None,
                    slice: Some(prompt.kind.name().to_owned()),
                }
            }
            Self::Recorded(recorded) => match recorded.prompt(number) {
                Some(prompt) => TrafficPrompt {
                    text: prompt.text.clone(),
                    tools: prompt.tools.as_deref().and_then(tools_form),
                    slice: Some(prompt.task.clone()),
                },
                None => echo_prompt(number),
            },
            Self::Echo => echo_prompt(number),
        }
    }

    /// The true quality of this model's answer, 0..1, where it is known.
    pub fn score(&self, model: &str, prompt: &str) -> Option<f64> {
        match self {
            Self::World(world) => world.score(model, prompt),
            Self::Recorded(recorded) => recorded.score(model, prompt),
            Self::Echo => None,
        }
    }

    /// The true list cost of this model's answer in nano-USD, where it is known. A
    /// prompt counts as a conversation of one user message.
    pub fn cost_nano_usd(&self, model: &str, prompt: &str) -> Option<u64> {
        match self {
            Self::World(world) => {
                let price = world.model(model)?.price;
                let output_tokens = world.output_tokens(model, prompt)?;
                Some(price.of(count_input_tokens([prompt]), output_tokens))
            }
            Self::Recorded(recorded) => {
                let usd = recorded.cost_usd(model, prompt)?;
                Some((usd * 1e9).round().max(0.0) as u64)
            }
            Self::Echo => None,
        }
    }

    /// What `model` answers to `ask`.
    pub(crate) fn answer(&self, seed: u64, model: &str, ask: &Ask) -> Answer {
        if let Some(task) = judge::task(&ask.prompt) {
            return self.judged(&task, ask);
        }
        if let Self::Recorded(recorded) = self
            && let Some(outcome) = recorded.outcome(model, &ask.prompt)
        {
            return from_recording(recorded, outcome, seed, model, ask);
        }
        let draft = Draft::new(ask, self.tempo(model));
        match (cues::answer(draft), self) {
            (Some(answer), _) => answer,
            (None, Self::World(world)) => from_world(world, model, draft),
            (None, Self::Recorded(_) | Self::Echo) => echo(draft),
        }
    }
}

impl Answerer {
    /// What a judge replies who knows the truth.
    fn judged(&self, task: &judge::Task<'_>, ask: &Ask) -> Answer {
        let models = self.models();
        let grades = task.grades(|mark| {
            let model = models.iter().find(|model| judge::mark(model) == mark)?;
            self.score(model, task.prompt)
        });
        let tokens = grades.len() as u64 / 4;
        let tempo = Tempo::Usual(Latency::TYPICAL);
        Draft::new(ask, tempo).words(&[&grades], tokens)
    }

    /// What is usual for this model.
    fn tempo(&self, model: &str) -> Tempo {
        let known = match self {
            Self::World(world) => world.model(model),
            Self::Recorded(_) | Self::Echo => None,
        };
        Tempo::Usual(known.map_or(Latency::TYPICAL, |model| model.latency))
    }

    fn models(&self) -> Vec<String> {
        match self {
            Self::World(world) => world.models().iter().map(|m| m.name.to_owned()).collect(),
            Self::Recorded(recorded) => recorded.models().to_vec(),
            Self::Echo => Vec::new(),
        }
    }
}

fn echo_prompt(number: u64) -> TrafficPrompt {
    TrafficPrompt {
        text: format!("say the number {number}"),
        tools: None,
        slice: None,
    }
}

/// Recorded tools are bare functions; the wire wants each in its envelope.
fn tools_form(recorded: &str) -> Option<Value> {
    let tools: Vec<Value> = serde_json::from_str(recorded).ok()?;
    let wrapped = tools.into_iter().map(|tool| {
        if tool.get("function").is_some() {
            tool
        } else {
            json!({"type": "function", "function": tool})
        }
    });
    Some(Value::Array(wrapped.collect()))
}

fn from_world(world: &World, model: &str, draft: Draft<'_>) -> Answer {
    let prompt = &draft.ask.prompt;
    let kind = world.kind(prompt);
    if let Some(tool) = draft.ask.tools.first()
        && kind == Kind::Extraction
    {
        return draft.calls(std::slice::from_ref(tool), None);
    }
    let tokens = world.output_tokens(model, prompt).unwrap_or(32);
    let mut dice = Dice::of(world.seed(), &["prose", model, prompt]);
    let mark = judge::mark(model);
    let words = marked(&mark, world::write(kind, tokens, &mut dice));
    draft.words(&words, tokens)
}

fn from_recording(
    recorded: &Recorded,
    outcome: &RecordedOutcome,
    seed: u64,
    model: &str,
    ask: &Ask,
) -> Answer {
    let mut dice = Dice::of(seed, &["recorded", model, &ask.prompt]);
    let tokens = outcome
        .output_tokens
        .unwrap_or_else(|| dice.log_normal(120.0, 0.5) as u64);
    let tempo = match outcome.latency_ms {
        Some(latency_ms) => Tempo::Recorded(recorded_pace(latency_ms / 1000.0, tokens)),
        None => Tempo::Usual(Latency::TYPICAL),
    };
    let mut draft = Draft::new(ask, tempo);
    draft.input_tokens = outcome.input_tokens.unwrap_or(ask.input_tokens);
    let usual = ask.results.is_empty() && recorded.has_tools(&ask.prompt);
    let first = ask.tools.get(..1).filter(|_| usual);
    if let Some(tools) = cues::called(ask).or(first) {
        return draft.calls(tools, Some(tokens));
    }
    if let Some(answer) = cues::answer(draft) {
        return answer;
    }
    let mark = judge::mark(model);
    let words = world::write(Kind::Trivia, tokens.clamp(1, OUTPUT_TOKENS_MAX), &mut dice);
    draft.words(&marked(&mark, words), tokens)
}

/// The same words, the first of which says whose they are.
fn marked<'a>(mark: &'a str, mut words: Vec<&'a str>) -> Vec<&'a str> {
    match words.first_mut() {
        Some(first) => *first = mark,
        None => words.push(mark),
    }
    words
}

fn recorded_pace(total_s: f64, tokens: u64) -> Pace {
    let per_token = if tokens == 0 {
        Duration::ZERO
    } else {
        seconds(total_s * (1.0 - FIRST_TOKEN_SHARE) / tokens as f64)
    };
    Pace {
        first_token: seconds(total_s * FIRST_TOKEN_SHARE),
        per_token,
    }
}

fn echo(draft: Draft<'_>) -> Answer {
    let words: Vec<&str> = std::iter::once("echo:")
        .chain(draft.ask.prompt.split_whitespace())
        .take(OUTPUT_TOKENS_MAX as usize)
        .collect();
    draft.words(&words, words.len() as u64)
}

#[cfg(test)]
mod tests;
