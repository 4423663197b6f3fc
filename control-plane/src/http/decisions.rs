//! Requests and their decisions: the list, and one with its whole trail.

use axum::extract::{Path, Query, State};
use axum::response::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use spillway_history::{RequestFilter, RequestRow};
use spillway_routing::decide::{Considered, Decision, Verdict, Why};
use spillway_routing::features;
use spillway_routing::id::{ModelId, RequestId, RouteId};
use spillway_routing::outcome::{Attempt, Ending, Outcome};
use spillway_routing::prompt::{Class, Form};
use spillway_routing::table::{Choice, Draft};
use spillway_routing::unit::{Bps, UnixMillis};

use super::Shared;
use crate::control::Control;
use crate::error::ControlError;

/// Rows of one list.
const ROWS_MAX: usize = 500;

#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    limit: Option<usize>,
    route: Option<String>,
    model: Option<String>,
    ending: Option<String>,
    /// Arrived before this, to turn pages.
    before_ms: Option<u64>,
}

pub(super) async fn list(
    State(control): Shared,
    Query(query): Query<Filter>,
) -> Result<Json<Value>, ControlError> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let ending = given(query.ending).map(|name| {
        Ending::parse(&name)
            .ok_or_else(|| ControlError::BadRequest(format!("ending {name:?} is not known")))
    });
    let filter = RequestFilter {
        route: given(query.route).map(|name| RouteId::new(&name)),
        model: given(query.model).map(|name| ModelId::new(&name)),
        ending: ending.transpose()?,
        before: query.before_ms.map(UnixMillis),
    };
    let rows = control
        .history
        .recent(query.limit.unwrap_or(100).min(ROWS_MAX), &filter)
        .await?;
    Ok(Json(
        json!({ "requests": rows.iter().map(row).collect::<Vec<_>>() }),
    ))
}

fn row(row: &RequestRow) -> Value {
    json!({
        "id": row.id.to_string(),
        "at_ms": row.at.0,
        "route": row.route.as_ref().map(RouteId::as_str),
        "slice": row.slice.as_ref().map(|slice| slice.as_str()),
        "model": row.served_model.as_ref().map(ModelId::as_str),
        "lane": row.served.as_ref().map(|lane| lane.as_str()),
        "tier": row.served_tier.map(|tier| tier.name()),
        "ending": row.ending.name(),
        "attempts": row.attempts,
        "cost_usd": row.cost.usd(),
        "baseline_usd": row.baseline_cost.usd(),
        "first_token_ms": row.first_token.map(|ms| ms.0),
        "total_ms": row.total.0,
        "quality": row.quality.map(Bps::share),
        "input_tokens": row.input.0,
        "output_tokens": row.output.0,
        "reason": row.chosen_reason,
        "table_version": row.table.0,
    })
}

pub(super) async fn one(
    State(control): Shared,
    Path(id): Path<String>,
) -> Result<Json<Value>, ControlError> {
    let missing = || ControlError::NotFound {
        what: "request",
        name: id.clone(),
    };
    let request: RequestId = id.parse().map_err(|_| missing())?;
    let (outcome, verdicts) = control
        .history
        .outcome(request)
        .await?
        .ok_or_else(missing)?;
    let quality = verdicts.last().map(|verdict| verdict.score.share());
    let draft = table_of(&control, &outcome).await;
    let decision = outcome.decision.as_ref();
    let route = draft
        .as_ref()
        .zip(decision)
        .and_then(|(draft, d)| draft.routes.iter().find(|r| r.id == d.route));
    let lambda = route.and_then(|route| match route.choice {
        Choice::Multiplier(lambda) => Some(lambda),
        Choice::Floor(_) => None,
    });
    let reason = decision.and_then(reason);
    let verdicts: Vec<Value> = verdicts
        .iter()
        .map(|v| json!({ "source": v.source.name(), "score": v.score.share(), "at_ms": v.at.0 }))
        .collect();
    let trail = decision.map(|d| {
        d.trail
            .iter()
            .map(|line| considered(line, draft.as_ref()))
            .collect::<Vec<_>>()
    });
    Ok(Json(json!({
        "id": outcome.id.to_string(),
        "at_ms": outcome.at.0,
        "route": outcome.facts.route.as_ref().map(RouteId::as_str),
        "slice": outcome.facts.slice.as_ref().map(|slice| slice.as_str()),
        "model": outcome.served_model.as_ref().map(ModelId::as_str),
        "lane": outcome.served.as_ref().map(|lane| lane.as_str()),
        "tier": outcome.served_tier.map(|tier| tier.name()),
        "ending": outcome.ending.name(),
        "attempts": outcome.attempts.len(),
        "cost_usd": outcome.cost.usd(),
        "baseline_usd": outcome.baseline_cost.usd(),
        "first_token_ms": outcome.first_token.map(|ms| ms.0),
        "total_ms": outcome.total.0,
        "quality": quality,
        "input_tokens": outcome.usage.input.0,
        "output_tokens": outcome.usage.output.0,
        "reason": reason,
        "table_version": outcome.table.0,
        "explanation": explanation(&outcome),
        "abstained": decision.and_then(|d| d.abstention).map(|reason| reason.name()),
        "explored": decision.is_some_and(|d| d.explored),
        "propensity": decision.map(|d| d.propensity.share()),
        "bar": route.map(|route| route.bar.share()),
        "lambda": lambda,
        "facts": facts(&outcome),
        "trail": trail.unwrap_or_default(),
        "attempt_list": outcome.attempts.iter().map(|a| attempt(a, &outcome)).collect::<Vec<_>>(),
        "verdicts": verdicts,
    })))
}

