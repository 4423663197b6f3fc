//! What providers probably still have of a conversation in their prompt caches.
//!
//! Owns: which beginnings of prompts this proxy lately sent to which upstream, and how much
//! of an expected beginning each upstream's cache really gave. It guesses and never
//! promises: a provider forgets when it likes, and other proxies are not asked. Holds no
//! text; time is passed in.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spillway_routing::catalogue::Upstream;
use spillway_routing::conditions::Conditions;
use spillway_routing::id::UpstreamId;
use spillway_routing::table::Table;
use spillway_routing::unit::Tokens;

use crate::conversation::Conversation;

/// Providers cache no shorter beginnings (OpenAI, Anthropic and Google, with some models
/// more).
const TOKENS_MIN: u32 = 1_024;
/// Turns that are looked for, from the last on.
const TURNS_MAX: usize = 64;
/// So long providers keep a beginning that nobody uses again.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Beginnings remembered in each of two generations; a few MB.
const BEGINNINGS_MAX: usize = 16_384;
/// What an upstream is believed to give of an expected beginning before it was seen, and at
/// least; and how fast that is learnt.
const BELIEF_FIRST: f64 = 0.5;
const BELIEF_MIN: f64 = 0.05;
const BELIEF_STEP: f64 = 0.2;

/// A prompt up to the end of one of its turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    hash: u64,
    /// In o200k.
    tokens: Tokens,
}

/// All that are long enough, the whole prompt last. `total` is the whole prompt's tokens,
/// which are taken to be spread over its bytes.
pub(crate) fn beginnings(
    conversation: &Conversation,
    (caller, tools): (&str, &str),
    total: Tokens,
    key: &RandomState,
) -> Vec<Beginning> {
    if total.0 < TOKENS_MIN {
        return Vec::new();
    }
    let texts: Vec<Cow<'_, str>> = conversation.turns.iter().map(|turn| turn.text()).collect();
    let whole = tools.len() + texts.iter().map(|text| text.len()).sum::<usize>();
    let mut hasher = key.build_hasher();
    // Nobody learns from a price what other callers asked.
    (caller, tools).hash(&mut hasher);
    let (mut bytes, mut beginnings) = (tools.len(), Vec::new());
    for (turn, text) in conversation.turns.iter().zip(&texts) {
        std::mem::discriminant(&turn.role).hash(&mut hasher);
        text.hash(&mut hasher);
        bytes += text.len();
        let tokens = u64::from(total.0) * bytes as u64 / (whole as u64).max(1);
        beginnings.push(Beginning {
            hash: hasher.finish(),
            tokens: Tokens(u32::try_from(tokens).unwrap_or(u32::MAX)),
        });
    }
    beginnings.retain(|beginning| beginning.tokens.0 >= TOKENS_MIN);
    // The first, which other conversations may share, and the last ones.
    let passed_over = beginnings.len().saturating_sub(TURNS_MAX);
    beginnings.drain(1.min(passed_over)..passed_over);
    beginnings
}

type Sent = HashMap<u64, Vec<(UpstreamId, Instant)>>;

/// What was sent where.
#[derive(Debug, Default)]
struct Known {
    young: Sent,
    /// From before `young` was full.
    old: Sent,
    beliefs: BTreeMap<UpstreamId, f64>,
}

