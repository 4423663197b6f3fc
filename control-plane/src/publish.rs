//! Publishing: draft → build → check → probes → sign → compare-and-swap.
//!
//! Owns: the only path by which a table becomes current, and the versions kept to roll
//! back to. Two publishers cannot overwrite each other: the pointer is swapped only if
//! it still is what this one read. Knows no policy and no training.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use spillway_proto::convert::decode_table;
use spillway_proto::envelope::{self, Bundle, EnvelopeError, Manifest, SecretKey};
use spillway_proto::keys;
use spillway_routing::check::Flaw;
use spillway_routing::conditions::Conditions;
use spillway_routing::decide::decide;
use spillway_routing::id::TableVersion;
use spillway_routing::table::{Draft, Probe, Table};
use spillway_routing::unit::UnixMillis;

use tokio::sync::Mutex;

use crate::store::{Expected, Store, StoreError};

/// Versions kept for rolling back; older ones are swept with their chunks.
const KEPT_VERSIONS: usize = 50;
/// Beside them so many that only count again: those come by themselves, several an hour, and
/// must not push out what a person or a run made.
const KEPT_RECOUNTS: usize = 20;

/// Why a version is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody, a run or an alarm wants another table.
    Change,
    /// The labels were counted again under what was learnt before.
    Recount,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the table does not build: {}", list(.0))]
    Flawed(Vec<Flaw>),
    #[error("version {current} was published meanwhile, not {expected}: look at it and try again")]
    Stale {
        expected: TableVersion,
        current: TableVersion,
    },
    #[error("there is no table of version {0}")]
    NoSuchVersion(TableVersion),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the kept table cannot be read")]
    Envelope(#[from] EnvelopeError),
}

