//! Who calls.
//!
//! Owns: finding the caller's key in its header forms and comparing it in constant time.
//! Knows no routes: whether a key may ask for one is asked of the [`Caller`].

use http::{HeaderMap, header};
use spillway_routing::id::{KeyId, RouteId};

use crate::config::Key;
use crate::failure::{Failure, Kind};
use crate::secret::Fingerprint;

/// Who calls, and what they may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a>(Option<&'a Key>);

impl Caller<'_> {
    pub(crate) fn id(&self) -> &str {
        self.0.map_or("", |key| KeyId::as_str(&key.id))
    }

    pub(crate) fn tags(&self) -> &[(String, String)] {
        self.0.map_or(&[], |key| &key.tags)
    }

    pub(crate) fn may_ask_for(&self, route: &str) -> bool {
        let routes = self.0.and_then(|key| key.routes.as_ref());
        routes.is_none_or(|routes| routes.iter().map(RouteId::as_str).any(|r| r == route))
    }
}

/// Finds the caller. Without configured keys (loopback only) everybody is let in.
pub(crate) fn caller<'a>(keys: &'a [Key], headers: &HeaderMap) -> Result<Caller<'a>, Failure> {
    if keys.is_empty() {
        return Ok(Caller(None));
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
    let key =
        found.ok_or_else(|| refuse("this key is not known here; ask the operator for one"))?;
    Ok(Caller(Some(key)))
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
        let who = |headers: HeaderMap| caller(&keys, &headers).ok().map(|c| c.id().to_owned());
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
        let caller = caller(&keys, &headers).unwrap();
        assert!(caller.may_ask_for("auto") && !caller.may_ask_for("gpt"));
    }
}
