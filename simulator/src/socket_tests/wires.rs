//! What holds on every wire: the same wish is answered with the same words and counts,
//! whole or streamed, and booked.
//!
//! It must not use the code it tests.

use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use super::speakers::{SPEAKERS, Said, Speaker, Wish, schema};
use crate::ledger::{Ledger, Outcome};
use crate::server::Running;
use crate::stand::{post, say, start};

/// The finish of each speaker, in the order of [`SPEAKERS`].
const STOP: [&str; 7] = [
    "stop",
    "completed",
    "end_turn",
    "STOP",
    "STOP",
    "end_turn",
    "completed",
];
const CALLS: [&str; 7] = [
    "tool_calls",
    "completed",
    "tool_use",
    "STOP",
    "STOP",
    "tool_use",
    "requires_action",
];
const LENGTH: [&str; 7] = [
    "length",
    "incomplete",
    "max_tokens",
    "MAX_TOKENS",
    "MAX_TOKENS",
    "max_tokens",
    "incomplete",
];
const REFUSED: [&str; 7] = [
    "content_filter",
    "completed",
    "refusal",
    "SAFETY",
    "SAFETY",
    "content_filtered",
    "failed",
];
const STOPPED: [&str; 7] = [
    "stop",
    "completed",
    "stop_sequence",
    "STOP",
    "STOP",
    "stop_sequence",
    "completed",
];

/// Says a wish on a wire, whole and streamed; both must be the same and be booked.
async fn both(running: &Running, speaker: Speaker, wish: &Wish) -> Said {
    let mut wish = wish.clone();
    wish.stream = false;
    let whole = speaker.hear(running, &wish).await;
    wish.stream = true;
    let streamed = speaker.hear(running, &wish).await;
    assert_eq!(whole, streamed, "{speaker:?} {wish:?}");
    while running.ledger().in_flight() > 0 {
        sleep(Duration::from_millis(2)).await;
    }
    let attempts = running.ledger().attempts();
    let attempt = attempts.last().unwrap();
    assert_eq!(attempt.outcome, Outcome::Answered);
    assert_eq!(
        (attempt.wire, attempt.model.as_str()),
        (speaker.wire(), "small")
    );
    assert_eq!(attempt.key_hash, Some(Ledger::key_hash("sk-1")));
    assert_eq!(attempt.prompt_hash, Ledger::prompt_hash(wish.prompt));
    assert!(attempt.streaming);
    let billed = (attempt.input_tokens, attempt.output_tokens);
    assert_eq!(billed, (whole.input, whole.output), "{speaker:?} {wish:?}");
    assert_eq!(
        attempt.cost_nano_usd,
        whole.input * 100 + whole.output * 400
    );
    whole
}

/// The same on every wire, with each wire's word for how it ended.
async fn everywhere(wish: Wish, finishes: [&str; 7]) -> Vec<Said> {
    let running = start().await;
    let mut all = Vec::new();
    for (speaker, finish) in SPEAKERS.into_iter().zip(finishes) {
        let said = both(&running, speaker, &wish).await;
        assert_eq!(said.finish, finish, "{speaker:?} {wish:?}");
        all.push(said);
    }
    running.stop().await.unwrap();
    all
}

fn texts(said: &[Said], text: &str) {
    for said in said {
        assert_eq!(said.text, text);
        assert!(said.calls.is_empty() && said.refusal.is_empty());
    }
}

#[tokio::test]
async fn a_plain_prompt_is_echoed() {
    let said = everywhere(Wish::new("one two three"), STOP).await;
    texts(&said, "echo: one two three");
    for said in said {
        // 13 bytes are four tokens, and three for the message.
        assert_eq!((said.input, said.output, said.thought), (7, 4, 0));
    }
}

#[tokio::test]
async fn the_system_text_arrives_and_counts() {
    let mut wish = Wish::new("what is your instruction?");
    wish.system = "be  brief\nand kind";
    let said = everywhere(wish, STOP).await;
    texts(&said, "My instruction is: be  brief\nand kind");
    let first = said[0].input;
    assert!(said.iter().all(|said| said.input == first));
}

