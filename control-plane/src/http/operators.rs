//! Policy, what-if, tables, fleet and training, as the page reads and writes them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use spillway_classifier::report::heads as heads_of;
use spillway_proto::envelope::Manifest;
use spillway_proto::keys;
use spillway_routing::id::TableVersion;
use spillway_routing::offpolicy::SAMPLES_MIN;
use spillway_routing::replay::Comparison;
use spillway_routing::table::{Choice, Draft, Route};
use spillway_routing::unit::{NanoUsd, UnixMillis};

use super::Shared;
use crate::control::now;
use crate::error::ControlError;
use crate::policy::{self, Fault};
use crate::{alarms, training, whatif};

/// Examples and segments on the page.
const EXAMPLES_SHOWN: usize = 20;

#[derive(Debug, Deserialize)]
pub(super) struct PolicyText {
    text: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct PolicyPut {
    text: String,
    expected_version: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct WhatIfAsked {
    text: String,
    window_s: u64,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RollBackAsked {
    expected_current: u64,
}

pub(super) fn fault(fault: &Fault) -> Value {
    json!({ "line": fault.line, "field": fault.field, "message": fault.message })
}

pub(super) async fn policy(State(control): Shared) -> Result<Json<Value>, ControlError> {
    let current = control.policies.current().await?;
    let history: Vec<Value> = control
        .policies
        .versions()
        .await?
        .iter()
        .map(|p| json!({ "version": p.version, "author": p.author, "at_ms": p.at.0 }))
        .collect();
    Ok(Json(match current {
        Some(p) => {
            json!({ "version": p.version, "text": p.text, "author": p.author, "at_ms": p.at.0, "history": history })
        }
        None => json!({ "version": 0, "text": "", "author": "", "at_ms": null, "history": [] }),
    }))
}

pub(super) async fn validate(Json(asked): Json<PolicyText>) -> Json<Value> {
    let faults = policy::faults(&asked.text);
    Json(json!({ "ok": faults.is_empty(), "errors": faults.iter().map(fault).collect::<Vec<_>>() }))
}

pub(super) async fn put_policy(
    State(control): Shared,
    Json(put): Json<PolicyPut>,
) -> Result<Json<Value>, ControlError> {
    let (version, table) = control
        .put_policy(&put.text, put.expected_version, "dashboard")
        .await?;
    Ok(Json(
        json!({ "version": version, "table_version": table.0 }),
    ))
}

pub(super) async fn what_if(
    State(control): Shared,
    Json(asked): Json<WhatIfAsked>,
) -> Result<Json<Value>, ControlError> {
    let until = now();
    let since = UnixMillis(until.0.saturating_sub(asked.window_s.saturating_mul(1_000)));
    let limit = asked.limit.unwrap_or(whatif::REQUESTS_MAX);
    let compared = whatif::compare(&control, &asked.text, since, until, limit).await?;
    Ok(Json(comparison(&compared)))
}

fn usd_delta(before: NanoUsd, after: NanoUsd) -> f64 {
    after.usd() - before.usd()
}

fn comparison(compared: &Comparison) -> Value {
    let mut segments: Vec<_> = compared.segments.iter().collect();
    let quality_delta = |s: &spillway_routing::replay::Segment| {
        (s.quality_after - s.quality_before) / s.requests.max(1) as f64
    };
    segments.sort_by(|(_, a), (_, b)| quality_delta(a).total_cmp(&quality_delta(b)));
    let segments: Vec<Value> = segments.iter().take(EXAMPLES_SHOWN).map(|(name, s)| {
        json!({ "segment": name, "requests": s.requests, "cost_delta_usd": usd_delta(s.cost_before, s.cost_after),
            "quality_delta": quality_delta(s) })
    }).collect();
    let examples: Vec<Value> = compared.examples.iter().take(EXAMPLES_SHOWN).map(|change| {
        json!({ "id": change.id.to_string(), "before": change.before.as_str(),
            "after": change.after.as_ref().map_or("refused", |lane| lane.as_str()),
            "cost_before_usd": change.cost_before.usd(), "cost_after_usd": change.cost_after.usd() })
    }).collect();
    let mut notes = Vec::new();
    let after = &compared.quality_after;
    if compared.requests == 0 {
        notes.push("No request was recorded in this window.".to_owned());
    } else if after.doubly_robust.is_none() {
        notes.push(format!(
            "Too few recorded verdicts speak for this policy to estimate its quality ({:.0} effective samples, {SAMPLES_MIN:.0} are needed). What the heads predict is no observation: audit some prompts to know.",
            after.effective_samples
        ));
    }
    if compared.refused > 0 {
        notes.push(format!(
            "{} requests would have been refused.",
            compared.refused
        ));
    }
    json!({
        "requests": compared.requests,
        "changed": compared.changed,
        "cost_before_usd": compared.cost_before.usd(),
        "cost_after_usd": compared.cost_after.usd(),
        "quality_before": compared.quality_before,
        "quality_after": after.doubly_robust,
        "quality_after_predicted": after.direct,
        "quality_after_self_normalised": after.self_normalised,
        "quality_low": after.interval.map(|(low, _)| low),
        "quality_high": after.interval.map(|(_, high)| high),
        "coverage": compared.coverage,
        "effective_sample_size": after.effective_samples,
        "latency_before_ms": null,
        "latency_after_ms": null,
        "segments": segments,
        "examples": examples,
        "notes": notes,
    })
}

fn summary(manifest: &Manifest, draft: &Draft) -> Value {
    json!({
        "version": manifest.version.0,
        "parent": manifest.parent.0,
        "at_ms": manifest.made_at.0,
        "digest": keys::hex(&manifest.digest),
        "note": draft.note,
        "routes": draft.routes.len(),
        "lanes": draft.lanes.len(),
        "learned": draft.routes.iter().any(|route| route.learned),
    })
}

pub(super) async fn tables(State(control): Shared) -> Result<Json<Value>, ControlError> {
    let current = control.publisher.current_version().await?;
    let mut tables = Vec::new();
    for manifest in control.publisher.versions().await? {
        let (_, draft) = control.publisher.version(manifest.version).await?;
        tables.push(summary(&manifest, &draft));
    }
    Ok(Json(json!({ "current": current.0, "tables": tables })))
}

pub(super) async fn table(
    State(control): Shared,
    Path(version): Path<u64>,
) -> Result<Json<Value>, ControlError> {
    let (manifest, draft) = control.publisher.version(TableVersion(version)).await?;
    let lanes: Vec<Value> = draft.lanes.iter().map(|lane| {
        let upstream = draft.upstreams.iter().find(|u| u.id == lane.upstream);
        let model = upstream.and_then(|u| draft.models.iter().find(|m| m.id == u.model));
        let rates = lane.price.as_ref().map(|price| price.rates);
        json!({ "lane": lane.id.as_str(), "model": model.map(|m| m.id.as_str()), "provider": upstream.map(|u| u.provider.as_str()),
            "tier": lane.tier.name(), "input_usd_per_mtok": rates.map(|r| r.input.usd()),
            "output_usd_per_mtok": rates.map(|r| r.output.usd()), "context": model.map(|m| m.context.0) })
    }).collect();
    let heads = draft.committee.as_ref().map(|committee| {
        let kinds: Vec<String> = heads_of(committee)
            .iter()
            .map(ToString::to_string)
            .collect();
        json!({
            "kind": kinds.join(", "),
            "models": committee.models.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
            "trained_on": committee.labels,
            "encoder": committee.encoder.name(),
        })
    });
    let mut body = summary(&manifest, &draft);
    body["routes"] = draft.routes.iter().map(|r| route(r, &draft)).collect();
    body["lanes"] = json!(lanes);
    body["heads"] = json!(heads);
    Ok(Json(body))
}

fn route(route: &Route, draft: &Draft) -> Value {
    let all = || draft.models.iter().map(|model| &model.id);
    let models: Vec<&str> = if route.models.is_empty() {
        all().map(|id| id.as_str()).collect()
    } else {
        route.models.iter().map(|id| id.as_str()).collect()
    };
    let lambda = match route.choice {
        Choice::Multiplier(lambda) => Some(lambda),
        Choice::Floor(_) => None,
    };
    json!({
        "name": route.id.as_str(),
        "bar": route.bar.share(),
        "lambda": lambda,
        "default_lane": route.default_lane.as_str(),
        "baseline_lane": route.baseline.as_str(),
        "explore": route.explore.share(),
        "candidates": models,
        "certificate": route.certificate.map(|certificate| json!({
            "allowed": certificate.allowed.share(),
            "confidence": certificate.confidence.share(),
            "audits": certificate.audits,
        })),
    })
}

pub(super) async fn roll_back(
    State(control): Shared,
    Path(version): Path<u64>,
    Json(asked): Json<RollBackAsked>,
) -> Result<Json<Value>, ControlError> {
    let (to, current) = (TableVersion(version), TableVersion(asked.expected_current));
    let version = control.roll_back(to, current).await?;
    Ok(Json(json!({ "version": version.0 })))
}

pub(super) async fn fleet(State(control): Shared) -> Result<Json<Value>, ControlError> {
    let members = control.fleet.members(&control.store, now()).await?;
    let proxies: Vec<Value> = members.iter().map(|member| {
        let said = &member.acknowledgement;
        json!({ "id": said.proxy, "address": said.address, "version": said.version, "state": member.condition.name(),
            "refused_version": (said.refused_version > 0).then_some(said.refused_version),
            "refusal": (!said.refusal.is_empty()).then_some(&said.refusal),
            "last_seen_ms": member.last_seen.0, "since_ms": said.since_ms,
            "uptime_s": now().0.saturating_sub(said.booted_at_ms) / 1_000 })
    }).collect();
    Ok(Json(json!({ "proxies": proxies })))
}

pub(super) async fn training(State(control): Shared) -> Result<Json<Value>, ControlError> {
    let going = control
        .runs
        .going()
        .map(|p| json!({ "id": p.run, "step": p.step, "done": p.done }));
    Ok(Json(json!({
        "running": going,
        "runs": training::records(&control).await?,
        "alarms": alarms::records(&control.store).await?,
    })))
}

pub(super) async fn train(State(control): Shared) -> Result<Json<Value>, ControlError> {
    let run = training::start(&Arc::clone(&control)).await?;
    Ok(Json(json!({ "id": run })))
}
