//! Every dialect against every other: goldens, and what must come back unchanged.

mod goldens;
mod round_trip;

use spillway_routing::catalogue::{Tier, Upstream};
use spillway_routing::dialect::Dialect;
use spillway_routing::unit::Tokens;

use super::event::{Assembly, Event, Said, Stamp};
use super::request;
use crate::chat::{Asking, Chat};

/// A request of a dialect, to the route `auto`.
fn chat(dialect: Dialect, body: &str) -> Chat {
    let mut asking = Asking::of(dialect);
    if dialect == Dialect::GeminiGenerate {
        asking.model = Some("auto".to_owned());
    }
    Chat::parse(&body.to_owned().into(), &asking).unwrap()
}

pub(super) fn upstream(dialect: Dialect) -> Upstream {
    Upstream {
        id: "p:m".into(),
        model: "m".into(),
        provider: "p".into(),
        wire_model: "wire-model".to_owned(),
        dialects: vec![dialect],
        credential: "c".into(),
    }
}

fn stamp() -> Stamp {
    Stamp {
        id: "0123".to_owned(),
        model: "model-1".to_owned(),
        created: 1_760_000_000,
        wants_usage: true,
        framed: true,
    }
}

#[test]
fn tools_that_may_not_be_called_are_told_to_nobody() {
    let openai = r#""type":"function","name""#;
    let nested = r#""type":"function","function":{"name""#;
    let cases = [
        (
            Dialect::OpenAiChat,
            r#""messages":[{"role":"user","content":"?"}]"#.to_owned(),
            format!(
                r#""tool_choice":{{"type":"allowed_tools","allowed_tools":{{"mode":"auto","tools":[{{{nested}:"read"}}}}]}}}}"#
            ),
            format!(r#""tools":[{{{nested}:"read"}}}},{{{nested}:"delete"}}}}]"#),
        ),
        (
            Dialect::OpenAiResponses,
            r#""input":"?""#.to_owned(),
            format!(
                r#""tool_choice":{{"type":"allowed_tools","mode":"auto","tools":[{{{openai}:"read"}}]}}"#
            ),
            format!(r#""tools":[{{{openai}:"read"}},{{{openai}:"delete"}}]"#),
        ),
        (
            Dialect::GeminiGenerate,
            r#""contents":[{"parts":[{"text":"?"}]}]"#.to_owned(),
            r#""toolConfig":{"functionCallingConfig":{"mode":"VALIDATED","allowedFunctionNames":["read"]}}"#.to_owned(),
            r#""tools":[{"functionDeclarations":[{"name":"read"},{"name":"delete"}]}]"#.to_owned(),
        ),
    ];
    for (own, asked, choice, tools) in cases {
        for fields in [[&asked, &choice, &tools], [&tools, &choice, &asked]] {
            let body = format!(
                r#"{{"model":"auto",{}}}"#,
                fields.map(String::as_str).join(",")
            );
            let names = chat(own, &body).conversation.tools;
            let names: Vec<String> = names.into_iter().map(|tool| tool.name).collect();
            assert_eq!(names, ["read"], "{body}");
        }
    }
}

#[test]
fn images_have_the_names_that_all_providers_know() {
    let sent = |kind: &str| {
        let url = format!("data:image/{kind};base64,AAAA");
        let body = serde_json::json!({ "model": "auto", "messages": [{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": url } },
        ] }] });
        let chat = chat(Dialect::OpenAiChat, &body.to_string());
        let losses = chat.losses(Dialect::AnthropicMessages).to_string();
        let to = Dialect::AnthropicMessages;
        let wire = request(&chat, to, &upstream(to), Tier::Standard, false, Tokens(100));
        let body: serde_json::Value = serde_json::from_slice(&wire.body).unwrap();
        let media = &body["messages"][0]["content"][0]["source"]["media_type"];
        (media.as_str().unwrap().to_owned(), losses)
    };
    assert_eq!(sent("jpg"), ("image/jpeg".to_owned(), String::new()));
    assert_eq!(sent("webp"), ("image/webp".to_owned(), String::new()));
    assert_eq!(sent("heic").1, "file");
}

#[test]
fn claude_is_not_asked_to_think_on_from_what_another_model_called() {
    use serde_json::{Value, json};
    let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "look", "input": {} });
    let result = |id: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": "4" });
    let thought =
        |signature: &str| json!({ "type": "thinking", "thinking": "hm", "signature": signature });
    let answer = |blocks: &[Value]| json!({ "role": "assistant", "content": blocks });
    let gives = |id: &str| json!({ "role": "user", "content": [result(id)] });
    let kept = |turns: &[Value]| {
        let asked = json!({ "role": "user", "content": "look" });
        let messages = [std::slice::from_ref(&asked), turns].concat();
        let body = json!({
            "model": "auto", "max_tokens": 9_000,
            "thinking": { "type": "enabled", "budget_tokens": 2_000 },
            "messages": messages,
        });
        let own = Dialect::AnthropicMessages;
        let chat = chat(own, &body.to_string());
        let wire = request(
            &chat,
            own,
            &upstream(own),
            Tier::Standard,
            false,
            Tokens(100),
        );
        let body: Value = serde_json::from_slice(&wire.body).unwrap();
        body.get("thinking").is_some()
    };
    let (own, told) = (thought("c2lnbmVk"), thought(""));
    let (own_call, told_call) = ([own, call("a")], [told.clone(), call("a")]);
    assert!(kept(&[answer(&own_call), gives("a")]));
    assert!(!kept(&[answer(&[call("a")]), gives("a")]));
    assert!(!kept(&[answer(&told_call), gives("a")]));
    // Claude thinks before the first of several calls.
    let second = [answer(&[call("b")]), gives("b")];
    assert!(kept(
        &[&[answer(&own_call), gives("a")][..], &second].concat()
    ));
    // Clients say more beside what a tool gave.
    let words = json!({ "type": "text", "text": "and mind the gap" });
    let beside = json!({ "role": "user", "content": [result("a"), words] });
    assert!(kept(&[answer(&own_call), beside.clone()]));
    assert!(!kept(&[answer(&told_call), beside]));
    // What was told in an earlier answer is none of this one's.
    let earlier = answer(&[told, json!({ "type": "text", "text": "so" })]);
    let again = json!({ "role": "user", "content": "again" });
    assert!(kept(&[earlier, again, answer(&own_call), gives("a")]));
}

#[test]
fn of_two_settings_that_exclude_each_other_one_goes_to_claude() {
    let body = serde_json::json!({
        "model": "auto", "temperature": 0.7, "top_p": 0.9,
        "messages": [{ "role": "user", "content": "?" }],
    });
    let chat = chat(Dialect::OpenAiChat, &body.to_string());
    for to in [Dialect::AnthropicMessages, Dialect::BedrockConverse] {
        let claude = Upstream {
            wire_model: "claude-sonnet-4-5".to_owned(),
            ..upstream(to)
        };
        let wire = request(&chat, to, &claude, Tier::Standard, false, Tokens(100));
        let body: serde_json::Value = serde_json::from_slice(&wire.body).unwrap();
        let said = body.get("inferenceConfig").unwrap_or(&body);
        assert_eq!(said["temperature"], 0.7, "{body}");
        assert!(said.get("top_p").is_none() && said.get("topP").is_none());
        assert_eq!(chat.losses(to).to_string(), "top_p");
    }
}

/// What events say together.
fn folded(events: Vec<Event>) -> Said {
    let mut assembly = Assembly::default();
    events.into_iter().for_each(|event| assembly.add(event));
    assembly.said
}
