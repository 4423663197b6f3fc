//! The last good table on disk, so that a restart needs nobody.
//!
//! Owns: two files, the current one and the one before it, each written whole or not at
//! all. What is read is verified like anything else.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use spillway_proto::envelope::Bundle;

const CURRENT: &str = "table.bundle";
const PREVIOUS: &str = "table.previous.bundle";
const UNFINISHED: &str = "table.bundle.tmp";

#[derive(Clone, Debug)]
pub(super) struct Disk(PathBuf);

impl Disk {
    /// Makes the folder where it is missing.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Bundles that may still be good, the newest first.
    pub(super) fn load(&self) -> Vec<Bundle> {
        let read = |name: &str| {
            let bytes = fs::read(self.0.join(name)).ok()?;
            let bundle = Bundle::decode(&bytes);
            if bundle.is_err() {
                tracing::warn!(file = name, "a stored table is damaged");
            }
            bundle.ok()
        };
        [CURRENT, PREVIOUS].into_iter().filter_map(read).collect()
    }

    pub(super) fn store(&self, bundle: &Bundle) -> io::Result<()> {
        let (current, unfinished) = (self.0.join(CURRENT), self.0.join(UNFINISHED));
        let mut file = File::create(&unfinished)?;
        file.write_all(&bundle.encode())?;
        file.sync_all()?;
        if current.exists() {
            fs::rename(&current, self.0.join(PREVIOUS))?;
        }
        // A crash between the two renames leaves the previous one, which is good too.
        fs::rename(&unfinished, &current)?;
        File::open(&self.0)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(n: u8) -> Bundle {
        Bundle {
            signed: vec![n],
            payload: vec![n; 3],
        }
    }

    #[test]
    fn two_generations_are_kept_and_damage_costs_one() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        assert!(disk.load().is_empty());
        for n in 1..=3 {
            disk.store(&bundle(n)).unwrap();
        }
        assert_eq!(disk.load(), [bundle(3), bundle(2)]);
        fs::write(folder.path().join(CURRENT), b"\xff\xff\xff").unwrap();
        assert_eq!(disk.load(), [bundle(2)]);
    }
}
