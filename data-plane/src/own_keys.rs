//! Provider keys that a caller brings along.
//!
//! Owns: reading them from `x-spillway-key-PROVIDER` and, where the caller shows the key of
//! Spillway apart, from the header that an SDK uses anyway; and the rule that a key goes to
//! its provider and to nobody else. They live as long as the request, are never written
//! down, and show in no debug output.

use std::collections::BTreeMap;

use http::HeaderMap;
use spillway_routing::dialect::Dialect;
use spillway_routing::id::ProviderId;

use crate::auth;
use crate::config::{Config, Provider, Sdk};
use crate::failure::{Failure, Kind};
use crate::secret::{Auth, Secret};

const PREFIX: &str = "x-spillway-key-";
/// Keys of one request, and bytes of one.
const KEYS_MAX: usize = 8;
const KEY_BYTES_MAX: usize = 1_024;

/// One request's own keys, each bound to its provider.
#[derive(Debug, Default)]
pub(crate) struct OwnKeys {
    keys: BTreeMap<ProviderId, Secret>,
    /// One came in an SDK's own header, and no provider here takes those.
    homeless: bool,
}

impl OwnKeys {
    /// `known` tells keys of Spillway.
    pub(crate) fn read(
        headers: &HeaderMap,
        dialect: Dialect,
        config: &Config,
        known: impl Fn(&[u8]) -> bool,
    ) -> Result<Self, Failure> {
        let (providers, sdk_keys) = (&config.providers, &config.sdk_keys);
        Self::find(headers, Sdk::speaking(dialect), providers, sdk_keys, known)
    }

    fn find(
        headers: &HeaderMap,
        sdk: Sdk,
        providers: &BTreeMap<ProviderId, Provider>,
        sdk_keys: &BTreeMap<Sdk, ProviderId>,
        known: impl Fn(&[u8]) -> bool,
    ) -> Result<Self, Failure> {
        let secret = |given: &[u8]| {
            if known(given) {
                return Err(bad(
                    "a key of Spillway stands where a provider's is meant to be, and \
                                goes to no provider; beside x-spillway-key send only a \
                                provider's",
                ));
            }
            secret(given)
        };
        let mut own = Self::default();
        if let Some(key) = beside(headers, sdk)? {
            let key = secret(key)?;
            match sdk_keys.get(&sdk) {
                Some(provider) => drop(own.keys.insert(provider.clone(), key)),
                None => own.homeless = true,
            }
        }
        for (name, value) in headers {
            let Some(provider) = name.as_str().strip_prefix(PREFIX) else {
                continue;
            };
            // Header names have no capitals; ids may.
            let provider = providers
                .keys()
                .find(|id| id.as_str().eq_ignore_ascii_case(provider));
            let provider = provider.ok_or_else(|| {
                bad("an x-spillway-key-* header names a provider that is not known here")
            })?;
            own.keys.insert(provider.clone(), secret(value.as_bytes())?);
            if own.keys.len() > KEYS_MAX {
                return Err(bad("there are too many x-spillway-key-* headers"));
            }
        }
        Ok(own)
    }

    /// Refuses a key that nobody here takes, where a provider may be asked.
    pub(crate) fn placed(&self) -> Result<(), Failure> {
        if self.homeless {
            return Err(bad(
                "a provider's key came beside x-spillway-key, but no provider here \
                            takes keys of this SDK; send it as x-spillway-key-PROVIDER",
            ));
        }
        Ok(())
    }

    /// The providers that they are for.
    pub(crate) fn providers(&self) -> Vec<ProviderId> {
        self.keys.keys().cloned().collect()
    }

    pub(crate) fn of(&self, provider: &ProviderId) -> Option<&Secret> {
        self.keys.get(provider)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.homeless
    }
}

/// What stands in the SDK's own header beside a key of Spillway that is shown apart.
fn beside(headers: &HeaderMap, sdk: Sdk) -> Result<Option<&[u8]>, Failure> {
    if !auth::is_apart(headers) {
        return Ok(None);
    }
    let given = auth::USUAL
        .into_iter()
        .filter(|name| headers.contains_key(*name));
    let given: Vec<&str> = given.collect();
    let name = match given[..] {
        [] => return Ok(None),
        [name] if sdk.headers().contains(&name) => name,
        [_] => {
            return Err(bad(
                "what stands beside x-spillway-key is not where this dialect's SDK \
                            puts a key; send it there, or as x-spillway-key-PROVIDER",
            ));
        }
        _ => {
            return Err(bad(
                "beside x-spillway-key stand two keys; send the provider's alone",
            ));
        }
    };
    let key = auth::in_header(headers, name);
    let key = key.ok_or_else(|| bad("send the provider's key as Authorization: Bearer KEY"))?;
    Ok(Some(key))
}

