//! The rule that makes a row count once, whatever lies on disk.
//!
//! Owns: what is known of a file, and which of the listed files readers read. Pure: the same listing gives the same
//! answer in every process, so deleting what is hidden is always safe.

use std::cmp::Reverse;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::object_store::path::Path;
use spillway_routing::unit::UnixMillis;

use crate::coverage::Coverage;
use crate::layout::Slot;

/// A file that counts, or would.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: Path,
    pub(crate) size: u64,
    pub(crate) rows: u64,
    pub(crate) from: UnixMillis,
    pub(crate) until: UnixMillis,
    pub(crate) covers: Coverage,
    pub(crate) merged: bool,
    /// Its flat columns, if they are kept in memory.
    pub(crate) hot: Option<RecordBatch>,
}

impl File {
    /// The folder it lies in, as its rows say.
    pub(crate) fn slot(&self) -> Slot {
        let hour = Slot::hour_of(self.until);
        if self.path.as_ref().contains("/hh=all/") {
            Slot::Day(hour.day())
        } else {
            hour
        }
    }
}

/// A file as listed.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) file: Arc<File>,
    pub(crate) modified: UnixMillis,
}

/// The rule. Greedy from the largest: what is already held is hidden. Two merges that
/// share only some of their numbers come from two processes that merged at once; the
/// smaller yields if everything else it holds still lies in batches of its own.
pub(crate) fn visible(mut files: Vec<Listed>) -> (Vec<Listed>, Vec<Listed>) {
    files.sort_by_cached_key(|listed| {
        let file = &listed.file;
        let count = file.covers.count();
        (!file.merged, Reverse(count), file.path.clone())
    });
    let mut batches = Coverage::default();
    for listed in files.iter().filter(|listed| !listed.file.merged) {
        batches.unite(&listed.file.covers);
    }
    let mut held = Coverage::default();
    files.into_iter().partition(|Listed { file, .. }| {
        if file.covers == Coverage::default() {
            return true; // Imports have no numbers.
        }
        let yields = || {
            if !file.merged || !held.overlaps(&file.covers) {
                return false;
            }
            let mut available = held.clone();
            available.unite(&batches);
            available.contains(&file.covers)
        };
        let counts = !held.contains(&file.covers) && !yields();
        if counts {
            held.unite(&file.covers);
        }
        counts
    })
}
