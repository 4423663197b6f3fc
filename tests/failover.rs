//! Providers fail in every way they do; clients do not notice while another is healthy.

use std::time::Duration;

use serde_json::json;
use spillway_simulator::{Fault, Outcome, RetryAfter};

use crate::stand::{KEY, Stand, chat, get};

fn ways_to_fail() -> Vec<Fault> {
    vec![
        Fault::status(503),
        Fault::rate_limited(30),
        Fault::Status {
            code: 500,
            retry_after: None,
            body: None,
        },
        Fault::Status {
            code: 529,
            retry_after: Some(RetryAfter::Seconds(1)),
            body: None,
        },
        Fault::Status {
            code: 401,
            retry_after: None,
            body: None,
        },
        Fault::Reset,
        Fault::HangBeforeHeaders,
        Fault::HangAfterHeaders,
        Fault::CutBeforeContent,
        Fault::Garbage,
        Fault::EmptyBody,
        Fault::DoneAtOnce,
    ]
}

/// Large's cheaper lane fails in one way after the other; the other provider serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_provider_is_never_seen_before_content() {
    for (i, fault) in ways_to_fail().into_iter().enumerate() {
        let stand = Stand::new().embedded().start().await;
        stand.script("alpha").fail(fault.clone());
        for stream in [false, true] {
            let body = json!({ "model": "best", "stream": stream, "messages": [{ "role": "user", "content": format!("case {i}") }] });
            let answer = tokio::time::timeout(Duration::from_secs(60), chat(stand.url(), &body))
                .await
                .expect("an answer in time");
            assert_eq!(
                answer.status,
                200,
                "{fault:?}, stream {stream}: {}",
                answer.text()
            );
            assert!(
                !answer.text().contains("\"error\""),
                "{fault:?}: {}",
                answer.text()
            );
            assert_eq!(
                answer.header("x-spillway-lane"),
                "beta:large/standard",
                "{fault:?}"
            );
        }
        let recorded = stand.recorded(|rows| rows.len() == 2).await;
        assert!(
            recorded.iter().all(|row| row["ending"] == "answered"),
            "{fault:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_lane_is_remembered_and_comes_back() {
    let stand = Stand::new()
        .embedded()
        .limits("ejection_ms = 300\nejection_max_ms = 600")
        .start()
        .await;
    stand.script("alpha").fail(Fault::status(500));
    let body = json!({ "model": "large", "messages": [{ "role": "user", "content": "x" }] });
    for _ in 0..40 {
        assert_eq!(chat(stand.url(), &body).await.status, 200);
    }
    let tried = stand.simulator().ledger().count(|a| a.provider == "alpha");
    assert!(tried < 20, "alpha was asked {tried} times in 40 requests");
    stand.script("alpha").heal();
    crate::stand::eventually("alpha serves again", || async {
        chat(stand.url(), &body).await.header("x-spillway-lane") == "alpha:large/standard"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_fail_the_caller_is_told_so_in_its_dialect() {
    let stand = Stand::new().embedded().start().await;
    stand.script("alpha").fail(Fault::status(503));
    stand.script("beta").fail(Fault::status(503));
    let answer = stand.ask("anybody there?").await;
    assert!((502..=504).contains(&answer.status), "{}", answer.text());
    assert!(answer.json()["error"]["message"].is_string());
    let recorded = stand.recorded(|rows| rows.len() == 1).await;
    assert_eq!(recorded[0]["ending"], "failed");
    assert_eq!(recorded[0]["cost_usd"], 0.0);
    let refused = stand
        .simulator()
        .ledger()
        .count(|a| a.outcome == Outcome::Refused(503));
    assert!((1..=3).contains(&refused), "{refused} attempts");
    assert_eq!(
        get(&format!("{}/healthz", stand.proxies[0].admin), KEY)
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_own_mistake_is_passed_on_and_not_retried() {
    let stand = Stand::new().embedded().start().await;
    stand.script("alpha").fail(Fault::Status {
        code: 400,
        retry_after: None,
        body: None,
    });
    let body = json!({ "model": "large", "messages": [{ "role": "user", "content": "x" }] });
    let answer = chat(stand.url(), &body).await;
    assert_eq!(answer.status, 400);
    assert_eq!(stand.simulator().ledger().totals().attempts, 1);
}
