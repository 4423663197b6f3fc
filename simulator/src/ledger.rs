//! Every attempt the simulator received, and what it would bill: the judge of
//! accounting tests.
//!
//! Owns: the append-only record. It must not know HTTP, scripts' draws or answers.
//! An attempt that is refused or faulted bills nothing; a stream that is cut after
//! content, or whose client went away, bills its input and what was sent until then.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::answer::Usage;
use crate::ask::ServiceTier;
use crate::config::Price;
use crate::script::FaultKind;
use crate::wire::Wire;

/// Attempts kept in full; later ones are only counted (see [`Ledger::dropped`]).
/// At about 250 bytes each this is a quarter of a gigabyte.
const ATTEMPTS_MAX: usize = 1_000_000;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Not ended yet.
    InFlight,
    /// The whole answer was sent.
    Answered,
    /// Refused with this status.
    Refused(u16),
    /// A scripted fault was shown (see also [`Attempt::client_gone_ms`]).
    Faulted(FaultKind),
    /// The client closed before the end (or the simulator was stopped by force).
    ClientGone,
}

/// One attempt as the provider saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Order of arrival over all providers, from 0.
    pub sequence: u64,
    /// Who received it.
    pub provider: String,
    /// What was spoken.
    pub wire: Wire,
    /// The `model` field; empty when the body could not be read.
    pub model: String,
    /// A hash of the key (of a signed request: of its access key id), never the key;
    /// `None` without one.
    pub key_hash: Option<u64>,
    /// Whether a stream was asked for.
    pub streaming: bool,
    /// Header `x-spillway-request-id` of the attempt.
    pub request_id: Option<String>,
    /// A hash of the last user message (see [`Ledger::prompt_hash`]).
    pub prompt_hash: u64,
    /// The tier it was served in (and is billed for).
    pub service_tier: ServiceTier,
    /// Input tokens billed, cached ones included.
    pub input_tokens: u64,
    /// Of them, those that came out of the provider's cache.
    pub cached_tokens: u64,
    /// Output tokens billed.
    pub output_tokens: u64,
    /// What is billed, in nano-USD.
    pub cost_nano_usd: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Arrival, in milliseconds since the simulator's start.
    pub received_ms: u64,
    /// When the client's close was seen, in milliseconds since the simulator's start.
    pub client_gone_ms: Option<u64>,
}

/// Sums over attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Attempts.
    pub attempts: u64,
    /// Of them answered in full.
    pub answered: u64,
    /// Input tokens billed.
    pub input_tokens: u64,
    /// Output tokens billed.
    pub output_tokens: u64,
    /// Nano-USD billed.
    pub cost_nano_usd: u64,
}

/// The record. Clones are the same record.
#[derive(Debug, Clone)]
pub struct Ledger {
    start: Instant,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Debug, Default)]
struct Pages {
    attempts: Vec<Attempt>,
    dropped: u64,
}

