//! Outcomes as columns, and back.
//!
//! Owns: names and types of the columns of the table `outcomes`, apart from those of
//! facts and decision. `attempts_count` and `chosen_reason` repeat what the lists say,
//! for people and for pages; they are not read back.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, AsArray, ListArray, RecordBatch, StringArray, StructArray, UInt16Array, UInt32Array,
    UInt64Array,
};
use datafusion::arrow::datatypes::{SchemaRef, UInt16Type, UInt32Type, UInt64Type};
use spillway_routing::catalogue::{Tier, Usage};
use spillway_routing::conditions::{Gate, LaneState};
use spillway_routing::decide::{Decision, Verdict, Why};
use spillway_routing::id::{LaneId, ModelId, ProxyId, TableVersion};
use spillway_routing::outcome::{Attempt, AttemptResult, Ending, Outcome, UsageSource};
use spillway_routing::start::Starts;
use spillway_routing::unit::{Millis, NanoUsd, Tokens, UnixMillis};

use crate::columns::{Columns, Rows, number_at, span, text_at};
use crate::decision_columns::{self, DecisionRows};
use crate::error::HistoryError;
use crate::facts_columns::{self, FactsRows};

/// The column that windows and files are told apart by.
pub(crate) const AT: &str = "at_unix_ms";

/// Stands for a lane without a forecast; no forecast has these bits.
const NO_STARTS: u64 = u64::MAX;

/// The columns that pages and sums need; lists and vectors are not among them.
pub(crate) const FLAT: [&str; 22] = [
    "id",
    AT,
    "table_version",
    "route",
    "slice",
    "key",
    "served_lane",
    "served_model",
    "served_tier",
    "ending",
    "status",
    "attempts_count",
    "cost_nano_usd",
    "baseline_nano_usd",
    "first_token_ms",
    "total_ms",
    "input_tokens",
    "output_tokens",
    "chosen_reason",
    "abstention",
    "explored",
    "class",
];

pub(crate) fn schema() -> Result<SchemaRef, HistoryError> {
    encode(&[]).map(|batch| batch.schema())
}

pub(crate) fn encode(outcomes: &[Outcome]) -> Result<RecordBatch, HistoryError> {
    let rows = || outcomes.iter();
    let mut columns = Columns::default();
    let ids: Vec<_> = rows().map(|o| o.id.to_string()).collect();
    columns.text("id", ids.iter().map(String::as_str));
    columns.number::<UInt64Type>(AT, rows().map(|o| o.at.0));
    columns.text("proxy", rows().map(|o| o.proxy.as_str()));
    columns.number::<UInt64Type>("table_version", rows().map(|o| o.table.0));
    let facts: Vec<_> = rows().map(|o| &o.facts).collect();
    facts_columns::push(&mut columns, &facts)?;
    push_conditions(&mut columns, outcomes)?;
    let decisions: Vec<_> = rows().map(|o| o.decision.as_ref()).collect();
    decision_columns::push(&mut columns, &decisions)?;
    let reasons: Vec<_> = decisions.iter().map(|d| chosen_reason(*d)).collect();
    columns.text_opt("chosen_reason", reasons.iter().map(Option::as_deref));
    push_attempts(&mut columns, outcomes)?;
    columns.text("ending", rows().map(|o| o.ending.name()));
    columns.number::<UInt16Type>("status", rows().map(|o| o.status));
    columns.text_opt(
        "served_lane",
        rows().map(|o| o.served.as_ref().map(LaneId::as_str)),
    );
    let model = |o: &'_ Outcome| o.served_model.clone();
    let models: Vec<_> = rows().map(model).collect();
    columns.text_opt(
        "served_model",
        models.iter().map(|m| m.as_ref().map(ModelId::as_str)),
    );
    columns.text_opt("served_tier", rows().map(|o| o.served_tier.map(Tier::name)));
    push_usage(&mut columns, outcomes);
    columns.number::<UInt64Type>("cost_nano_usd", rows().map(|o| o.cost.0));
    columns.number::<UInt64Type>("baseline_nano_usd", rows().map(|o| o.baseline_cost.0));
    columns.number_opt::<UInt64Type>("first_token_ms", rows().map(|o| o.first_token.map(|t| t.0)));
    columns.number::<UInt64Type>("total_ms", rows().map(|o| o.total.0));
    columns.into_batch()
}

