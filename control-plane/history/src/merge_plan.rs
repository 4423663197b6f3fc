//! Which files to merge into which, as a plan.
//!
//! Owns: the tiers. While an hour is open, eight files of about the same size become
//! one, so each row is rewritten a few times at most; a closed hour becomes one file,
//! and a closed day becomes one folder of large files. Pure: the time is handed in.

use std::collections::BTreeMap;
use std::sync::Arc;

use spillway_routing::unit::{Millis, UnixMillis};

use crate::coverage::Coverage;
use crate::layout::Slot;
use crate::visibility::{File, Listed};

/// Files younger than this are left alone: they are in memory anyway.
const SETTLED_AFTER: Millis = Millis(10_000);
/// Batches of an hour still come in for a while after it.
const HOUR_CLOSED_AFTER: Millis = Millis(10 * 60_000);
const DAY_CLOSED_AFTER: Millis = Millis(2 * 60 * 60_000);
/// A file this large is left as it is; a merge holds about twice as many rows in
/// memory, some 100 MB.
const FULL_ROWS: u64 = 32_768;
/// Files of one tier that make a merge in an open hour; also the step between tiers.
const TIER_FILES: usize = 8;
/// Inputs of one merge; the rest waits for the next one.
const INPUTS_MAX: usize = 512;

/// Several files that become one.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(crate) into: Slot,
    pub(crate) inputs: Vec<Arc<File>>,
}

/// What to merge among the files that count.
pub(crate) fn plan(files: &[Listed], now: UnixMillis) -> Vec<Merge> {
    let mut days: BTreeMap<u64, BTreeMap<Slot, Vec<Arc<File>>>> = BTreeMap::new();
    // An import has no numbers and is one file already.
    let numbered = |listed: &&Listed| listed.file.covers != Coverage::default();
    let settled =
        |listed: &&Listed| numbered(listed) && is_past(listed.modified, SETTLED_AFTER, now);
    for Listed { file, .. } in files.iter().filter(settled) {
        if file.rows < FULL_ROWS {
            let slot = file.slot();
            let slots = days.entry(slot.day()).or_default();
            slots.entry(slot).or_default().push(Arc::clone(file));
        }
    }
    let mut merges = Vec::new();
    for (day, slots) in days {
        if is_past(Slot::Day(day).end(), DAY_CLOSED_AFTER, now) {
            let files = slots.into_values().flatten().collect();
            merges.extend(chunks(Slot::Day(day), files));
            continue;
        }
        for (slot, files) in slots {
            if is_past(slot.end(), HOUR_CLOSED_AFTER, now) {
                merges.extend(chunks(slot, files));
            } else {
                let full = tiers(files)
                    .into_iter()
                    .filter(|tier| tier.len() >= TIER_FILES);
                merges.extend(full.flat_map(|tier| chunks(slot, tier)));
            }
        }
    }
    merges
}

pub(crate) fn is_past(moment: UnixMillis, after: Millis, now: UnixMillis) -> bool {
    moment.0.saturating_add(after.0) <= now.0
}

fn tiers(files: Vec<Arc<File>>) -> Vec<Vec<Arc<File>>> {
    let mut tiers: BTreeMap<u32, Vec<Arc<File>>> = BTreeMap::new();
    for file in files {
        // Up to 63 rows, 511, 4095, ...
        let tier = file.rows.max(1).ilog2() / TIER_FILES.ilog2();
        let tier = if tier < 2 { 0 } else { tier };
        tiers.entry(tier).or_default().push(file);
    }
    tiers.into_values().collect()
}

/// Groups in order of time, each within the bounds; a group of one is no merge.
fn chunks(into: Slot, mut files: Vec<Arc<File>>) -> Vec<Merge> {
    files.sort_by(|a, b| (a.from, &a.path).cmp(&(b.from, &b.path)));
    let mut merges = Vec::new();
    let mut inputs = Vec::new();
    let mut rows = 0;
    for file in files {
        rows += file.rows;
        inputs.push(file);
        if rows >= FULL_ROWS || inputs.len() >= INPUTS_MAX {
            let inputs = std::mem::take(&mut inputs);
            merges.push(Merge { into, inputs });
            rows = 0;
        }
    }
    merges.push(Merge { into, inputs });
    merges.retain(|merge| merge.inputs.len() >= 2);
    merges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::Coverage;
    use datafusion::object_store::path::Path;

    const HOUR: u64 = 3_600_000;
    const NOON: UnixMillis = UnixMillis(1_795_262_400_000);

    fn listed(number: u64, rows: u64, at: u64) -> Listed {
        let file = File {
            path: Path::from(format!("outcomes/x/hh=00/{number}")),
            size: 1,
            rows,
            from: UnixMillis(at),
            until: UnixMillis(at),
            covers: Coverage::one("p", number, number),
            merged: false,
            hot: None,
        };
        let modified = UnixMillis(at);
        Listed {
            file: Arc::new(file),
            modified,
        }
    }

    fn sizes(files: &[Listed], now: u64) -> Vec<usize> {
        let merges = plan(files, UnixMillis(now));
        merges.iter().map(|merge| merge.inputs.len()).collect()
    }

    #[test]
    fn an_open_hour_waits_for_eight_files_of_a_tier() {
        let mut files: Vec<_> = (0..7).map(|i| listed(i, 20, NOON.0)).collect();
        files.push(listed(7, 3_000, NOON.0));
        let soon = NOON.0 + SETTLED_AFTER.0;
        assert_eq!(sizes(&files, soon), [0; 0]);
        files.push(listed(8, 20, NOON.0));
        assert_eq!(sizes(&files, soon), [8]);
        assert_eq!(sizes(&files, soon - 1), [0; 0]);
    }

    #[test]
    fn a_closed_hour_becomes_one_file_and_then_stays() {
        let files: Vec<_> = (0..3).map(|i| listed(i, 20, NOON.0)).collect();
        let closed = NOON.0 + HOUR + HOUR_CLOSED_AFTER.0;
        assert_eq!(sizes(&files, closed), [3]);
        assert_eq!(sizes(&files[..1], closed), [0; 0]);
    }

    #[test]
    fn a_closed_day_goes_into_one_folder_in_files_of_bounded_size() {
        let files: Vec<_> = (0..10)
            .map(|i| listed(i, 10_000, NOON.0 + i * HOUR))
            .collect();
        let next_week = UnixMillis(NOON.0 + 7 * 24 * HOUR);
        let merges = plan(&files, next_week);
        assert!(
            merges
                .iter()
                .all(|merge| matches!(merge.into, Slot::Day(_)))
        );
        assert_eq!(sizes(&files, next_week.0), [4, 4, 2]);
        let full = listed(11, FULL_ROWS, NOON.0);
        assert_eq!(sizes(&[full, listed(12, 1, NOON.0)], next_week.0), [0; 0]);
    }
}
