//! A run's report as the page and `--json` read it.
//!
//! Owns: the JSON form. Shares and qualities are 0..1, costs are dollars a request.

use serde_json::{Value, json};
use spillway_classifier::evaluate::Evaluation;
use spillway_classifier::evaluate::hull::Hull;
use spillway_classifier::report::RunReport;

/// Points of a curve that are kept: more than a page can show.
const CURVE_POINTS_MAX: usize = 200;

/// One sentence on what the run came to.
#[must_use]
pub fn verdict(report: &RunReport, promoted: bool) -> String {
    if let Some(decline) = &report.declined {
        return format!("no heads were learnt: {decline}");
    }
    if promoted {
        let held = report.routes.iter().filter(|route| route.learned).count();
        return format!("{held} of {} bars passed the gate", report.routes.len());
    }
    let failed = report
        .routes
        .iter()
        .flat_map(|route| &route.checks)
        .find(|check| !check.held);
    failed.map_or_else(
        || "nothing could be compared".to_owned(),
        |check| {
            format!(
                "the gate declined: {}: {}",
                check.check.name(),
                check.detail
            )
        },
    )
}

/// The page's form.
#[must_use]
pub fn json(report: &RunReport) -> Value {
    let Some(evaluation) = report.learned.as_ref().or(report.blind.as_ref()) else {
        return Value::Null;
    };
    let single = |index: usize| {
        let single = &evaluation.singles[index];
        json!({ "model": single.model.as_str(), "quality": single.quality, "cost_usd": single.cost })
    };
    let gate: Vec<Value> = report
        .routes
        .iter()
        .filter(|route| super::learn::is_of_policy(&route.route))
        .flat_map(|route| {
            route.checks.iter().map(move |check| {
                json!({
                    "check": format!("{}: {}", route.route, check.check.name().replace('_', " ")),
                    "held": check.held,
                    "detail": check.detail,
                })
            })
        })
        .collect();
    json!({
        "best": single(evaluation.best),
        "cheapest": single(evaluation.cheapest),
        "zero": { "aiq": evaluation.aiq_zero, "aiq_log": evaluation.aiq_log_zero },
        "learned": {
            "aiq": evaluation.aiq,
            "aiq_log": evaluation.aiq_log,
            "cost_at_95": evaluation.cost_share(0.95),
            "cost_at_98": evaluation.cost_share(0.98),
            "cost_at_100": evaluation.cost_share(1.0),
        },
        "contests": contests(report),
        "curve": points(&evaluation.hull),
        "zero_curve": points(&evaluation.zero_hull),
        "singles": (0..evaluation.singles.len()).map(single).collect::<Vec<_>>(),
        "calibration": calibration(evaluation),
        "ece": evaluation.calibration.ece,
        "gate": gate,
    })
}

/// Every way to route that took part, from the zero router up.
fn contests(report: &RunReport) -> Vec<Value> {
    let contests = report.contests.iter().map(|(who, evaluation)| {
        json!({
            "router": who.name(),
            "aiq": evaluation.aiq,
            "aiq_log": evaluation.aiq_log,
            "gain_low": evaluation.gain.low,
            "gain_high": evaluation.gain.high,
            "cost_at_95": evaluation.cost_share(0.95),
            "cost_at_99": evaluation.cost_share(0.99),
            "ece": evaluation.calibration.ece,
        })
    });
    contests.collect()
}

fn points(hull: &Hull) -> Vec<Value> {
    let step = hull.points.len().div_ceil(CURVE_POINTS_MAX).max(1);
    let kept = hull.points.iter().step_by(step);
    kept.map(|point| json!({ "cost_usd": point.cost, "quality": point.quality }))
        .collect()
}

fn calibration(evaluation: &Evaluation) -> Vec<Value> {
    let bins = evaluation.calibration.bins.iter();
    bins.map(
        |bin| json!({ "predicted": bin.predicted, "observed": bin.observed, "count": bin.count }),
    )
    .collect()
}
