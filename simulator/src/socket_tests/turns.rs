//! Conversations of several turns on every wire, tool results and images above all.
//!
//! It must not use the code it tests.

use serde_json::{Value, json};

use super::speakers::{SPEAKERS, Speaker, Wish};
use crate::server::Running;
use crate::stand::{Heard, post, say, start};

const SAID: &str = "18 °C,  \"sunny\"";

/// Says a conversation of the wire's own turns.
async fn ask(running: &Running, speaker: Speaker, turns: &Value, stream: bool) -> Heard {
    let mut wish = Wish::new("");
    wish.tools = 2;
    wish.stream = stream;
    let mut body = speaker.body(&wish);
    let member = match speaker {
        Speaker::Chat | Speaker::Messages | Speaker::Converse => "messages",
        Speaker::Responses | Speaker::Interactions => "input",
        Speaker::Gemini | Speaker::GeminiArray => "contents",
    };
    let path = speaker.path("small", stream);
    body[member] = turns.clone();
    let version = "anthropic-version: 2023-06-01\r\n";
    say(
        running.address(),
        &post(&format!("/alpha/{path}"), version, &body),
    )
    .await
}

/// The text that was said, the same whole and streamed.
async fn text(running: &Running, speaker: Speaker, turns: &Value) -> String {
    let mut texts = Vec::new();
    for stream in [false, true] {
        let heard = ask(running, speaker, turns, stream).await;
        assert_eq!(heard.status, Some(200), "{speaker:?} {}", heard.text());
        texts.push(speaker.said(&heard, stream).text);
    }
    assert_eq!(texts[0], texts[1]);
    texts.remove(0)
}

/// A user who asks for both tools, both calls, and their results.
fn tool_turns(speaker: Speaker, results: [&str; 2]) -> Value {
    let arguments = json!({"city": "sample"});
    let ids = ["call_1", "call_2"];
    let names = ["one", "two"];
    let each = |form: &dyn Fn(usize) -> Value| (0..2).map(form).collect::<Vec<Value>>();
    match speaker {
        Speaker::Chat => {
            let calls = each(&|i| {
                let function = json!({"name": names[i], "arguments": arguments.to_string()});
                json!({"id": ids[i], "type": "function", "function": function})
            });
            let answers =
                each(&|i| json!({"role": "tool", "tool_call_id": ids[i], "content": results[i]}));
            let mut turns = vec![
                json!({"role": "user", "content": "call both tools"}),
                json!({"role": "assistant", "content": null, "tool_calls": calls}),
            ];
            turns.extend(answers);
            json!(turns)
        }
        Speaker::Responses => {
            let mut turns = vec![json!({"role": "user", "content": "call both tools"})];
            turns.extend(each(&|i| {
                json!({"type": "function_call", "call_id": ids[i], "name": names[i],
                    "arguments": arguments.to_string()})
            }));
            turns.extend(each(&|i| {
                json!({"type": "function_call_output", "call_id": ids[i], "output": results[i]})
            }));
            json!(turns)
        }
        Speaker::Messages => {
            let calls = each(
                &|i| json!({"type": "tool_use", "id": ids[i], "name": names[i], "input": arguments}),
            );
            let answers = each(
                &|i| json!({"type": "tool_result", "tool_use_id": ids[i], "content": results[i]}),
            );
            json!([
                {"role": "user", "content": "call both tools"},
                {"role": "assistant", "content": calls}, {"role": "user", "content": answers},
            ])
        }
        Speaker::Gemini | Speaker::GeminiArray => {
            let calls = each(&|i| json!({"functionCall": {"name": names[i], "args": arguments}}));
            let answers = each(&|i| {
                let response = json!({"output": results[i]});
                json!({"functionResponse": {"name": names[i], "response": response}})
            });
            json!([
                {"role": "user", "parts": [{"text": "call both tools"}]},
                {"role": "model", "parts": calls}, {"role": "user", "parts": answers},
            ])
        }
        Speaker::Interactions => interaction_turns(results),
        Speaker::Converse => {
            let calls = each(
                &|i| json!({"toolUse": {"toolUseId": ids[i], "name": names[i], "input": arguments}}),
            );
            let answers = each(&|i| {
                let content = json!([{"text": results[i]}]);
                json!({"toolResult": {"toolUseId": ids[i], "content": content}})
            });
            json!([
                {"role": "user", "content": [{"text": "call both tools"}]},
                {"role": "assistant", "content": calls}, {"role": "user", "content": answers},
            ])
        }
    }
}

