//! Figures over a window: totals, a series, by model and by route.
//!
//! Owns: [`Overview`] and the SQL that makes it. One list of sums serves every
//! grouping, so that a total is always the sum of its parts. Knows no page.

use datafusion::arrow::array::{RecordBatch, StructArray};
use datafusion::arrow::datatypes::{Float64Type, Int32Type, Int64Type, UInt64Type};
use datafusion::prelude::JoinType;
use spillway_routing::decide::Why;
use spillway_routing::id::{ModelId, RouteId};
use spillway_routing::unit::{Bps, Millis, NanoUsd, UnixMillis};

use crate::columns::{Rows, number_at, text_at};
use crate::error::HistoryError;
use crate::history::History;
use crate::layout::Table;
use crate::query::{Span, Width, collect};

/// Steps of one series: more than a page has pixels for.
pub const POINTS_MAX: u64 = 2_000;

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
        let frame = qualities.join(frame, JoinType::Right, &["judged"], &["id"], None)?;
        session.register_table("judged_outcomes", frame.into_view())?;
        let frame = session.sql(&prepared(span, step)).await?;
        session.register_table("requests", frame.into_view())?;
        let mut overview = Overview {
            series: empty(span, step),
            ..Overview::default()
        };
        for batch in collect(session.sql(&grouped()).await?).await? {
            decode(batch, &mut overview)?;
        }
        ranked(&mut overview.by_model);
        ranked(&mut overview.by_route);
        Ok(overview)
    }
}

/// The most requests first.
fn ranked<N: Ord>(groups: &mut [(N, Figures)]) {
    groups.sort_by(|(a, few), (b, many)| many.requests.cmp(&few.requests).then_with(|| a.cmp(b)));
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

/// All groupings at once: a busy day is read a single time.
fn grouped() -> String {
    format!(
        "SELECT step, served_model, route, grouping(step) AS any_step, \
         grouping(served_model) AS any_model, grouping(route) AS any_route, {SUMS} FROM requests \
         GROUP BY GROUPING SETS ((), (step), (served_model), (route))"
    )
}

/// What a row of [`grouped`] sums up.
enum Group {
    All,
    Step(usize),
    Model(ModelId),
    Route(RouteId),
    /// Requests that no model served, or that named no route.
    Nameless,
}

impl Group {
    fn of(rows: &Rows<'_>, i: usize) -> Result<Self, HistoryError> {
        let grouped =
            |any: &'static str| Ok::<_, HistoryError>(rows.number::<Int32Type>(any)?.value(i) == 0);
        let name = |column: &'static str| Ok::<_, HistoryError>(text_at(rows.text(column)?, i));
        if grouped("any_step")? {
            let step = rows.number::<Int64Type>("step")?.value(i);
            return Ok(Self::Step(usize::try_from(step).unwrap_or(usize::MAX)));
        }
        let named = if grouped("any_model")? {
            name("served_model")?.map(|name| Self::Model(ModelId::new(name)))
        } else if grouped("any_route")? {
            name("route")?.map(|name| Self::Route(RouteId::new(name)))
        } else {
            Some(Self::All)
        };
        Ok(named.unwrap_or(Self::Nameless))
    }
}

fn decode(batch: RecordBatch, into: &mut Overview) -> Result<(), HistoryError> {
    let columns = StructArray::from(batch);
    let rows = Rows::new(&columns);
    for i in 0..rows.len() {
        let figures = figures(&rows, i)?;
        match Group::of(&rows, i)? {
            Group::All => into.totals = figures,
            Group::Step(step) => {
                if let Some(point) = into.series.get_mut(step) {
                    point.figures = figures;
                }
            }
            Group::Model(model) => into.by_model.push((model, figures)),
            Group::Route(route) => into.by_route.push((route, figures)),
            Group::Nameless => {}
        }
    }
    Ok(())
}

fn figures(rows: &Rows<'_>, i: usize) -> Result<Figures, HistoryError> {
    let count = |name| {
        let column = rows.number::<Int64Type>(name)?;
        Ok::<_, HistoryError>(u64::try_from(column.value(i)).unwrap_or(0))
    };
    let sum = |name| {
        let column = rows.number::<UInt64Type>(name)?;
        Ok::<_, HistoryError>(number_at(column, i))
    };
    let quality = number_at(rows.number::<Float64Type>("quality")?, i);
    Ok(Figures {
        requests: count("requests")?,
        endings: Endings {
            answered: count("answered")?,
            failed: count("failed")?,
            cut: count("cut")?,
            client_gone: count("client_gone")?,
            refused: count("refused")?,
        },
        spend: NanoUsd(sum("spend")?.unwrap_or(0)),
        baseline: NanoUsd(sum("baseline")?.unwrap_or(0)),
        quality: quality.map(|bps| Bps::from_share(bps / 10_000.0)),
        scored: count("scored")?,
        total_p50: sum("total_p50")?.map(Millis),
        total_p95: sum("total_p95")?.map(Millis),
        first_token_p50: sum("first_token_p50")?.map(Millis),
        failovers: count("failovers")?,
        abstained: count("abstained")?,
        explored: count("explored")?,
    })
}

/// One point per step of a window in which nothing happened.
fn empty(span: Span, step: Millis) -> Vec<Point> {
    let points = span.until.since(span.since).0.div_ceil(step.0);
    let at = |point: u64| UnixMillis(span.since.0.saturating_add(point.saturating_mul(step.0)));
    let point = |point| Point {
        at: at(point),
        figures: Figures::default(),
    };
    (0..points).map(point).collect()
}
