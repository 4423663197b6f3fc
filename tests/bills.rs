//! Estimates of tokens: what a provider bills corrects them.

use serde_json::json;
use spillway_simulator::{Answerer, ProviderConfig, ServedModel};

use crate::stand::{KEY, Stand, eventually, post};

const POLICY: &str = r#"
version = 1

[[upstreams]]
provider = "alpha"
models = ["large"]
prices.standard = { input = 1.0, output = 0.000001 }

[routes.auto]
baseline = "large"
floor = 0.0
"#;

/// What a request was expected to cost, to what it did.
async fn asked(stand: &Stand) -> f64 {
    // The provider takes one token for four bytes, and counts half as much again.
    let messages = [json!({ "role": "user", "content": "seven ".repeat(200) })];
    let wish = json!({ "model": "auto", "messages": messages, "max_tokens": 5 });
    let explained = post(&format!("{}/v1/route", stand.url()), KEY, &wish).await;
    let expected = explained.json()["trail"][0]["cost_usd"].as_f64().unwrap();
    let answer = stand.chat(wish).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    expected / answer.header("x-spillway-cost-usd").parse::<f64>().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn estimates_come_to_what_the_provider_bills() {
    let models = vec![ServedModel::new("large", 1_000, 0)];
    let stand = Stand::new()
        .providers(Answerer::Echo, vec![ProviderConfig::new("alpha", models)])
        .policy(POLICY)
        .embedded()
        .start()
        .await;
    let first = asked(&stand).await;
    assert!((0.5..0.8).contains(&first), "{first}");
    eventually("the estimate is within a twentieth", || async {
        let now = asked(&stand).await;
        assert!(now < 1.1, "{now}");
        now > 0.95
    })
    .await;
}
