//! One Parquet file in memory: written, its footer read, its rows read.
//!
//! Owns: compression, statistics and the footer's own entry. Knows no table and no
//! place.

use bytes::Bytes;
use datafusion::arrow::array::{RecordBatch, RecordBatchReader};
use datafusion::arrow::compute::concat_batches;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::arrow::{ArrowWriter, ProjectionMask};
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::coverage::Coverage;
use crate::error::HistoryError;
use crate::outcome_columns::AT;

/// The footer's entry that says which sequence numbers a merged file holds.
const COVERS: &str = "spillway.covers";
/// Rows that are read or skipped together; small enough that an hour prunes.
const ROW_GROUP_ROWS: usize = 8_192;
/// Read at once from a file's end; holds the footer of nearly every file.
pub(crate) const TAIL_BYTES: u64 = 128 * 1024;
/// Random or dense: a dictionary of them would only be a second copy.
const WITHOUT_DICTIONARY: [&str; 4] = [
    "id",
    "request_id",
    "features.list.item",
    "encoding.list.item",
];

/// What a footer says.
#[derive(Clone, Debug)]
pub(crate) struct Footer {
    pub(crate) rows: u64,
    /// The earliest and the latest row.
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) covers: Option<Coverage>,
}

pub(crate) fn write(batch: &RecordBatch, covers: Option<&Coverage>) -> Result<Bytes, HistoryError> {
    let entry = covers.map(|covers| vec![KeyValue::new(COVERS.to_owned(), covers.print())]);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(entry);
    for column in [AT, "id", "request_id"] {
        properties =
            properties.set_column_statistics_enabled(column.into(), EnabledStatistics::Chunk);
    }
    for column in WITHOUT_DICTIONARY {
        let path = column.split('.').map(str::to_owned).collect::<Vec<_>>();
        properties = properties.set_column_dictionary_enabled(path.into(), false);
    }
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build()))?;
    writer.write(batch)?;
    writer.close()?;
    Ok(Bytes::from(bytes))
}

/// What the end of a file of `size` bytes says; `Err(n)` inside asks for a longer end.
pub(crate) fn footer(tail: &Bytes, size: u64) -> Result<Result<Footer, usize>, ParquetError> {
    let mut reader = ParquetMetaDataReader::new();
    match reader.try_parse_sized(tail, size) {
        Ok(()) => summary(&reader.finish()?).map(Ok),
        Err(ParquetError::NeedMoreData(bytes)) if (bytes as u64) <= size => Ok(Err(bytes)),
        Err(error) => Err(error),
    }
}

fn summary(metadata: &ParquetMetaData) -> Result<Footer, ParquetError> {
    let file = metadata.file_metadata();
    let leaves = file.schema_descr();
    let leaf = (0..leaves.num_columns()).find(|i| leaves.column(*i).path().string() == AT);
    let leaf = leaf.ok_or_else(|| ParquetError::General(format!("there is no column {AT}")))?;
    let (mut from, mut until) = (u64::MAX, 0);
    for group in metadata.row_groups() {
        let statistics = group.column(leaf).statistics();
        let bytes = |side: Option<&[u8]>| side?.try_into().ok().map(u64::from_le_bytes);
        let low = statistics.and_then(|s| bytes(s.min_bytes_opt()));
        let high = statistics.and_then(|s| bytes(s.max_bytes_opt()));
        from = from.min(low.unwrap_or(0));
        until = until.max(high.unwrap_or(u64::MAX));
    }
    let entries = file.key_value_metadata().into_iter().flatten();
    let covers = entries
        .filter(|entry| entry.key == COVERS)
        .find_map(|e| e.value.as_deref());
    Ok(Footer {
        rows: u64::try_from(file.num_rows()).unwrap_or(0),
        from,
        until,
        covers: covers.and_then(Coverage::parse),
    })
}

/// All rows, with all columns or only with `columns`, in the file's order of columns.
pub(crate) fn read(bytes: Bytes, columns: Option<&[&str]>) -> Result<RecordBatch, HistoryError> {
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    if let Some(columns) = columns {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    let reader = builder.with_batch_size(ROW_GROUP_ROWS).build()?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// The named columns of a batch, in the order of `columns`.
pub(crate) fn project(batch: &RecordBatch, columns: &[&str]) -> Result<RecordBatch, HistoryError> {
    let schema = batch.schema();
    let indices = columns.iter().map(|name| schema.index_of(name));
    let indices = indices.collect::<Result<Vec<_>, _>>()?;
    Ok(batch.project(&indices)?)
}
