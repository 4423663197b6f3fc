//! The doors: what can be asked, on which listener.
//!
//! Owns: paths and methods, health and metrics. Each handler
//! decodes, calls one function and encodes; a panic ends one request and no more.

mod background;
mod batches;
mod count;
mod explain;
mod feedback;
mod files;
mod kept;
mod models;
mod stored;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::FutureExt;
use http::{Request, StatusCode, header};
use spillway_routing::dialect::Dialect;
use spillway_routing::id::RequestId;

use crate::chat::Asking;
use crate::exchange::{self, exchange};
use crate::failure::{Failure, Kind};
use crate::inbound::{Inbound, request_id, unread};
use crate::ledger::headers as labels;
use crate::{Proxy, clock};

/// What callers may ask for.
pub(crate) fn data(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/responses", post(responses))
        .route(
            "/v1/responses/{id}",
            get(stored::fetch).delete(stored::delete),
        )
        .route("/v1/responses/{id}/cancel", post(stored::cancel))
        .route("/v1/responses/{id}/input_items", get(stored::list_input))
        .route("/v1/files", files_door())
        .route("/v1/files/{id}", get(files::fetch).delete(files::delete))
        .route("/v1/files/{id}/content", get(files::content))
        .route("/v1/batches", post(batches::create).get(batches::list))
        .route("/v1/batches/{id}", get(batches::fetch))
        .route("/v1/batches/{id}/cancel", post(batches::cancel))
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/images/generations", post(images))
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_messages))
        .merge(interactions("/v1"))
        .merge(interactions("/v1beta"))
        .route("/v1beta/models/{*call}", post(generate).get(models::one))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*call}", post(generate).get(models::one))
        .route("/v1beta/models", get(models::list))
        .route("/v1/feedback", post(give_feedback))
        .route("/v1/route", post(route))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(proxy)
}

/// Google's SDKs ask below either of two versions.
fn interactions(version: &str) -> Router<Arc<Proxy>> {
    let one = format!("{version}/interactions/{{id}}");
    Router::new()
        .route(&format!("{version}/interactions"), post(interact))
        .route(
            &one,
            get(stored::fetch_interaction).delete(stored::delete_interaction),
        )
        .route(&format!("{one}/cancel"), post(stored::cancel_interaction))
}

/// Files have a limit of our own.
fn files_door() -> axum::routing::MethodRouter<Arc<Proxy>> {
    post(files::upload)
        .get(files::list)
        .layer(DefaultBodyLimit::disable())
}

/// What operators may ask for, on a listener of its own.
pub(crate) fn admin(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(unknown_path)
        .with_state(proxy)
}

async fn unknown_path(request: Request<Body>) -> Response {
    let message = "there is nothing at this path; the paths are POST /v1/chat/completions, POST \
                   /v1/responses, POST /v1/embeddings, POST /v1/images/generations, POST /v1/messages, POST /v1beta/models/MODEL:generateContent, \
                   POST /v1beta/interactions, POST /v1/route, POST /v1/feedback, POST /v1/files, POST /v1/batches and GET /v1/models";
    refuse(Failure::client(Kind::UnknownPath, message), request).await
}

async fn wrong_method(request: Request<Body>) -> Response {
    let failure = Failure::client(Kind::WrongMethod, "this path takes another method");
    refuse(failure, request).await
}

async fn refuse(failure: Failure, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let failure = unread(failure, head.version, body).await;
    finish(request_id(), dialect_of(head.uri.path()), Err(failure))
}

/// Whose error form is understood at a path.
fn dialect_of(path: &str) -> Dialect {
    if path.starts_with("/v1beta/interactions") || path.starts_with("/v1/interactions") {
        Dialect::GeminiInteractions
    } else if path.starts_with("/v1beta/") {
        Dialect::GeminiGenerate
    } else if path.starts_with("/v1/messages") {
        Dialect::AnthropicMessages
    } else {
        Dialect::OpenAiChat
    }
}

type Shared = State<Arc<Proxy>>;

async fn chat(State(proxy): Shared, request: Request<Body>) -> Response {
    answer(proxy, Asking::of(Dialect::OpenAiChat), request).await
}

/// One that may run in the background is kept, where this proxy keeps jobs.
async fn responses(State(proxy): Shared, request: Request<Body>) -> Response {
    let (id, asking) = (request_id(), Asking::of(Dialect::OpenAiResponses));
    guarded(id, asking.dialect, async {
        let inbound = Inbound::receive(&proxy, id, asking, request).await?;
        match &proxy.jobs {
            Some(jobs) if background::is_wanted(&inbound.body) => {
                background::accept(&proxy, jobs, &inbound).await
            }
            _ => exchange(&proxy, inbound).await,
        }
    })
    .await
}

