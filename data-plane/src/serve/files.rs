//! Files of batches: taken in, listed, read.
//!
//! Owns: OpenAI's form of a file, and whose it is. The files of a batch's answers are not
//! stored: they are written when they are read.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Request, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kept::{DIALECT, asked, failed, is_name, jobs};
use super::{Shared, guarded};
use crate::failure::{Failure, Kind};
use crate::inbound::{self, Inbound, request_id};
use crate::jobs::batch::content as content_of;
use crate::jobs::{BATCH, Jobs, new_id};
use crate::{Proxy, clock};

/// A file that takes longer holds room that others need.
const UPLOAD_WITHIN: std::time::Duration = std::time::Duration::from_secs(120);
const FILE: &str = "file-";
/// Before the name of the batch whose answers they hold.
const OUTPUT: &str = "file-output-";
const ERRORS: &str = "file-errors-";

/// A file as it was taken in.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct File {
    id: String,
    bytes: usize,
    created_ms: u64,
    filename: String,
    purpose: String,
    key: String,
}

impl File {
    fn form(&self) -> Value {
        json!({
            "id": self.id,
            "object": "file",
            "bytes": self.bytes,
            "created_at": self.created_ms / 1_000,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        })
    }
}

pub(super) fn output_of(batch: &str) -> String {
    format!("{OUTPUT}{batch}")
}

pub(super) fn errors_of(batch: &str) -> String {
    format!("{ERRORS}{batch}")
}

fn object(id: &str) -> String {
    format!("files/{id}/file")
}

/// A caller's own file.
pub(super) async fn file(jobs: &Jobs, key: &str, id: &str) -> Result<File, Failure> {
    let unknown = || Failure::client(Kind::UnknownObject, "no file of this id is kept here");
    if !is_name(id, FILE) {
        return Err(unknown());
    }
    let file: Option<File> = jobs.store.get(&object(id)).await.map_err(failed)?;
    file.filter(|file| file.key == key).ok_or_else(unknown)
}

pub(super) async fn upload(State(proxy): Shared, request: Request<Body>) -> Response {
    guarded(request_id(), DIALECT, async {
        let jobs = jobs(&proxy)?;
        let (caller, _room) = inbound::sender(&proxy, request.headers())?;
        let parts = tokio::time::timeout(UPLOAD_WITHIN, parts(&proxy, request)).await;
        let slow = |_| Failure::client(Kind::TooSlow, "the file came too slowly; send it again");
        let (filename, purpose, bytes) = parts.map_err(slow)??;
        if purpose != "batch" {
            let message = "purpose must be batch: other files belong to one provider";
            return Err(Failure::client(Kind::BadRequest, message).about("purpose"));
        }
        let file = File {
            id: new_id(FILE),
            bytes: bytes.len(),
            created_ms: clock::now().0,
            filename,
            purpose,
            key: caller.id().to_owned(),
        };
        let content = content_of(&file.id);
        jobs.store
            .put_bytes(&content, bytes)
            .await
            .map_err(failed)?;
        let kept = jobs.store.put(&object(&file.id), &file).await;
        kept.map_err(failed)?;
        Ok(Json(file.form()).into_response())
    })
    .await
}

/// Name, purpose and content.
async fn parts(
    proxy: &Arc<Proxy>,
    request: Request<Body>,
) -> Result<(String, String, Bytes), Failure> {
    let limit = proxy.config.limits.body_bytes;
    let broken = |_| {
        let message =
            format!("send multipart/form-data of up to {limit} bytes with a file and its purpose");
        Failure::client(Kind::BadRequest, message)
    };
    let limited = request.map(|body| Body::new(http_body_util::Limited::new(body, limit)));
    let mut form = Multipart::from_request(limited, &())
        .await
        .map_err(|_| broken(()))?;
    let (mut filename, mut purpose, mut content) = (String::new(), String::new(), None);
    while let Some(field) = form.next_field().await.map_err(|_| broken(()))? {
        match field.name() {
            Some("purpose") => purpose = field.text().await.map_err(|_| broken(()))?,
            Some("file") => {
                filename = field.file_name().unwrap_or("file").to_owned();
                content = Some(field.bytes().await.map_err(|_| broken(()))?);
            }
            _ => {}
        }
    }
    let content = content.ok_or_else(|| broken(()))?;
    Ok((filename, purpose, content))
}

pub(super) async fn list(State(proxy): Shared, request: Request<Body>) -> Response {
    asked(
        &proxy,
        request,
        async move |jobs: Arc<Jobs>, inbound: Inbound| {
            let mut files: Vec<File> = jobs.store.all("files", "file").await.map_err(failed)?;
            files.retain(|file| file.key == inbound.caller.id());
            files.sort_by_key(|file| std::cmp::Reverse(file.created_ms));
            let data: Vec<Value> = files.iter().map(File::form).collect();
            Ok(Json(json!({ "object": "list", "data": data, "has_more": false })).into_response())
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
            let file = file(&jobs, inbound.caller.id(), &id).await?;
            Ok(Json(file.form()).into_response())
        },
    )
    .await
}

pub(super) async fn content(
    State(proxy): Shared,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    asked(
        &proxy,
        request,
        async move |jobs: Arc<Jobs>, inbound: Inbound| {
            let answers = [(OUTPUT, false), (ERRORS, true)];
            let answers = answers
                .into_iter()
                .find_map(|(kind, failed)| Some((id.strip_prefix(kind)?, failed)));
            let body = match answers {
                Some((batch, bad)) if is_name(batch, BATCH) => {
                    super::batches::batch(&jobs, inbound.caller.id(), batch).await?;
                    Body::from_stream(jobs.output(batch, bad))
                }
                _ => {
                    file(&jobs, inbound.caller.id(), &id).await?;
                    let content = jobs.store.get_bytes(&content_of(&id)).await;
                    Body::from(content.map_err(failed)?.unwrap_or_default())
                }
            };
            Ok(([(header::CONTENT_TYPE, "application/jsonl")], body).into_response())
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
            file(&jobs, inbound.caller.id(), &id).await?;
            for name in [object(&id), content_of(&id)] {
                jobs.store.delete(&name).await.map_err(failed)?;
            }
            Ok(Json(json!({ "id": id, "object": "file", "deleted": true })).into_response())
        },
    )
    .await
}
