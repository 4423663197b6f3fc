//! Tests of reading Converse requests.

use serde_json::{Value, json};

use crate::ask::{Ask, Format, Refusal, ServiceTier, Work};
use crate::seal::seal;
use crate::stand;
use crate::wire::Wire;

fn read(body: &Value) -> Result<Ask, Refusal> {
    Ok(stand::read(Wire::BedrockConverse, body)?.0)
}

/// A sound request with these members instead; `null` takes one away.
fn with(more: Value) -> Value {
    let mut body = json!({
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"maxTokens": 2_000},
    });
    let members = body.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    body
}

fn tools() -> Value {
    let schema = json!({"json": {"type": "object"}});
    json!({"tools": [{"toolSpec": {"name": "one", "inputSchema": schema}}]})
}

fn said(messages: Value) -> Value {
    with(json!({ "messages": messages, "toolConfig": tools() }))
}

#[track_caller]
fn refused(body: Value, why: &str) {
    let refusal = read(&body).unwrap_err();
    assert_eq!(refusal.status, 400, "{body}");
    assert!(refusal.message.contains(why), "{} {body}", refusal.message);
}

fn user(content: Value) -> Value {
    json!({"role": "user", "content": content})
}

fn assistant(content: Value) -> Value {
    json!({"role": "assistant", "content": content})
}

