//! What a whole answer says, for whoever checks or scores it.
//!
//! Owns: reading the first choice's text, calls, refusal and end. An answer that cannot
//! be read says nothing.

use serde::Deserialize;
use serde_json::Value;

use crate::dialect::{End, Said, ToolCall};

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Default, Deserialize)]
struct Choice {
    #[serde(default)]
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Message {
    #[serde(default)]
    content: Value,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: String,
}

pub(in crate::dialect) fn said(body: &[u8]) -> Said {
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let Some(choice) = body.choices.into_iter().next() else {
        return Said::default();
    };
    let refused = choice.message.refusal.is_some_and(|text| !text.is_empty());
    let calls = choice.message.tool_calls.unwrap_or_default();
    let call = |call: Call| ToolCall {
        name: call.function.name,
        arguments: call.function.arguments,
    };
    Said {
        text: text(&choice.message.content),
        calls: calls.into_iter().map(call).collect(),
        end: match choice.finish_reason.as_deref() {
            Some("content_filter") => End::Refused,
            _ if refused => End::Refused,
            Some("length") => End::CutOff,
            _ => End::Whole,
        },
    }
}

/// A string, or the text of a list of parts.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_choice_is_read_in_every_form() {
        let of = |choice: &str| said(format!(r#"{{"choices":[{choice}]}}"#).as_bytes());
        let plain = of(r#"{"message":{"content":"hello"},"finish_reason":"stop"}"#);
        assert_eq!((plain.text.as_str(), plain.end), ("hello", End::Whole));
        let parts = of(r#"{"message":{"content":[{"type":"text","text":"a"},{"text":"b"}]}}"#);
        assert_eq!(parts.text, "a\nb");
        let cut = of(r#"{"message":{"content":"he"},"finish_reason":"length"}"#);
        assert_eq!(cut.end, End::CutOff);
        let refused = of(r#"{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}"#);
        assert_eq!((refused.text.as_str(), refused.end), ("", End::Refused));
        let called = of(
            r#"{"message":{"content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"look","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}"#,
        );
        let call = ToolCall {
            name: "look".to_owned(),
            arguments: r#"{"a":1}"#.to_owned(),
        };
        assert_eq!(called.calls, [call]);
        assert_eq!(said(b"not json"), Said::default());
    }
}
