//! Batches: many requests in one file, answered in another.
//!
//! Owns: reading the lines, making a job of each, and what the whole has come to. A batch
//! is taken in by one object and one entry of the queue; whoever is free makes the jobs,
//! again and again where it is cut off, since the same job kept twice is one.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use spillway_routing::dialect::Dialect;
use spillway_routing::unit::UnixMillis;
use tokio::sync::mpsc::Sender;

use super::{BATCH, CANCELLED, Due, Job, JobId, Jobs, Progress, StoreError, Work};
use crate::clock;

/// As many as OpenAI takes.
pub(crate) const LINES_MAX: usize = 50_000;
/// Lines of a file of answers that are read before they are asked for.
const LINES_AHEAD: usize = 16;

/// A batch as it was taken in.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Batch {
    pub(crate) id: String,
    pub(crate) endpoint: String,
    pub(crate) input_file_id: String,
    pub(crate) completion_window: String,
    pub(crate) created_ms: u64,
    pub(crate) by_ms: u64,
    pub(crate) total: u32,
    pub(crate) metadata: Value,
    pub(crate) key: String,
    pub(crate) labels: Vec<(String, String)>,
}

/// What a batch has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) answered: u32,
    pub(crate) completed: u32,
    pub(crate) failed: u32,
    begun: bool,
    cancelled: bool,
}

