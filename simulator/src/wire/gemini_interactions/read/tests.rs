//! Tests of reading interactions.

use serde_json::{Value, json};

use crate::ask::{Ask, Format, Refusal, ServiceTier, Work};
use crate::seal::seal;
use crate::stand;
use crate::wire::Wire;

fn read(body: &Value) -> Result<Ask, Refusal> {
    Ok(stand::read(Wire::GeminiInteractions, body)?.0)
}

/// A sound request with these members instead; `null` takes one away.
fn with(more: Value) -> Value {
    let mut body = json!({"model": "gemini-3-test", "input": "hi"});
    let members = body.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    body
}

#[track_caller]
fn refused(body: Value, why: &str) {
    let refusal = read(&body).unwrap_err();
    assert_eq!(refusal.status, 400, "{body}");
    assert!(refusal.message.contains(why), "{} {body}", refusal.message);
}

fn user(text: &str) -> Value {
    json!({"type": "user_input", "content": [{"type": "text", "text": text}]})
}

fn thought() -> Value {
    let summary = json!([{"type": "text", "text": "hm"}]);
    json!({"type": "thought", "signature": seal("alpha", "thought"), "summary": summary})
}

fn call(id: &str) -> Value {
    json!({"type": "function_call", "id": id, "name": "one", "arguments": {}})
}

fn result(id: &str, result: Value) -> Value {
    json!({"type": "function_result", "call_id": id, "result": result, "is_error": false})
}

#[test]
fn a_request_is_taken_in() {
    let schema =
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}});
    let ask = read(&with(json!({
        "system_instruction": "be brief",
        "input": [
            {"type": "user_input", "content": [
                {"type": "image", "mime_type": "image/png", "data": "AAAA"},
                {"type": "image", "uri": "https://x/y.png"},
                {"type": "document", "mime_type": "application/pdf", "data": "AAAA"},
                {"type": "text", "text": "first"}]},
            {"type": "google_search_call", "id": "g1"},
            {"type": "model_output", "content": [{"type": "text", "text": "ok", "annotations": []}]},
            user("second")],
        "generation_config": {
            "max_output_tokens": 9, "seed": 1, "stop_sequences": ["x"], "temperature": 0.5,
            "thinking_level": "high", "thinking_summaries": "auto",
            "tool_choice": {"allowed_tools": {"mode": "auto", "tools": ["two"]}}},
        "tools": [{"type": "function", "name": "one", "description": "d", "parameters": {"type": "object"}},
                  {"type": "function", "name": "two"}, {"type": "google_search"}],
        "response_format": {"type": "text", "mime_type": "application/json", "schema": schema},
        "service_tier": "priority", "store": false, "stream": true, "labels": {"a": "b"},
        "response_modalities": ["text"],
    })))
    .unwrap();
    let texts = (
        ask.system.as_str(),
        ask.first_prompt.as_str(),
        ask.prompt.as_str(),
    );
    assert_eq!(texts, ("be brief", "first", "second"));
    assert!(ask.reasoning && ask.streaming && ask.work == Work::Talk);
    assert_eq!((ask.images, ask.output_tokens_max), (2, Some(9)));
    assert_eq!(
        (ask.stops, ask.tier),
        (vec!["x".to_owned()], ServiceTier::Priority)
    );
    assert_eq!(ask.format, Format::Example("{\"a\":7}".to_owned()));
    assert_eq!((ask.tools.len(), ask.tools[0].name.as_str()), (1, "two"));
}

#[test]
fn an_input_is_a_text_contents_or_steps() {
    let text = json!({"type": "text", "text": "hi"});
    for input in [
        json!("hi"),
        text.clone(),
        json!([text]),
        json!([user("hi")]),
    ] {
        let ask = read(&with(json!({ "input": input }))).unwrap();
        assert_eq!((ask.prompt.as_str(), ask.input_tokens), ("hi", 4));
    }
    for (input, why) in [
        (json!([]), "must not be empty"),
        (json!(7), "'input'"),
        (json!([text, user("hi")]), "input[0].type"),
        (json!([{"role": "user", "content": "hi"}]), "input[0].type"),
        (
            json!([{"type": "user_input", "content": "hi"}]),
            "input[0].content",
        ),
        (json!([{"type": "text"}]), "input[0].text"),
        (json!([{"type": "image", "data": "AAAA"}]), "mime_type"),
        (
            json!([{"type": "image", "mime_type": "image/png", "data": "no!"}]),
            "Base64",
        ),
        (json!([{"type": "image", "uri": "file:///x"}]), "uri"),
        (
            json!([{"type": "image", "mime_type": "image/png"}]),
            "exactly one",
        ),
        (
            json!([{"type": "image", "image_url": "https://x"}]),
            "image_url",
        ),
    ] {
        refused(with(json!({ "input": input })), why);
    }
}

