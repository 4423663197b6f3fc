//! The JSON doors of the page, and the page itself.
//!
//! Owns: routes, who may call them, and how an error becomes a response. Each handler
//! decodes, calls one method, and encodes; the forms are in the modules below.

mod decisions;
mod operators;
mod overview;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::json;

use crate::control::Control;
use crate::error::ControlError;
use crate::publish::PublishError;
use crate::store::StoreError;
use crate::token::AdminToken;

/// A policy longer than this was not typed by people.
const BODY_BYTES_MAX: usize = 1024 * 1024;

type Shared = State<Arc<Control>>;

/// The page at `/`, its doors below `/api/v1`, health and metrics.
pub(crate) fn router(control: Arc<Control>, token: AdminToken) -> Router {
    let doors = Router::new()
        .route("/overview", get(overview::overview))
        .route("/requests", get(decisions::list))
        .route("/requests/{id}", get(decisions::one))
        .route(
            "/policy",
            get(operators::policy).post(operators::put_policy),
        )
        .route("/policy/validate", post(operators::validate))
        .route("/what-if", post(operators::what_if))
        .route("/tables", get(operators::tables))
        .route("/tables/{version}", get(operators::table))
        .route("/tables/{version}/roll-back", post(operators::roll_back))
        .route("/fleet", get(operators::fleet))
        .route("/training", get(operators::training).post(operators::train))
        .fallback(|| async {
            ControlError::NotFound {
                what: "such door below",
                name: "/api/v1".to_owned(),
            }
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(token, admit))
        .with_state(Arc::clone(&control));
    let open = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .with_state(control);
    Router::new()
        .nest("/api/v1", doors)
        .merge(open)
        .merge(spillway_dashboards::router())
}

async fn metrics(State(control): Shared) -> String {
    control.metrics.render()
}

/// Only operators; and only pages that came from here: a foreign `Host` would be a name
/// rebound to this address.
async fn admit(State(token): State<AdminToken>, request: Request, next: Next) -> Response {
    let bearer = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if !token.admits(bearer) {
        return failure(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "sign in with the operators' token; it is in admin.token in the data directory",
            &[],
        );
    }
    if foreign_origin(request.headers()) {
        return failure(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "this page was not served from here",
            &[],
        );
    }
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn foreign_origin(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else {
        return false;
    };
    let origin = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    origin != host
}

fn failure(
    status: StatusCode,
    code: &str,
    message: &str,
    details: &[serde_json::Value],
) -> Response {
    let error = json!({ "error": { "code": code, "message": message, "details": details } });
    (status, Json(error)).into_response()
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let message = self.chain();
        let (status, code) = match &self {
            Self::Policy(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::NotFound { .. } | Self::Publish(PublishError::NoSuchVersion(_)) => {
                (StatusCode::NOT_FOUND, "not_found")
            }
            Self::Overtaken
            | Self::PolicyConflict { .. }
            | Self::AlreadyTraining(_)
            | Self::Publish(PublishError::Stale { .. })
            | Self::Store(StoreError::Conflict { .. }) => (StatusCode::CONFLICT, "conflict"),
            Self::Publish(PublishError::Flawed(_)) => (StatusCode::UNPROCESSABLE_ENTITY, "flawed"),
            Self::Publish(_) | Self::Store(_) | Self::History(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
        };
        let details: Vec<_> = match &self {
            Self::Policy(faults) => faults.iter().map(operators::fault).collect(),
            _ => Vec::new(),
        };
        failure(status, code, &message, &details)
    }
}
