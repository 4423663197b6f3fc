//! Batches: taken in, looked at, cancelled.
//!
//! Owns: OpenAI's form of a batch, and whose it is.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use super::kept::{asked, failed, is_name};
use super::{Shared, files};
use crate::chat::CallerLabels;
use crate::clock;
use crate::failure::{Failure, Kind};
use crate::inbound::Inbound;
use crate::jobs::batch::{self, Batch, Standing};
use crate::jobs::{BATCH, Jobs, new_id};

const CLASS: &str = "x-spillway-class";

#[derive(Deserialize)]
struct Wish {
    input_file_id: String,
    endpoint: String,
    completion_window: String,
    #[serde(default)]
    metadata: Value,
}

/// A caller's own batch.
pub(super) async fn batch(jobs: &Jobs, key: &str, id: &str) -> Result<Batch, Failure> {
    let unknown = || Failure::client(Kind::UnknownObject, "no batch of this id is kept here");
    if !is_name(id, BATCH) {
        return Err(unknown());
    }
    let batch = jobs.batch(id).await.map_err(failed)?;
    batch.filter(|batch| batch.key == key).ok_or_else(unknown)
}

async fn form(jobs: &Jobs, batch: &Batch) -> Result<Value, Failure> {
    let standing = jobs.standing(&batch.id).await.map_err(failed)?;
    let completed_at = match standing.status(batch.total) {
        // Whoever sees it first says when.
        "completed" => {
            let name = format!("batches/{}/completed", batch.id);
            let seen = jobs.store.put(&name, &clock::now().0).await;
            seen.map_err(failed)?;
            let at: Option<u64> = jobs.store.get(&name).await.map_err(failed)?;
            at.map(|at| at / 1_000)
        }
        _ => None,
    };
    Ok(said(batch, &standing, completed_at))
}

fn said(batch: &Batch, standing: &Standing, completed_at: Option<u64>) -> Value {
    let status = standing.status(batch.total);
    let over = matches!(status, "completed" | "cancelled");
    let output = over && standing.completed > 0;
    let errors = over && standing.failed > 0;
    json!({
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": null,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": status,
        "output_file_id": output.then(|| files::output_of(&batch.id)),
        "error_file_id": errors.then(|| files::errors_of(&batch.id)),
        "created_at": batch.created_ms / 1_000,
        "in_progress_at": batch.created_ms / 1_000,
        "expires_at": batch.by_ms / 1_000,
        "completed_at": completed_at,
        "request_counts": {
            "total": batch.total,
            "completed": standing.completed,
            "failed": standing.failed,
        },
        "metadata": batch.metadata,
    })
}

pub(super) async fn create(State(proxy): Shared, request: Request<Body>) -> Response {
    asked(
        &proxy,
        request,
        async move |jobs: Arc<Jobs>, inbound: Inbound| {
            let refuse = |message: String| Failure::client(Kind::BadRequest, message);
            if !inbound.own_keys.is_empty() {
                let message =
                    "a caller's own provider key is never kept; send the requests one by one";
                return Err(refuse(message.to_owned()));
            }
            let wish: Wish = serde_json::from_slice(&inbound.body).map_err(|error| {
                refuse(format!(
                    "a batch has input_file_id, endpoint and completion_window: {error}"
                ))
            })?;
            if batch::endpoint(&wish.endpoint).is_none() {
                let message =
                    "endpoint must be /v1/chat/completions, /v1/responses or /v1/embeddings";
                return Err(refuse(message.to_owned()).about("endpoint"));
            }
            let Some(window) = batch::window(&wish.completion_window) else {
                let message = "completion_window must be hours or minutes, up to 24h";
                return Err(refuse(message.to_owned()).about("completion_window"));
            };
            files::file(&jobs, inbound.caller.id(), &wish.input_file_id).await?;
            let content = batch::content(&wish.input_file_id);
            let content = jobs.store.get_bytes(&content).await.map_err(failed)?;
            let content = content.unwrap_or_default();
            let total = batch::count(&content, &wish.endpoint)
                .map_err(|flaw| refuse(flaw.to_string()).about("input_file_id"))?;
            CallerLabels::read(&inbound.headers, &[])?;
            let mut labels = inbound.labels();
            if !labels.iter().any(|(name, _)| name == CLASS) {
                labels.push((CLASS.to_owned(), "batch".to_owned()));
            }
            let batch = Batch {
                id: new_id(BATCH),
                endpoint: wish.endpoint,
                input_file_id: wish.input_file_id,
                completion_window: wish.completion_window,
                created_ms: clock::now().0,
                by_ms: batch::due_in(window),
                total,
                metadata: wish.metadata,
                key: inbound.caller.id().to_owned(),
                labels,
            };
            jobs.add_batch(&batch, content).await.map_err(failed)?;
            // It is taken in: nothing more may fail.
            Ok(Json(said(&batch, &Standing::default(), None)).into_response())
        },
    )
    .await
}

pub(super) async fn fetch(
    State(proxy): Shared,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    asked(
        &proxy,
        request,
        async move |jobs: Arc<Jobs>, inbound: Inbound| {
            let batch = batch(&jobs, inbound.caller.id(), &id).await?;
            Ok(Json(form(&jobs, &batch).await?).into_response())
        },
    )
    .await
}

pub(super) async fn cancel(
    State(proxy): Shared,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    asked(
        &proxy,
        request,
        async move |jobs: Arc<Jobs>, inbound: Inbound| {
            let batch = batch(&jobs, inbound.caller.id(), &id).await?;
            jobs.store.cancel(&id).await.map_err(failed)?;
            Ok(Json(form(&jobs, &batch).await?).into_response())
        },
    )
    .await
}

pub(super) async fn list(State(proxy): Shared, request: Request<Body>) -> Response {
    asked(
        &proxy,
        request,
        async move |jobs: Arc<Jobs>, inbound: Inbound| {
            let mut batches: Vec<Batch> =
                jobs.store.all("batches", "batch").await.map_err(failed)?;
            batches.retain(|batch| batch.key == inbound.caller.id());
            batches.sort_by_key(|batch| std::cmp::Reverse(batch.created_ms));
            let mut data = Vec::with_capacity(batches.len());
            for batch in &batches {
                data.push(form(&jobs, batch).await?);
            }
            Ok(Json(json!({ "object": "list", "data": data, "has_more": false })).into_response())
        },
    )
    .await
}
