//! Tests of reading generateContent requests.

use serde_json::{Value, json};

use crate::ask::{Ask, Format, Refusal, ServiceTier};
use crate::stand;
use crate::wire::{Call, Delivery, Wire};

fn read(body: &Value) -> Result<Ask, Refusal> {
    let call = Call {
        wire: Wire::GeminiGenerate,
        model: "m".to_owned(),
        delivery: Delivery::Whole,
    };
    Ok(stand::read_call(&call, body.to_string().as_bytes())?.0)
}

fn user(parts: Value) -> Value {
    json!({"contents": [{"role": "user", "parts": parts}]})
}

/// A sound request with these members too.
fn with(more: Value) -> Value {
    let mut body = user(json!([{"text": "hi"}]));
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
fn both_cases_are_read() {
    let config = |mime: &str, schema: &str, max: &str, stop: &str, thinking: Value| {
        let mut config = json!({});
        config[mime] = json!("application/json");
        config[schema] =
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}});
        config[max] = json!(9);
        config[stop] = json!(["x"]);
        config
            .as_object_mut()
            .unwrap()
            .extend(thinking.as_object().unwrap().clone());
        config
    };
    let data = json!({"mimeType": "image/png", "data": "AAAA"});
    let camel = json!({
        "contents": [
            {"role": "user", "parts": [{"text": "first"}, {"inlineData": data}]},
            {"role": "model", "parts": [{"text": "hm", "thought": true}, {"text": "ok"}]},
            {"parts": [{"text": "second"}]}],
        "systemInstruction": {"parts": [{"text": "be"}, {"text": "brief"}]}, "serviceTier": "priority",
        "generationConfig": config("responseMimeType", "responseJsonSchema", "maxOutputTokens",
            "stopSequences", json!({"thinkingConfig": {"thinkingLevel": "LOW"}})),
    });
    let data = json!({"mime_type": "image/png", "data": "AAAA"});
    let snake = json!({
        "contents": [
            {"role": "user", "parts": [{"text": "first"}, {"inline_data": data}]},
            {"role": "model", "parts": [{"text": "hm", "thought": true}, {"text": "ok"}]},
            {"parts": [{"text": "second"}]}],
        "system_instruction": {"parts": {"text": "be\nbrief"}}, "service_tier": "priority",
        "generation_config": config("response_mime_type", "response_json_schema", "max_output_tokens",
            "stop_sequences", json!({"thinking_config": {"thinking_level": "low"}})),
    });
    for body in [camel, snake] {
        let ask = read(&body).unwrap();
        assert_eq!(
            (ask.system.as_str(), ask.first_prompt.as_str()),
            ("be\nbrief", "first")
        );
        assert_eq!((ask.prompt.as_str(), ask.images), ("second", 1));
        assert_eq!(
            (ask.output_tokens_max, ask.tier),
            (Some(9), ServiceTier::Priority)
        );
        assert_eq!(ask.stops, ["x"]);
        assert_eq!(ask.format, Format::Example("{\"a\":7}".to_owned()));
        assert!(ask.reasoning);
        // 8 + 5 + 2 + 6 bytes: thoughts that come back are not counted.
        assert_eq!(ask.input_tokens, 6 + 12);
    }
}

