//! Gemini's wire as a raw client sees it.
//!
//! It must not use the code it tests.

use serde_json::{Value, json};

use super::speakers::{Speaker, Wish, schema};
use crate::server::Running;
use crate::stand::{Heard, post, say, start};
use crate::wire::Wire;

async fn ask(running: &Running, model: &str, action: &str, body: &Value) -> Heard {
    let path = format!("/alpha/v1beta/models/{model}:{action}");
    say(running.address(), &post(&path, "", body)).await
}

fn user(text: &str) -> Value {
    json!({"role": "user", "parts": [{"text": text}]})
}

#[tokio::test]
async fn an_answer_has_its_form() {
    let running = start().await;
    let body = json!({"contents": [user("one two three")]});
    let heard = ask(&running, "small", "generateContent", &body).await;
    assert!(heard.head.contains("x-gemini-service-tier: standard"));
    let answer = heard.json();
    let candidate = &answer["candidates"][0];
    let content = json!({"parts": [{"text": "echo: one two three"}], "role": "model"});
    assert_eq!(candidate["content"], content);
    assert_eq!(
        (&candidate["finishReason"], &candidate["index"]),
        (&json!("STOP"), &json!(0))
    );
    assert_eq!(answer["modelVersion"], "small");
    assert!(answer["responseId"].is_string());
    let usage = &answer["usageMetadata"];
    assert_eq!(usage["promptTokenCount"], 7);
    assert_eq!(usage["candidatesTokenCount"], 4);
    assert_eq!(usage["totalTokenCount"], 11);
}

#[tokio::test]
async fn a_stream_counts_up_and_ends_with_its_reason() {
    let running = start().await;
    for (speaker, sort) in [
        (Speaker::Gemini, "text/event-stream"),
        (Speaker::GeminiArray, "application/json"),
    ] {
        let mut wish = Wish::new("one two");
        wish.stream = true;
        wish.reasoning = true;
        let heard = speaker.ask(&running, &wish).await;
        assert!(
            heard.head.contains(&format!("content-type: {sort}")),
            "{}",
            heard.head
        );
        let chunks = match speaker {
            Speaker::Gemini => heard.chunks(),
            _ => heard.json().as_array().unwrap().clone(),
        };
        assert_eq!(chunks.len(), 3 + 3 + 1);
        let told = |name: &str| -> Vec<u64> {
            let of = |chunk: &Value| chunk["usageMetadata"][name].as_u64().unwrap_or(0);
            chunks.iter().map(of).collect()
        };
        assert_eq!(told("thoughtsTokenCount"), [1, 2, 3, 3, 3, 3, 3]);
        assert_eq!(told("candidatesTokenCount"), [0, 0, 0, 1, 2, 3, 3]);
        let (last, others) = chunks.split_last().unwrap();
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
        for chunk in others {
            assert!(chunk["candidates"][0].get("finishReason").is_none());
            assert_eq!(chunk["responseId"], last["responseId"]);
        }
    }
}

#[tokio::test]
async fn hidden_thoughts_are_billed_all_the_same() {
    let running = start().await;
    let body = json!({
        "contents": [user("hi")], "generation_config": {"thinking_config": {"thinking_budget": -1}},
    });
    let whole = ask(&running, "small", "generateContent", &body).await;
    assert!(!whole.text().contains("\"thought\":true"));
    assert_eq!(whole.json()["usageMetadata"]["thoughtsTokenCount"], 3);
    let heard = ask(&running, "small", "streamGenerateContent?alt=sse", &body).await;
    let chunks = heard.chunks();
    assert_eq!(chunks[0]["usageMetadata"]["thoughtsTokenCount"], 3);
    let billed: Vec<u64> = running
        .ledger()
        .attempts()
        .iter()
        .map(|a| a.output_tokens)
        .collect();
    assert_eq!(billed, [5, 5]);
}

