//! Anthropic's wire as a raw client sees it.
//!
//! It must not use the code it tests.

use serde_json::{Value, json};

use super::speakers::{Speaker, Wish, schema};
use crate::ledger::Outcome;
use crate::server::Running;
use crate::stand::{Heard, post, say, start};
use crate::wire::Wire;

const VERSION: &str = "anthropic-version: 2023-06-01\r\n";

async fn ask(running: &Running, path: &str, headers: &str, body: &Value) -> Heard {
    let path = format!("/alpha/v1/{path}");
    say(running.address(), &post(&path, headers, body)).await
}

fn body(messages: &Value) -> Value {
    json!({
        "model": "small", "max_tokens": 100, "messages": messages,
        "tools": [{"name": "one", "input_schema": schema()}],
    })
}

#[tokio::test]
async fn a_message_has_its_form() {
    let running = start().await;
    let body = body(&json!([{"role": "user", "content": "one two three"}]));
    let heard = ask(&running, "messages", VERSION, &body).await;
    assert!(heard.head.contains("\nrequest-id: req_"));
    let message = heard.json();
    assert!(message["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(
        (&message["type"], &message["role"]),
        (&json!("message"), &json!("assistant"))
    );
    let content = json!([{"type": "text", "text": "echo: one two three"}]);
    assert_eq!(message["content"], content);
    assert_eq!(message["stop_sequence"], Value::Null);
    assert_eq!(message["usage"]["input_tokens"], 7);
    assert_eq!(message["usage"]["cache_read_input_tokens"], 0);
    assert_eq!(message["usage"]["output_tokens"], 4);
    assert_eq!(message["usage"]["service_tier"], "standard");
}

#[tokio::test]
async fn a_stream_has_the_documented_order() {
    let running = start().await;
    let mut wish = Wish::new("call both tools");
    wish.stream = true;
    wish.reasoning = true;
    wish.tools = 2;
    let heard = Speaker::Messages.ask(&running, &wish).await;
    assert!(heard.head.contains("content-type: text/event-stream"));
    let events = heard.named_events();
    let mut order: Vec<String> = Vec::new();
    for (name, data) in &events {
        let sort = data["delta"]["type"].as_str();
        let sort = sort.or(data["content_block"]["type"].as_str());
        let step = format!("{name} {}", sort.unwrap_or_default())
            .trim()
            .to_owned();
        if order.last() != Some(&step) {
            order.push(step);
        }
    }
    let call = [
        "content_block_start tool_use",
        "content_block_delta input_json_delta",
    ];
    let stop = "content_block_stop";
    let expected = [
        "message_start",
        "ping",
        "content_block_start thinking",
        "content_block_delta thinking_delta",
        "content_block_delta signature_delta",
        stop,
        call[0],
        call[1],
        stop,
        call[0],
        call[1],
        stop,
        "message_delta",
        "message_stop",
    ];
    assert_eq!(order, expected);
    let (_, start) = &events[0];
    assert_eq!(start["message"]["content"], json!([]));
    assert_eq!(start["message"]["stop_reason"], Value::Null);
    assert_eq!(start["message"]["usage"]["output_tokens"], 1);
    let indexes: Vec<&Value> = events
        .iter()
        .filter(|(name, _)| name == "content_block_stop")
        .map(|(_, data)| &data["index"])
        .collect();
    assert_eq!(indexes, [0, 1, 2]);
    let blocks = events.iter().map(|(_, data)| &data["content_block"]);
    let ids: Vec<&str> = blocks.filter_map(|block| block["id"].as_str()).collect();
    assert!(ids.iter().all(|id| id.starts_with("toolu_")) && ids[0] != ids[1]);
}

#[tokio::test]
async fn a_tool_makes_its_round_trip() {
    let running = start().await;
    let user = json!({"role": "user", "content": "call the tool"});
    let mut asked = body(&json!([user]));
    asked["thinking"] = json!({"type": "enabled", "budget_tokens": 1_024});
    asked["max_tokens"] = json!(2_000);
    let first = ask(&running, "messages", VERSION, &asked).await.json();
    let call = &first["content"][1];
    let turn = json!({"role": "assistant", "content": first["content"]});
    let result = |id: &Value| {
        json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": "18 °C"}]},
        ]})
    };
    asked["messages"] = json!([user, turn, result(&call["id"])]);
    let second = ask(&running, "messages", VERSION, &asked).await.json();
    assert_eq!(second["content"][1]["text"], "The tool said: 18 °C");

    let mut forged = turn.clone();
    forged["content"][0]["thinking"] = json!("thinking of something else");
    asked["messages"] = json!([user, forged, result(&call["id"])]);
    let heard = ask(&running, "messages", VERSION, &asked).await;
    assert_eq!(heard.status, Some(400));
    assert!(heard.text().contains("Invalid `signature`"));
    asked["messages"] = json!([user, turn, result(&json!("toolu_other"))]);
    assert_eq!(
        ask(&running, "messages", VERSION, &asked).await.status,
        Some(400)
    );
}

