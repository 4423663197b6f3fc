//! The query engine over the files that count.
//!
//! Owns: sessions, their limits, and how a table's files become a frame: the flat
//! columns of small files from memory, everything else from Parquet. Whoever asks gets
//! one listing for one query. Knows no figure and no page.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::object_store;
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use spillway_routing::unit::UnixMillis;

use crate::audit_columns::{audit_schema, verdict_schema};
use crate::error::HistoryError;
use crate::history::History;
use crate::index::flat_columns;
use crate::layout::Table;
use crate::outcome_columns::{self, AT};
use crate::shelf::Shelf;
use crate::visibility::Listed;

/// The store's name inside the engine.
const ROOT: &str = "spillway://history/";
/// Memory that running queries share.
pub(crate) const QUERY_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Parts that a query runs in at once, and what part of the memory each sort of each part
/// keeps for itself: a query has up to three, and on a machine with fifty cores they would
/// leave it nothing.
const PARTITIONS_MAX: usize = 8;
const SORT_SHARE: usize = 50;
/// Rows that [`History::sql`] returns; further ones are cut off.
pub const SQL_ROWS_MAX: usize = 10_000;
/// How long [`History::sql`] may take, and any other query too: replaced files stay
/// for longer, so a query never outlives its files.
pub const SQL_SECONDS_MAX: u64 = 60;

/// Which columns a frame has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Flat,
    Whole,
}

/// A span of time: since, until (excluded).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) since: UnixMillis,
    pub(crate) until: UnixMillis,
}

impl Span {
    pub(crate) const ALL: Self = Self {
        since: UnixMillis(0),
        until: UnixMillis(u64::MAX),
    };

    fn meets(self, listed: &Listed) -> bool {
        listed.file.until >= self.since && listed.file.from < self.until
    }
}

#[derive(Debug)]
pub(crate) struct Engine {
    runtime: Arc<RuntimeEnv>,
    sort_bytes: usize,
    outcomes: SchemaRef,
    verdicts: SchemaRef,
    audits: SchemaRef,
}

impl Engine {
    pub(crate) fn new(shelf: &Shelf, bytes_max: usize) -> Result<Self, HistoryError> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(bytes_max, 1.0)
            // Listings are our own affair, see `index`.
            .with_object_list_cache_limit(0)
            .build_arc()?;
        let root = ObjectStoreUrl::parse(ROOT)?;
        runtime.register_object_store(root.as_ref(), Arc::clone(shelf.store()));
        Ok(Self {
            runtime,
            sort_bytes: bytes_max / SORT_SHARE,
            outcomes: outcome_columns::schema()?,
            verdicts: verdict_schema()?,
            audits: audit_schema()?,
        })
    }

    pub(crate) fn session(&self) -> SessionContext {
        let config = SessionConfig::new().with_collect_statistics(false);
        let partitions = config.target_partitions().min(PARTITIONS_MAX);
        let mut config = config.with_target_partitions(partitions);
        let execution = &mut config.options_mut().execution;
        execution.parquet.schema_force_view_types = false;
        execution.sort_spill_reservation_bytes = self.sort_bytes;
        SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime))
    }

    fn schema(&self, table: Table) -> &SchemaRef {
        match table {
            Table::Outcomes => &self.outcomes,
            Table::Verdicts => &self.verdicts,
            Table::Audits => &self.audits,
        }
    }

    /// The rows of `files` within `span`.
    pub(crate) fn frame(
        &self,
        session: &SessionContext,
        table: Table,
        files: &[Listed],
        width: Width,
        span: Span,
    ) -> Result<DataFrame, HistoryError> {
        let flat = flat_columns(table).filter(|_| width == Width::Flat);
        let files = files.iter().filter(|listed| span.meets(listed));
        let (hot, cold): (Vec<_>, Vec<_>) =
            files.partition(|listed| flat.is_some() && listed.file.hot.is_some());
        let mut frame = session.read_table(self.provider(table, &cold)?)?;
        if let Some(columns) = flat {
            frame = frame.select_columns(columns)?;
        }
        let hot: Vec<_> = hot
            .iter()
            .filter_map(|listed| listed.file.hot.clone())
            .collect();
        if let Some(schema) = hot.first().map(RecordBatch::schema) {
            let memory = session.read_table(Arc::new(MemTable::try_new(schema, vec![hot])?))?;
            frame = if cold.is_empty() {
                memory
            } else {
                frame.union(memory)?
            };
        }
        if span == Span::ALL {
            return Ok(frame);
        }
        let within = col(AT)
            .gt_eq(lit(span.since.0))
            .and(col(AT).lt(lit(span.until.0)));
        Ok(frame.filter(within)?)
    }

    fn provider(
        &self,
        table: Table,
        files: &[&Listed],
    ) -> Result<Arc<dyn datafusion::catalog::TableProvider>, HistoryError> {
        let schema = Arc::clone(self.schema(table));
        if files.is_empty() {
            return Ok(Arc::new(MemTable::try_new(schema, vec![vec![]])?));
        }
        let url = |listed: &&Listed| ListingTableUrl::parse(format!("{ROOT}{}", listed.file.path));
        let urls = files.iter().map(url).collect::<Result<Vec<_>, _>>()?;
        let options =
            ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
        let config = ListingTableConfig::new_with_multi_paths(urls)
            .with_listing_options(options)
            .with_schema(schema);
        Ok(Arc::new(ListingTable::try_new(config)?))
    }
}

