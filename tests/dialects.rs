//! Every dialect against every provider's, over real sockets: what callers get.

use serde_json::{Value, json};
use spillway_simulator::{Answerer, Fault, ProviderConfig, ServedModel};

use crate::stand::{Answer, KEY, Stand, post};

/// The callers' dialects.
pub(crate) const CALLERS: [&str; 5] = ["chat", "responses", "messages", "gemini", "interactions"];
/// Providers, each of a dialect.
pub(crate) const PROVIDERS: [&str; 6] = [
    "chat",
    "responses",
    "messages",
    "gemini",
    "interactions",
    "converse",
];
/// The providers' models, with the dialect that each is spoken to in.
pub(crate) const MODELS: [(&str, &str); 6] = [
    ("chat-1", "openai-chat"),
    ("responses-1", "openai-responses"),
    ("claude-1", "anthropic-messages"),
    ("gemini-3-sim", "gemini-generate"),
    ("gemini-3-steps", "gemini-interactions"),
    ("claude-bedrock", "bedrock-converse"),
];

pub(crate) async fn ask(url: &str, caller: &str, model: &str, text: &str, stream: bool) -> Answer {
    let turns = json!([{ "role": "user", "content": text }]);
    let (path, body) = match caller {
        "chat" => (
            "/v1/chat/completions".to_owned(),
            json!({ "model": model, "messages": turns, "stream": stream }),
        ),
        "responses" => (
            "/v1/responses".to_owned(),
            json!({ "model": model, "input": text, "stream": stream }),
        ),
        "messages" => (
            "/v1/messages".to_owned(),
            json!({ "model": model, "max_tokens": 100, "messages": turns, "stream": stream }),
        ),
        "interactions" => (
            "/v1beta/interactions".to_owned(),
            json!({ "model": model, "input": text, "stream": stream }),
        ),
        _ => {
            let method = if stream {
                "streamGenerateContent?alt=sse"
            } else {
                "generateContent"
            };
            (
                format!("/v1beta/models/{model}:{method}"),
                json!({ "contents": [{ "role": "user", "parts": [{ "text": text }] }] }),
            )
        }
    };
    post(&format!("{url}{path}"), KEY, &body).await
}

/// The answer's text, from whichever form; of a stream, all of its deltas.
pub(crate) fn text(caller: &str, answer: &Answer, stream: bool) -> String {
    if !stream {
        let body = answer.json();
        let at = match caller {
            "chat" => "/choices/0/message/content",
            "responses" => "/output/0/content/0/text",
            "messages" => "/content/0/text",
            "interactions" => {
                let steps = body["steps"].as_array().into_iter().flatten();
                let mut said = steps.filter(|step| step["type"] == "model_output");
                let said = said
                    .next()
                    .and_then(|step| step["content"][0]["text"].as_str());
                return said.unwrap_or_default().to_owned();
            }
            _ => "/candidates/0/content/parts/0/text",
        };
        return body
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
    }
    let at = match caller {
        "chat" => "/choices/0/delta/content",
        "responses" => "/delta",
        "messages" | "interactions" => "/delta/text",
        _ => "/candidates/0/content/parts/0/text",
    };
    let deltas = events(answer);
    let deltas = deltas
        .iter()
        .filter_map(|event| event.pointer(at)?.as_str());
    deltas.collect()
}

