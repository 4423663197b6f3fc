//! The history: outcomes, verdicts and audits as Parquet files, SQL over them.
//!
//! Owns: append-only storage in an object store (a local directory, or S3 by the same
//! seam), batches that count once however often they are sent, compaction, windows and
//! figures. Knows no gRPC, no policy and no routing table, and reads no clock: times
//! are handed in or lie in the rows.
//!
//! Reading order: `layout` (paths), `coverage` and `visibility` (what counts once),
//! `index` (what is known of files), `append`, `merge_plan` and `compact`, `query` and
//! its users `overview`, `recent`, `reading`; the `*_columns` files are the schema.

mod append;
mod audit_columns;
mod columns;
mod compact;
mod coverage;
mod decision_columns;
mod error;
mod facts_columns;
mod foreign;
mod history;
mod index;
mod layout;
mod merge_plan;
mod outcome_columns;
mod overview;
mod parquet_file;
mod query;
mod reading;
mod recent;
mod shelf;
mod trail_columns;
mod visibility;

#[cfg(test)]
mod tests;

pub use append::{Appended, BATCH_ROWS_MAX, IMPORT_ROWS_MAX};
pub use compact::Compacted;
pub use coverage::BatchId;
pub use error::HistoryError;
pub use foreign::{Cell, ForeignError, read_parquet};
pub use history::History;
pub use index::Skipped;
pub use overview::{Endings, Figures, Overview, POINTS_MAX, Point};
pub use query::{SQL_ROWS_MAX, SQL_SECONDS_MAX};
pub use reading::{Counts, TableCounts, WINDOW_ROWS_MAX};
pub use recent::{RECENT_ROWS_MAX, RequestFilter, RequestRow};
