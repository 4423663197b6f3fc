//! Whole records: one request, a window, the audits; and how much there is.
//!
//! Owns: what replay, training and the page of one request read. Knows no figures.

use std::collections::BTreeMap;

use datafusion::arrow::array::{RecordBatch, StructArray};
use datafusion::arrow::datatypes::{UInt16Type, UInt64Type};
use datafusion::prelude::{SessionContext, col, lit};
use futures::TryStreamExt as _;
use spillway_routing::id::RequestId;
use spillway_routing::outcome::{Audit, Outcome, Split, Verdict};
use spillway_routing::unit::{Bps, Millis, UnixMillis};

use crate::audit_columns::{decode_audits, decode_verdicts};
use crate::columns::Rows;
use crate::error::HistoryError;
use crate::history::History;
use crate::index::{Skipped, View};
use crate::layout::Table;
use crate::outcome_columns::{self, AT};
use crate::query::{Span, Width, collect, within_time};

/// Requests of one window: up to a gigabyte of records.
pub const WINDOW_ROWS_MAX: usize = 200_000;
/// A request's id holds the time its proxy made it; its arrival is that near.
const ID_SKEW: Millis = Millis(60 * 60_000);

/// How much of one table there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    pub rows: u64,
    pub files: u64,
    pub bytes: u64,
}

/// How much there is, and what could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub outcomes: TableCounts,
    pub verdicts: TableCounts,
    pub audits: TableCounts,
    pub skipped: Vec<Skipped>,
}

