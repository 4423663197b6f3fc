//! The sums of a run of traffic.
//!
//! Owns: counting, means and percentiles. It must not know HTTP or prompts.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinError;

use super::client::{CallFailure, Reply};

/// Messages of failures that are kept word for word.
const FAILURES_KEPT: usize = 10;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Requests sent.
    pub sent: u64,
    /// Of them answered in full.
    pub answered: u64,
    /// Of them failed.
    pub failed: u64,
    /// True cost so far, in nano-USD.
    pub cost_nano_usd: u64,
    /// Mean true quality so far, 0..1; 0 while none is known.
    pub quality_mean: f64,
}

/// What came of a run. Requests = answered + failed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrafficReport {
    /// Requests sent.
    pub requests: u64,
    /// Answered in full.
    pub answered: u64,
    /// Not answered in full, for whatever reason.
    pub failed: u64,
    /// Requests by HTTP status; those without any are missing.
    pub by_status: BTreeMap<u16, u64>,
    /// True list cost of the answers by the oracle, in nano-USD.
    pub cost_nano_usd: u64,
    /// Sum of the router's `x-spillway-cost-usd`, in nano-USD.
    pub reported_cost_nano_usd: u64,
    /// Mean true quality of the answers the oracle knows, 0..1.
    pub quality_mean: f64,
    /// How many answers the oracle knew.
    pub judged: u64,
    /// Answers by model.
    pub by_model: BTreeMap<String, u64>,
    /// Arrival to the whole answer: median, in milliseconds.
    pub latency_ms_p50: f64,
    /// The same, 95th percentile.
    pub latency_ms_p95: f64,
    /// The same, 99th percentile.
    pub latency_ms_p99: f64,
    /// Arrival to the first content of a stream: median, in milliseconds.
    pub first_token_ms_p50: f64,
    /// The same, 95th percentile.
    pub first_token_ms_p95: f64,
    /// Feedback the router took.
    pub feedback_taken: u64,
    /// Feedback the router did not take.
    pub feedback_failed: u64,
    /// The first few failures, in words.
    pub failures: Vec<String>,
    /// What the run took.
    pub elapsed: Duration,
}

impl TrafficReport {
    /// Share of the answers each model gave, 0..1.
    pub fn share_by_model(&self) -> BTreeMap<&str, f64> {
        let all = self.answered.max(1) as f64;
        self.by_model
            .iter()
            .map(|(model, count)| (model.as_str(), *count as f64 / all))
            .collect()
    }
}

/// What came of one request.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) answer: Result<Reply, CallFailure>,
    pub(super) quality: Option<f64>,
    pub(super) cost_nano_usd: Option<u64>,
    pub(super) feedback: Option<Result<(), CallFailure>>,
}

impl Turn {
    pub(super) fn failed(failure: CallFailure) -> Self {
        Self {
            answer: Err(failure),
            quality: None,
            cost_nano_usd: None,
            feedback: None,
        }
    }
}

/// A report in the making.
#[derive(Debug)]
pub(super) struct Tally {
    report: TrafficReport,
    quality_sum: f64,
    latencies_ms: Vec<f64>,
    first_tokens_ms: Vec<f64>,
    progress: Option<watch::Sender<Progress>>,
}

impl Tally {
    pub(super) fn new(progress: Option<watch::Sender<Progress>>) -> Self {
        Self {
            report: TrafficReport::default(),
            quality_sum: 0.0,
            latencies_ms: Vec::new(),
            first_tokens_ms: Vec::new(),
            progress,
        }
    }

    pub(super) fn sent(&mut self) {
        self.report.requests += 1;
    }

    pub(super) fn add(&mut self, turn: Result<Turn, JoinError>) {
        match turn {
            Ok(turn) => self.add_turn(turn),
            Err(error) => {
                self.report.failed += 1;
                self.keep(format!("the traffic client itself failed: {error}"));
            }
        }
        if let Some(progress) = &self.progress {
            progress.send_replace(Progress {
                sent: self.report.requests,
                answered: self.report.answered,
                failed: self.report.failed,
                cost_nano_usd: self.report.cost_nano_usd,
                quality_mean: self.quality_mean(),
            });
        }
    }

    fn add_turn(&mut self, turn: Turn) {
        match turn.answer {
            Ok(reply) => self.add_reply(&reply),
            Err(failure) => {
                self.report.failed += 1;
                if let Some(status) = failure.status() {
                    *self.report.by_status.entry(status).or_default() += 1;
                }
                self.keep(failure.to_string());
            }
        }
        if let Some(quality) = turn.quality {
            self.report.judged += 1;
            self.quality_sum += quality;
        }
        self.report.cost_nano_usd += turn.cost_nano_usd.unwrap_or(0);
        match turn.feedback {
            Some(Ok(())) => self.report.feedback_taken += 1,
            Some(Err(failure)) => {
                self.report.feedback_failed += 1;
                self.keep(format!("feedback: {failure}"));
            }
            None => {}
        }
    }

    fn add_reply(&mut self, reply: &Reply) {
        self.report.answered += 1;
        *self.report.by_status.entry(reply.status).or_default() += 1;
        *self.report.by_model.entry(reply.model.clone()).or_default() += 1;
        self.report.reported_cost_nano_usd += reply.reported_cost_nano_usd.unwrap_or(0);
        self.latencies_ms.push(millis(reply.total));
        self.first_tokens_ms.extend(reply.first_token.map(millis));
    }

    fn keep(&mut self, failure: String) {
        if self.report.failures.len() < FAILURES_KEPT {
            self.report.failures.push(failure);
        }
    }

    fn quality_mean(&self) -> f64 {
        self.quality_sum / (self.report.judged.max(1)) as f64
    }

    pub(super) fn report(mut self, elapsed: Duration) -> TrafficReport {
        self.latencies_ms.sort_by(f64::total_cmp);
        self.first_tokens_ms.sort_by(f64::total_cmp);
        let (latencies, first_tokens) = (&self.latencies_ms, &self.first_tokens_ms);
        TrafficReport {
            quality_mean: self.quality_mean(),
            latency_ms_p50: percentile(latencies, 0.50),
            latency_ms_p95: percentile(latencies, 0.95),
            latency_ms_p99: percentile(latencies, 0.99),
            first_token_ms_p50: percentile(first_tokens, 0.50),
            first_token_ms_p95: percentile(first_tokens, 0.95),
            elapsed,
            ..self.report
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Nearest rank; 0 of nothing.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 0.50).to_bits(), 50_f64.to_bits());
        assert_eq!(percentile(&hundred, 0.99).to_bits(), 99_f64.to_bits());
        assert_eq!(percentile(&[7.0], 0.95).to_bits(), 7_f64.to_bits());
        assert_eq!(percentile(&[], 0.5).to_bits(), 0_f64.to_bits());
    }
}
