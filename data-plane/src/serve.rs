//! The doors: what can be asked, on which listener.
//!
//! Owns: paths and methods, the list of models, health and metrics. Each handler
//! decodes, calls one function and encodes; a panic ends one request and no more.

mod explain;
mod feedback;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::FutureExt;
use http::{HeaderMap, Request, StatusCode, header};
use serde_json::{Value, json};
use spillway_routing::id::RequestId;

use crate::exchange::exchange;
use crate::failure::{Failure, Kind};
use crate::inbound::{Inbound, request_id};
use crate::ledger::headers as labels;
use crate::{Proxy, auth, clock};

/// What callers may ask for.
pub(crate) fn data(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/v1/feedback", post(give_feedback))
        .route("/v1/route", post(route))
        .fallback(|| async { unknown_path() })
        .method_not_allowed_fallback(|| async { wrong_method() })
        .with_state(proxy)
}

/// What operators may ask for, on a listener of its own.
pub(crate) fn admin(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(|| async { unknown_path() })
        .with_state(proxy)
}

fn unknown_path() -> Response {
    let message = "there is nothing at this path; the paths are POST /v1/chat/completions, POST \
                   /v1/route, POST /v1/feedback and GET /v1/models";
    finish(
        request_id(),
        Err(Failure::client(Kind::UnknownPath, message)),
    )
}

fn wrong_method() -> Response {
    let message = "this path takes another method";
    finish(
        request_id(),
        Err(Failure::client(Kind::WrongMethod, message)),
    )
}

async fn chat(State(proxy): State<Arc<Proxy>>, request: Request<Body>) -> Response {
    let id = request_id();
    guarded(id, async {
        let inbound = Inbound::receive(&proxy, id, request).await?;
        exchange(&proxy, inbound).await
    })
    .await
}

async fn route(State(proxy): State<Arc<Proxy>>, request: Request<Body>) -> Response {
    let id = request_id();
    guarded(id, async {
        let inbound = Inbound::receive(&proxy, id, request).await?;
        explain::explain(&proxy, inbound).await
    })
    .await
}

async fn give_feedback(State(proxy): State<Arc<Proxy>>, request: Request<Body>) -> Response {
    let id = request_id();
    guarded(id, async {
        let inbound = Inbound::receive(&proxy, id, request).await?;
        feedback::feedback(&proxy, &inbound)
    })
    .await
}

async fn models(State(proxy): State<Arc<Proxy>>, headers: HeaderMap) -> Response {
    let id = request_id();
    guarded(id, async { list(&proxy, &headers) }).await
}

fn list(proxy: &Proxy, headers: &HeaderMap) -> Result<Response, Failure> {
    let caller = auth::caller(&proxy.config.keys, headers)?;
    let table = proxy.table()?;
    let routes = table
        .routes()
        .iter()
        .filter(|route| caller.may_ask_for(route.id.as_str()));
    let created = table.draft().made_at.0 / 1_000;
    let policy = |id: &str| {
        table
            .draft()
            .routes
            .iter()
            .any(|route| route.id.as_str() == id)
    };
    let data: Vec<Value> = routes
        .map(|route| {
            let owner = if policy(route.id.as_str()) { "spillway-route" } else { "spillway-model" };
            json!({ "id": route.id.as_str(), "object": "model", "created": created, "owned_by": owner })
        })
        .collect();
    Ok(Json(json!({ "object": "list", "data": data })).into_response())
}

/// Runs a handler; a panic in it becomes a response, and its record closes itself.
async fn guarded(id: RequestId, work: impl Future<Output = Result<Response, Failure>>) -> Response {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    finish(
        id,
        result.unwrap_or_else(|_| {
            tracing::error!(request = %id, "a request panicked");
            Err(Failure::spillway(
                Kind::Panicked,
                "spillway failed; report the request id",
            ))
        }),
    )
}

fn finish(id: RequestId, result: Result<Response, Failure>) -> Response {
    let mut response = result.unwrap_or_else(IntoResponse::into_response);
    let (name, value) = labels::request_id(id);
    response.headers_mut().insert(name, value);
    response
}

async fn ready(State(proxy): State<Arc<Proxy>>) -> (StatusCode, String) {
    match proxy.table() {
        _ if proxy.draining.is_cancelled() => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
        }
        Ok(table) => (
            StatusCode::OK,
            format!("serving table {}\n", table.version()),
        ),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no table yet\n".to_owned()),
    }
}

async fn metrics(State(proxy): State<Arc<Proxy>>) -> Response {
    observe(&proxy);
    match proxy.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "metrics cannot be written"
            );
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Gauges that are read when somebody looks.
fn observe(proxy: &Proxy) {
    let Ok(table) = proxy.table() else { return };
    let metrics = &proxy.metrics;
    let age = clock::now().since(table.draft().made_at);
    metrics.table_age_seconds.set(age.0 as f64 / 1e3);
    // Lanes of earlier tables are gone.
    metrics.lane_open.reset();
    metrics.lane_in_flight.reset();
    for (lane, open, in_flight) in proxy.health.snapshot(&table, Instant::now()) {
        let label = [lane.as_str()];
        metrics
            .lane_open
            .with_label_values(&label)
            .set(i64::from(open));
        metrics
            .lane_in_flight
            .with_label_values(&label)
            .set(i64::from(in_flight));
    }
}