#[derive(Debug, Deserialize)]
struct Line {
    custom_id: String,
    method: String,
    url: String,
    body: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
struct Streams {
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    background: Option<bool>,
}

/// What is wrong with a file, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {flaw}")]
pub(crate) struct LineFlaw {
    line: usize,
    flaw: String,
}

/// The dialect of the requests at an endpoint that batches may name.
pub(crate) fn endpoint(url: &str) -> Option<Dialect> {
    match url {
        "/v1/chat/completions" => Some(Dialect::OpenAiChat),
        "/v1/responses" => Some(Dialect::OpenAiResponses),
        "/v1/embeddings" => Some(Dialect::OpenAiEmbeddings),
        _ => None,
    }
}

/// How many requests a file has.
pub(crate) fn count(content: &[u8], url: &str) -> Result<u32, LineFlaw> {
    let mut ids = BTreeSet::new();
    let mut count = 0;
    for (number, line) in lines(content) {
        let flaw = |flaw: &str| LineFlaw {
            line: number,
            flaw: flaw.to_owned(),
        };
        let read: Line = serde_json::from_slice(line).map_err(|error| flaw(&error.to_string()))?;
        if read.method != "POST" || read.url != url {
            return Err(flaw("method must be POST and url the batch's endpoint"));
        }
        let body: Streams = serde_json::from_str(read.body.get())
            .map_err(|_| flaw("body must be a request, as the endpoint takes it"))?;
        if body.stream == Some(true) || body.background == Some(true) {
            let what = "nobody reads a stream of a batch, and it runs in the background as it is; \
                        leave stream and background out";
            return Err(flaw(what));
        }
        if !ids.insert(read.custom_id) {
            return Err(flaw("its custom_id was used before"));
        }
        count += 1;
        if count > LINES_MAX {
            return Err(flaw(
                "there are more than 50,000 requests; send several batches",
            ));
        }
    }
    if count == 0 {
        let flaw = "there is no request in the file".to_owned();
        return Err(LineFlaw { line: 1, flaw });
    }
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn lines(content: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = content.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.map(|(i, line)| (i + 1, line.trim_ascii()));
    lines.filter(|(_, line)| !line.is_empty())
}

pub(crate) fn object(id: &str) -> String {
    format!("batches/{id}/batch")
}

/// A batch's own copy of its file, which may be deleted meanwhile.
pub(crate) fn input(id: &str) -> String {
    format!("batches/{id}/input")
}

pub(crate) fn content(file: &str) -> String {
    format!("files/{file}/content")
}

impl Jobs {
    /// Keeps a batch; once this returns it will be done.
    pub(crate) async fn add_batch(&self, batch: &Batch, lines: Bytes) -> Result<(), StoreError> {
        self.store.put_bytes(&input(&batch.id), lines).await?;
        self.store.put(&object(&batch.id), batch).await?;
        let due = Due {
            by: UnixMillis(0),
            work: Work::Expand(batch.id.clone()),
        };
        self.enqueue(&[due]).await
    }

    pub(crate) async fn batch(&self, id: &str) -> Result<Option<Batch>, StoreError> {
        if !id.starts_with(BATCH) {
            return Ok(None);
        }
        self.store.get(&object(id)).await
    }

    /// Makes a batch's jobs.
    pub(super) async fn expand(&self, id: &str) -> Result<(), StoreError> {
        let Some(batch) = self.batch(id).await? else {
            return Ok(());
        };
        let input = self.store.get_bytes(&input(id)).await?;
        let (Some(input), Some(dialect)) = (input, endpoint(&batch.endpoint)) else {
            return Ok(());
        };
        let mut due = Vec::new();
        for (number, (_, line)) in lines(&input).enumerate() {
            let line: Line = serde_json::from_slice(line)?;
            let job_id = JobId {
                group: batch.id.clone(),
                number: u32::try_from(number).unwrap_or(u32::MAX),
            };
            let job = Job {
                dialect: dialect.name().to_owned(),
                body: line.body,
                key: batch.key.clone(),
                labels: batch.labels.clone(),
                created_ms: batch.created_ms,
                by_ms: batch.by_ms,
                custom_id: Some(line.custom_id),
            };
            self.store.keep(&job_id, &job).await?;
            due.push(Due {
                by: UnixMillis(batch.by_ms),
                work: Work::Run(job_id),
            });
        }
        self.enqueue(&due).await
    }

    /// What there is to do by the store alone. A job that cannot be read is answered so.
    pub(super) async fn open_work(&self) -> Result<Vec<Due>, StoreError> {
        let mut due = Vec::new();
        for id in self.store.unanswered().await? {
            let by = match self.store.job(&id).await {
                Ok(Some(job)) => job.by_ms,
                Ok(None) => continue,
                Err(StoreError::Malformed(_)) => 0,
                Err(error) => return Err(error),
            };
            due.push(Due {
                by: UnixMillis(by),
                work: Work::Run(id),
            });
        }
        for batch in self.store.all::<Batch>("batches", "batch").await? {
            let made = self.store.group(&batch.id).await?.len();
            if made < batch.total as usize {
                due.push(Due {
                    by: UnixMillis(0),
                    work: Work::Expand(batch.id),
                });
            }
        }
        Ok(due)
    }

    pub(crate) async fn standing(&self, id: &str) -> Result<Standing, StoreError> {
        let jobs = self.store.group(id).await?;
        let mut standing = Standing {
            begun: jobs.values().any(|progress| progress.begun > 0),
            cancelled: self.store.is_cancelled(id).await?,
            ..Standing::default()
        };
        for (number, progress) in jobs.iter().filter(|(_, progress)| progress.answered) {
            standing.answered += 1;
            match self.status(id, *number, *progress).await? {
                CANCELLED => {}
                status if status >= 400 => standing.failed += 1,
                _ => standing.completed += 1,
            }
        }
        Ok(standing)
    }

    /// Of an answer; read where it was not noted.
    async fn status(
        &self,
        group: &str,
        number: u32,
        progress: Progress,
    ) -> Result<u16, StoreError> {
        if let Some(status) = progress.status {
            return Ok(status);
        }
        let group = group.to_owned();
        let answer = self.store.answered(&JobId { group, number }).await?;
        Ok(answer.map_or(CANCELLED, |answer| answer.status))
    }

    /// The file of a batch's answers, line by line: of those that failed, or of the others.
    pub(crate) fn output(
        self: Arc<Self>,
        id: &str,
        failed: bool,
    ) -> impl Stream<Item = Result<Bytes, StoreError>> + use<> {
        let group = id.to_owned();
        let (lines, stream) = tokio::sync::mpsc::channel(LINES_AHEAD);
        tokio::spawn(async move {
            let ended = self.lines(&group, failed, &lines).await;
            if let Err(error) = ended {
                let _ = lines.send(Err(error)).await;
            }
        });
        tokio_stream::wrappers::ReceiverStream::new(stream)
    }

    async fn lines(
        &self,
        group: &str,
        failed: bool,
        lines: &Sender<Result<Bytes, StoreError>>,
    ) -> Result<(), StoreError> {
        for (number, progress) in self.store.group(group).await? {
            if !progress.answered {
                continue;
            }
            let status = self.status(group, number, progress).await?;
            if status == CANCELLED || (status >= 400) != failed {
                continue;
            }
            let group = group.to_owned();
            if let Some(line) = self.line(&JobId { group, number }).await?
                && lines.send(Ok(line)).await.is_err()
            {
                break;
            }
        }
        Ok(())
    }

    async fn line(&self, id: &JobId) -> Result<Option<Bytes>, StoreError> {
        let (answer, job) = (self.store.answered(id).await?, self.store.job(id).await);
        let Some(answer) = answer else {
            return Ok(None);
        };
        let mut line = json!({
            "id": format!("batch_req_{id}"),
            // `None` where what was kept of it cannot be read.
            "custom_id": job.ok().flatten().and_then(|job| job.custom_id),
            "response": {
                "status_code": answer.status,
                "request_id": answer.request_id,
                "body": answer.body,
            },
            "error": null,
        });
        if answer.possible_charges > 0 {
            line["possible_charges"] = answer.possible_charges.into();
        }
        Ok(Some(Bytes::from(format!("{line}\n"))))
    }
}

impl Standing {
    /// In OpenAI's words.
    pub(crate) fn status(&self, total: u32) -> &'static str {
        match () {
            () if self.cancelled && self.answered >= total => "cancelled",
            () if self.answered >= total => "completed",
            () if self.cancelled => "cancelling",
            () if self.answered == 0 && !self.begun => "validating",
            () => "in_progress",
        }
    }
}

/// A batch's window: hours or minutes.
pub(crate) fn window(text: &str) -> Option<u64> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = count
        .parse()
        .ok()
        .filter(|count| (1..=1_440).contains(count))?;
    match unit {
        "h" if count <= 24 => Some(count * 3_600_000),
        "m" => Some(count * 60_000),
        _ => None,
    }
}

