//! From a record to its outcome.
//!
//! Owns: the last step of a request: what its ending is when nobody said, the outcome,
//! and the metrics.

use std::sync::Arc;

use spillway_routing::catalogue::Usage;
use spillway_routing::id::UpstreamId;
use spillway_routing::outcome::{AttemptResult, Ending, Outcome, UsageSource};
use spillway_routing::overflow::Cause;
use spillway_routing::unit::{NanoUsd, Tokens};

use super::{Ledger, Record, account, named};
use crate::allowance::Taking;
use crate::clock;
use crate::metrics::{Metrics, OTHER};

/// Recorded for clients that left before any response: nobody saw a status.
const CLIENT_GONE: u16 = 499;

/// What a record that was dropped unfinished means.
pub(super) fn abandoned(ledger: &Ledger, record: &Record) -> (Ending, u16) {
    let status = |otherwise| if record.head_sent { 200 } else { otherwise };
    if std::thread::panicking() || ledger.is_cutting() {
        let ending = if record.head_sent {
            Ending::Cut
        } else {
            Ending::Failed
        };
        return (ending, status(500));
    }
    (Ending::ClientGone, status(CLIENT_GONE))
}

pub(super) fn close(ledger: &Ledger, mut record: Record, ending: Ending, status: u16) {
    record.end_attempt(
        match ending {
            Ending::Answered => AttemptResult::Answered,
            Ending::ClientGone => AttemptResult::ClientGone,
            Ending::Cut => AttemptResult::Cut,
            Ending::Failed | Ending::Refused => AttemptResult::Failed,
        },
        record.head_sent.then_some(200),
    );
    let (spilled, granted) = (record.spilled.take(), record.granted.take());
    let booked = account::booked(&record).map(|lane| record.opening.table.lane(lane).id.clone());
    let outcome = outcome(ledger, record, ending, status);
    let at = clock::now();
    if let Some(lane) = &booked {
        ledger.spend.add(lane, outcome.cost, at);
    }
    if let Some(spilled) = spilled {
        let here = booked.as_ref() == Some(&spilled.reserved.lane);
        let cost = if here { outcome.cost } else { NanoUsd::ZERO };
        ledger.spend.settle(&spilled.reserved, cost, at);
        if outcome.served.as_ref() == Some(&spilled.reserved.lane) {
            count_overflow(&ledger.metrics, &outcome, spilled.cause);
        }
    }
    if let Some(grant) = granted {
        let taken = Taking {
            tokens: outcome.usage.input.saturating_add(outcome.usage.output),
            cost: outcome.cost,
        };
        ledger.allowances.settle(&grant, taken, at);
    }
    ledger.queue.push_outcome(outcome);
}

fn outcome(ledger: &Ledger, record: Record, ending: Ending, status: u16) -> Outcome {
    let (usage, usage_source) = account::usage(&record);
    if usage_source == UsageSource::Reported {
        learn_cache(ledger, &record, &usage);
    }
    // Whoever brings keys pays with them: nothing is spent here, and nothing saved.
    let (cost, baseline_cost) = if record.opening.pays_itself() {
        (NanoUsd::ZERO, NanoUsd::ZERO)
    } else {
        let cost = account::cost(&record, &usage);
        (cost, account::baseline(&record, &usage))
    };
    let table = Arc::clone(&record.opening.table);
    let billed = account::billed_lane(&record);
    let (served, text_only) = (record.served, record.opening.text_only);
    let total = record.since_arrival();
    let outcome = Outcome {
        id: record.opening.id,
        at: record.opening.at,
        proxy: ledger.proxy.clone(),
        table: table.version(),
        conditions: named(&table, &record.opening.conditions),
        ending,
        status,
        served: served.map(|lane| table.lane(lane).id.clone()),
        served_model: served.map(|lane| table.model_of(lane).id.clone()),
        served_tier: record
            .reported
            .tier
            .or(billed.map(|lane| table.lane(lane).tier))
            .filter(|_| served.is_some()),
        usage,
        usage_source,
        cost,
        baseline_cost,
        first_token: record.first_token,
        total,
        facts: record.opening.facts,
        decision: record.opening.decision,
        attempts: record.attempts,
    };
    let family = served.map(|lane| table.model_of(lane).family);
    if let Some(family) =
        family.filter(|_| usage_source == UsageSource::Reported && usage.input.0 > 0)
    {
        let counted = outcome.facts.input(family);
        if let Some(lane) = served.filter(|_| text_only) {
            learn_bill(ledger, &table.upstream_of(lane).id, (counted, usage.input));
        }
        let estimate = f64::from(counted.0);
        let error = (estimate / f64::from(usage.input.0) - 1.0).abs();
        ledger
            .metrics
            .estimate_error
            .with_label_values(&[family.name()])
            .observe(error);
    }
    measure(&ledger.metrics, &outcome);
    outcome
}

