//! The handle on a history.
//!
//! Owns: how one is opened. What it does lies in `append`, `compact`, `reading`,
//! `recent`, `overview` and `query`.

use std::path::Path;
use std::sync::Arc;

use datafusion::object_store::ObjectStore;
use tokio::sync::Mutex;

use crate::error::HistoryError;
use crate::index::Index;
use crate::query::{Engine, QUERY_BYTES_MAX};
use crate::shelf::Shelf;

/// Outcomes, verdicts and audits of one installation. Share it in an `Arc`.
#[derive(Debug)]
pub struct History {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) index: Index,
    pub(crate) engine: Engine,
    /// One compaction at a time in this process; between processes the rule of
    /// `visibility` keeps every row once.
    pub(crate) compacting: Mutex<()>,
}

impl History {
    /// In a folder of an object store. The store's `put` has to be durable: S3's and
    /// its like are; for a local directory use [`History::local`].
    ///
    /// # Errors
    ///
    /// The query engine cannot be set up.
    pub fn open(store: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self, HistoryError> {
        Self::on(Shelf::remote(store, prefix), QUERY_BYTES_MAX)
    }

    /// In a local directory, which is made if need be. What it acknowledges is synced.
    ///
    /// # Errors
    ///
    /// The directory cannot be written to.
    pub fn local(dir: &Path) -> Result<Self, HistoryError> {
        Self::on(Shelf::local(dir)?, QUERY_BYTES_MAX)
    }

    /// One whose queries share so much memory.
    pub(crate) fn on(shelf: Shelf, query_bytes_max: usize) -> Result<Self, HistoryError> {
        let shelf = Arc::new(shelf);
        Ok(Self {
            index: Index::new(Arc::clone(&shelf)),
            engine: Engine::new(&shelf, query_bytes_max)?,
            shelf,
            compacting: Mutex::new(()),
        })
    }
}