#[tokio::test]
async fn tools_are_called_alone_or_together() {
    let sample = |name: &str| (name.to_owned(), json!({"city": "sample"}));
    let mut wish = Wish::new("please call both tools");
    wish.tools = 2;
    for said in everywhere(wish.clone(), CALLS).await {
        assert_eq!(said.calls, [sample("one"), sample("two")]);
        assert!(said.text.is_empty());
    }
    wish.prompt = "call the tool";
    for said in everywhere(wish.clone(), CALLS).await {
        assert_eq!(said.calls, [sample("one")]);
    }
    wish.prompt = "hello";
    texts(&everywhere(wish.clone(), STOP).await, "echo: hello");
    wish.named = "two";
    for said in everywhere(wish, CALLS).await {
        assert_eq!(said.calls, [sample("two")]);
    }
}

#[tokio::test]
async fn parallel_calls_can_be_forbidden() {
    let mut wish = Wish::new("call all tools");
    wish.tools = 3;
    wish.one_call = true;
    let running = start().await;
    for speaker in [
        Speaker::Chat,
        Speaker::Responses,
        Speaker::Messages,
        Speaker::Converse,
    ] {
        assert_eq!(both(&running, speaker, &wish).await.calls.len(), 1);
    }
    // Gemini has no word for it.
    assert_eq!(both(&running, Speaker::Gemini, &wish).await.calls.len(), 3);
}

#[tokio::test]
async fn thoughts_are_shown_and_counted() {
    let mut wish = Wish::new("one two");
    wish.reasoning = true;
    let all = everywhere(wish.clone(), STOP).await;
    for (speaker, said) in SPEAKERS.into_iter().zip(all) {
        assert_eq!(said.reasoning, "thinking about it");
        assert_eq!(said.text, "echo: one two");
        // Converse does not tell what is thought of what is said.
        let told = if speaker == Speaker::Converse { 0 } else { 3 };
        assert_eq!((said.output, said.thought), (6, told));
    }
    wish.prompt = "call the tool";
    wish.tools = 1;
    for said in everywhere(wish, CALLS).await {
        assert_eq!(
            (said.reasoning.as_str(), said.calls.len()),
            ("thinking about it", 1)
        );
    }
}

#[tokio::test]
async fn a_schema_is_kept() {
    let mut wish = Wish::new("where?");
    wish.schema = Some(schema());
    texts(&everywhere(wish, STOP).await, "{\"city\":\"sample\"}");
}

#[tokio::test]
async fn a_limit_is_kept() {
    let mut wish = Wish::new("one two three four five");
    wish.limit = Some(3);
    let said = everywhere(wish.clone(), LENGTH).await;
    texts(&said, "echo: one two");
    // All of it thoughts, and nothing said.
    wish.reasoning = true;
    texts(&everywhere(wish, LENGTH).await, "");
}

#[tokio::test]
async fn a_stop_sequence_ends_the_text() {
    let mut wish = Wish::new("one two three");
    wish.stop = "two";
    let running = start().await;
    for (speaker, finish) in SPEAKERS.into_iter().zip(STOPPED) {
        if speaker == Speaker::Responses {
            continue; // It has no stop sequences.
        }
        let said = both(&running, speaker, &wish).await;
        assert_eq!(
            (said.text.as_str(), said.finish.as_str()),
            ("echo: one ", finish)
        );
    }
    let named = Speaker::Messages.ask(&running, &wish).await.json();
    assert_eq!(named["stop_sequence"], "two");
}

#[tokio::test]
async fn images_are_counted() {
    let mut wish = Wish::new("how many images are there?");
    wish.images = 2;
    texts(&everywhere(wish, STOP).await, "I see 2 images");
}

