//! OpenAI's Responses wire as a raw client sees it.
//!
//! It must not use the code it tests.

use serde_json::{Value, json};

use super::speakers::{Speaker, Wish, schema};
use crate::ledger::Outcome;
use crate::server::Running;
use crate::stand::{Heard, post, say, start};

async fn ask(running: &Running, body: &Value) -> Heard {
    say(running.address(), &post("/alpha/v1/responses", "", body)).await
}

async fn call(running: &Running, method: &str, path: &str, key: &str) -> Heard {
    let length = if method == "POST" {
        "content-length: 0\r\n"
    } else {
        ""
    };
    let request =
        format!("{method} /alpha/v1/responses/{path} HTTP/1.1\r\nhost: sim\r\n{key}{length}\r\n");
    say(running.address(), request.as_bytes()).await
}

fn body(input: &Value) -> Value {
    json!({
        "model": "small", "input": input,
        "tools": [{"type": "function", "name": "one", "parameters": schema()}],
    })
}

#[tokio::test]
async fn a_response_has_its_form() {
    let running = start().await;
    let mut asked = body(&json!("one two three"));
    asked["metadata"] = json!({"a": "b"});
    asked["service_tier"] = json!("flex");
    let heard = ask(&running, &asked).await;
    assert!(heard.head.contains("x-request-id: req_"));
    let response = heard.json();
    assert!(response["id"].as_str().unwrap().starts_with("resp_"));
    assert_eq!(
        (&response["object"], &response["status"]),
        (&json!("response"), &json!("completed"))
    );
    let item = &response["output"][0];
    assert_eq!(
        (&item["type"], &item["role"]),
        (&json!("message"), &json!("assistant"))
    );
    assert_eq!(item["content"][0]["text"], "echo: one two three");
    assert_eq!(response["metadata"], json!({"a": "b"}));
    assert_eq!(response["tools"], asked["tools"]);
    assert_eq!(
        (&response["service_tier"], &response["store"]),
        (&json!("flex"), &json!(true))
    );
    assert_eq!(response["usage"]["total_tokens"], 11);
}

/// The events' names, those that come in a row once.
fn order(heard: &Heard) -> Vec<String> {
    let names = heard.named_events().into_iter();
    let mut names: Vec<String> = names
        .map(|(name, _)| name.strip_prefix("response.").unwrap().to_owned())
        .collect();
    names.dedup();
    names
}

