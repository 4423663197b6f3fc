//! What cannot be read is named and left out; what cannot be written is said early.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::stand::Stand;
use crate::{History, HistoryError};
use spillway_routing::unit::{Millis, UnixMillis};

#[tokio::test]
async fn garbage_is_named_and_skipped() {
    let stand = Stand::new();
    stand.append(1, 3).await;
    stand.append(4, 6).await;
    let torn = stand.files()[0].clone();
    let length = fs::metadata(&torn).unwrap().len();
    fs::File::options()
        .write(true)
        .open(&torn)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    fs::write(torn.with_file_name("notes.parquet"), b"not ours").unwrap();
    fs::write(torn.with_file_name("batch.x.1-2.parquet"), b"").unwrap();
    let stand = stand.reopened();
    assert_eq!(stand.numbers().await, [4, 5, 6]);
    let skipped = stand.history.counts().await.unwrap().skipped;
    let mut names: Vec<_> = skipped
        .iter()
        .map(|s| s.file.rsplit('/').next().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "batch.edge_5f1_2fboot-7.1-3.parquet",
            "batch.x.1-2.parquet",
            "notes.parquet"
        ]
    );
    let all = (UnixMillis(0), UnixMillis(u64::MAX), Millis(u64::MAX));
    let overview = stand.history.overview(all.0, all.1, all.2).await.unwrap();
    assert_eq!(overview.totals.requests, 3);
    // The proxy, which never had an answer, sends it again.
    assert!(stand.append(1, 3).await);
    assert_eq!(stand.numbers().await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_torn_page_behind_a_good_footer_is_found_when_it_is_read() {
    let stand = Stand::new();
    stand.append(1, 3).await;
    stand.append(4, 6).await;
    let torn = stand.files()[0].clone();
    let mut bytes = fs::read(&torn).unwrap();
    bytes[4..400].fill(0xff);
    fs::write(&torn, bytes).unwrap();
    let stand = stand.reopened();
    let rows = stand
        .history
        .sql("SELECT id, features FROM outcomes")
        .await
        .unwrap();
    assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 3);
    let skipped = stand.history.counts().await.unwrap().skipped;
    assert_eq!(skipped.len(), 1);
    assert!(skipped[0].file.ends_with("1-3.parquet"));
    assert!(stand.append(1, 3).await, "what was lost can be sent again");
    assert_eq!(stand.numbers().await, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_directory_that_cannot_be_written_to_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = History::local(&file.join("history")).unwrap_err();
    assert!(matches!(&error, HistoryError::Unwritable { .. }));
    assert!(error.to_string().contains("file/history"), "{error}");
    let shut = dir.path().join("shut");
    fs::create_dir(&shut).unwrap();
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write anywhere, so this only counts for others.
    if fs::write(shut.join("probe"), b"").is_err() {
        assert!(matches!(
            History::local(&shut),
            Err(HistoryError::Unwritable { .. })
        ));
    }
}
