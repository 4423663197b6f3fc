//! Where tables, policies and acknowledgements live: etcd, or this process.
//!
//! Owns: `get`, `list`, compare-and-swap `put` and `delete` over the keys of
//! `proto::keys`, for both kinds with the same bytes. Knows nothing of what it stores.

mod etcd;
mod local;

use std::path::Path;

use bytes::Bytes;

use self::etcd::EtcdStore;
pub use self::local::LocalStore;

/// A value with the revision that a later compare-and-swap names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    pub key: String,
    pub value: Bytes,
    pub revision: i64,
}

/// What a put expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Absent,
    Revision(i64),
    Anything,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("somebody else changed {key} meanwhile: read it again and repeat the change")]
    Conflict { key: String },
    #[error("etcd at {endpoints} did not answer; the change was not made")]
    Unreachable {
        endpoints: String,
        source: Box<etcd_client::Error>,
    },
    #[error("etcd at {endpoints} took longer than {seconds} s to answer")]
    TimedOut { endpoints: String, seconds: u64 },
    #[error("cannot write {path}")]
    Disk {
        path: String,
        source: std::io::Error,
    },
}

/// etcd in production, this process when embedded.
#[derive(Debug)]
pub enum Store {
    Etcd(Box<EtcdStore>),
    Local(LocalStore),
}

impl Store {
    /// Connects lazily: an etcd that is down now may come up later.
    ///
    /// # Errors
    ///
    /// For endpoints that are no addresses.
    pub async fn etcd(endpoints: &[String]) -> Result<Self, StoreError> {
        Ok(Self::Etcd(Box::new(EtcdStore::connect(endpoints).await?)))
    }

    /// Keeps everything below `dir`.
    ///
    /// # Errors
    ///
    /// If the directory cannot be written or read.
    pub fn local(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self::Local(LocalStore::open(dir)?))
    }

    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        match self {
            Self::Etcd(store) => store.get(key).await,
            Self::Local(store) => Ok(store.get(key)),
        }
    }

    /// All keys that start with `prefix`, in order.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Versioned>, StoreError> {
        match self {
            Self::Etcd(store) => store.list(prefix).await,
            Self::Local(store) => Ok(store.list(prefix)),
        }
    }

    /// The keys that start with `prefix`, in order, without their values.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Etcd(store) => store.keys(prefix).await,
            Self::Local(store) => Ok(store
                .list(prefix)
                .into_iter()
                .map(|value| value.key)
                .collect()),
        }
    }

    /// Writes `key` if it is as expected, together with `also` in one step.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if it is not as expected.
    pub async fn put(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
        also: Vec<(String, Bytes)>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Etcd(store) => store.put(key, value, expected, also).await,
            Self::Local(store) => store.put(key, value, expected, also),
        }
    }

    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self {
            Self::Etcd(store) => store.delete(key).await,
            Self::Local(store) => store.delete(key),
        }
    }
}

#[cfg(test)]
mod tests;