/// When something that may take so long should be done.
pub(crate) fn due_in(window_ms: u64) -> u64 {
    clock::now().0.saturating_add(window_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, more: &str) -> String {
        format!(
            r#"{{"custom_id": "{id}", "method": "POST", "url": "/v1/chat/completions", "body": {{"model": "auto"{more}}}}}"#
        )
    }

    fn counted(lines: &[String]) -> Result<u32, LineFlaw> {
        count(lines.join("\n").as_bytes(), "/v1/chat/completions")
    }

    #[test]
    fn a_file_is_read_to_its_first_flaw() {
        assert_eq!(
            counted(&[line("a", ""), String::new(), line("b", "")]),
            Ok(2)
        );
        let twice = counted(&[line("a", ""), line("a", "")]).unwrap_err();
        assert_eq!(twice.line, 2);
        let stream = counted(&[line("a", r#", "stream": true"#)]).unwrap_err();
        assert!(stream.flaw.contains("stream"), "{stream}");
        assert_eq!(counted(&["{".to_owned()]).unwrap_err().line, 1);
        assert!(counted(&[]).is_err());
        assert!(count(line("a", "").as_bytes(), "/v1/embeddings").is_err());
    }

    #[test]
    fn windows_are_hours_or_minutes_up_to_a_day() {
        assert_eq!(window("24h"), Some(86_400_000));
        assert_eq!(window("30m"), Some(1_800_000));
        for wrong in ["", "h", "25h", "0m", "1d", "é"] {
            assert_eq!(window(wrong), None, "{wrong}");
        }
    }
}
