//! Tests of reading Responses requests.

use serde_json::{Value, json};

use crate::ask::{Ask, Format, Refusal, ServiceTier};
use crate::stand;
use crate::wire::Wire;

fn read(body: &Value) -> Result<Ask, Refusal> {
    Ok(stand::read(Wire::OpenAiResponses, body)?.0)
}

/// A sound request with these members too.
fn with(more: Value) -> Value {
    let mut body = json!({"model": "m", "input": "hi"});
    let members = body.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    body
}

#[track_caller]
fn refused(body: Value, why: &str) {
    let refusal = read(&body).unwrap_err();
    assert_eq!(refusal.status, 400, "{body}");
    assert!(refusal.message.contains(why), "{} {body}", refusal.message);
}

#[test]
fn a_request_is_taken_in() {
    let ask = read(&with(json!({
        "instructions": "be brief",
        "input": [
            {"role": "developer", "content": "and kind"},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "first"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "ok"}]},
            {"role": "user", "content": "second"}],
        "max_output_tokens": 9, "reasoning": {"effort": "low"}, "service_tier": "priority",
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {
            "type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}}},
        "tools": [{"type": "function", "name": "one", "parameters": null}, {"type": "web_search"}],
        "parallel_tool_calls": false,
    })))
    .unwrap();
    assert_eq!(
        (ask.system.as_str(), ask.first_prompt.as_str()),
        ("be brief\nand kind", "first")
    );
    assert_eq!((ask.prompt.as_str(), ask.images), ("second", 1));
    assert_eq!(
        (ask.output_tokens_max, ask.tier),
        (Some(9), ServiceTier::Priority)
    );
    assert_eq!(ask.format, Format::Example("{\"a\":7}".to_owned()));
    assert!(ask.reasoning && ask.one_call && ask.tools.len() == 1);
}

#[test]
fn members_are_checked() {
    let tools = json!([{"type": "function", "name": "one"}]);
    for (body, why) in [
        (json!({"model": "m"}), "'input'"),
        (json!({"input": "hi"}), "model"),
        (with(json!({"start_within": "5m"})), "start_within"),
        (
            with(json!({"messages": []})),
            "Unknown parameter: 'messages'",
        ),
        (with(json!({"stop": ["x"]})), "Unknown parameter: 'stop'"),
        (with(json!({"input": 7})), "input"),
        (with(json!({"instructions": ["x"]})), "instructions"),
        (with(json!({"max_output_tokens": -1})), "max_output_tokens"),
        (
            with(json!({"service_tier": "standard_only"})),
            "service_tier",
        ),
        (
            with(json!({"reasoning": {"effort": "huge"}})),
            "Invalid value",
        ),
        (
            with(json!({"text": {"format": {"type": "json_schema"}}})),
            "text.format.name",
        ),
        (
            with(json!({"text": {"format": {"type": "xml"}}})),
            "Invalid value",
        ),
        (
            with(json!({"tools": [{"type": "function", "function": {"name": "a"}}]})),
            "tools[0].name",
        ),
        (
            with(json!({"tools": tools, "tool_choice": "any"})),
            "Invalid value",
        ),
        (
            with(json!({"tools": tools, "tool_choice": {"type": "function", "name": "two"}})),
            "Invalid value",
        ),
        (
            with(json!({"previous_response_id": 7})),
            "previous_response_id",
        ),
        (
            with(json!({"background_options": {"completion_window": "2h"}})),
            "background: true",
        ),
        (
            with(json!({"background": true, "service_tier": "flex",
                "background_options": {"completion_window": "8h"}})),
            "default service tier",
        ),
    ] {
        refused(body, why);
    }
    let choice = json!({"type": "allowed_tools", "mode": "required", "tools": tools});
    let ask = read(&with(json!({"tools": tools, "tool_choice": choice}))).unwrap();
    assert!(ask.tool_required);
    let window = json!({"background": true, "background_options": {"completion_window": "8h"}});
    assert!(read(&with(window)).is_ok());
}

#[test]
fn items_are_checked() {
    let input = |items: Value| with(json!({ "input": items }));
    let message = |role: &str, part: Value| input(json!([{"role": role, "content": [part]}]));
    for (body, why) in [
        (
            message("user", json!({"type": "text", "text": "a"})),
            "Invalid value",
        ),
        (
            message("user", json!({"type": "output_text", "text": "a"})),
            "Invalid value",
        ),
        (
            message("assistant", json!({"type": "input_text", "text": "a"})),
            "Invalid value",
        ),
        (message("user", json!({"type": "input_text"})), "text"),
        (
            message(
                "user",
                json!({"type": "input_image", "image_url": "data:image/png;base64,A"}),
            ),
            "base64",
        ),
        (
            message("tool", json!({"type": "input_text", "text": "a"})),
            "Invalid value",
        ),
        (input(json!([{"role": "user", "content": null}])), "content"),
        (input(json!([{"type": "tool_result"}])), "Invalid value"),
        (
            input(json!([{"type": "function_call", "name": "f", "call_id": "a"}])),
            "arguments",
        ),
    ] {
        refused(body, why);
    }
    let unknown = input(json!([{"type": "item_reference", "id": "msg_1"}]));
    assert_eq!(read(&unknown).unwrap_err().status, 404);
}

#[test]
fn outputs_belong_to_calls() {
    let call =
        |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
    let output = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": id});
    let read = |items: Value| read(&with(json!({ "input": items })));
    let fine = read(json!([call("a"), call("b"), output("b"), output("a")])).unwrap();
    assert_eq!(fine.results, ["b", "a"]);
    let lonely = read(json!([output("a")])).unwrap_err();
    assert!(lonely.message.contains("No tool call found"));
    let open = read(json!([call("a"), call("b"), output("b")])).unwrap_err();
    assert!(
        open.message
            .contains("No tool output found for function call a")
    );
}