/// Why the chosen lane was chosen.
fn reason(decision: &Decision) -> Option<String> {
    match &decision.chosen()?.verdict {
        Verdict::Chosen(why) => Some(why.to_string()),
        Verdict::Fallback(_) | Verdict::Removed(_) => None,
    }
}

/// The table the request was decided with, while it is kept.
async fn table_of(control: &Control, outcome: &Outcome) -> Option<Draft> {
    control
        .publisher
        .version(outcome.table)
        .await
        .ok()
        .map(|(_, draft)| draft)
}

fn considered(line: &Considered, draft: Option<&Draft>) -> Value {
    let (verdict, rank, reason) = match &line.verdict {
        Verdict::Chosen(why) => ("chosen", Some(1), why.to_string()),
        Verdict::Fallback(rank) => (
            "fallback",
            Some(rank + 1),
            format!("fallback number {rank}"),
        ),
        Verdict::Removed(removal) => ("removed", None, removal.to_string()),
    };
    let upstream = line
        .lane
        .as_str()
        .rsplit_once('/')
        .map_or("", |(upstream, _)| upstream);
    let tier = draft
        .and_then(|draft| draft.lanes.iter().find(|lane| lane.id == line.lane))
        .map(|lane| lane.tier.name());
    json!({
        "lane": line.lane.as_str(),
        "model": line.model.as_str(),
        "upstream": upstream,
        "tier": tier,
        "verdict": verdict,
        "rank": rank,
        "quality": line.quality.map(Bps::share),
        "quality_low": line.quality_low.map(Bps::share),
        "cost_usd": line.cost.map(|cost| cost.usd()),
        "first_token_ms": line.first_token.0,
        "total_ms": line.total.0,
        // Hundredths of a percent of quality, net of cost; nothing for what was not weighed.
        "utility": (line.utility != i64::MIN).then(|| line.utility as f64 / 1e10),
        "reason": reason,
    })
}

fn attempt(attempt: &Attempt, outcome: &Outcome) -> Value {
    let served =
        outcome.served.as_ref() == Some(&attempt.lane) && !attempt.result.possibly_charged();
    json!({
        "lane": attempt.lane.as_str(),
        "start_ms": attempt.start.0,
        "end_ms": attempt.end.0,
        "result": attempt.result.name(),
        "status": attempt.status,
        "possible_charge": attempt.result.possibly_charged(),
        "cost_usd": served.then(|| outcome.cost.usd()),
    })
}

fn facts(outcome: &Outcome) -> Value {
    let facts = &outcome.facts;
    let known = facts
        .features
        .iter()
        .enumerate()
        .filter(|(_, value)| **value != 0.0);
    let features: Vec<Value> = known
        .map(|(i, value)| json!({ "name": features::name(i), "value": value }))
        .collect();
    let class = match facts.class {
        Class::Interactive => "interactive",
        Class::Batch => "batch",
        Class::Background => "background",
    };
    json!({
        "class": class,
        "key": facts.key.as_ref().map(|key| key.as_str()),
        "input_tokens": facts.o200k.0,
        "features": features,
        "tools": facts.tool_count,
        "json": facts.requirements.form != Form::Text,
        "images": facts.images,
        "turns": facts.turns,
    })
}

/// One sentence on why the request went where it went.
fn explanation(outcome: &Outcome) -> String {
    let Some(decision) = &outcome.decision else {
        return "It was not sent anywhere: no lane could serve it.".to_owned();
    };
    let Some(chosen) = decision.chosen() else {
        return "No lane was chosen.".to_owned();
    };
    let Verdict::Chosen(why) = &chosen.verdict else {
        return String::new();
    };
    let because = match why {
        Why::BestValue => {
            "it gives the best predicted quality for its cost under the route's multiplier"
        }
        Why::CheapestAboveFloor => {
            "it is the cheapest lane whose expected quality reaches the route's floor"
        }
        Why::Guarded => "it is the cheapest lane close enough to the best predicted quality",
        Why::Default(_) => "the prediction abstained, and this is the route's default",
        Why::Pinned(_) => "a rule of the policy pins it",
        Why::Cached => "it is the same model where the provider probably has the beginning cached",
        Why::Explored => "it was drawn among the near-best lanes, to learn",
        Why::OnlyOne => "no other lane could serve the request",
        Why::MayWait => "it is the same model for less, and the start may wait",
        Why::Overflowed(_) => "it is the route's overflow lane, and the request spilled over",
    };
    let mut sentence = format!("Chosen was {} because {because}", chosen.lane);
    if let (Some(quality), Some(cost)) = (chosen.quality, chosen.cost) {
        sentence.push_str(&format!(": predicted quality {quality} for {cost}"));
    }
    sentence.push('.');
    if let Some(served) = outcome.served.as_ref().filter(|lane| **lane != chosen.lane) {
        sentence.push_str(&format!(
            " It failed there and was served by {served} instead."
        ));
    }
    if !decision.relaxed.is_empty() {
        let names: Vec<&str> = decision.relaxed.iter().map(|limit| limit.name()).collect();
        sentence.push_str(&format!(
            " Nothing met every limit, so these were relaxed: {}.",
            names.join(", ")
        ));
    }
    sentence
}
