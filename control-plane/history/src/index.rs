//! Which files there are, what they hold, and which of them count.
//!
//! Owns: the index of known files (footers are read once) and the rule that makes a
//! row count once: **a file whose sequence numbers other files already hold is not
//! read.** Merged files are looked at first, so a merge is committed by the one act
//! of writing its result; nothing else has to happen for readers, and a crash at any
//! step leaves a consistent listing. Torn files are named, counted and left out.
//!
//! Also keeps the flat columns of small files in memory: live traffic arrives in many
//! of them, and opening each for every page would be slow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use datafusion::arrow::array::{RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::object_store::{Error, ObjectMeta, path::Path};
use futures::{StreamExt, TryStreamExt, stream};
use spillway_routing::unit::UnixMillis;

use crate::coverage::Coverage;
use crate::error::HistoryError;
use crate::layout::{Named, Table};
use crate::outcome_columns::{self, AT};
use crate::parquet_file::{self, Footer, TAIL_BYTES};
use crate::shelf::Shelf;
use crate::visibility::{File, Listed, visible};

/// Files with at most so many rows and bytes keep their flat columns in memory...
const HOT_FILE_ROWS_MAX: u64 = 4_096;
const HOT_FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// ...as long as all of them together have at most so many rows, some 50 MB.
const HOT_ROWS_MAX: u64 = 200_000;
/// Footers read at once.
const INSPECTIONS_MAX: usize = 8;

/// A file that cannot be read and is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub file: String,
    pub reason: String,
}

/// One listing of a table.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// What readers read: every row once.
    pub(crate) visible: Vec<Listed>,
    /// What other files hold already.
    pub(crate) hidden: Vec<Listed>,
    /// Temporary files; a crash leaves some.
    pub(crate) unfinished: Vec<ObjectMeta>,
    pub(crate) skipped: Vec<Skipped>,
}

#[derive(Debug)]
enum Known {
    Good(Arc<File>),
    Bad(String),
}

#[derive(Debug)]
struct Entry {
    size: u64,
    /// `None` until the next listing.
    modified: Option<UnixMillis>,
    known: Known,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Path, Entry>,
    covered: BTreeMap<Table, Coverage>,
    hot_rows: u64,
}

#[derive(Debug)]
pub(crate) struct Index {
    shelf: Arc<Shelf>,
    state: Mutex<State>,
}

