//! The smallest values that JSON schemas allow.
//!
//! Owns: examples of schemas, of JSON Schema and of Gemini's upper-case relative. It
//! must not know where a schema came from or what the example is for.

use serde_json::{Map, Value, json};

/// Schemas that are nested deeper (or refer to themselves) get `null`.
const DEPTH_MAX: usize = 32;

/// The smallest value of a schema: objects have their required properties only.
pub(crate) fn smallest(schema: &Value) -> Value {
    let objectlike = schema.get("type").is_none() && variant(schema).is_none();
    if objectlike && schema.get("$ref").is_none() && schema.get("enum").is_none() {
        return object(schema, schema, 0);
    }
    value(Some(schema), schema, 0)
}

/// The smallest arguments of a tool: always an object.
pub(crate) fn arguments(schema: Option<&Value>) -> Value {
    let Some(schema) = schema else {
        return json!({});
    };
    match smallest(schema) {
        Value::Object(object) => Value::Object(object),
        _ => json!({}),
    }
}

fn object(schema: &Value, root: &Value, depth: usize) -> Value {
    let mut object = Map::new();
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        let property = schema.get("properties").and_then(|all| all.get(name));
        object.insert(name.to_owned(), value(property, root, depth + 1));
    }
    Value::Object(object)
}

fn value(schema: Option<&Value>, root: &Value, depth: usize) -> Value {
    let Some(schema) = schema else {
        return json!("sample");
    };
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = target.strip_prefix('#').and_then(|path| root.pointer(path));
        return value(target, root, depth + 1);
    }
    if let Some(fixed) = schema.get("const").or_else(|| schema.pointer("/enum/0")) {
        return fixed.clone();
    }
    if let Some(first) = variant(schema) {
        return value(Some(first), root, depth + 1);
    }
    match sort(schema).as_deref() {
        Some("integer" | "number" | "float") => json!(7),
        Some("boolean") => json!(true),
        Some("array") => {
            let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
            let item = || value(schema.get("items"), root, depth + 1);
            (0..count.min(16)).map(|_| item()).collect()
        }
        Some("object" | "dict") => object(schema, root, depth),
        Some("null") => Value::Null,
        None if schema.get("properties").is_some() => object(schema, root, depth),
        _ => json!("sample"),
    }
}

fn variant(schema: &Value) -> Option<&Value> {
    let of = |key| schema.get(key)?.get(0);
    of("anyOf").or_else(|| of("oneOf")).or_else(|| of("allOf"))
}

/// The type in lower case; of several the first that is not null.
fn sort(schema: &Value) -> Option<String> {
    let sort = match schema.get("type")? {
        Value::Array(sorts) => sorts.iter().find(|sort| *sort != "null")?,
        sort => sort,
    };
    Some(sort.as_str()?.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_get_a_value_of_their_type() {
        let schema = json!({
            "type": "object", "required": ["city", "days", "unit", "where", "maybe", "kind", "tags"],
            "properties": {
                "city": {"type": "string"}, "days": {"type": "INTEGER"},
                "unit": {"type": "string", "enum": ["C", "F"]},
                "where": {"type": "object", "required": ["deep"], "properties": {"deep": {"type": "boolean"}}},
                "maybe": {"type": ["null", "number"]}, "kind": {"$ref": "#/$defs/kind"},
                "tags": {"type": "array", "minItems": 1, "items": {"anyOf": [{"const": "x"}]}},
                "spare": {"type": "string"},
            },
            "$defs": {"kind": {"enum": ["a"]}},
        });
        let expected = json!({
            "city": "sample", "days": 7, "unit": "C", "where": {"deep": true}, "maybe": 7,
            "kind": "a", "tags": ["x"],
        });
        assert_eq!(smallest(&schema), expected);
        assert_eq!(arguments(None), json!({}));
        assert_eq!(arguments(Some(&json!({"type": "string"}))), json!({}));
    }

    #[test]
    fn a_schema_without_end_has_an_example_too() {
        let schema =
            json!({"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}});
        assert!(smallest(&schema)["next"].is_object());
    }
}