fn secret(given: &[u8]) -> Result<Secret, Failure> {
    let text = std::str::from_utf8(given).unwrap_or_default();
    let secret = Secret::new(text);
    let fits = !secret.is_empty() && text.len() <= KEY_BYTES_MAX;
    (fits && secret.header(Auth::Bearer).is_some())
        .then_some(secret)
        .ok_or_else(|| bad("a provider's key is empty, too long, or cannot stand in a header"))
}

fn bad(message: &str) -> Failure {
    Failure::client(Kind::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(sdk: Sdk, headers: &[(&'static str, &str)]) -> Result<OwnKeys, Failure> {
        let providers = ["OpenAI", "other"].map(|id| {
            let provider = Provider {
                base_url: "https://x".to_owned(),
                allow_private: false,
                auth: None,
                region: None,
            };
            (ProviderId::new(id), provider)
        });
        let sdk_keys = [(Sdk::OpenAi, ProviderId::new("OpenAI"))];
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        let known = |key: &[u8]| key == b"sk-spillway";
        OwnKeys::find(
            &headers.collect(),
            sdk,
            &providers.into(),
            &sdk_keys.into(),
            known,
        )
    }

    fn read(headers: &[(&'static str, &str)]) -> Result<OwnKeys, Failure> {
        read_as(Sdk::OpenAi, headers)
    }

    #[test]
    fn a_key_belongs_to_its_provider_alone() {
        let keys = read(&[("x-spillway-key-openai", "sk-canary")]).unwrap();
        assert_eq!(keys.providers(), [ProviderId::new("OpenAI")]);
        assert!(keys.of(&ProviderId::new("OpenAI")).is_some());
        assert!(keys.of(&ProviderId::new("other")).is_none());
        assert!(!format!("{keys:?}").contains("canary"));
    }

    #[test]
    fn beside_a_key_of_spillway_the_usual_header_holds_the_callers_own() {
        let usual = ("authorization", "Bearer sk-canary");
        let apart = ("x-spillway-key", "sk-team");
        let keys = read(&[usual, apart]).unwrap();
        assert_eq!(keys.providers(), [ProviderId::new("OpenAI")]);
        // Alone it is the key of Spillway; and a key apart needs no other.
        assert!(read(&[usual]).unwrap().is_empty());
        assert!(read(&[apart]).unwrap().is_empty());
        // Nobody here takes the keys that this SDK sends: they go to nobody else.
        let homeless = read_as(Sdk::Anthropic, &[("x-api-key", "sk-canary"), apart]).unwrap();
        assert!(homeless.placed().is_err() && !homeless.is_empty());
        assert_eq!(homeless.providers(), []);
        // Said by name, it is meant.
        let named = read(&[usual, apart, ("x-spillway-key-openai", "sk-named")]).unwrap();
        let key = named.of(&ProviderId::new("OpenAI")).unwrap();
        assert_eq!(key.header(Auth::ApiKey).unwrap().1, "sk-named");
    }

    #[test]
    fn what_is_no_key_of_the_sdk_goes_nowhere() {
        let apart = ("x-spillway-key", "sk-team");
        for beside in [
            &[("x-api-key", "sk-ant-canary")][..],
            &[("authorization", "sk-canary")],
            &[("authorization", "Basic c2s=")],
            &[
                ("authorization", "Bearer sk-canary"),
                ("x-goog-api-key", "sk-canary"),
            ],
            // Keys of Spillway, wherever they stand.
            &[("authorization", "Bearer sk-spillway")],
            &[("x-spillway-key-other", "sk-spillway")],
        ] {
            let headers: Vec<_> = beside.iter().copied().chain([apart]).collect();
            let refused = read(&headers).unwrap_err();
            assert_eq!(refused.status().as_u16(), 400, "{beside:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        for (name, value) in [
            ("x-spillway-key-nobody", "sk"),
            ("x-spillway-key-openai", ""),
            ("x-spillway-key-openai", long.as_str()),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().status().as_u16(), 400);
        }
        assert!(read(&[("x-other", "1")]).unwrap().is_empty());
    }
}