fn list(flaws: &[Flaw]) -> String {
    flaws
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The current table as it stands in the store.
#[derive(Clone, Debug)]
pub struct Current {
    pub table: Arc<Table>,
    pub manifest: Manifest,
    /// The pointer's revision in the store.
    revision: i64,
}

/// Publishes with one key to one store.
#[derive(Debug)]
pub struct Publisher {
    store: Arc<Store>,
    key: SecretKey,
    /// Chunks are written before the pointer names them: no sweep in between.
    publishing: Mutex<()>,
}

impl Publisher {
    #[must_use]
    pub fn new(store: Arc<Store>, key: SecretKey) -> Self {
        Self {
            store,
            key,
            publishing: Mutex::new(()),
        }
    }

    /// Reads and verifies the current table.
    ///
    /// # Errors
    ///
    /// If the store does not answer or holds something this key did not sign.
    pub async fn current(&self) -> Result<Option<Current>, PublishError> {
        let Some(pointer) = self.store.get(&keys::pointer()).await? else {
            return Ok(None);
        };
        let (manifest, draft) = self.fetch(&pointer.value).await?;
        let table = Table::build(draft).map_err(PublishError::Flawed)?;
        Ok(Some(Current {
            table: Arc::new(table),
            manifest,
            revision: pointer.revision,
        }))
    }

    /// The version the pointer names, without fetching its content.
    ///
    /// # Errors
    ///
    /// As [`Publisher::current`].
    pub async fn current_version(&self) -> Result<TableVersion, PublishError> {
        let pointer = self.store.get(&keys::pointer()).await?;
        let manifest = pointer
            .map(|p| envelope::manifest_of(&p.value, &[self.key.public()]))
            .transpose()?;
        Ok(manifest.map_or(TableVersion(0), |manifest| manifest.version))
    }

    /// All kept versions, newest first.
    ///
    /// # Errors
    ///
    /// As [`Publisher::current`].
    pub async fn versions(&self) -> Result<Vec<Manifest>, PublishError> {
        let trusted = [self.key.public()];
        let kept = self.store.list(&keys::archives()).await?;
        let read = kept
            .iter()
            .rev()
            .map(|v| envelope::manifest_of(&v.value, &trusted));
        Ok(read.collect::<Result<_, _>>()?)
    }

    /// The draft of one kept version.
    ///
    /// # Errors
    ///
    /// [`PublishError::NoSuchVersion`] if it is not kept.
    pub async fn version(&self, version: TableVersion) -> Result<(Manifest, Draft), PublishError> {
        let kept = self.store.get(&keys::archive(version)).await?;
        let kept = kept.ok_or(PublishError::NoSuchVersion(version))?;
        self.fetch(&kept.value).await
    }

    async fn fetch(&self, signed: &[u8]) -> Result<(Manifest, Draft), PublishError> {
        let manifest = envelope::manifest_of(signed, &[self.key.public()])?;
        let mut chunks = Vec::with_capacity(manifest.chunks.len());
        for (index, hash) in manifest.chunks.iter().enumerate() {
            let chunk = self.store.get(&keys::chunk(hash)).await?;
            let chunk = chunk.ok_or(EnvelopeError::WrongChunk(index))?;
            chunks.push(chunk.value.to_vec());
        }
        let payload = envelope::assemble(&manifest, &chunks)?;
        let draft = decode_table(&payload).map_err(EnvelopeError::from)?;
        Ok((manifest, draft))
    }

    /// Publishes `draft` as the successor of `parent` (`None` for the first), with
    /// `probes` decided by this build.
    ///
    /// # Errors
    ///
    /// [`PublishError::Stale`] if the current version is not `parent`; nothing was
    /// changed then.
    pub async fn publish(
        &self,
        draft: Draft,
        parent: TableVersion,
        probes: Vec<Probe>,
        now: UnixMillis,
    ) -> Result<TableVersion, PublishError> {
        let cause = Cause::Change;
        self.publish_for(cause, draft, parent, probes, now).await
    }

    /// As [`Publisher::publish`], and says why.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn publish_for(
        &self,
        cause: Cause,
        mut draft: Draft,
        parent: TableVersion,
        probes: Vec<Probe>,
        now: UnixMillis,
    ) -> Result<TableVersion, PublishError> {
        let _publishing = self.publishing.lock().await;
        let pointer = self.store.get(&keys::pointer()).await?;
        let current = self.current_version().await?;
        if current != parent {
            return Err(PublishError::Stale {
                expected: parent,
                current,
            });
        }
        draft.parent = parent;
        draft.version = TableVersion(parent.0 + 1);
        draft.made_at = now;
        draft.probes = Vec::new();
        let table = Table::build(draft).map_err(PublishError::Flawed)?;
        let mut draft = table.draft().clone();
        draft.probes = probes
            .into_iter()
            .map(|probe| decided(&table, probe))
            .collect();
        let bundle = envelope::seal(&draft, &self.key)?;
        for (hash, chunk) in bundle.chunks() {
            let chunk = Bytes::copy_from_slice(chunk);
            self.store
                .put(&keys::chunk(&hash), chunk, Expected::Anything, Vec::new())
                .await?;
        }
        let signed = Bytes::from(bundle.signed.clone());
        let expected = pointer.map_or(Expected::Absent, |p| Expected::Revision(p.revision));
        let mut also = vec![(keys::archive(draft.version), signed.clone())];
        if cause == Cause::Recount {
            also.push((keys::recount(draft.version), Bytes::new()));
        }
        match self
            .store
            .put(&keys::pointer(), signed, expected, also)
            .await
        {
            Err(StoreError::Conflict { .. }) => {
                let current = self.current_version().await?;
                return Err(PublishError::Stale {
                    expected: parent,
                    current,
                });
            }
            other => other?,
        }
        self.show(&bundle);
        // The table is out; old ones that stay a while longer do no harm.
        if let Err(error) = self.sweep().await {
            tracing::warn!(error = %error, "old tables were not swept; trying again at the next publish");
        }
        Ok(draft.version)
    }

    /// Publishes the content of an old version as a new one, which stands for version
    /// `policy` of the policy.
    ///
    /// # Errors
    ///
    /// As [`Publisher::publish`], and if the old version is not kept.
    pub async fn roll_back(
        &self,
        to: TableVersion,
        expected_current: TableVersion,
        policy: u64,
        now: UnixMillis,
    ) -> Result<TableVersion, PublishError> {
        let (_, mut draft) = self.version(to).await?;
        draft.note = format!("rolled back to version {to}");
        draft.policy = policy;
        let probes = std::mem::take(&mut draft.probes);
        self.publish(draft, expected_current, probes, now).await
    }

    /// Lets an embedded proxy see the current table, e.g. after a restart.
    ///
    /// # Errors
    ///
    /// As [`Publisher::current`].
    pub async fn show_current(&self) -> Result<(), PublishError> {
        if !matches!(*self.store, Store::Local(_)) {
            return Ok(());
        }
        let Some(pointer) = self.store.get(&keys::pointer()).await? else {
            return Ok(());
        };
        let (_, draft) = self.fetch(&pointer.value).await?;
        let payload = spillway_proto::convert::encode_table(&draft);
        self.show(&Bundle {
            signed: pointer.value.to_vec(),
            payload,
        });
        Ok(())
    }

    fn show(&self, bundle: &Bundle) {
        if let Store::Local(store) = &*self.store {
            store.show(bundle.encode().into());
        }
    }

    /// Forgets versions beyond those kept of either cause, and chunks no kept one names.
    async fn sweep(&self) -> Result<(), PublishError> {
        let trusted = [self.key.public()];
        let recounts = self.store.keys(&keys::recounts()).await?;
        let recounts: BTreeSet<String> = recounts.into_iter().collect();
        let (mut named, mut surplus) = (BTreeSet::new(), Vec::new());
        let mut room = [KEPT_VERSIONS, KEPT_RECOUNTS];
        for archive in self.store.list(&keys::archives()).await?.into_iter().rev() {
            let manifest = envelope::manifest_of(&archive.value, &trusted)?;
            let recount = keys::recount(manifest.version);
            let room = &mut room[usize::from(recounts.contains(&recount))];
            if *room > 0 {
                *room -= 1;
                named.extend(manifest.chunks.iter().map(keys::chunk));
            } else {
                surplus.push((archive.key, recount));
            }
        }
        if surplus.is_empty() {
            return Ok(());
        }
        for (archive, recount) in surplus {
            self.store.delete(&archive).await?;
            self.store.delete(&recount).await?;
        }
        for chunk in self.store.keys(&keys::chunks()).await? {
            if !named.contains(&chunk) {
                self.store.delete(&chunk).await?;
            }
        }
        Ok(())
    }
}

/// The probe with what this build decides for it.
fn decided(table: &Table, mut probe: Probe) -> Probe {
    let order = table.draft().lanes.iter().map(|lane| &lane.id);
    let conditions = Conditions::named(&probe.conditions, order);
    let decision = decide(table, &probe.facts, &conditions, probe.now, probe.draw);
    let plan = decision.map(|decision| decision.plan).unwrap_or_default();
    probe.expected = plan.into_iter().map(|step| step.lane).collect();
    probe
}

impl Current {
    #[must_use]
    pub fn version(&self) -> TableVersion {
        self.table.version()
    }

    /// The pointer's revision in the store, which grows with every change.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }
}

#[cfg(test)]
mod tests;