fn chosen_reason(decision: Option<&Decision>) -> Option<String> {
    let why: &Why = match &decision?.chosen()?.verdict {
        Verdict::Chosen(why) => why,
        Verdict::Fallback(_) | Verdict::Removed(_) => return None,
    };
    Some(why.to_string())
}

fn push_conditions(columns: &mut Columns, outcomes: &[Outcome]) -> Result<(), HistoryError> {
    let states = || outcomes.iter().flat_map(|o| &o.conditions);
    let mut items = Columns::default();
    items.text("lane", states().map(|(lane, _)| lane.as_str()));
    items.text("gate", states().map(|(_, s)| s.gate.name()));
    items.number::<UInt32Type>("in_flight", states().map(|(_, s)| s.in_flight));
    let first_token = states().map(|(_, s)| s.first_token.map(|t| t.0));
    items.number_opt::<UInt64Type>("first_token_ms", first_token);
    items.number_opt::<UInt32Type>("per_token_us", states().map(|(_, s)| s.per_token_us));
    let lengths = || outcomes.iter().map(|o| o.conditions.len());
    columns.list("conditions", lengths(), Arc::new(items.into_struct()?))?;
    let starts = states().map(|(_, s)| s.starts.map_or(NO_STARTS, Starts::bits));
    let starts: UInt64Array = starts.collect::<Vec<u64>>().into();
    let lengths: Vec<Option<usize>> = lengths().map(Some).collect();
    columns.list_opt("condition_starts", &lengths, Arc::new(starts))?;
    let cached: UInt32Array = states().map(|(_, s)| s.cached.0).collect::<Vec<_>>().into();
    columns.list_opt("condition_cached", &lengths, Arc::new(cached))?;
    let mut spill = Columns::default();
    spill.number::<UInt32Type>("waiting", states().map(|(_, s)| s.waiting));
    spill.number::<UInt64Type>("spent_nano_usd", states().map(|(_, s)| s.spent.0));
    let overflowed = states().map(|(_, s)| s.overflowed.0);
    spill.number::<UInt64Type>("overflowed_nano_usd", overflowed);
    columns.list_opt("condition_spill", &lengths, Arc::new(spill.into_struct()?))
}

fn push_attempts(columns: &mut Columns, outcomes: &[Outcome]) -> Result<(), HistoryError> {
    let attempts = || outcomes.iter().flat_map(|o| &o.attempts);
    let mut items = Columns::default();
    items.text("lane", attempts().map(|a| a.lane.as_str()));
    items.number::<UInt64Type>("start_ms", attempts().map(|a| a.start.0));
    items.number::<UInt64Type>("end_ms", attempts().map(|a| a.end.0));
    items.text("result", attempts().map(|a| a.result.name()));
    items.number_opt::<UInt16Type>("status", attempts().map(|a| a.status));
    let lengths = || outcomes.iter().map(|o| o.attempts.len());
    columns.list("attempts", lengths(), Arc::new(items.into_struct()?))?;
    let count = |length| u32::try_from(length).unwrap_or(u32::MAX);
    columns.number::<UInt32Type>("attempts_count", lengths().map(count));
    Ok(())
}

fn push_usage(columns: &mut Columns, outcomes: &[Outcome]) {
    let usage = || outcomes.iter().map(|o| &o.usage);
    columns.number::<UInt32Type>("input_tokens", usage().map(|u| u.input.0));
    columns.number::<UInt32Type>("cache_read_tokens", usage().map(|u| u.cache_read.0));
    columns.number::<UInt32Type>("cache_write_tokens", usage().map(|u| u.cache_write.0));
    columns.number::<UInt32Type>("output_tokens", usage().map(|u| u.output.0));
    columns.number::<UInt32Type>("reasoning_tokens", usage().map(|u| u.reasoning.0));
    let estimated = |o: &Outcome| o.usage_source == UsageSource::Estimated;
    columns.flag("usage_estimated", outcomes.iter().map(estimated));
}

