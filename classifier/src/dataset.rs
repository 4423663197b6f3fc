//! Labelled prompts as matrices: what every learning step reads.
//!
//! Owns: which models and rows count, how much a row counts, and how rows are cut into
//! parts. Knows nothing of heads or prices. Slices are kept beside the facts and taken
//! out of them: nobody promises that a caller will name one, so whatever is fitted or
//! measured here must do without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ndarray::{Array2, Axis};
use spillway_routing::decide::Draw;
use spillway_routing::features::Facts;
use spillway_routing::id::{ModelId, SliceId};
use spillway_routing::outcome::{Audit, Outcome};
use spillway_routing::unit::{Bps, Millis, UnixMillis};

/// A model with fewer labels has no column: its mean alone would be off by 9 points.
pub const MODEL_LABELS_MIN: usize = 30;
/// With many audits at hand, a newer model waits for this many (measured: until then
/// adding it does more harm than leaving it out).
pub const MODEL_LABELS_WANTED: usize = 300;
/// A model must be labelled this often in each slice (or in half of a smaller one),
/// or its cells there would be made of other kinds of work.
const SLICE_LABELS_MIN: usize = 10;
/// A label counts half after so long: models change under their names.
pub const HALF_LIFE: Millis = Millis(30 * 24 * 3_600_000);
/// Inverse propensities are clipped here.
pub const INVERSE_PROPENSITY_MAX: f64 = 10.0;

/// A live request with a verdict on its answer.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    pub outcome: &'a Outcome,
    pub quality: Bps,
}

/// One row: a prompt without its text.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Hash of the row's id.
    pub key: u64,
    /// Hash of what heads read; all cuts go by it.
    pub alike: u64,
    pub at: UnixMillis,
    /// Without the slice.
    pub facts: Arc<Facts>,
    pub slice: Option<SliceId>,
    /// 1 for a fresh audit; less for an older one ([`HALF_LIFE`]), and for a live request
    /// whose model was no surprise.
    pub weight: f64,
    pub live: bool,
}

/// n prompts, m models; all matrices are n × m with NaN for "not observed".
#[derive(Clone, Debug)]
pub struct Dataset {
    pub models: Vec<ModelId>,
    pub prompts: Vec<Prompt>,
    /// 0..=1.
    pub quality: Array2<f64>,
    /// The provider's count of input tokens.
    pub input: Array2<f64>,
    pub output: Array2<f64>,
    /// US dollars.
    pub cost: Array2<f64>,
}

impl Dataset {
    /// Audited prompts, each id once. Without `models`, every model that has enough
    /// labels gets a column, in the order of their names; with it, exactly those.
    #[must_use]
    pub fn of(audits: &[Audit], models: Option<&[ModelId]>) -> Self {
        let mut seen = BTreeSet::new();
        let audits: Vec<&Audit> = audits
            .iter()
            .filter(|audit| !audit.answers.is_empty() && seen.insert(audit.id.as_str()))
            .collect();
        let models = models.map_or_else(|| labelled_models(&audits), <[ModelId]>::to_vec);
        let mut data = Self::empty(models, audits.len());
        let columns = columns(&data.models);
        for (row, audit) in audits.iter().enumerate() {
            data.prompts
                .push(prompt(audit.id.as_bytes(), audit.at, &audit.facts, None));
            for answer in &audit.answers {
                let Some(column) = columns.get(&answer.model) else {
                    continue;
                };
                let at = [row, *column];
                data.quality[at] = answer.score.share();
                data.input[at] = f64::from(answer.input.0);
                data.output[at] = f64::from(answer.output.0);
                data.cost[at] = answer.cost.map_or(f64::NAN, |cost| cost.usd());
            }
        }
        data.age();
        data
    }

    /// Takes weight from what is old, counted from the newest row.
    fn age(&mut self) {
        let newest = self.prompts.iter().map(|prompt| prompt.at).max();
        for prompt in &mut self.prompts {
            let age = newest.map_or(0, |newest| newest.since(prompt.at).0);
            prompt.weight *= (-(age as f64) / HALF_LIFE.0 as f64).exp2();
        }
    }

