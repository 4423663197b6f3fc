//! Bedrock's wire as a raw client sees it.
//!
//! It must not use the code it tests. Good signatures were made by botocore.

use serde_json::{Value, json};

use super::speakers::{Speaker, Wish, schema};
use crate::answerer::Answerer;
use crate::config::{ProviderConfig, ServedModel, SimulatorConfig};
use crate::ledger::{Ledger, Outcome};
use crate::script::Fault;
use crate::server::Running;
use crate::stand::{Heard, post, say, start, start_with};
use crate::wire::Wire;

async fn ask(running: &Running, body: &Value) -> Heard {
    say(
        running.address(),
        &post("/alpha/model/small/converse", "", body),
    )
    .await
}

fn body(messages: &Value) -> Value {
    let tool = json!({"toolSpec": {"name": "one", "inputSchema": {"json": schema()}}});
    json!({"messages": messages, "toolConfig": {"tools": [tool]}})
}

fn user(content: &Value) -> Value {
    json!({"role": "user", "content": content})
}

#[tokio::test]
async fn an_answer_has_its_form() {
    let running = start().await;
    let heard = ask(
        &running,
        &body(&json!([user(&json!([{"text": "one two three"}]))])),
    )
    .await;
    assert!(heard.head.contains("content-type: application/json"));
    let answer = heard.json();
    let message = json!({"role": "assistant", "content": [{"text": "echo: one two three"}]});
    assert_eq!(answer["output"], json!({ "message": message }));
    let usage = json!({
        "inputTokens": 7, "outputTokens": 4, "totalTokens": 11, "cacheReadInputTokens": 0,
        "cacheWriteInputTokens": 0,
    });
    assert_eq!(answer["usage"], usage);
    assert_eq!(answer["stopReason"], "end_turn");
    assert_eq!(answer["serviceTier"], json!({"type": "default"}));
    assert!(answer["metrics"]["latencyMs"].is_u64());
    let id = heard.head.split("x-amzn-requestid: ").nth(1).unwrap();
    let id = id.lines().next().unwrap();
    assert_eq!(
        id.split('-').map(str::len).collect::<Vec<_>>(),
        [8, 4, 4, 4, 12]
    );
}

#[tokio::test]
async fn a_stream_has_the_documented_order() {
    let running = start().await;
    let mut wish = Wish::new("call both tools");
    wish.stream = true;
    wish.reasoning = true;
    wish.tools = 2;
    let heard = Speaker::Converse.ask(&running, &wish).await;
    let form = "content-type: application/vnd.amazon.eventstream";
    assert!(heard.head.contains(form), "{}", heard.head);
    let frames = heard.frames();
    let mut order: Vec<String> = Vec::new();
    for (name, data) in &frames {
        assert!(data["p"].is_string(), "{data}");
        let content = data["delta"].as_object().or(data["start"].as_object());
        let content = content.and_then(|content| content.iter().next());
        let sort = match content {
            Some((sort, value)) if value["signature"].is_string() => format!("{sort} signature"),
            Some((sort, _)) => sort.clone(),
            None => String::new(),
        };
        let step = format!("{name} {sort}").trim().to_owned();
        if order.last() != Some(&step) {
            order.push(step);
        }
    }
    let call = ["contentBlockStart toolUse", "contentBlockDelta toolUse"];
    let stop = "contentBlockStop";
    let expected = [
        "messageStart",
        "contentBlockDelta reasoningContent",
        "contentBlockDelta reasoningContent signature",
        stop,
        call[0],
        call[1],
        stop,
        call[0],
        call[1],
        stop,
        "messageStop",
        "metadata",
    ];
    assert_eq!(order, expected);
    let stops = frames.iter().filter(|(name, _)| name == stop);
    let indexes: Vec<&Value> = stops.map(|(_, data)| &data["contentBlockIndex"]).collect();
    assert_eq!(indexes, [0, 1, 2]);
    let ids: Vec<&str> = frames
        .iter()
        .filter_map(|(_, data)| data["start"]["toolUse"]["toolUseId"].as_str())
        .collect();
    assert!(ids.iter().all(|id| id.starts_with("tooluse_")) && ids[0] != ids[1]);
}

