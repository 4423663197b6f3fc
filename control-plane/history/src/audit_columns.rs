//! Audits and verdicts as columns, and back.
//!
//! Owns: names and types of the columns of the tables `audits` (one row per prompt, a
//! nested list of its answers) and `verdicts`, apart from those of facts.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StructArray};
use datafusion::arrow::datatypes::{SchemaRef, UInt16Type, UInt32Type, UInt64Type};
use spillway_routing::id::ModelId;
use spillway_routing::outcome::{Answer, Audit, Split, Verdict, VerdictSource};
use spillway_routing::unit::{Bps, Millis, NanoUsd, Tokens, UnixMillis};

use crate::columns::{Columns, Rows, number_at, span, text_at};
use crate::error::HistoryError;
use crate::facts_columns::{self, FactsRows};
use crate::outcome_columns::AT;

pub(crate) fn audit_schema() -> Result<SchemaRef, HistoryError> {
    encode_audits("", &[]).map(|batch| batch.schema())
}

pub(crate) fn verdict_schema() -> Result<SchemaRef, HistoryError> {
    encode_verdicts(&[]).map(|batch| batch.schema())
}

pub(crate) fn encode_audits(source: &str, audits: &[Audit]) -> Result<RecordBatch, HistoryError> {
    let rows = || audits.iter();
    let mut columns = Columns::default();
    columns.text("source", rows().map(|_| source));
    columns.text("id", rows().map(|a| a.id.as_str()));
    columns.number::<UInt64Type>(AT, rows().map(|a| a.at.0));
    columns.text_opt("split", rows().map(|a| a.split.map(Split::name)));
    let facts: Vec<_> = rows().map(|a| &a.facts).collect();
    facts_columns::push(&mut columns, &facts)?;
    let answers = || rows().flat_map(|a| &a.answers);
    let mut items = Columns::default();
    items.text("model", answers().map(|a| a.model.as_str()));
    items.number::<UInt16Type>("score_bps", answers().map(|a| a.score.get()));
    items.number::<UInt32Type>("input_tokens", answers().map(|a| a.input.0));
    items.number::<UInt32Type>("output_tokens", answers().map(|a| a.output.0));
    items.number_opt::<UInt64Type>("cost_nano_usd", answers().map(|a| a.cost.map(|c| c.0)));
    items.number_opt::<UInt64Type>("latency_ms", answers().map(|a| a.latency.map(|l| l.0)));
    let lengths = rows().map(|a| a.answers.len());
    columns.list("answers", lengths, Arc::new(items.into_struct()?))?;
    columns.into_batch()
}

/// The audits of a batch that has all columns.
pub(crate) fn decode_audits(batch: &RecordBatch) -> Result<Vec<Audit>, HistoryError> {
    let columns = StructArray::from(batch.clone());
    let rows = Rows::new(&columns);
    let facts = FactsRows::of(rows)?;
    let (id, at, split) = (
        rows.text("id")?,
        rows.number::<UInt64Type>(AT)?,
        rows.text("split")?,
    );
    let answers = rows.list("answers")?;
    let items = Rows::of_items(answers, "answers")?;
    let (model, score) = (
        items.text("model")?,
        items.number::<UInt16Type>("score_bps")?,
    );
    let input = items.number::<UInt32Type>("input_tokens")?;
    let output = items.number::<UInt32Type>("output_tokens")?;
    let cost = items.number::<UInt64Type>("cost_nano_usd")?;
    let latency = items.number::<UInt64Type>("latency_ms")?;
    let answer = |a: usize| Answer {
        model: ModelId::new(model.value(a)),
        score: Bps::new(score.value(a)),
        input: Tokens(input.value(a)),
        output: Tokens(output.value(a)),
        cost: number_at(cost, a).map(NanoUsd),
        latency: number_at(latency, a).map(Millis),
    };
    let named = |name: &str| Split::parse(name).ok_or(HistoryError::malformed("split"));
    let row = |i: usize| {
        Ok(Audit {
            id: id.value(i).to_owned(),
            at: UnixMillis(at.value(i)),
            split: text_at(split, i).map(named).transpose()?,
            facts: facts.row(i)?,
            answers: span(answers, i).map(answer).collect(),
        })
    };
    (0..rows.len()).map(row).collect()
}

pub(crate) fn encode_verdicts(verdicts: &[Verdict]) -> Result<RecordBatch, HistoryError> {
    let rows = || verdicts.iter();
    let mut columns = Columns::default();
    let ids: Vec<_> = rows().map(|v| v.request.to_string()).collect();
    columns.text("request_id", ids.iter().map(String::as_str));
    columns.text("source", rows().map(|v| v.source.name()));
    columns.number::<UInt16Type>("score_bps", rows().map(|v| v.score.get()));
    columns.number::<UInt64Type>(AT, rows().map(|v| v.at.0));
    columns.into_batch()
}

/// The verdicts of a batch that has all columns.
pub(crate) fn decode_verdicts(batch: &RecordBatch) -> Result<Vec<Verdict>, HistoryError> {
    let columns = StructArray::from(batch.clone());
    let rows = Rows::new(&columns);
    let (request, source) = (rows.text("request_id")?, rows.text("source")?);
    let score = rows.number::<UInt16Type>("score_bps")?;
    let at = rows.number::<UInt64Type>(AT)?;
    let row = |i: usize| {
        let id = request.value(i).parse();
        let source = VerdictSource::parse(source.value(i));
        Ok(Verdict {
            request: id.map_err(|_| HistoryError::malformed("request_id"))?,
            source: source.ok_or(HistoryError::malformed("source"))?,
            score: Bps::new(score.value(i)),
            at: UnixMillis(at.value(i)),
        })
    };
    (0..rows.len()).map(row).collect()
}
