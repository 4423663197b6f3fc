//! What is told before an answer is what is billed after it, once a few bills were seen.

use serde_json::json;
use spillway_simulator::{Answerer, ProviderConfig, ServedModel};

use crate::stand::Stand;

/// Only what goes in costs, so that nothing has to be guessed of what comes out. The counter
/// is another model's than the provider's.
const POLICY: &str = r#"
version = 1
models.large.tokenizer = "claude4_7"

[[upstreams]]
provider = "alpha"
models = ["large"]
prices.standard = { input = 1000.0, output = 0.0 }

[routes.auto]
baseline = "large"
floor = 0.0
"#;

/// What was told, and what it cost.
async fn told(stand: &Stand) -> (f64, f64) {
    let text = "The river rises in the mountains, and nobody has measured it. ".repeat(40);
    let body = json!({
        "model": "auto", "stream": true,
        "messages": [{ "role": "user", "content": text }],
    });
    let answer = stand.chat(body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.header("x-spillway-cost-estimate-usd").parse();
    let attempts = stand.simulator().ledger().attempts();
    let billed = attempts.last().unwrap().cost_nano_usd as f64 / 1e9;
    (told.unwrap(), billed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn estimates_come_to_what_is_billed() {
    let model = ServedModel::new("large", 1_000_000, 0);
    let stand = Stand::new()
        .embedded()
        .providers(
            Answerer::Echo,
            vec![ProviderConfig::new("alpha", vec![model])],
        )
        .policy(POLICY)
        .start()
        .await;
    let off = |(told, billed): (f64, f64)| (told / billed - 1.0).abs();
    let first = off(told(&stand).await);
    assert!(first > 0.1, "the counters differ: {first}");
    let mut last = first;
    for _ in 0..60 {
        last = off(told(&stand).await);
    }
    assert!(last < first / 5.0, "{last} after {first}");
    let gauge = r#"spillway_billed_tokens_ratio{upstream="alpha:large"}"#;
    let ratio = stand.metric(0, gauge).await;
    assert!((ratio - 1.0).abs() > 0.1, "{ratio}");
}