    /// Adds live requests: rows with one observed model, weighted by the clipped
    /// inverse of its propensity (Horvitz and Thompson 1952), scaled so that a label
    /// that was drawn by chance counts as one audit and one that was certain to be
    /// seen for a tenth. Repeated ids, ids that were audited and models without a
    /// column are left out.
    #[must_use]
    pub fn with_live(mut self, live: &[Labelled<'_>]) -> Self {
        let columns = columns(&self.models);
        let mut seen: BTreeSet<u64> = self.prompts.iter().map(|p| p.key).collect();
        let mut rows = Vec::new();
        for labelled in live {
            let outcome = labelled.outcome;
            let column = outcome.served_model.as_ref().and_then(|m| columns.get(m));
            let Some(column) = column.copied() else {
                continue;
            };
            let propensity = outcome
                .decision
                .as_ref()
                .map_or(1.0, |d| d.propensity.share());
            // How likely it was that all lanes of another model would fail, nobody knows.
            let decision = outcome.decision.as_ref();
            let chosen = decision.and_then(|decision| decision.chosen());
            let as_chosen = chosen.is_none_or(|c| Some(&c.model) == outcome.served_model.as_ref());
            let propensity = if as_chosen { propensity } else { 1.0 };
            let inverse = (1.0 / propensity.max(1e-6)).min(INVERSE_PROPENSITY_MAX);
            let weight = Some(inverse / INVERSE_PROPENSITY_MAX);
            // As the audit sampler names the audit of a request.
            let id = format!("live/{}", outcome.id);
            let prompt = prompt(id.as_bytes(), outcome.at, &outcome.facts, weight);
            if seen.insert(prompt.key) {
                rows.push((prompt, column, labelled));
            }
        }
        let mut more = Self::empty(self.models.clone(), rows.len());
        for (row, (prompt, column, labelled)) in rows.into_iter().enumerate() {
            let at = [row, column];
            more.prompts.push(prompt);
            more.quality[at] = labelled.quality.share();
            more.input[at] = f64::from(labelled.outcome.usage.input.0);
            more.output[at] = f64::from(labelled.outcome.usage.output.0);
            // What callers pay themselves is no charge that a price could be read off.
            let ours = labelled.outcome.facts.own_keys.is_empty();
            more.cost[at] = if ours {
                labelled.outcome.cost.usd()
            } else {
                f64::NAN
            };
        }
        self.append(more);
        self
    }

    fn empty(models: Vec<ModelId>, rows: usize) -> Self {
        let unseen = || Array2::from_elem((rows, models.len()), f64::NAN);
        Self {
            prompts: Vec::with_capacity(rows),
            quality: unseen(),
            input: unseen(),
            output: unseen(),
            cost: unseen(),
            models,
        }
    }

    fn append(&mut self, more: Self) {
        let pairs = [
            (&mut self.quality, &more.quality),
            (&mut self.input, &more.input),
            (&mut self.output, &more.output),
            (&mut self.cost, &more.cost),
        ];
        for (matrix, rows) in pairs {
            let joined = ndarray::concatenate(Axis(0), &[matrix.view(), rows.view()]);
            // Both have one column per model, so they always join.
            *matrix = joined.unwrap_or_else(|_| matrix.clone());
        }
        self.prompts.extend(more.prompts);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// Rows that are audits.
    #[must_use]
    pub fn audits(&self) -> Vec<usize> {
        (0..self.len())
            .filter(|row| !self.prompts[*row].live)
            .collect()
    }

    /// Some rows, in the order asked for.
    #[must_use]
    pub fn rows(&self, pick: &[usize]) -> Self {
        let select = |matrix: &Array2<f64>| matrix.select(Axis(0), pick);
        Self {
            models: self.models.clone(),
            prompts: pick.iter().map(|row| self.prompts[*row].clone()).collect(),
            quality: select(&self.quality),
            input: select(&self.input),
            output: select(&self.output),
            cost: select(&self.cost),
        }
    }

    /// The same rows with the slices in the facts, where callers who name one put it.
    #[must_use]
    pub fn with_slices_shown(&self) -> Self {
        let mut shown = self.clone();
        for prompt in &mut shown.prompts {
            Arc::make_mut(&mut prompt.facts)
                .slice
                .clone_from(&prompt.slice);
        }
        shown
    }

    /// Some models, in the order asked for.
    #[must_use]
    pub fn columns(&self, pick: &[usize]) -> Self {
        let select = |matrix: &Array2<f64>| matrix.select(Axis(1), pick);
        Self {
            models: pick
                .iter()
                .map(|model| self.models[*model].clone())
                .collect(),
            prompts: self.prompts.clone(),
            quality: select(&self.quality),
            input: select(&self.input),
            output: select(&self.output),
            cost: select(&self.cost),
        }
    }

    /// Rows to train on and rows held out: audits by a hash of what they are and `seed`, so
    /// that a prompt stays on its side when others come, and when it comes again; live
    /// requests by time, since only the later ones can tell how well the earlier ones foretell.
    #[must_use]
    pub fn cut(&self, held_out: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
        let mut times: Vec<UnixMillis> = self
            .prompts
            .iter()
            .filter(|prompt| prompt.live)
            .map(|prompt| prompt.at)
            .collect();
        times.sort_unstable();
        let first_late = (times.len() as f64 * (1.0 - held_out)) as usize;
        let late = times.get(first_late).copied();
        (0..self.len()).partition(|row| {
            let prompt = &self.prompts[*row];
            if prompt.live {
                late.is_none_or(|late| prompt.at < late)
            } else {
                uniform(prompt.alike, seed) >= held_out
            }
        })
    }

    /// Which of `folds` parts each row belongs to, by a hash of what it is and `seed`:
    /// the same prompt asked twice is in one of them, or each part would know the other's
    /// answers.
    #[must_use]
    pub fn folds(&self, folds: usize, seed: u64) -> Vec<usize> {
        let part = |prompt: &Prompt| (uniform(prompt.alike, seed) * folds as f64) as usize;
        self.prompts
            .iter()
            .map(|p| part(p).min(folds - 1))
            .collect()
    }

    /// How often each model was labelled.
    #[must_use]
    pub fn labels(&self) -> Vec<usize> {
        let seen = |column: ndarray::ArrayView1<'_, f64>| {
            column.iter().filter(|quality| !quality.is_nan()).count()
        };
        self.quality.columns().into_iter().map(seen).collect()
    }
}

fn columns(models: &[ModelId]) -> BTreeMap<ModelId, usize> {
    let numbered = models.iter().enumerate();
    numbered
        .map(|(column, model)| (model.clone(), column))
        .collect()
}

fn prompt(id: &[u8], at: UnixMillis, facts: &Facts, live_weight: Option<f64>) -> Prompt {
    let mut facts = facts.clone();
    let slice = facts.slice.take();
    Prompt {
        key: fnv(id),
        alike: alike(&facts),
        at,
        facts: Arc::new(facts),
        slice,
        weight: live_weight.unwrap_or(1.0),
        live: live_weight.is_some(),
    }
}

/// The same for requests that a head cannot tell apart.
fn alike(facts: &Facts) -> u64 {
    let encoding = facts.encoding.0.iter().map(|part| part.cast_unsigned());
    let features = facts.features.iter();
    let features = features.flat_map(|feature| feature.to_bits().to_be_bytes());
    let bytes: Vec<u8> = encoding.chain(features).collect();
    fnv(&bytes)
}

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A number in 0..1 from a row's key: the same hash that requests draw by.
pub(crate) fn uniform(key: u64, seed: u64) -> f64 {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&key.to_be_bytes());
    id[8..].copy_from_slice(&seed.to_be_bytes());
    let draw = Draw::of(spillway_routing::id::RequestId(id));
    (draw.0 >> 11) as f64 / (1u64 << 53) as f64
}

