//! Writing: batches that count once, imports that replace each other.
//!
//! Owns: the append calls. A batch is one file, created once; whoever returns from
//! here with `Ok` may acknowledge, since the rows are on disk. Knows no reader.

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::object_store::path::Path;
use spillway_routing::outcome::{Audit, Outcome, Verdict};
use spillway_routing::unit::UnixMillis;

use crate::audit_columns::{encode_audits, encode_verdicts};
use crate::coverage::{BatchId, Coverage};
use crate::error::HistoryError;
use crate::history::History;
use crate::layout::{self, Table};
use crate::outcome_columns;
use crate::parquet_file::{self, Footer};

/// Rows of one batch. Proxies send a few hundred; beyond this a batch is a mistake.
pub const BATCH_ROWS_MAX: usize = 50_000;
/// Prompts of one import. One file is read and written whole.
pub const IMPORT_ROWS_MAX: usize = 500_000;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Whether it was not there before.
    pub new: bool,
}

/// A file ready to be written.
struct Encoded {
    bytes: Bytes,
    batch: RecordBatch,
    footer: Footer,
}

impl History {
    /// Stores a proxy's outcomes. When it returns they are durable.
    ///
    /// # Errors
    ///
    /// They could not be stored; the same batch may be sent again.
    pub async fn append_outcomes(
        &self,
        batch: &BatchId,
        outcomes: &[Outcome],
    ) -> Result<Appended, HistoryError> {
        within(outcomes.len(), BATCH_ROWS_MAX)?;
        let columns = outcome_columns::encode(outcomes)?;
        let latest = outcomes.iter().map(|outcome| outcome.at).max();
        self.append(Table::Outcomes, batch, latest, columns).await
    }

    /// Stores a proxy's verdicts, which are numbered apart from its outcomes.
    ///
    /// # Errors
    ///
    /// They could not be stored; the same batch may be sent again.
    pub async fn append_verdicts(
        &self,
        batch: &BatchId,
        verdicts: &[Verdict],
    ) -> Result<Appended, HistoryError> {
        within(verdicts.len(), BATCH_ROWS_MAX)?;
        let columns = encode_verdicts(verdicts)?;
        let latest = verdicts.iter().map(|verdict| verdict.at).max();
        self.append(Table::Verdicts, batch, latest, columns).await
    }

    /// Stores a proxy's sampled audits, which are numbered apart from its outcomes.
    ///
    /// # Errors
    ///
    /// They could not be stored; the same batch may be sent again.
    pub async fn append_sampled(
        &self,
        batch: &BatchId,
        audits: &[Audit],
    ) -> Result<Appended, HistoryError> {
        within(audits.len(), BATCH_ROWS_MAX)?;
        let columns = encode_audits(batch.proxy.as_str(), audits)?;
        let latest = audits.iter().map(|audit| audit.at).max();
        self.append(Table::Audits, batch, latest, columns).await
    }

    /// Stores an import, all of it or nothing, in place of an earlier import of the
    /// same source.
    ///
    /// # Errors
    ///
    /// It could not be stored; what was there before still is.
    pub async fn append_audits(&self, source: &str, audits: &[Audit]) -> Result<(), HistoryError> {
        within(audits.len(), IMPORT_ROWS_MAX)?;
        let path = self.shelf.path(&layout::import_path(source)?);
        let encoded = encode_file(encode_audits(source, audits)?, None).await?;
        self.shelf.replace(&path, encoded.bytes).await
    }

    async fn append(
        &self,
        table: Table,
        batch: &BatchId,
        latest: Option<UnixMillis>,
        columns: RecordBatch,
    ) -> Result<Appended, HistoryError> {
        let numbers = layout::coverage_of(batch)?;
        let Some(latest) = latest.filter(|_| !self.index.covers(table, &numbers)) else {
            return Ok(Appended { new: false });
        };
        let path = self.shelf.path(&layout::batch_path(table, batch, latest)?);
        let mut encoded = encode_file(columns, None).await?;
        let mut new = self.shelf.create(&path, encoded.bytes.clone()).await?;
        // What lies there already is only acknowledged if it can be read.
        if !new && self.is_torn(&path).await? {
            self.shelf.replace(&path, encoded.bytes.clone()).await?;
            new = true;
        }
        encoded.footer.covers = Some(numbers);
        self.remember(table, path, encoded)?;
        Ok(Appended { new })
    }

    async fn is_torn(&self, path: &Path) -> Result<bool, HistoryError> {
        let bytes = self.shelf.read(path).await?;
        let read = move || parquet_file::read(bytes, None).is_err();
        Ok(tokio::task::spawn_blocking(read).await?)
    }

    fn remember(&self, table: Table, path: Path, encoded: Encoded) -> Result<(), HistoryError> {
        let size = encoded.bytes.len() as u64;
        self.index
            .wrote(table, path, size, &encoded.batch, encoded.footer)
    }

    /// Writes a merged file that holds `covers`.
    pub(crate) async fn create_merged(
        &self,
        table: Table,
        path: Path,
        batch: RecordBatch,
        covers: Coverage,
    ) -> Result<(), HistoryError> {
        let encoded = encode_file(batch, Some(covers)).await?;
        self.shelf.create(&path, encoded.bytes.clone()).await?;
        self.remember(table, path, encoded)
    }
}

async fn encode_file(
    batch: RecordBatch,
    covers: Option<Coverage>,
) -> Result<Encoded, HistoryError> {
    let encode = move || {
        let bytes = parquet_file::write(&batch, covers.as_ref())?;
        let footer = parquet_file::footer(&bytes, bytes.len() as u64)?;
        let footer = footer.map_err(|_| HistoryError::malformed("footer"))?;
        Ok(Encoded {
            bytes,
            batch,
            footer,
        })
    };
    tokio::task::spawn_blocking(encode).await?
}

fn within(rows: usize, max: usize) -> Result<(), HistoryError> {
    if rows > max {
        return Err(HistoryError::TooManyRows { rows, max });
    }
    Ok(())
}