pub(crate) fn events(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

/// Whether a stream has its dialect's normal end.
pub(crate) fn ends(caller: &str, answer: &Answer) -> bool {
    let text = answer.text();
    match caller {
        "chat" => text.ends_with("data: [DONE]\n\n"),
        "responses" => text.contains("event: response.completed"),
        "messages" => text.contains("event: message_stop"),
        "interactions" => text.contains("event: interaction.completed"),
        _ => text.contains("\"finishReason\""),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pair_answers_whole_and_as_a_stream() {
    let stand = Stand::new().dialects().embedded().start().await;
    for caller in CALLERS {
        for (model, dialect) in MODELS {
            for stream in [false, true] {
                let answer = ask(stand.url(), caller, model, "one two three", stream).await;
                let case = format!("{caller} to {model}, stream {stream}: {}", answer.text());
                assert_eq!(answer.status, 200, "{case}");
                assert_eq!(
                    text(caller, &answer, stream),
                    "echo: one two three",
                    "{case}"
                );
                assert_eq!(answer.header("x-spillway-dialect"), dialect, "{case}");
                assert!(!stream || ends(caller, &answer), "{case}");
            }
        }
    }
    let recorded = stand.recorded(|rows| rows.len() == 60).await;
    assert!(recorded.iter().all(|row| row["ending"] == "answered"));
    let attempts = stand.simulator().ledger().attempts();
    let cost: u64 = attempts.iter().map(|attempt| attempt.cost_nano_usd).sum();
    let counted: f64 = recorded
        .iter()
        .map(|row| row["cost_usd"].as_f64().unwrap())
        .sum();
    assert!(
        (counted * 1e9 - cost as f64).abs() < 1.0,
        "{counted} {cost}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_speak_the_callers_dialect() {
    let stand = Stand::new().dialects().embedded().start().await;
    for caller in CALLERS {
        let unknown = ask(stand.url(), caller, "nope", "x", false).await;
        assert_eq!(unknown.status, 404, "{}", unknown.text());
        let body = unknown.json();
        match caller {
            "messages" => assert_eq!(body["error"]["type"], "not_found_error"),
            "gemini" => assert_eq!(body["error"]["status"], "NOT_FOUND"),
            "interactions" => assert_eq!(body["error"]["code"], "not_found"),
            _ => assert_eq!(body["error"]["code"], "model_not_found"),
        }
        assert!(body["error"]["message"].as_str().unwrap().contains("nope"));
    }
    // A provider's own refusal of a request, in another dialect than the caller's.
    stand.script("messages").fail(Fault::Status {
        code: 400,
        retry_after: None,
        body: Some(
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"too odd"}}"#
                .into(),
        ),
    });
    for caller in CALLERS {
        let refused = ask(stand.url(), caller, "claude-1", "x", false).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert_eq!(refused.json()["error"]["message"], "too odd");
    }
}

/// OpenAI's newer models refuse to reason over functions in Chat Completions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_reach_models_that_refuse_them_in_chat() {
    const MODEL: &str = "gpt-6-luna";
    let model = ServedModel::new(MODEL, 1_000, 2_000);
    let policy = r#"
version = 1
[[upstreams]]
provider = "openai"
models = ["gpt-6-luna"]
"#;
    let stand = Stand::new()
        .providers(
            Answerer::Echo,
            vec![ProviderConfig::new("openai", vec![model])],
        )
        .policy(policy)
        .embedded()
        .start()
        .await;
    let schema = json!({ "type": "object", "properties": {} });
    let messages = json!([{ "role": "user", "content": "look" }]);
    let chat = json!({
        "model": MODEL, "messages": messages, "reasoning_effort": "medium",
        "tools": [{ "type": "function", "function": { "name": "look", "parameters": schema } }],
    });
    let anthropic = json!({
        "model": MODEL, "messages": messages, "max_tokens": 9_000,
        "thinking": { "type": "enabled", "budget_tokens": 2_000 },
        "tools": [{ "name": "look", "input_schema": schema }],
    });
    for (path, body) in [("chat/completions", chat), ("messages", anthropic)] {
        let answer = post(&format!("{}/v1/{path}", stand.url()), KEY, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-spillway-dialect"), "openai-responses");
    }
    let plain = json!({ "model": MODEL, "messages": messages, "reasoning_effort": "medium" });
    let answer = post(&format!("{}/v1/chat/completions", stand.url()), KEY, &plain).await;
    assert_eq!(answer.header("x-spillway-dialect"), "openai-chat");
}
