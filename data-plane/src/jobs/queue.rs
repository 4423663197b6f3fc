//! What is open, and who is at it.
//!
//! Owns: the order (earliest due first) and claims that end with whoever holds them. A
//! fleet's is in etcd, under a lease; one proxy's own is in memory, made again from the
//! store when it starts. Holds names only.

mod etcd;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::etcd::Fleet;
use super::{Due, StoreError};
use crate::config::FeedConfig;

pub(super) enum Queue {
    Fleet(Box<Fleet>),
    Own(Own),
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
                own.lists().open.extend(due.iter().cloned());
                Ok(())
            }
        }
    }

    /// Takes the work that is due first and that nobody is at.
    pub(super) async fn claim(&self) -> Result<Option<Due>, StoreError> {
        match self {
            Self::Fleet(fleet) => fleet.claim().await,
            Self::Own(own) => Ok(own.claim()),
        }
    }

    /// It is done with; it never comes again.
    pub(super) async fn done(&self, due: &Due) -> Result<(), StoreError> {
        match self {
            Self::Fleet(fleet) => fleet.done(due).await,
            Self::Own(own) => {
                let mut lists = own.lists();
                lists.open.remove(due);
                lists.claimed.remove(due);
                Ok(())
            }
        }
    }

    /// Somebody else may take it.
    pub(super) async fn release(&self, due: &Due) -> Result<(), StoreError> {
        match self {
            Self::Fleet(fleet) => fleet.release(due).await,
            Self::Own(own) => {
                own.lists().claimed.remove(due);
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
    open: BTreeSet<Due>,
    claimed: BTreeSet<Due>,
}

impl Own {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        // Sets stay meaningful whatever panicked between two changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self) -> Option<Due> {
        let mut lists = self.lists();
        let Lists { open, claimed } = &mut *lists;
        let due = open.iter().find(|due| !claimed.contains(due))?.clone();
        claimed.insert(due.clone());
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use spillway_routing::unit::UnixMillis;

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
    async fn the_earliest_comes_first_and_each_once() {
        let queue = Queue::of(&FeedConfig::Local);
        queue.add(&[due(2, 1), due(1, 2), due(3, 3)]).await.unwrap();
        assert_eq!(queue.claim().await.unwrap(), Some(due(1, 2)));
        assert_eq!(queue.claim().await.unwrap(), Some(due(2, 1)));
        queue.release(&due(1, 2)).await.unwrap();
        queue.done(&due(2, 1)).await.unwrap();
        assert_eq!(queue.claim().await.unwrap(), Some(due(1, 2)));
        assert_eq!(queue.claim().await.unwrap(), Some(due(3, 3)));
        assert_eq!(queue.claim().await.unwrap(), None);
    }
}
