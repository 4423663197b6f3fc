//! Where things lie: the three tables, their folders, and the names of files.
//!
//! Owns: the spelling of every path. `outcomes/dt=2026-11-21/hh=21/` is the hour (UTC)
//! of a file's latest row; `hh=all` holds what was merged for a whole day. Names of
//! proxies and sources are escaped, so that no name can leave its folder.

use std::fmt::Write as _;

use spillway_routing::unit::UnixMillis;

use crate::coverage::{BatchId, Coverage};
use crate::error::HistoryError;

const HOUR_MS: u64 = 3_600_000;
/// File systems take names of 255 bytes; the rest is for numbers and endings.
const NAME_BYTES_MAX: usize = 160;
const ENDING: &str = ".parquet";

/// A table, and its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    Outcomes,
    Verdicts,
    Audits,
}

impl Table {
    pub(crate) const ALL: [Self; 3] = [Self::Outcomes, Self::Verdicts, Self::Audits];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Outcomes => "outcomes",
            Self::Verdicts => "verdicts",
            Self::Audits => "audits",
        }
    }
}

/// The part of a day that a folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// Hours since 1970.
    Hour(u64),
    /// Days since 1970.
    Day(u64),
}

impl Slot {
    pub(crate) fn hour_of(at: UnixMillis) -> Self {
        Self::Hour(at.0 / HOUR_MS)
    }

    pub(crate) fn day(self) -> u64 {
        match self {
            Self::Hour(hour) => hour / 24,
            Self::Day(day) => day,
        }
    }

    /// The first moment after it.
    pub(crate) fn end(self) -> UnixMillis {
        let (count, length) = match self {
            Self::Hour(hour) => (hour, HOUR_MS),
            Self::Day(day) => (day, 24 * HOUR_MS),
        };
        UnixMillis(count.saturating_add(1).saturating_mul(length))
    }

    fn folder(self, table: Table) -> String {
        let (year, month, day) = civil(self.day());
        let table = table.name();
        match self {
            Self::Hour(hour) => {
                format!(
                    "{table}/dt={year:04}-{month:02}-{day:02}/hh={:02}",
                    hour % 24
                )
            }
            Self::Day(_) => format!("{table}/dt={year:04}-{month:02}-{day:02}/hh=all"),
        }
    }
}

/// What a file's name says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Batch(Coverage),
    Merged,
    Import,
    /// Left by a crash in the middle of writing.
    Unfinished,
    Foreign,
}

impl Named {
    pub(crate) fn parse(table: Table, file: &str) -> Self {
        if file.contains(".parquet.tmp-") {
            return Self::Unfinished;
        }
        let Some(stem) = file.strip_suffix(ENDING) else {
            return Self::Foreign;
        };
        match (table, stem.split_once('.')) {
            (Table::Audits, Some(("import", _))) => Self::Import,
            (_, Some(("merged", _))) => Self::Merged,
            (_, Some(("batch", rest))) => batch(rest).map_or(Self::Foreign, Self::Batch),
            _ => Self::Foreign,
        }
    }
}

fn batch(rest: &str) -> Option<Coverage> {
    let (proxy, range) = rest.split_once('.')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| Coverage::one(proxy, first, last))
}

/// A batch's coverage, with its proxy spelled as in file names.
pub(crate) fn coverage_of(batch: &BatchId) -> Result<Coverage, HistoryError> {
    let (first, last) = (batch.first, batch.last);
    if first > last {
        return Err(HistoryError::BackwardBatch { first, last });
    }
    Ok(Coverage::one(&escape(batch.proxy.as_str())?, first, last))
}

/// The path of a batch whose latest row is from `latest`.
pub(crate) fn batch_path(
    table: Table,
    batch: &BatchId,
    latest: UnixMillis,
) -> Result<String, HistoryError> {
    let folder = Slot::hour_of(latest).folder(table);
    let proxy = escape(batch.proxy.as_str())?;
    let (first, last) = (batch.first, batch.last);
    Ok(format!("{folder}/batch.{proxy}.{first}-{last}{ENDING}"))
}

/// The path of a merged file; the same inputs give the same name.
pub(crate) fn merged_path<'a>(
    table: Table,
    slot: Slot,
    inputs: impl Iterator<Item = &'a str>,
) -> String {
    // FNV-1a.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in inputs.flat_map(|input| input.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{}/merged.{hash:016x}{ENDING}", slot.folder(table))
}

pub(crate) fn import_path(source: &str) -> Result<String, HistoryError> {
    let source = escape(source)?;
    Ok(format!("{}/import.{source}{ENDING}", Table::Audits.name()))
}

/// Letters, digits and hyphens stay; anything else becomes `_` and its bytes in hex.
fn escape(name: &str) -> Result<String, HistoryError> {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "_{byte:02x}");
        }
    }
    if escaped.len() > NAME_BYTES_MAX {
        let (name, max) = (name.to_owned(), NAME_BYTES_MAX);
        return Err(HistoryError::NameTooLong { name, max });
    }
    Ok(escaped)
}

/// Year, month and day of a day since 1970, in the Gregorian calendar (Hinnant's
/// `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spillway_routing::id::ProxyId;

    #[test]
    fn a_batch_lies_in_the_hour_of_its_latest_row() {
        let batch = BatchId {
            proxy: ProxyId::new("edge_1/7f"),
            first: 3,
            last: 9,
        };
        // 2026-11-21 21:30:00 UTC.
        let path = batch_path(Table::Outcomes, &batch, UnixMillis(1_795_296_600_000)).unwrap();
        let name = "batch.edge_5f1_2f7f.3-9.parquet";
        assert_eq!(path, format!("outcomes/dt=2026-11-21/hh=21/{name}"));
        let named = Named::parse(Table::Outcomes, name);
        assert_eq!(named, Named::Batch(coverage_of(&batch).unwrap()));
    }

    #[test]
    fn leap_days_and_new_years_are_right() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_453), (2025, 12, 31));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }

    #[test]
    fn foreign_names_are_told_from_ours() {
        let parse = |name| Named::parse(Table::Outcomes, name);
        assert_eq!(parse("notes.parquet"), Named::Foreign);
        assert_eq!(parse("batch.p.9-3.parquet"), Named::Foreign);
        assert_eq!(parse("batch.p.1-3.parquet.tmp-7-0"), Named::Unfinished);
        assert_eq!(parse("merged.00.parquet"), Named::Merged);
    }
}
