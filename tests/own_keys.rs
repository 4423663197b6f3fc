//! Callers who bring their own provider keys.

use serde_json::json;
use spillway_simulator::{Answerer, Fault, Ledger, ProviderConfig, ServedModel};

use crate::sdk::pytest;
use crate::stand::{Answer, KEY, Stand, request};

const POLICY: &str = r#"
version = 1

[[upstreams]]
provider = "alpha"
models = ["large"]
prices.standard = { input = 1.0, output = 2.0 }

[[upstreams]]
provider = "beta"
models = ["large"]
prices.standard = { input = 2.0, output = 4.0 }

[[upstreams]]
provider = "gamma"
models = ["large"]
prices.standard = { input = 0.5, output = 1.0 }

[routes.auto]
baseline = "alpha:large/standard"
floor = 0.0
deadline = "6s"
"#;

async fn stand() -> Stand {
    let provider = |name: &str| ProviderConfig::new(name, vec![ServedModel::new("large", 1, 2)]);
    let providers = ["alpha", "beta", "gamma"].map(provider).to_vec();
    let stand = Stand::new()
        .providers(Answerer::Echo, providers)
        .policy(POLICY);
    stand.embedded().start().await
}

async fn ask(stand: &Stand, keys: &[(&str, &str)]) -> Answer {
    let body = json!({ "model": "auto", "messages": [{ "role": "user", "content": "hello" }] });
    let authorization = format!("Bearer {KEY}");
    let mut headers = vec![("authorization", authorization.as_str())];
    headers.extend(keys);
    let url = format!("{}/v1/chat/completions", stand.url());
    request("POST", &url, &headers, &body.to_string())
        .await
        .unwrap()
}

/// Which key each provider was shown, as a hash.
fn shown(stand: &Stand) -> Vec<(String, Option<u64>)> {
    let attempts = stand.simulator().ledger().attempts().into_iter();
    attempts
        .map(|attempt| (attempt.provider, attempt.key_hash))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_reaches_its_provider_only_also_when_failing_over() {
    let stand = stand().await;
    let keys = [
        ("x-spillway-key-alpha", "sk-a"),
        ("x-spillway-key-beta", "sk-b"),
    ];
    let answer = ask(&stand, &keys).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Gamma is cheaper, but nobody pays for it.
    assert_eq!(answer.header("x-spillway-upstream"), "alpha:large");
    stand.script("alpha").fail(Fault::status(503));
    let moved = ask(&stand, &keys).await;
    assert_eq!(
        moved.header("x-spillway-upstream"),
        "beta:large",
        "{}",
        moved.text()
    );
    for (provider, key) in shown(&stand) {
        let own = match provider.as_str() {
            "alpha" => "sk-a",
            "beta" => "sk-b",
            other => panic!("{other} was asked"),
        };
        assert_eq!(key, Some(Ledger::key_hash(own)), "{provider}");
    }
    assert_eq!(
        ask(&stand, &[]).await.header("x-spillway-upstream"),
        "gamma:large"
    );
    let recorded = stand.recorded(|rows| rows.len() == 3).await;
    assert!(!format!("{recorded:?}").contains("sk-a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_bad_key_is_the_callers_matter() {
    let stand = stand().await;
    stand.script("alpha").fail_next(1, Fault::status(401));
    let keys = [("x-spillway-key-alpha", "sk-wrong")];
    let refused = ask(&stand, &keys).await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    // The lane is none the worse for others.
    let answer = ask(&stand, &keys).await;
    assert_eq!(
        answer.header("x-spillway-upstream"),
        "alpha:large",
        "{}",
        answer.text()
    );
    let unknown = ask(&stand, &[("x-spillway-key-nobody", "sk")]).await;
    assert_eq!(unknown.status, 400, "{}", unknown.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn official_sdks_bring_their_keys_where_they_always_do() {
    let stand = Stand::new().dialects().embedded().start().await;
    pytest(stand.url(), "own_keys").await;
    let mut shown = shown(&stand);
    shown.sort();
    shown.dedup();
    let own = [
        ("chat", "sk-own-openai"),
        ("gemini", "sk-own-google"),
        ("messages", "sk-own-anthropic"),
    ];
    let own = own.map(|(provider, key)| (provider.to_owned(), Some(Ledger::key_hash(key))));
    assert_eq!(shown, own);
}
