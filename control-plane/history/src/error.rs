//! What can go wrong with the history, and what to do about it.
//!
//! Owns: [`HistoryError`]. Knows no transport.

use std::io;
use std::path::PathBuf;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::object_store;
use datafusion::parquet::errors::ParquetError;

/// The history could not do it.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(
        "cannot write to the history's directory {dir}; create it or give this user write access"
    )]
    Unwritable { dir: PathBuf, source: io::Error },
    #[error("cannot write {path}; check free space and permissions")]
    Write { path: PathBuf, source: io::Error },
    #[error("the object store refused")]
    Store(#[from] object_store::Error),
    #[error("cannot read or write parquet")]
    Parquet(#[from] ParquetError),
    #[error("cannot build columns")]
    Columns(#[from] ArrowError),
    #[error("column {column} holds what this version does not know; read it with a newer one")]
    Malformed { column: &'static str },
    #[error("a batch has sequence numbers {first} to {last}; send the smaller one first")]
    BackwardBatch { first: u64, last: u64 },
    #[error("{rows} rows are too many at once; send at most {max}")]
    TooManyRows { rows: usize, max: usize },
    #[error("the name {name:?} is too long for a file; use at most {max} plain characters")]
    NameTooLong { name: String, max: usize },
    #[error(
        "{points} steps are too many; ask for a shorter window or a longer step, at most {max} steps"
    )]
    TooManyPoints { points: u64, max: u64 },
    #[error("only one SELECT over outcomes, verdicts and audits is allowed")]
    NotASelect,
    #[error("the query does not fit the tables")]
    Sql { source: DataFusionError },
    #[error("the query failed")]
    Query(#[from] DataFusionError),
    #[error("the query took longer than {seconds} s; narrow it by at_unix_ms")]
    TooSlow { seconds: u64 },
    #[error("a background thread stopped")]
    Thread(#[from] tokio::task::JoinError),
}

impl HistoryError {
    pub(crate) fn malformed(column: &'static str) -> Self {
        Self::Malformed { column }
    }

    /// Whether a file may be to blame: gone under a reader, or torn.
    pub(crate) fn blames_a_file(&self) -> bool {
        match self {
            Self::Store(_) | Self::Parquet(_) => true,
            Self::Query(error) => root_blames_a_file(error.find_root()),
            Self::Columns(error) => matches!(error, ArrowError::ParquetError(_)),
            _ => false,
        }
    }
}

fn root_blames_a_file(root: &DataFusionError) -> bool {
    match root {
        DataFusionError::ParquetError(_)
        | DataFusionError::ObjectStore(_)
        | DataFusionError::IoError(_) => true,
        DataFusionError::ArrowError(error, _) => {
            matches!(
                **error,
                ArrowError::ParquetError(_) | ArrowError::ExternalError(_)
            )
        }
        DataFusionError::External(error) => {
            error.is::<ParquetError>() || error.is::<object_store::Error>()
        }
        _ => false,
    }
}
