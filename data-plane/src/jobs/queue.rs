//! What is open, and who is at it.
//!
//! Owns: the order (earliest due first, but nothing before its time) and claims that end
//! with whoever holds them. A fleet's is in etcd, under a lease; one proxy's own is in
//! memory, made again from the store when it starts. Holds names only.

mod etcd;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use spillway_routing::unit::UnixMillis;

use self::etcd::Fleet;
use super::{Due, StoreError};
use crate::clock;
use crate::config::FeedConfig;

pub(super) enum Queue {
    Fleet(Box<Fleet>),
    Own(Own),
}

/// Work that is this proxy's to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) due: Due,
    /// Under which it is held.
    lease: i64,
}

impl Queue {
    pub(super) fn of(feed: &FeedConfig) -> Self {
        match feed {
            FeedConfig::Etcd { endpoints } => Self::Fleet(Box::new(Fleet::new(endpoints.clone()))),
            FeedConfig::Local => Self::Own(Own::default()),
        }
    }

    /// Whether it must be told at the start what is open.
    pub(super) fn forgets(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    pub(super) async fn add(&self, due: &[Due]) -> Result<(), StoreError> {
        match self {
            Self::Fleet(fleet) => fleet.add(due).await,
            Self::Own(own) => {
                let due = due.iter().map(|due| (due.clone(), UnixMillis(0)));
                own.lists().open.extend(due);
                Ok(())
            }
        }
    }

    /// Takes the work that is due first and that nobody is at.
    pub(super) async fn claim(&self) -> Result<Option<Claim>, StoreError> {
        match self {
            Self::Fleet(fleet) => fleet.claim(clock::now()).await,
            Self::Own(own) => Ok(own.claim(clock::now())),
        }
    }

    /// It is done with; it never comes again.
    pub(super) async fn done(&self, claim: &Claim) -> Result<(), StoreError> {
        match self {
            Self::Fleet(fleet) => fleet.done(claim).await,
            Self::Own(own) => {
                let mut lists = own.lists();
                lists.open.remove(&claim.due);
                lists.claimed.remove(&claim.due);
                Ok(())
            }
        }
    }

    /// Somebody may take it from then on.
    pub(super) async fn release(&self, claim: &Claim, from: UnixMillis) -> Result<(), StoreError> {
        match self {
            Self::Fleet(fleet) => fleet.release(claim, from).await,
            Self::Own(own) => {
                let mut lists = own.lists();
                lists.open.insert(claim.due.clone(), from);
                lists.claimed.remove(&claim.due);
                Ok(())
            }
        }
    }
}

/// One proxy's own.
#[derive(Default)]
pub(super) struct Own(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    /// With the time before which each is left alone.
    open: BTreeMap<Due, UnixMillis>,
    claimed: BTreeSet<Due>,
}

impl Own {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Sets stay meaningful whatever panicked between two changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, now: UnixMillis) -> Option<Claim> {
        let mut lists = self.lists();
        let Lists { open, claimed } = &mut *lists;
        let mut free = open.iter().filter(|(due, _)| !claimed.contains(*due));
        let (due, _) = free.find(|(_, from)| **from <= now)?;
        let due = due.clone();
        claimed.insert(due.clone());
        Some(Claim { due, lease: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{JobId, Work};
    use super::*;

    fn due(by: u64, number: u32) -> Due {
        let group = "resp_1".to_owned();
        Due {
            by: UnixMillis(by),
            work: Work::Run(JobId { group, number }),
        }
    }

    #[tokio::test]
    async fn the_earliest_comes_first_each_once_and_none_before_its_time() {
        let queue = Queue::of(&FeedConfig::Local);
        queue.add(&[due(2, 1), due(1, 2), due(3, 3)]).await.unwrap();
        let claim = async || queue.claim().await.unwrap();
        let (first, second) = (claim().await.unwrap(), claim().await.unwrap());
        assert_eq!((&first.due, &second.due), (&due(1, 2), &due(2, 1)));
        queue.release(&first, UnixMillis(0)).await.unwrap();
        queue.done(&second).await.unwrap();
        let again = claim().await.unwrap();
        assert_eq!(again.due, due(1, 2));
        queue.release(&again, UnixMillis(u64::MAX)).await.unwrap();
        assert_eq!(claim().await.unwrap().due, due(3, 3));
        assert_eq!(claim().await, None);
    }
}
