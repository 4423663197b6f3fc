//! Callers' keys of the policy: who may ask, for what, and how much.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use spillway_simulator::{Answerer, ProviderConfig, ServedModel};

use crate::stand::{Answer, Stand, eventually, post, spillway};

const POLICY: &str = r#"
version = 1

[[upstreams]]
provider = "alpha"
models = ["small", "large"]
prices.standard = { input = 1.0, output = 2.0 }

[routes.auto]
baseline = "large"
floor = 0.0

"#;

/// A key as an operator makes one, and its lines for the policy.
async fn made(name: &str) -> (String, String) {
    let done = spillway(&["key", name]).await;
    assert!(done.success, "{}", done.stderr);
    let key = done.stdout.lines().next().unwrap().to_owned();
    let lines = done
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with('['));
    (key, lines.map(|line| format!("{line}\n")).collect())
}

async fn stand(keys: &str) -> Stand {
    let models = vec![
        ServedModel::new("small", 1_000, 2_000),
        ServedModel::new("large", 1_000, 2_000),
    ];
    Stand::new()
        .embedded()
        .providers(Answerer::Echo, vec![ProviderConfig::new("alpha", models)])
        .policy(&format!("{POLICY}{keys}"))
        .start()
        .await
}

async fn ask(stand: &Stand, key: &str, model: &str) -> Answer {
    let url = format!("{}/v1/chat/completions", stand.url());
    let body = json!({
        "model": model, "max_tokens": 10,
        "messages": [{ "role": "user", "content": "one two three" }],
    });
    post(&url, key, &body).await
}

fn code(answer: &Answer) -> Value {
    answer.json()["error"]["code"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_policy_opens_its_routes_until_it_is_taken_out() {
    let (key, lines) = made("team-a").await;
    let stand = stand(&format!("{lines}routes = [\"auto\"]\n")).await;
    assert_eq!(ask(&stand, &key, "auto").await.status, 200);
    let other = ask(&stand, &key, "large").await;
    assert_eq!(
        (other.status, code(&other)),
        (403, "route_not_allowed".into())
    );
    let unknown = ask(&stand, &format!("{key}x"), "auto").await;
    assert_eq!(unknown.status, 401);
    let recorded = stand.recorded(|rows| rows.len() == 1).await;
    let id = recorded[0]["id"].as_str().unwrap();
    let whole = stand.api(&format!("/requests/{id}")).await;
    assert_eq!(whole["facts"]["key"], "team-a", "{whole}");

    stand.publish(POLICY).await;
    eventually("the key is no longer known", || async {
        ask(&stand, &key, "auto").await.status == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_tokens_of_a_minute_run_out_and_say_when_to_come_back() {
    let (often, often_lines) = made("often").await;
    let (long, long_lines) = made("long").await;
    let keys =
        format!("{often_lines}requests_per_minute = 2\n{long_lines}tokens_per_minute = 40\n");
    let stand = stand(&keys).await;
    for key in [&often, &long] {
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(ask(&stand, key, "auto").await);
        }
        let served = answers.iter().filter(|answer| answer.status == 200).count();
        assert!((1..4).contains(&served), "{served}");
        let refused = answers.last().unwrap();
        assert_eq!(
            (refused.status, code(refused)),
            (429, "rate_limit_exceeded".into())
        );
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // Nobody else is held up, and each refusal is on record.
    assert_eq!(ask(&stand, crate::stand::KEY, "auto").await.status, 200);
    let recorded = stand.recorded(|rows| rows.len() == 9).await;
    let refused = recorded.iter().filter(|row| row["ending"] == "refused");
    assert!(refused.count() >= 4);
    let limit = r#"spillway_limited_total{limit="requests"}"#;
    assert_eq!(stand.metric(0, limit).await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_spend_no_more_than_the_money_of_the_day() {
    let (key, lines) = made("poor").await;
    let stand = stand(&format!("{lines}usd_per_day = 0.0005\n")).await;
    let answers = join_all((0..200).map(|_| ask(&stand, &key, "auto"))).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((1..200).contains(&served), "{served}");
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    assert_eq!(
        (refused.status, code(refused)),
        (429, "insufficient_quota".into())
    );
    // Waiting does not help, and SDKs are told so.
    assert_eq!(refused.header("x-should-retry"), "false");
    let attempts = stand.simulator().ledger().attempts();
    let spent: u64 = attempts.iter().map(|attempt| attempt.cost_nano_usd).sum();
    assert!(spent <= 500_000, "{spent}");
    tokio::time::timeout(
        Duration::from_secs(60),
        stand.recorded(|rows| rows.len() == 200),
    )
    .await
    .unwrap();
}
