//! Who waits for a place at a lane that is full.
//!
//! Owns: the order in which places are given away: from key to key in turn, and for each
//! key in the order of arrival, so that one busy key makes the others wait for no more
//! than a request of its own. Knows nothing of lanes or time.

use std::collections::VecDeque;

/// Waiting tickets, by key.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// In the order of their turns; none is empty.
    keys: VecDeque<(Box<str>, VecDeque<T>)>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            keys: VecDeque::new(),
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, key: &str, ticket: T) {
        match self.keys.iter_mut().find(|(name, _)| **name == *key) {
            Some((_, tickets)) => tickets.push_back(ticket),
            None => self.keys.push_back((key.into(), VecDeque::from([ticket]))),
        }
    }

    /// The next ticket; its key's turn comes again after all others'.
    pub(super) fn pop(&mut self) -> Option<T> {
        let (key, mut tickets) = self.keys.pop_front()?;
        let next = tickets.pop_front();
        if !tickets.is_empty() {
            self.keys.push_back((key, tickets));
        }
        next
    }

    /// Forgets the tickets of whoever is gone.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for (_, tickets) in &mut self.keys {
            tickets.retain(&keep);
        }
        self.keys.retain(|(_, tickets)| !tickets.is_empty());
    }

    pub(super) fn len(&self) -> usize {
        self.keys.iter().map(|(_, tickets)| tickets.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nobody_waits_for_more_than_one_turn_of_each_other_key(keys in prop::collection::vec(0u8..5, 1..60)) {
            let mut queue = Queue::default();
            for (at, key) in keys.iter().enumerate() {
                queue.push(&key.to_string(), (*key, at));
            }
            prop_assert_eq!(queue.len(), keys.len());
            let served: Vec<(u8, usize)> = std::iter::from_fn(|| queue.pop()).collect();
            prop_assert_eq!(served.len(), keys.len());
            for key in 0..5u8 {
                let places: Vec<usize> = (0..served.len()).filter(|i| served[*i].0 == key).collect();
                // In the order of arrival.
                prop_assert!(places.windows(2).all(|p| served[p[0]].1 < served[p[1]].1));
                // Between two of its turns every other key has at most one.
                for pair in places.windows(2) {
                    let between: Vec<u8> = served[pair[0] + 1..pair[1]].iter().map(|s| s.0).collect();
                    let mut once = between.clone();
                    once.sort_unstable();
                    once.dedup();
                    prop_assert_eq!(once.len(), between.len());
                }
            }
        }
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let mut queue = Queue::default();
        for ticket in 0..4 {
            queue.push(if ticket < 2 { "a" } else { "b" }, ticket);
        }
        queue.retain(|ticket| *ticket == 3);
        assert_eq!((queue.len(), queue.pop(), queue.pop()), (1, Some(3), None));
    }
}
