//! Where the bytes lie: an object store, and for a local directory a durable writer.
//!
//! Owns: create-once, replace, list, read and delete. What `create` and `replace`
//! return from is on disk: `object_store`'s own local put does not sync, so a local
//! directory is written here, as temporary file, sync, link, sync of the directory.
//! Knows paths, not what is in the files.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path as DiskPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use futures::TryStreamExt;

use crate::error::HistoryError;
use crate::layout::Table;

#[derive(Debug)]
pub(crate) struct Shelf {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Set where the store is a local directory.
    disk: Option<PathBuf>,
}

/// What happens when the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Keep,
    Replace,
}

static TEMPORARY: AtomicU64 = AtomicU64::new(0);

impl Shelf {
    pub(crate) fn remote(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let prefix = Path::from(prefix);
        Self {
            store,
            prefix,
            disk: None,
        }
    }

    pub(crate) fn local(dir: &DiskPath) -> Result<Self, HistoryError> {
        let unwritable = |source| HistoryError::Unwritable {
            dir: dir.to_owned(),
            source,
        };
        let probe = dir.join(format!(".probe-{}", std::process::id()));
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&probe, b"spillway"))
            .and_then(|()| fs::remove_file(&probe))
            .map_err(unwritable)?;
        let disk = dir.canonicalize().map_err(unwritable)?;
        Ok(Self {
            store: Arc::new(LocalFileSystem::new_with_prefix(&disk)?),
            prefix: Path::default(),
            disk: Some(disk),
        })
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    pub(crate) fn path(&self, relative: &str) -> Path {
        relative.split('/').fold(self.prefix.clone(), Path::join)
    }

    /// Writes a file unless there is one of that name. Says whether it wrote.
    pub(crate) async fn create(&self, path: &Path, bytes: Bytes) -> Result<bool, HistoryError> {
        self.write(path, bytes, Taken::Keep).await
    }

    pub(crate) async fn replace(&self, path: &Path, bytes: Bytes) -> Result<(), HistoryError> {
        self.write(path, bytes, Taken::Replace).await.map(|_| ())
    }

    async fn write(&self, path: &Path, bytes: Bytes, taken: Taken) -> Result<bool, HistoryError> {
        if let Some(disk) = &self.disk {
            let to = disk.join(path.as_ref());
            let root = disk.clone();
            let write = move || {
                write_durably(&root, &to, &bytes, taken)
                    .map_err(|source| HistoryError::Write { path: to, source })
            };
            return tokio::task::spawn_blocking(write).await?;
        }
        let mode = match taken {
            Taken::Keep => PutMode::Create,
            Taken::Replace => PutMode::Overwrite,
        };
        let payload = PutPayload::from_bytes(bytes);
        match self
            .store
            .put_opts(path, payload, PutOptions::from(mode))
            .await
        {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn list(&self, table: Table) -> Result<Vec<ObjectMeta>, HistoryError> {
        let folder = self.path(table.name());
        Ok(self.store.list(Some(&folder)).try_collect().await?)
    }

    pub(crate) async fn read(&self, path: &Path) -> Result<Bytes, HistoryError> {
        Ok(self.store.get(path).await?.bytes().await?)
    }

    /// The last `length` bytes of a file of `size` bytes.
    pub(crate) async fn tail(
        &self,
        path: &Path,
        size: u64,
        length: u64,
    ) -> Result<Bytes, HistoryError> {
        if size == 0 {
            return Ok(Bytes::new()); // Stores refuse empty ranges.
        }
        let range = size.saturating_sub(length)..size;
        Ok(self.store.get_range(path, range).await?)
    }

    /// Deletes a file; one that is gone already is no error.
    pub(crate) async fn delete(&self, path: &Path) -> Result<(), HistoryError> {
        match self.store.delete(path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn write_durably(root: &DiskPath, to: &DiskPath, bytes: &[u8], taken: Taken) -> io::Result<bool> {
    let Some(folder) = to.parent() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if !folder.exists() {
        fs::create_dir_all(folder)?;
        sync_up_to(root, folder)?;
    }
    let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(format!(".tmp-{}-{number}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let mut file = File::create_new(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let wrote = match taken {
        Taken::Replace => fs::rename(&temporary, to).map(|()| true),
        Taken::Keep => match fs::hard_link(&temporary, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        },
    };
    if !matches!((taken, &wrote), (Taken::Replace, Ok(_))) {
        fs::remove_file(&temporary)?;
    }
    // Also where another writer was first: its link may not be on disk yet.
    File::open(folder)?.sync_all()?;
    wrote
}

/// New folders exist after a power cut only if their parents were synced.
fn sync_up_to(root: &DiskPath, folder: &DiskPath) -> io::Result<()> {
    for parent in folder
        .ancestors()
        .skip(1)
        .take_while(|p| p.starts_with(root))
    {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}
