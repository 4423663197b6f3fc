//! A recorded world: what real models answered to real prompts, as tokens, cost,
//! latency and score. The text of its answers is synthetic.
//!
//! Owns: the recording in memory and its look-ups by exact prompt text. It must not
//! know HTTP or faults; `read` owns the files' form.

mod price;
mod read;

use std::collections::HashMap;
use std::path::Path;

use crate::config::ServedModel;
use crate::dice::text_hash;

pub use read::{LineFlaw, LoadError};

/// A recorded prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedPrompt {
    /// Its id in the files.
    pub id: String,
    /// What sort of task it is.
    pub task: String,
    /// Which split it belongs to (`train`, `test`).
    pub split: String,
    /// The user message.
    pub text: String,
    /// Tools as a JSON list, if it comes with some.
    pub tools: Option<String>,
}

/// What one model did with one prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordedOutcome {
    /// Quality, 0..1.
    pub score: f64,
    /// Billed input tokens.
    pub input_tokens: Option<u64>,
    /// Billed output tokens.
    pub output_tokens: Option<u64>,
    /// Cost in USD.
    pub cost_usd: Option<f64>,
    /// Time to the whole answer, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Whether tokens or cost were estimated.
    pub estimated: bool,
}

/// A recording, loaded.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    prompts: Vec<RecordedPrompt>,
    by_text: HashMap<u64, usize>,
    models: Vec<String>,
    by_model: HashMap<String, usize>,
    outcomes: HashMap<(usize, usize), RecordedOutcome>,
    duplicates: usize,
}

impl Recorded {
    /// Reads prompts and outcomes (`.jsonl`, `.jsonl.gz` or `.jsonl.zst`); with a
    /// `split` only its prompts. Of prompts with the same text only the first counts.
    /// Blocks on the files: call it off the async threads.
    pub fn load(
        prompts_path: impl AsRef<Path>,
        outcomes_path: impl AsRef<Path>,
        split: Option<&str>,
    ) -> Result<Self, LoadError> {
        read::load(prompts_path.as_ref(), outcomes_path.as_ref(), split)
    }

    /// All prompts, in the files' order.
    pub fn prompts(&self) -> &[RecordedPrompt] {
        &self.prompts
    }

    /// The `number`-th prompt, beginning again after the last; `None` when empty.
    pub fn prompt(&self, number: u64) -> Option<&RecordedPrompt> {
        let count = (self.prompts.len() as u64).max(1);
        self.prompts.get((number % count) as usize)
    }

    /// The models, in order of appearance.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// How many outcomes there are.
    pub fn outcome_count(&self) -> usize {
        self.outcomes.len()
    }

    /// Prompts left out because an earlier one has the same text.
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// What this model did with exactly this prompt text. A provider's prefix
    /// (`alpha/gpt-4o`) is looked through when the whole name is unknown.
    pub fn outcome(&self, model: &str, prompt: &str) -> Option<&RecordedOutcome> {
        let model = self.model_index(model)?;
        let prompt = self.prompt_index(prompt)?;
        self.outcomes.get(&(prompt, model))
    }

    /// The recorded quality, 0..1.
    pub fn score(&self, model: &str, prompt: &str) -> Option<f64> {
        Some(self.outcome(model, prompt)?.score)
    }

    /// The recorded cost in USD.
    pub fn cost_usd(&self, model: &str, prompt: &str) -> Option<f64> {
        self.outcome(model, prompt)?.cost_usd
    }

    /// Models that answered every prompt.
    pub fn complete_models(&self) -> Vec<&str> {
        let mut answered = vec![0; self.models.len()];
        for (_, model) in self.outcomes.keys() {
            if let Some(count) = answered.get_mut(*model) {
                *count += 1;
            }
        }
        self.models
            .iter()
            .zip(answered)
            .filter(|(_, count)| *count == self.prompts.len())
            .map(|(model, _)| model.as_str())
            .collect()
    }

    /// All models whose price can be fitted to their recorded costs, to give to a
    /// provider. Its bill then agrees with the recording but for rounding.
    pub fn served(&self) -> Vec<ServedModel> {
        (0..)
            .zip(&self.models)
            .filter_map(|(index, name)| {
                let rows = self.outcomes.iter().filter(|(key, _)| key.1 == index);
                Some(ServedModel {
                    name: name.clone(),
                    price: price::fit(rows.map(|(_, outcome)| outcome))?,
                })
            })
            .collect()
    }

    pub(crate) fn has_tools(&self, prompt: &str) -> bool {
        self.prompt_index(prompt)
            .and_then(|index| self.prompts.get(index))
            .is_some_and(|prompt| prompt.tools.is_some())
    }

    fn model_index(&self, name: &str) -> Option<usize> {
        self.by_model.get(name).copied().or_else(|| {
            let (_, bare) = name.split_once('/')?;
            self.by_model.get(bare).copied()
        })
    }

    fn prompt_index(&self, text: &str) -> Option<usize> {
        let index = *self.by_text.get(&text_hash(text))?;
        (self.prompts.get(index)?.text == text).then_some(index)
    }

    /// Adds a prompt and says where; `None` when its text is there already.
    fn add_prompt(&mut self, prompt: RecordedPrompt) -> Option<usize> {
        let hash = text_hash(&prompt.text);
        if self.by_text.contains_key(&hash) {
            self.duplicates += 1;
            return None;
        }
        let index = self.prompts.len();
        self.by_text.insert(hash, index);
        self.prompts.push(prompt);
        Some(index)
    }

    fn add_outcome(&mut self, prompt: usize, model: &str, outcome: RecordedOutcome) {
        let model = match self.by_model.get(model) {
            Some(index) => *index,
            None => {
                let index = self.models.len();
                self.models.push(model.to_owned());
                self.by_model.insert(model.to_owned(), index);
                index
            }
        };
        self.outcomes.entry((prompt, model)).or_insert(outcome);
    }
}

#[cfg(test)]
mod tests;
