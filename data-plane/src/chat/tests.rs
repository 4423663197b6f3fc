//! Bodies as clients send them.

use super::*;
use proptest::prelude::*;
use spillway_routing::prompt::{Class, Form};

fn parse(body: &str) -> Result<Chat, Failure> {
    Chat::parse(&body.to_owned().into(), &Asking::of(Dialect::OpenAiChat))
}

fn facts(body: &str) -> Facts {
    let chat = parse(body).unwrap();
    chat.facts(&CallerLabels::default(), "", &[], &TokenCounter::new())
}

fn status(body: &str) -> u16 {
    parse(body).unwrap_err().status().as_u16()
}

#[test]
fn parts_and_strings_and_images_are_read() {
    let facts = facts(
        r#"{"model":"auto","max_tokens":50,"stream":true,"messages":[
            {"role":"developer","content":"be kind"},
            {"role":"user","content":[{"type":"text","text":"what is this?"},
                {"type":"image_url","image_url":{"url":"https://x"}}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}],
            "tools":[{"type":"function"}],"response_format":{"type":"json_schema","x":1}}"#,
    );
    assert_eq!((facts.turns, facts.images, facts.tool_count), (3, 1, 1));
    assert_eq!(facts.requirements.form, Form::JsonSchema);
    assert_eq!(facts.requirements.max_output, Some(Tokens(50)));
    assert!(facts.stream && facts.requirements.vision);
    assert_eq!(facts.class, Class::Interactive);
}

#[test]
fn what_router_and_provider_could_read_differently_is_refused() {
    assert_eq!(status(r#"{"model":"a","model":"b","messages":[{}]}"#), 400);
    assert_eq!(
        status(r#"{"model":"a","mod\u0065l":"b","messages":[{}]}"#),
        400
    );
    assert_eq!(status(r#"{"model":"a","messages":[{}],"stream":1}"#), 400);
    assert_eq!(status(r#"{"model":7,"messages":[{}]}"#), 400);
    assert_eq!(status(r#"{"model":"a","messages":[]}"#), 400);
    assert_eq!(status("[]"), 400);
    assert_eq!(
        status(r#"{"model":"a","messages":[{}],"start_within":"soon"}"#),
        400
    );
}

#[test]
fn a_depth_bomb_is_no_bomb() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"{{"model":"a","messages":[{{"content":{deep}}}],"x":{deep}}}"#);
    let chat = parse(&body);
    assert!(chat.is_ok_and(|chat| chat.body.0[2].value == deep));
}

#[test]
fn odd_values_are_the_providers_to_judge() {
    let body = r#"{"model":"a","messages":[{"content":"\ud800"},7,{"role":1}],"max_tokens":-1,"seed":1e400}"#;
    assert_eq!(facts(body).requirements.max_output, None);
}

#[test]
fn debug_output_holds_no_prompt() {
    let chat = parse(r#"{"model":"a","messages":[{"content":"canary"}]}"#).unwrap();
    assert!(!format!("{chat:?}").contains("canary"));
}

proptest! {
    #[test]
    fn no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for dialect in Dialect::ALL {
            let _ = Chat::parse(&bytes.clone().into(), &Asking::of(dialect));
        }
    }

    #[test]
    fn no_message_panics(text in "\\PC{0,60}") {
        let body = serde_json::json!({"model": "a", "messages": [{"content": text}]});
        prop_assert!(parse(&body.to_string()).is_ok());
    }
}
