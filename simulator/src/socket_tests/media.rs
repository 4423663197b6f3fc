//! Embeddings and images as a raw client sees them.
//!
//! It must not use the code it tests.

use serde_json::{Value, json};

use crate::ledger::Outcome;
use crate::script::{Fault, FaultKind};
use crate::server::Running;
use crate::stand::{End, Heard, post, say, start};
use crate::wire::Wire;

async fn ask(running: &Running, path: &str, body: &Value) -> Heard {
    say(
        running.address(),
        &post(&format!("/alpha/v1/{path}"), "", body),
    )
    .await
}

#[tokio::test]
async fn embeddings_are_billed_by_their_input() {
    let running = start().await;
    let body = json!({"model": "small", "input": ["hello", "hello", "other"]});
    let list = ask(&running, "embeddings", &body).await.json();
    assert_eq!(list["data"][0]["embedding"], list["data"][1]["embedding"]);
    assert_ne!(list["data"][0]["embedding"], list["data"][2]["embedding"]);
    let attempt = running.ledger().attempts().remove(0);
    assert_eq!(
        (attempt.wire, attempt.outcome),
        (Wire::OpenAiEmbeddings, Outcome::Answered)
    );
    assert_eq!((attempt.input_tokens, attempt.output_tokens), (6, 0));
    assert_eq!(attempt.cost_nano_usd, 600);
    let unknown = json!({"model": "huge", "input": "hello"});
    let heard = ask(&running, "embeddings", &unknown).await;
    assert_eq!(heard.status, Some(404));
    assert_eq!(heard.json()["error"]["code"], "model_not_found");
}

#[tokio::test]
async fn images_come_whole_and_piece_by_piece() {
    let running = start().await;
    let mut body = json!({"model": "large", "prompt": "a cat", "n": 2, "size": "auto"});
    let whole = ask(&running, "images/generations", &body).await.json();
    let images = whole["data"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    assert!(
        images[0]["b64_json"]
            .as_str()
            .unwrap()
            .starts_with("iVBORw0KGgo")
    );
    assert_ne!(images[0], images[1]);
    assert_eq!(whole["usage"]["total_tokens"], 2 + 2 * 272);
    assert_eq!(
        (&whole["size"], &whole["output_format"]),
        (&json!("1024x1024"), &json!("png"))
    );
    body["n"] = json!(1);
    body["stream"] = json!(true);
    body["partial_images"] = json!(2);
    let events = ask(&running, "images/generations", &body)
        .await
        .named_events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let partial = "image_generation.partial_image";
    assert_eq!(names, [partial, partial, "image_generation.completed"]);
    assert_eq!(events[1].1["partial_image_index"], 1);
    assert_eq!(events[2].1["b64_json"], images[0]["b64_json"]);
    assert_eq!(events[2].1["usage"]["output_tokens"], 272);
    let billed: Vec<u64> = running
        .ledger()
        .attempts()
        .iter()
        .map(|a| a.output_tokens)
        .collect();
    assert_eq!(billed, [544, 272]);
}

#[tokio::test]
async fn faults_strike_here_too() {
    let cases = [
        ("embeddings", json!({"model": "small", "input": "a"})),
        (
            "images/generations",
            json!({"model": "small", "prompt": "a"}),
        ),
        (
            "images/generations",
            json!({"model": "small", "prompt": "a", "stream": true}),
        ),
    ];
    let running = start().await;
    let script = running.script("alpha").unwrap();
    for (path, body) in &cases {
        script.fail(Fault::status(529));
        let heard = ask(&running, path, body).await;
        assert_eq!(heard.status, Some(529));
        assert_eq!(heard.json()["error"]["type"], "overloaded_error");
        script.fail(Fault::ErrorInStream { content_chunks: 0 });
        let heard = ask(&running, path, body).await;
        assert!(heard.text().contains("server_error"), "{}", heard.text());
        script.fail(Fault::DoneAtOnce);
        let heard = ask(&running, path, body).await;
        assert_eq!((heard.status, heard.end), (Some(200), End::Tidy));
        assert!(heard.body.is_empty() || heard.json()["data"] == json!([]));
        script.fail(Fault::CutAfter { content_chunks: 1 });
        assert_eq!(ask(&running, path, body).await.end, End::Closed);
    }
    let faulted = Outcome::Faulted(FaultKind::DoneAtOnce);
    assert_eq!(running.ledger().count(|a| a.outcome == faulted), 3);
}
