//! The overview: totals, series, by model, by route.

use axum::extract::{Query, State};
use axum::response::Json;
use serde::Deserialize;
use serde_json::{Value, json};
use spillway_history::{Figures, Point};
use spillway_routing::table::Draft;
use spillway_routing::unit::{Bps, Millis, UnixMillis};

use super::Shared;
use crate::control::now;
use crate::error::ControlError;
use crate::fleet::ProxyCondition;

/// Points of a series: as many as a chart can show.
const POINTS: u64 = 90;
const WINDOW_MAX_S: u64 = 31 * 24 * 3_600;

#[derive(Debug, Deserialize)]
pub(super) struct Window {
    /// Seconds back from now.
    window: Option<u64>,
}

pub(super) async fn overview(
    State(control): Shared,
    Query(query): Query<Window>,
) -> Result<Json<Value>, ControlError> {
    let window_s = query.window.unwrap_or(900).clamp(60, WINDOW_MAX_S);
    let step = Millis((window_s / POINTS).max(1) * 1_000);
    // Whole steps, so that points do not dance from one look to the next.
    let until = UnixMillis(now().0 / step.0 * step.0 + step.0);
    let since = UnixMillis(until.0.saturating_sub(window_s * 1_000));
    let seen = control.history.overview(since, until, step).await?;
    let current = control.publisher.current().await?;
    let draft = current.as_ref().map(|c| c.table.draft());
    let members = control.fleet.members(&control.store, now()).await?;
    let count = |wanted| {
        members
            .iter()
            .filter(|member| member.condition == wanted)
            .count()
    };
    let bar_of = |route: &str| bar(draft, route);
    let by_model: Vec<Value> = seen.by_model.iter().map(|(id, figures)| {
        let share = figures.requests as f64 / seen.totals.requests.max(1) as f64;
        json!({ "model": id.as_str(), "requests": figures.requests, "share": share, "spend_usd": figures.spend.usd(),
            "quality": share_of(figures.quality), "p50_ms": ms(figures.total_p50) })
    }).collect();
    let by_route: Vec<Value> = seen.by_route.iter().map(|(id, figures)| {
        json!({ "route": id.as_str(), "requests": figures.requests, "spend_usd": figures.spend.usd(),
            "baseline_usd": figures.baseline.usd(), "saved_usd": saved(figures),
            "quality": share_of(figures.quality), "bar": bar_of(id.as_str()) })
    }).collect();
    let busiest = seen
        .by_route
        .first()
        .map(|(id, _)| id.as_str())
        .unwrap_or_default();
    let totals = &seen.totals;
    Ok(Json(json!({
        "window_s": window_s,
        "requests": totals.requests,
        "errors": failed(totals),
        "spend_usd": totals.spend.usd(),
        "baseline_usd": totals.baseline.usd(),
        "saved_usd": saved(totals),
        "quality_mean": share_of(totals.quality),
        "quality_count": totals.scored,
        "bar": bar_of(busiest),
        "latency_p50_ms": ms(totals.total_p50),
        "latency_p95_ms": ms(totals.total_p95),
        "first_token_p50_ms": ms(totals.first_token_p50),
        "failovers": totals.failovers,
        "abstained": totals.abstained,
        "table": {
            "version": draft.map_or(0, |draft| draft.version.0),
            "published_ms": draft.map(|draft| draft.made_at.0),
        },
        "proxies": {
            "running": count(ProxyCondition::Running),
            "refused": count(ProxyCondition::Refused),
            "lost": count(ProxyCondition::Lost),
        },
        "series": series(&seen.series, step),
        "by_model": by_model,
        "by_route": by_route,
    })))
}

fn series(points: &[Point], step: Millis) -> Value {
    let each = |value: &dyn Fn(&Point) -> Value| points.iter().map(value).collect::<Vec<_>>();
    json!({
        "step_s": step.0 / 1_000,
        "t_s": each(&|p| json!(p.at.0 / 1_000)),
        "answered": each(&|p| json!(p.figures.endings.answered)),
        "failed": each(&|p| json!(failed(&p.figures))),
        "spend_usd": each(&|p| json!(p.figures.spend.usd())),
        "baseline_usd": each(&|p| json!(p.figures.baseline.usd())),
        "quality": each(&|p| json!(share_of(p.figures.quality))),
        "p50_ms": each(&|p| json!(ms(p.figures.total_p50))),
        "p95_ms": each(&|p| json!(ms(p.figures.total_p95))),
    })
}

/// The quality a route promises: its bar's share of the best model's own.
fn bar(draft: Option<&Draft>, route: &str) -> Option<f64> {
    let route = draft?.routes.iter().find(|r| r.id.as_str() == route)?;
    let on_route = |model: &&spillway_routing::catalogue::Model| {
        route.models.is_empty() || route.models.contains(&model.id)
    };
    let committee = draft?.committee.as_ref();
    let expected = |model: &spillway_routing::catalogue::Model| {
        let column = committee.and_then(|c| c.models.iter().position(|id| *id == model.id));
        column
            .and_then(|i| committee?.mean_quality.get(i).copied())
            .or(model.prior)
    };
    let best = draft?
        .models
        .iter()
        .filter(on_route)
        .filter_map(expected)
        .max()?;
    Some(route.bar.of(best).share())
}

fn failed(figures: &Figures) -> u64 {
    figures.endings.failed + figures.endings.cut + figures.endings.refused
}

/// Negative where the routes cost more than the baseline would have.
fn saved(figures: &Figures) -> f64 {
    figures.baseline.usd() - figures.spend.usd()
}

fn share_of(quality: Option<Bps>) -> Option<f64> {
    quality.map(Bps::share)
}

fn ms(time: Option<Millis>) -> Option<u64> {
    time.map(|time| time.0)
}
