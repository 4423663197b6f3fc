//! What a provider remembers of prompts, and gives cheaper the next time.
//!
//! Owns: finding how much of a prompt was seen before. Beginnings count, in steps, from a
//! least length on, for the same key, model, tools and cache key. It must not know what a
//! cached token costs, nor when anybody wants a cache.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::ask::{Ask, BYTES_PER_TOKEN, TOKENS_PER_MESSAGE};

/// Shorter beginnings are not remembered.
const TOKENS_MIN: u64 = 1_024;
/// Beginnings are remembered in steps of this.
const TOKENS_STEP: u64 = 128;
/// Once so many beginnings are remembered all are forgotten: no test has that many.
const BEGINNINGS_MAX: usize = 100_000;

/// How a prompt met the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cached {
    /// Tokens that were there.
    pub(crate) read: u64,
    /// Tokens that are there from now on.
    pub(crate) written: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PromptCache {
    seen: Mutex<HashSet<u64>>,
}

impl PromptCache {
    /// Looks a prompt up, and remembers it.
    pub(crate) fn meet(&self, owner: Option<u64>, ask: &Ask) -> Cached {
        let beginnings = beginnings(owner, ask);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= BEGINNINGS_MAX {
            seen.clear();
        }
        let mut cached = Cached::default();
        for (beginning, tokens) in beginnings {
            if seen.insert(beginning) {
                cached.written = tokens - cached.read;
            } else {
                cached.read = tokens;
            }
        }
        cached
    }
}

/// A hash of every beginning that is long enough, with its tokens.
fn beginnings(owner: Option<u64>, ask: &Ask) -> Vec<(u64, u64)> {
    let mut hasher = DefaultHasher::new();
    (owner, &ask.model, ask.tier, &ask.cache_key).hash(&mut hasher);
    for tool in &ask.tools {
        (&tool.name, &tool.arguments).hash(&mut hasher);
    }
    let step = TOKENS_STEP * BYTES_PER_TOKEN;
    let mut bytes = 0;
    let mut beginnings = Vec::new();
    for turn in &ask.turns {
        turn.role.hash(&mut hasher);
        let mut left = turn.text.as_bytes();
        bytes += TOKENS_PER_MESSAGE * BYTES_PER_TOKEN;
        while !left.is_empty() {
            // Up to the next step, or to the end of the message.
            let wanted = (step - bytes % step) as usize;
            let (now, later) = left.split_at(wanted.min(left.len()));
            hasher.write(now);
            left = later;
            bytes += now.len() as u64;
            let tokens = bytes / BYTES_PER_TOKEN;
            if bytes.is_multiple_of(step) && tokens >= TOKENS_MIN {
                beginnings.push((hasher.finish(), tokens));
            }
        }
    }
    beginnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{Role, Turn};

    fn ask(texts: &[&str]) -> Ask {
        let mut ask = Ask::default();
        ask.hear(
            texts
                .iter()
                .map(|text| Turn::new(Role::User, *text))
                .collect(),
        );
        ask
    }

    #[test]
    fn the_longest_known_beginning_is_read() {
        let cache = PromptCache::default();
        let long = "x".repeat(6_000);
        let cached = |read, written| Cached { read, written };
        // 6,012 bytes are 1,503 tokens: eleven steps of 128.
        assert_eq!(cache.meet(None, &ask(&[&long, "a"])), cached(0, 1_408));
        assert_eq!(cache.meet(None, &ask(&[&long, "b"])), cached(1_408, 0));
        let longer = format!("{long}{long}");
        assert_eq!(
            cache.meet(None, &ask(&[&longer])),
            cached(1_408, 2_944 - 1_408)
        );
        let other = format!("{}y{}", "x".repeat(4_200), "x".repeat(2_000));
        assert_eq!(cache.meet(None, &ask(&[&other])).read, 1_024);
    }

    #[test]
    fn other_keys_and_short_prompts_find_nothing() {
        let cache = PromptCache::default();
        let long = "x".repeat(6_000);
        cache.meet(Some(1), &ask(&[&long]));
        assert_eq!(cache.meet(Some(2), &ask(&[&long])).read, 0);
        let mut keyed = ask(&[&long]);
        keyed.cache_key = "k".to_owned();
        assert_eq!(cache.meet(Some(1), &keyed).read, 0);
        assert_eq!(cache.meet(Some(1), &keyed).read, 1_408);
        for _ in 0..2 {
            assert_eq!(cache.meet(None, &ask(&["hello"])), Cached::default());
        }
    }
}
