//! Cached prompts on every wire: told in its form, and billed.
//!
//! It must not use the code it tests.

use serde_json::{Value, json};

use super::speakers::{SPEAKERS, Speaker, Wish};
use crate::script::Behaviour;
use crate::server::Running;
use crate::stand::{Heard, post, say, start};

/// Asks with a system text of 6,000 bytes, which a cache keeps 1,408 tokens of.
async fn ask(running: &Running, speaker: Speaker, prompt: &'static str) -> Heard {
    let mut body = speaker.body(&Wish::new(prompt));
    let system = "x".repeat(6_000);
    match speaker {
        Speaker::Chat => {
            let message = json!({"role": "system", "content": system});
            body["messages"].as_array_mut().unwrap().insert(0, message);
        }
        Speaker::Responses => {
            body["instructions"] = json!(system);
        }
        Speaker::Messages => {
            let control = json!({"type": "ephemeral"});
            body["system"] = json!([{"type": "text", "text": system, "cache_control": control}]);
        }
        Speaker::Gemini | Speaker::GeminiArray => {
            body["systemInstruction"] = json!({"parts": [{"text": system}]});
        }
        Speaker::Interactions => body["system_instruction"] = json!(system),
        Speaker::Converse => {
            let point = json!({"cachePoint": {"type": "default"}});
            body["system"] = json!([{"text": system}, point]);
        }
    }
    let path = speaker.path("small", false);
    let version = "anthropic-version: 2023-06-01\r\n";
    say(
        running.address(),
        &post(&format!("/alpha/{path}"), version, &body),
    )
    .await
}

fn cached(speaker: Speaker, answer: &Value) -> u64 {
    let place = match speaker {
        Speaker::Chat => "/usage/prompt_tokens_details/cached_tokens",
        Speaker::Responses => "/usage/input_tokens_details/cached_tokens",
        Speaker::Messages => "/usage/cache_read_input_tokens",
        Speaker::Gemini | Speaker::GeminiArray => "/usageMetadata/cachedContentTokenCount",
        Speaker::Converse => "/usage/cacheReadInputTokens",
        Speaker::Interactions => "/usage/total_cached_tokens",
    };
    answer.pointer(place).and_then(Value::as_u64).unwrap_or(0)
}

#[tokio::test]
async fn a_prompt_that_was_seen_before_is_cheaper() {
    for speaker in SPEAKERS {
        let running = start().await;
        let caching = Behaviour::healthy().with_caching();
        running.script("alpha").unwrap().set(caching);
        let first = ask(&running, speaker, "one").await.json();
        assert_eq!(cached(speaker, &first), 0, "{speaker:?} {first}");
        let second = ask(&running, speaker, "two").await.json();
        assert_eq!(cached(speaker, &second), 1_408, "{speaker:?} {second}");
        let attempts = running.ledger().attempts();
        let [one, two] = &attempts[..] else {
            panic!("{attempts:?}");
        };
        // 6,003 bytes and two messages; two words come back.
        assert_eq!((one.input_tokens, one.cached_tokens), (1_507, 0));
        assert_eq!((two.input_tokens, two.cached_tokens), (1_507, 1_408));
        assert_eq!(
            two.cost_nano_usd,
            (1_507 - 1_408) * 100 + 1_408 * 10 + 2 * 400
        );
        let told = matches!(speaker, Speaker::Messages | Speaker::Converse);
        let written = if told { 1_408 * 25 } else { 0 };
        assert_eq!(one.cost_nano_usd, 1_507 * 100 + written + 2 * 400);
        if speaker == Speaker::Messages {
            assert_eq!(first["usage"]["cache_creation_input_tokens"], 1_408);
            assert_eq!(first["usage"]["input_tokens"], 1_507 - 1_408);
            assert_eq!(second["usage"]["cache_creation_input_tokens"], 0);
        }
        if speaker == Speaker::Converse {
            let usage = json!({
                "inputTokens": 1_507 - 1_408, "outputTokens": 2, "totalTokens": 1_509,
                "cacheReadInputTokens": 0, "cacheWriteInputTokens": 1_408,
                "cacheDetails": [{"ttl": "5m", "inputTokens": 1_408}],
            });
            assert_eq!(first["usage"], usage);
            assert_eq!(second["usage"]["cacheWriteInputTokens"], 0);
        }
    }
}

#[tokio::test]
async fn nothing_is_cached_unless_it_is_switched_on_and_asked_for() {
    let running = start().await;
    for _ in 0..2 {
        let answer = ask(&running, Speaker::Chat, "one").await.json();
        assert_eq!(cached(Speaker::Chat, &answer), 0);
    }
    let caching = Behaviour::healthy().with_caching();
    running.script("alpha").unwrap().set(caching);
    let mut body = Speaker::Messages.body(&Wish::new("one"));
    body["system"] = json!("x".repeat(6_000));
    let version = "anthropic-version: 2023-06-01\r\n";
    let request = post("/alpha/v1/messages", version, &body);
    for _ in 0..2 {
        let answer = say(running.address(), &request).await.json();
        assert_eq!(answer["usage"]["cache_creation_input_tokens"], 0);
        assert_eq!(cached(Speaker::Messages, &answer), 0);
    }
}
