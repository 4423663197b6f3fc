//! The simulator as a raw client sees it: answers, stream order, keys and the ledger.
//!
//! It must not use the crate's own client: what is on the socket is what counts.
//! Faults are in `faults`, the worlds behind the answers in `answerers`, what holds on
//! every wire in `wires` and `wire_faults`; the rest is one file per wire.

mod answerers;
mod caches;
mod converse;
mod faults;
mod gemini;
mod interactions;
mod media;
mod messages;
mod responses;
mod speakers;
mod tiers;
mod turns;
mod wire_faults;
mod wires;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::answerer::Answerer;
use crate::config::{ProviderConfig, SimulatorConfig};
use crate::ledger::{Attempt, Ledger, Outcome};
use crate::script::{Behaviour, Fault, Latency, Speed};
use crate::server::{Running, Simulator, StartError};
use crate::stand::{End, Heard, post, providers, say, say_in_vain, say_on, start, start_with};

fn body(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "one two three"}]})
}

async fn chat(running: &Running, body: &Value) -> Heard {
    let request = post("/alpha/v1/chat/completions", "", body);
    say(running.address(), &request).await
}

async fn chat_in_vain(running: &Running, body: &Value) -> Heard {
    let request = post("/alpha/v1/chat/completions", "", body);
    say_in_vain(running.address(), &request).await
}

