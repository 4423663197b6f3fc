//! The paths below a provider's name.
//!
//! Owns: which path and method mean what. It must not know what becomes of a request.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::wire::{Call, Delivery, Family, Wire};

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Something is asked of a model.
    Call(Call),
    /// The list of models.
    Models(Family),
    /// A stored response (or interaction) is looked at, forgotten or cancelled.
    Look(Family, String),
    Forget(Family, String),
    Cancel(Family, String),
}

/// Why there is no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoute {
    Unknown(Family),
    Method(Family),
}

/// Finds the route of a path below a provider. `guess` is the family that the request's
/// headers look like: all of them have a list of models at one path.
pub(crate) fn route(
    method: &Method,
    path: &str,
    query: &str,
    guess: Family,
) -> Result<Route, NoRoute> {
    // Gemini has two versions; its SDKs ask for either.
    let stable = path.strip_prefix("v1/");
    let stable =
        stable.filter(|rest| rest.starts_with("models/") || rest.starts_with("interactions"));
    if let Some(rest) = path.strip_prefix("v1beta/").or(stable) {
        return gemini(method, rest, query);
    }
    if let Some(rest) = path.strip_prefix("model/") {
        return bedrock(method, rest);
    }
    let wire = match path {
        "v1/chat/completions" => Wire::OpenAiChat,
        "v1/responses" => Wire::OpenAiResponses,
        "v1/embeddings" => Wire::OpenAiEmbeddings,
        "v1/images/generations" => Wire::OpenAiImages,
        "v1/messages" => Wire::AnthropicMessages,
        "v1/messages/count_tokens" => Wire::AnthropicCountTokens,
        "v1/models" => return only(method, &Method::GET, Route::Models(guess), guess),
        "foundation-models" => {
            let family = Family::Bedrock;
            return only(method, &Method::GET, Route::Models(family), family);
        }
        _ => {
            let family = Family::OpenAi;
            let id = path.strip_prefix("v1/responses/");
            return stored(method, id.ok_or(NoRoute::Unknown(family))?, family);
        }
    };
    let call = Call {
        wire,
        model: String::new(),
        delivery: Delivery::Whole,
    };
    only(method, &Method::POST, Route::Call(call), wire.family())
}

fn only(method: &Method, right: &Method, route: Route, family: Family) -> Result<Route, NoRoute> {
    if method == right {
        Ok(route)
    } else {
        Err(NoRoute::Method(family))
    }
}

fn stored(method: &Method, id: &str, family: Family) -> Result<Route, NoRoute> {
    match (method, id.split_once('/')) {
        (&Method::GET, None) => Ok(Route::Look(family, id.to_owned())),
        (&Method::DELETE, None) => Ok(Route::Forget(family, id.to_owned())),
        (&Method::POST, Some((id, "cancel"))) => Ok(Route::Cancel(family, id.to_owned())),
        (_, None | Some((_, "cancel"))) => Err(NoRoute::Method(family)),
        _ => Err(NoRoute::Unknown(family)),
    }
}

fn gemini(method: &Method, path: &str, query: &str) -> Result<Route, NoRoute> {
    let family = Family::Gemini;
    if path == "models" {
        return only(method, &Method::GET, Route::Models(family), family);
    }
    if let Some(id) = path.strip_prefix("interactions/") {
        return stored(method, id, family);
    }
    if path == "interactions" {
        let call = Call {
            wire: Wire::GeminiInteractions,
            model: String::new(),
            delivery: Delivery::Whole,
        };
        return only(method, &Method::POST, Route::Call(call), family);
    }
    let named = path.strip_prefix("models/");
    let named = named.and_then(|named| named.rsplit_once(':'));
    let (model, action) = named.ok_or(NoRoute::Unknown(family))?;
    let events = query.split('&').any(|pair| pair == "alt=sse");
    let (wire, delivery) = match action {
        "generateContent" => (Wire::GeminiGenerate, Delivery::Whole),
        "streamGenerateContent" if events => (Wire::GeminiGenerate, Delivery::Events),
        "streamGenerateContent" => (Wire::GeminiGenerate, Delivery::Array),
        "countTokens" => (Wire::GeminiCountTokens, Delivery::Whole),
        _ => return Err(NoRoute::Unknown(family)),
    };
    let call = Call {
        wire,
        model: model.to_owned(),
        delivery,
    };
    only(method, &Method::POST, Route::Call(call), family)
}

