//! What must not be lost, as objects.
//!
//! Owns: where each object is and how it is written: whole or not at all, and once, so
//! that whoever comes second hears of it. `jobs/GROUP/NUMBER/` holds `request`, `begun-N`
//! for each time it was begun and something may have been sent, `answer`, and
//! `status-STATUS` beside it for whoever counts; `jobs/GROUP/cancelled` ends a group;
//! `files/` and `batches/` hold what callers sent. Knows no queue and no HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;
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
use crate::config::JobsPlace;

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
    /// So often, and the number of the next time.
    pub(crate) begun: u32,
    pub(crate) next: u32,
    pub(crate) answered: bool,
    /// The answer's, where it was noted.
    pub(crate) status: Option<u16>,
}

pub(crate) struct Store {
    objects: Arc<dyn ObjectStore>,
}

impl Store {
    pub(super) fn open(place: &JobsPlace) -> std::io::Result<Self> {
        let objects = match place {
            JobsPlace::Folder(folder) => {
                std::fs::create_dir_all(folder)?;
                let files = LocalFileSystem::new_with_prefix(folder)?;
                Arc::new(files.with_automatic_cleanup(true))
            }
            JobsPlace::Bucket(bucket) => Arc::clone(bucket),
        };
        Ok(Self { objects })
    }

    /// Keeps a request; the same one again changes nothing.
    pub(super) async fn keep(&self, id: &JobId, job: &Job) -> Result<(), StoreError> {
        self.create(&object(id, "request"), job).await.map(drop)
    }

    pub(crate) async fn job(&self, id: &JobId) -> Result<Option<Job>, StoreError> {
        self.read(&object(id, "request")).await
    }

    /// Begins it once more; `false` where somebody else did just now.
    pub(super) async fn begin(&self, id: &JobId, begun: u32) -> Result<bool, StoreError> {
        let name = format!("begun-{begun}");
        self.create(&object(id, &name), &()).await
    }

    /// It was begun, and nothing came of it that anybody could charge.
    pub(super) async fn withdraw(&self, id: &JobId, begun: u32) -> Result<(), StoreError> {
        let name = format!("begun-{begun}");
        self.delete(object(id, &name).as_ref()).await
    }

    /// Answers it; `false` where it has an answer.
    pub(crate) async fn answer(&self, id: &JobId, answer: &Answer) -> Result<bool, StoreError> {
        let first = self.create(&object(id, "answer"), answer).await?;
        if first {
            let name = format!("status-{}", answer.status);
            self.create(&object(id, &name), &()).await?;
        }
        Ok(first)
    }

    /// The answer. Each time it was begun but for one may have been charged in vain.
    pub(crate) async fn answered(&self, id: &JobId) -> Result<Option<Answer>, StoreError> {
        let answer: Option<Answer> = self.read(&object(id, "answer")).await?;
        let Some(mut answer) = answer else {
            return Ok(None);
        };
        let begun = self.progress(id).await?.begun;
        answer.possible_charges += begun.saturating_sub(1);
        Ok(Some(answer))
    }

    pub(crate) async fn progress(&self, id: &JobId) -> Result<Progress, StoreError> {
        let folder = format!("jobs/{}/{}", id.group, id.number);
        let mut progress = Progress::default();
        for name in self.names(&folder).await? {
            progress.add(name.rsplit('/').next().unwrap_or_default());
        }
        Ok(progress)
    }

    /// Of a group, how far each job is that was kept, by its number.
    pub(crate) async fn group(&self, group: &str) -> Result<BTreeMap<u32, Progress>, StoreError> {
        let mut jobs = BTreeMap::<u32, Progress>::new();
        for name in self.names(&format!("jobs/{group}")).await? {
            let mut parts = name.rsplit('/');
            let object = parts.next().unwrap_or_default();
            if let Some(number) = parts.next().and_then(|number| number.parse().ok()) {
                jobs.entry(number).or_default().add(object);
            }
        }
        Ok(jobs)
    }

    /// Jobs that were kept and have no answer.
    pub(super) async fn unanswered(&self) -> Result<Vec<JobId>, StoreError> {
        let mut jobs = BTreeMap::<JobId, Progress>::new();
        for name in self.names("jobs").await? {
            let parts: Vec<&str> = name.split('/').collect();
            if let [_, group, number, object] = parts[..]
                && let Ok(number) = number.parse()
            {
                let group = group.to_owned();
                jobs.entry(JobId { group, number }).or_default().add(object);
            }
        }
        let open = jobs.into_iter().filter(|(_, p)| p.kept && !p.answered);
        Ok(open.map(|(id, _)| id).collect())
    }

