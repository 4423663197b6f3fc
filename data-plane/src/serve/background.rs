//! Responses that run in the background: kept, fetched by polling.
//!
//! Owns: OpenAI's form of a response that has no answer yet, and whose it is. Doing it is
//! `jobs`'s work.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Request};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use spillway_routing::dialect::Dialect;

use super::Shared;
use super::kept::{asked, failed, is_name};
use crate::exchange;
use crate::failure::{Failure, Kind};
use crate::inbound::Inbound;
use crate::jobs::{Answer, CANCELLED, Job, JobId, Jobs, Progress, RESPONSE, batch, new_id};
use crate::ledger::headers::POSSIBLE_CHARGE;
use crate::{Proxy, clock};

/// How long a response may take where the caller does not say.
const WINDOW_MS: u64 = 24 * 3_600_000;
const CLASS: &str = "x-spillway-class";
/// Fields that say how it runs, and are nothing to whoever answers.
const OURS: [&str; 4] = ["background", "background_options", "stream", "store"];

#[derive(Deserialize)]
struct Wish {
    #[serde(default)]
    background: Option<bool>,
}

/// Whether a body says that it may run in the background.
pub(super) fn is_wanted(body: &[u8]) -> bool {
    let named = body.windows(12).any(|part| part == b"\"background\"");
    named && serde_json::from_slice::<Wish>(body).is_ok_and(|wish| wish.background == Some(true))
}

pub(super) async fn accept(
    proxy: &Proxy,
    jobs: &Arc<Jobs>,
    inbound: &Inbound,
) -> Result<Response, Failure> {
    let refuse = |message: &str| Failure::client(Kind::BadRequest, message);
    if !inbound.own_keys.is_empty() {
        let message = "a caller's own provider key is never kept; leave background out";
        return Err(refuse(message).about("background"));
    }
    // Whatever is wrong with it is said now.
    let chat = exchange::read(proxy, inbound).await?.chat;
    if chat.stream {
        let message = "what runs in the background cannot be streamed; leave stream out and poll";
        return Err(refuse(message).about("stream"));
    }
    let table = proxy.table()?;
    if table.route(&chat.model).is_none() {
        let message = "no route or model has this name; GET /v1/models lists what can be asked for";
        return Err(Failure::client(Kind::UnknownModel, message).about("model"));
    }
    let mut body: Map<String, Value> = serde_json::from_slice(&inbound.body)
        .map_err(|_| refuse("the body must be a JSON object"))?;
    let window = body
        .get("background_options")
        .and_then(|options| options.get("completion_window"));
    let window = match window.map(|window| window.as_str().and_then(batch::window)) {
        None => WINDOW_MS,
        Some(Some(window)) => window,
        Some(None) => {
            let message = "completion_window must be hours or minutes, up to 24h";
            return Err(refuse(message).about("background_options"));
        }
    };
    body.retain(|name, _| !OURS.contains(&name.as_str()));
    // It is kept here; nobody could ask a provider for its copy.
    body.insert("store".to_owned(), false.into());
    let id = new_id(RESPONSE);
    let created_ms = clock::now().0;
    let mut labels = inbound.labels();
    if !labels.iter().any(|(name, _)| name == CLASS) {
        labels.push((CLASS.to_owned(), "background".to_owned()));
    }
    let raw = serde_json::value::to_raw_value(&body);
    let job = Job {
        dialect: Dialect::OpenAiResponses.name().to_owned(),
        body: raw.map_err(|_| refuse("the body must be a JSON object"))?,
        key: inbound.caller.id().to_owned(),
        labels,
        created_ms,
        by_ms: batch::due_in(window),
        custom_id: None,
    };
    jobs.add(&job_id(&id), &job).await.map_err(failed)?;
    Ok(Json(waiting(&id, &job, "queued")).into_response())
}

fn job_id(id: &str) -> JobId {
    JobId {
        group: id.to_owned(),
        number: 0,
    }
}