/// Ids of models are escaped: they have colons in them, and slashes.
fn bedrock(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let family = Family::Bedrock;
    let unknown = NoRoute::Unknown(family);
    let (model, action) = path.rsplit_once('/').ok_or(unknown)?;
    let delivery = match action {
        "converse" => Delivery::Whole,
        "converse-stream" => Delivery::Events,
        _ => return Err(unknown),
    };
    let call = Call {
        wire: Wire::BedrockConverse,
        model: percent_decode_str(model).decode_utf8_lossy().into_owned(),
        delivery,
    };
    only(method, &Method::POST, Route::Call(call), family)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str, query: &str) -> Option<Call> {
        match route(&Method::POST, path, query, Family::OpenAi) {
            Ok(Route::Call(call)) => Some(call),
            _ => None,
        }
    }

    #[test]
    fn every_wire_has_its_path() {
        let wire = |path| call(path, "").map(|call| call.wire);
        assert_eq!(wire("v1/chat/completions"), Some(Wire::OpenAiChat));
        assert_eq!(wire("v1/responses"), Some(Wire::OpenAiResponses));
        assert_eq!(wire("v1/embeddings"), Some(Wire::OpenAiEmbeddings));
        assert_eq!(wire("v1/images/generations"), Some(Wire::OpenAiImages));
        assert_eq!(wire("v1/messages"), Some(Wire::AnthropicMessages));
        let counting = Some(Wire::AnthropicCountTokens);
        assert_eq!(wire("v1/messages/count_tokens"), counting);
        assert_eq!(
            wire("v1beta/models/m:countTokens"),
            Some(Wire::GeminiCountTokens)
        );
        let stable = Some(Wire::GeminiGenerate);
        assert_eq!(wire("v1/models/m:generateContent"), stable);
        assert_eq!(wire("v1beta/models/m:sing"), None);
        let interactions = Some(Wire::GeminiInteractions);
        assert_eq!(wire("v1beta/interactions"), interactions);
        assert_eq!(wire("v1/interactions"), interactions);
        assert_eq!(wire("model/m/converse"), Some(Wire::BedrockConverse));
        assert_eq!(wire("model/m/invoke"), None);
    }

    #[test]
    fn ids_of_bedrock_are_escaped() {
        let call = call("model/a.b-v1%3A0%2Fc/converse-stream", "").unwrap();
        assert_eq!(
            (call.model.as_str(), call.delivery),
            ("a.b-v1:0/c", Delivery::Events)
        );
        let list = route(&Method::GET, "foundation-models", "", Family::OpenAi);
        assert_eq!(list, Ok(Route::Models(Family::Bedrock)));
        let wrong = route(&Method::GET, "model/m/converse", "", Family::OpenAi);
        assert_eq!(wrong, Err(NoRoute::Method(Family::Bedrock)));
    }

    #[test]
    fn gemini_says_in_the_url_what_others_say_in_the_body() {
        let stream = "v1beta/models/a:b:streamGenerateContent";
        let events = call(stream, "key=k&alt=sse").unwrap();
        assert_eq!(
            (events.model.as_str(), events.delivery),
            ("a:b", Delivery::Events)
        );
        assert_eq!(call(stream, "").unwrap().delivery, Delivery::Array);
        let whole = call("v1beta/models/m:generateContent", "alt=sse").unwrap();
        assert_eq!(whole.delivery, Delivery::Whole);
    }

    #[test]
    fn stored_responses_and_lists_have_their_methods() {
        let of = |method: Method, path| route(&method, path, "", Family::OpenAi);
        let look = Ok(Route::Look(Family::OpenAi, "r1".to_owned()));
        assert_eq!(of(Method::GET, "v1/responses/r1"), look);
        let forget = Ok(Route::Forget(Family::OpenAi, "r1".to_owned()));
        assert_eq!(of(Method::DELETE, "v1/responses/r1"), forget);
        let cancel = Ok(Route::Cancel(Family::OpenAi, "r1".to_owned()));
        assert_eq!(of(Method::POST, "v1/responses/r1/cancel"), cancel);
        let look = Ok(Route::Look(Family::Gemini, "i1".to_owned()));
        assert_eq!(of(Method::GET, "v1beta/interactions/i1"), look);
        let cancel = Ok(Route::Cancel(Family::Gemini, "i1".to_owned()));
        assert_eq!(of(Method::POST, "v1/interactions/i1/cancel"), cancel);
        let models = route(&Method::GET, "v1/models", "", Family::Anthropic);
        assert_eq!(models, Ok(Route::Models(Family::Anthropic)));
        let wrong = Err(NoRoute::Method(Family::OpenAi));
        assert_eq!(of(Method::GET, "v1/chat/completions"), wrong);
        let unknown = Err(NoRoute::Unknown(Family::OpenAi));
        assert_eq!(of(Method::GET, "v1/elsewhere"), unknown);
    }
}