#[test]
fn a_request_is_taken_in() {
    let schema =
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}});
    let format = json!({"name": "form", "schema": schema.to_string()});
    let ask = read(&with(json!({
        "system": [{"text": "be"}, {"cachePoint": {"type": "default", "ttl": "1h"}}, {"text": "brief"}],
        "messages": [
            user(json!([
                {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
                {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://b/k"}}}},
                {"document": {"format": "pdf", "name": "a [1]", "source": {"bytes": "AAAA"}}},
                {"text": "first"}])),
            assistant(json!([
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": seal("alpha", "hm")}}},
                {"text": "ok"}])),
            user(json!([{"text": "second"}]))],
        "inferenceConfig": {"maxTokens": 9_000, "temperature": 1, "topP": 0.5, "stopSequences": ["x"]},
        "toolConfig": tools(),
        "additionalModelRequestFields": {
            "thinking": {"type": "enabled", "budget_tokens": 1_024}, "top_k": 5},
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": format}}},
        "serviceTier": {"type": "priority"}, "requestMetadata": {"a": "b"},
        "performanceConfig": {"latency": "standard"},
    })))
    .unwrap();
    let texts = (
        ask.system.as_str(),
        ask.first_prompt.as_str(),
        ask.prompt.as_str(),
    );
    assert_eq!(texts, ("be\nbrief", "first", "second"));
    assert_eq!((ask.model.as_str(), ask.images), ("gemini-3-test", 2));
    assert!(ask.reasoning && !ask.streaming && ask.cacheable && ask.work == Work::Talk);
    assert_eq!(
        (ask.output_tokens_max, ask.tier),
        (Some(9_000), ServiceTier::Priority)
    );
    assert_eq!(ask.stops, ["x"]);
    assert_eq!(ask.format, Format::Example("{\"a\":7}".to_owned()));
    assert_eq!(ask.tools.len(), 1);
}

#[test]
fn members_are_checked() {
    let more = |value: Value| json!({"additionalModelRequestFields": value});
    let inference = |value: Value| json!({"inferenceConfig": value});
    let format = |schema: Value| {
        let structure = json!({"jsonSchema": {"schema": schema}});
        json!({"outputConfig": {"textFormat": {"type": "json_schema", "structure": structure}}})
    };
    for (value, why) in [
        (
            json!({"start_within": "5m"}),
            "extraneous key [start_within]",
        ),
        (json!({"modelId": "m"}), "extraneous key [modelId]"),
        (
            inference(json!({"max_tokens": 1})),
            "extraneous key [max_tokens]",
        ),
        (
            inference(json!({"maxTokens": 0})),
            "inferenceConfig.maxTokens",
        ),
        (
            inference(json!({"temperature": 1.5})),
            "inferenceConfig.temperature",
        ),
        (inference(json!({"stopSequences": [""]})), "stopSequences"),
        (inference(json!([])), "inferenceConfig"),
        (
            json!({"serviceTier": {"type": "standard"}}),
            "serviceTier.type",
        ),
        (more(json!({"top_kk": 5})), "top_kk: Extra inputs"),
        (
            more(json!({"thinking": {"type": "enabled", "budget_tokens": 9}})),
            "1024",
        ),
        (
            more(json!({"reasoning_config": {"type": "enabled", "budget_tokens": 9}})),
            "1024",
        ),
        (
            more(json!({"thinking": {"type": "enabled", "budget_tokens": 2_000}})),
            "greater than",
        ),
        (
            json!({"inferenceConfig": {"temperature": 0.5},
                "additionalModelRequestFields": {"thinking": {"type": "adaptive"}}}),
            "only be set to 1",
        ),
        (format(json!({"type": "object"})), "must not be null"),
        (format(json!("{")), "no JSON schema"),
        (
            json!({"outputConfig": {"textFormat": {"type": "json"}}}),
            "json_schema",
        ),
        (json!({"system": "be brief"}), "system"),
        (json!({"system": [{"text": ""}]}), "blank"),
        (
            json!({"system": [{"cachePoint": {"type": "ephemeral"}}]}),
            "cachePoint",
        ),
    ] {
        refused(with(value), why);
    }
    let flaw = stand::read(Wire::BedrockConverse, &json!("hi")).unwrap_err();
    assert_eq!(flaw.code, Some("SerializationException"));
}

#[test]
fn tools_are_checked() {
    let spec = |spec: Value| json!({"toolConfig": {"tools": [{"toolSpec": spec}]}});
    let schema = json!({"json": {"type": "object"}});
    let choice = |choice: Value| {
        let mut config = tools();
        config["toolChoice"] = choice;
        json!({ "toolConfig": config })
    };
    for (value, why) in [
        (json!({"toolConfig": {"tools": []}}), "length greater"),
        (json!({"toolConfig": {}}), "toolConfig.tools"),
        (
            spec(json!({"name": "a b", "inputSchema": schema})),
            "toolConfig.tools.1.member.toolSpec.name",
        ),
        (spec(json!({"name": "a"})), "inputSchema"),
        (
            spec(json!({"name": "a", "inputSchema": {"json": {}}})),
            "one of the following: object",
        ),
        (
            spec(json!({"name": "a", "description": "", "inputSchema": schema})),
            "description",
        ),
        (
            spec(json!({"name": "a", "parameters": {}, "inputSchema": schema})),
            "[parameters]",
        ),
        (choice(json!({"none": {}})), "toolChoice"),
        (choice(json!({"tool": {"name": "two"}})), "no such tool"),
        (choice(json!({"auto": {}, "any": {}})), "exactly one"),
    ] {
        refused(with(value), why);
    }
    let mut forced = choice(json!({"any": {}}));
    assert!(read(&with(forced.clone())).unwrap().tool_required);
    forced["additionalModelRequestFields"] = json!({"thinking": {"type": "adaptive"}});
    refused(with(forced), "Thinking may not be enabled");
}

#[test]
fn calls_and_results_belong_together() {
    let call = json!({"toolUse": {"toolUseId": "t1", "name": "one", "input": {}}});
    let result = json!({"toolResult": {"toolUseId": "t1", "status": "success", "content": [
        {"text": "18"}, {"json": {"n": 1}},
        {"image": {"format": "png", "source": {"bytes": "AAAA"}}}]}});
    let asked = user(json!([{"text": "go"}]));
    let turns = json!([
        asked,
        assistant(json!([call])),
        user(json!([result, {"text": "so?"}]))
    ]);
    let ask = read(&said(turns.clone())).unwrap();
    assert_eq!((ask.prompt.as_str(), ask.images), ("so?", 1));
    let told = json!([asked, assistant(json!([call])), user(json!([result]))]);
    assert_eq!(read(&said(told)).unwrap().results, ["18\n{\"n\":1}"]);
    refused(
        with(json!({"messages": turns})),
        "toolConfig field must be defined",
    );
}

#[test]
fn broken_calls_and_results_are_refused() {
    let call = json!({"toolUse": {"toolUseId": "t1", "name": "one", "input": {}}});
    let result = json!({"toolResult": {"toolUseId": "t1", "content": [{"text": "18"}]}});
    let asked = user(json!([{"text": "go"}]));
    for (messages, why) in [
        (
            json!([asked, assistant(json!([call]))]),
            "Expected toolResult blocks at messages.2",
        ),
        (
            json!([
                asked,
                assistant(json!([call])),
                user(json!([{"text": "so?"}, result]))
            ]),
            "Ids: t1",
        ),
        (
            json!([user(json!([result]))]),
            "exceeds the number of toolUse",
        ),
        (
            json!([
                asked,
                assistant(json!([call])),
                user(json!([result, result]))
            ]),
            "exceeds the number of toolUse",
        ),
        (
            json!([
                asked,
                assistant(json!([{"toolUse": {"toolUseId": "t 1", "name": "one", "input": {}}}]))
            ]),
            "toolUseId",
        ),
        (
            json!([
                asked,
                assistant(json!([{"toolUse": {"toolUseId": "t1", "name": "one", "input": "{}"}}]))
            ]),
            "Provide a json object",
        ),
        (
            json!([
                asked,
                assistant(json!([call])),
                user(json!([
                {"toolResult": {"toolUseId": "t1", "content": [{"json": [1]}]}}]))
            ]),
            "Provide a json object",
        ),
        (
            json!([
                asked,
                assistant(json!([call])),
                user(json!([
                {"toolResult": {"toolUseId": "t1", "content": "18"}}]))
            ]),
            "content",
        ),
    ] {
        refused(said(messages), why);
    }
}

#[test]
fn messages_are_checked() {
    let text = json!([{"text": "hi"}]);
    for (messages, why) in [
        (json!([]), "at least one message"),
        (
            json!([assistant(text.clone())]),
            "start with a user message",
        ),
        (
            json!([user(text.clone()), user(text.clone())]),
            "must alternate",
        ),
        (
            json!([{"role": "system", "content": text}]),
            "messages.1.member.role",
        ),
        (
            json!([user(json!("hi"))]),
            "content field in the Message object",
        ),
        (
            json!([user(json!([]))]),
            "content field in the Message object",
        ),
        (json!([user(json!([{"text": " "}]))]), "is blank"),
        (
            json!([user(
                json!([{"text": "a", "cachePoint": {"type": "default"}}])
            )]),
            "exactly one",
        ),
        (
            json!([user(json!([{"type": "text", "text": "a"}]))]),
            "exactly one",
        ),
        (json!([user(json!([{"song": {}}]))]), "not: song"),
        (json!([user(json!([{"toolUse": {}}]))]), "not: toolUse"),
        (
            json!([user(
                json!([{"image": {"format": "jpg", "source": {"bytes": "AAAA"}}}])
            )]),
            "image.format",
        ),
        (
            json!([user(
                json!([{"image": {"format": "png", "source": {"bytes": "no!"}}}])
            )]),
            "no base64",
        ),
        (
            json!([user(
                json!([{"document": {"format": "pdf", "name": "a", "source": {"bytes": "AAAA"}}}])
            )]),
            "no text",
        ),
        (
            json!([user(json!([{"text": "a"},
                {"document": {"format": "pdf", "name": "a.pdf", "source": {"bytes": "AAAA"}}}]))]),
            "document file name",
        ),
    ] {
        refused(said(messages), why);
    }
}

#[test]
fn thoughts_are_the_models_own() {
    let text = json!([{"text": "hi"}]);
    let thought = |thought: Value| {
        let block = json!({"reasoningContent": {"reasoningText": thought}});
        json!([
            user(text.clone()),
            assistant(json!([block])),
            user(text.clone())
        ])
    };
    for (messages, why) in [
        (
            thought(json!({"text": "hm"})),
            "thinking.signature: Field required",
        ),
        (
            thought(json!({"text": "hm", "signature": seal("beta", "hm")})),
            "Invalid `signature`",
        ),
        (
            thought(json!({"text": "ha", "signature": seal("alpha", "hm")})),
            "Invalid `signature`",
        ),
        (
            thought(json!({"signature": seal("alpha", "hm")})),
            "reasoningText.text",
        ),
    ] {
        refused(said(messages), why);
    }
}