#[tokio::test]
async fn a_stream_has_the_documented_order() {
    let running = start().await;
    let mut wish = Wish::new("hello");
    wish.stream = true;
    wish.reasoning = true;
    let heard = Speaker::Responses.ask(&running, &wish).await;
    assert!(heard.head.contains("content-type: text/event-stream"));
    assert!(!heard.text().contains("[DONE]"));
    let text = [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(order(&heard), text);
    let events = heard.named_events();
    let (_, last) = events.last().unwrap();
    let dones = events
        .iter()
        .filter(|(name, _)| name == "response.output_item.done");
    let items: Vec<&Value> = dones.map(|(_, data)| &data["item"]).collect();
    let output: Vec<&Value> = last["response"]["output"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(items, output);
    wish.prompt = "call the tool";
    wish.tools = 1;
    wish.reasoning = false;
    let call = [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(order(&Speaker::Responses.ask(&running, &wish).await), call);
    wish.prompt = "refuse this";
    let heard = Speaker::Responses.ask(&running, &wish).await;
    assert_eq!(order(&heard)[4..6], ["refusal.delta", "refusal.done"]);
    wish.prompt = "a b c";
    wish.limit = Some(2);
    let heard = Speaker::Responses.ask(&running, &wish).await;
    let (name, last) = heard.named_events().pop().unwrap();
    assert_eq!(name, "response.incomplete");
    let details = json!({"reason": "max_output_tokens"});
    assert_eq!(last["response"]["incomplete_details"], details);
}

#[tokio::test]
async fn a_conversation_goes_on_from_a_stored_response() {
    let running = start().await;
    let first = ask(&running, &body(&json!("call the tool"))).await.json();
    let call_id = &first["output"][0]["call_id"];
    let mut next = body(&json!([
        {"type": "function_call_output", "call_id": call_id, "output": "18 °C"}
    ]));
    next["previous_response_id"] = first["id"].clone();
    let second = ask(&running, &next).await.json();
    assert_eq!(
        second["output"][0]["content"][0]["text"],
        "The tool said: 18 °C"
    );
    assert_eq!(second["previous_response_id"], first["id"]);
    let mut third = body(&json!("what did I say first?"));
    third["previous_response_id"] = second["id"].clone();
    let third = ask(&running, &third).await.json();
    let said = "You said first: call the tool";
    assert_eq!(third["output"][0]["content"][0]["text"], said);
    // The call still wants its result.
    let mut early = body(&json!("and?"));
    early["previous_response_id"] = first["id"].clone();
    assert_eq!(ask(&running, &early).await.status, Some(400));
    early["previous_response_id"] = json!("resp_unknown");
    let heard = ask(&running, &early).await;
    assert_eq!(heard.status, Some(404));
    let error = heard.json();
    assert_eq!(error["error"]["code"], "previous_response_not_found");
    assert_eq!(error["error"]["param"], "previous_response_id");
}

#[tokio::test]
async fn the_same_conversation_can_be_sent_in_full() {
    let running = start().await;
    let mut asked = body(&json!("call the tool"));
    asked["reasoning"] = json!({"effort": "low"});
    asked["include"] = json!(["reasoning.encrypted_content"]);
    let first = ask(&running, &asked).await.json();
    let output = first["output"].as_array().unwrap();
    assert!(output[0]["encrypted_content"].is_string());
    assert_eq!(output[0]["summary"], json!([]));
    assert_eq!(
        first["usage"]["output_tokens_details"]["reasoning_tokens"],
        3
    );
    let mut input = vec![json!({"role": "user", "content": "call the tool"})];
    input.extend(output.iter().cloned());
    let result = json!({"type": "function_call_output", "call_id": output[1]["call_id"],
        "output": [{"type": "input_text", "text": "18 °C"}]});
    input.push(result.clone());
    asked["input"] = json!(input);
    let second = ask(&running, &asked).await.json();
    assert_eq!(
        second["output"][1]["content"][0]["text"],
        "The tool said: 18 °C"
    );
    let reference = json!({"type": "item_reference", "id": output[1]["id"]});
    asked["input"] = json!([reference, result]);
    assert_eq!(ask(&running, &asked).await.status, Some(200));
    input[1]["encrypted_content"] = json!("bm8=");
    asked["input"] = json!(input);
    assert_eq!(ask(&running, &asked).await.status, Some(400));
}

#[tokio::test]
async fn stored_responses_are_looked_at_and_deleted() {
    let running = start().await;
    let mut asked = body(&json!("hello"));
    let made = ask(&running, &asked).await.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(call(&running, "GET", id, "").await.json(), made);
    let other = "authorization: Bearer sk-other\r\n";
    assert_eq!(call(&running, "GET", id, other).await.status, Some(404));
    let cancel = call(&running, "POST", &format!("{id}/cancel"), "").await;
    assert_eq!(cancel.status, Some(400));
    let deleted = call(&running, "DELETE", id, "").await.json();
    assert_eq!(
        (&deleted["id"], &deleted["deleted"]),
        (&made["id"], &json!(true))
    );
    let gone = call(&running, "GET", id, "").await;
    assert_eq!(gone.status, Some(404));
    assert_eq!(gone.json()["error"]["type"], "invalid_request_error");
    asked["store"] = json!(false);
    let made = ask(&running, &asked).await.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(call(&running, "GET", id, "").await.status, Some(404));
    asked["previous_response_id"] = json!(id);
    assert_eq!(ask(&running, &asked).await.status, Some(404));
    // Looking costs nothing and is no attempt.
    assert_eq!(running.ledger().totals().attempts, 3);
}

#[tokio::test]
async fn work_in_the_background_is_announced_and_found_later() {
    let running = start().await;
    let mut asked = body(&json!("hello"));
    asked["background"] = json!(true);
    let announced = ask(&running, &asked).await.json();
    let id = announced["id"].as_str().unwrap();
    assert_eq!(
        (&announced["status"], &announced["output"]),
        (&json!("queued"), &json!([]))
    );
    let first = call(&running, "GET", id, "").await.json();
    assert_eq!(
        (&first["status"], &first["usage"]),
        (&json!("in_progress"), &Value::Null)
    );
    let later = call(&running, "GET", id, "").await.json();
    assert_eq!(later["status"], "completed");
    assert_eq!(later["output"][0]["content"][0]["text"], "echo: hello");
    let attempt = running.ledger().attempts().remove(0);
    assert_eq!(
        (attempt.outcome, attempt.output_tokens),
        (Outcome::Answered, 2)
    );
    let second = ask(&running, &asked).await.json();
    let path = format!("{}/cancel", second["id"].as_str().unwrap());
    let cancelled = call(&running, "POST", &path, "").await.json();
    assert_eq!(cancelled["status"], "cancelled");
    asked["stream"] = json!(true);
    let heard = ask(&running, &asked).await;
    assert_eq!(heard.named_events()[1].0, "response.queued");
}
