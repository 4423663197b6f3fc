//! Callers' keys.

use spillway_routing::id::{KeyId, RouteId};
use spillway_routing::key::{KeyLimits, KeyTerms};
use spillway_routing::unit::NanoUsd;

use super::{Invalid, InvalidFlaw};
use crate::pb;

impl From<&KeyTerms> for pb::Key {
    fn from(key: &KeyTerms) -> Self {
        let routes = key.routes.as_ref().map(|routes| pb::Names {
            names: routes.iter().map(ToString::to_string).collect(),
        });
        let tag = |(name, value): &(String, String)| pb::Tag {
            name: name.clone(),
            value: value.clone(),
        };
        Self {
            id: key.id.to_string(),
            sha256: key.sha256.map(|hash| hash.to_vec()),
            routes,
            tags: key.tags.iter().map(tag).collect(),
            requests_per_minute: key.limits.requests_per_minute,
            tokens_per_minute: key.limits.tokens_per_minute,
            per_day_nano_usd: key.limits.per_day.map(|money| money.0),
        }
    }
}

impl TryFrom<pb::Key> for KeyTerms {
    type Error = Invalid;

    fn try_from(key: pb::Key) -> Result<Self, Invalid> {
        let hash = |bytes: Vec<u8>| {
            let found = bytes.len();
            let flaw = InvalidFlaw::Length {
                expected: 32,
                found,
            };
            <[u8; 32]>::try_from(bytes).map_err(|_| Invalid::new("sha256", flaw))
        };
        let routes = key.routes.map(|routes| {
            let names = routes.names.iter();
            names.map(|name| RouteId::new(name)).collect()
        });
        Ok(Self {
            id: KeyId::new(&key.id),
            sha256: key.sha256.map(hash).transpose()?,
            routes,
            tags: key
                .tags
                .into_iter()
                .map(|tag| (tag.name, tag.value))
                .collect(),
            limits: KeyLimits {
                requests_per_minute: key.requests_per_minute,
                tokens_per_minute: key.tokens_per_minute,
                per_day: key.per_day_nano_usd.map(NanoUsd),
            },
        })
    }
}
