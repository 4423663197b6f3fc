//! Verifiers: what can be said of an answer without asking anybody.
//!
//! Owns: the rules (cut off, refused, empty, a schema or a tool's arguments not kept)
//! and the score each finding stands for. Pure; knows no provider.

use serde_json::Value;
use spillway_routing::prompt::Form;
use spillway_routing::unit::Bps;

use crate::chat::Asked;
use crate::dialect::event::{End, Said, ToolCall};

/// Nodes of a schema, with references written out, and their depth. Larger ones, recursive
/// ones and patterns are a caller's to write and ours to run: they are not checked.
const NODES_MAX: u32 = 5_000;
const DEPTH_MAX: u32 = 64;

/// What the rules find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    CutOff,
    Refused,
    Empty,
    /// A form was asked for and is not kept.
    Malformed,
    /// A form was asked for and is kept.
    Formed,
    /// No rule applies.
    Open,
}

impl Finding {
    /// A fault is worth nothing; a kept form says nothing of what stands in it.
    pub(super) fn is_fault(self) -> bool {
        match self {
            Self::CutOff | Self::Refused | Self::Empty | Self::Malformed => true,
            Self::Formed | Self::Open => false,
        }
    }

    /// The score where no judge is asked; `None` where the rules cannot tell.
    pub(super) fn score(self) -> Option<Bps> {
        match self {
            Self::Formed => Some(Bps::ONE),
            Self::Open => None,
            _ => Some(Bps::ZERO),
        }
    }
}

pub(super) fn verify(asked: &Asked, said: &Said) -> Finding {
    match said.end {
        End::CutOff => return Finding::CutOff,
        End::Refused => return Finding::Refused,
        End::Whole => {}
    }
    let text = said.text();
    let called = said.calls().next().is_some();
    if text.trim().is_empty() && !called {
        return Finding::Empty;
    }
    if called {
        let kept = said.calls().all(|call| is_callable(asked, call));
        return if kept {
            Finding::Formed
        } else {
            Finding::Malformed
        };
    }
    let kept = match asked.form {
        Form::Text => return Finding::Open,
        Form::JsonObject => object(&text).is_some(),
        Form::JsonSchema => {
            object(&text).is_some_and(|value| asked.schema.as_ref().is_none_or(|s| fits(s, &value)))
        }
    };
    if kept {
        Finding::Formed
    } else {
        Finding::Malformed
    }
}

fn object(text: &str) -> Option<Value> {
    let value = serde_json::from_str::<Value>(text).ok()?;
    value.is_object().then_some(value)
}

fn is_callable(asked: &Asked, call: &ToolCall) -> bool {
    let Some(parameters) = asked.tools.get(&call.name) else {
        return false;
    };
    let arguments = if call.arguments.trim().is_empty() {
        "{}"
    } else {
        &call.arguments
    };
    object(arguments)
        .is_some_and(|arguments| parameters.as_ref().is_none_or(|p| fits(p, &arguments)))
}

/// A schema that is none itself cannot be broken; neither can one that would take too long.
fn fits(schema: &Value, value: &Value) -> bool {
    let mut left = NODES_MAX;
    if !is_bounded(schema, schema, &mut left, 0) {
        return true;
    }
    jsonschema::validator_for(schema).map_or(true, |schema| schema.is_valid(value))
}

