//! What OpenAI's wires have in common: errors, tiers, images in, the list of models.
//!
//! Owns: those forms. It must not know any one wire's answers.

use bytes::Bytes;
use serde_json::{Value, json};

use super::CREATED;
use crate::ask::{Refusal, ServiceTier};
use crate::base64;

/// Fields of the router's own that no provider may ever see.
const FOREIGN_FIELDS: [&str; 1] = ["start_within"];

/// The provider's error form, with the type and code that belong to a status.
pub fn error_body(status: u16, message: &str, param: Option<&str>) -> String {
    let (sort, code) = sort_and_code(status);
    json!({"error": {"message": message, "type": sort, "param": param, "code": code}}).to_string()
}

pub(super) fn sort_and_code(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        400 => ("invalid_request_error", None),
        401 => ("invalid_request_error", Some("invalid_api_key")),
        403 => ("invalid_request_error", Some("permission_denied")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("rate_limit_error", Some("rate_limit_exceeded")),
        503 => ("service_unavailable_error", Some("server_is_overloaded")),
        529 => ("overloaded_error", Some("overloaded")),
        500..=599 => ("server_error", None),
        _ => ("invalid_request_error", None),
    }
}

pub(super) fn refusal_body(refusal: &Refusal) -> String {
    let Refusal {
        status,
        message,
        param,
        code,
        ..
    } = refusal;
    let Some(code) = code else {
        return error_body(*status, message, param.as_deref());
    };
    let (sort, _) = sort_and_code(*status);
    json!({"error": {"message": message, "type": sort, "param": param, "code": code}}).to_string()
}

/// The body as JSON, without fields that are the router's.
pub(super) fn parse(body: &[u8]) -> Result<Value, Refusal> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        Refusal::invalid(format!(
            "We could not parse the JSON body of your request: {error}"
        ))
    })?;
    if !value.is_object() {
        return Err(Refusal::invalid("The JSON body is not an object."));
    }
    for field in FOREIGN_FIELDS {
        if value.get(field).is_some() {
            let message = format!("Unrecognized request argument supplied: {field}");
            return Err(Refusal::invalid(message).about(field));
        }
    }
    Ok(value)
}

pub(super) fn model(body: &Value) -> Result<String, Refusal> {
    let missing = || Refusal::invalid("you must provide a model parameter").about("model");
    Ok(body["model"].as_str().ok_or_else(missing)?.to_owned())
}

/// An optional flag.
pub(super) fn flag(body: &Value, name: &str) -> Result<Option<bool>, Refusal> {
    match &body[name] {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(*flag)),
        _ => Err(wrong_type(name, "a boolean")),
    }
}

/// An optional count.
pub(super) fn count(body: &Value, name: &str) -> Result<Option<u64>, Refusal> {
    match &body[name] {
        Value::Null => Ok(None),
        value => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| wrong_type(name, "a positive integer")),
    }
}

pub(super) fn wrong_type(name: &str, wanted: &str) -> Refusal {
    Refusal::invalid(format!("Invalid type for '{name}': expected {wanted}.")).about(name)
}

pub(super) fn missing(name: impl Into<String>) -> Refusal {
    let name = name.into();
    Refusal::invalid(format!("Missing required parameter: '{name}'.")).about(name)
}

pub(super) fn wrong_value(name: impl Into<String>, value: &Value) -> Refusal {
    Refusal::invalid(format!("Invalid value: {value}.")).about(name)
}

/// The tier a request asks for.
pub(super) fn tier(body: &Value) -> Result<ServiceTier, Refusal> {
    let value = &body["service_tier"];
    match value.as_str() {
        None if value.is_null() => Ok(ServiceTier::Standard),
        Some("auto" | "default" | "scale") => Ok(ServiceTier::Standard),
        Some("flex") => Ok(ServiceTier::Flex),
        Some("priority" | "fast" | "ultrafast") => Ok(ServiceTier::Priority),
        _ => Err(Refusal::invalid(format!(
            "Invalid service_tier argument {value}: not allowed for this project"
        ))
        .about("service_tier")),
    }
}

/// How a served tier is called.
pub(super) fn tier_name(tier: ServiceTier) -> &'static str {
    match tier {
        ServiceTier::Standard => "default",
        ServiceTier::Flex => "flex",
        ServiceTier::Priority => "priority",
    }
}

/// Checks the URL of an image: `https:`, `http:`, or a `data:` that is what it says.
pub(super) fn image(url: Option<&str>, param: &str) -> Result<(), Refusal> {
    let refuse = |message: &str| {
        Err(Refusal::invalid(message)
            .about(param)
            .coded("invalid_image_url"))
    };
    let Some(url) = url else {
        return Err(missing(param));
    };
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(());
    }
    let data = url.strip_prefix("data:image/");
    let Some((_, data)) = data.and_then(|data| data.split_once(";base64,")) else {
        return refuse("Invalid image URL: expected a valid URL or a base64-encoded data URL.");
    };
    match base64::decode(data) {
        Some(bytes) if !bytes.is_empty() => Ok(()),
        _ => refuse("Invalid base64 image_url."),
    }
}

/// Whether this effort means that the model reasons.
pub(super) fn reasons(effort: &Value, param: &str) -> Result<bool, Refusal> {
    match effort.as_str() {
        None if effort.is_null() => Ok(false),
        Some("none") => Ok(false),
        Some("minimal" | "low" | "medium" | "high" | "xhigh" | "max") => Ok(true),
        _ => Err(wrong_value(param, effort)),
    }
}

/// One server-sent event without a name.
pub(super) fn data(data: &str) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// The last event of a Chat stream.
pub(super) fn done() -> Bytes {
    data("[DONE]")
}

pub(super) fn model_list(host: &str, names: &[&str]) -> String {
    let model =
        |name: &&str| json!({"id": name, "object": "model", "created": CREATED, "owned_by": host});
    let models: Vec<Value> = names.iter().map(model).collect();
    json!({"object": "list", "data": models}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_form_and_code_of_their_status() {
        let error = |status| -> Value {
            serde_json::from_str(&error_body(status, "no", Some("model"))).unwrap()
        };
        assert_eq!(error(429)["error"]["code"], "rate_limit_exceeded");
        assert_eq!(error(401)["error"]["code"], "invalid_api_key");
        assert_eq!(error(500)["error"]["type"], "server_error");
        assert_eq!(error(404)["error"]["param"], "model");
        assert_eq!(error(404)["error"]["message"], "no");
    }

    #[test]
    fn an_image_is_a_url_or_what_it_says() {
        assert!(image(Some("https://x/y.png"), "p").is_ok());
        assert!(image(Some("data:image/png;base64,AAAA"), "p").is_ok());
        let broken = [
            "",
            "x.png",
            "data:image/png,AAAA",
            "data:image/png;base64,A",
        ];
        for url in broken {
            assert_eq!(image(Some(url), "p").unwrap_err().status, 400, "{url}");
        }
        assert!(image(None, "p").is_err());
    }
}
