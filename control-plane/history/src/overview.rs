//! Figures over a window: totals, a series, by model and by route.
//!
//! Owns: [`Overview`] and the SQL that makes it. One list of sums serves every
//! grouping, so that a total is always the sum of its parts. Knows no page.

use datafusion::arrow::array::{AsArray, RecordBatch, StructArray};
use datafusion::arrow::datatypes::{Float64Type, Int64Type, UInt64Type};
use datafusion::prelude::{JoinType, SessionContext};
use spillway_routing::decide::Why;
use spillway_routing::id::{ModelId, RouteId};
use spillway_routing::unit::{Bps, Millis, NanoUsd, UnixMillis};

use crate::columns::{Rows, number_at, text_at};
use crate::error::HistoryError;
use crate::history::History;
use crate::layout::Table;
use crate::query::{Span, Width, cached, collect};

/// Steps of one series: more than a page has pixels for.
pub const POINTS_MAX: u64 = 2_000;
/// Up to so many rows of a window are joined and kept once; beyond it they are read
/// again for each grouping, to bound memory (about 200 MB).
const CACHED_ROWS_MAX: u64 = 1_000_000;

/// Requests by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endings {
    pub answered: u64,
    pub failed: u64,
    pub cut: u64,
    pub client_gone: u64,
    pub refused: u64,
}

/// Sums over some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    pub requests: u64,
    pub endings: Endings,
    pub spend: NanoUsd,
    pub baseline: NanoUsd,
    /// Mean over the `scored` requests that have a verdict.
    pub quality: Option<Bps>,
    pub scored: u64,
    /// Of answered requests; approximate beyond some hundred of them.
    pub total_p50: Option<Millis>,
    pub total_p95: Option<Millis>,
    pub first_token_p50: Option<Millis>,
    /// Requests with more than one attempt.
    pub failovers: u64,
    /// Requests whose prediction abstained.
    pub abstained: u64,
    pub explored: u64,
}

/// The figures of one step of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Where the step begins.
    pub at: UnixMillis,
    pub figures: Figures,
}

/// What happened in a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overview {
    pub totals: Figures,
    /// One point per step, also where nothing happened.
    pub series: Vec<Point>,
    /// By the model that served; requests that none served are not here. Most first.
    pub by_model: Vec<(ModelId, Figures)>,
    /// By route. Most first.
    pub by_route: Vec<(RouteId, Figures)>,
}

const SUMS: &str = "count(*) AS requests, \
    count(*) FILTER (WHERE ending = 'answered') AS answered, \
    count(*) FILTER (WHERE ending = 'failed') AS failed, \
    count(*) FILTER (WHERE ending = 'cut') AS cut, \
    count(*) FILTER (WHERE ending = 'client_gone') AS client_gone, \
    count(*) FILTER (WHERE ending = 'refused') AS refused, \
    sum(cost_nano_usd) AS spend, sum(baseline_nano_usd) AS baseline, \
    avg(quality_bps) AS quality, count(quality_bps) AS scored, \
    CAST(approx_percentile_cont(answered_ms, 0.5) AS BIGINT UNSIGNED) AS total_p50, \
    CAST(approx_percentile_cont(answered_ms, 0.95) AS BIGINT UNSIGNED) AS total_p95, \
    CAST(approx_percentile_cont(first_token_ms, 0.5) AS BIGINT UNSIGNED) AS first_token_p50, \
    count(*) FILTER (WHERE failed_over) AS failovers, \
    count(abstention) AS abstained, \
    count(*) FILTER (WHERE explored) AS explored";

impl History {
    /// What happened from `since` up to `until`, in steps of `step`.
    ///
    /// # Errors
    ///
    /// There are too many steps, or the store or a query failed.
    pub async fn overview(
        &self,
        since: UnixMillis,
        until: UnixMillis,
        step: Millis,
    ) -> Result<Overview, HistoryError> {
        let step = Millis(step.0.max(1));
        let points = until.since(since).0.div_ceil(step.0);
        if points > POINTS_MAX {
            let max = POINTS_MAX;
            return Err(HistoryError::TooManyPoints { points, max });
        }
        let span = Span { since, until };
        match self.try_overview(span, step).await {
            Err(error) if self.recovers(&error).await => self.try_overview(span, step).await,
            result => result,
        }
    }

