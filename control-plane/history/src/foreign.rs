//! Parquet files that others wrote: rows of texts and numbers by column name.
//!
//! Owns: reading such a file for an import. What the columns mean is the caller's
//! business; nested columns are left out.

use std::fs::File;
use std::path::Path;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// A value of a foreign row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    Number(f64),
}

/// Why a foreign file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    #[error("the file cannot be opened")]
    Open(#[from] std::io::Error),
    #[error("the file is no readable Parquet")]
    Parquet(#[from] datafusion::parquet::errors::ParquetError),
    #[error("a column cannot be read")]
    Column(#[from] datafusion::arrow::error::ArrowError),
}

/// All rows, each with its columns' names; nulls are left out.
///
/// # Errors
///
/// [`ForeignError`] says whether the file or a column is at fault.
pub fn read_parquet(path: &Path) -> Result<Vec<Vec<(String, Cell)>>, ForeignError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch?;
        let mut block = vec![Vec::new(); batch.num_rows()];
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            push(&mut block, field.name(), column)?;
        }
        rows.append(&mut block);
    }
    Ok(rows)
}

fn push(
    rows: &mut [Vec<(String, Cell)>],
    name: &str,
    column: &ArrayRef,
) -> Result<(), ForeignError> {
    let kind = column.data_type();
    if kind.is_nested() {
        return Ok(());
    }
    if kind.is_numeric() {
        let column = cast(column, &DataType::Float64)?;
        let numbers = column.as_primitive::<Float64Type>();
        for (i, row) in rows
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| numbers.is_valid(*i))
        {
            row.push((name.to_owned(), Cell::Number(numbers.value(i))));
        }
        return Ok(());
    }
    let column = cast(column, &DataType::Utf8)?;
    let texts = column.as_string::<i32>();
    for (i, row) in rows
        .iter_mut()
        .enumerate()
        .filter(|(i, _)| texts.is_valid(*i))
    {
        row.push((name.to_owned(), Cell::Text(texts.value(i).to_owned())));
    }
    Ok(())
}
