//! What all wires of one provider's description have in common.
//!
//! Owns: keys, signatures, headers, errors, lists of models, and what is said of stored
//! answers, by family. It must not know the
//! answers of any wire.

use http::HeaderMap;
use serde_json::json;

use super::{Marks, anthropic, bedrock, gemini, openai};
use crate::answer::Usage;
use crate::ask::Refusal;
use crate::cache::Cached;
use crate::script::RetryAfter;

/// Who has described a wire: keys, headers and errors follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    OpenAi,
    Anthropic,
    Gemini,
    Bedrock,
}

impl Family {
    /// Whose wire a request is on, as far as its headers tell.
    pub(crate) fn guess(headers: &HeaderMap) -> Self {
        if headers.contains_key("anthropic-version") {
            Self::Anthropic
        } else if headers.contains_key("x-goog-api-key") {
            Self::Gemini
        } else {
            Self::OpenAi
        }
    }

    /// The key that a request carries.
    pub(crate) fn key(self, headers: &HeaderMap, query: &str) -> Option<String> {
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let bearer = || header("authorization")?.strip_prefix("Bearer ");
        let key = match self {
            Self::OpenAi => bearer(),
            Self::Anthropic => header("x-api-key").or_else(bearer),
            Self::Gemini => header("x-goog-api-key").or_else(|| {
                let mut pairs = query.split('&');
                pairs.find_map(|pair| pair.strip_prefix("key="))
            }),
            Self::Bedrock => bearer().or_else(|| bedrock::access_key(header("authorization")?)),
        };
        key.map(str::to_owned)
    }

    /// Whether a request that is signed is signed rightly.
    pub(crate) fn check_signature(self, request: bedrock::Signed<'_>) -> Result<(), Refusal> {
        match self {
            Self::Bedrock => bedrock::check(request),
            Self::OpenAi | Self::Anthropic | Self::Gemini => Ok(()),
        }
    }

    /// Why a key is not taken; `None` of a request without one.
    pub(crate) fn wrong_key(self, key: Option<&str>) -> Refusal {
        let (status, message) = match (self, key) {
            (Self::Bedrock, _) => return bedrock::wrong_key(key),
            (Self::OpenAi, Some(_)) => (401, "Incorrect API key provided"),
            (Self::OpenAi, None) => (401, "You didn't provide an API key"),
            (Self::Anthropic, Some(_)) => (401, "invalid x-api-key"),
            (Self::Anthropic, None) => (401, "x-api-key header is required"),
            (Self::Gemini, Some(_)) => (400, "API key not valid. Please pass a valid API key."),
            (Self::Gemini, None) => (
                403,
                "Method doesn't allow unregistered callers (callers without established identity).",
            ),
        };
        Refusal::new(status, message)
    }

    pub(crate) fn unknown_model(self, model: &str) -> Refusal {
        match self {
            Self::OpenAi => {
                Refusal::new(404, format!("The model `{model}` does not exist")).about("model")
            }
            Self::Anthropic => Refusal::new(404, format!("model: {model}")),
            Self::Gemini => Refusal::new(
                404,
                format!("models/{model} is not found for API version v1beta."),
            ),
            Self::Bedrock => Refusal::new(
                404,
                "Could not resolve the foundation model from the provided model identifier.",
            ),
        }
    }

    /// Takes in how a prompt met the cache; only Anthropic and Bedrock tell and
    /// bill writing to it.
    pub(crate) fn note_cached(self, usage: &mut Usage, cached: Cached) {
        usage.cached_tokens = cached.read.min(usage.input_tokens);
        if matches!(self, Self::Anthropic | Self::Bedrock) {
            let left = usage.input_tokens - usage.cached_tokens;
            usage.cache_written_tokens = cached.written.min(left);
        }
    }

    /// A request that would wait too long for room in its tier.
    pub(crate) fn no_capacity(self) -> Refusal {
        match self {
            Self::OpenAi => Refusal::new(429, "Resource Unavailable").coded("resource_unavailable"),
            Self::Anthropic => Refusal::new(529, "Overloaded"),
            Self::Gemini => Refusal::new(
                503,
                "This model is currently experiencing high demand. Please try again later.",
            ),
            Self::Bedrock => Refusal::new(503, "Bedrock is unable to process your request."),
        }
    }

    /// The error form.
    pub(crate) fn refusal_body(self, refusal: &Refusal, marks: Marks) -> String {
        match self {
            Self::OpenAi => openai::refusal_body(refusal),
            Self::Anthropic => anthropic::refusal_body(refusal, &marks.id("req_")),
            Self::Gemini => gemini::refusal_body(refusal),
            Self::Bedrock => bedrock::refusal_body(refusal),
        }
    }

    /// Headers that say what is wrong, where the body does not.
    pub(crate) fn error_headers(self, refusal: &Refusal) -> Vec<(&'static str, String)> {
        match self {
            Self::Bedrock => vec![("x-amzn-errortype", bedrock::error_type(refusal))],
            Self::OpenAi | Self::Anthropic | Self::Gemini => Vec::new(),
        }
    }

    /// Headers that every response has.
    pub(crate) fn headers(self, marks: Marks) -> Vec<(&'static str, String)> {
        match self {
            Self::OpenAi => vec![
                ("x-request-id", marks.id("req_")),
                ("openai-version", "2020-10-01".to_owned()),
            ],
            Self::Anthropic => vec![
                ("request-id", marks.id("req_")),
                ("anthropic-organization-id", "org-simulator".to_owned()),
            ],
            Self::Gemini => Vec::new(),
            Self::Bedrock => vec![("x-amzn-requestid", marks.uuid())],
        }
    }

    /// Headers that say when to come back (Gemini says it in the body).
    pub(crate) fn retry_headers(self, retry: Option<RetryAfter>) -> Vec<(&'static str, String)> {
        match (self, retry) {
            (Self::Gemini, _) | (_, None) => Vec::new(),
            (_, Some(RetryAfter::Seconds(s))) => vec![("retry-after", s.to_string())],
            (_, Some(RetryAfter::Millis(ms))) => vec![("retry-after-ms", ms.to_string())],
        }
    }

    /// What is said when something stored is gone.
    pub(crate) fn forgotten(self, id: &str) -> String {
        match self {
            Self::Gemini => json!({}).to_string(),
            Self::OpenAi | Self::Anthropic | Self::Bedrock => {
                json!({"id": id, "object": "response", "deleted": true}).to_string()
            }
        }
    }

    /// Nothing of this id is stored for this key.
    pub(crate) fn not_stored(self, id: &str) -> Refusal {
        match self {
            Self::Gemini => Refusal::new(404, format!("Interaction '{id}' not found.")),
            Self::OpenAi | Self::Anthropic | Self::Bedrock => {
                let message = format!("Response with id '{id}' not found.");
                Refusal::new(404, message).coded("response_not_found")
            }
        }
    }

    /// What is stored was not made in the background.
    pub(crate) fn not_cancellable(self) -> Refusal {
        Refusal::invalid(match self {
            Self::Gemini => "Only interactions in the background can be cancelled.",
            Self::OpenAi | Self::Anthropic | Self::Bedrock => {
                "Cannot cancel a synchronous response."
            }
        })
    }

    /// The list of models of a provider.
    pub(crate) fn model_list(self, host: &str, names: &[&str]) -> String {
        match self {
            Self::OpenAi => openai::model_list(host, names),
            Self::Anthropic => anthropic::model_list(names),
            Self::Gemini => gemini::model_list(names),
            Self::Bedrock => bedrock::model_list(names),
        }
    }
}
