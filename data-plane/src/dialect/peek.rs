//! Reading JSON that others wrote.
//!
//! Owns: looking into values without ever failing: what is missing or of another type is
//! simply not there. Knows no dialect.

use serde_json::Value;

/// A field that is there and not null.
pub(crate) fn at<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).filter(|found| !found.is_null())
}

/// A field under either of two spellings.
pub(crate) fn either<'a>(value: &'a Value, first: &str, second: &str) -> Option<&'a Value> {
    at(value, first).or_else(|| at(value, second))
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    at(value, name)?.as_str()
}

pub(crate) fn count(value: &Value, name: &str) -> Option<u64> {
    at(value, name)?.as_u64()
}

pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    at(value, name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// One text or several, as texts.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list
            .iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether a setting says what it would be without it.
pub(crate) fn is_idle(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
