//! What is no conversation: embeddings, images, and counting.

use serde_json::{Value, json};
use spillway_simulator::{Answerer, Fault, ProviderConfig, ServedModel};

use crate::sdk::pytest;
use crate::stand::{Answer, KEY, Stand, post};

/// Two hosts of one embedding model, another one, an image model and two that converse.
const POLICY: &str = r#"
version = 1

[[upstreams]]
provider = "near"
models = ["embed-1", "embed-2"]
dialects = ["openai-embeddings"]
prices.standard = { input = 0.1, output = 0.0 }

[[upstreams]]
provider = "far"
models = ["embed-1"]
dialects = ["openai-embeddings"]
prices.standard = { input = 0.2, output = 0.0 }

[[upstreams]]
provider = "near"
models = ["image-1"]
dialects = ["openai-images"]
prices.standard = { input = 5.0, output = 40.0 }

[[upstreams]]
provider = "near"
models = ["chat-1"]
prices.standard = { input = 1.0, output = 2.0 }

[routes.vectors]
models = ["embed-1", "embed-2"]
baseline = "near:embed-1/standard"
floor = 0.0
deadline = "6s"

[routes.auto]
baseline = "chat-1"
floor = 0.0
"#;

async fn stand() -> Stand {
    let near = ["embed-1", "embed-2", "image-1", "chat-1"];
    let served = |name: &str, nano| ServedModel::new(name, nano, 0);
    let providers = vec![
        ProviderConfig::new("near", near.iter().map(|name| served(name, 100)).collect()),
        ProviderConfig::new("far", vec![served("embed-1", 200)]),
    ];
    Stand::new()
        .providers(Answerer::Echo, providers)
        .policy(POLICY)
        .limits("ejection_ms = 1\nejection_max_ms = 2")
        .embedded()
        .start()
        .await
}

async fn embed(stand: &Stand, model: &str) -> Answer {
    let body = json!({ "model": model, "input": ["how deep", "how wide"] });
    post(&format!("{}/v1/embeddings", stand.url()), KEY, &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embeddings_move_to_another_host_and_never_to_another_model() {
    let stand = stand().await;
    let answer = embed(&stand, "vectors").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), 2);
    assert_eq!(answer.header("x-spillway-lane"), "near:embed-1/standard");
    let vector = |answer: &Answer| answer.json()["data"][0]["embedding"].clone();
    let first = vector(&answer);
    stand.script("near").fail(Fault::status(503));
    let moved = embed(&stand, "vectors").await;
    assert_eq!(
        moved.header("x-spillway-lane"),
        "far:embed-1/standard",
        "{}",
        moved.text()
    );
    assert_eq!(vector(&moved), first);
    // With both hosts gone nothing else answers, though embed-2 could.
    stand.script("far").fail(Fault::status(503));
    stand
        .script("near")
        .set_model("embed-2", spillway_simulator::Behaviour::healthy());
    let gone = embed(&stand, "vectors").await;
    assert_eq!(gone.status, 503, "{}", gone.text());
    let recorded = stand.recorded(|rows| rows.len() == 3).await;
    let answered = recorded.iter().filter(|row| row["ending"] == "answered");
    assert_eq!(answered.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_vectors_and_images_do_not_mix() {
    let stand = stand().await;
    let answer = stand.ask("one two three").await;
    assert_eq!(
        answer.header("x-spillway-model"),
        "chat-1",
        "{}",
        answer.text()
    );
    let refused = embed(&stand, "chat-1").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    let body = json!({ "model": "image-1", "prompt": "a river", "n": 1 });
    let image = post(
        &format!("{}/v1/images/generations", stand.url()),
        KEY,
        &body,
    )
    .await;
    assert_eq!(image.status, 200, "{}", image.text());
    assert!(image.json()["data"][0]["b64_json"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_without_being_sent() {
    let stand = stand().await;
    let turns = json!([{ "role": "user", "content": "one two three four five" }]);
    let body = json!({ "model": "auto", "messages": turns });
    let path = format!("{}/v1/messages/count_tokens", stand.url());
    let counted = post(&path, KEY, &body).await;
    assert_eq!(counted.status, 200, "{}", counted.text());
    assert!((5..20).contains(&counted.json()["input_tokens"].as_u64().unwrap()));
    let contents = json!([{ "parts": [{ "text": "one two three four five" }] }]);
    let path = format!("{}/v1beta/models/auto:countTokens", stand.url());
    for body in [
        json!({ "contents": contents }),
        json!({ "generateContentRequest": { "model": "models/auto", "contents": contents } }),
    ] {
        let counted = post(&path, KEY, &body).await;
        let total = counted.json()["totalTokens"].as_u64();
        assert!((5..20).contains(&total.unwrap_or(0)), "{}", counted.text());
    }
    assert_eq!(stand.simulator().ledger().attempts().len(), 0);
    let unknown: Value = post(
        &path.replace("auto", "nope"),
        KEY,
        &json!({ "contents": contents }),
    )
    .await
    .json();
    assert_eq!(unknown["error"]["status"], "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_sdk_embeds_and_draws() {
    let stand = stand().await;
    pytest(stand.url(), "").await;
}