#[tokio::test]
async fn omitted_thoughts_are_signed_and_billed() {
    let running = start().await;
    let mut asked = body(&json!([{"role": "user", "content": "hi"}]));
    asked["thinking"] = json!({"type": "adaptive", "display": "omitted"});
    let whole = ask(&running, "messages", VERSION, &asked).await.json();
    assert_eq!(whole["content"][0]["thinking"], "");
    assert!(whole["content"][0]["signature"].is_string());
    assert_eq!(whole["usage"]["output_tokens"], 5);
    asked["stream"] = json!(true);
    let heard = ask(&running, "messages", VERSION, &asked).await;
    assert!(!heard.text().contains("thinking_delta"));
    assert!(heard.text().contains("signature_delta"));
    let billed: Vec<u64> = running
        .ledger()
        .attempts()
        .iter()
        .map(|a| a.output_tokens)
        .collect();
    assert_eq!(billed, [5, 5]);
}

#[tokio::test]
async fn tokens_are_counted_for_nothing() {
    let running = start().await;
    let mut asked = json!({
        "model": "small", "system": "be brief",
        "messages": [{"role": "user", "content": "one two three"}],
    });
    let heard = ask(&running, "messages/count_tokens", VERSION, &asked).await;
    // 21 bytes are six tokens, and two messages.
    assert_eq!(heard.json(), json!({"input_tokens": 12}));
    asked["max_tokens"] = json!(9);
    let message = ask(&running, "messages", VERSION, &asked).await.json();
    assert_eq!(message["usage"]["input_tokens"], 12);
    let attempts = running.ledger().attempts();
    assert_eq!(attempts[0].wire, Wire::AnthropicCountTokens);
    assert_eq!(attempts[0].outcome, Outcome::Answered);
    assert_eq!(
        (attempts[0].input_tokens, attempts[0].cost_nano_usd),
        (0, 0)
    );
}

#[tokio::test]
async fn the_version_is_wanted_and_bearer_keys_are_taken() {
    let running = start().await;
    let asked = body(&json!([{"role": "user", "content": "hi"}]));
    let heard = ask(&running, "messages", "", &asked).await;
    assert_eq!(heard.status, Some(400));
    let error = heard.json();
    assert_eq!(
        (&error["type"], &error["error"]["type"]),
        (&json!("error"), &json!("invalid_request_error"))
    );
    assert!(error["request_id"].as_str().unwrap().starts_with("req_"));
    let bearer = format!("{VERSION}authorization: Bearer sk-beta\r\n");
    let request = post("/beta/v1/messages", &bearer, &asked);
    assert_eq!(say(running.address(), &request).await.status, Some(200));
    let list = format!("GET /alpha/v1/models HTTP/1.1\r\nhost: sim\r\n{VERSION}\r\n");
    let list = say(running.address(), list.as_bytes()).await.json();
    assert_eq!(
        (&list["data"][0]["type"], &list["has_more"]),
        (&json!("model"), &json!(false))
    );
}
