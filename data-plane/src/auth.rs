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

    /// A key of the proxy's own configuration, with the terms that the policy adds: never
    /// more than the configuration gives.
    fn of(key: &Key, terms: Option<&KeyTerms>) -> Self {
        let mut tags = key.tags.clone();
        tags.extend(terms.iter().flat_map(|terms| terms.tags.clone()));
        let allowed = terms.and_then(|terms| terms.routes.clone());
        let routes = match (key.routes.clone(), allowed) {
            (Some(mut routes), Some(allowed)) => {
                routes.retain(|route| allowed.contains(route));
                Some(routes)
            }
            (routes, allowed) => routes.or(allowed),
        };
        Self {
            key: Some(key.id.clone()),
            routes,
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
/// there are none (loopback only) everybody is let in, unless keys are required.
pub(crate) fn caller(
    keys: &[Key],
    required: bool,
    table: Option<&Table>,
    headers: &HeaderMap,
) -> Result<Caller, Failure> {
    if keys.is_empty() && !required {
        // Nothing is served before it is known whether the policy has keys.
        let table = table.ok_or_else(Failure::no_table)?;
        if table.draft().keys.iter().all(|key| key.sha256.is_none()) {
            return Ok(Caller::default());
        }
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
        // An entry with a hash is another key, whatever its name.
        let terms = table.and_then(|table| table.key(&key.id));
        return Ok(Caller::of(
            key,
            terms.filter(|terms| terms.sha256.is_none()),
        ));
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

/// The caller of a request that was kept, by the key's name: as it is known now.
pub(crate) fn again(keys: &[Key], table: &Table, id: &str) -> Result<Caller, Failure> {
    if id.is_empty() {
        return Ok(Caller::default());
    }
    if let Some(key) = keys.iter().find(|key| key.id.as_str() == id) {
        let terms = table.key(&key.id);
        return Ok(Caller::of(
            key,
            terms.filter(|terms| terms.sha256.is_none()),
        ));
    }
    let terms = table.key(&KeyId::new(id)).map(Caller::by);
    let message = "the key that asked for this is no longer known here";
    terms.ok_or_else(|| Failure::client(Kind::Unauthenticated, message))
}

/// Shows the key of Spillway apart, where the SDK's own header holds a provider's.
const APART: &str = "x-spillway-key";

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    match headers.get(APART) {
        Some(value) => Some(value.as_bytes()),
        None => usual(headers),
    }
}

/// Whether the key of Spillway is shown apart from what the SDK sends.
pub(crate) fn is_apart(headers: &HeaderMap) -> bool {
    headers.contains_key(APART)
}

/// The headers that official SDKs send keys in.
pub(crate) const USUAL: [&str; 4] = ["authorization", "x-api-key", "x-goog-api-key", "api-key"];

fn usual(headers: &HeaderMap) -> Option<&[u8]> {
    let name = USUAL.iter().find(|name| headers.contains_key(**name))?;
    in_header(headers, name)
}

/// The key in one of them; of `authorization` only the form that SDKs send.
pub(crate) fn in_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let value = headers.get(name)?.as_bytes();
    if name != header::AUTHORIZATION.as_str() {
        return Some(value);
    }
    let (scheme, key) = value.split_at_checked(7)?;
    let bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    bearer.then(|| key.trim_ascii())
}

/// Whether it is a key of Spillway: such a one goes to no provider.
pub(crate) fn is_known(keys: &[Key], table: Option<&Table>, given: &[u8]) -> bool {
    let fingerprint = Fingerprint::of(given);
    let configured = keys
        .iter()
        .filter(|key| key.fingerprint.matches(&fingerprint));
    let held = || table.and_then(|table| table.holder(fingerprint.bytes()));
    configured.count() > 0 || held().is_some()
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
            caller(&keys, false, None, &headers)
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
        for name in ["x-api-key", "x-goog-api-key", "api-key", "x-spillway-key"] {
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
        // Shown apart, it is the only one that counts.
        let both = |apart: &str, usual: &str| {
            let mut both = headers("x-spillway-key", apart);
            both.extend(headers("x-api-key", usual));
            who(both)
        };
        assert_eq!(both("secret", "sk-provider").as_deref(), Some("team"));
        assert_eq!(both("sk-provider", "secret"), None);
    }

    #[test]
    fn a_key_asks_only_for_its_routes() {
        let keys = keys();
        let headers = headers("x-api-key", "secret");
        let caller = caller(&keys, false, None, &headers).unwrap();
        assert!(caller.may_ask_for("auto") && !caller.may_ask_for("gpt"));
    }

    fn table(terms: Vec<KeyTerms>) -> Table {
        let mut draft = crate::tests::draft(1);
        draft.keys = terms;
        Table::build(draft).unwrap()
    }

    fn terms(id: &str, key: Option<&[u8]>, routes: &[&str]) -> KeyTerms {
        KeyTerms {
            id: id.into(),
            sha256: key.map(|key| *Fingerprint::of(key).bytes()),
            routes: Some(routes.iter().map(|name| RouteId::new(name)).collect()),
            tags: vec![],
            limits: KeyLimits {
                requests_per_minute: Some(1),
                ..KeyLimits::default()
            },
        }
    }

    #[test]
    fn without_keys_everybody_is_let_in_once_that_is_known() {
        let asked = |required, table: Option<&Table>| {
            let caller = caller(&[], required, table, &HeaderMap::new());
            caller.map_err(|failure| failure.status().as_u16()).err()
        };
        assert_eq!(asked(false, None), Some(503));
        assert_eq!(asked(false, Some(&table(vec![]))), None);
        assert_eq!(asked(true, Some(&table(vec![]))), Some(401));
        let keyed = table(vec![terms("a", Some(b"k"), &["auto"])]);
        assert_eq!(asked(false, Some(&keyed)), Some(401));
    }

    #[test]
    fn a_policy_narrows_a_key_of_the_configuration_and_never_widens_it() {
        let mut keys = keys();
        keys[0].routes = Some(vec![RouteId::new("auto"), RouteId::new("large")]);
        let headers = headers("x-api-key", "secret");
        let with = |terms| {
            let table = table(vec![terms]);
            caller(&keys, false, Some(&table), &headers).unwrap()
        };
        let narrowed = with(terms("team", None, &["large", "small"]));
        let may = |caller: &Caller| ["auto", "large", "small"].map(|r| caller.may_ask_for(r));
        assert_eq!(may(&narrowed), [false, true, false]);
        assert!(narrowed.limited().is_some());
        // Another key that happens to have the name.
        let other = with(terms("team", Some(b"other"), &["small"]));
        assert_eq!(may(&other), [true, true, false]);
        assert!(other.limited().is_none());
    }
}