#[tokio::test]
async fn a_tool_makes_its_round_trip() {
    let running = start().await;
    let asking = user(&json!([{"text": "call the tool"}]));
    let mut asked = body(&json!([asking]));
    let thinking = json!({"type": "enabled", "budget_tokens": 1_024});
    asked["additionalModelRequestFields"] = json!({ "thinking": thinking });
    asked["inferenceConfig"] = json!({"maxTokens": 2_000});
    let first = ask(&running, &asked).await.json();
    let turn = first["output"]["message"].clone();
    let id = &turn["content"][1]["toolUse"]["toolUseId"];
    let result = |id: &Value| {
        let content = json!([{"text": "18 °C"}]);
        user(&json!([{"toolResult": {"toolUseId": id, "content": content}}]))
    };
    asked["messages"] = json!([asking, turn, result(id)]);
    let second = ask(&running, &asked).await.json();
    let said = &second["output"]["message"]["content"][1]["text"];
    assert_eq!(said, "The tool said: 18 °C");

    let mut forged = turn.clone();
    forged["content"][0]["reasoningContent"]["reasoningText"]["text"] = json!("something else");
    asked["messages"] = json!([asking, forged, result(id)]);
    let heard = ask(&running, &asked).await;
    assert_eq!(heard.status, Some(400));
    assert!(heard.text().contains("Invalid `signature`"));
    asked["messages"] = json!([asking, turn, result(&json!("tooluse_other"))]);
    assert_eq!(ask(&running, &asked).await.status, Some(400));
}

#[tokio::test]
async fn omitted_thoughts_are_signed_and_billed() {
    let running = start().await;
    let mut asked = body(&json!([user(&json!([{"text": "hi"}]))]));
    let thinking = json!({"type": "adaptive", "display": "omitted"});
    asked["additionalModelRequestFields"] = json!({ "thinking": thinking });
    let whole = ask(&running, &asked).await.json();
    let thought = &whole["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"];
    assert_eq!(thought["text"], "");
    assert!(thought["signature"].is_string());
    let request = post("/alpha/model/small/converse-stream", "", &asked);
    let frames = say(running.address(), &request).await.frames();
    let thoughts: Vec<&Value> = frames
        .iter()
        .map(|(_, data)| &data["delta"]["reasoningContent"])
        .filter(|thought| !thought.is_null())
        .collect();
    assert!(thoughts.len() == 1 && thoughts[0]["signature"].is_string());
    let attempts = running.ledger().attempts();
    let billed: Vec<u64> = attempts.iter().map(|a| a.output_tokens).collect();
    assert_eq!(billed, [5, 5]);
}

#[tokio::test]
async fn the_stop_sequence_is_named_where_it_is_asked_for() {
    let running = start().await;
    let mut wish = Wish::new("one two three");
    wish.stop = "two";
    let mut asked = Speaker::Converse.body(&wish);
    let plain = ask(&running, &asked).await.json();
    assert!(plain.get("additionalModelResponseFields").is_none());
    asked["additionalModelResponseFieldPaths"] = json!(["/stop_sequence"]);
    let named = ask(&running, &asked).await.json();
    let fields = json!({"stop_sequence": "two"});
    assert_eq!(named["additionalModelResponseFields"], fields);
}

