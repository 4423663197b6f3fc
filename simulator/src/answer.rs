//! Who answers what: the world, a recording, or an echo.
//!
//! Owns: the content of answers, their token counts and their usual tempo, and the
//! truth about quality and cost that judges traffic. It must not know HTTP or faults.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::judge;
use crate::openai::{Ask, Tool, Usage, count_input_tokens};
use crate::recorded::{Recorded, RecordedOutcome};
use crate::script::{Latency, Pace, seconds};
use crate::world::{self, Kind, OUTPUT_TOKENS_MAX, World};

/// An answer is streamed in at most this many content chunks.
const PIECES_MAX: usize = 64;
/// Bytes of one fragment of a tool call's arguments.
const FRAGMENT_BYTES: usize = 12;
/// A prompt that says so gets a tool call if the request has tools.
const CALL_CUE: &str = "call the tool";
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

/// A part of an answer that travels in one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) tokens: u64,
}

/// How fast an answer comes when no script says otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Tempo {
    Recorded(Pace),
    Usual(Latency),
}

/// A whole answer, not yet on any wire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// Content, or the arguments of the call when `tool` is set.
    pub(crate) pieces: Vec<Piece>,
    /// The tool that is called instead of writing text.
    pub(crate) tool: Option<String>,
    pub(crate) usage: Usage,
    pub(crate) finish_reason: &'static str,
    pub(crate) tempo: Tempo,
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
        match self {
            Self::World(world) => from_world(world, model, ask),
            Self::Recorded(recorded) => match recorded.outcome(model, &ask.prompt) {
                Some(outcome) => from_recording(recorded, outcome, seed, model, ask),
                None => echo(ask),
            },
            Self::Echo => echo(ask),
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
        text(&[&grades], ask.input_tokens, tokens, ask, tempo)
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

fn wants_call(ask: &Ask, usual: bool) -> bool {
    ask.tool_required || usual || ask.prompt.contains(CALL_CUE)
}

fn from_world(world: &World, model: &str, ask: &Ask) -> Answer {
    let kind = world.kind(&ask.prompt);
    let known = world.model(model);
    let tempo = Tempo::Usual(known.map_or(Latency::TYPICAL, |model| model.latency));
    if let Some(tool) = &ask.tool
        && wants_call(ask, kind == Kind::Extraction)
    {
        return call(tool, None, ask, tempo);
    }
    let tokens = world.output_tokens(model, &ask.prompt).unwrap_or(32);
    let mut dice = Dice::of(world.seed(), &["prose", model, &ask.prompt]);
    let mark = judge::mark(model);
    let words = marked(&mark, world::write(kind, tokens, &mut dice));
    text(&words, ask.input_tokens, tokens, ask, tempo)
}

fn from_recording(
    recorded: &Recorded,
    outcome: &RecordedOutcome,
    seed: u64,
    model: &str,
    ask: &Ask,
) -> Answer {
    let mut dice = Dice::of(seed, &["recorded", model, &ask.prompt]);
    let input_tokens = outcome.input_tokens.unwrap_or(ask.input_tokens);
    let tokens = outcome
        .output_tokens
        .unwrap_or_else(|| dice.log_normal(120.0, 0.5) as u64);
    let tempo = match outcome.latency_ms {
        Some(latency_ms) => Tempo::Recorded(recorded_pace(latency_ms / 1000.0, tokens)),
        None => Tempo::Usual(Latency::TYPICAL),
    };
    if let Some(tool) = &ask.tool
        && wants_call(ask, recorded.has_tools(&ask.prompt))
    {
        let counts = Usage {
            input_tokens,
            output_tokens: tokens,
        };
        return call(tool, Some(counts), ask, tempo);
    }
    let mark = judge::mark(model);
    let words = world::write(Kind::Trivia, tokens.clamp(1, OUTPUT_TOKENS_MAX), &mut dice);
    let words = marked(&mark, words);
    text(&words, input_tokens, tokens, ask, tempo)
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

fn echo(ask: &Ask) -> Answer {
    let tempo = Tempo::Usual(Latency::TYPICAL);
    if let Some(tool) = &ask.tool
        && wants_call(ask, false)
    {
        return call(tool, None, ask, tempo);
    }
    let words: Vec<&str> = std::iter::once("echo:")
        .chain(ask.prompt.split_whitespace())
        .take(OUTPUT_TOKENS_MAX as usize)
        .collect();
    text(&words, ask.input_tokens, words.len() as u64, ask, tempo)
}

/// A text answer of these words, cut off where the request's limit says.
fn text(words: &[&str], input_tokens: u64, tokens: u64, ask: &Ask, tempo: Tempo) -> Answer {
    let limit = ask.output_tokens_max.unwrap_or(u64::MAX);
    let (kept, finish_reason) = if tokens > limit {
        (limit, "length")
    } else {
        (tokens, "stop")
    };
    // A recording may say "no tokens" of an answer that was one: a word stays.
    let words = words.get(..kept.max(1) as usize).unwrap_or(words);
    let chunks = words.len().div_ceil(PIECES_MAX).max(1);
    let mut texts: Vec<String> = words.chunks(chunks).map(|run| run.join(" ")).collect();
    for text in texts.iter_mut().skip(1) {
        text.insert(0, ' ');
    }
    Answer {
        pieces: spread(texts, kept),
        tool: None,
        usage: Usage {
            input_tokens,
            output_tokens: kept,
        },
        finish_reason,
        tempo,
    }
}

/// A tool call; `counts` where a recording knows them.
fn call(tool: &Tool, counts: Option<Usage>, ask: &Ask, tempo: Tempo) -> Answer {
    let mut fragments = Vec::new();
    let mut fragment = String::new();
    for letter in tool.arguments.chars() {
        fragment.push(letter);
        if fragment.len() >= FRAGMENT_BYTES {
            fragments.push(std::mem::take(&mut fragment));
        }
    }
    if !fragment.is_empty() {
        fragments.push(fragment);
    }
    let usage = counts.unwrap_or(Usage {
        input_tokens: ask.input_tokens,
        output_tokens: fragments.len() as u64 * 3,
    });
    Answer {
        pieces: spread(fragments, usage.output_tokens),
        tool: Some(tool.name.clone()),
        usage,
        finish_reason: "tool_calls",
        tempo,
    }
}

/// Gives the pieces their tokens so that they sum up exactly.
fn spread(texts: Vec<String>, tokens: u64) -> Vec<Piece> {
    let count = texts.len() as u64;
    let until = |index: u64| tokens * index / count.max(1);
    (0..)
        .zip(texts)
        .map(|(index, text)| Piece {
            text,
            tokens: until(index + 1) - until(index),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(prompt: &str) -> Ask {
        Ask {
            model: "sim-max".to_owned(),
            streaming: true,
            include_usage: true,
            prompt: prompt.to_owned(),
            input_tokens: 9,
            output_tokens_max: None,
            tool: None,
            tool_required: false,
        }
    }

    fn total(answer: &Answer) -> u64 {
        answer.pieces.iter().map(|piece| piece.tokens).sum()
    }

    #[test]
    fn the_pieces_sum_up_to_the_usage_and_stay_few() {
        let world = Answerer::World(Arc::new(World::new(1)));
        for number in 0..200 {
            let ask = ask(&world.prompt(number).text);
            let answer = world.answer(1, "sim-max", &ask);
            assert_eq!(total(&answer), answer.usage.output_tokens);
            assert!(answer.pieces.len() <= PIECES_MAX, "{}", answer.pieces.len());
            let text: String = answer.pieces.iter().map(|p| p.text.as_str()).collect();
            let words = text.split(' ').count() as u64;
            let tokens = answer.usage.output_tokens;
            assert!(words >= tokens, "{words} words for {tokens} tokens");
        }
    }

    #[test]
    fn the_judge_and_the_bill_agree() {
        let world = World::new(1);
        let answerer = Answerer::World(Arc::new(world.clone()));
        let text = answerer.prompt(4).text;
        let mut ask = ask(&text);
        ask.input_tokens = count_input_tokens([text.as_str()]);
        let usage = answerer.answer(1, "sim-max", &ask).usage;
        let price = world.model("sim-max").unwrap().price;
        let billed = price.of(usage.input_tokens, usage.output_tokens);
        assert_eq!(answerer.cost_nano_usd("sim-max", &text), Some(billed));
    }

    #[test]
    fn a_limit_cuts_the_answer_and_says_so() {
        let mut ask = ask("one two three four five");
        ask.output_tokens_max = Some(3);
        let answer = Answerer::Echo.answer(1, "m", &ask);
        assert_eq!(answer.finish_reason, "length");
        assert_eq!((answer.usage.output_tokens, total(&answer)), (3, 3));
        let text: String = answer.pieces.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(text, "echo: one two");
    }

    #[test]
    fn an_echo_calls_a_tool_only_when_told_to() {
        let mut quiet = ask("hello");
        quiet.tool = Some(Tool {
            name: "look".to_owned(),
            arguments: "{\"city\":\"sample\",\"n\":7}".to_owned(),
        });
        assert_eq!(Answerer::Echo.answer(1, "m", &quiet).tool, None);
        let mut told = quiet.clone();
        told.prompt = "please call the tool".to_owned();
        let answer = Answerer::Echo.answer(1, "m", &told);
        assert_eq!(answer.tool.as_deref(), Some("look"));
        assert!(answer.pieces.len() > 1);
        assert_eq!(total(&answer), answer.usage.output_tokens);
    }

    #[test]
    fn an_answer_of_no_tokens_still_says_something() {
        let tempo = Tempo::Usual(Latency::TYPICAL);
        let answer = text(&["so"], 5, 0, &ask("hello"), tempo);
        assert_eq!(answer.pieces.len(), 1);
        assert_eq!((total(&answer), answer.finish_reason), (0, "stop"));
    }

    #[test]
    fn recorded_tools_get_their_envelope() {
        let form = tools_form("[{\"name\":\"area\",\"parameters\":{}}]").unwrap();
        assert_eq!(form[0]["type"], "function");
        assert_eq!(form[0]["function"]["name"], "area");
        assert_eq!(tools_form("not json"), None);
    }
}
