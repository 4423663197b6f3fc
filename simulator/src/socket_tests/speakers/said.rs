//! What was said on any wire, from whole answers and from the deltas of streams.
//!
//! It must not use the code it tests.

use serde_json::Value;

use super::Speaker;
use crate::stand::Heard;

/// What was said, in no wire's words.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::socket_tests) struct Said {
    pub(in crate::socket_tests) text: String,
    pub(in crate::socket_tests) reasoning: String,
    pub(in crate::socket_tests) refusal: String,
    pub(in crate::socket_tests) calls: Vec<(String, Value)>,
    pub(in crate::socket_tests) finish: String,
    pub(in crate::socket_tests) input: u64,
    pub(in crate::socket_tests) output: u64,
    pub(in crate::socket_tests) thought: u64,
}

impl Speaker {
    pub(in crate::socket_tests) fn said(self, heard: &Heard, stream: bool) -> Said {
        match (self, stream) {
            (Self::Chat, false) => chat_whole(&heard.json()),
            (Self::Chat, true) => chat_stream(heard),
            (Self::Responses, false) => responses_whole(&heard.json()),
            (Self::Responses, true) => responses_stream(heard),
            (Self::Messages, false) => messages_whole(&heard.json()),
            (Self::Messages, true) => messages_stream(heard),
            (Self::Gemini | Self::GeminiArray, false) => gemini_said(&[heard.json()]),
            (Self::Gemini, true) => gemini_said(&heard.chunks()),
            (Self::GeminiArray, true) => gemini_said(heard.json().as_array().unwrap()),
            (Self::Converse, false) => converse_whole(&heard.json()),
            (Self::Converse, true) => converse_stream(heard),
            (Self::Interactions, false) => interactions_whole(&heard.json()),
            (Self::Interactions, true) => interactions_stream(heard),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn chat_usage(said: &mut Said, usage: &Value) {
    said.input = number(&usage["prompt_tokens"]);
    said.output = number(&usage["completion_tokens"]);
    said.thought = number(&usage["completion_tokens_details"]["reasoning_tokens"]);
}

fn chat_whole(answer: &Value) -> Said {
    let choice = &answer["choices"][0];
    let message = &choice["message"];
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    let calls = calls.map(|call| {
        let function = &call["function"];
        (
            text(&function["name"]),
            json_of(&text(&function["arguments"])),
        )
    });
    let mut said = Said {
        text: text(&message["content"]),
        reasoning: text(&message["reasoning_content"]),
        refusal: text(&message["refusal"]),
        calls: calls.collect(),
        finish: text(&choice["finish_reason"]),
        ..Said::default()
    };
    chat_usage(&mut said, &answer["usage"]);
    said
}

fn chat_stream(heard: &Heard) -> Said {
    let mut events = heard.events();
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let mut said = Said::default();
    let mut calls: Vec<(String, String)> = Vec::new();
    for chunk in events.iter().map(|event| json_of(event)) {
        let choice = &chunk["choices"][0];
        let delta = &choice["delta"];
        said.text += &text(&delta["content"]);
        said.reasoning += &text(&delta["reasoning_content"]);
        said.refusal += &text(&delta["refusal"]);
        said.finish += &text(&choice["finish_reason"]);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            let index = number(&call["index"]) as usize;
            if !call["id"].is_null() {
                assert_eq!(index, calls.len());
                calls.push((text(&function["name"]), String::new()));
            }
            calls[index].1 += &text(&function["arguments"]);
        }
        if !chunk["usage"].is_null() {
            chat_usage(&mut said, &chunk["usage"]);
        }
    }
    let calls = calls.into_iter().map(|(name, args)| (name, json_of(&args)));
    said.calls = calls.collect();
    said
}

fn responses_whole(response: &Value) -> Said {
    let mut said = Said {
        finish: text(&response["status"]),
        input: number(&response["usage"]["input_tokens"]),
        output: number(&response["usage"]["output_tokens"]),
        thought: number(&response["usage"]["output_tokens_details"]["reasoning_tokens"]),
        ..Said::default()
    };
    for item in response["output"].as_array().unwrap() {
        said.reasoning += &text(&item["summary"][0]["text"]);
        said.text += &text(&item["content"][0]["text"]);
        said.refusal += &text(&item["content"][0]["refusal"]);
        if item["type"] == "function_call" {
            let arguments = json_of(&text(&item["arguments"]));
            said.calls.push((text(&item["name"]), arguments));
        }
    }
    said
}

/// From the deltas alone; the terminal event only says how it ended.
fn responses_stream(heard: &Heard) -> Said {
    let events = heard.named_events();
    let (_, terminal) = events.last().unwrap();
    let ended = responses_whole(&terminal["response"]);
    let mut said = Said {
        finish: ended.finish,
        ..Said::default()
    };
    (said.input, said.output, said.thought) = (ended.input, ended.output, ended.thought);
    let mut calls: Vec<(String, String)> = Vec::new();
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!(data["type"], name.as_str());
        assert_eq!(data["sequence_number"], number);
        let delta = text(&data["delta"]);
        match name.as_str() {
            "response.output_text.delta" => said.text += &delta,
            "response.refusal.delta" => said.refusal += &delta,
            "response.reasoning_summary_text.delta" => said.reasoning += &delta,
            "response.output_item.added" if data["item"]["type"] == "function_call" => {
                calls.push((text(&data["item"]["name"]), String::new()));
            }
            "response.function_call_arguments.delta" => calls.last_mut().unwrap().1 += &delta,
            _ => {}
        }
    }
    let calls = calls.into_iter().map(|(name, args)| (name, json_of(&args)));
    said.calls = calls.collect();
    said
}

fn messages_usage(said: &mut Said, usage: &Value) {
    let inputs = ["input_tokens", "cache_read_input_tokens"].map(|name| number(&usage[name]));
    said.input = inputs.iter().sum();
    said.output = number(&usage["output_tokens"]);
    said.thought = number(&usage["output_tokens_details"]["thinking_tokens"]);
}

fn messages_whole(message: &Value) -> Said {
    let mut said = Said {
        finish: text(&message["stop_reason"]),
        ..Said::default()
    };
    messages_usage(&mut said, &message["usage"]);
    for block in message["content"].as_array().unwrap() {
        said.text += &text(&block["text"]);
        said.reasoning += &text(&block["thinking"]);
        if block["type"] == "tool_use" {
            said.calls
                .push((text(&block["name"]), block["input"].clone()));
        }
    }
    said
}

fn messages_stream(heard: &Heard) -> Said {
    let mut said = Said::default();
    let mut calls: Vec<(String, String)> = Vec::new();
    for (name, data) in heard.named_events() {
        assert_eq!(data["type"], name.as_str());
        let delta = &data["delta"];
        match name.as_str() {
            "content_block_start" if data["content_block"]["type"] == "tool_use" => {
                calls.push((text(&data["content_block"]["name"]), String::new()));
            }
            "content_block_delta" => {
                said.text += &text(&delta["text"]);
                said.reasoning += &text(&delta["thinking"]);
                if let Some(call) = calls.last_mut() {
                    call.1 += &text(&delta["partial_json"]);
                }
            }
            "message_delta" => {
                said.finish = text(&delta["stop_reason"]);
                messages_usage(&mut said, &data["usage"]);
            }
            _ => {}
        }
    }
    let calls = calls.into_iter().map(|(name, args)| (name, json_of(&args)));
    said.calls = calls.collect();
    said
}

fn gemini_said(chunks: &[Value]) -> Said {
    let mut said = Said::default();
    for chunk in chunks {
        let candidate = &chunk["candidates"][0];
        let parts = candidate["content"]["parts"].as_array();
        for part in parts.into_iter().flatten() {
            if part["thought"] == true {
                said.reasoning += &text(&part["text"]);
            } else {
                said.text += &text(&part["text"]);
            }
            let call = &part["functionCall"];
            if !call.is_null() {
                said.calls.push((text(&call["name"]), call["args"].clone()));
            }
        }
        said.finish += &text(&candidate["finishReason"]);
        let usage = &chunk["usageMetadata"];
        said.input = number(&usage["promptTokenCount"]);
        said.thought = number(&usage["thoughtsTokenCount"]);
        said.output = number(&usage["candidatesTokenCount"]) + said.thought;
    }
    said
}

fn converse_usage(said: &mut Said, usage: &Value) {
    let inputs = ["inputTokens", "cacheReadInputTokens"].map(|name| number(&usage[name]));
    said.input = inputs.iter().sum();
    said.output = number(&usage["outputTokens"]);
    assert_eq!(number(&usage["totalTokens"]), said.input + said.output);
}

/// The wire does not tell how many of the tokens were thoughts.
fn converse_whole(answer: &Value) -> Said {
    let mut said = Said {
        finish: text(&answer["stopReason"]),
        ..Said::default()
    };
    converse_usage(&mut said, &answer["usage"]);
    let message = &answer["output"]["message"];
    assert_eq!(message["role"], "assistant");
    for block in message["content"].as_array().unwrap() {
        said.text += &text(&block["text"]);
        said.reasoning += &text(&block["reasoningContent"]["reasoningText"]["text"]);
        if let Some(call) = block.get("toolUse") {
            said.calls
                .push((text(&call["name"]), call["input"].clone()));
        }
    }
    said
}

fn converse_stream(heard: &Heard) -> Said {
    let mut said = Said::default();
    let mut calls: Vec<(String, String)> = Vec::new();
    for (name, data) in heard.frames() {
        let delta = &data["delta"];
        match name.as_str() {
            "contentBlockStart" => {
                calls.push((text(&data["start"]["toolUse"]["name"]), String::new()));
            }
            "contentBlockDelta" => {
                said.text += &text(&delta["text"]);
                said.reasoning += &text(&delta["reasoningContent"]["text"]);
                if let Some(call) = calls.last_mut() {
                    call.1 += &text(&delta["toolUse"]["input"]);
                }
            }
            "messageStop" => said.finish = text(&data["stopReason"]),
            "metadata" => converse_usage(&mut said, &data["usage"]),
            _ => {}
        }
    }
    let calls = calls.into_iter().map(|(name, args)| (name, json_of(&args)));
    said.calls = calls.collect();
    said
}

fn interactions_usage(said: &mut Said, usage: &Value) {
    said.input = number(&usage["total_input_tokens"]);
    said.thought = number(&usage["total_thought_tokens"]);
    said.output = number(&usage["total_output_tokens"]) + said.thought;
    assert_eq!(number(&usage["total_tokens"]), said.input + said.output);
}

fn interactions_whole(interaction: &Value) -> Said {
    let mut said = Said {
        finish: text(&interaction["status"]),
        ..Said::default()
    };
    interactions_usage(&mut said, &interaction["usage"]);
    for step in interaction["steps"].as_array().unwrap() {
        said.text += &text(&step["content"][0]["text"]);
        said.reasoning += &text(&step["summary"][0]["text"]);
        if step["type"] == "function_call" {
            let call = (text(&step["name"]), step["arguments"].clone());
            said.calls.push(call);
        }
    }
    said
}

fn interactions_stream(heard: &Heard) -> Said {
    let mut said = Said::default();
    let mut calls: Vec<(String, String)> = Vec::new();
    for (name, data) in heard.finished_events() {
        assert_eq!(data["event_type"], name.as_str());
        let delta = &data["delta"];
        match name.as_str() {
            "step.start" if data["step"]["type"] == "function_call" => {
                calls.push((text(&data["step"]["name"]), String::new()));
            }
            "step.delta" => {
                said.text += &text(&delta["text"]);
                said.reasoning += &text(&delta["content"]["text"]);
                if let Some(call) = calls.last_mut() {
                    call.1 += &text(&delta["arguments"]);
                }
            }
            "interaction.completed" => {
                said.finish = text(&data["interaction"]["status"]);
                interactions_usage(&mut said, &data["interaction"]["usage"]);
            }
            _ => {}
        }
    }
    let calls = calls.into_iter().map(|(name, args)| (name, json_of(&args)));
    said.calls = calls.collect();
    said
}
