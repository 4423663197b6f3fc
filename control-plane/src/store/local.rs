//! The store inside this process, kept in one directory.
//!
//! Owns: a map, its file, and the two channels through which an embedded proxy gets
//! tables and acknowledges them. The same keys and bytes as in etcd.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use spillway_proto::keys;
use tokio::sync::watch;

use super::{Expected, StoreError, Versioned};

/// See the module.
#[derive(Debug)]
pub struct LocalStore {
    dir: PathBuf,
    state: Mutex<State>,
    /// The current table as an encoded bundle, for the embedded proxy's feed.
    bundle: watch::Sender<Option<Bytes>>,
}

#[derive(Debug, Default)]
struct State {
    values: BTreeMap<String, (Bytes, i64)>,
    revision: i64,
}

impl LocalStore {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let disk = |source| StoreError::Disk {
            path: dir.display().to_string(),
            source,
        };
        fs::create_dir_all(dir).map_err(disk)?;
        let mut state = State::default();
        for entry in fs::read_dir(dir).map_err(disk)? {
            let path = entry.map_err(disk)?.path();
            let Some(key) = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(key_of)
            else {
                continue;
            };
            state.revision += 1;
            let value = fs::read(&path).map_err(disk)?.into();
            state.values.insert(key, (value, state.revision));
        }
        Ok(Self {
            dir: dir.to_owned(),
            state: Mutex::new(state),
            bundle: watch::Sender::new(None),
        })
    }

    /// Where an embedded proxy sees the current table.
    #[must_use]
    pub fn bundles(&self) -> watch::Receiver<Option<Bytes>> {
        self.bundle.subscribe()
    }

    /// Shows a table to the embedded proxy.
    pub fn show(&self, bundle: Bytes) {
        self.bundle.send_replace(Some(bundle));
    }

    /// A panic elsewhere leaves the map whole: every change is one insertion.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &str) -> Option<Versioned> {
        let state = self.lock();
        let (value, revision) = state.values.get(key)?;
        Some(Versioned {
            key: key.to_owned(),
            value: value.clone(),
            revision: *revision,
        })
    }

    pub(super) fn list(&self, prefix: &str) -> Vec<Versioned> {
        let state = self.lock();
        let from = state.values.range(prefix.to_owned()..);
        from.take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, (value, revision))| Versioned {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
            })
            .collect()
    }

    pub(super) fn put(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
        also: Vec<(String, Bytes)>,
    ) -> Result<(), StoreError> {
        let mut state = self.lock();
        let found = state.values.get(key).map(|(_, revision)| *revision);
        let as_expected = match expected {
            Expected::Absent => found.is_none(),
            Expected::Revision(revision) => found == Some(revision),
            Expected::Anything => true,
        };
        if !as_expected {
            return Err(StoreError::Conflict {
                key: key.to_owned(),
            });
        }
        // The compared key is written last: what it points to is there before it.
        for (key, value) in also.into_iter().chain([(key.to_owned(), value)]) {
            if !is_volatile(&key) {
                self.write(&key, &value)?;
            }
            state.revision += 1;
            let revision = state.revision;
            state.values.insert(key, (value, revision));
        }
        Ok(())
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.dir.join(file_of(key));
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Disk {
                    path: path.display().to_string(),
                    source,
                });
            }
            _ => {}
        }
        self.lock().values.remove(key);
        Ok(())
    }

    fn write(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(file_of(key));
        let half = path.with_extension("half");
        let written = fs::File::create(&half).and_then(|mut file| {
            file.write_all(value)?;
            file.sync_all()?;
            fs::rename(&half, &path)
        });
        written.map_err(|source| StoreError::Disk {
            path: path.display().to_string(),
            source,
        })
    }
}

/// Acknowledgements die with their proxy; they are not kept on disk.
fn is_volatile(key: &str) -> bool {
    key.starts_with(&keys::acknowledgements())
}

/// Keys become file names: `/` is `+`, which no key contains.
fn file_of(key: &str) -> String {
    format!("{}.value", key.replace('/', "+"))
}

fn key_of(file: &str) -> Option<String> {
    file.strip_suffix(".value")
        .map(|name| name.replace('+', "/"))
}