/// The same as steps.
fn interaction_turns(results: [&str; 2]) -> Value {
    let asked = json!([{"type": "text", "text": "call both tools"}]);
    let mut turns = vec![json!({"type": "user_input", "content": asked})];
    let arguments = json!({"city": "sample"});
    for (id, name) in [("call_1", "one"), ("call_2", "two")] {
        turns
            .push(json!({"type": "function_call", "id": id, "name": name, "arguments": arguments}));
    }
    for (id, result) in ["call_1", "call_2"].into_iter().zip(results) {
        turns.push(json!({"type": "function_result", "call_id": id, "result": result}));
    }
    json!(turns)
}

/// A user message, an answer, and another user message.
fn plain_turns(speaker: Speaker) -> Value {
    let says = [
        ("user", "good morning"),
        ("assistant", "hi"),
        ("user", "what did I say first?"),
    ];
    let turn = |(role, text): (&str, &str)| match speaker {
        Speaker::Gemini | Speaker::GeminiArray => {
            let role = if role == "assistant" { "model" } else { role };
            json!({"role": role, "parts": [{"text": text}]})
        }
        Speaker::Converse => json!({"role": role, "content": [{"text": text}]}),
        Speaker::Interactions => {
            let sort = if role == "user" {
                "user_input"
            } else {
                "model_output"
            };
            json!({"type": sort, "content": [{"type": "text", "text": text}]})
        }
        _ => json!({"role": role, "content": text}),
    };
    says.into_iter().map(turn).collect()
}

#[tokio::test]
async fn tool_results_are_quoted() {
    let running = start().await;
    for speaker in SPEAKERS {
        let turns = tool_turns(speaker, [SAID, "{\"n\":1}"]);
        let said = text(&running, speaker, &turns).await;
        assert_eq!(
            said,
            format!("The tool said: {SAID}; {{\"n\":1}}"),
            "{speaker:?}"
        );
    }
}

#[tokio::test]
async fn earlier_turns_are_remembered_and_counted_alike() {
    let running = start().await;
    for speaker in SPEAKERS {
        let said = text(&running, speaker, &plain_turns(speaker)).await;
        assert_eq!(said, "You said first: good morning", "{speaker:?}");
    }
    let attempts = running.ledger().attempts();
    // 12 + 2 + 21 bytes are nine tokens, and three messages.
    assert!(attempts.iter().all(|attempt| attempt.input_tokens == 18));
}

#[tokio::test]
async fn a_broken_image_is_refused() {
    let running = start().await;
    for speaker in SPEAKERS {
        let broken = "not base64!";
        let part = match speaker {
            Speaker::Chat => {
                let url = format!("data:image/png;base64,{broken}");
                json!({"type": "image_url", "image_url": {"url": url}})
            }
            Speaker::Responses => {
                let url = format!("data:image/png;base64,{broken}");
                json!({"type": "input_image", "image_url": url})
            }
            Speaker::Messages => json!({"type": "image", "source": {
                "type": "base64", "media_type": "image/png", "data": broken}}),
            Speaker::Interactions => {
                json!({"type": "image", "mime_type": "image/png", "data": broken})
            }
            Speaker::Converse => json!({"image": {"format": "png", "source": {"bytes": broken}}}),
            _ => json!({"inlineData": {"mimeType": "image/png", "data": broken}}),
        };
        let turns = match speaker {
            Speaker::Gemini | Speaker::GeminiArray => json!([{"role": "user", "parts": [part]}]),
            Speaker::Interactions => json!([{"type": "user_input", "content": [part]}]),
            _ => json!([{"role": "user", "content": [part]}]),
        };
        let heard = ask(&running, speaker, &turns, false).await;
        assert_eq!(heard.status, Some(400), "{speaker:?} {}", heard.text());
    }
    assert_eq!(running.ledger().totals().cost_nano_usd, 0);
}

#[tokio::test]
async fn some_json_is_said_where_any_will_do() {
    let running = start().await;
    for (speaker, path, member, value) in [
        (
            Speaker::Chat,
            "v1/chat/completions",
            "response_format",
            json!({"type": "json_object"}),
        ),
        (
            Speaker::Responses,
            "v1/responses",
            "text",
            json!({"format": {"type": "json_object"}}),
        ),
        (
            Speaker::Gemini,
            "v1beta/models/small:generateContent",
            "generationConfig",
            json!({"responseMimeType": "application/json"}),
        ),
    ] {
        let mut body = speaker.body(&Wish::new("hello"));
        body[member] = value;
        let request = post(&format!("/alpha/{path}"), "", &body);
        let heard = say(running.address(), &request).await;
        assert_eq!(speaker.said(&heard, false).text, "{\"answer\":\"sample\"}");
    }
}
