//! What a request used and cost, and what its baseline would have.
//!
//! Owns: which price counts (the tier that *served*), and the estimate where a provider
//! says nothing. The arithmetic itself is `catalogue::Price::settle`.

use spillway_routing::catalogue::Usage;
use spillway_routing::decide::Considered;
use spillway_routing::outcome::{AttemptResult, UsageSource};
use spillway_routing::tokens::Family;
use spillway_routing::unit::{NanoUsd, Tokens};

use super::Record;

/// Bytes of English text and code in one o200k token, about.
const BYTES_PER_TOKEN: u64 = 4;
/// A count at which a family's ratio shows without rounding.
const RATIO_AT: Tokens = Tokens(1_000_000);

/// Providers that write and bill a stream to its end though its reader has left, by
/// OpenRouter's list. A whole answer is written and billed everywhere.
const WRITE_ON: [&str; 6] = [
    "bedrock",
    "gemini",
    "groq",
    "mistral",
    "perplexity",
    "vertex_ai",
];

/// The lane whose usage is booked: the one that served, else the last one that was sent
/// the request and may bill its input. Other lanes' possible charges are only flagged:
/// one usage can hold one lane's tokens.
pub(super) fn booked(record: &Record) -> Option<usize> {
    record.served.or(record.may_bill)
}

/// What was used: the provider's word, else our estimate.
pub(super) fn usage(record: &Record) -> (Usage, UsageSource) {
    if let Some(usage) = record.reported.usage {
        return (usage, UsageSource::Reported);
    }
    let Some(lane) = booked(record) else {
        return (Usage::default(), UsageSource::Estimated);
    };
    let facts = &record.opening.facts;
    let family = record.opening.table.model_of(lane).family;
    let o200k = u32::try_from(record.content_bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX);
    let output = facts.ratios.count(Tokens(o200k), family);
    let output = output.max(written_on(record, lane).unwrap_or_default());
    // A stream may have said what went in before it broke off.
    let begun = record.reported.begun.unwrap_or(Usage {
        input: input(record, lane),
        ..Usage::default()
    });
    let usage = Usage {
        output: output.max(begun.output),
        ..begun
    };
    (usage, UsageSource::Estimated)
}

/// The output that was expected of a lane, where it was left and writes on: who leaves early
/// must not get for nothing what the operator pays.
fn written_on(record: &Record, lane: usize) -> Option<Tokens> {
    let opening = &record.opening;
    let provider = opening.table.upstream_of(lane).provider.as_str();
    let lane = opening.table.lane(lane);
    // Lanes that make requests wait are asked for streams, whatever the caller wants.
    let streams = opening.facts.stream || lane.tier.is_deferred();
    let lane = &lane.id;
    let left = |result| matches!(result, AttemptResult::ClientGone | AttemptResult::TimedOut);
    let mut attempts = record.attempts.iter().rev();
    let attempt = attempts.find(|attempt| attempt.lane == *lane)?;
    let writes_on = !streams || WRITE_ON.contains(&provider);
    let mut trail = opening.decision.as_ref()?.trail.iter();
    let line = trail.find(|line| line.lane == *lane)?;
    (left(attempt.result) && writes_on).then_some(line.output)
}

/// What goes in, as the lane's upstream will bill it.
pub(super) fn input(record: &Record, lane: usize) -> Tokens {
    let (table, facts) = (&record.opening.table, &record.opening.facts);
    let counted = facts.input(table.model_of(lane).family);
    record.bills.expected(&table.upstream_of(lane).id, counted)
}

/// What a line of the decision expected a lane to cost, as its upstream will bill it.
pub(super) fn expected(record: &Record, lane: usize, line: &Considered) -> Option<NanoUsd> {
    let (table, facts) = (&record.opening.table, &record.opening.facts);
    let (cost, price) = line.cost.zip(table.lane(lane).price.as_ref())?;
    let counted = facts.input(table.model_of(lane).family);
    let (upstream, at) = (&table.upstream_of(lane).id, record.opening.at);
    Some(
        record
            .bills
            .expected_cost(upstream, price, counted, cost, at),
    )
}

/// The lane whose price counts: the booked upstream's lane at the tier that served.
pub(super) fn billed_lane(record: &Record) -> Option<usize> {
    let table = &record.opening.table;
    let served = booked(record)?;
    let Some(tier) = record.reported.tier else {
        return Some(served);
    };
    let lane = table.lane(served);
    let mut lanes = table.draft().lanes.iter();
    let at_tier = lanes.position(|l| l.upstream == lane.upstream && l.tier == tier);
    at_tier.or(Some(served))
}

pub(super) fn cost(record: &Record, usage: &Usage) -> NanoUsd {
    let table = &record.opening.table;
    let price = billed_lane(record).and_then(|lane| table.lane(lane).price.as_ref());
    price.map_or(NanoUsd::ZERO, |price| {
        price.settle(usage, record.opening.at)
    })
}

/// The baseline lane's price for this request in that model's own tokens: what was
/// served, converted from the serving model's count. Nothing served, nothing saved.
pub(super) fn baseline(record: &Record, usage: &Usage) -> NanoUsd {
    let opening = &record.opening;
    let table = &opening.table;
    let route = opening
        .decision
        .as_ref()
        .and_then(|d| table.route(d.route.as_str()));
    let (Some(served), Some((route, _))) = (record.served, route) else {
        return NanoUsd::ZERO;
    };
    let Some(baseline) = table.lane_index(&route.baseline) else {
        return NanoUsd::ZERO;
    };
    let Some(price) = table.lane(baseline).price.as_ref() else {
        return NanoUsd::ZERO;
    };
    let (from, to) = (
        table.model_of(served).family,
        table.model_of(baseline).family,
    );
    let convert = |count: Tokens| converted(count, from, to, opening);
    let usage = Usage {
        input: convert(usage.input),
        // What was cached at one provider would as likely have been at another.
        cache_read: convert(usage.cache_read),
        cache_write: convert(usage.cache_write),
        output: convert(usage.output),
        reasoning: convert(usage.reasoning),
    };
    price.settle(&usage, opening.at)
}

fn converted(count: Tokens, from: Family, to: Family, opening: &super::Opening) -> Tokens {
    if from == to {
        return count;
    }
    let ratios = &opening.facts.ratios;
    let ratio = |family: Family| u64::from(ratios.count(RATIO_AT, family).0.max(1));
    let scaled = u64::from(count.0) * ratio(to) / ratio(from);
    Tokens(u32::try_from(scaled).unwrap_or(u32::MAX))
}
