//! Work that nobody waits for: accepted, kept, done by whichever proxy is free, fetched.
//!
//! Owns: what a job is and how it goes from request to answer. The store of objects holds
//! what must not be lost; the queue says what is open and who is at it. A job is done by
//! the same exchange as any request, and makes an outcome each time it is tried.

pub(crate) mod batch;
mod queue;
mod store;
mod worker;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use spillway_routing::dialect::Dialect;
use spillway_routing::unit::UnixMillis;
use tokio::sync::Notify;

use self::queue::Queue;
pub(crate) use self::store::{Progress, Store, StoreError};
pub(crate) use self::worker::run;
use crate::clock;
use crate::config::{FeedConfig, JobsConfig};
use crate::failure::{Failure, Kind};

/// What a job belongs to: a response, or a batch of many.
pub(crate) const RESPONSE: &str = "resp_";
pub(crate) const BATCH: &str = "batch_";

/// One request of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobId {
    pub(crate) group: String,
    pub(crate) number: u32,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.group, self.number)
    }
}

impl JobId {
    fn parse(text: &str) -> Option<Self> {
        let (group, number) = text.rsplit_once('.')?;
        Some(Self {
            group: group.to_owned(),
            number: number.parse().ok()?,
        })
    }
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// The lines of a batch are to become jobs.
    Expand(String),
    Run(JobId),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expand(batch) => f.write_str(batch),
            Self::Run(job) => job.fmt(f),
        }
    }
}

impl Work {
    fn parse(text: &str) -> Self {
        JobId::parse(text).map_or_else(|| Self::Expand(text.to_owned()), Self::Run)
    }
}

/// The status of what was cancelled: the client closed the request (nginx's).
pub(crate) const CANCELLED: u16 = 499;

/// Work and by when it should be done; the earliest comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) by: UnixMillis,
    pub(crate) work: Work,
}

/// A request as it is kept.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    /// What it is asked in.
    pub(crate) dialect: String,
    pub(crate) body: Box<RawValue>,
    /// The caller's, by name: the key itself is never kept.
    pub(crate) key: String,
    /// Of the caller's headers, those that label the request.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) created_ms: u64,
    pub(crate) by_ms: u64,
    /// A batch's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) custom_id: Option<String>,
}

impl Job {
    pub(crate) fn dialect(&self) -> Dialect {
        Dialect::parse(&self.dialect).unwrap_or_default()
    }
}

impl Answer {
    /// One that no provider gave.
    pub(crate) fn without(failure: &Failure, dialect: Dialect) -> Self {
        let text = String::from_utf8_lossy(&failure.body(dialect)).into_owned();
        Self {
            status: failure.status().as_u16(),
            body: RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned()),
            request_id: String::new(),
            possible_charges: 0,
            finished_ms: clock::now().0,
        }
    }

    pub(crate) fn cancelled(dialect: Dialect) -> Self {
        let failure = Failure::client(Kind::Cancelled, "it was cancelled");
        Self {
            status: CANCELLED,
            ..Self::without(&failure, dialect)
        }
    }
}

/// What became of a job.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Box<RawValue>,
    pub(crate) request_id: String,
    /// Beside the answer, so many attempts may have been charged.
    pub(crate) possible_charges: u32,
    pub(crate) finished_ms: u64,
}

/// The store and the queue.
pub(crate) struct Jobs {
    pub(crate) store: Store,
    queue: Queue,
    /// Something was added here.
    added: Notify,
    config: JobsConfig,
}

impl Jobs {
    /// Opens the folder or the bucket.
    pub(crate) fn open(config: &JobsConfig, feed: &FeedConfig) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            store: Store::open(&config.place)?,
            queue: Queue::of(feed),
            added: Notify::new(),
            config: config.clone(),
        }))
    }

    /// Keeps a job; once this returns it will be done.
    pub(crate) async fn add(&self, id: &JobId, job: &Job) -> Result<(), StoreError> {
        self.store.keep(id, job).await?;
        let due = Due {
            by: UnixMillis(job.by_ms),
            work: Work::Run(id.clone()),
        };
        self.enqueue(&[due]).await
    }

    async fn enqueue(&self, due: &[Due]) -> Result<(), StoreError> {
        self.queue.add(due).await?;
        self.added.notify_one();
        Ok(())
    }
}

/// A name that nobody guesses.
pub(crate) fn new_id(kind: &str) -> String {
    format!("{kind}{}", uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_read_back_from_its_name() {
        let job = JobId {
            group: "batch_1".to_owned(),
            number: 7,
        };
        for work in [Work::Run(job), Work::Expand("batch_1".to_owned())] {
            assert_eq!(Work::parse(&work.to_string()), work);
        }
    }
}
