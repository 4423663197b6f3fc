//! The one place that reads the wall clock.
//!
//! Owns: nothing but the reading. Everything that decides or measures gets its `now`
//! passed in, so that it can be tested and replayed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spillway_routing::unit::{Millis, UnixMillis};

/// The moment, as records and decisions hold it.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(millis(since).0)
}

/// A measured span as a record holds it.
pub(crate) fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