/// The only attempt, once it has ended.
async fn the_attempt(ledger: &Ledger) -> Attempt {
    for _ in 0..200 {
        if ledger.in_flight() == 0 && ledger.totals().attempts == 1 {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    let mut attempts = ledger.attempts();
    assert_eq!(attempts.len(), 1);
    attempts.remove(0)
}

fn chunks(heard: &Heard) -> Vec<Value> {
    let mut events = heard.events();
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let parse = |event: String| serde_json::from_str(&event).unwrap();
    events.into_iter().map(parse).collect()
}

#[tokio::test]
async fn a_whole_answer_has_its_form_and_its_bill() {
    let running = start().await;
    let heard = chat(&running, &body("small", false)).await;
    assert_eq!((heard.status, heard.end), (Some(200), End::Tidy));
    assert!(heard.head.contains("content-type: application/json"));
    let answer = heard.json();
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "small");
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["content"], "echo: one two three");
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["finish_reason"], "stop");
    // 13 bytes are four tokens, and three for the message.
    assert_eq!(answer["usage"]["prompt_tokens"], 7);
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    assert_eq!(answer["usage"]["total_tokens"], 11);
    let attempt = the_attempt(&running.ledger()).await;
    assert_eq!(attempt.outcome, Outcome::Answered);
    assert_eq!((attempt.input_tokens, attempt.output_tokens), (7, 4));
    assert_eq!(attempt.cost_nano_usd, 7 * 100 + 4 * 400);
    assert_eq!(attempt.prompt_hash, Ledger::prompt_hash("one two three"));
    assert!(!attempt.streaming);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_has_the_documented_order() {
    let running = start().await;
    let mut asked = body("small", true);
    asked["stream_options"] = json!({"include_usage": true});
    let heard = chat(&running, &asked).await;
    assert_eq!((heard.status, heard.end), (Some(200), End::Tidy));
    assert!(heard.head.contains("content-type: text/event-stream"));
    let chunks = chunks(&heard);
    let delta = |index: usize| &chunks[index]["choices"][0]["delta"];
    assert_eq!(delta(0)["role"], "assistant");
    assert_eq!(delta(0)["content"], "");
    let text: String = (1..=4)
        .map(|index| delta(index)["content"].as_str().unwrap())
        .collect();
    assert_eq!(text, "echo: one two three");
    assert_eq!(delta(5), &json!({}));
    assert_eq!(chunks[5]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[6]["choices"], json!([]));
    assert_eq!(chunks[6]["usage"]["completion_tokens"], 4);
    assert_eq!(chunks.len(), 7);
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], chunks[0]["id"]);
    }
    for chunk in &chunks[..6] {
        assert_eq!(chunk.get("usage"), Some(&Value::Null));
    }
    for chunk in &chunks[..5] {
        assert_eq!(chunk["choices"][0]["finish_reason"], Value::Null);
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn usage_is_only_sent_where_asked_for() {
    let running = start().await;
    let chunks = chunks(&chat(&running, &body("small", true)).await);
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    assert!(chunks.iter().all(|chunk| chunk["choices"] != json!([])));
    let attempt = the_attempt(&running.ledger()).await;
    assert_eq!((attempt.input_tokens, attempt.output_tokens), (7, 4));
    assert!(attempt.streaming);
}

#[tokio::test]
async fn a_tool_call_is_named_first_and_then_argued() {
    let running = start().await;
    let schema =
        json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
    let mut asked = body("small", true);
    asked["messages"][0]["content"] = json!("call the tool");
    asked["tools"] =
        json!([{"type": "function", "function": {"name": "look", "parameters": schema}}]);
    let chunks = chunks(&chat(&running, &asked).await);
    let calls: Vec<&Value> = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0"))
        .collect();
    assert_eq!(calls[0]["function"]["name"], "look");
    assert!(calls[0]["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(calls[0]["type"], "function");
    for later in &calls[1..] {
        assert!(later.get("id").is_none() && later["function"].get("name").is_none());
    }
    let argument = |call: &&Value| call["function"]["arguments"].as_str().unwrap().to_owned();
    let arguments: String = calls.iter().map(argument).collect();
    assert_eq!(arguments, "{\"city\":\"sample\"}");
    assert!(calls.len() > 2);
    let last = &chunks[chunks.len() - 1]["choices"][0];
    assert_eq!(last["finish_reason"], "tool_calls");

    asked["stream"] = json!(false);
    let whole = chat(&running, &asked).await.json();
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["content"], Value::Null);
    assert_eq!(
        message["tool_calls"][0]["function"]["arguments"],
        json!(arguments)
    );
}

#[tokio::test]
async fn refusals_have_the_error_form_and_cost_nothing() {
    let running = start().await;
    let key = "authorization: Bearer sk-beta\r\n";
    let wrong = "authorization: Bearer sk-gamma\r\n";
    let mut foreign = body("small", false);
    foreign["start_within"] = json!("5m");
    let cases = [
        (
            "/beta/v1/chat/completions",
            "",
            body("small", false),
            401,
            "invalid_api_key",
        ),
        (
            "/beta/v1/chat/completions",
            wrong,
            body("small", false),
            401,
            "invalid_api_key",
        ),
        (
            "/beta/v1/chat/completions",
            key,
            body("huge", false),
            404,
            "model_not_found",
        ),
        (
            "/alpha/v1/chat/completions",
            "",
            json!({"model": "small"}),
            400,
            "",
        ),
        ("/alpha/v1/chat/completions", "", foreign, 400, ""),
    ];
    for (path, headers, body, status, code) in cases {
        let heard = say(running.address(), &post(path, headers, &body)).await;
        assert_eq!(
            (heard.status, heard.end),
            (Some(status), End::Tidy),
            "{body}"
        );
        let error = heard.json()["error"].clone();
        assert_eq!(error["code"].as_str().unwrap_or(""), code, "{error}");
        assert!(error["message"].is_string() && error.get("param").is_some());
    }
    let ledger = running.ledger();
    let statuses: Vec<Outcome> = ledger.attempts().iter().map(|a| a.outcome).collect();
    assert_eq!(statuses, [401, 401, 404, 400, 400].map(Outcome::Refused));
    assert_eq!(ledger.totals().cost_nano_usd, 0);
    let keys: Vec<_> = ledger.attempts().iter().map(|a| a.key_hash).collect();
    assert_eq!(keys[0], None);
    assert_eq!(keys[1], Some(Ledger::key_hash("sk-gamma")));
    let fine = post("/beta/v1/chat/completions", key, &body("small", false));
    assert_eq!(say(running.address(), &fine).await.status, Some(200));
    let nowhere = post("/gamma/v1/chat/completions", "", &body("small", false));
    assert_eq!(say(running.address(), &nowhere).await.status, Some(404));
}

#[tokio::test]
async fn models_are_listed_and_connections_are_kept() {
    let running = start().await;
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let list = b"GET /alpha/v1/models HTTP/1.1\r\nhost: sim\r\n\r\n";
    let heard = say_on(&mut stream, list).await;
    assert_eq!(heard.json()["data"][0]["id"], "large");
    assert_eq!(heard.json()["data"][1]["owned_by"], "alpha");
    let ask = post(
        "/alpha/v1/chat/completions",
        "x-spillway-request-id: r-7\r\n",
        &body("small", true),
    );
    for _ in 0..3 {
        assert_eq!(say_on(&mut stream, &ask).await.end, End::Tidy);
    }
    assert_eq!(running.ledger().of_request("r-7").len(), 3);
    let beta = b"GET /beta/v1/models HTTP/1.1\r\nhost: sim\r\n\r\n";
    assert_eq!(say_on(&mut stream, beta).await.status, Some(401));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_pays_for_what_was_sent() {
    let mut config = SimulatorConfig::instant(Answerer::Echo, providers());
    config.speed = Speed::Times(1.0);
    let slow = Latency {
        first_token_median_ms: 1.0,
        spread: 0.0,
        tokens_per_second: 2.0,
    };
    config.providers[0].behaviour = Behaviour::healthy().with_latency(slow);
    let running = start_with(config).await;
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let request = post("/alpha/v1/chat/completions", "", &body("large", true));
    stream.write_all(&request).await.unwrap();
    // Tokens come at 1, 501, 1,001 and 1,501 ms.
    sleep(Duration::from_millis(150)).await;
    let left = Instant::now();
    drop(stream);
    let attempt = the_attempt(&running.ledger()).await;
    assert!(
        left.elapsed() < Duration::from_millis(300),
        "close seen late"
    );
    assert_eq!(attempt.outcome, Outcome::ClientGone);
    assert!((1..4).contains(&attempt.output_tokens), "{attempt:?}");
    assert_eq!(attempt.input_tokens, 7);
    let cost = 7 * 3_000 + attempt.output_tokens * 15_000;
    assert_eq!(attempt.cost_nano_usd, cost);
    assert!(attempt.client_gone_ms.unwrap() >= attempt.received_ms + 140);
}

#[tokio::test]
async fn a_client_that_goes_before_a_whole_answer_pays_its_input() {
    let mut config = SimulatorConfig::instant(Answerer::Echo, providers());
    config.speed = Speed::Times(1.0);
    let running = start_with(config).await;
    let slow = Latency {
        first_token_median_ms: 5_000.0,
        spread: 0.0,
        tokens_per_second: 0.0,
    };
    let script = running.script("alpha").unwrap();
    script.set(Behaviour::healthy().with_latency(slow));
    let heard = chat_in_vain(&running, &body("small", false)).await;
    assert_eq!((heard.status, heard.end), (None, End::Silent));
    let attempt = the_attempt(&running.ledger()).await;
    assert_eq!(attempt.outcome, Outcome::ClientGone);
    assert_eq!((attempt.cost_nano_usd, attempt.output_tokens), (700, 0));
}

#[tokio::test]
async fn the_first_token_and_the_rest_take_their_time() {
    let mut config = SimulatorConfig::instant(Answerer::Echo, providers());
    config.speed = Speed::Times(10.0);
    let latency = Latency {
        first_token_median_ms: 600.0,
        spread: 0.0,
        tokens_per_second: 5.0,
    };
    config.providers[0].behaviour = Behaviour::healthy().with_latency(latency);
    let running = start_with(config).await;
    let begin = Instant::now();
    chat(&running, &body("small", true)).await;
    // 600 ms, then three more tokens at 200 ms each, ten times faster.
    let took = begin.elapsed();
    assert!((120..800).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn it_does_not_start_with_names_that_are_no_paths() {
    let bind = || tokio::net::TcpListener::bind("127.0.0.1:0");
    let named = |names: [&str; 2]| {
        let providers = names.map(|name| ProviderConfig::new(name, Vec::new()));
        SimulatorConfig::instant(Answerer::Echo, providers.into())
    };
    let twice = Simulator::start(named(["a", "a"]), bind().await.unwrap());
    assert!(matches!(twice, Err(StartError::RepeatedProvider(_))));
    let slash = Simulator::start(named(["a", "b/c"]), bind().await.unwrap());
    assert!(matches!(slash, Err(StartError::ProviderName(_))));
}

#[tokio::test]
async fn a_stop_ends_hanging_answers_and_frees_the_port() {
    let running = start().await;
    let address = running.address();
    let ledger = running.ledger();
    running
        .script("alpha")
        .unwrap()
        .fail(Fault::HangBeforeHeaders);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = post("/alpha/v1/chat/completions", "", &body("small", false));
    stream.write_all(&request).await.unwrap();
    while ledger.in_flight() == 0 {
        sleep(Duration::from_millis(2)).await;
    }
    let begin = Instant::now();
    running.stop().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(ledger.in_flight(), 0);
}

#[tokio::test]
async fn dropping_it_stops_it() {
    let running = start().await;
    let address = running.address();
    drop(running);
    sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(address).await.is_err());
}
