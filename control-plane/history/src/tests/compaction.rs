//! Readers see every row once, wherever a compaction stops.

use std::fs;
use std::path::PathBuf;

use super::stand::{Stand, clock, outcome};
use spillway_routing::id::ProxyId;
use spillway_routing::unit::UnixMillis;

use crate::BatchId;

const MONTH: u64 = 30 * 24 * 3_600_000;

/// Ten batches of ten.
async fn filled() -> Stand {
    let stand = Stand::new();
    for i in 0..10 {
        stand.append(i * 10, i * 10 + 9).await;
    }
    stand
}

fn all() -> Vec<u64> {
    (0..100).collect()
}

#[tokio::test]
async fn a_crash_after_any_deletion_loses_and_doubles_nothing() {
    for crash_after in 0..=10 {
        let mut stand = filled().await;
        let inputs = stand.files();
        stand.history.compact(clock(MONTH)).await.unwrap();
        assert_eq!(
            stand.files().len(),
            11,
            "a merge leaves its inputs for a while"
        );
        for file in &inputs[..crash_after] {
            fs::remove_file(file).unwrap();
        }
        assert_eq!(stand.numbers().await, all());
        stand = stand.reopened();
        assert_eq!(stand.numbers().await, all());
        stand.history.compact(clock(2 * MONTH)).await.unwrap();
        assert_eq!(stand.files().len(), 1);
        assert_eq!(stand.numbers().await, all());
    }
}

#[tokio::test]
async fn a_crash_while_writing_leaves_a_file_that_is_cleaned_up() {
    let stand = filled().await;
    let folder = stand.files()[0].parent().unwrap().to_owned();
    let torn = folder.join("merged.00.parquet.tmp-1-2");
    fs::write(&torn, b"PAR1 half").unwrap();
    assert_eq!(stand.numbers().await, all());
    stand.history.compact(clock(0)).await.unwrap();
    assert!(torn.exists(), "somebody may still be writing it");
    stand.history.compact(clock(2 * 3_600_000)).await.unwrap();
    assert!(!torn.exists());
}

#[tokio::test]
async fn two_processes_that_merge_at_once_keep_every_row_once() {
    let stand = filled().await;
    let batches = stand.files();
    let merged = |stand: &Stand| -> Vec<PathBuf> {
        let is_merged = |path: &PathBuf| path.to_string_lossy().contains("merged.");
        stand.files().into_iter().filter(is_merged).collect()
    };
    // The first sees batches 0 to 7, the second 2 to 9.
    let aside = tempfile::tempdir().unwrap();
    let mut results = Vec::new();
    for hidden in [&batches[8..], &batches[..2]] {
        let away: Vec<_> = hidden
            .iter()
            .map(|f| aside.path().join(f.file_name().unwrap()))
            .collect();
        hidden
            .iter()
            .zip(&away)
            .for_each(|(from, to)| fs::rename(from, to).unwrap());
        let alone = crate::History::local(stand.dir.path()).unwrap();
        alone.compact(clock(MONTH)).await.unwrap();
        hidden
            .iter()
            .zip(&away)
            .for_each(|(to, from)| fs::rename(from, to).unwrap());
        let result = merged(&stand).pop().unwrap();
        let kept = aside.path().join(result.file_name().unwrap());
        fs::rename(&result, &kept).unwrap();
        results.push((result, kept));
    }
    results
        .iter()
        .for_each(|(to, from)| fs::rename(from, to).unwrap());
    assert_eq!(merged(&stand).len(), 2);
    assert_eq!(stand.numbers().await, all());
    for months in 2..5 {
        stand.history.compact(clock(months * MONTH)).await.unwrap();
        assert_eq!(stand.numbers().await, all());
    }
    assert_eq!(stand.files().len(), 1);
}

#[tokio::test]
async fn an_open_hour_merges_eight_alike_and_a_closed_day_becomes_one_file() {
    let stand = Stand::new();
    let now = clock(60_000);
    let proxy = ProxyId::new("live");
    for i in 0..20u64 {
        let mut row = outcome(i);
        row.at = UnixMillis(now.0 - 60_000 + i);
        let (first, last, proxy) = (i, i, proxy.clone());
        let batch = BatchId { proxy, first, last };
        stand.history.append_outcomes(&batch, &[row]).await.unwrap();
    }
    let compacted = stand.history.compact(now).await.unwrap();
    assert_eq!((compacted.merged, compacted.written), (20, 1));
    assert_eq!(
        stand.history.compact(now).await.unwrap(),
        crate::Compacted::default()
    );
    let later = stand.history.compact(clock(MONTH)).await.unwrap();
    assert_eq!((later.written, later.deleted), (0, 20));
    assert_eq!(stand.numbers().await, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn hours_of_a_closed_day_become_one_folder() {
    let stand = Stand::new();
    for hour in 0..3 {
        stand.append(hour * 3_600, hour * 3_600 + 1).await;
    }
    let compacted = stand.history.compact(clock(MONTH)).await.unwrap();
    // Nine, ten and eleven o'clock of one day.
    assert_eq!((compacted.merged, compacted.written), (3, 1));
    stand.history.compact(clock(2 * MONTH)).await.unwrap();
    let files = stand.files();
    assert_eq!(files.len(), 1);
    assert!(
        files[0]
            .to_string_lossy()
            .contains("outcomes/dt=2026-11-21/hh=all/merged.")
    );
    assert_eq!(stand.numbers().await, [0, 1, 3_600, 3_601, 7_200, 7_201]);
}
