//! Compaction: few large files instead of many small ones.
//!
//! Owns: the running of a merge plan and the deletion of what merges replaced. A merge
//! is committed by writing its result, which hides its inputs (see `visibility`); they
//! are deleted in a later run, when no reader can still be reading them. Every step
//! may be the last before a crash: the next run goes on from the listing alone.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, new_null_array};
use datafusion::arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::object_store::Error;
use futures::{StreamExt, TryStreamExt, stream};
use spillway_routing::unit::{Millis, UnixMillis};

use crate::coverage::Coverage;
use crate::error::HistoryError;
use crate::history::History;
use crate::index::View;
use crate::layout::{self, Table};
use crate::merge_plan::{self, Merge, is_past};
use crate::outcome_columns::AT;
use crate::parquet_file;
use crate::visibility::File;

/// Replaced files stay so long: longer than any query runs.
const RETIRED_AFTER: Millis = Millis(2 * 60_000);
/// Temporary files older than this were left by a crash.
const ABANDONED_AFTER: Millis = Millis(60 * 60_000);
/// Inputs of a merge read at once.
const READS_MAX: usize = 8;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub merged: usize,
    pub written: usize,
    pub deleted: usize,
    /// Merges that waited for another run, because an input could not be read.
    pub failed: usize,
}

impl History {
    /// Merges small files and deletes what earlier merges replaced. Safe to call at
    /// any time, also while another process does; meant to run every few seconds.
    ///
    /// # Errors
    ///
    /// The store failed. Nothing is lost, and the next run goes on.
    pub async fn compact(&self, now: UnixMillis) -> Result<Compacted, HistoryError> {
        let _alone = self.compacting.lock().await;
        let mut done = Compacted::default();
        for table in Table::ALL {
            let view = self.index.view(table).await?;
            done.deleted += self.retire(&view, now).await?;
            for merge in merge_plan::plan(&view.visible, now) {
                let inputs = merge.inputs.len();
                if self.merge(table, merge).await? {
                    done.merged += inputs;
                    done.written += 1;
                } else {
                    done.failed += 1;
                }
            }
        }
        Ok(done)
    }

    async fn retire(&self, view: &View, now: UnixMillis) -> Result<usize, HistoryError> {
        let mut deleted = 0;
        for hidden in &view.hidden {
            let mut hiders = view
                .visible
                .iter()
                .filter(|listed| listed.file.covers.overlaps(&hidden.file.covers));
            if hiders.all(|listed| is_past(listed.modified, RETIRED_AFTER, now)) {
                self.shelf.delete(&hidden.file.path).await?;
                deleted += 1;
            }
        }
        for meta in &view.unfinished {
            let modified = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
            if is_past(UnixMillis(modified), ABANDONED_AFTER, now) {
                self.shelf.delete(&meta.location).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Says whether the merge was made.
    async fn merge(&self, table: Table, merge: Merge) -> Result<bool, HistoryError> {
        let names = merge.inputs.iter().map(|file| file.path.as_ref());
        let path = self
            .shelf
            .path(&layout::merged_path(table, merge.into, names));
        let mut covers = Coverage::default();
        for file in &merge.inputs {
            covers.unite(&file.covers);
        }
        let read = |file: Arc<File>| async move { self.read_input(table, &file).await };
        let batches = stream::iter(merge.inputs)
            .map(read)
            .buffered(READS_MAX)
            .try_collect::<Vec<_>>()
            .await?;
        let Some(batches) = batches.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok(false);
        };
        let batch = match tokio::task::spawn_blocking(move || united(&batches)).await? {
            Ok(batch) => batch,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%path, error, "files of different versions are not merged");
                return Ok(false);
            }
        };
        self.create_merged(table, path, batch, covers).await?;
        Ok(true)
    }

    /// `None` if the file is torn (it is marked as such) or just gone.
    async fn read_input(
        &self,
        table: Table,
        file: &File,
    ) -> Result<Option<RecordBatch>, HistoryError> {
        let bytes = match self.shelf.read(&file.path).await {
            Ok(bytes) => bytes,
            Err(HistoryError::Store(Error::NotFound { .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = move || parquet_file::read(bytes, None);
        match tokio::task::spawn_blocking(read).await? {
            Ok(batch) => Ok(Some(batch)),
            Err(error) => {
                self.index.condemn(table, file, &error);
                Ok(None)
            }
        }
    }
}

/// Files of different versions with the columns of all: by name, with nulls where a file
/// is older than the column.
fn in_one_schema(batches: &[RecordBatch]) -> Result<(SchemaRef, Vec<RecordBatch>), HistoryError> {
    let schemas = batches.iter().map(|batch| batch.schema());
    let merged = Schema::try_merge(schemas.map(|schema| schema.as_ref().clone()))?;
    let everywhere = |field: &Field| {
        let has = |batch: &RecordBatch| batch.column_by_name(field.name()).is_some();
        batches.iter().all(has)
    };
    let fields = merged.fields().iter().map(|field| {
        let nullable = field.is_nullable() || !everywhere(field);
        field.as_ref().clone().with_nullable(nullable)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let widened = |batch: &RecordBatch| {
        let columns = schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name()).cloned();
            column.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
        });
        Ok(RecordBatch::try_new(
            Arc::clone(&schema),
            columns.collect(),
        )?)
    };
    let batches = batches.iter().map(widened);
    let batches = batches.collect::<Result<Vec<_>, HistoryError>>()?;
    Ok((schema, batches))
}

/// All rows in order of time.
fn united(batches: &[RecordBatch]) -> Result<RecordBatch, HistoryError> {
    let (schema, batches) = in_one_schema(batches)?;
    let batch = concat_batches(&schema, &batches)?;
    let at = batch
        .column_by_name(AT)
        .ok_or(HistoryError::malformed(AT))?;
    let order = sort_to_indices(at, None, None)?;
    Ok(take_record_batch(&batch, &order)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};

    #[test]
    fn files_of_before_a_column_came_are_merged_with_those_of_after() {
        let at: ArrayRef = Arc::new(Int64Array::from(vec![2, 1]));
        let old = RecordBatch::try_from_iter([(AT, Arc::clone(&at))]).unwrap();
        let name: ArrayRef = Arc::new(StringArray::from(vec!["b", "a"]));
        let new = RecordBatch::try_from_iter([("name", name), (AT, at)]).unwrap();
        for batches in [[old.clone(), new.clone()], [new, old]] {
            let merged = united(&batches).unwrap();
            let names = merged.column_by_name("name").unwrap();
            assert_eq!((merged.num_rows(), names.null_count()), (4, 2));
        }
    }
}
