//! What must not be lost, as objects.
//!
//! Owns: where each object is and how it is written: whole or not at all, and an answer
//! once. `jobs/GROUP/NUMBER/` holds `request`, `begun-N` for each time it was begun, and
//! `answer-STATUS`; `jobs/GROUP/cancelled` ends a group; `files/` and `batches/` hold what
//! callers sent. Knows no queue and no HTTP.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Place;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use spillway_routing::unit::UnixMillis;

use super::{Answer, Job, JobId};

/// Objects read or deleted at once.
const AT_ONCE: usize = 16;

/// Why something is not kept or not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the store of jobs failed")]
    Objects(#[from] object_store::Error),
    #[error("an object of the store is not what it should be")]
    Malformed(#[from] serde_json::Error),
    #[error("etcd failed")]
    Etcd(#[from] etcd_client::Error),
    #[error("etcd did not answer in time")]
    Silent(#[from] tokio::time::error::Elapsed),
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) kept: bool,
    pub(crate) begun: u32,
    /// The answer's status.
    pub(crate) answered: Option<u16>,
}

pub(crate) struct Store {
    objects: LocalFileSystem,
}

impl Store {
    pub(super) fn open(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let objects = LocalFileSystem::new_with_prefix(folder)?.with_automatic_cleanup(true);
        Ok(Self { objects })
    }

    /// Keeps a request; the same one again changes nothing.
    pub(super) async fn keep(&self, id: &JobId, job: &Job) -> Result<(), StoreError> {
        self.create(&object(id, "request"), job).await
    }

    pub(crate) async fn job(&self, id: &JobId) -> Result<Option<Job>, StoreError> {
        self.read(&object(id, "request")).await
    }

    /// Says that it is begun for the N-th time.
    pub(super) async fn begin(&self, id: &JobId, times: u32) -> Result<(), StoreError> {
        self.create(&object(id, &format!("begun-{times}")), &())
            .await
    }

    pub(super) async fn answer(&self, id: &JobId, answer: &Answer) -> Result<(), StoreError> {
        let name = format!("answer-{}", answer.status);
        self.create(&object(id, &name), answer).await
    }

    pub(crate) async fn answered(
        &self,
        id: &JobId,
        status: u16,
    ) -> Result<Option<Answer>, StoreError> {
        self.read(&object(id, &format!("answer-{status}"))).await
    }

    pub(crate) async fn progress(&self, id: &JobId) -> Result<Progress, StoreError> {
        let names = self
            .names(&format!("jobs/{}/{}", id.group, id.number))
            .await?;
        let mut progress = Progress::default();
        for name in names {
            progress.add(name.rsplit('/').next().unwrap_or_default());
        }
        Ok(progress)
    }

    /// Of a group, how far each job is that was kept, by its number.
    pub(crate) async fn group(&self, group: &str) -> Result<Vec<(u32, Progress)>, StoreError> {
        let mut jobs = std::collections::BTreeMap::<u32, Progress>::new();
        for name in self.names(&format!("jobs/{group}")).await? {
            let mut parts = name.rsplit('/');
            let object = parts.next().unwrap_or_default();
            if let Some(number) = parts.next().and_then(|number| number.parse().ok()) {
                jobs.entry(number).or_default().add(object);
            }
        }
        Ok(jobs.into_iter().collect())
    }

    /// Jobs that were kept and have no answer.
    pub(super) async fn unanswered(&self) -> Result<Vec<JobId>, StoreError> {
        let mut jobs = std::collections::BTreeMap::<JobId, Progress>::new();
        for name in self.names("jobs").await? {
            let parts: Vec<&str> = name.split('/').collect();
            if let [_, group, number, object] = parts[..]
                && let Ok(number) = number.parse()
            {
                let group = group.to_owned();
                jobs.entry(JobId { group, number }).or_default().add(object);
            }
        }
        let open = jobs
            .into_iter()
            .filter(|(_, p)| p.kept && p.answered.is_none());
        Ok(open.map(|(id, _)| id).collect())
    }

    pub(crate) async fn cancel(&self, group: &str) -> Result<(), StoreError> {
        self.create(&Place::from(format!("jobs/{group}/cancelled")), &())
            .await
    }

    pub(crate) async fn is_cancelled(&self, group: &str) -> Result<bool, StoreError> {
        let place = Place::from(format!("jobs/{group}/cancelled"));
        Ok(self.read::<()>(&place).await?.is_some())
    }

    /// Forgets a group and all its jobs.
    pub(crate) async fn forget(&self, group: &str) -> Result<(), StoreError> {
        self.delete_below(&format!("jobs/{group}"), None).await
    }

    /// Forgets what is older than this.
    pub(super) async fn sweep(&self, before: UnixMillis) -> Result<(), StoreError> {
        for folder in ["jobs", "files", "batches"] {
            self.delete_below(folder, Some(before)).await?;
        }
        Ok(())
    }

    /// Keeps something of the caller's; the same name again changes nothing.
    pub(crate) async fn put<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        self.create(&Place::from(name), value).await
    }

    pub(crate) async fn put_bytes(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.write(&Place::from(name), bytes).await
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        self.read(&Place::from(name)).await
    }

    pub(crate) async fn get_bytes(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.bytes(&Place::from(name)).await
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.objects.delete(&Place::from(name)).await {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Full names below a folder.
    pub(crate) async fn names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let found = self.objects.list(Some(&Place::from(folder)));
        let names = found.map_ok(|meta| meta.location.to_string());
        Ok(names.try_collect().await?)
    }

    async fn create<T: Serialize>(&self, place: &Place, value: &T) -> Result<(), StoreError> {
        self.write(place, Bytes::from(serde_json::to_vec(value)?))
            .await
    }

    async fn write(&self, place: &Place, bytes: Bytes) -> Result<(), StoreError> {
        let put = self
            .objects
            .put_opts(place, bytes.into(), PutMode::Create.into());
        match put.await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn read<T: DeserializeOwned>(&self, place: &Place) -> Result<Option<T>, StoreError> {
        let bytes = self.bytes(place).await?;
        Ok(bytes
            .map(|bytes| serde_json::from_slice(&bytes))
            .transpose()?)
    }

    async fn bytes(&self, place: &Place) -> Result<Option<Bytes>, StoreError> {
        match self.objects.get(place).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete_below(
        &self,
        folder: &str,
        before: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        let before = before.map(|before| Duration::from_millis(before.0));
        let found = self.objects.list(Some(&Place::from(folder)));
        let old = found.try_filter(|meta| {
            let written = meta.last_modified.timestamp_millis();
            let written = Duration::from_millis(u64::try_from(written).unwrap_or_default());
            std::future::ready(before.is_none_or(|before| written < before))
        });
        let places: Vec<Place> = old.map_ok(|meta| meta.location).try_collect().await?;
        let deleting = futures::stream::iter(places).map(|place| async move {
            match self.objects.delete(&place).await {
                Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
                Err(error) => Err(StoreError::from(error)),
            }
        });
        deleting.buffer_unordered(AT_ONCE).try_collect().await
    }
}

impl Progress {
    fn add(&mut self, object: &str) {
        if object == "request" {
            self.kept = true;
        } else if let Some(status) = object.strip_prefix("answer-") {
            self.answered = self.answered.or(status.parse().ok());
        } else if object.starts_with("begun-") {
            self.begun += 1;
        }
    }
}

fn object(id: &JobId, name: &str) -> Place {
    Place::from(format!("jobs/{}/{}/{name}", id.group, id.number))
}
