//! The policy's versions in the store.
//!
//! Owns: reading the current policy, and replacing it by compare-and-swap on the
//! version its editor saw. Knows nothing of what a policy says: that is `policy`.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use spillway_proto::{keys, pb};
use spillway_routing::unit::UnixMillis;

use crate::error::ControlError;
use crate::store::{Expected, Store, StoreError};

/// Versions shown in the history of the policy.
const LISTED: usize = 50;

/// One version of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    pub version: u64,
    pub text: String,
    pub author: String,
    pub at: UnixMillis,
}

/// See the module.
#[derive(Debug)]
pub struct Policies {
    store: Arc<Store>,
}

impl Policies {
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn current(&self) -> Result<Option<PolicyVersion>, ControlError> {
        let found = self.store.get(&keys::policy()).await?;
        Ok(found.and_then(|value| decode(&value.value)))
    }

    /// One version, while it is kept.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn version(&self, version: u64) -> Result<Option<PolicyVersion>, ControlError> {
        let found = self.store.get(&keys::policy_version(version)).await?;
        Ok(found.and_then(|value| decode(&value.value)))
    }

    /// Kept versions, newest first.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn versions(&self) -> Result<Vec<PolicyVersion>, ControlError> {
        // One by one: all texts that ever were may be more than one answer of etcd holds.
        let kept = self.store.keys(&keys::policy_versions()).await?;
        let mut versions = Vec::new();
        for key in kept.iter().rev().take(LISTED) {
            let found = self.store.get(key).await?;
            versions.extend(found.and_then(|value| decode(&value.value)));
        }
        Ok(versions)
    }

    /// Replaces version `expected` (0 for none); returns the new version.
    ///
    /// # Errors
    ///
    /// [`ControlError::PolicyConflict`] if another version is current by now.
    pub async fn put(
        &self,
        text: &str,
        expected: u64,
        author: &str,
        now: UnixMillis,
    ) -> Result<u64, ControlError> {
        let found = self.store.get(&keys::policy()).await?;
        let current = found
            .as_ref()
            .and_then(|value| decode(&value.value))
            .map_or(0, |p| p.version);
        if current != expected {
            return Err(ControlError::PolicyConflict { expected, current });
        }
        let version = expected + 1;
        let message = pb::PolicyVersion {
            version,
            text: text.to_owned(),
            author: author.to_owned(),
            at_ms: now.0,
        };
        let bytes = Bytes::from(message.encode_to_vec());
        let swap = found.map_or(Expected::Absent, |value| Expected::Revision(value.revision));
        let kept = (keys::policy_version(version), bytes.clone());
        match self
            .store
            .put(&keys::policy(), bytes, swap, vec![kept])
            .await
        {
            Err(StoreError::Conflict { .. }) => {
                let current = self.current().await?.map_or(0, |policy| policy.version);
                Err(ControlError::PolicyConflict { expected, current })
            }
            other => Ok(other.map(|()| version)?),
        }
    }
}

fn decode(bytes: &[u8]) -> Option<PolicyVersion> {
    let message = pb::PolicyVersion::decode(bytes).ok()?;
    Some(PolicyVersion {
        version: message.version,
        text: message.text,
        author: message.author,
        at: UnixMillis(message.at_ms),
    })
}
