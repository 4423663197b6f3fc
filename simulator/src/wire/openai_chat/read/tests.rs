//! Tests of reading Chat requests.

use serde_json::{Value, json};

use crate::ask::{Ask, Format, Refusal};
use crate::stand;
use crate::wire::{Call, Delivery, Family, Marks, Wire};

fn read_json(value: &Value) -> Result<Ask, Refusal> {
    Ok(stand::read(Wire::OpenAiChat, value)?.0)
}

fn asked(more: &Value) -> Result<Ask, Refusal> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    read_json(&body)
}

#[test]
fn the_last_user_message_is_the_prompt_and_all_text_counts() {
    let ask = read_json(&json!({
        "model": "m", "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": [{"type": "text", "text": "se"}, {"type": "text", "text": "cond"}]},
        ]
    }))
    .unwrap();
    assert_eq!(ask.prompt, "se\ncond");
    assert_eq!(
        (ask.system.as_str(), ask.first_prompt.as_str()),
        ("be brief", "first")
    );
    // 8 + 5 + 2 + 7 bytes are 22, six tokens, and four messages.
    assert_eq!(ask.input_tokens, 6 + 12);
    assert!(!ask.streaming && ask.tools.is_empty());
}

#[test]
fn what_a_provider_would_refuse_is_refused() {
    let user = json!([{"role": "user", "content": "hi"}]);
    let cases = [
        json!({"messages": user}),
        json!({"model": "m"}),
        json!({"model": "m", "messages": []}),
        json!({"model": "m", "messages": user, "start_within": "5m"}),
        json!({"model": "m", "messages": user, "stream_options": {"include_usage": true}}),
        json!({"model": "m", "messages": user, "service_tier": "luxury"}),
        json!({"model": "m", "messages": user, "tools": [{"type": "function", "name": "flat"}]}),
        json!({"model": "m", "messages": user, "tools": [{"name": "bare", "input_schema": {}}]}),
        json!({"model": "m", "messages": user, "tool_choice": "required"}),
        json!({"model": "m", "messages": user, "tool_choice": {"type": "any"}}),
        json!({"model": "m", "messages": user, "parallel_tool_calls": false}),
        json!({"model": "m", "messages": user, "stop": ["a", "b", "c", "d", "e"]}),
        json!({"model": "m", "messages": user, "reasoning_effort": "some"}),
        json!({"model": "m", "messages": user, "response_format": {"type": "json_schema"}}),
        json!({"model": "m", "messages": [{"role": "model", "content": "hi"}]}),
        json!({"model": "m", "messages": [{"role": "user", "content": null}]}),
        json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "image"}]}]}),
        json!([1]),
    ];
    for case in cases {
        let refusal = read_json(&case).unwrap_err();
        assert_eq!(refusal.status, 400, "{case}");
        let body = Family::OpenAi.refusal_body(&refusal, Marks::new(1, "alpha", 0));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["type"], "invalid_request_error", "{case}");
    }
    let call = Call {
        wire: Wire::OpenAiChat,
        model: String::new(),
        delivery: Delivery::Whole,
    };
    assert_eq!(stand::read_call(&call, b"{").unwrap_err().status, 400);
}

#[test]
fn tools_are_called_with_arguments_their_schema_demands() {
    let tool = |name: &str| {
        json!({"type": "function", "function": {"name": name, "parameters": {
        "type": "object", "required": ["city", "days", "unit", "where"],
        "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"},
            "unit": {"type": "string", "enum": ["C", "F"]},
            "where": {"type": "object", "required": ["deep"], "properties": {"deep": {"type": "boolean"}}},
            "spare": {"type": "string"},
        }}}})
    };
    let ask = |choice: Value| {
        asked(&json!({"tools": [tool("first"), tool("second")], "tool_choice": choice})).unwrap()
    };
    let called = &ask(Value::Null).tools[0];
    assert_eq!(called.name, "first");
    let arguments: Value = serde_json::from_str(&called.arguments).unwrap();
    let expected = json!({"city": "sample", "days": 7, "unit": "C", "where": {"deep": true}});
    assert_eq!(arguments, expected);
    assert_eq!(ask(json!("none")).tools, []);
    let named = ask(json!({"type": "function", "function": {"name": "second"}}));
    assert_eq!(named.tools[0].name, "second");
    assert!(named.tool_required && ask(json!("required")).tool_required);
    let allowed = ask(
        json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
        {"type": "function", "function": {"name": "second"}}]}}),
    );
    assert!(allowed.tools.len() == 1 && !allowed.tool_required);
}

#[test]
fn results_follow_their_calls() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let user = json!({"role": "user", "content": "hi"});
    let calls = |ids: [&str; 2]| {
        let calls: Vec<Value> = ids.iter().map(|id| call(id)).collect();
        json!({"role": "assistant", "content": null, "tool_calls": calls})
    };
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": id});
    let read = |messages: Value| read_json(&json!({"model": "m", "messages": messages}));
    let fine = read(json!([user, calls(["a", "b"]), result("b"), result("a")])).unwrap();
    assert_eq!(fine.results, ["b", "a"]);
    let later = read(json!([
        user,
        calls(["a", "b"]),
        result("b"),
        result("a"),
        user
    ]))
    .unwrap();
    assert!(later.results.is_empty());
    for broken in [
        json!([user, result("a")]),
        json!([user, calls(["a", "b"]), result("a")]),
        json!([user, calls(["a", "b"]), result("a"), user, result("b")]),
        json!([user, calls(["a", "b"]), result("a"), result("c")]),
        json!([user, calls(["a", "b"]), user]),
    ] {
        assert_eq!(read(broken.clone()).unwrap_err().status, 400, "{broken}");
    }
}

#[test]
fn the_rest_of_a_request_is_taken_in() {
    let ask = asked(&json!({
        "stop": "x", "max_completion_tokens": 9, "max_tokens": 4, "service_tier": "flex",
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {
            "type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}}},
        "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}],
    }))
    .unwrap();
    assert_eq!((ask.images, ask.output_tokens_max), (2, Some(9)));
    assert_eq!(ask.stops, ["x"]);
    assert_eq!(ask.format, Format::Example("{\"a\":7}".to_owned()));
    assert!(ask.reasoning);
    assert_eq!(ask.tier, crate::ask::ServiceTier::Flex);
    assert!(
        !asked(&json!({"reasoning_effort": "none"}))
            .unwrap()
            .reasoning
    );
}

#[test]
fn newer_models_do_not_reason_about_tools_here() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let ask = |model: &str, effort: &str| {
        asked(&json!({"model": model, "tools": tools, "reasoning_effort": effort}))
    };
    assert_eq!(ask("gpt-6.1-sol", "low").unwrap_err().status, 400);
    assert!(ask("gpt-6.1-sol", "none").is_ok() && ask("gpt-5.2", "low").is_ok());
}
