//! A JSON schema as Claude takes it.
//!
//! Owns: what structured outputs refuse (open objects, bounds, most formats), and saying it
//! in words instead, as Anthropic's own SDKs do. Knows no request.

use serde_json::{Map, Value};

/// Formats of texts that answers are kept to.
const FORMATS: [&str; 10] = [
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
];

/// The schema, with objects closed, and whether answers are kept to all of it. What they are
/// not kept to is told in the description beside it.
pub(in crate::dialect) fn schema(given: &Value) -> (Value, bool) {
    let mut whole = true;
    (adapted(given, &mut whole), whole)
}

fn adapted(given: &Value, whole: &mut bool) -> Value {
    let Value::Object(fields) = given else {
        return given.clone();
    };
    let mut kept = Map::new();
    let mut told = Vec::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            "$defs" | "definitions" | "properties" => each(value, whole),
            // Nothing may stand beside a reference.
            _ if fields.contains_key("$ref") && name != "$ref" => continue,
            "items" => adapted(value, whole),
            "anyOf" | "oneOf" | "allOf" => list(value, whole),
            "$ref" | "const" | "description" | "enum" | "required" | "title" | "type" => {
                value.clone()
            }
            "format" if FORMATS.iter().any(|known| value == known) => value.clone(),
            "minItems" if matches!(value.as_u64(), Some(0 | 1)) => value.clone(),
            "$id" | "$schema" => continue,
            "additionalProperties" if value.is_boolean() => continue,
            _ => {
                told.push(format!("{name}: {value}"));
                continue;
            }
        };
        let name = if name == "oneOf" { "anyOf" } else { name };
        kept.insert(name.to_owned(), value);
    }
    if is_object(fields) {
        kept.insert("additionalProperties".to_owned(), false.into());
    }
    if !told.is_empty() {
        *whole = false;
        let told = format!("{{{}}}", told.join(", "));
        let told = match kept.get("description").and_then(Value::as_str) {
            Some(description) => format!("{description}\n\n{told}"),
            None => told,
        };
        kept.insert("description".to_owned(), told.into());
    }
    kept.into()
}

fn is_object(fields: &Map<String, Value>) -> bool {
    match fields.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => fields.contains_key("properties"),
    }
}

fn each(named: &Value, whole: &mut bool) -> Value {
    match named {
        Value::Object(named) => {
            let adapted = named.iter().map(|(name, one)| {
                let one = adapted(one, whole);
                (name.clone(), one)
            });
            adapted.collect()
        }
        other => other.clone(),
    }
}

fn list(all: &Value, whole: &mut bool) -> Value {
    match all {
        Value::Array(all) => all.iter().map(|one| adapted(one, whole)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_closed_wherever_they_stand() {
        let point = json!({ "type": "object", "properties": { "x": { "type": "integer" } } });
        let given = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": { "point": point },
            "type": "object",
            "additionalProperties": true,
            "properties": {
                "from": { "$ref": "#/$defs/point", "description": "where" },
                "via": { "type": ["array", "null"], "items": point, "minItems": 1 },
                "to": { "oneOf": [point, { "type": "null" }] },
                "format": { "type": "string", "format": "date" },
            },
        });
        let closed = json!({
            "type": "object", "properties": { "x": { "type": "integer" } },
            "additionalProperties": false,
        });
        let wanted = json!({
            "$defs": { "point": closed },
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "from": { "$ref": "#/$defs/point" },
                "via": { "type": ["array", "null"], "items": closed, "minItems": 1 },
                "to": { "anyOf": [closed, { "type": "null" }] },
                "format": { "type": "string", "format": "date" },
            },
        });
        assert_eq!(schema(&given), (wanted.clone(), true));
        assert_eq!(schema(&wanted), (wanted, true));
    }

    #[test]
    fn bounds_are_told_in_words() {
        let given =
            json!({ "type": "integer", "description": "A share.", "minimum": 0, "maximum": 9 });
        let (kept, whole) = schema(&given);
        assert!(!whole);
        let description = kept["description"].as_str().unwrap();
        assert!(description.starts_with("A share.\n\n{"), "{description}");
        assert!(description.contains("minimum: 0") && description.contains("maximum: 9"));
        assert_eq!(kept.as_object().unwrap().len(), 2, "{kept}");
        let open = json!({ "type": "object", "additionalProperties": { "type": "string" } });
        let (kept, whole) = schema(&open);
        assert_eq!(
            (&kept["additionalProperties"], whole),
            (&json!(false), false)
        );
    }
}
