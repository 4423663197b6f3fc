//! Bytes in, meaning out; and the goldens of the request.

use super::*;
use crate::dialect::tests::upstream;
use proptest::prelude::*;
use spillway_routing::catalogue::Usage;
use spillway_routing::dialect::Dialect;
use spillway_routing::unit::Tokens;

fn chunk(json: &str) -> Meaning {
    meaning(json.as_bytes())
}

#[test]
fn only_real_content_commits() {
    assert_eq!(
        chunk(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#).content,
        0
    );
    assert_eq!(
        chunk(r#"{"choices":[{"delta":{"role":"assistant","tool_calls":null}}]}"#).content,
        0
    );
    assert_eq!(
        chunk(r#"{"choices":[],"prompt_filter_results":[]}"#),
        Meaning::default()
    );
    for delta in [
        r#"{"content":"x"}"#,
        r#"{"refusal":"no"}"#,
        r#"{"tool_calls":[{"index":0}]}"#,
        r#"{"reasoning":"hm"}"#,
        r#"{"reasoning_content":"hm"}"#,
        r#"{"content":[{"type":"thinking"}]}"#,
    ] {
        assert!(
            chunk(&format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#)).content > 0,
            "{delta}"
        );
    }
}

#[test]
fn the_usage_chunk_is_told_from_others() {
    let usage = r#""usage":{"prompt_tokens":12,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}"#;
    let last = chunk(&format!(
        r#"{{"choices":[],{usage},"service_tier":"default"}}"#
    ));
    let expected = Usage {
        input: Tokens(12),
        output: Tokens(3),
        cache_read: Tokens(4),
        ..Usage::default()
    };
    assert!(last.only_usage);
    assert_eq!(
        last.reported,
        Reported {
            begun: None,
            usage: Some(expected),
            tier: Some(Tier::Standard)
        }
    );
    let joined = chunk(&format!(
        r#"{{"choices":[{{"delta":{{}},"finish_reason":"stop"}}],{usage}}}"#
    ));
    assert!(!joined.only_usage && joined.finished && joined.reported.usage.is_some());
}

#[test]
fn absurd_usage_is_no_usage() {
    for usage in [
        "null",
        r#"{"prompt_tokens":-1,"completion_tokens":1}"#,
        r#"{"prompt_tokens":1000000000000000000,"completion_tokens":1}"#,
        r#"{"prompt_tokens":"7","completion_tokens":1}"#,
        r#"{"completion_tokens":1}"#,
    ] {
        assert_eq!(
            chunk(&format!(r#"{{"choices":[],"usage":{usage}}}"#))
                .reported
                .usage,
            None
        );
    }
}

#[test]
fn an_answer_has_choices() {
    assert!(answer(br#"{"choices":[{"message":{"content":"x"}}]}"#).is_ok());
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"choices":[]}"#,
        r#"{"choices":[{}]}"#,
        r#"{"error":{},"choices":[{"message":{}}]}"#,
        // Hosts that gave up half-way.
        r#"{"choices":[{"message":{"content":"x"},"finish_reason":"insufficient_system_resource"}]}"#,
        r#"{"choices":[{"message":{"content":null},"finish_reason":"error"}]}"#,
        r#"{"choices":[{"message":{"content":"x"},"finish_reason":"abort"}]}"#,
    ] {
        assert_eq!(answer(body.as_bytes()), Err(Garbled), "{body}");
    }
}

#[test]
fn errors_blame_whom_they_should() {
    let by = |status: u16, code: &str| {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        blame(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    };
    for (status, code, expected) in [
        (400, "context_length_exceeded", Blame::Request),
        (422, "", Blame::Request),
        (401, "", Blame::Configuration),
        (404, "model_not_found", Blame::Configuration),
        (302, "", Blame::Elsewhere),
        (402, "insufficient_balance", Blame::Elsewhere),
        (403, "", Blame::Elsewhere),
        (404, "", Blame::Elsewhere),
        (429, "rate_limit_exceeded", Blame::Limit),
        (429, "insufficient_quota", Blame::Configuration),
        (429, "credit_balance_exhausted", Blame::Configuration),
        (503, "", Blame::Overload),
        (529, "", Blame::Overload),
        (500, "", Blame::Provider),
        (502, "", Blame::Provider),
    ] {
        assert_eq!(by(status, code), expected, "{status} {code}");
    }
    let streamed = chunk(r#"{"error":{"code":429,"message":"slow down"}}"#);
    assert_eq!(streamed.error, Some(Blame::Limit));
}

proptest! {
    #[test]
    fn unknown_fields_pass_byte_for_byte(
        names in prop::collection::btree_set("[a-z_é\"\\\\]{1,8}x", 0..5),
        number in "-?[1-9][0-9]{0,30}\\.[0-9]{1,5}[eE][+-]?[0-9]{1,3}",
        space in "[ \t\n]{0,3}",
    ) {
        let value = format!("{{\"k\":{space}[{number},{space}\"\\u00e9\"]}}");
        let fields: Vec<String> = names.iter().map(|n| format!("{}:{space}{value}", quoted(n))).collect();
        let body = format!("{{{}\"model\":\"auto\",\"messages\":[{{}}]}}",
            fields.iter().map(|f| format!("{f},")).collect::<String>());
        let sent = forward(&Body::parse(&body.clone().into()).unwrap(), &upstream(Dialect::OpenAiChat), Tier::Standard, false).body;
        let again = Body::parse(&sent).unwrap();
        for name in &names {
            let field = again.0.iter().find(|f| f.name == *name).unwrap();
            prop_assert_eq!(&*field.value, value.trim());
        }
        prop_assert_eq!(again.raw("model"), Some("\"wire-model\""));
    }

    #[test]
    fn a_plain_message_means_what_any_other_does(
        role in "system|developer|user|assistant|tool|critic|\\PC{0,4}",
        content in "[a-z\"\\\\\n\u{0}é😀]{0,20}",
        turned in any::<bool>(),
    ) {
        let (role, content) = (quoted(&role), quoted(&content));
        let mut fields = [format!("\"role\":{role}"), format!("\"content\":{content}")];
        if turned {
            fields.reverse();
        }
        let meant = |more: &str| {
            let messages = format!("[{{{}{more}}}]", fields.join(","));
            let body = format!("{{\"model\":\"auto\",\"messages\":{messages}}}");
            read(&Body::parse(&body.into()).unwrap()).unwrap().conversation
        };
        prop_assert_eq!(meant(""), meant(",\"name\":null"));
    }

    #[test]
    fn no_frame_panics(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = meaning(&bytes);
        let _ = answer(&bytes);
    }
}
