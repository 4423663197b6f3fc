//! A recorded world: what real models answered to real prompts, as tokens, cost,
//! latency and score. The text of its answers is synthetic.
//!
//! Owns: the recording in memory and its look-ups by exact prompt text. It must not
//! know HTTP or faults; `read` owns the files' form.

mod price;
mod read;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

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
#[derive(Debug, Default)]
pub struct Recorded {
    prompts: Vec<RecordedPrompt>,
    by_text: HashMap<u64, usize>,
    models: Vec<String>,
    by_model: HashMap<String, usize>,
    outcomes: HashMap<(usize, usize), RecordedOutcome>,
    duplicates: usize,
    /// What has become of models since: shared by all that hold the recording.
    fates: RwLock<HashMap<String, Fate>>,
}

/// How a model differs from its recording.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fate {
    /// Share of its answers that are worth nothing.
    spoilt: f64,
    /// Its cost, in times of what was recorded.
    cost: f64,
}

impl Default for Fate {
    fn default() -> Self {
        Self {
            spoilt: 0.0,
            cost: 1.0,
        }
    }
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

    /// The same in an order that has nothing to do with the files'.
    #[must_use]
    pub fn shuffled(mut self, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..self.prompts.len()).collect();
        let prompts = &self.prompts;
        order.sort_by_key(|index| {
            prompts
                .get(*index)
                .map(|prompt| text_hash(&format!("{seed} {}", prompt.id)))
        });
        let mut places = vec![0; order.len()];
        for (place, index) in order.iter().enumerate() {
            if let Some(at) = places.get_mut(*index) {
                *at = place;
            }
        }
        let place = |index: usize| places.get(index).copied().unwrap_or(index);
        let shuffled = order
            .iter()
            .filter_map(|index| self.prompts.get(*index).cloned());
        self.prompts = shuffled.collect();
        self.by_text
            .values_mut()
            .for_each(|index| *index = place(*index));
        let outcomes = std::mem::take(&mut self.outcomes).into_iter();
        self.outcomes = outcomes
            .map(|((prompt, model), outcome)| ((place(prompt), model), outcome))
            .collect();
        self
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
        let score = self.outcome(model, prompt)?.score;
        let draw = text_hash(&format!("{model} {prompt}")) >> 11;
        let draw = draw as f64 / (1u64 << 53) as f64;
        Some(if draw < self.fate(model).spoilt {
            0.0
        } else {
            score
        })
    }

    /// The recorded cost in USD.
    pub fn cost_usd(&self, model: &str, prompt: &str) -> Option<f64> {
        let cost = self.outcome(model, prompt)?.cost_usd?;
        Some(cost * self.fate(model).cost)
    }

    /// From now on this share of a model's answers is worth nothing.
    pub fn spoil(&self, model: &str, share: f64) {
        self.change(model, |fate| fate.spoilt = share);
    }

    /// From now on a model costs so many times what was recorded.
    pub fn reprice(&self, model: &str, times: f64) {
        self.change(model, |fate| fate.cost = times);
    }

    fn fate(&self, model: &str) -> Fate {
        let fates = self.fates.read().unwrap_or_else(PoisonError::into_inner);
        fates.get(model).copied().unwrap_or_default()
    }

    fn change(&self, model: &str, change: impl FnOnce(&mut Fate)) {
        let mut fates = self.fates.write().unwrap_or_else(PoisonError::into_inner);
        change(fates.entry(model.to_owned()).or_default());
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
                let price = price::fit(rows.map(|(_, outcome)| outcome))?;
                Some(ServedModel::at(name.clone(), price))
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