impl Ledger {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            pages: Arc::default(),
        }
    }

    /// All attempts so far, in order of arrival.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.lock().attempts.clone()
    }

    /// The attempts that match, in order of arrival.
    pub fn filter(&self, wanted: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        let pages = self.lock();
        pages
            .attempts
            .iter()
            .filter(|attempt| wanted(attempt))
            .cloned()
            .collect()
    }

    /// The attempts that carried this request id.
    pub fn of_request(&self, request_id: &str) -> Vec<Attempt> {
        self.filter(|attempt| attempt.request_id.as_deref() == Some(request_id))
    }

    /// How many attempts match.
    pub fn count(&self, wanted: impl Fn(&Attempt) -> bool) -> usize {
        let pages = self.lock();
        pages
            .attempts
            .iter()
            .filter(|attempt| wanted(attempt))
            .count()
    }

    /// Sums over all attempts.
    pub fn totals(&self) -> Totals {
        self.totals_of(|_| true)
    }

    /// Sums over the attempts that match.
    pub fn totals_of(&self, wanted: impl Fn(&Attempt) -> bool) -> Totals {
        let pages = self.lock();
        let mut totals = Totals::default();
        for attempt in pages.attempts.iter().filter(|attempt| wanted(attempt)) {
            totals.attempts += 1;
            totals.answered += u64::from(attempt.outcome == Outcome::Answered);
            totals.input_tokens += attempt.input_tokens;
            totals.output_tokens += attempt.output_tokens;
            totals.cost_nano_usd += attempt.cost_nano_usd;
        }
        totals
    }

    /// Attempts still running.
    pub fn in_flight(&self) -> usize {
        self.count(|attempt| attempt.outcome == Outcome::InFlight)
    }

    /// Attempts that came after the ledger was full.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// The hash that [`Attempt::prompt_hash`] holds for this last user message.
    pub fn prompt_hash(text: &str) -> u64 {
        crate::dice::text_hash(text)
    }

    /// The hash that [`Attempt::key_hash`] holds for this key.
    pub fn key_hash(key: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn open(
        &self,
        provider: &str,
        wire: Wire,
        key: Option<&str>,
        request_id: Option<String>,
    ) -> Entry {
        let received_ms = self.now_ms();
        let mut pages = self.lock();
        // Later attempts keep a number of their own: it is in their ids.
        let index = pages.attempts.len() + pages.dropped as usize;
        if index >= ATTEMPTS_MAX {
            pages.dropped += 1;
        } else {
            pages.attempts.push(Attempt {
                sequence: index as u64,
                provider: provider.to_owned(),
                wire,
                model: String::new(),
                key_hash: key.map(Self::key_hash),
                streaming: false,
                request_id,
                prompt_hash: 0,
                service_tier: ServiceTier::Standard,
                input_tokens: 0,
                cached_tokens: 0,
                output_tokens: 0,
                cost_nano_usd: 0,
                outcome: Outcome::InFlight,
                received_ms,
                client_gone_ms: None,
            });
        }
        Entry {
            ledger: self.clone(),
            index,
            price: Price::default(),
            usage: Usage::default(),
            sent_tokens: 0,
            if_dropped: Outcome::ClientGone,
            closed: false,
        }
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open line of the ledger. It closes itself: dropped unfinished, the client went away.
#[derive(Debug)]
pub(crate) struct Entry {
    ledger: Ledger,
    index: usize,
    price: Price,
    /// What would be billed of a whole answer.
    usage: Usage,
    sent_tokens: u64,
    if_dropped: Outcome,
    closed: bool,
}

impl Entry {
    pub(crate) fn sequence(&self) -> u64 {
        self.index as u64
    }

    /// The body could be read: this is what it asked for.
    pub(crate) fn identify(&self, model: &str, streaming: bool, prompt: &str) {
        self.write(|attempt| {
            attempt.model = model.to_owned();
            attempt.streaming = streaming;
            attempt.prompt_hash = Ledger::prompt_hash(prompt);
        });
    }

    /// From now on its input counts, at the price of this tier.
    pub(crate) fn price(&mut self, price: Price, tier: ServiceTier, usage: &Usage) {
        self.price = price;
        self.usage = *usage;
        self.write(|attempt| attempt.service_tier = tier);
    }

    /// A fault was drawn: whoever closes first, it is a faulted attempt.
    pub(crate) fn faulty(&mut self, kind: FaultKind) {
        self.if_dropped = Outcome::Faulted(kind);
    }

    /// These tokens have been given to the connection.
    pub(crate) fn sent(&mut self, tokens: u64) {
        self.sent_tokens += tokens;
    }

    /// The attempt ended so. Only the first end counts.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        self.close(outcome, None);
    }

    /// The scripted fault ran its course.
    pub(crate) fn give_up(&mut self) {
        self.close(self.if_dropped, None);
    }

    fn close(&mut self, outcome: Outcome, client_gone_ms: Option<u64>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let billed = match outcome {
            Outcome::Answered | Outcome::ClientGone => true,
            Outcome::Faulted(_) => self.sent_tokens > 0,
            Outcome::Refused(_) | Outcome::InFlight => false,
        };
        let usage = if billed {
            Usage {
                output_tokens: self.sent_tokens,
                ..self.usage
            }
        } else {
            Usage::default()
        };
        let cost_nano_usd = self.price.of_usage(&usage);
        self.write(|attempt| {
            attempt.input_tokens = usage.input_tokens;
            attempt.cached_tokens = usage.cached_tokens;
            attempt.output_tokens = usage.output_tokens;
            attempt.cost_nano_usd = cost_nano_usd;
            attempt.outcome = outcome;
            attempt.client_gone_ms = client_gone_ms;
        });
    }

    fn write(&self, change: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.ledger.lock().attempts.get_mut(self.index) {
            change(attempt);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close(self.if_dropped, Some(self.ledger.now_ms()));
    }
}

#[cfg(test)]
mod tests;