#[tokio::test]
async fn errors_say_their_type_in_a_header() {
    let running = start().await;
    let script = running.script("alpha").unwrap();
    let asked = body(&json!([user(&json!([{"text": "hi"}]))]));
    for (status, name) in [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (408, "ModelTimeoutException"),
        (424, "ModelErrorException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
    ] {
        script.fail(Fault::status(status));
        let heard = ask(&running, &asked).await;
        assert_eq!(heard.status, Some(status));
        let header = format!("x-amzn-errortype: {}:", name.to_lowercase());
        assert!(heard.head.contains(&header), "{}", heard.head);
        let members = heard.json();
        assert_eq!(members.as_object().unwrap().len(), 1);
        assert!(members["message"].is_string());
    }
    let request = post("/alpha/model/small/invoke", "", &asked);
    let heard = say(running.address(), &request).await;
    assert_eq!(heard.status, Some(404));
    assert!(heard.head.contains("x-amzn-errortype: "));
}

/// The request that botocore signed: model, body, and the three headers.
const MODEL: &str = "anthropic.claude-v1:0";
const SIGNED: &str = "/alpha/model/anthropic.claude-v1%3A0/converse";
const SIGNATURE: &str = "d6a65d93631e6f8d30f0ae321476bf4ad39a7565684cb8096ff79622b289eb95";

fn signed(signature: &str) -> String {
    format!(
        "content-type: application/json\r\nx-amz-date: 20261127T070000Z\r\nauthorization: \
         AWS4-HMAC-SHA256 Credential=AKIATEST/20261127/us-east-1/bedrock/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, Signature={signature}\r\n"
    )
}

#[tokio::test]
async fn a_signature_is_checked() {
    let models = || vec![ServedModel::new(MODEL, 100, 400)];
    let providers = vec![
        ProviderConfig::new("alpha", models()).with_key("AKIATEST"),
        ProviderConfig::new("beta", models()).with_key("AKIAOTHER"),
    ];
    let running = start_with(SimulatorConfig::instant(Answerer::Echo, providers)).await;
    let asked = json!({"messages": [user(&json!([{"text": "one two three"}]))]});
    let ask = async |path: &str, headers: String, body: &Value| {
        say(running.address(), &post(path, &headers, body)).await
    };
    let heard = ask(SIGNED, signed(SIGNATURE), &asked).await;
    assert_eq!(heard.status, Some(200), "{}", heard.text());
    let attempts = running.ledger().attempts();
    let attempt = &attempts[0];
    assert_eq!(
        (attempt.wire, attempt.outcome),
        (Wire::BedrockConverse, Outcome::Answered)
    );
    assert_eq!(attempt.model, MODEL);
    assert_eq!(attempt.key_hash, Some(Ledger::key_hash("AKIATEST")));

    let forged = SIGNATURE.replace('d', "e");
    let mut other = asked.clone();
    other["messages"][0]["content"][0]["text"] = json!("four");
    for (path, headers, body) in [
        (SIGNED, signed(&forged), &asked),
        (SIGNED, signed(SIGNATURE), &other),
        (&format!("{SIGNED}-stream"), signed(SIGNATURE), &asked),
        (
            SIGNED,
            signed(SIGNATURE).replace("us-east-1", "us-west-2"),
            &asked,
        ),
    ] {
        let heard = ask(path, headers, body).await;
        assert_eq!(heard.status, Some(403));
        let sort = "x-amzn-errortype: invalidsignatureexception:";
        assert!(heard.head.contains(sort), "{}", heard.head);
        assert!(
            heard
                .text()
                .contains("does not match the signature you provided")
        );
    }
    let elsewhere = SIGNED.replace("alpha", "beta");
    let heard = ask(&elsewhere, signed(SIGNATURE), &asked).await;
    let sort = "x-amzn-errortype: unrecognizedclientexception:";
    assert!(heard.status == Some(403) && heard.head.contains(sort));
    let heard = ask(SIGNED, String::new(), &asked).await;
    let sort = "x-amzn-errortype: missingauthenticationtokenexception:";
    assert!(heard.status == Some(403) && heard.head.contains(sort));
    let bearer = "authorization: Bearer AKIATEST\r\n".to_owned();
    assert_eq!(ask(SIGNED, bearer, &asked).await.status, Some(200));
    let list = "GET /alpha/foundation-models HTTP/1.1\r\nhost: sim\r\n\
        authorization: Bearer AKIATEST\r\n\r\n";
    let list = say(running.address(), list.as_bytes()).await.json();
    assert_eq!(list["modelSummaries"][0]["modelId"], MODEL);
}