#[test]
fn members_are_checked() {
    let config = |config: Value| with(json!({ "generationConfig": config }));
    for (body, why) in [
        (json!({}), "contents is not specified"),
        (json!({"contents": []}), "contents is not specified"),
        (
            with(json!({"start_within": "5m"})),
            "Unknown name \"start_within\"",
        ),
        (with(json!({"messages": []})), "Unknown name"),
        (with(json!({"serviceTier": "luxury"})), "service_tier"),
        (config(json!({"max_tokens": 1})), "at 'generation_config'"),
        (config(json!({"maxOutputTokens": "1"})), "max_output_tokens"),
        (
            config(json!({"stopSequences": ["1", "2", "3", "4", "5", "6"]})),
            "stop_sequences",
        ),
        (
            config(json!({"responseSchema": {"type": "OBJECT"}})),
            "mime type",
        ),
        (
            config(json!({"responseMimeType": "text/html"})),
            "allowed mimetypes",
        ),
        (
            config(json!({"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "low"}})),
            "only one of",
        ),
        (
            config(json!({"thinkingConfig": {"effort": "low"}})),
            "Unknown name",
        ),
        (
            config(json!({"responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT", "additionalProperties": false}})),
            "Unknown name \"additionalProperties\"",
        ),
    ] {
        refused(body, why);
    }
    let quiet = config(json!({"thinkingConfig": {"thinkingBudget": 0, "includeThoughts": true}}));
    assert!(!read(&quiet).unwrap().reasoning);
    let object = config(json!({"responseMimeType": "application/json"}));
    assert_eq!(read(&object).unwrap().format, Format::Object);
}

#[test]
fn parts_are_checked() {
    for (body, why) in [
        (user(json!([])), "must not be empty"),
        (user(json!([{}])), "required oneof field 'data'"),
        (
            user(json!([{"text": "a", "inlineData": {"data": "AAAA"}}])),
            "required oneof",
        ),
        (
            user(json!([{"type": "text", "text": "a"}])),
            "Unknown name \"type\"",
        ),
        (user(json!([{"text": 1}])), "text"),
        (
            user(json!([{"inlineData": {"mimeType": "image/png", "data": "A"}}])),
            "Base64",
        ),
        (user(json!([{"inlineData": {"data": "AAAA"}}])), "mime_type"),
        (
            user(json!([{"fileData": {"fileUri": "https://x/y.png"}}])),
            "Cannot fetch",
        ),
        (
            user(json!([{"functionCall": {"name": "f", "args": {}}}])),
            "function_call",
        ),
        (
            json!({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}),
            "valid role",
        ),
        (
            with(json!({"systemInstruction": "be brief"})),
            "system_instruction",
        ),
    ] {
        refused(body, why);
    }
    let file = json!({"fileUri": "gs://bucket/y.png", "mimeType": "image/png"});
    assert_eq!(
        read(&user(json!([{ "fileData": file }]))).unwrap().images,
        1
    );
}

#[test]
fn tools_are_checked() {
    let declared = |function: Value| json!([{"functionDeclarations": [function]}]);
    let tools = declared(json!({"name": "one"}));
    let calling = |config: Value| json!({"functionCallingConfig": config});
    for (more, why) in [
        (json!({"tools": [{"type": "function"}]}), "Unknown name"),
        (
            json!({"tools": declared(json!({"name": "a b"}))}),
            "Invalid function name",
        ),
        (
            json!({"tools": declared(json!({"name": "a", "parameters": {
                "type": "object", "properties": {"x": {"$ref": "#"}}}}))}),
            "Unknown name \"$ref\" at 'tools[0].function_declarations[0].parameters.properties[x]'",
        ),
        (
            json!({"tools": declared(json!({"name": "a", "parameters": {}, "parametersJsonSchema": {}}))}),
            "exclude",
        ),
        (
            json!({"tools": tools, "toolConfig": calling(json!({"mode": "REQUIRED"}))}),
            "mode",
        ),
        (
            json!({"tools": tools, "toolConfig": calling(json!({"mode": "AUTO", "allowedFunctionNames": ["one"]}))}),
            "only when",
        ),
        (
            json!({"tools": tools, "toolConfig": calling(json!({"mode": "ANY", "allowedFunctionNames": ["two"]}))}),
            "no function declaration",
        ),
    ] {
        refused(with(more), why);
    }
    let any = json!({"tools": tools, "tool_config": {"function_calling_config": {"mode": "any"}}});
    assert!(read(&with(any)).unwrap().tool_required);
    let none = json!({"tools": tools, "toolConfig": calling(json!({"mode": "NONE"}))});
    assert!(read(&with(none)).unwrap().tools.is_empty());
    let json_schema = json!({"name": "a", "parametersJsonSchema": {
        "type": "object", "additionalProperties": false, "required": ["x"]}});
    let ask = read(&with(json!({"tools": declared(json_schema)}))).unwrap();
    assert_eq!(ask.tools[0].arguments, "{\"x\":\"sample\"}");
}

#[test]
fn responses_answer_their_calls() {
    let hi = json!({"role": "user", "parts": [{"text": "hi"}]});
    let calls = |names: &[&str]| {
        let calls = names
            .iter()
            .map(|name| json!({"functionCall": {"name": name, "args": {}}}));
        json!({"role": "model", "parts": calls.collect::<Vec<Value>>()})
    };
    let answers = |names: &[&str]| {
        let answers = names
            .iter()
            .map(|name| json!({"functionResponse": {"name": name, "response": {"result": name}}}));
        json!({"role": "user", "parts": answers.collect::<Vec<Value>>()})
    };
    let said = |contents: Value| json!({ "contents": contents });
    let fine = said(json!([hi, calls(&["a", "b"]), answers(&["b", "a"])]));
    assert_eq!(read(&fine).unwrap().results, ["b", "a"]);
    for contents in [
        json!([hi, answers(&["a"])]),
        json!([hi, calls(&["a", "b"]), answers(&["a"])]),
        json!([hi, calls(&["a"]), answers(&["b"])]),
        json!([hi, calls(&["a"]), hi]),
        json!([hi, calls(&["a"])]),
    ] {
        refused(said(contents), "number of function response parts");
    }
    let text = json!({"role": "user", "parts": [
        {"functionResponse": {"name": "a", "response": "18"}}]});
    refused(said(json!([hi, calls(&["a"]), text])), "response");
}