    pub(crate) async fn cancel(&self, group: &str) -> Result<(), StoreError> {
        let place = Place::from(format!("jobs/{group}/cancelled"));
        self.create(&place, &()).await.map(drop)
    }

    pub(crate) async fn is_cancelled(&self, group: &str) -> Result<bool, StoreError> {
        let place = Place::from(format!("jobs/{group}/cancelled"));
        match self.objects.head(&place).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets a group and all its jobs; the requests first, so that none is done again.
    pub(crate) async fn forget(&self, group: &str) -> Result<(), StoreError> {
        let folder = format!("jobs/{group}");
        for name in self.names(&folder).await? {
            if name.ends_with("/request") {
                self.delete(&name).await?;
            }
        }
        self.delete_below(&folder, None).await
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
        self.create(&Place::from(name), value).await.map(drop)
    }

    pub(crate) async fn put_bytes(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.write(&Place::from(name), bytes).await.map(drop)
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        self.read(&Place::from(name)).await
    }

    /// What lies below a folder under this name; what cannot be read is left out.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        folder: &str,
        name: &str,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        for found in self.names(folder).await? {
            if found.rsplit('/').next() != Some(name) {
                continue;
            }
            match self.get(&found).await {
                Ok(object) => all.extend(object),
                Err(error) => tracing::warn!(
                    object = found,
                    error = &error as &dyn std::error::Error,
                    "an object cannot be read"
                ),
            }
        }
        Ok(all)
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

    async fn create<T: Serialize>(&self, place: &Place, value: &T) -> Result<bool, StoreError> {
        self.write(place, Bytes::from(serde_json::to_vec(value)?))
            .await
    }

    /// `false` where there is such an object.
    async fn write(&self, place: &Place, bytes: Bytes) -> Result<bool, StoreError> {
        let put = self
            .objects
            .put_opts(place, bytes.into(), PutMode::Create.into());
        match put.await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
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
        match object {
            "request" => self.kept = true,
            "answer" => self.answered = true,
            _ => {
                let begun = object.strip_prefix("begun-");
                if let Some(number) = begun.and_then(|number| number.parse::<u32>().ok()) {
                    self.begun += 1;
                    self.next = self.next.max(number.saturating_add(1));
                }
                let status = object.strip_prefix("status-");
                self.status = self
                    .status
                    .or(status.and_then(|status| status.parse().ok()));
            }
        }
    }
}

fn object(id: &JobId, name: &str) -> Place {
    Place::from(format!("jobs/{}/{}/{name}", id.group, id.number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_comes_second_hears_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&JobsPlace::Folder(folder.path().to_owned())).unwrap();
        let id = JobId {
            group: "resp_1".to_owned(),
            number: 0,
        };
        assert!(store.begin(&id, 0).await.unwrap());
        assert!(!store.begin(&id, 0).await.unwrap());
        assert!(store.begin(&id, 1).await.unwrap());
        // It found no room, and comes again.
        store.withdraw(&id, 1).await.unwrap();
        assert_eq!(store.progress(&id).await.unwrap().begun, 1);
        assert!(store.begin(&id, 1).await.unwrap());
        // An earlier holder takes its beginning back later: the next one is still free.
        store.withdraw(&id, 0).await.unwrap();
        let progress = store.progress(&id).await.unwrap();
        assert_eq!((progress.begun, progress.next), (1, 2));
        assert!(store.begin(&id, progress.next).await.unwrap());
        let answer = Answer::cancelled(spillway_routing::dialect::Dialect::OpenAiChat);
        assert!(store.answer(&id, &answer).await.unwrap());
        assert!(!store.answer(&id, &answer).await.unwrap());
        // Begun twice: one of them may have been charged beside the answer.
        let kept = store.answered(&id).await.unwrap().unwrap();
        assert_eq!((kept.status, kept.possible_charges), (499, 1));
        let progress = store.progress(&id).await.unwrap();
        assert_eq!((progress.begun, progress.status), (2, Some(499)));
        store.forget("resp_1").await.unwrap();
        assert_eq!(store.names("jobs").await.unwrap(), Vec::<String>::new());
    }
}
