//! A request's life as its caller sees it, and the one outcome it leaves.

use serde_json::{Value, json};
use spillway_simulator::Outcome;

use crate::stand::{KEY, Stand, chat, get, post, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_to_the_cheapest_lane_that_is_good_enough_and_is_recorded_once() {
    let stand = Stand::new().start().await;
    let answer = stand.ask("How wide is the Rhine at Basel?").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["object"], "chat.completion");
    // The bar is 85 % of large's 0.9; small's 0.8 reaches it at a tenth of the price.
    assert_eq!(answer.header("x-spillway-model"), "small");
    assert_eq!(answer.header("x-spillway-lane"), "alpha:small/standard");
    assert_eq!(answer.header("x-spillway-route"), "auto");
    assert_eq!(answer.header("x-spillway-table-version"), "1");
    assert_eq!(answer.header("x-spillway-attempts"), "1");
    let id = answer.header("x-spillway-request-id").to_owned();

    assert_eq!(id.len(), 36, "one id, said once: {id}");
    let feedback = json!({ "request_id": id, "score": 0.75 });
    let taken = post(&format!("{}/v1/feedback", stand.url()), KEY, &feedback).await;
    assert!((200..300).contains(&taken.status), "{}", taken.text());
    let recorded = stand
        .recorded(|rows| rows.first().is_some_and(|row| !row["quality"].is_null()))
        .await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0]["id"], json!(id));
    assert_eq!(recorded[0]["ending"], "answered");
    assert_eq!(recorded[0]["quality"], 0.75);

    let totals = stand.simulator().ledger().totals();
    assert_eq!(totals.attempts, 1);
    let billed = totals.cost_nano_usd as f64 / 1e9;
    assert!(
        (recorded[0]["cost_usd"].as_f64().unwrap() - billed).abs() < 1e-9,
        "{} against {billed}",
        recorded[0]["cost_usd"]
    );
    assert!(recorded[0]["baseline_usd"].as_f64().unwrap() > billed);

    let whole = stand.api(&format!("/requests/{id}")).await;
    assert_eq!(whole["trail"].as_array().unwrap().len(), 3);
    assert!(
        whole["explanation"]
            .as_str()
            .unwrap()
            .contains("cheapest lane")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_told_what_to_do_in_the_callers_dialect() {
    let stand = Stand::new().limits("body_bytes = 100000").start().await;
    let url = format!("{}/v1/chat/completions", stand.url());
    let bearer = format!("Bearer {KEY}");
    let send = async |body: &str, key: &str| {
        let headers = [("authorization", key), ("content-type", "application/json")];
        request("POST", &url, &headers, body).await.unwrap()
    };
    let message = |answer: &crate::stand::Answer| {
        answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned()
    };

    let unknown = send(
        r#"{"model":"nope","messages":[{"role":"user","content":"x"}]}"#,
        &bearer,
    )
    .await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    assert!(message(&unknown).contains("nope"));
    let garbled = send(r#"{"model":"auto","messages":["#, &bearer).await;
    assert_eq!(garbled.status, 400);
    assert_eq!(garbled.json()["error"]["type"], "invalid_request_error");
    let twice = send(
        r#"{"model":"auto","model":"large","messages":[{"role":"user","content":"x"}]}"#,
        &bearer,
    )
    .await;
    assert_eq!(twice.status, 400, "{}", twice.text());
    let large = send(
        &format!(
            r#"{{"model":"auto","messages":[{{"role":"user","content":"{}"}}]}}"#,
            "x".repeat(200_000)
        ),
        &bearer,
    )
    .await;
    assert_eq!(large.status, 413);
    let stranger = send(
        r#"{"model":"auto","messages":[{"role":"user","content":"x"}]}"#,
        "Bearer sk-other",
    )
    .await;
    assert_eq!(stranger.status, 401);
    assert!(
        !stranger.text().contains("sk-other"),
        "a key never comes back"
    );
    let elsewhere = get(&format!("{}/v1/nowhere", stand.url()), KEY).await;
    assert_eq!(elsewhere.status, 404);
    assert!(elsewhere.json()["error"]["message"].is_string());
    assert_eq!(
        stand.simulator().ledger().totals().attempts,
        0,
        "none of these reached a provider"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_listed_and_a_decision_can_be_asked_for_without_a_call() {
    let stand = Stand::new().start().await;
    let models = get(&format!("{}/v1/models", stand.url()), KEY).await.json();
    let mut names: Vec<&str> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["auto", "best", "large", "small"]);
    let body = json!({ "model": "auto", "messages": [{ "role": "user", "content": "hello" }] });
    let explained = post(&format!("{}/v1/route", stand.url()), KEY, &body).await;
    assert_eq!(explained.status, 200, "{}", explained.text());
    assert!(explained.text().contains("alpha:small/standard"));
    assert_eq!(stand.simulator().ledger().totals().attempts, 0);
    let pinned = json!({ "model": "large", "messages": [{ "role": "user", "content": "hello" }] });
    assert_eq!(
        chat(stand.url(), &pinned).await.header("x-spillway-model"),
        "large"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_has_exactly_one_outcome_and_the_ledger_agrees() {
    let stand = Stand::new().proxies(2).start().await;
    let count = 60;
    let mut players = Vec::new();
    for i in 0..count {
        let url = stand.proxies[i % 2].url.clone();
        players.push(tokio::spawn(async move {
            let body = json!({ "model": "auto", "stream": i % 3 == 0, "messages": [{ "role": "user", "content": format!("question {i}") }] });
            chat(&url, &body).await.status
        }));
    }
    for player in players {
        assert_eq!(player.await.unwrap(), 200);
    }
    let recorded = stand.recorded(|rows| rows.len() >= count).await;
    assert_eq!(recorded.len(), count);
    let cost = |rows: &[Value]| {
        rows.iter()
            .map(|row| row["cost_usd"].as_f64().unwrap())
            .sum::<f64>()
    };
    let totals = stand
        .simulator()
        .ledger()
        .totals_of(|attempt| attempt.outcome == Outcome::Answered);
    assert_eq!(totals.attempts as usize, count);
    assert!((cost(&recorded) - totals.cost_nano_usd as f64 / 1e9).abs() < 1e-8);
}
