//! Tests of reading Messages requests.

use serde_json::{Value, json};

use crate::ask::{Ask, Format, Refusal, Work};
use crate::stand;
use crate::wire::Wire;

fn read(body: &Value) -> Result<Ask, Refusal> {
    Ok(stand::read(Wire::AnthropicMessages, body)?.0)
}

/// A sound request with these members instead; `null` takes one away.
fn with(more: Value) -> Value {
    let mut body = json!({
        "model": "m", "max_tokens": 2_000, "messages": [{"role": "user", "content": "hi"}],
    });
    let members = body.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    body
}

fn said(messages: Value) -> Value {
    with(json!({ "messages": messages }))
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
        "system": [{"type": "text", "text": "be", "cache_control": {"type": "ephemeral"}},
                   {"type": "text", "text": "brief"}],
        "messages": [
            {"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                {"type": "text", "text": "first"}]},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": "second"}],
        "stop_sequences": ["x"], "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {
            "type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}}},
        "tools": [{"name": "one", "input_schema": {"type": "object"}},
                  {"type": "web_search_20250305", "name": "web_search"}],
        "service_tier": "standard_only", "stream": true,
    })))
    .unwrap();
    assert_eq!(
        (ask.system.as_str(), ask.first_prompt.as_str()),
        ("be\nbrief", "first")
    );
    assert_eq!((ask.prompt.as_str(), ask.images), ("second", 2));
    assert!(ask.reasoning && ask.streaming && ask.work == Work::Talk);
    assert_eq!(ask.stops, ["x"]);
    assert_eq!(ask.output_tokens_max, Some(2_000));
    assert_eq!(ask.format, Format::Example("{\"a\":7}".to_owned()));
    assert_eq!(ask.tools.len(), 1);
}

#[test]
fn members_are_checked() {
    for (more, why) in [
        (json!({"model": null}), "model: Field required"),
        (json!({"max_tokens": null}), "max_tokens: Field required"),
        (json!({"max_tokens": "9"}), "max_tokens: Input should be"),
        (json!({"messages": null}), "messages: Field required"),
        (json!({"start_within": "5m"}), "start_within: Extra inputs"),
        (json!({"max_completion_tokens": 1}), "Extra inputs"),
        (json!({"temperature": 1.5}), "temperature: range"),
        (
            json!({"thinking": {"type": "adaptive"}, "temperature": 0.5}),
            "only be set to 1",
        ),
        (json!({"thinking": {"type": "enabled"}}), "Field required"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 100}}),
            "1024",
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 2_000}}),
            "greater than",
        ),
        (json!({"thinking": {"type": "on"}}), "thinking.type"),
        (json!({"service_tier": "flex"}), "service_tier"),
        (json!({"stop_sequences": [" "]}), "non-whitespace"),
        (
            json!({"system": [{"type": "text", "text": ""}]}),
            "non-empty",
        ),
        (json!({"system": {"text": "x"}}), "system"),
        (json!({"stream": "yes"}), "stream"),
        (
            json!({"output_config": {"format": {"type": "json_object"}}}),
            "json_schema",
        ),
    ] {
        refused(with(more), why);
    }
}

#[test]
fn tools_are_checked() {
    let tools = json!([{"name": "one", "input_schema": {"type": "object"}}]);
    for (more, why) in [
        (
            json!({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}),
            "pattern",
        ),
        (
            json!({"tools": [{"name": "a"}]}),
            "input_schema: Field required",
        ),
        (
            json!({"tools": [{"name": "a", "input_schema": {}}]}),
            "'object'",
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "a"}}], "tool_choice": {"type": "any"}}),
            "no such tool",
        ),
        (
            json!({"tool_choice": {"type": "auto"}}),
            "while providing `tools`",
        ),
        (
            json!({"tools": tools, "tool_choice": "auto"}),
            "tool_choice",
        ),
        (
            json!({"tools": tools, "tool_choice": {"type": "required"}}),
            "tool_choice",
        ),
        (
            json!({"tools": tools, "tool_choice": {"type": "tool", "name": "two"}}),
            "no such tool",
        ),
        (
            json!({"tools": tools, "tool_choice": {"type": "any"}, "thinking": {"type": "adaptive"}}),
            "forces tool use",
        ),
    ] {
        refused(with(more), why);
    }
    let choice = json!({"type": "auto", "disable_parallel_tool_use": true});
    let ask = read(&with(json!({"tools": tools, "tool_choice": choice}))).unwrap();
    assert!(ask.one_call && !ask.tool_required);
}

#[test]
fn contents_are_checked() {
    let user = |content: Value| said(json!([{"role": "user", "content": content}]));
    let image = |source: Value| user(json!([{"type": "image", "source": source}]));
    for (body, why) in [
        (said(json!([])), "at least one message"),
        (
            said(json!([{"role": "system", "content": "x"}])),
            "Unexpected role",
        ),
        (
            said(json!([{"role": "assistant", "content": "x"}])),
            "first message",
        ),
        (user(json!("")), "non-empty content"),
        (user(json!([])), "non-empty content"),
        (
            user(json!([{"type": "text", "text": ""}])),
            "text content blocks must be non-empty",
        ),
        (user(json!([{"type": "image_url"}])), "does not match any"),
        (user(json!([{"type": "tool_use"}])), "does not match any"),
        (user(json!(null)), "content"),
        (
            image(json!({"type": "base64", "media_type": "image/bmp", "data": "AAAA"})),
            "media_type",
        ),
        (
            image(json!({"type": "base64", "media_type": "image/png", "data": "A"})),
            "invalid base64",
        ),
        (
            image(json!({"type": "url", "url": "data:image/png;base64,AAAA"})),
            "HTTPS",
        ),
    ] {
        refused(body, why);
    }
    let prefill = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": ""}]);
    assert!(read(&said(prefill)).is_ok());
}

#[test]
fn results_follow_their_calls_at_once() {
    let hi = json!({"role": "user", "content": "hi"});
    let uses = |ids: &[&str]| {
        let uses: Vec<Value> = ids
            .iter()
            .map(|id| json!({"type": "tool_use", "id": id, "name": "f", "input": {}}))
            .collect();
        json!({"role": "assistant", "content": uses})
    };
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": id});
    let user = |blocks: Value| json!({"role": "user", "content": blocks});
    let text = json!({"type": "text", "text": "so"});
    let fine = said(json!([
        hi,
        uses(&["a", "b"]),
        user(json!([result("b"), result("a")]))
    ]));
    assert_eq!(read(&fine).unwrap().results, ["b", "a"]);
    let more = said(json!([hi, uses(&["a"]), user(json!([result("a"), text]))]));
    let more = read(&more).unwrap();
    assert!(more.results.is_empty() && more.prompt == "so");
    for messages in [
        json!([hi, user(json!([result("a")]))]),
        json!([hi, uses(&["a", "b"]), user(json!([result("a")]))]),
        json!([hi, uses(&["a"]), hi, user(json!([result("a")]))]),
        json!([hi, uses(&["a"]), user(json!([text, result("a")]))]),
        json!([hi, uses(&["a"]), uses(&["b"])]),
        json!([hi, uses(&["a"])]),
    ] {
        refused(said(messages), "`tool_");
    }
    refused(said(json!([hi, uses(&["call:1"])])), "pattern");
    let text_input = json!({"role": "assistant", "content": [
        {"type": "tool_use", "id": "a", "name": "f", "input": "{}"}]});
    refused(said(json!([hi, text_input])), "dictionary");
}
