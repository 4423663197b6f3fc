//! What a provider remembers between requests: stored responses and their conversations.
//!
//! Owns: keeping, ageing, cancelling and forgetting them. Each belongs to the key that it
//! was made with; for every other key it does not exist. It must not know how a response
//! is made or asked for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::ask::Turn;

/// More responses push the oldest out: a load test must not fill the memory.
const RESPONSES_MAX: usize = 4_096;

/// A conversation so far, and the calls in it that still want a result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Thread {
    pub(crate) turns: Vec<Turn>,
    pub(crate) open_calls: Vec<String>,
}

/// A response to be remembered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) owner: Option<u64>,
    /// The finished response.
    pub(crate) response: Value,
    pub(crate) thread: Thread,
    /// When a response in the background is finished; `None` for any other.
    pub(crate) ready_at: Option<Instant>,
}

/// Why a response is not cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelFlaw {
    Unknown,
    /// It was not made in the background.
    Synchronous,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    kept: BTreeMap<String, Place>,
    /// Ids in order of arrival; those deleted since are still in it.
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Place {
    kept: Kept,
    /// Someone has asked for it: the first look never sees it finished.
    looked: bool,
}

impl Shelf {
    pub(crate) fn keep(&self, kept: Kept) {
        let mut places = self.lock();
        if places.order.len() >= RESPONSES_MAX
            && let Some(oldest) = places.order.pop_front()
        {
            places.kept.remove(&oldest);
        }
        let id = kept.id.clone();
        places.order.push_back(id.clone());
        let looked = false;
        places.kept.insert(id, Place { kept, looked });
    }

    /// The response as it is now.
    pub(crate) fn look(&self, id: &str, owner: Option<u64>) -> Option<Value> {
        let mut places = self.lock();
        let place = places.owned(id, owner)?;
        let first = !std::mem::replace(&mut place.looked, true);
        let kept = &place.kept;
        let under_way = kept.ready_at.is_some_and(|at| first || Instant::now() < at);
        Some(if under_way {
            unfinished(&kept.response, "in_progress")
        } else {
            kept.response.clone()
        })
    }

    /// The conversation that ends with this response.
    pub(crate) fn thread(&self, id: &str, owner: Option<u64>) -> Option<Thread> {
        let mut places = self.lock();
        Some(places.owned(id, owner)?.kept.thread.clone())
    }

    /// An output item of any response (interactions have none).
    pub(crate) fn item(&self, id: &str, owner: Option<u64>) -> Option<Value> {
        let places = self.lock();
        let owned = places.kept.values().filter(|p| p.kept.owner == owner);
        let mut items = owned.filter_map(|place| place.kept.response["output"].as_array());
        items.find_map(|items| items.iter().find(|item| item["id"] == id).cloned())
    }

    /// Whether there was one to forget.
    pub(crate) fn forget(&self, id: &str, owner: Option<u64>) -> bool {
        let mut places = self.lock();
        places.owned(id, owner).is_some() && places.kept.remove(id).is_some()
    }

    /// Cancels a response in the background; a finished one stays as it is.
    pub(crate) fn cancel(&self, id: &str, owner: Option<u64>) -> Result<Value, CancelFlaw> {
        let mut places = self.lock();
        let place = places.owned(id, owner).ok_or(CancelFlaw::Unknown)?;
        let kept = &mut place.kept;
        let Some(ready_at) = kept.ready_at else {
            return Err(CancelFlaw::Synchronous);
        };
        let finished = place.looked && Instant::now() >= ready_at;
        if !finished {
            kept.response = unfinished(&kept.response, "cancelled");
            kept.ready_at = Some(Instant::now());
            place.looked = true;
        }
        Ok(kept.response.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn owned(&mut self, id: &str, owner: Option<u64>) -> Option<&mut Place> {
        let place = self.kept.get_mut(id)?;
        (place.kept.owner == owner).then_some(place)
    }
}

/// The response before there is anything in it.
pub(crate) fn unfinished(response: &Value, status: &str) -> Value {
    let mut response = response.clone();
    response["status"] = json!(status);
    response["output"] = json!([]);
    response["usage"] = Value::Null;
    response["incomplete_details"] = Value::Null;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(id: &str, background: bool) -> Kept {
        Kept {
            id: id.to_owned(),
            owner: Some(1),
            response: json!({"id": id, "status": "completed", "output": [{"id": "msg_1"}]}),
            thread: Thread::default(),
            ready_at: background.then(Instant::now),
        }
    }

    #[test]
    fn only_its_owner_finds_it_until_it_is_forgotten() {
        let shelf = Shelf::default();
        shelf.keep(kept("a", false));
        assert_eq!(shelf.look("a", Some(1)).unwrap()["status"], "completed");
        assert_eq!(shelf.look("a", Some(2)), None);
        assert!(shelf.thread("a", Some(1)).is_some() && shelf.thread("a", None).is_none());
        assert!(shelf.item("msg_1", Some(1)).is_some() && shelf.item("msg_1", None).is_none());
        assert!(!shelf.forget("a", None) && shelf.forget("a", Some(1)));
        assert!(!shelf.forget("a", Some(1)));
    }

    #[test]
    fn work_in_the_background_is_seen_under_way_first() {
        let shelf = Shelf::default();
        shelf.keep(kept("a", true));
        let status = |id| shelf.look(id, Some(1)).unwrap()["status"].clone();
        assert_eq!(status("a"), "in_progress");
        assert_eq!(status("a"), "completed");
        assert_eq!(shelf.cancel("a", Some(1)).unwrap()["status"], "completed");
        shelf.keep(kept("b", true));
        assert_eq!(shelf.cancel("b", Some(1)).unwrap()["status"], "cancelled");
        assert_eq!(status("b"), "cancelled");
        shelf.keep(kept("c", false));
        assert_eq!(shelf.cancel("c", Some(1)), Err(CancelFlaw::Synchronous));
        assert_eq!(shelf.cancel("d", Some(1)), Err(CancelFlaw::Unknown));
    }

    #[test]
    fn the_oldest_makes_room() {
        let shelf = Shelf::default();
        for number in 0..=RESPONSES_MAX {
            shelf.keep(kept(&number.to_string(), false));
        }
        assert_eq!(shelf.look("0", Some(1)), None);
        assert!(shelf.look("1", Some(1)).is_some());
    }
}