impl Index {
    pub(crate) fn new(shelf: Arc<Shelf>) -> Self {
        let state = Mutex::default();
        Self { shelf, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all of these numbers are known to be stored.
    pub(crate) fn covers(&self, table: Table, numbers: &Coverage) -> bool {
        let state = self.state();
        state
            .covered
            .get(&table)
            .is_some_and(|covered| covered.contains(numbers))
    }

    /// Lists a table and reads what is new in it.
    pub(crate) async fn view(&self, table: Table) -> Result<View, HistoryError> {
        let listing = self.shelf.list(table).await?;
        let mut view = View::default();
        let (mut readable, mut unknown) = (Vec::new(), Vec::new());
        for meta in listing {
            let named = Named::parse(table, meta.location.filename().unwrap_or(""));
            match named {
                Named::Unfinished => view.unfinished.push(meta),
                Named::Foreign => view.skipped.push(Skipped {
                    file: meta.location.to_string(),
                    reason: "not a name that the history gives; move it elsewhere".to_owned(),
                }),
                Named::Batch(_) | Named::Merged | Named::Import => {
                    if !self.knows(&meta) {
                        unknown.push((meta.clone(), named));
                    }
                    readable.push(meta);
                }
            }
        }
        let inspect = |(meta, named)| async move { self.inspect(table, &meta, named).await };
        stream::iter(unknown)
            .map(inspect)
            .buffer_unordered(INSPECTIONS_MAX)
            .try_collect::<Vec<()>>()
            .await?;
        self.forget_all_but(table, &readable);
        self.sort_out(&readable, &mut view);
        Ok(view)
    }

    fn knows(&self, meta: &ObjectMeta) -> bool {
        let modified = modified(meta);
        let mut state = self.state();
        state.entries.get_mut(&meta.location).is_some_and(|entry| {
            let same = *entry.modified.get_or_insert(modified) == modified;
            same && entry.size == meta.size
        })
    }

    /// Reads what a file holds and remembers it.
    async fn inspect(
        &self,
        table: Table,
        meta: &ObjectMeta,
        named: Named,
    ) -> Result<(), HistoryError> {
        let small = meta.size <= HOT_FILE_BYTES_MAX;
        let length = if small { meta.size } else { TAIL_BYTES };
        let known = match self.read_footer(meta, length).await {
            Ok((footer, bytes)) => {
                let whole = (bytes.len() as u64 == meta.size).then_some(bytes);
                match self.hot_columns(table, &footer, whole) {
                    Ok(hot) => describe(meta, footer, named, hot),
                    Err(error) => Known::Bad(error.to_string()),
                }
            }
            Err(HistoryError::Parquet(error)) => Known::Bad(error.to_string()),
            // Gone since it was listed: the next listing knows where its rows went.
            Err(HistoryError::Store(Error::NotFound { .. })) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Known::Bad(reason) = &known {
            tracing::warn!(file = %meta.location, reason, "a file of the history is not readable and left out");
        }
        let entry = Entry {
            size: meta.size,
            modified: Some(modified(meta)),
            known,
        };
        self.remember(table, &meta.location, entry);
        Ok(())
    }

    async fn read_footer(
        &self,
        meta: &ObjectMeta,
        length: u64,
    ) -> Result<(Footer, Bytes), HistoryError> {
        let mut bytes = self.shelf.tail(&meta.location, meta.size, length).await?;
        loop {
            match parquet_file::footer(&bytes, meta.size)? {
                Ok(footer) => return Ok((footer, bytes)),
                Err(needed) => {
                    let needed = needed as u64;
                    bytes = self.shelf.tail(&meta.location, meta.size, needed).await?;
                }
            }
        }
    }

    fn hot_columns(
        &self,
        table: Table,
        footer: &Footer,
        bytes: Option<Bytes>,
    ) -> Result<Option<RecordBatch>, HistoryError> {
        let Some(bytes) = bytes.filter(|_| self.has_room(footer.rows)) else {
            return Ok(None);
        };
        match flat_columns(table) {
            Some(columns) => {
                let batch = parquet_file::read(bytes, Some(columns))?;
                packed(&parquet_file::project(&batch, columns)?).map(Some)
            }
            None => Ok(None),
        }
    }

    fn has_room(&self, rows: u64) -> bool {
        rows <= HOT_FILE_ROWS_MAX && self.state().hot_rows.saturating_add(rows) <= HOT_ROWS_MAX
    }

    /// Remembers a batch or merge that this process has just written.
    pub(crate) fn wrote(
        &self,
        table: Table,
        path: Path,
        size: u64,
        batch: &RecordBatch,
        footer: Footer,
    ) -> Result<(), HistoryError> {
        let columns = flat_columns(table).filter(|_| self.has_room(footer.rows));
        let hot = columns
            .map(|columns| packed(&parquet_file::project(batch, columns)?))
            .transpose()?;
        let merged = path
            .filename()
            .is_some_and(|name| name.starts_with("merged."));
        let file = File {
            path: path.clone(),
            size,
            rows: footer.rows,
            from: UnixMillis(footer.from),
            until: UnixMillis(footer.until),
            covers: footer.covers.unwrap_or_default(),
            merged,
            hot,
        };
        let entry = Entry {
            size,
            modified: None,
            known: Known::Good(Arc::new(file)),
        };
        self.remember(table, &path, entry);
        Ok(())
    }

    fn remember(&self, table: Table, path: &Path, entry: Entry) {
        let mut state = self.state();
        let state = &mut *state;
        state.hot_rows += hot_rows(&entry.known);
        let lost = matches!(entry.known, Known::Bad(_));
        if let Known::Good(file) = &entry.known {
            state.covered.entry(table).or_default().unite(&file.covers);
        }
        if let Some(old) = state.entries.insert(path.clone(), entry) {
            state.hot_rows -= hot_rows(&old.known);
        }
        if lost {
            // Its batch may be sent again, and must then be stored.
            let folder = self.shelf.path(table.name());
            let mut covered = Coverage::default();
            for (path, entry) in &state.entries {
                if let (true, Known::Good(file)) = (path.prefix_matches(&folder), &entry.known) {
                    covered.unite(&file.covers);
                }
            }
            state.covered.insert(table, covered);
        }
    }

    fn forget_all_but(&self, table: Table, listed: &[ObjectMeta]) {
        let listed: BTreeSet<_> = listed.iter().map(|meta| &meta.location).collect();
        let folder = self.shelf.path(table.name());
        let mut state = self.state();
        let state = &mut *state;
        let hot = &mut state.hot_rows;
        state.entries.retain(|path, entry| {
            // What was written while this listing was made has not been seen yet.
            let keep =
                !path.prefix_matches(&folder) || listed.contains(path) || entry.modified.is_none();
            if !keep {
                *hot -= hot_rows(&entry.known);
            }
            keep
        });
    }

    /// Splits the readable files into those that count and those that do not.
    fn sort_out(&self, listing: &[ObjectMeta], view: &mut View) {
        let mut files = Vec::with_capacity(listing.len());
        let state = self.state();
        for meta in listing {
            match state.entries.get(&meta.location).map(|entry| &entry.known) {
                Some(Known::Good(file)) => files.push(Listed {
                    file: Arc::clone(file),
                    modified: modified(meta),
                }),
                Some(Known::Bad(reason)) => view.skipped.push(Skipped {
                    file: meta.location.to_string(),
                    reason: reason.clone(),
                }),
                None => {}
            }
        }
        drop(state);
        (view.visible, view.hidden) = visible(files);
    }

    /// Reads every file of a table from end to end, and marks those that are torn. For
    /// when a query has failed; says whether any was found.
    pub(crate) async fn examine(&self, table: Table) -> Result<bool, HistoryError> {
        let mut found = false;
        for Listed { file, .. } in self.view(table).await?.visible {
            let read = match self.shelf.read(&file.path).await {
                Ok(bytes) => {
                    tokio::task::spawn_blocking(move || parquet_file::read(bytes, None)).await?
                }
                Err(HistoryError::Store(Error::NotFound { .. })) => continue,
                Err(error) => return Err(error),
            };
            if let Err(error) = read {
                self.condemn(table, &file, &error);
                found = true;
            }
        }
        Ok(found)
    }

    pub(crate) fn condemn(&self, table: Table, file: &File, error: &HistoryError) {
        let source = std::error::Error::source(error);
        let reason = source.map_or_else(|| error.to_string(), ToString::to_string);
        tracing::warn!(file = %file.path, reason, "a file of the history is torn and left out");
        let entry = Entry {
            size: file.size,
            modified: None,
            known: Known::Bad(reason),
        };
        self.remember(table, &file.path, entry);
    }
}

/// The same rows in buffers of their size: those of a builder have room for a thousand, and a
/// quiet proxy's batch has one.
fn packed(batch: &RecordBatch) -> Result<RecordBatch, HistoryError> {
    let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
    let all = UInt32Array::from_iter_values(0..rows);
    Ok(take_record_batch(batch, &all)?)
}

/// The columns kept in memory for small files of a table.
pub(crate) fn flat_columns(table: Table) -> Option<&'static [&'static str]> {
    match table {
        Table::Outcomes => Some(&outcome_columns::FLAT),
        Table::Verdicts => Some(&["request_id", "source", "score_bps", AT]),
        Table::Audits => None,
    }
}

fn hot_rows(known: &Known) -> u64 {
    match known {
        Known::Good(file) if file.hot.is_some() => file.rows,
        Known::Good(_) | Known::Bad(_) => 0,
    }
}

fn modified(meta: &ObjectMeta) -> UnixMillis {
    UnixMillis(u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0))
}

fn describe(meta: &ObjectMeta, footer: Footer, named: Named, hot: Option<RecordBatch>) -> Known {
    let merged = named == Named::Merged;
    let covers = match named {
        Named::Batch(covers) => covers,
        Named::Merged => match footer.covers {
            Some(covers) => covers,
            None => return Known::Bad("its footer does not say what it holds".to_owned()),
        },
        Named::Import | Named::Unfinished | Named::Foreign => Coverage::default(),
    };
    Known::Good(Arc::new(File {
        path: meta.location.clone(),
        size: meta.size,
        rows: footer.rows,
        from: UnixMillis(footer.from),
        until: UnixMillis(footer.until),
        covers,
        merged,
        hot,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_takes_little_memory() {
        let outcome = crate::tests::stand::outcome(1);
        let batch = outcome_columns::encode(&[outcome]).unwrap();
        let flat = parquet_file::project(&batch, &outcome_columns::FLAT).unwrap();
        let packed = packed(&flat).unwrap();
        assert_eq!(packed.num_rows(), 1);
        let bytes = packed.get_array_memory_size();
        assert!(bytes < 8 * 1024, "{bytes}");
        assert!(flat.get_array_memory_size() > 2 * bytes, "what it is for");
    }
}