/// Models with enough labels, everywhere that labels are: sorted by name.
fn labelled_models(audits: &[&Audit]) -> Vec<ModelId> {
    let mut total: BTreeMap<&ModelId, usize> = BTreeMap::new();
    let mut by_slice: BTreeMap<&SliceId, (usize, BTreeMap<&ModelId, usize>)> = BTreeMap::new();
    for audit in audits {
        let mut slice = audit
            .facts
            .slice
            .as_ref()
            .map(|s| by_slice.entry(s).or_default());
        if let Some((rows, _)) = &mut slice {
            *rows += 1;
        }
        for answer in &audit.answers {
            *total.entry(&answer.model).or_default() += 1;
            if let Some((_, counts)) = &mut slice {
                *counts.entry(&answer.model).or_default() += 1;
            }
        }
    }
    let most = total.values().copied().max().unwrap_or(0);
    let wanted = (most / 2).clamp(MODEL_LABELS_MIN, MODEL_LABELS_WANTED);
    let everywhere = |model: &ModelId| {
        by_slice.values().all(|(rows, counts)| {
            counts.get(model).copied().unwrap_or(0) >= SLICE_LABELS_MIN.min(rows / 2)
        })
    };
    total
        .iter()
        .filter(|(model, count)| **count >= wanted && everywhere(model))
        .map(|(model, _)| (*model).clone())
        .collect()
}

#[cfg(test)]
mod tests;
