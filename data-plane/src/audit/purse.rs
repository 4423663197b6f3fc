//! What audits may still cost today.
//!
//! Owns: the day's spending (UTC days), reserved before a call and settled after it, and
//! its copy on disk, so that a proxy that restarts often spends no more than another.
//! Knows no prices; time is passed in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use spillway_routing::unit::{NanoUsd, UnixMillis};

const FILE: &str = "audits.spent";
const UNFINISHED: &str = "audits.spent.tmp";
const DAY_MS: u64 = 24 * 3_600_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spent {
    /// Since 1970.
    day: u64,
    nano_usd: u64,
}

#[derive(Debug)]
pub(super) struct Purse {
    spent: Mutex<Spent>,
    folder: PathBuf,
}

impl Purse {
    /// Goes on where the last process stopped. What cannot be read counts as nothing.
    pub(super) fn open(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
        Self {
            spent: Mutex::new(parse(&text).unwrap_or_default()),
            folder: folder.to_owned(),
        }
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `amount` out of the day's `limit`, or nothing.
    pub(super) fn reserve(&self, amount: NanoUsd, limit: NanoUsd, now: UnixMillis) -> bool {
        let mut spent = self.spent();
        let day = now.0 / DAY_MS;
        if spent.day != day {
            *spent = Spent { day, nano_usd: 0 };
        }
        let after = spent.nano_usd.saturating_add(amount.0);
        let fits = after <= limit.0;
        if fits {
            spent.nano_usd = after;
        }
        fits
    }

    /// What was reserved turned out to cost `cost`. Over midnight the new day pays.
    pub(super) fn settle(&self, reserved: NanoUsd, cost: NanoUsd) {
        let mut spent = self.spent();
        let without = spent.nano_usd.saturating_sub(reserved.0);
        spent.nano_usd = without.saturating_add(cost.0);
        let text = format!("{} {}\n", spent.day, spent.nano_usd);
        // Written under the lock: two at once would take each other's file away.
        let unfinished = self.folder.join(UNFINISHED);
        let stored = fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, self.folder.join(FILE)));
        if let Err(error) = stored {
            tracing::warn!(%error, "the audits' spending could not be written down");
        }
        drop(spent);
    }
}

fn parse(text: &str) -> Option<Spent> {
    let (day, nano_usd) = text.trim().split_once(' ')?;
    Some(Spent {
        day: day.parse().ok()?,
        nano_usd: nano_usd.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_limit_and_a_restart_keeps_count() {
        let folder = tempfile::tempdir().unwrap();
        let (limit, noon) = (NanoUsd(100), UnixMillis(DAY_MS / 2));
        let purse = Purse::open(folder.path());
        assert!(purse.reserve(NanoUsd(60), limit, noon));
        assert!(!purse.reserve(NanoUsd(60), limit, noon));
        purse.settle(NanoUsd(60), NanoUsd(30));
        assert!(purse.reserve(NanoUsd(60), limit, noon));
        purse.settle(NanoUsd(60), NanoUsd(60));
        let again = Purse::open(folder.path());
        assert!(!again.reserve(NanoUsd(11), limit, noon));
        assert!(again.reserve(NanoUsd(10), limit, noon));
        let tomorrow = UnixMillis(DAY_MS + 1);
        assert!(again.reserve(limit, limit, tomorrow));
    }

    #[test]
    fn a_damaged_note_is_no_reason_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "what?").unwrap();
        assert!(Purse::open(folder.path()).reserve(NanoUsd(1), NanoUsd(1), UnixMillis(0)));
    }
}