/// Whether a schema has few nodes even with all its references written out: a reference
/// that is used twice on each level doubles the work with every level.
fn is_bounded(node: &Value, root: &Value, left: &mut u32, depth: u32) -> bool {
    if *left == 0 || depth == DEPTH_MAX {
        return false;
    }
    *left -= 1;
    match node {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, field)| match (name.as_str(), field) {
                ("$ref", Value::String(to)) => to
                    .strip_prefix('#')
                    .and_then(|at| root.pointer(at))
                    .is_some_and(|node| is_bounded(node, root, left, depth + 1)),
                ("$dynamicRef" | "$recursiveRef" | "pattern" | "patternProperties", _) => false,
                // Written out where they are referred to.
                ("$defs" | "definitions", _) => true,
                _ => is_bounded(field, root, left, depth + 1),
            }),
        Value::Array(items) => items
            .iter()
            .all(|item| is_bounded(item, root, left, depth + 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::own_question;
    use crate::dialect::event::Piece;

    fn said(text: &str) -> Said {
        Said {
            pieces: vec![Piece::Text(text.to_owned())],
            ..Said::default()
        }
    }

    fn asked(rest: &str) -> Asked {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{rest}}}"#);
        own_question(&body.into()).unwrap().asked()
    }

    #[test]
    fn ends_come_before_everything() {
        let ended = |end| Said { end, ..said("{}") };
        let plain = asked("");
        assert_eq!(verify(&plain, &ended(End::CutOff)), Finding::CutOff);
        assert_eq!(verify(&plain, &ended(End::Refused)), Finding::Refused);
        assert_eq!(verify(&plain, &said("  \n")), Finding::Empty);
        assert_eq!(verify(&plain, &said("42")), Finding::Open);
        assert!(!plain.has_form());
    }

    #[test]
    fn a_schema_is_kept_or_not() {
        let schema = r#","response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object","required":["a"],"properties":{"a":{"type":"integer"}}}}}"#;
        let asked = asked(schema);
        assert!(asked.has_form());
        assert_eq!(verify(&asked, &said(r#"{"a":1}"#)), Finding::Formed);
        assert_eq!(verify(&asked, &said(r#"{"a":"1"}"#)), Finding::Malformed);
        assert_eq!(verify(&asked, &said("sorry")), Finding::Malformed);
    }

    #[test]
    fn a_schema_that_is_none_blames_no_answer() {
        let schema = r#","response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"no such type"}}}"#;
        assert_eq!(verify(&asked(schema), &said("{}")), Finding::Formed);
    }

    #[test]
    fn a_schema_that_would_take_for_ever_is_not_checked() {
        let level = |i: u32| {
            let next = format!(r##"{{"$ref":"#/$defs/{}"}}"##, i + 1);
            format!(r#""{i}":{{"allOf":[{next},{next}]}}"#)
        };
        let mut levels: Vec<String> = (0..60).map(level).collect();
        levels.push(r#""60":{"type":"integer"}"#.to_owned());
        let doubling = format!(
            r##"{{"$defs":{{{}}},"$ref":"#/$defs/0"}}"##,
            levels.join(",")
        );
        let doubling: Value = serde_json::from_str(&doubling).unwrap();
        assert!(fits(&doubling, &Value::Null));
        let recursive: Value =
            serde_json::from_str(r##"{"type":"object","properties":{"a":{"$ref":"#"}}}"##).unwrap();
        assert!(fits(&recursive, &Value::Null));
        // One reference is an ordinary schema, and is checked.
        let plain =
            r##"{"$defs":{"n":{"type":"integer"}},"properties":{"a":{"$ref":"#/$defs/n"}}}"##;
        let plain: Value = serde_json::from_str(plain).unwrap();
        assert!(!fits(&plain, &serde_json::json!({ "a": "1" })));
    }

    #[test]
    fn a_call_must_fit_a_declared_tool() {
        let tools = r#","tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","required":["city"]}}},{"type":"function","function":{"name":"now"}}]"#;
        let asked = asked(tools);
        let call = |name: &str, arguments: &str| {
            let call = ToolCall {
                id: "1".to_owned(),
                name: name.to_owned(),
                arguments: arguments.to_owned(),
            };
            let said = Said {
                pieces: vec![Piece::Call(call)],
                ..Said::default()
            };
            verify(&asked, &said)
        };
        assert_eq!(call("look", r#"{"city":"Ulm"}"#), Finding::Formed);
        assert_eq!(call("look", "{}"), Finding::Malformed);
        assert_eq!(call("look", "{city"), Finding::Malformed);
        assert_eq!(call("now", ""), Finding::Formed);
        assert_eq!(call("later", "{}"), Finding::Malformed);
        // Words instead of a call may be right: the rules cannot tell.
        assert_eq!(verify(&asked, &said("It is noon.")), Finding::Open);
    }
}