impl Known {
    fn belief(&self, upstream: &UpstreamId) -> f64 {
        self.beliefs.get(upstream).copied().unwrap_or(BELIEF_FIRST)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    key: RandomState,
    known: Mutex<Known>,
}

impl Caches {
    /// Of this process: nobody outside can make two beginnings look alike.
    pub(crate) fn key(&self) -> RandomState {
        self.key.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A guess stays a guess whatever panicked halfway.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A prompt went to an upstream, which may keep its beginnings: the first, which other
    /// conversations may share, and the whole, which this one goes on from.
    pub(crate) fn sent(&self, beginnings: &[Beginning], upstream: &UpstreamId, now: Instant) {
        let ends = [beginnings.first(), beginnings.last()];
        for beginning in ends.into_iter().flatten() {
            let mut known = self.known();
            let is_new = !known.young.contains_key(&beginning.hash);
            if is_new && known.young.len() >= BEGINNINGS_MAX {
                let young = std::mem::take(&mut known.young);
                let old = std::mem::replace(&mut known.old, young);
                drop(known);
                // Thousands of them, and nobody should wait for that.
                drop(old);
                known = self.known();
            }
            let sent = known.young.entry(beginning.hash).or_default();
            sent.retain(|(other, _)| other != upstream);
            sent.push((upstream.clone(), now));
        }
    }

    /// The longest beginning that each upstream was lately sent.
    fn expected(&self, beginnings: &[Beginning], now: Instant) -> Vec<(UpstreamId, Tokens)> {
        let mut expected: Vec<(UpstreamId, Tokens)> = Vec::new();
        let known = self.known();
        for beginning in beginnings.iter().rev() {
            let sent = [&known.young, &known.old].map(|sent| sent.get(&beginning.hash));
            for (upstream, at) in sent.into_iter().flatten().flatten() {
                let fresh = now.saturating_duration_since(*at) < KEPT_FOR;
                if fresh && !expected.iter().any(|(known, _)| known == upstream) {
                    expected.push((upstream.clone(), beginning.tokens));
                }
            }
        }
        for (upstream, tokens) in &mut expected {
            let believed = f64::from(tokens.0) * known.belief(upstream);
            *tokens = Tokens(believed as u32);
        }
        expected
    }

    /// Adds what is expected to a table's conditions, at the upstreams that would cache this
    /// request.
    pub(crate) fn fill(
        &self,
        beginnings: &[Beginning],
        table: &Table,
        conditions: &mut Conditions,
        would_cache: impl Fn(&Upstream) -> bool,
        now: Instant,
    ) {
        if beginnings.is_empty() {
            return;
        }
        for (upstream, tokens) in self.expected(beginnings, now) {
            for (lane, state) in conditions.lanes.iter_mut().enumerate() {
                let of_lane = table.upstream_of(lane);
                if of_lane.id == upstream && would_cache(of_lane) {
                    state.cached = tokens;
                }
            }
        }
    }

    /// A cache gave `read` of `input` tokens where `expected` of `total` were believed.
    pub(crate) fn learn(&self, upstream: &UpstreamId, expected: f64, read: f64) {
        let mut known = self.known();
        let belief = known.belief(upstream);
        let given = (belief * read / expected.max(f64::MIN_POSITIVE)).min(1.0);
        let belief = (belief + BELIEF_STEP * (given - belief)).max(BELIEF_MIN);
        known.beliefs.insert(upstream.clone(), belief);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::{Part, Turn};
    use spillway_routing::prompt::Role;

    fn conversation(texts: &[&str]) -> Conversation {
        let turn = |text: &&str| Turn {
            role: Role::User,
            parts: vec![Part::Text((*text).to_owned())],
        };
        Conversation {
            turns: texts.iter().map(turn).collect(),
            ..Conversation::default()
        }
    }

    fn of(caches: &Caches, texts: &[&str]) -> Vec<Beginning> {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let total = Tokens(bytes as u32 / 4);
        beginnings(&conversation(texts), ("", ""), total, &caches.key())
    }

    #[test]
    fn a_conversation_that_goes_on_is_expected_where_it_was() {
        let (caches, now) = (Caches::default(), Instant::now());
        let (long, more) = ("a".repeat(8_000), "b".repeat(4_000));
        let upstream = UpstreamId::new("u");
        caches.sent(&of(&caches, &[&long]), &upstream, now);
        let next = of(&caches, &[&long, &more]);
        assert_eq!(next.len(), 2);
        let expected = |now| caches.expected(&next, now);
        assert_eq!(expected(now), [(upstream.clone(), Tokens(1_000))]);
        assert_eq!(expected(now + KEPT_FOR), []);
        // Another conversation, and one that began differently.
        assert_eq!(caches.expected(&of(&caches, &[&more, &long]), now), []);
        // What the whole gave counts for the longer beginning.
        caches.sent(&next, &upstream, now);
        assert_eq!(expected(now), [(upstream, Tokens(1_500))]);
    }

    #[test]
    fn short_prompts_are_not_cached() {
        let caches = Caches::default();
        assert_eq!(of(&caches, &["hello", "again"]), []);
    }

    #[test]
    fn beliefs_follow_what_caches_give() {
        let (caches, upstream) = (Caches::default(), UpstreamId::new("u"));
        let belief = || caches.known().belief(&upstream);
        for _ in 0..40 {
            caches.learn(&upstream, 1_000.0 * belief(), 1_000.0);
        }
        assert!(belief() > 0.99);
        for _ in 0..40 {
            caches.learn(&upstream, 1_000.0 * belief(), 0.0);
        }
        assert!((belief() - BELIEF_MIN).abs() < 1e-9);
        // It can be won back.
        caches.learn(&upstream, 1_000.0 * belief(), 1_000.0);
        assert!(belief() > BELIEF_MIN);
    }

    #[test]
    fn memory_is_bounded() {
        let (caches, now) = (Caches::default(), Instant::now());
        let upstream = UpstreamId::new("u");
        for hash in 0..3 * BEGINNINGS_MAX as u64 {
            let beginning = Beginning {
                hash,
                tokens: Tokens(2_000),
            };
            caches.sent(&[beginning], &upstream, now);
        }
        let known = caches.known();
        assert!(known.young.len() + known.old.len() <= 2 * BEGINNINGS_MAX);
    }
}