#[tokio::test]
async fn a_refusal_has_its_form() {
    let text = "I cannot help with that.";
    let said = everywhere(Wish::new("please refuse this"), REFUSED).await;
    let [chat, responses, messages, gemini, _, converse, interactions] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!((chat.refusal.as_str(), chat.text.as_str()), (text, ""));
    assert_eq!(
        (responses.refusal.as_str(), responses.text.as_str()),
        (text, "")
    );
    assert_eq!(
        (messages.text.as_str(), converse.text.as_str()),
        (text, text)
    );
    assert_eq!((gemini.text.as_str(), interactions.text.as_str()), ("", ""));
}

#[tokio::test]
async fn what_is_the_routers_own_is_refused() {
    let running = start().await;
    for speaker in SPEAKERS {
        let mut body = speaker.body(&Wish::new("hello"));
        let head = "anthropic-version: 2023-06-01\r\n";
        let path = format!("/alpha/{}", speaker.path("small", false));
        let own = format!("{head}x-spillway-request-id: r-1\r\n");
        let heard = say(running.address(), &post(&path, &own, &body)).await;
        assert_eq!(heard.status, Some(200), "{speaker:?} {}", heard.text());
        let slice = format!("{head}x-spillway-slice: a\r\n");
        let heard = say(running.address(), &post(&path, &slice, &body)).await;
        assert_eq!(heard.status, Some(400), "{speaker:?}");
        body["start_within"] = json!("5m");
        let heard = say(running.address(), &post(&path, head, &body)).await;
        assert_eq!(heard.status, Some(400), "{speaker:?}");
        assert!(heard.text().contains("start_within"), "{}", heard.text());
    }
}

#[tokio::test]
async fn every_family_has_its_errors_for_keys_and_models() {
    let running = start().await;
    let body = |speaker: Speaker, model: &str| {
        let mut body = speaker.body(&Wish::new("hello"));
        if body.get("model").is_some() {
            body["model"] = json!(model);
        }
        body
    };
    let version = "anthropic-version: 2023-06-01\r\n";
    let cases = [
        (Speaker::Responses, "authorization: Bearer ", 401, 401),
        (Speaker::Messages, "x-api-key: ", 401, 401),
        (Speaker::Gemini, "x-goog-api-key: ", 403, 400),
        (Speaker::Interactions, "x-goog-api-key: ", 403, 400),
        (Speaker::Converse, "authorization: Bearer ", 403, 403),
    ];
    for (speaker, key, keyless, wrong) in cases {
        let ask = async |model: &str, key: String| {
            let path = format!("/beta/{}", speaker.path(model, false));
            let head = format!("{version}{key}");
            say(
                running.address(),
                &post(&path, &head, &body(speaker, model)),
            )
            .await
        };
        let heard = ask("small", String::new()).await;
        assert_eq!(heard.status, Some(keyless), "{speaker:?}");
        let heard = ask("small", format!("{key}sk-gamma\r\n")).await;
        assert_eq!(heard.status, Some(wrong), "{speaker:?}");
        let heard = ask("huge", format!("{key}sk-beta\r\n")).await;
        assert_eq!(heard.status, Some(404), "{speaker:?}");
        if speaker == Speaker::Converse {
            let sort = "x-amzn-errortype: resourcenotfoundexception:";
            assert!(heard.head.contains(sort), "{}", heard.head);
            continue;
        }
        let error: Value = heard.json();
        let sort = match speaker {
            Speaker::Messages => &error["error"]["type"],
            Speaker::Gemini | Speaker::Interactions => &error["error"]["status"],
            _ => &error["error"]["code"],
        };
        let named = ["model_not_found", "not_found_error", "NOT_FOUND"];
        assert!(named.contains(&sort.as_str().unwrap()), "{error}");
        let heard = ask("small", format!("{key}sk-beta\r\n")).await;
        assert_eq!(heard.status, Some(200), "{speaker:?} {}", heard.text());
    }
    let query = post(
        "/beta/v1beta/models/small:generateContent?key=sk-beta",
        "",
        &body(Speaker::Gemini, "small"),
    );
    assert_eq!(say(running.address(), &query).await.status, Some(200));
}
