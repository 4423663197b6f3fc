//! History and jobs in a bucket: what is kept there outlives the machines.

use serde_json::json;

use crate::jobs::{answers, batch, completed, lines, more_done};
use crate::stand::{KEY, Stand, eventually, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_in_a_bucket_is_done_by_whoever_is_left() {
    const JOBS: usize = 60;
    let mut stand = Stand::new()
        .in_a_bucket()
        .proxies(2)
        .lifelike()
        .start()
        .await;
    let taken = batch(stand.url(), &lines(JOBS)).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let path = format!("batches/{}", taken.json()["id"].as_str().unwrap());
    let survivor = stand.proxies[1].url.clone();
    more_done(&survivor, &path, 5).await;
    stand.proxies[0].process.kill().await;
    let done = completed(&survivor, &path).await;
    let output = answers(&survivor, &done["output_file_id"]).await;
    assert_eq!(output.len(), JOBS, "{done}");
    let again = output
        .values()
        .filter_map(|line| line["possible_charges"].as_u64());
    let flagged: u64 = again.sum();
    let attempts = stand.simulator().ledger().attempts().len() as u64;
    assert!(
        attempts <= JOBS as u64 + flagged,
        "{attempts}, {flagged} flagged"
    );

    let kept = stand.bucket().listed("jobs/").await;
    assert!(kept.contains("/answer</Key>"), "{kept}");
    assert!(!stand.dir.path().join("jobs").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_in_a_bucket_is_there_after_a_restart() {
    let mut stand = Stand::new().in_a_bucket().start().await;
    for text in ["one", "two", "three"] {
        assert_eq!(stand.ask(text).await.status, 200);
    }
    let before = stand.recorded(|rows| rows.len() == 3).await;
    let kept = stand.bucket().listed("history/").await;
    assert!(kept.contains(".parquet</Key>"), "{kept}");
    assert!(!stand.dir.path().join("control/history").exists());

    stand.control.kill().await;
    stand.restart_control().await;
    let after = stand.recorded(|rows| rows.len() == 3).await;
    assert_eq!(after, before);
    let id = before[0]["id"].as_str().unwrap();
    let feedback = json!({ "request_id": id, "score": 0.5 });
    let taken = post(&format!("{}/v1/feedback", stand.url()), KEY, &feedback).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    eventually("the score is stored", || async {
        let whole = stand.api(&format!("/requests/{id}")).await;
        whole["verdicts"]
            .as_array()
            .is_some_and(|verdicts| !verdicts.is_empty())
    })
    .await;
}
