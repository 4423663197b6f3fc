//! Who calls.
//!
//! Owns: finding the caller's key in its header forms and among the keys that are known.
//! Knows no routes: whether a key may ask for one is asked of the [`Caller`].

use http::{HeaderMap, header};
use spillway_routing::id::{KeyId, RouteId};
use spillway_routing::key::{KeyLimits, KeyTerms};
use spillway_routing::table::Table;

use crate::config::Key;
use crate::failure::{Failure, Kind};
use crate::secret::Fingerprint;

/// Who calls, what they may ask for, and how much of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    key: Option<KeyId>,
    /// `None` for all.
    routes: Option<Vec<RouteId>>,
    tags: Vec<(String, String)>,
    limits: KeyLimits,
}

impl Caller {
    pub(crate) fn id(&self) -> &str {
        self.key.as_ref().map_or("", KeyId::as_str)
    }

    pub(crate) fn tags(&self) -> &[(String, String)] {
        &self.tags
    }

    pub(crate) fn may_ask_for(&self, route: &str) -> bool {
        let routes = self.routes.as_ref();
        routes.is_none_or(|routes| routes.iter().map(RouteId::as_str).any(|r| r == route))
    }

    /// The key whose use is limited, with its limits.
    pub(crate) fn limited(&self) -> Option<(&KeyId, &KeyLimits)> {
        let key = self.key.as_ref()?;
        (self.limits != KeyLimits::default()).then_some((key, &self.limits))
    }

    /// A key of the proxy's own configuration, with the terms that the policy adds.
    fn of(key: &Key, terms: Option<&KeyTerms>) -> Self {
        let mut tags = key.tags.clone();
        tags.extend(terms.iter().flat_map(|terms| terms.tags.clone()));
        Self {
            key: Some(key.id.clone()),
            routes: key.routes.clone().or_else(|| terms?.routes.clone()),
            tags,
            limits: terms.map_or(KeyLimits::default(), |terms| terms.limits),
        }
    }

    /// A key of the policy.
    fn by(terms: &KeyTerms) -> Self {
        Self {
            key: Some(terms.id.clone()),
            routes: terms.routes.clone(),
            tags: terms.tags.clone(),
            limits: terms.limits,
        }
    }
}

/// Finds the caller among the keys of the configuration and those of the policy. Where
/// there are none (loopback only) everybody is let in.
pub(crate) fn caller(
    keys: &[Key],
    table: Option<&Table>,
    headers: &HeaderMap,
) -> Result<Caller, Failure> {
    let of_policy = table.map_or(&[][..], |table| &table.draft().keys);
    if keys.is_empty() && of_policy.iter().all(|key| key.sha256.is_none()) {
        return Ok(Caller::default());
    }
    let refuse = |message: &str| Failure::client(Kind::Unauthenticated, message);
    let given = presented(headers)
        .ok_or_else(|| refuse("no key given; send it as Authorization: Bearer KEY"))?;
    let fingerprint = Fingerprint::of(given);
    // All are compared, so that time does not tell which one came close.
    let mut found = None;
    for key in keys {
        if key.fingerprint.matches(&fingerprint) {
            found = Some(key);
        }
    }
    if let Some(key) = found {
        return Ok(Caller::of(key, table.and_then(|table| table.key(&key.id))));
    }
    let Some(table) = table else {
        // It may be one of the policy's.
        return Err(Failure::no_table());
    };
    let terms = table.holder(fingerprint.bytes());
    let terms =
        terms.ok_or_else(|| refuse("this key is not known here; ask the operator for one"))?;
    Ok(Caller::by(terms))
}

/// The forms that the official SDKs send.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        return scheme
            .eq_ignore_ascii_case(b"bearer ")
            .then(|| key.trim_ascii());
    }
    let value = ["x-api-key", "x-goog-api-key", "api-key"]
        .iter()
        .find_map(|name| headers.get(*name))?;
    Some(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Key> {
        vec![Key {
            id: KeyId::new("team"),
            fingerprint: Fingerprint::of(b"secret"),
            routes: Some(vec![RouteId::new("auto")]),
            tags: vec![],
        }]
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn the_key_is_found_in_every_form_and_nowhere_else() {
        let keys = keys();
        let who = |headers: HeaderMap| {
            caller(&keys, None, &headers)
                .ok()
                .map(|c| c.id().to_owned())
        };
        assert_eq!(
            who(headers("authorization", "Bearer secret")).as_deref(),
            Some("team")
        );
        assert_eq!(
            who(headers("authorization", "bearer  secret")).as_deref(),
            Some("team")
        );
        for name in ["x-api-key", "x-goog-api-key", "api-key"] {
            assert_eq!(who(headers(name, "secret")).as_deref(), Some("team"));
        }
        for value in [
            "Bearer secre",
            "Bearer secrets",
            "secret",
            "Basic secret",
            "B",
        ] {
            assert_eq!(who(headers("authorization", value)), None, "{value}");
        }
        assert_eq!(who(HeaderMap::new()), None);
    }

    #[test]
    fn a_key_asks_only_for_its_routes() {
        let keys = keys();
        let headers = headers("x-api-key", "secret");
        let caller = caller(&keys, None, &headers).unwrap();
        assert!(caller.may_ask_for("auto") && !caller.may_ask_for("gpt"));
    }
}