impl History {
    /// Answers one SELECT over the tables `outcomes`, `verdicts` and `audits`, with at
    /// most [`SQL_ROWS_MAX`] rows.
    ///
    /// # Errors
    ///
    /// It is no SELECT, does not fit the tables, or took too long.
    pub async fn sql(&self, query: &str) -> Result<Vec<RecordBatch>, HistoryError> {
        match self.try_sql(query).await {
            Err(error) if self.recovers(&error).await => self.try_sql(query).await,
            result => result,
        }
    }

    async fn try_sql(&self, query: &str) -> Result<Vec<RecordBatch>, HistoryError> {
        let session = self.engine.session();
        for table in Table::ALL {
            let view = self.index.view(table).await?;
            let files: Vec<_> = view.visible.iter().collect();
            let provider = self.engine.provider(table, &files)?;
            session.register_table(table.name(), provider)?;
        }
        let sql = |source| HistoryError::Sql { source };
        let state = session.state();
        let dialect = state.config_options().sql_parser.dialect;
        let statement = state.sql_to_statement(query, &dialect).map_err(sql)?;
        if !is_select(&statement) {
            return Err(HistoryError::NotASelect);
        }
        let plan = state.statement_to_plan(statement).await.map_err(sql)?;
        let only_reads = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        only_reads.verify_plan(&plan).map_err(sql)?;
        let frame = DataFrame::new(state, plan).limit(0, Some(SQL_ROWS_MAX))?;
        collect(frame).await
    }

    /// After a failed query: looks for the torn files that made it fail. Says whether
    /// another try may do better.
    pub(crate) async fn recovers(&self, error: &HistoryError) -> bool {
        if !error.blames_a_file() {
            return false;
        }
        let mut found = false;
        for table in Table::ALL {
            match self.index.examine(table).await {
                Ok(torn) => found |= torn,
                Err(_) => return false,
            }
        }
        found || is_gone(error)
    }
}

fn is_select(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => matches!(**statement, ast::Statement::Query(_)),
        _ => false,
    }
}

/// Whether a file went away under the reader.
fn is_gone(error: &HistoryError) -> bool {
    let gone = |error: &object_store::Error| matches!(error, object_store::Error::NotFound { .. });
    match error {
        HistoryError::Store(error) => gone(error),
        HistoryError::Query(error) => match error.find_root() {
            DataFusionError::ObjectStore(error) => gone(error),
            _ => false,
        },
        _ => false,
    }
}

/// Runs a frame within the time every query has.
pub(crate) async fn collect(frame: DataFrame) -> Result<Vec<RecordBatch>, HistoryError> {
    within_time(frame.collect()).await
}

/// Ends what takes longer than a query may.
pub(crate) async fn within_time<T, E>(
    running: impl Future<Output = Result<T, E>>,
) -> Result<T, HistoryError>
where
    HistoryError: From<E>,
{
    let seconds = SQL_SECONDS_MAX;
    match tokio::time::timeout(Duration::from_secs(seconds), running).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(HistoryError::TooSlow { seconds }),
    }
}