#[tokio::test]
async fn a_signed_call_makes_its_round_trip() {
    let running = start().await;
    let tools = json!([{"function_declarations": [
        {"name": "one", "parameters": {"type": "OBJECT", "required": ["city"],
            "properties": {"city": {"type": "STRING"}}}},
        {"name": "two", "parametersJsonSchema": schema()},
    ]}]);
    let model = "tiny-gemini-3";
    let mut body = json!({"contents": [user("call both tools")], "tools": tools});
    let first = ask(&running, model, "generateContent", &body).await.json();
    let content = &first["candidates"][0]["content"];
    let parts = content["parts"].as_array().unwrap();
    assert!(parts[0]["thoughtSignature"].is_string());
    assert!(parts[1].get("thoughtSignature").is_none());
    assert_eq!(parts[0]["functionCall"]["args"], json!({"city": "sample"}));
    assert_eq!(first["candidates"][0]["finishReason"], "STOP");
    let response =
        |name: &str, said: Value| json!({"functionResponse": {"name": name, "response": said}});
    let results = json!({"role": "user", "parts": [
        response("one", json!({"result": "18 °C"})), response("two", json!({"n": 1, "m": 2})),
    ]});
    body["contents"] = json!([user("call both tools"), content, results]);
    let second = ask(&running, model, "generateContent", &body).await.json();
    let text = &second["candidates"][0]["content"]["parts"][0]["text"];
    assert_eq!(text, "The tool said: 18 °C; {\"n\":1,\"m\":2}");

    let signed = |signature: Value| {
        let mut content = content.clone();
        content["parts"][0]["thoughtSignature"] = signature;
        json!([user("call both tools"), content, results])
    };
    for (signature, status) in [
        (Value::Null, 400),
        (json!("bm8="), 400),
        (json!("skip_thought_signature_validator"), 200),
    ] {
        body["contents"] = signed(signature);
        let heard = ask(&running, model, "generateContent", &body).await;
        assert_eq!(heard.status, Some(status), "{}", heard.text());
    }
    // An older model neither signs nor asks for it.
    body["contents"] = signed(Value::Null);
    assert_eq!(
        ask(&running, "small", "generateContent", &body)
            .await
            .status,
        Some(200)
    );
}

#[tokio::test]
async fn calls_arrive_whole_in_a_stream() {
    let running = start().await;
    let mut wish = Wish::new("call all tools");
    wish.stream = true;
    wish.tools = 2;
    let chunks = Speaker::Gemini.ask(&running, &wish).await.chunks();
    assert_eq!(chunks.len(), 3);
    let call =
        |index: usize| &chunks[index]["candidates"][0]["content"]["parts"][0]["functionCall"];
    assert_eq!(
        (&call(0)["name"], &call(1)["name"]),
        (&json!("one"), &json!("two"))
    );
    assert_eq!(chunks[2]["candidates"][0]["finishReason"], "STOP");
}

#[tokio::test]
async fn tokens_are_counted_for_nothing() {
    let running = start().await;
    let inner = json!({"contents": [user("one two three")]});
    let wrapped = json!({"generateContentRequest": {
        "model": "models/small", "contents": [user("one two three")],
        "systemInstruction": {"parts": [{"text": "be brief"}]}}});
    for (body, tokens) in [(inner, 7), (wrapped, 12)] {
        let heard = ask(&running, "small", "countTokens", &body).await;
        assert_eq!(heard.json()["totalTokens"], tokens, "{}", heard.text());
    }
    let attempts = running.ledger().attempts();
    assert_eq!(attempts[0].wire, Wire::GeminiCountTokens);
    assert_eq!(running.ledger().totals().cost_nano_usd, 0);
}

#[tokio::test]
async fn tiers_are_told_in_head_and_body() {
    let running = start().await;
    let body = json!({"contents": [user("hi")], "serviceTier": "flex"});
    let heard = ask(&running, "small", "generateContent", &body).await;
    assert!(heard.head.contains("x-gemini-service-tier: flex"));
    assert_eq!(heard.json()["usageMetadata"]["serviceTier"], "flex");
    assert_eq!(
        running.gemini_base_url("alpha"),
        format!("http://{}/alpha/v1beta", running.address())
    );
    let list = b"GET /alpha/v1beta/models HTTP/1.1\r\nhost: sim\r\n\r\n";
    let list = say(running.address(), list).await.json();
    assert_eq!(list["models"][0]["name"], "models/large");
}
