//! The fleet: which proxies there are, what they run, what they refused and why.
//!
//! Owns: reading the acknowledgements that proxies keep under their own leases, and
//! remembering for a while those whose lease ended. The proxies do not need it to serve.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prost::Message as _;
use spillway_proto::{keys, pb};
use spillway_routing::unit::{Millis, UnixMillis};

use crate::store::{Store, StoreError};

/// A proxy that went away is shown as lost for this long.
const LOST_SHOWN: Millis = Millis(60 * 60 * 1_000);
/// In the embedded store nothing ends a lease; a proxy that said nothing for this long
/// is lost.
const SILENT_MAX: Millis = Millis(15_000);

/// What is known of one proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyCondition {
    Running,
    /// It keeps its table because it refused what it was offered last.
    Refused,
    Lost,
}

impl ProxyCondition {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }
}

/// One proxy as last heard of.
#[derive(Clone, Debug)]
pub struct Member {
    pub acknowledgement: pb::Acknowledgement,
    pub condition: ProxyCondition,
    pub last_seen: UnixMillis,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fleet {
    seen: Mutex<BTreeMap<String, (pb::Acknowledgement, UnixMillis)>>,
}

impl Fleet {
    /// Reads who is there now and adds those lately lost.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn members(&self, store: &Store, now: UnixMillis) -> Result<Vec<Member>, StoreError> {
        let embedded = matches!(store, Store::Local(_));
        let listed = store.list(&keys::acknowledgements()).await?;
        let present = listed
            .iter()
            .filter_map(|v| pb::Acknowledgement::decode(&v.value[..]).ok());
        let present: Vec<_> = if embedded {
            Vec::new()
        } else {
            present.collect()
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for acknowledgement in present {
            seen.insert(acknowledgement.proxy.clone(), (acknowledgement, now));
        }
        seen.retain(|_, (_, last)| now.since(*last) <= LOST_SHOWN);
        Ok(seen
            .values()
            .map(|(acknowledgement, last)| member(acknowledgement, *last, now))
            .collect())
    }

    /// Takes an embedded proxy's acknowledgement.
    pub fn heard(&self, acknowledgement: pb::Acknowledgement, now: UnixMillis) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(acknowledgement.proxy.clone(), (acknowledgement, now));
    }
}

fn member(acknowledgement: &pb::Acknowledgement, last_seen: UnixMillis, now: UnixMillis) -> Member {
    let condition = if now.since(last_seen) > SILENT_MAX {
        ProxyCondition::Lost
    } else if !acknowledgement.refusal.is_empty() {
        ProxyCondition::Refused
    } else {
        ProxyCondition::Running
    };
    Member {
        acknowledgement: acknowledgement.clone(),
        condition,
        last_seen,
    }
}
