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

/// What becomes of one keyword.
enum Keyword {
    /// Schemas by names of the caller's own.
    Named,
    Schema,
    Schemas,
    Kept,
    /// Says nothing that Claude would not do.
    Idle,
    /// Answers are not kept to it.
    Told,
}

impl Keyword {
    fn of(name: &str, value: &Value) -> Self {
        match name {
            "$defs" | "definitions" | "properties" => Self::Named,
            "items" => Self::Schema,
            "anyOf" | "oneOf" | "allOf" => Self::Schemas,
            "$ref" | "const" | "description" | "enum" | "required" | "title" | "type" => Self::Kept,
            "format" if FORMATS.iter().any(|known| value == known) => Self::Kept,
            "minItems" if matches!(value.as_u64(), Some(0 | 1)) => Self::Kept,
            "$id" | "$schema" => Self::Idle,
            "additionalProperties" if *value == false => Self::Idle,
            _ => Self::Told,
        }
    }
}

/// The keywords of a schema; nothing may stand beside a reference but definitions.
fn keywords(fields: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value, Keyword)> {
    let refers = fields.contains_key("$ref");
    let stands = move |name: &str| !refers || matches!(name, "$ref" | "$defs" | "definitions");
    let all = fields.iter().filter(move |(name, _)| stands(name));
    all.map(|(name, value)| (name, value, Keyword::of(name, value)))
}

/// Whether answers are kept to all of a schema.
pub(super) fn is_kept(given: &Value) -> bool {
    let Value::Object(fields) = given else {
        return true;
    };
    let each = |value: &Value| match value {
        Value::Object(named) => named.values().all(is_kept),
        Value::Array(all) => all.iter().all(is_kept),
        _ => true,
    };
    !is_free(fields)
        && keywords(fields).all(|(_, value, keyword)| match keyword {
            Keyword::Named | Keyword::Schemas => each(value),
            Keyword::Schema => is_kept(value),
            Keyword::Kept | Keyword::Idle => true,
            Keyword::Told => false,
        })
}

/// The schema with its objects closed; what answers are not kept to is told in the
/// description beside it.
pub(in crate::dialect) fn schema(given: &Value) -> Value {
    let Value::Object(fields) = given else {
        return given.clone();
    };
    let (mut kept, mut told) = (Map::new(), Vec::new());
    for (name, value, keyword) in keywords(fields) {
        let value = match keyword {
            Keyword::Named => named(value),
            Keyword::Schema => schema(value),
            Keyword::Schemas => list(value),
            Keyword::Kept => value.clone(),
            Keyword::Idle => continue,
            Keyword::Told => {
                told.push(format!("{name}: {value}"));
                continue;
            }
        };
        // There is no word for the second.
        let instead = name == "oneOf" && !fields.contains_key("anyOf");
        kept.insert(if instead { "anyOf" } else { name }.to_owned(), value);
    }
    if is_object(&kept) {
        kept.insert("additionalProperties".to_owned(), false.into());
    }
    if is_free(fields) && told.is_empty() {
        told.push("additionalProperties: true".to_owned());
    }
    if !told.is_empty() {
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

/// Whether it is an object of any fields at all: a closed one would stay empty.
fn is_free(fields: &Map<String, Value>) -> bool {
    let closed = fields.get("additionalProperties") == Some(&Value::Bool(false));
    is_object(fields) && !closed && !fields.contains_key("properties")
}

fn named(all: &Value) -> Value {
    match all {
        Value::Object(named) => {
            let each = named.iter();
            each.map(|(name, one)| (name.clone(), schema(one)))
                .collect()
        }
        other => other.clone(),
    }
}

fn list(all: &Value) -> Value {
    match all {
        Value::Array(all) => all.iter().map(schema).collect(),
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
        assert_eq!(schema(&given), wanted);
        assert_eq!(schema(&wanted), wanted);
        assert!(is_kept(&given) && is_kept(&wanted));
    }

    #[test]
    fn bounds_are_told_in_words() {
        let given =
            json!({ "type": "integer", "description": "A share.", "minimum": 0, "maximum": 9 });
        assert!(!is_kept(&given));
        let kept = schema(&given);
        let description = kept["description"].as_str().unwrap();
        assert!(description.starts_with("A share.\n\n{"), "{description}");
        assert!(description.contains("minimum: 0") && description.contains("maximum: 9"));
        assert_eq!(kept.as_object().unwrap().len(), 2, "{kept}");
    }

    #[test]
    fn objects_of_any_fields_are_told_in_words() {
        for (given, told) in [
            (json!({ "type": "object" }), "{additionalProperties: true}"),
            (
                json!({ "type": "object", "additionalProperties": { "type": "string" } }),
                r#"{additionalProperties: {"type":"string"}}"#,
            ),
            (
                json!({ "type": "object", "properties": {}, "additionalProperties": true }),
                "{additionalProperties: true}",
            ),
        ] {
            assert!(!is_kept(&given), "{given}");
            let kept = schema(&given);
            assert_eq!(kept["description"], told);
            assert_eq!(kept["additionalProperties"], false);
        }
    }
}
