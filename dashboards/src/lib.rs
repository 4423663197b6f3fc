//! The operators' page, the Grafana board and the alert rules, embedded as bytes.
//!
//! Owns: which file is served at which path, with which headers. Must not know what
//! the page shows or where its numbers come from: the page asks `/api/v1` by itself,
//! and whoever mounts this router serves that beside it.

mod asset;
mod headers;
#[cfg(test)]
mod tests;

use asset::{ASSETS, Asset};
use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};

/// A board for Grafana 10 or later; it asks for its Prometheus data source when imported.
pub const GRAFANA: &str = include_str!("../grafana/spillway.json");

/// Prometheus alert rules, each with a summary and the first steps of its runbook.
pub const ALERTS: &str = include_str!("../alerts/spillway.rules.yml");

/// The page at `/` and every file it loads. Holds no state and needs no credentials:
/// nothing in it is secret, every figure is behind the API's token.
pub fn router() -> Router {
    ASSETS
        .iter()
        .fold(Router::new(), |router, asset| {
            let tag = headers::entity_tag(asset.bytes);
            let handler = move |request: HeaderMap| {
                let reply = reply(asset, &tag, &request);
                async move { reply }
            };
            router.route(asset.path, get(handler))
        })
        .route_layer(from_fn(secured))
}

/// Also covers what axum answers by itself on these paths, such as 405.
async fn secured(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    headers::secure(response.headers_mut());
    response
}

fn reply(asset: &'static Asset, tag: &HeaderValue, request: &HeaderMap) -> Response {
    let cache = HeaderValue::from_static(asset.kind.cache());
    let content = HeaderValue::from_static(asset.kind.content_type());
    if asset.kind.may_be_kept() && headers::already_has(request, tag) {
        let kept = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, cache)];
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    let sent = [
        (header::CONTENT_TYPE, content),
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, cache),
    ];
    (sent, asset.bytes).into_response()
}
