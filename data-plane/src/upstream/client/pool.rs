//! Connections that wait for their next request, by where they lead.
//!
//! Owns: how many are kept and for how long. Knows nothing of what is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::{Authority, Scheme};

use super::line::Line;

/// Idle connections kept per host: a burst's worth.
const IDLE_PER_HOST_MAX: usize = 256;
/// Providers close idle connections after a minute or more; leaving first avoids the race.
const IDLE_FOR: Duration = Duration::from_secs(45);

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    https: bool,
    authority: Authority,
}

impl Origin {
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        Some(Self {
            https: uri.scheme() == Some(&Scheme::HTTPS),
            authority: uri.authority()?.clone(),
        })
    }
}

/// Connections that wait for a request, and since when; the last one was used last.
type Free = Vec<(Box<Line>, Instant)>;

#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<HashMap<Origin, Free>>>);

impl Pool {
    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Free>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one used last, which is the warmest, and the others may go.
    pub(super) fn take(&self, origin: &Origin) -> Option<Box<Line>> {
        let mut free = self.lock();
        let free = free.get_mut(origin)?;
        while let Some((mut line, since)) = free.pop() {
            if since.elapsed() < IDLE_FOR && line.is_free() {
                return Some(line);
            }
        }
        None
    }

    pub(super) fn home(&self, origin: Origin) -> Home {
        Home {
            pool: self.clone(),
            origin,
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Closes what nobody has used for long, or the other side has closed.
    pub(super) fn sweep(&self) {
        self.lock().retain(|_, free| {
            free.retain_mut(|(line, since)| since.elapsed() < IDLE_FOR && line.is_free());
            !free.is_empty()
        });
    }
}

/// Where a connection goes after its response.
pub(super) struct Home {
    pool: Pool,
    origin: Origin,
}

impl Home {
    pub(super) fn put(self, line: Box<Line>) {
        let mut free = self.pool.lock();
        let lines = free.entry(self.origin).or_default();
        if lines.len() < IDLE_PER_HOST_MAX {
            lines.push((line, Instant::now()));
        }
    }
}
