//! The page of latest requests: one flat row each.
//!
//! Owns: [`RequestRow`], its filter, and how a verdict becomes a request's quality:
//! the source that knows best (app, judge, verifier, import), of that the latest.

use datafusion::arrow::array::{RecordBatch, StructArray};
use datafusion::arrow::datatypes::{UInt16Type, UInt32Type, UInt64Type};
use datafusion::dataframe::DataFrame;
use datafusion::prelude::{JoinType, SessionContext, col, lit};
use spillway_routing::catalogue::Tier;
use spillway_routing::id::{LaneId, ModelId, RequestId, RouteId, SliceId, TableVersion};
use spillway_routing::outcome::Ending;
use spillway_routing::unit::{Bps, Millis, NanoUsd, Tokens, UnixMillis};

use crate::columns::{Rows, number_at, text_at};
use crate::error::HistoryError;
use crate::history::History;
use crate::index::View;
use crate::layout::Table;
use crate::outcome_columns::AT;
use crate::query::{Span, Width, collect};

/// Rows of one page.
pub const RECENT_ROWS_MAX: usize = 1_000;
/// A verdict may carry a clock that is so much behind its request's.
const CLOCK_SKEW: Millis = Millis(60 * 60_000);
/// How far back is looked for a page, step by step; then everything.
const LOOK_BACK: [Millis; 4] = [
    Millis(3_600_000),
    Millis(24 * 3_600_000),
    Millis(7 * 24 * 3_600_000),
    Millis(30 * 24 * 3_600_000),
];

/// Which requests a page shows; `None` is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    pub route: Option<RouteId>,
    /// The model that served.
    pub model: Option<ModelId>,
    pub ending: Option<Ending>,
    /// Arrived before this, to turn pages.
    pub before: Option<UnixMillis>,
}

/// One request on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    pub id: RequestId,
    pub at: UnixMillis,
    pub table: TableVersion,
    pub route: Option<RouteId>,
    pub slice: Option<SliceId>,
    pub served: Option<LaneId>,
    pub served_model: Option<ModelId>,
    pub served_tier: Option<Tier>,
    pub ending: Ending,
    pub status: u16,
    pub attempts: u32,
    pub cost: NanoUsd,
    pub baseline_cost: NanoUsd,
    pub first_token: Option<Millis>,
    pub total: Millis,
    pub input: Tokens,
    pub output: Tokens,
    /// Why the chosen lane was chosen, in words.
    pub chosen_reason: Option<String>,
    pub quality: Option<Bps>,
}

/// One row per judged request: its id as `judged`, and its `quality_bps`.
const QUALITIES: &str = "SELECT request_id AS judged, first_value(score_bps ORDER BY \
    CASE source WHEN 'app' THEN 0 WHEN 'judge' THEN 1 WHEN 'verifier' THEN 2 ELSE 3 END, \
    at_unix_ms DESC, score_bps) AS quality_bps FROM known_verdicts GROUP BY request_id";

impl History {
    /// The latest requests that pass the filter, newest first.
    ///
    /// # Errors
    ///
    /// The store or a query failed.
    pub async fn recent(
        &self,
        limit: usize,
        filter: &RequestFilter,
    ) -> Result<Vec<RequestRow>, HistoryError> {
        match self.try_recent(limit, filter).await {
            Err(error) if self.recovers(&error).await => self.try_recent(limit, filter).await,
            result => result,
        }
    }

    async fn try_recent(
        &self,
        limit: usize,
        filter: &RequestFilter,
    ) -> Result<Vec<RequestRow>, HistoryError> {
        let limit = limit.min(RECENT_ROWS_MAX);
        let view = self.index.view(Table::Outcomes).await?;
        let latest = view
            .visible
            .iter()
            .map(|listed| listed.file.until.0.saturating_add(1))
            .max();
        let Some(latest) = latest else {
            return Ok(Vec::new());
        };
        let end = filter.before.map_or(latest, |before| before.0.min(latest));
        let starts = LOOK_BACK.iter().map(|back| end.saturating_sub(back.0));
        // What a filter seldom lets through is looked for far back, but nowhere twice.
        let (mut rows, mut until) = (Vec::new(), UnixMillis(end));
        for since in starts.chain([0]).map(UnixMillis) {
            let span = Span { since, until };
            let left = limit - rows.len();
            rows.extend(self.page(&view, left, filter, span).await?);
            until = since;
            if rows.len() >= limit || until.0 == 0 {
                break;
            }
        }
        Ok(rows)
    }