/// How far what was counted is from what the provider bills.
fn learn_bill(ledger: &Ledger, upstream: &UpstreamId, (counted, billed): (Tokens, Tokens)) {
    let ratio = ledger.bills.learn(upstream, counted, billed);
    let labels = [upstream.as_str()];
    let gauge = ledger.metrics.billed_ratio.with_label_values(&labels);
    gauge.set(ratio);
}

/// How much of what was expected the provider's cache gave.
fn learn_cache(ledger: &Ledger, record: &Record, usage: &Usage) {
    let (Some(lane), opening) = (record.served, &record.opening) else {
        return;
    };
    let expected = opening.conditions.lane(lane).cached;
    if expected == Tokens(0) || usage.input == Tokens(0) {
        return;
    }
    let share = |part: Tokens, whole: Tokens| f64::from(part.0) / f64::from(whole.0.max(1));
    let upstream = opening.table.upstream_of(lane);
    ledger.caches.learn(
        &upstream.id,
        share(expected, opening.facts.o200k),
        share(usage.cache_read, usage.input),
    );
}

fn count_overflow(metrics: &Metrics, outcome: &Outcome, cause: Cause) {
    let Some(decision) = &outcome.decision else {
        return;
    };
    let labels = [decision.route.as_str(), cause.name()];
    metrics.overflowed.with_label_values(&labels).inc();
    let usd = metrics.overflow_usd.with_label_values(&labels);
    usd.inc_by(outcome.cost.usd());
}

fn measure(metrics: &Metrics, outcome: &Outcome) {
    // Only names of the table become labels; a refused request may name anything.
    let route = outcome
        .decision
        .as_ref()
        .map_or(OTHER, |decision| decision.route.as_str());
    let model = outcome
        .served_model
        .as_ref()
        .map_or(OTHER, |model| model.as_str());
    metrics
        .requests
        .with_label_values(&[route, model, outcome.ending.name()])
        .inc();
    for attempt in &outcome.attempts {
        let labels = [attempt.lane.as_str(), attempt.result.name()];
        metrics.attempts.with_label_values(&labels).inc();
    }
    metrics
        .request_seconds
        .with_label_values(&[route])
        .observe(outcome.total.0 as f64 / 1e3);
    if let Some(first) = outcome.first_token {
        metrics
            .first_token_seconds
            .with_label_values(&[route])
            .observe(first.0 as f64 / 1e3);
    }
    metrics
        .cost_usd
        .with_label_values(&[route, model])
        .inc_by(outcome.cost.usd());
    metrics
        .baseline_usd
        .with_label_values(&[route])
        .inc_by(outcome.baseline_cost.usd());
    if outcome.served.is_some() {
        count_tokens(metrics, model, &outcome.usage);
    }
    let first = outcome.decision.as_ref().and_then(|d| d.plan.first());
    if outcome.served.is_some() && outcome.served.as_ref() != first.map(|step| &step.lane) {
        metrics.failovers.with_label_values(&[route]).inc();
    }
    if outcome
        .decision
        .as_ref()
        .is_some_and(|d| d.abstention.is_some())
    {
        metrics.abstained.with_label_values(&[route]).inc();
    }
}

fn count_tokens(metrics: &Metrics, model: &str, usage: &Usage) {
    let kinds = [
        ("input", usage.input),
        ("cache_read", usage.cache_read),
        ("cache_write", usage.cache_write),
        ("output", usage.output),
        ("reasoning", usage.reasoning),
    ];
    for (kind, tokens) in kinds.into_iter().filter(|(_, tokens)| tokens.0 > 0) {
        metrics
            .tokens
            .with_label_values(&[model, kind])
            .inc_by(u64::from(tokens.0));
    }
}
