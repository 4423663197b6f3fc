//! What a caller may put into `model`: routes, and models that pin themselves.
//!
//! Owns: the list in the form of each official SDK. A key sees only its own routes.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};
use serde_json::{Value, json};
use spillway_routing::dialect::Dialect;
use spillway_routing::table::Table;

use super::guarded;
use crate::failure::{Failure, Kind};
use crate::inbound::request_id;
use crate::{Proxy, auth};

/// One entry of the list.
struct Listed {
    id: String,
    is_policy: bool,
}

/// `GET /v1/models` and `/v1beta/models`.
pub(super) async fn list(
    State(proxy): State<Arc<Proxy>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let dialect = asked_in(&uri, &headers);
    guarded(request_id(), dialect, async {
        let (table, listed) = allowed(&proxy, &headers)?;
        let made_at = table.draft().made_at;
        let data: Vec<Value> = listed
            .iter()
            .map(|one| form(one, dialect, made_at.0))
            .collect();
        let ends = |one: Option<&Listed>| one.map(|one| one.id.clone());
        Ok(Json(match dialect {
            Dialect::AnthropicMessages => json!({
                "data": data,
                "has_more": false,
                "first_id": ends(listed.first()),
                "last_id": ends(listed.last()),
            }),
            Dialect::GeminiGenerate => json!({ "models": data }),
            _ => json!({ "object": "list", "data": data }),
        })
        .into_response())
    })
    .await
}

/// The same with a model's name.
pub(super) async fn one(
    State(proxy): State<Arc<Proxy>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let dialect = asked_in(&uri, &headers);
    guarded(request_id(), dialect, async {
        let (table, listed) = allowed(&proxy, &headers)?;
        let found = listed.iter().find(|one| one.id == id).ok_or_else(|| {
            let message = "no such route or model; GET /v1/models lists them";
            Failure::client(Kind::UnknownModel, message)
        })?;
        Ok(Json(form(found, dialect, table.draft().made_at.0)).into_response())
    })
    .await
}

/// The SDKs share a path; they are known by their headers.
fn asked_in(uri: &Uri, headers: &HeaderMap) -> Dialect {
    let google = ["x-goog-api-key", "x-goog-api-client"];
    if headers.contains_key("anthropic-version") {
        Dialect::AnthropicMessages
    } else if uri.path().starts_with("/v1beta") || google.iter().any(|n| headers.contains_key(*n)) {
        Dialect::GeminiGenerate
    } else {
        Dialect::OpenAiChat
    }
}

fn allowed(proxy: &Proxy, headers: &HeaderMap) -> Result<(Arc<Table>, Vec<Listed>), Failure> {
    let table = proxy.table()?;
    let config = &proxy.config;
    let caller = auth::caller(&config.keys, config.require_keys, Some(&table), headers)?;
    let routes = table
        .routes()
        .iter()
        .filter(|route| caller.may_ask_for(route.id.as_str()));
    let listed = routes
        .map(|route| Listed {
            id: route.id.to_string(),
            is_policy: table.draft().routes.iter().any(|own| own.id == route.id),
        })
        .collect();
    Ok((table, listed))
}

fn form(listed: &Listed, dialect: Dialect, made_at_ms: u64) -> Value {
    let id = &listed.id;
    match dialect {
        Dialect::OpenAiChat
        | Dialect::OpenAiResponses
        | Dialect::BedrockConverse
        | Dialect::OpenAiEmbeddings
        | Dialect::OpenAiImages => {
            let owner = if listed.is_policy {
                "spillway-route"
            } else {
                "spillway-model"
            };
            json!({ "id": id, "object": "model", "created": made_at_ms / 1_000, "owned_by": owner })
        }
        Dialect::AnthropicMessages => {
            // Documented for models whose day of release is not known.
            let at = "1970-01-01T00:00:00Z";
            json!({ "type": "model", "id": id, "display_name": id, "created_at": at })
        }
        Dialect::GeminiGenerate | Dialect::GeminiInteractions => json!({
            "name": format!("models/{id}"),
            "displayName": id,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
        }),
    }
}
