//! Streams: order, usage, broken ends, and clients that go away.

use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use spillway_simulator::{Fault, Outcome};

use crate::stand::{KEY, Stand, eventually, streaming};

fn ask(usage: bool) -> Value {
    let mut body = json!({ "model": "auto", "stream": true, "messages": [{ "role": "user", "content": "Tell me of the river, slowly and at length." }] });
    if usage {
        body["stream_options"] = json!({ "include_usage": true });
    }
    body
}

fn events(text: &str) -> Vec<&str> {
    text.split("\n\n")
        .filter_map(|event| event.trim().strip_prefix("data: "))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_relayed_whole_and_usage_shown_only_to_who_asked() {
    let stand = Stand::new().start().await;
    let url = format!("{}/v1/chat/completions", stand.url());
    for asked in [false, true] {
        let (head, body) = streaming(&url, KEY, &ask(asked)).await;
        assert_eq!(head.status, 200);
        assert!(head.header("content-type").starts_with("text/event-stream"));
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let events = events(&text);
        assert_eq!(events.last(), Some(&"[DONE]"));
        let chunks: Vec<Value> = events[..events.len() - 1]
            .iter()
            .map(|e| serde_json::from_str(e).unwrap())
            .collect();
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        let usages = chunks
            .iter()
            .filter(|chunk| chunk["usage"].is_object())
            .count();
        assert_eq!(usages, usize::from(asked));
    }
    let recorded = stand.recorded(|rows| rows.len() == 2).await;
    assert!(
        recorded
            .iter()
            .all(|row| row["output_tokens"].as_u64().unwrap() > 0),
        "usage is counted either way"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_cut_after_content_ends_with_an_error_and_never_as_done() {
    let stand = Stand::new().start().await;
    stand
        .script("alpha")
        .fail(Fault::CutAfter { content_chunks: 2 });
    let url = format!("{}/v1/chat/completions", stand.url());
    let (head, body) = streaming(&url, KEY, &ask(false)).await;
    assert_eq!(head.status, 200);
    let text = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
    assert!(text.contains("\"error\""), "{text}");
    assert!(!text.contains("[DONE]"));
    let recorded = stand.recorded(|rows| rows.len() == 1).await;
    assert_eq!(recorded[0]["ending"], "cut");
    assert_eq!(
        stand.simulator().ledger().totals().attempts,
        1,
        "nothing is tried again after content"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_closes_the_provider_and_is_recorded() {
    let stand = Stand::new().start().await;
    stand
        .script("alpha")
        .fail(Fault::HangAfter { content_chunks: 1 });
    let url = format!("{}/v1/chat/completions", stand.url());
    let (_, mut body) = streaming(&url, KEY, &ask(false)).await;
    let first = body.frame().await.unwrap().unwrap();
    assert!(!first.into_data().unwrap().is_empty());
    drop(body);
    let ledger = stand.simulator().ledger();
    eventually("the provider sees the close", || async {
        ledger.attempts().iter().any(|a| a.client_gone_ms.is_some())
    })
    .await;
    let recorded = stand.recorded(|rows| rows.len() == 1).await;
    assert_eq!(recorded[0]["ending"], "client_gone");
    assert_ne!(ledger.attempts()[0].outcome, Outcome::InFlight);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_silence_is_filled_with_comments_and_still_ends() {
    let stand = Stand::new()
        .limits("heartbeat_ms = 100\nidle_ms = 1000")
        .embedded()
        .start()
        .await;
    stand
        .script("alpha")
        .fail(Fault::HangAfter { content_chunks: 2 });
    let url = format!("{}/v1/chat/completions", stand.url());
    let (_, body) = streaming(&url, KEY, &ask(false)).await;
    let text = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
    let comments = text.matches("\n\n: waiting for the provider\n\n").count();
    assert!((1..=10).contains(&comments), "{text}");
    let beats = text.matches(": waiting").count();
    assert!((5..=10).contains(&beats), "{text}");
    assert!(text.contains("\"error\"") && !text.contains("[DONE]"));
}
