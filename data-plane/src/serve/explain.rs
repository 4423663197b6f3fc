//! `POST /v1/route`: what would be decided, and why, without calling anybody.
//!
//! Owns: the JSON form of a decision for callers. The decision itself is the same
//! function that real requests take.

use std::time::Instant;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use spillway_routing::decide::{Considered, Draw, Refusal, Verdict, decide};
use spillway_routing::features::Facts;
use spillway_routing::table::Table;

use crate::Proxy;
use crate::clock;
use crate::exchange;
use crate::failure::Failure;
use crate::inbound::Inbound;

pub(super) async fn explain(proxy: &Proxy, inbound: Inbound) -> Result<Response, Failure> {
    let table = proxy.table()?;
    let reading = exchange::read(proxy, &inbound).await?;
    let now = Instant::now();
    let conditions = reading.conditions(proxy, &table, now);
    let facts = reading.facts;
    let decided = decide(
        &table,
        &facts,
        &conditions,
        clock::now(),
        Draw::of(inbound.id),
    );
    let explained = match decided {
        Ok(decision) => {
            let steps = decision.plan.iter();
            let plan: Vec<Value> = steps
                .map(|step| json!({ "lane": step.lane.as_str(), "give_up_ms": step.give_up.0 }))
                .collect();
            json!({
                "route": decision.route.as_str(),
                "plan": plan,
                "trail": trail(&decision.trail),
                "abstention": decision.abstention.map(|a| a.name()),
                "explored": decision.explored,
                "propensity": decision.propensity.share(),
                "baseline_cost_usd": decision.baseline_cost.usd(),
                "relaxed": decision.relaxed.iter().map(|limit| limit.name()).collect::<Vec<_>>(),
                "refused": null,
            })
        }
        Err(refusal @ Refusal::UnknownRoute(_)) => {
            return Err(Failure::refused(&refusal, proxy.health.wait(&table, now)));
        }
        Err(refusal) => {
            let considered = match &refusal {
                Refusal::NothingFeasible(trail) | Refusal::AllShut(trail) => trail.as_slice(),
                Refusal::UnknownRoute(_) | Refusal::NoTier(_) => &[],
            };
            json!({
                "route": facts.route.as_ref().map(|route| route.as_str()),
                "plan": [],
                "trail": trail(considered),
                "refused": refusal.to_string(),
            })
        }
    };
    Ok(Json(with_context(explained, &inbound, &table, &facts)).into_response())
}

fn with_context(mut explained: Value, inbound: &Inbound, table: &Table, facts: &Facts) -> Value {
    explained["request_id"] = json!(inbound.id.to_string());
    explained["table_version"] = json!(table.version().0);
    explained["facts"] = json!({
        "o200k_tokens": facts.o200k.0,
        "text_class": facts.text_class.name(),
        "turns": facts.turns,
        "images": facts.images,
        "tools": facts.tool_count,
        "slice": facts.slice.as_ref().map(|slice| slice.as_str()),
    });
    explained
}

fn trail(considered: &[Considered]) -> Vec<Value> {
    let line = |c: &Considered| {
        let (verdict, reason) = match &c.verdict {
            Verdict::Chosen(why) => ("chosen", why.to_string()),
            Verdict::Fallback(rank) => ("fallback", format!("fallback {rank}")),
            Verdict::Removed(removal) => ("removed", removal.to_string()),
        };
        json!({
            "lane": c.lane.as_str(),
            "model": c.model.as_str(),
            "quality": c.quality.map(|q| q.share()),
            "quality_low": c.quality_low.map(|q| q.share()),
            "cost_usd": c.cost.map(|cost| cost.usd()),
            "output_tokens": c.output.0,
            "first_token_ms": c.first_token.0,
            "total_ms": c.total.0,
            "verdict": verdict,
            "reason": reason,
        })
    };
    considered.iter().map(line).collect()
}
