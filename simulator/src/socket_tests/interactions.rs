//! Gemini's interactions as a raw client sees them.
//!
//! It must not use the code it tests.

use serde_json::{Value, json};

use super::speakers::{Speaker, Wish, schema};
use crate::server::Running;
use crate::stand::{Heard, post, say, start};

const MODEL: &str = "tiny-gemini-3";

async fn ask(running: &Running, body: &Value) -> Heard {
    say(
        running.address(),
        &post("/alpha/v1beta/interactions", "", body),
    )
    .await
}

async fn send(running: &Running, method: &str, path: &str, key: &str) -> Heard {
    let request = format!(
        "{method} /alpha/v1beta/interactions/{path} HTTP/1.1\r\nhost: sim\r\n\
         x-goog-api-key: {key}\r\ncontent-length: 0\r\n\r\n"
    );
    say(running.address(), request.as_bytes()).await
}

fn body(input: Value) -> Value {
    let tool = json!({"type": "function", "name": "one", "parameters": schema()});
    json!({"model": MODEL, "input": input, "tools": [tool]})
}

#[tokio::test]
async fn an_interaction_has_its_form() {
    let running = start().await;
    let heard = ask(&running, &json!({"model": MODEL, "input": "one two three"})).await;
    assert!(heard.head.contains("x-gemini-service-tier: standard"));
    let mut answer = heard.json();
    let id = answer["id"].take();
    assert!(id.as_str().unwrap().starts_with("v1_"));
    let text = json!({"type": "text", "text": "echo: one two three"});
    let expected = json!({
        "id": null, "object": "interaction", "status": "completed", "model": MODEL,
        "created": "2025-10-09T08:53:20Z", "updated": "2025-10-09T08:53:20Z",
        "service_tier": "standard", "steps": [{"type": "model_output", "content": [text]}],
        "usage": {
            "total_tokens": 11, "total_input_tokens": 7,
            "input_tokens_by_modality": [{"modality": "text", "tokens": 7}],
            "total_cached_tokens": 0, "total_output_tokens": 4, "total_tool_use_tokens": 0,
            "total_thought_tokens": 0,
        },
    });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn a_stream_has_the_documented_order() {
    let running = start().await;
    let mut wish = Wish::new("call both tools");
    wish.stream = true;
    wish.reasoning = true;
    wish.tools = 2;
    let heard = Speaker::Interactions.ask(&running, &wish).await;
    assert!(heard.head.contains("content-type: text/event-stream"));
    let events = heard.finished_events();
    let mut order: Vec<String> = Vec::new();
    for (name, data) in &events {
        let sort = data["delta"]["type"].as_str();
        let sort = sort.or(data["step"]["type"].as_str());
        let step = format!("{name} {}", sort.unwrap_or_default());
        let step = step.trim().to_owned();
        if order.last() != Some(&step) {
            order.push(step);
        }
    }
    let call = ["step.start function_call", "step.delta arguments_delta"];
    let expected = [
        "interaction.created",
        "interaction.status_update",
        "step.start thought",
        "step.delta thought_summary",
        "step.delta thought_signature",
        "step.stop",
        call[0],
        call[1],
        "step.stop",
        call[0],
        call[1],
        "step.stop",
        "interaction.completed",
    ];
    assert_eq!(order, expected);
    let created = &events[0].1["interaction"];
    assert_eq!(created["status"], "in_progress");
    assert_eq!(events[1].1["interaction_id"], created["id"]);
    let completed = &events.last().unwrap().1["interaction"];
    assert_eq!(completed["id"], created["id"]);
    assert_eq!(completed["status"], "requires_action");
    assert!(completed.get("steps").is_none());
    let stops = events.iter().filter(|(name, _)| name == "step.stop");
    let indexes: Vec<&Value> = stops.map(|(_, data)| &data["index"]).collect();
    assert_eq!(indexes, [0, 1, 2]);
    let steps: Vec<&Value> = events.iter().map(|(_, data)| &data["step"]).collect();
    let calls: Vec<_> = steps.iter().filter(|s| !s["id"].is_null()).collect();
    assert_eq!(calls[0]["arguments"], json!({}));
    assert_ne!(calls[0]["id"], calls[1]["id"]);
}

#[tokio::test]
async fn a_tool_makes_its_round_trip_with_what_is_kept() {
    let running = start().await;
    let first = ask(&running, &body(json!("call the tool"))).await.json();
    assert_eq!(first["status"], "requires_action");
    let call = &first["steps"][1];
    assert_eq!(call["arguments"], json!({"city": "sample"}));
    let result = |id: &Value, result: Value| json!([{"type": "function_result", "call_id": id, "name": "one", "result": result}]);
    let mut next = body(result(&call["id"], json!("18 °C")));
    next["previous_interaction_id"] = first["id"].clone();
    let second = ask(&running, &next).await.json();
    assert_eq!(second["status"], "completed");
    let said = |answer: &Value| answer["steps"][0]["content"][0]["text"].clone();
    assert_eq!(said(&second), "The tool said: 18 °C");
    assert_eq!(second["previous_interaction_id"], first["id"]);
    // It goes on, from the streamed one as well.
    let mut third = body(json!("what did I say first?"));
    third["previous_interaction_id"] = second["id"].clone();
    third["stream"] = json!(true);
    let heard = ask(&running, &third).await;
    assert!(heard.text().contains("call"), "{}", heard.text());
    let created = heard.finished_events().remove(0).1;
    third["previous_interaction_id"] = created["interaction"]["id"].clone();
    third["stream"] = json!(false);
    let fourth = ask(&running, &third).await.json();
    assert_eq!(said(&fourth), "You said first: call the tool");

    next["input"] = result(&json!("call_other"), json!("18 °C"));
    assert_eq!(ask(&running, &next).await.status, Some(400));
    next["input"] = json!("never mind");
    assert_eq!(ask(&running, &next).await.status, Some(400));
    next["previous_interaction_id"] = json!("v1_unknown");
    assert_eq!(ask(&running, &next).await.status, Some(404));
}

#[tokio::test]
async fn a_tool_makes_its_round_trip_with_signed_steps() {
    let running = start().await;
    let mut asked = body(json!([{
        "type": "user_input", "content": [{"type": "text", "text": "call the tool"}],
    }]));
    asked["store"] = json!(false);
    let first = ask(&running, &asked).await.json();
    let steps = first["steps"].as_array().unwrap();
    assert_eq!(steps[0]["type"], "thought");
    assert!(steps[0]["signature"].is_string() && steps[0].get("summary").is_none());
    let history = |steps: &[Value]| {
        let mut input = asked["input"].as_array().unwrap().clone();
        input.extend(steps.iter().cloned());
        let parts = json!([{"type": "text", "text": "18 °C"}]);
        let id = &first["steps"][1]["id"];
        input.push(json!({"type": "function_result", "call_id": id, "result": parts}));
        let mut body = asked.clone();
        body["input"] = json!(input);
        body
    };
    let second = ask(&running, &history(steps)).await.json();
    let said = &second["steps"][0]["content"][0]["text"];
    assert_eq!(said, "The tool said: 18 °C");
    let heard = ask(&running, &history(&steps[1..])).await;
    assert_eq!(heard.status, Some(400));
    assert!(heard.text().contains("missing a thought_signature"));
    let mut forged = steps.clone();
    forged[0]["signature"] = json!("AAAA");
    let heard = ask(&running, &history(&forged)).await;
    assert!(heard.status == Some(400) && heard.text().contains("Corrupted thought"));
    let mut gone = body(json!("and?"));
    gone["previous_interaction_id"] = first["id"].clone();
    assert_eq!(ask(&running, &gone).await.status, Some(404));
}

#[tokio::test]
async fn hidden_thoughts_are_signed_and_billed() {
    let running = start().await;
    let mut asked = json!({
        "model": "small", "input": "hi", "generation_config": {"thinking_level": "low"},
    });
    let whole = ask(&running, &asked).await.json();
    let thought = &whole["steps"][0];
    assert!(thought["signature"].is_string() && thought.get("summary").is_none());
    assert_eq!(whole["usage"]["total_thought_tokens"], 3);
    asked["stream"] = json!(true);
    let heard = ask(&running, &asked).await;
    assert!(!heard.text().contains("thought_summary"));
    assert!(heard.text().contains("thought_signature"));
    let attempts = running.ledger().attempts();
    let billed: Vec<u64> = attempts.iter().map(|a| a.output_tokens).collect();
    assert_eq!(billed, [5, 5]);
}

#[tokio::test]
async fn what_is_kept_is_looked_at_and_deleted_by_its_key() {
    let running = start().await;
    let asked = json!({"model": MODEL, "input": "hello", "labels": {"a": "b"}});
    let key = "x-goog-api-key: mine\r\n";
    let request = post("/alpha/v1/interactions", key, &asked);
    let first = say(running.address(), &request).await.json();
    assert_eq!(first["labels"], json!({"a": "b"}));
    let id = first["id"].as_str().unwrap();
    assert_eq!(send(&running, "GET", id, "mine").await.json(), first);
    let query = format!("{id}?include_input=true");
    let heard = send(&running, "GET", &query, "mine").await;
    assert_eq!(heard.json()["input"], "hello");
    let streamed = send(&running, "GET", &format!("{id}?stream=true"), "mine").await;
    assert_eq!(streamed.status, Some(400));
    let heard = send(&running, "GET", id, "other").await;
    assert_eq!(heard.status, Some(404));
    assert_eq!(heard.json()["error"]["status"], "NOT_FOUND");
    let cancel = format!("{id}/cancel");
    let heard = send(&running, "POST", &cancel, "mine").await;
    assert_eq!(heard.status, Some(400));
    assert_eq!(heard.json()["error"]["status"], "INVALID_ARGUMENT");
    assert_eq!(
        send(&running, "POST", &cancel, "other").await.status,
        Some(404)
    );
    assert_eq!(
        send(&running, "DELETE", id, "other").await.status,
        Some(404)
    );
    let heard = send(&running, "DELETE", id, "mine").await;
    assert_eq!((heard.status, heard.text().as_str()), (Some(200), "{}"));
    assert_eq!(send(&running, "GET", id, "mine").await.status, Some(404));
    // The shelf of the other family has none of it.
    let path = format!("GET /alpha/v1/responses/{id} HTTP/1.1\r\nhost: sim\r\n\r\n");
    assert_eq!(
        say(running.address(), path.as_bytes()).await.status,
        Some(404)
    );
}

#[tokio::test]
async fn a_refused_answer_has_failed() {
    let running = start().await;
    let failed = ask(&running, &body(json!("please refuse this")))
        .await
        .json();
    assert_eq!(
        (&failed["status"], &failed["steps"]),
        (&json!("failed"), &json!([]))
    );
    assert_eq!(failed["errors"][0]["code"], "safety");
}