    async fn try_overview(&self, span: Span, step: Millis) -> Result<Overview, HistoryError> {
        let session = self.engine.session();
        let view = self.index.view(Table::Outcomes).await?;
        let files = &view.visible;
        let frame = self
            .engine
            .frame(&session, Table::Outcomes, files, Width::Flat, span)?;
        // A join holds its left side in memory, and of a busy day only the verdicts fit.
        let qualities = self.qualities(&session, span.since).await?;
        let mut frame = qualities.join(frame, JoinType::Right, &["judged"], &["id"], None)?;
        let rows: u64 = files.iter().map(|listed| listed.file.rows).sum();
        session.register_table("judged_outcomes", frame.clone().into_view())?;
        frame = session.sql(&prepared(span, step)).await?;
        if rows <= CACHED_ROWS_MAX {
            frame = cached(frame).await?;
        }
        session.register_table("requests", frame.into_view())?;
        let totals = groups(&session, "CAST(0 AS BIGINT)", "").await?;
        let series = groups(&session, "step", "").await?;
        let by_model = groups(&session, "served_model", "WHERE served_model IS NOT NULL").await?;
        let by_route = groups(&session, "route", "WHERE route IS NOT NULL").await?;
        let named = |(key, figures)| match key {
            Key::Name(name) => Some((name, figures)),
            Key::Step(_) => None,
        };
        let models = by_model.into_iter().filter_map(named);
        let routes = by_route.into_iter().filter_map(named);
        Ok(Overview {
            totals: totals
                .into_iter()
                .next()
                .map(|(_, f)| f)
                .unwrap_or_default(),
            series: filled(series, span, step),
            by_model: models.map(|(name, f)| (ModelId::new(&name), f)).collect(),
            by_route: routes.map(|(name, f)| (RouteId::new(&name), f)).collect(),
        })
    }
}

/// The columns the sums need, and the step each row falls into.
fn prepared(span: Span, step: Millis) -> String {
    let (since, step) = (span.since.0, step.0);
    // Whoever waits for a cheap start asks more than once, and nothing has failed.
    let waits = Why::MayWait;
    format!(
        "SELECT route, served_model, ending, cost_nano_usd, baseline_nano_usd, quality_bps, \
         first_token_ms, abstention, explored, \
         attempts_count > 1 AND chosen_reason IS DISTINCT FROM '{waits}' AS failed_over, \
         CASE WHEN ending = 'answered' THEN total_ms END AS answered_ms, \
         CAST((at_unix_ms - CAST({since} AS BIGINT UNSIGNED)) / CAST({step} AS BIGINT UNSIGNED) \
         AS BIGINT) AS step FROM judged_outcomes"
    )
}

/// What a group has in common.
enum Key {
    Step(u64),
    Name(String),
}

async fn groups(
    session: &SessionContext,
    key: &str,
    filter: &str,
) -> Result<Vec<(Key, Figures)>, HistoryError> {
    let sql = format!(
        "SELECT {key} AS key, {SUMS} FROM requests {filter} GROUP BY {key} \
         ORDER BY requests DESC, key"
    );
    let mut groups = Vec::new();
    for batch in collect(session.sql(&sql).await?).await? {
        decode(batch, &mut groups)?;
    }
    Ok(groups)
}

fn decode(batch: RecordBatch, into: &mut Vec<(Key, Figures)>) -> Result<(), HistoryError> {
    let key = batch.column(0).clone();
    let columns = StructArray::from(batch);
    let rows = Rows::new(&columns);
    let count = |name, i| {
        let column = rows.number::<Int64Type>(name)?;
        Ok::<_, HistoryError>(u64::try_from(column.value(i)).unwrap_or(0))
    };
    let sum = |name, i| {
        let column = rows.number::<UInt64Type>(name)?;
        Ok::<_, HistoryError>(number_at(column, i))
    };
    for i in 0..rows.len() {
        let key = match (
            key.as_string_opt::<i32>(),
            key.as_primitive_opt::<Int64Type>(),
        ) {
            (Some(names), _) => Key::Name(text_at(names, i).unwrap_or("").to_owned()),
            (_, Some(steps)) => Key::Step(u64::try_from(steps.value(i)).unwrap_or(0)),
            (None, None) => return Err(HistoryError::malformed("key")),
        };
        let quality = number_at(rows.number::<Float64Type>("quality")?, i);
        let figures = Figures {
            requests: count("requests", i)?,
            endings: Endings {
                answered: count("answered", i)?,
                failed: count("failed", i)?,
                cut: count("cut", i)?,
                client_gone: count("client_gone", i)?,
                refused: count("refused", i)?,
            },
            spend: NanoUsd(sum("spend", i)?.unwrap_or(0)),
            baseline: NanoUsd(sum("baseline", i)?.unwrap_or(0)),
            quality: quality.map(|bps| Bps::from_share(bps / 10_000.0)),
            scored: count("scored", i)?,
            total_p50: sum("total_p50", i)?.map(Millis),
            total_p95: sum("total_p95", i)?.map(Millis),
            first_token_p50: sum("first_token_p50", i)?.map(Millis),
            failovers: count("failovers", i)?,
            abstained: count("abstained", i)?,
            explored: count("explored", i)?,
        };
        into.push((key, figures));
    }
    Ok(())
}

/// One point per step of the window.
fn filled(groups: Vec<(Key, Figures)>, span: Span, step: Millis) -> Vec<Point> {
    let points = span.until.since(span.since).0.div_ceil(step.0);
    let at = |point: u64| UnixMillis(span.since.0.saturating_add(point.saturating_mul(step.0)));
    let empty = |point| Point {
        at: at(point),
        figures: Figures::default(),
    };
    let mut series: Vec<_> = (0..points).map(empty).collect();
    for (key, figures) in groups {
        let index = match key {
            Key::Step(index) => usize::try_from(index).unwrap_or(usize::MAX),
            Key::Name(_) => continue,
        };
        if let Some(point) = series.get_mut(index) {
            point.figures = figures;
        }
    }
    series
}
