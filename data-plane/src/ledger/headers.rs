//! The `x-spillway-*` headers that explain a response to its caller.
//!
//! Owns: their names and forms. They say names, counts and money; never text, never a
//! secret.

use http::{HeaderMap, HeaderName, HeaderValue};
use spillway_routing::decide::Verdict;
use spillway_routing::id::RequestId;
use spillway_routing::outcome::UsageSource;
use spillway_routing::unit::NanoUsd;

use super::{Record, account};

/// So many there are, with the response's own; a map that does not grow.
const HEADERS: usize = 24;

/// Also on responses that never got a record.
pub(crate) const REQUEST_ID: &str = "x-spillway-request-id";
pub(crate) const POSSIBLE_CHARGE: &str = "x-spillway-possible-charge";

/// A header of the request's id alone.
pub(crate) fn request_id(id: RequestId) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_bytes(&id.text());
    // A UUID is always a valid header; the fallback only spares a panic path.
    (
        HeaderName::from_static(REQUEST_ID),
        value.unwrap_or(HeaderValue::from_static("")),
    )
}

pub(super) fn of(record: &Record) -> HeaderMap {
    let opening = &record.opening;
    let table = &opening.table;
    let mut headers = HeaderMap::with_capacity(HEADERS);
    put(
        &mut headers,
        "x-spillway-table-version",
        &table.version().to_string(),
    );
    // Where the served attempt is still open, it counts as well.
    let attempts = record.attempts.len() + usize::from(record.under_way.is_some());
    put(&mut headers, "x-spillway-attempts", &attempts.to_string());
    let charges = record
        .attempts
        .iter()
        .filter(|a| a.result.possibly_charged())
        .count();
    if charges > 0 {
        put(&mut headers, POSSIBLE_CHARGE, &charges.to_string());
    }
    if let Some(decision) = &opening.decision {
        put(&mut headers, "x-spillway-route", decision.route.as_str());
        put(&mut headers, "x-spillway-decision", &explanation(record));
    }
    // Where nobody served, the last lane that was tried is the one to ask about.
    let tried = record
        .attempts
        .last()
        .and_then(|last| table.lane_index(&last.lane));
    if let Some(lane) = record.served.or(tried) {
        let tier = record.reported.tier.unwrap_or(table.lane(lane).tier);
        let names = [
            ("x-spillway-model", table.model_of(lane).id.as_str()),
            ("x-spillway-upstream", table.upstream_of(lane).id.as_str()),
            ("x-spillway-lane", table.lane(lane).id.as_str()),
            ("x-spillway-tier", tier.name()),
        ];
        for (name, value) in names {
            put(&mut headers, name, value);
        }
    }
    if let Some((dialect, losses)) = &record.spoken {
        put(&mut headers, "x-spillway-dialect", dialect.name());
        if !losses.is_empty() {
            put(&mut headers, "x-spillway-lossy", &losses.to_string());
        }
    }
    if let Some(lane) = record.served {
        cost(record, lane, &mut headers);
    }
    headers
}

/// Settled where the provider has reported, the decision's estimate as it will be billed
/// where it cannot have yet.
fn cost(record: &Record, lane: usize, headers: &mut HeaderMap) {
    let (usage, source) = account::usage(record);
    if source == UsageSource::Reported {
        return put(
            headers,
            "x-spillway-cost-usd",
            &usd(account::cost(record, &usage)),
        );
    }
    let id = &record.opening.table.lane(lane).id;
    let trail = record
        .opening
        .decision
        .as_ref()
        .map_or(&[][..], |d| &d.trail);
    let line = trail.iter().find(|line| line.lane == *id);
    if let Some(cost) = line.and_then(|line| account::expected(record, lane, line)) {
        put(headers, "x-spillway-cost-estimate-usd", &usd(cost));
    }
}

fn usd(cost: NanoUsd) -> String {
    format!("{}.{:09}", cost.0 / 1_000_000_000, cost.0 % 1_000_000_000)
}

fn explanation(record: &Record) -> String {
    let opening = &record.opening;
    let Some(decision) = &opening.decision else {
        return String::new();
    };
    let why = decision.chosen().and_then(|chosen| match &chosen.verdict {
        Verdict::Chosen(why) => Some(why.to_string()),
        Verdict::Fallback(_) | Verdict::Removed(_) => None,
    });
    let why = why.unwrap_or_default();
    let served = record.served.map(|lane| &opening.table.lane(lane).id);
    let spilled = record.spilled.as_ref();
    let spilled = spilled.filter(|spilled| Some(&spilled.reserved.lane) == served);
    match decision
        .plan
        .iter()
        .position(|step| Some(&step.lane) == served)
    {
        Some(rank) if rank > 0 => match spilled {
            Some(spilled) => format!(
                "overflow: {}; first choice was: {why}",
                spilled.cause.name()
            ),
            None => format!("fallback {rank}; first choice was: {why}"),
        },
        _ => why,
    }
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}
