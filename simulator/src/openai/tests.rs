//! Tests of the wire's reading side and of its error form.

use super::*;

fn read_json(value: &Value) -> Result<Ask, Refusal> {
    read(value.to_string().as_bytes())
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
    // 8 + 5 + 2 + 7 bytes are 22, six tokens, and four messages.
    assert_eq!(ask.input_tokens, 6 + 12);
    assert!(!ask.streaming && !ask.include_usage && ask.tool.is_none());
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
        json!([1]),
    ];
    for case in cases {
        let refusal = read_json(&case).unwrap_err();
        assert_eq!(refusal.status, 400, "{case}");
        let body: Value = serde_json::from_str(&refusal.body).unwrap();
        assert_eq!(body["error"]["type"], "invalid_request_error", "{case}");
    }
    assert_eq!(read(b"{").unwrap_err().status, 400);
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
        read_json(&json!({
            "model": "m", "messages": [{"role": "user", "content": "hi"}],
            "tools": [tool("first"), tool("second")], "tool_choice": choice,
        }))
        .unwrap()
    };
    let called = ask(Value::Null).tool.unwrap();
    assert_eq!(called.name, "first");
    let arguments: Value = serde_json::from_str(&called.arguments).unwrap();
    let expected = json!({"city": "sample", "days": 7, "unit": "C", "where": {"deep": true}});
    assert_eq!(arguments, expected);
    assert_eq!(ask(json!("none")).tool, None);
    let named = ask(json!({"type": "function", "function": {"name": "second"}}));
    assert_eq!(named.tool.unwrap().name, "second");
    assert!(named.tool_required && ask(json!("required")).tool_required);
}

#[test]
fn errors_have_the_form_and_code_of_their_status() {
    let error = |status| -> Value {
        serde_json::from_str(&error_body(status, "no", Some("model"))).unwrap()
    };
    assert_eq!(error(429)["error"]["code"], "rate_limit_exceeded");
    assert_eq!(error(401)["error"]["code"], "invalid_api_key");
    assert_eq!(error(500)["error"]["type"], "server_error");
    assert_eq!(error(404)["error"]["param"], "model");
    assert_eq!(error(404)["error"]["message"], "no");
}
