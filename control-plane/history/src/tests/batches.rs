//! A batch counts once, however often and to whomever it is sent.

use std::sync::Arc;

use datafusion::object_store::memory::InMemory;

use super::stand::{Stand, audit, batch, clock, outcome, verdict};
use crate::{History, HistoryError};
use spillway_routing::outcome::{Split, VerdictSource};

#[tokio::test]
async fn a_batch_sent_twice_counts_once() {
    let stand = Stand::new();
    assert!(stand.append(1, 5).await);
    assert!(!stand.append(1, 5).await);
    let stand = stand.reopened();
    assert!(!stand.append(1, 5).await);
    assert_eq!(stand.numbers().await, [1, 2, 3, 4, 5]);
    assert_eq!(stand.files().len(), 1);
}

#[tokio::test]
async fn a_batch_that_was_merged_meanwhile_counts_once() {
    let mut stand = Stand::new();
    for first in [1, 11, 21] {
        assert!(stand.append(first, first + 9).await);
    }
    let compacted = stand
        .history
        .compact(clock(30 * 24 * 3_600_000))
        .await
        .unwrap();
    assert_eq!((compacted.merged, compacted.written), (3, 1));
    let late = clock(60 * 24 * 3_600_000);
    assert_eq!(stand.history.compact(late).await.unwrap().deleted, 3);
    assert_eq!(stand.files().len(), 1);
    // This process knows, and stores nothing.
    assert!(!stand.append(11, 20).await);
    assert_eq!(stand.files().len(), 1);
    // One that has not looked yet stores it, but nobody reads it.
    stand = stand.reopened();
    stand.append(11, 20).await;
    assert_eq!(stand.files().len(), 2);
    assert_eq!(stand.numbers().await, (1..=30).collect::<Vec<_>>());
    assert_eq!(stand.history.counts().await.unwrap().outcomes.rows, 30);
    assert_eq!(stand.history.compact(late).await.unwrap().deleted, 1);
    assert_eq!(stand.numbers().await, (1..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn verdicts_are_numbered_apart_and_count_once() {
    let stand = Stand::new();
    stand.append(1, 2).await;
    let verdicts = [verdict(1, VerdictSource::App, 9_000, 5)];
    for new in [true, false] {
        let appended = stand
            .history
            .append_verdicts(&batch(1, 1), &verdicts)
            .await
            .unwrap();
        assert_eq!(appended.new, new);
    }
    let stand = stand.reopened();
    let (read, scored) = stand.history.outcome(outcome(1).id).await.unwrap().unwrap();
    assert_eq!((read, scored.as_slice()), (outcome(1), verdicts.as_slice()));
}

#[tokio::test]
async fn an_import_replaces_the_one_before_it() {
    let stand = Stand::new();
    let history = &stand.history;
    let first = [audit("a", Split::Train), audit("b", Split::Test)];
    history.append_audits("sets/one", &first).await.unwrap();
    history
        .append_audits("sets/two", &[audit("z", Split::Test)])
        .await
        .unwrap();
    assert_eq!(history.audits(None).await.unwrap().len(), 3);
    history
        .append_audits("sets/one", &[audit("c", Split::Test)])
        .await
        .unwrap();
    let ids = |audits: Vec<_>| {
        audits
            .into_iter()
            .map(|a: spillway_routing::outcome::Audit| a.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids(history.audits(Some(Split::Test)).await.unwrap()),
        ["c", "z"]
    );
    assert_eq!(
        ids(history.audits(Some(Split::Train)).await.unwrap()),
        [""; 0]
    );
}

#[tokio::test]
async fn any_object_store_will_do() {
    let store = Arc::new(InMemory::new());
    let history = History::open(Arc::clone(&store) as _, "team a/history").unwrap();
    for new in [true, false] {
        let appended = history
            .append_outcomes(&batch(1, 1), &[outcome(1)])
            .await
            .unwrap();
        assert_eq!(appended.new, new);
    }
    let again = History::open(store, "team a/history").unwrap();
    assert_eq!(
        again.outcome(outcome(1).id).await.unwrap().unwrap().0,
        outcome(1)
    );
    assert_eq!(
        again.sql("SELECT id FROM outcomes").await.unwrap()[0].num_rows(),
        1
    );
}

#[tokio::test]
async fn a_backward_batch_and_an_endless_name_are_refused() {
    let stand = Stand::new();
    let error = stand
        .history
        .append_outcomes(&batch(5, 1), &[outcome(1)])
        .await
        .unwrap_err();
    assert!(matches!(error, HistoryError::BackwardBatch { .. }));
    let error = stand
        .history
        .append_audits(&"x".repeat(200), &[])
        .await
        .unwrap_err();
    assert!(matches!(error, HistoryError::NameTooLong { .. }));
}
