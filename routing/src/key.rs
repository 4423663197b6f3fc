//! Callers' keys, as a policy knows them.
//!
//! Owns: what a key may ask for and how much. Holds no key: only the hash of one, which
//! says nothing of it, since keys are drawn at random from more than anybody can try.

use crate::id::{KeyId, RouteId};
use crate::unit::NanoUsd;

/// One key's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerms {
    pub id: KeyId,
    /// SHA-256 of the key; `None` where the proxies' own configuration holds it.
    pub sha256: Option<[u8; 32]>,
    /// `None` for all.
    pub routes: Option<Vec<RouteId>>,
    /// Go into every request's facts.
    pub tags: Vec<(String, String)>,
    pub limits: KeyLimits,
}

/// How much a key may have; `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Of the whole fleet.
    pub requests_per_minute: Option<u32>,
    /// Of the whole fleet: input and output, as their models count them.
    pub tokens_per_minute: Option<u32>,
    /// Of the whole fleet, in a day (UTC).
    pub per_day: Option<NanoUsd>,
}