/// The outcomes of a batch that has all columns.
pub(crate) fn decode(batch: &RecordBatch) -> Result<Vec<Outcome>, HistoryError> {
    let columns = StructArray::from(batch.clone());
    let rows = Rows::new(&columns);
    let reader = OutcomeRows::of(rows)?;
    (0..rows.len()).map(|i| reader.row(i)).collect()
}

struct OutcomeRows<'a> {
    rows: Rows<'a>,
    facts: FactsRows<'a>,
    decision: DecisionRows<'a>,
    conditions: ListArrayRows<'a>,
    /// Not in files of before lanes could make requests wait.
    starts: Option<&'a ListArray>,
    cached: Option<&'a ListArray>,
    /// Not in files of before routes had overflow lanes.
    spill: Option<&'a ListArray>,
    attempts: ListArrayRows<'a>,
    id: &'a StringArray,
    proxy: &'a StringArray,
    ending: &'a StringArray,
    status: &'a UInt16Array,
    served: [&'a StringArray; 3],
    tokens: [&'a UInt32Array; 5],
    first_token: &'a UInt64Array,
    numbers: [&'a UInt64Array; 5],
}

type ListArrayRows<'a> = (&'a ListArray, Rows<'a>);

impl<'a> OutcomeRows<'a> {
    fn of(rows: Rows<'a>) -> Result<Self, HistoryError> {
        let list = |name| {
            let list = rows.list(name)?;
            Rows::of_items(list, name).map(|items| (list, items))
        };
        let u64s = |name| rows.number::<UInt64Type>(name);
        let u32s = |name| rows.number::<UInt32Type>(name);
        Ok(Self {
            rows,
            facts: FactsRows::of(rows)?,
            decision: DecisionRows::of(rows)?,
            conditions: list("conditions")?,
            starts: rows.list("condition_starts").ok(),
            cached: rows.list("condition_cached").ok(),
            spill: rows.list("condition_spill").ok(),
            attempts: list("attempts")?,
            id: rows.text("id")?,
            proxy: rows.text("proxy")?,
            ending: rows.text("ending")?,
            status: rows.number("status")?,
            served: [
                rows.text("served_lane")?,
                rows.text("served_model")?,
                rows.text("served_tier")?,
            ],
            tokens: [
                u32s("input_tokens")?,
                u32s("cache_read_tokens")?,
                u32s("cache_write_tokens")?,
                u32s("output_tokens")?,
                u32s("reasoning_tokens")?,
            ],
            first_token: u64s("first_token_ms")?,
            numbers: [
                u64s(AT)?,
                u64s("table_version")?,
                u64s("cost_nano_usd")?,
                u64s("baseline_nano_usd")?,
                u64s("total_ms")?,
            ],
        })
    }

    fn row(&self, i: usize) -> Result<Outcome, HistoryError> {
        let malformed = HistoryError::malformed;
        let [at, table, cost, baseline, total] = self.numbers.map(|column| column.value(i));
        let [lane, model, tier] = self.served.map(|column| text_at(column, i));
        let [input, cache_read, cache_write, output, reasoning] =
            self.tokens.map(|column| Tokens(column.value(i)));
        let tier = tier.map(|name| Tier::parse(name).ok_or(malformed("served_tier")));
        let estimated = self.rows.flag("usage_estimated")?.value(i);
        Ok(Outcome {
            id: self.id.value(i).parse().map_err(|_| malformed("id"))?,
            at: UnixMillis(at),
            proxy: ProxyId::new(self.proxy.value(i)),
            table: TableVersion(table),
            facts: self.facts.row(i)?,
            conditions: self.conditions(i)?,
            decision: self.decision.row(i)?,
            attempts: self.attempts(i)?,
            ending: Ending::parse(self.ending.value(i)).ok_or(malformed("ending"))?,
            status: self.status.value(i),
            served: lane.map(LaneId::new),
            served_model: model.map(ModelId::new),
            served_tier: tier.transpose()?,
            usage: Usage {
                input,
                cache_read,
                cache_write,
                output,
                reasoning,
            },
            usage_source: if estimated {
                UsageSource::Estimated
            } else {
                UsageSource::Reported
            },
            cost: NanoUsd(cost),
            baseline_cost: NanoUsd(baseline),
            first_token: number_at(self.first_token, i).map(Millis),
            total: Millis(total),
        })
    }

    fn conditions(&self, i: usize) -> Result<Vec<(LaneId, LaneState)>, HistoryError> {
        let (list, items) = self.conditions;
        let first = span(list, i).start;
        let starts = self.starts.map(|starts| starts.value(i));
        let starts = starts
            .as_ref()
            .and_then(|s| s.as_primitive_opt::<UInt64Type>());
        let cached = self.cached.map(|cached| cached.value(i));
        let cached = cached
            .as_ref()
            .and_then(|c| c.as_primitive_opt::<UInt32Type>());
        let one = |s: usize| {
            let cached = cached.filter(|tokens| s - first < tokens.len());
            let bits = starts.filter(|bits| s - first < bits.len());
            let bits = bits.map(|bits| bits.value(s - first));
            let gate = Gate::parse(items.text("gate")?.value(s));
            let first_token = items.number::<UInt64Type>("first_token_ms")?;
            let state = LaneState {
                gate: gate.ok_or(HistoryError::malformed("gate"))?,
                in_flight: items.number::<UInt32Type>("in_flight")?.value(s),
                first_token: number_at(first_token, s).map(Millis),
                per_token_us: number_at(items.number::<UInt32Type>("per_token_us")?, s),
                starts: bits
                    .filter(|bits| *bits != NO_STARTS)
                    .map(Starts::from_bits),
                cached: cached.map_or(Tokens(0), |tokens| Tokens(tokens.value(s - first))),
                ..self.spilling(i, s - first)?
            };
            Ok((LaneId::new(items.text("lane")?.value(s)), state))
        };
        span(list, i).map(one).collect()
    }

    /// What a lane's state holds for overflow lanes; nothing where nothing was written.
    fn spilling(&self, i: usize, at: usize) -> Result<LaneState, HistoryError> {
        let items = self.spill.map(|spill| spill.value(i));
        let items = items.as_ref().and_then(|items| items.as_struct_opt());
        let Some(items) = items.filter(|items| at < items.len()) else {
            return Ok(LaneState::default());
        };
        let rows = Rows::new(items);
        let money = |name| {
            let column = rows.number::<UInt64Type>(name)?;
            Ok::<_, HistoryError>(NanoUsd(column.value(at)))
        };
        Ok(LaneState {
            waiting: rows.number::<UInt32Type>("waiting")?.value(at),
            spent: money("spent_nano_usd")?,
            overflowed: money("overflowed_nano_usd")?,
            ..LaneState::default()
        })
    }

    fn attempts(&self, i: usize) -> Result<Vec<Attempt>, HistoryError> {
        let (list, items) = self.attempts;
        let one = |a: usize| {
            let result = AttemptResult::parse(items.text("result")?.value(a));
            Ok(Attempt {
                lane: LaneId::new(items.text("lane")?.value(a)),
                start: Millis(items.number::<UInt64Type>("start_ms")?.value(a)),
                end: Millis(items.number::<UInt64Type>("end_ms")?.value(a)),
                result: result.ok_or(HistoryError::malformed("result"))?,
                status: number_at(items.number::<UInt16Type>("status")?, a),
            })
        };
        span(list, i).map(one).collect()
    }
}