/// A response without an answer.
fn waiting(id: &str, job: &Job, status: &str) -> Value {
    let asked: Map<String, Value> = serde_json::from_str(job.body.get()).unwrap_or_default();
    let said = |name: &str| asked.get(name).cloned().unwrap_or(Value::Null);
    let or = |name: &str, usual: Value| asked.get(name).cloned().unwrap_or(usual);
    json!({
        "id": id,
        "object": "response",
        "created_at": job.created_ms / 1_000,
        "status": status,
        "background": true,
        "error": null,
        "incomplete_details": null,
        "instructions": said("instructions"),
        "max_output_tokens": said("max_output_tokens"),
        "metadata": or("metadata", json!({})),
        "model": said("model"),
        "output": [],
        "parallel_tool_calls": or("parallel_tool_calls", true.into()),
        "previous_response_id": said("previous_response_id"),
        "reasoning": said("reasoning"),
        "temperature": said("temperature"),
        "text": said("text"),
        "tool_choice": or("tool_choice", "auto".into()),
        "tools": or("tools", json!([])),
        "top_p": said("top_p"),
        "usage": null,
    })
}

/// A response with what became of it.
fn answered(id: &str, job: &Job, answer: &Answer) -> Response {
    let mut said: Value = serde_json::from_str(answer.body.get()).unwrap_or_default();
    let whole = answer.status < 400 && said.is_object();
    let body = if answer.status == CANCELLED {
        waiting(id, job, "cancelled")
    } else if whole {
        said["id"] = id.into();
        said["background"] = true.into();
        said
    } else {
        let error = said.get("error").cloned().unwrap_or_default();
        let text = |name: &str| error.get(name).and_then(Value::as_str);
        let mut failed = waiting(id, job, "failed");
        failed["error"] = json!({
            "code": text("code").unwrap_or("server_error"),
            "message": text("message").unwrap_or("no answer could be had"),
        });
        failed
    };
    let mut response = Json(body).into_response();
    if answer.possible_charges > 0 {
        let headers = response.headers_mut();
        headers.insert(POSSIBLE_CHARGE, HeaderValue::from(answer.possible_charges));
    }
    response
}

/// A kept response of the caller's.
struct Kept {
    id: JobId,
    job: Job,
    progress: Progress,
}

async fn kept(jobs: &Jobs, inbound: &Inbound, id: &str) -> Result<Kept, Failure> {
    let unknown = || {
        let message = "no response of this id runs in the background here";
        Failure::client(Kind::UnknownObject, message)
    };
    if !is_name(id, RESPONSE) {
        return Err(unknown());
    }
    let id = job_id(id);
    let job = jobs.store.job(&id).await.map_err(failed)?;
    let job = job.filter(|job| job.key == inbound.caller.id());
    let job = job.ok_or_else(unknown)?;
    let progress = jobs.store.progress(&id).await.map_err(failed)?;
    Ok(Kept { id, job, progress })
}

async fn standing(jobs: &Jobs, kept: &Kept) -> Result<Response, Failure> {
    let Kept { id, job, progress } = kept;
    if progress.answered
        && let Some(answer) = jobs.store.answered(id).await.map_err(failed)?
    {
        return Ok(answered(&id.group, job, &answer));
    }
    let status = if progress.begun > 0 {
        "in_progress"
    } else {
        "queued"
    };
    Ok(Json(waiting(&id.group, job, status)).into_response())
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
            standing(&jobs, &kept(&jobs, &inbound, &id).await?).await
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
            let mut kept = kept(&jobs, &inbound, &id).await?;
            // Whichever answer comes first is the one.
            let none = Answer::cancelled(kept.job.dialect());
            let first = jobs.store.answer(&kept.id, &none).await;
            first.map_err(failed)?;
            kept.progress.answered = true;
            standing(&jobs, &kept).await
        },
    )
    .await
}

pub(super) async fn delete(
    State(proxy): Shared,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    asked(
        &proxy,
        request,
        async move |jobs: Arc<Jobs>, inbound: Inbound| {
            kept(&jobs, &inbound, &id).await?;
            jobs.store.forget(&id).await.map_err(failed)?;
            Ok(Json(json!({ "id": id, "object": "response", "deleted": true })).into_response())
        },
    )
    .await
}