/// A request that was kept.
pub(crate) async fn kept(proxy: &Proxy, inbound: Inbound) -> Response {
    let (id, dialect) = (inbound.id, inbound.asking.dialect);
    guarded(id, dialect, exchange::kept(proxy, inbound)).await
}

async fn embeddings(State(proxy): Shared, request: Request<Body>) -> Response {
    answer(proxy, Asking::of(Dialect::OpenAiEmbeddings), request).await
}

async fn images(State(proxy): Shared, request: Request<Body>) -> Response {
    answer(proxy, Asking::of(Dialect::OpenAiImages), request).await
}

async fn messages(State(proxy): Shared, request: Request<Body>) -> Response {
    answer(proxy, Asking::of(Dialect::AnthropicMessages), request).await
}

async fn interact(State(proxy): Shared, request: Request<Body>) -> Response {
    answer(proxy, Asking::of(Dialect::GeminiInteractions), request).await
}

/// Model and method stand in the path here.
async fn generate(
    State(proxy): Shared,
    Path(call): Path<String>,
    request: Request<Body>,
) -> Response {
    let (model, method) = call.rsplit_once(':').unwrap_or((&call, ""));
    let stream = method == "streamGenerateContent";
    let query = request.uri().query().unwrap_or_default();
    let asking = Asking {
        dialect: Dialect::GeminiGenerate,
        model: Some(model.to_owned()),
        stream,
        framed: !stream || query.split('&').any(|pair| pair == "alt=sse"),
    };
    match method {
        "generateContent" | "streamGenerateContent" => answer(proxy, asking, request).await,
        "countTokens" => counted(proxy, asking, request).await,
        _ => unknown_path(request).await,
    }
}

async fn count_messages(State(proxy): Shared, request: Request<Body>) -> Response {
    counted(proxy, Asking::of(Dialect::AnthropicMessages), request).await
}

async fn counted(proxy: Arc<Proxy>, asking: Asking, request: Request<Body>) -> Response {
    let (id, dialect) = (request_id(), asking.dialect);
    guarded(id, dialect, async {
        let inbound = Inbound::receive(&proxy, id, asking, request).await?;
        count::count(&proxy, inbound).await
    })
    .await
}

async fn answer(proxy: Arc<Proxy>, asking: Asking, request: Request<Body>) -> Response {
    let (id, dialect) = (request_id(), asking.dialect);
    guarded(id, dialect, async {
        let inbound = Inbound::receive(&proxy, id, asking, request).await?;
        exchange(&proxy, inbound).await
    })
    .await
}

/// In OpenAI Chat, or in the dialect that a header names.
async fn route(State(proxy): Shared, request: Request<Body>) -> Response {
    let id = request_id();
    let named = request.headers().get("x-spillway-dialect");
    let named = named.and_then(|name| Dialect::parse(name.to_str().ok()?));
    let asking = Asking::of(named.unwrap_or_default());
    guarded(id, asking.dialect, async {
        let inbound = Inbound::receive(&proxy, id, asking, request).await?;
        explain::explain(&proxy, inbound).await
    })
    .await
}

async fn give_feedback(State(proxy): Shared, request: Request<Body>) -> Response {
    let id = request_id();
    let asking = Asking::of(Dialect::OpenAiChat);
    guarded(id, asking.dialect, async {
        let inbound = Inbound::receive(&proxy, id, asking, request).await?;
        feedback::feedback(&proxy, &inbound)
    })
    .await
}

/// Runs a handler; a panic in it becomes a response, and its record closes itself.
async fn guarded(
    id: RequestId,
    dialect: Dialect,
    work: impl Future<Output = Result<Response, Failure>>,
) -> Response {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    finish(
        id,
        dialect,
        result.unwrap_or_else(|_| {
            tracing::error!(request = %id, "a request panicked");
            Err(Failure::spillway(
                Kind::Panicked,
                "spillway failed; report the request id",
            ))
        }),
    )
}

fn finish(id: RequestId, dialect: Dialect, result: Result<Response, Failure>) -> Response {
    let mut response = result.unwrap_or_else(|failure| failure.into_response(dialect));
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
    metrics.lane_waiting.reset();
    for (lane, open, [in_flight, waiting]) in proxy.health.snapshot(&table, Instant::now()) {
        let label = [lane.as_str()];
        metrics
            .lane_open
            .with_label_values(&label)
            .set(i64::from(open));
        metrics
            .lane_in_flight
            .with_label_values(&label)
            .set(i64::from(in_flight));
        metrics
            .lane_waiting
            .with_label_values(&label)
            .set(i64::from(waiting));
    }
}