impl History {
    /// How much there is. Reads footers only.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn counts(&self) -> Result<Counts, HistoryError> {
        let mut skipped = Vec::new();
        let mut count = |mut view: View| {
            skipped.append(&mut view.skipped);
            let files = || view.visible.iter().map(|listed| &listed.file);
            TableCounts {
                rows: files().map(|file| file.rows).sum(),
                files: view.visible.len() as u64,
                bytes: files().map(|file| file.size).sum(),
            }
        };
        let outcomes = count(self.index.view(Table::Outcomes).await?);
        let verdicts = count(self.index.view(Table::Verdicts).await?);
        let audits = count(self.index.view(Table::Audits).await?);
        Ok(Counts {
            outcomes,
            verdicts,
            audits,
            skipped,
        })
    }

    /// One request with all its verdicts, oldest first.
    ///
    /// # Errors
    ///
    /// The store or a query failed.
    pub async fn outcome(
        &self,
        id: RequestId,
    ) -> Result<Option<(Outcome, Vec<Verdict>)>, HistoryError> {
        match self.try_outcome(id).await {
            Err(error) if self.recovers(&error).await => self.try_outcome(id).await,
            result => result,
        }
    }

    async fn try_outcome(
        &self,
        id: RequestId,
    ) -> Result<Option<(Outcome, Vec<Verdict>)>, HistoryError> {
        let made = id.0[..6]
            .iter()
            .fold(0u64, |ms, byte| ms << 8 | u64::from(*byte));
        let near = Span {
            since: UnixMillis(made.saturating_sub(ID_SKEW.0)),
            until: UnixMillis(made.saturating_add(ID_SKEW.0)),
        };
        for span in [near, Span::ALL] {
            let batches = self.rows_of(Table::Outcomes, "id", id, span).await?;
            let outcome = decoded(&batches, outcome_columns::decode)?.pop();
            if let Some(outcome) = outcome {
                let since = UnixMillis(outcome.at.0.saturating_sub(ID_SKEW.0));
                let span = Span { since, ..Span::ALL };
                let batches = self
                    .rows_of(Table::Verdicts, "request_id", id, span)
                    .await?;
                let mut verdicts = decoded(&batches, decode_verdicts)?;
                verdicts.sort_by_key(|verdict| (verdict.at, verdict.source, verdict.score));
                return Ok(Some((outcome, verdicts)));
            }
        }
        Ok(None)
    }

    async fn rows_of(
        &self,
        table: Table,
        column: &str,
        id: RequestId,
        span: Span,
    ) -> Result<Vec<RecordBatch>, HistoryError> {
        let session = self.engine.session();
        let view = self.index.view(table).await?;
        let frame = self
            .engine
            .frame(&session, table, &view.visible, Width::Whole, span)?;
        collect(frame.filter(col(column).eq(lit(id.to_string())))?).await
    }

    /// The latest `limit` requests from `since` up to `until`, oldest first, with what
    /// is known of their quality.
    ///
    /// # Errors
    ///
    /// The store or a query failed.
    pub async fn window(
        &self,
        since: UnixMillis,
        until: UnixMillis,
        limit: usize,
    ) -> Result<Vec<(Outcome, Option<Bps>)>, HistoryError> {
        let every = |outcome, quality| Some((outcome, quality));
        self.latest(Span { since, until }, limit, every).await
    }

    /// Of the same requests those whose quality is known: mostly few, and only they take
    /// memory.
    ///
    /// # Errors
    ///
    /// The store or a query failed.
    pub async fn judged_window(
        &self,
        since: UnixMillis,
        until: UnixMillis,
        limit: usize,
    ) -> Result<Vec<(Outcome, Bps)>, HistoryError> {
        let judged = |outcome, quality: Option<Bps>| Some((outcome, quality?));
        self.latest(Span { since, until }, limit, judged).await
    }

    async fn latest<Q>(
        &self,
        span: Span,
        limit: usize,
        keep: impl Fn(Outcome, Option<Bps>) -> Option<(Outcome, Q)> + Copy,
    ) -> Result<Vec<(Outcome, Q)>, HistoryError> {
        let limit = limit.min(WINDOW_ROWS_MAX);
        match self.try_latest(span, limit, keep).await {
            Err(error) if self.recovers(&error).await => self.try_latest(span, limit, keep).await,
            result => result,
        }
    }

    async fn try_latest<Q>(
        &self,
        span: Span,
        limit: usize,
        keep: impl Fn(Outcome, Option<Bps>) -> Option<(Outcome, Q)>,
    ) -> Result<Vec<(Outcome, Q)>, HistoryError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let session = self.engine.session();
        let view = self.index.view(Table::Outcomes).await?;
        let span = self.last_rows(&session, &view, span, limit).await?;
        let qualities = self.quality_by_id(&session, span.since).await?;
        let files = &view.visible;
        let frame = self
            .engine
            .frame(&session, Table::Outcomes, files, Width::Whole, span)?;
        let mut latest = Vec::new();
        // Batch by batch: never columns and records of all at once.
        let reading = async {
            let mut batches = frame.execute_stream().await?;
            while let Some(batch) = batches.try_next().await? {
                let decode = move || outcome_columns::decode(&batch);
                for outcome in tokio::task::spawn_blocking(decode).await?? {
                    let quality = qualities.get(&outcome.id).copied();
                    latest.extend(keep(outcome, quality));
                }
            }
            Ok::<_, HistoryError>(())
        };
        within_time(reading).await?;
        latest.sort_by_key(|(outcome, _)| (outcome.at, outcome.id));
        latest.drain(..latest.len().saturating_sub(limit));
        Ok(latest)
    }

    /// The part of `span` with its last `limit` rows, found from the flat columns, so
    /// that lists and vectors of earlier rows are never read.
    async fn last_rows(
        &self,
        session: &SessionContext,
        view: &View,
        span: Span,
        limit: usize,
    ) -> Result<Span, HistoryError> {
        let frame =
            self.engine
                .frame(session, Table::Outcomes, &view.visible, Width::Flat, span)?;
        let times = frame
            .select_columns(&[AT])?
            .sort(vec![col(AT).sort(false, true)])?;
        let batches = collect(times.limit(limit - 1, Some(1))?).await?;
        let mut first = None;
        for batch in batches {
            let columns = StructArray::from(batch);
            first = Rows::new(&columns)
                .number::<UInt64Type>(AT)?
                .values()
                .first()
                .copied();
        }
        Ok(Span {
            since: first.map_or(span.since, UnixMillis),
            ..span
        })
    }

    async fn quality_by_id(
        &self,
        session: &SessionContext,
        since: UnixMillis,
    ) -> Result<BTreeMap<RequestId, Bps>, HistoryError> {
        let mut qualities = BTreeMap::new();
        for batch in collect(self.qualities(session, since).await?).await? {
            let columns = StructArray::from(batch);
            let rows = Rows::new(&columns);
            let (id, quality) = (
                rows.text("judged")?,
                rows.number::<UInt16Type>("quality_bps")?,
            );
            for i in 0..rows.len() {
                let id = id
                    .value(i)
                    .parse()
                    .map_err(|_| HistoryError::malformed("judged"))?;
                qualities.insert(id, Bps::new(quality.value(i)));
            }
        }
        Ok(qualities)
    }

    /// Imported and sampled prompts with all their answers, of one split or of all.
    ///
    /// # Errors
    ///
    /// The store or a query failed.
    pub async fn audits(&self, split: Option<Split>) -> Result<Vec<Audit>, HistoryError> {
        self.audits_of(split, Span::ALL).await
    }

    /// Imported and sampled prompts from `since` on.
    ///
    /// # Errors
    ///
    /// The store or a query failed.
    pub async fn audits_since(&self, since: UnixMillis) -> Result<Vec<Audit>, HistoryError> {
        self.audits_of(None, Span { since, ..Span::ALL }).await
    }

    async fn audits_of(
        &self,
        split: Option<Split>,
        span: Span,
    ) -> Result<Vec<Audit>, HistoryError> {
        match self.try_audits(split, span).await {
            Err(error) if self.recovers(&error).await => self.try_audits(split, span).await,
            result => result,
        }
    }

    async fn try_audits(
        &self,
        split: Option<Split>,
        span: Span,
    ) -> Result<Vec<Audit>, HistoryError> {
        let session = self.engine.session();
        let view = self.index.view(Table::Audits).await?;
        let files = &view.visible;
        let mut frame = self
            .engine
            .frame(&session, Table::Audits, files, Width::Whole, span)?;
        if let Some(split) = split {
            frame = frame.filter(col("split").eq(lit(split.name())))?;
        }
        let batches = collect(frame).await?;
        let decode = move || decoded(&batches, decode_audits);
        let mut audits = tokio::task::spawn_blocking(decode).await??;
        audits.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(audits)
    }
}

fn decoded<T>(
    batches: &[RecordBatch],
    decode: impl Fn(&RecordBatch) -> Result<Vec<T>, HistoryError>,
) -> Result<Vec<T>, HistoryError> {
    let mut rows = Vec::new();
    for batch in batches {
        rows.append(&mut decode(batch)?);
    }
    Ok(rows)
}