    async fn page(
        &self,
        view: &View,
        limit: usize,
        filter: &RequestFilter,
        span: Span,
    ) -> Result<Vec<RequestRow>, HistoryError> {
        let session = self.engine.session();
        let mut frame =
            self.engine
                .frame(&session, Table::Outcomes, &view.visible, Width::Flat, span)?;
        let wanted = [
            ("route", filter.route.as_ref().map(RouteId::as_str)),
            ("served_model", filter.model.as_ref().map(ModelId::as_str)),
            ("ending", filter.ending.map(Ending::name)),
        ];
        for (column, value) in wanted {
            if let Some(value) = value {
                frame = frame.filter(col(column).eq(lit(value)))?;
            }
        }
        let order = || vec![col(AT).sort(false, true), col("id").sort(false, true)];
        let frame = frame.sort(order())?.limit(0, Some(limit))?;
        // So few rows are the side that a join holds in memory.
        let qualities = self.qualities(&session, span.since).await?;
        let frame = frame.join(qualities, JoinType::Left, &["id"], &["judged"], None)?;
        let frame = frame.sort(order())?;
        let mut rows = Vec::new();
        for batch in collect(frame).await? {
            decode(batch, &mut rows)?;
        }
        Ok(rows)
    }

    /// `judged` and `quality_bps` of whatever was judged after `since`.
    pub(crate) async fn qualities(
        &self,
        session: &SessionContext,
        since: UnixMillis,
    ) -> Result<DataFrame, HistoryError> {
        let view = self.index.view(Table::Verdicts).await?;
        let span = Span {
            since: UnixMillis(since.0.saturating_sub(CLOCK_SKEW.0)),
            ..Span::ALL
        };
        let verdicts =
            self.engine
                .frame(session, Table::Verdicts, &view.visible, Width::Flat, span)?;
        session.deregister_table("known_verdicts")?;
        session.register_table("known_verdicts", verdicts.into_view())?;
        Ok(session.sql(QUALITIES).await?)
    }
}

fn decode(batch: RecordBatch, into: &mut Vec<RequestRow>) -> Result<(), HistoryError> {
    let columns = StructArray::from(batch);
    let rows = Rows::new(&columns);
    let malformed = HistoryError::malformed;
    let text = |name, i| rows.text(name).map(|column| text_at(column, i));
    let number = |name, i| {
        rows.number::<UInt64Type>(name)
            .map(|column| column.value(i))
    };
    let count = |name, i| {
        rows.number::<UInt32Type>(name)
            .map(|column| column.value(i))
    };
    for i in 0..rows.len() {
        let tier =
            text("served_tier", i)?.map(|name| Tier::parse(name).ok_or(malformed("served_tier")));
        let id = rows.text("id")?.value(i).parse();
        let ending = Ending::parse(rows.text("ending")?.value(i));
        let first_token = rows.number::<UInt64Type>("first_token_ms")?;
        let quality = rows.number::<UInt16Type>("quality_bps")?;
        into.push(RequestRow {
            id: id.map_err(|_| malformed("id"))?,
            at: UnixMillis(number(AT, i)?),
            table: TableVersion(number("table_version", i)?),
            route: text("route", i)?.map(RouteId::new),
            slice: text("slice", i)?.map(SliceId::new),
            served: text("served_lane", i)?.map(LaneId::new),
            served_model: text("served_model", i)?.map(ModelId::new),
            served_tier: tier.transpose()?,
            ending: ending.ok_or(malformed("ending"))?,
            status: rows.number::<UInt16Type>("status")?.value(i),
            attempts: count("attempts_count", i)?,
            cost: NanoUsd(number("cost_nano_usd", i)?),
            baseline_cost: NanoUsd(number("baseline_nano_usd", i)?),
            first_token: number_at(first_token, i).map(Millis),
            total: Millis(number("total_ms", i)?),
            input: Tokens(count("input_tokens", i)?),
            output: Tokens(count("output_tokens", i)?),
            chosen_reason: text("chosen_reason", i)?.map(str::to_owned),
            quality: number_at(quality, i).map(Bps::new),
        });
    }
    Ok(())
}
