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

/// As names that are checked when this is compiled, not for every response.
mod name {
    use http::HeaderName;

    pub(super) static REQUEST_ID: HeaderName = HeaderName::from_static(super::REQUEST_ID);
    pub(super) static POSSIBLE_CHARGE: HeaderName = HeaderName::from_static(super::POSSIBLE_CHARGE);
    pub(super) static TABLE_VERSION: HeaderName =
        HeaderName::from_static("x-spillway-table-version");
    pub(super) static ATTEMPTS: HeaderName = HeaderName::from_static("x-spillway-attempts");
    pub(super) static ROUTE: HeaderName = HeaderName::from_static("x-spillway-route");
    pub(super) static DECISION: HeaderName = HeaderName::from_static("x-spillway-decision");
    pub(super) static MODEL: HeaderName = HeaderName::from_static("x-spillway-model");
    pub(super) static UPSTREAM: HeaderName = HeaderName::from_static("x-spillway-upstream");
    pub(super) static LANE: HeaderName = HeaderName::from_static("x-spillway-lane");
    pub(super) static TIER: HeaderName = HeaderName::from_static("x-spillway-tier");
    pub(super) static DIALECT: HeaderName = HeaderName::from_static("x-spillway-dialect");
    pub(super) static LOSSY: HeaderName = HeaderName::from_static("x-spillway-lossy");
    pub(super) static COST: HeaderName = HeaderName::from_static("x-spillway-cost-usd");
    pub(super) static ESTIMATE: HeaderName =
        HeaderName::from_static("x-spillway-cost-estimate-usd");
}

/// A header of the request's id alone.
pub(crate) fn request_id(id: RequestId) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_bytes(&id.text());
    // A UUID is always a valid header; the fallback only spares a panic path.
    let value = value.unwrap_or(HeaderValue::from_static(""));
    (name::REQUEST_ID.clone(), value)
}

pub(super) fn of(record: &Record) -> HeaderMap {
    let opening = &record.opening;
    let table = &opening.table;
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(&name::TABLE_VERSION, HeaderValue::from(table.version().0));
    // Where the served attempt is still open, it counts as well.
    let attempts = record.attempts.len() + usize::from(record.under_way.is_some());
    headers.insert(&name::ATTEMPTS, HeaderValue::from(attempts));
    let charges = record
        .attempts
        .iter()
        .filter(|a| a.result.possibly_charged())
        .count();
    if charges > 0 {
        headers.insert(&name::POSSIBLE_CHARGE, HeaderValue::from(charges));
    }
    if let Some(decision) = &opening.decision {
        put(&mut headers, &name::ROUTE, decision.route.as_str());
        put(&mut headers, &name::DECISION, &explanation(record));
    }
    // Where nobody served, the last lane that was tried is the one to ask about.
    let tried = record
        .attempts
        .last()
        .and_then(|last| table.lane_index(&last.lane));
    if let Some(lane) = record.served.or(tried) {
        let tier = record.reported.tier.unwrap_or(table.lane(lane).tier);
        let names = [
            (&name::MODEL, table.model_of(lane).id.as_str()),
            (&name::UPSTREAM, table.upstream_of(lane).id.as_str()),
            (&name::LANE, table.lane(lane).id.as_str()),
            (&name::TIER, tier.name()),
        ];
        for (name, value) in names {
            put(&mut headers, name, value);
        }
    }
    if let Some((dialect, losses)) = &record.spoken {
        put(&mut headers, &name::DIALECT, dialect.name());
        if !losses.is_empty() {
            put(&mut headers, &name::LOSSY, &losses.to_string());
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
        return put(headers, &name::COST, &usd(account::cost(record, &usage)));
    }
    let id = &record.opening.table.lane(lane).id;
    let trail = record
        .opening
        .decision
        .as_ref()
        .map_or(&[][..], |d| &d.trail);
    let line = trail.iter().find(|line| line.lane == *id);
    if let Some(cost) = line.and_then(|line| account::expected(record, lane, line)) {
        put(headers, &name::ESTIMATE, &usd(cost));
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

fn put(headers: &mut HeaderMap, name: &'static HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}