#[test]
fn members_are_checked() {
    let config = |config: Value| json!({"generation_config": config});
    for (value, why) in [
        (json!({"model": null}), "'model'"),
        (json!({"input": null}), "'input' must be set"),
        (json!({"start_within": "5m"}), "start_within"),
        (json!({"systemInstruction": "x"}), "systemInstruction"),
        (
            json!({"agent": "deep-research"}),
            "'agent' is not supported",
        ),
        (json!({"background": true}), "'background'"),
        (json!({"continuation_token": "t"}), "continuation_token"),
        (json!({"service_tier": "deferred"}), "deferred"),
        (json!({"service_tier": "default"}), "service_tier"),
        (json!({"stream": "yes"}), "stream"),
        (
            json!({"system_instruction": {"parts": []}}),
            "system_instruction",
        ),
        (
            json!({"response_modalities": ["audio"]}),
            "response_modalities",
        ),
        (
            json!({"response_format": {"type": "json_schema"}}),
            "response_format",
        ),
        (
            json!({"response_format": {"type": "text", "schema": {}}}),
            "application/json",
        ),
        (
            json!({"response_format": {"type": "text", "mime_type": "text/html"}}),
            "response_format",
        ),
        (config(json!({"maxOutputTokens": 1})), "maxOutputTokens"),
        (config(json!({"max_output_tokens": 0})), "max_output_tokens"),
        (
            config(json!({"stop_sequences": ["a", "b", "c", "d", "e", "f"]})),
            "stop_sequences",
        ),
        (config(json!({"thinking_level": "huge"})), "thinking_level"),
        (
            config(json!({"thinking_summaries": "detailed"})),
            "thinking_summaries",
        ),
        (config(json!({"tool_choice": "required"})), "tool_choice"),
        (
            config(json!({"tool_choice": "any"})),
            "no function declaration",
        ),
        (
            json!({"tools": [{"type": "function", "name": "a b"}]}),
            "tools[0].name",
        ),
        (
            json!({"tools": [{"type": "function", "function": {}}]}),
            "function",
        ),
        (json!({"tools": [{"type": "hammer"}]}), "tools[0].type"),
    ] {
        refused(with(value), why);
    }
}

#[test]
fn calls_and_results_belong_together() {
    let said = |steps: Value| with(json!({ "input": steps }));
    let sound = json!([
        user("go"),
        thought(),
        call("c1"),
        call("c2"),
        result("c2", json!({"output": "18"})),
        result("c1", json!([{"type": "text", "text": "x"}])),
    ]);
    let ask = read(&said(sound)).unwrap();
    assert_eq!(ask.results, ["18", "x"]);
    let object = json!([
        user("go"),
        thought(),
        call("c1"),
        result("c1", json!({"n": 1}))
    ]);
    assert_eq!(read(&said(object)).unwrap().results, ["{\"n\":1}"]);
    let foreign = json!({"type": "thought", "signature": "skip_thought_signature_validator"});
    let foreign = json!([user("go"), foreign, call("c1"), result("c1", json!("18"))]);
    assert!(read(&said(foreign)).is_ok());
    let mut beta = thought();
    beta["signature"] = json!(seal("beta", "thought"));
    for (steps, why) in [
        (json!([user("go"), thought(), call("c1")]), "'c1' has none"),
        (
            json!([user("go"), thought(), call("c1"), user("so?")]),
            "'c1' has none",
        ),
        (json!([result("c1", json!("18"))]), "no function call 'c1'"),
        (
            json!([user("go"), call("c1"), result("c1", json!("18"))]),
            "missing a thought_signature",
        ),
        (json!([user("go"), beta]), "Corrupted thought signature"),
        (
            json!([user("go"), {"type": "thought"}]),
            "Corrupted thought signature",
        ),
        (
            json!([user("go"), thought(), {"type": "function_call", "id": "c", "name": "one",
                "arguments": "{}"}]),
            "arguments",
        ),
        (
            json!([user("go"), thought(), call("c1"), {"type": "function_result", "call_id": "c1"}]),
            "result",
        ),
    ] {
        refused(said(steps), why);
    }
    // Models that do not sign need no thoughts.
    let mut plain = said(json!([user("go"), call("c1"), result("c1", json!("18"))]));
    plain["model"] = json!("small");
    assert!(read(&plain).is_ok());
}
