//! Provider keys that a caller brings along.
//!
//! Owns: reading them from `x-spillway-key-PROVIDER`, and the rule that a key goes to its
//! provider and to nobody else. They live as long as the request, are never written down,
//! and show in no debug output.

use std::collections::BTreeMap;

use http::HeaderMap;
use spillway_routing::id::ProviderId;

use crate::config::Provider;
use crate::failure::{Failure, Kind};
use crate::secret::{Auth, Secret};

const PREFIX: &str = "x-spillway-key-";
/// Keys of one request, and bytes of one.
const KEYS_MAX: usize = 8;
const KEY_BYTES_MAX: usize = 1_024;

/// One request's own keys, each bound to its provider.
#[derive(Debug, Default)]
pub(crate) struct OwnKeys(BTreeMap<ProviderId, Secret>);

impl OwnKeys {
    pub(crate) fn read(
        headers: &HeaderMap,
        providers: &BTreeMap<ProviderId, Provider>,
    ) -> Result<Self, Failure> {
        let bad = |message: &str| Failure::client(Kind::BadRequest, message);
        let mut keys = BTreeMap::new();
        for (name, value) in headers {
            let Some(provider) = name.as_str().strip_prefix(PREFIX) else {
                continue;
            };
            // Header names have no capitals; ids may.
            let known = providers
                .keys()
                .find(|id| id.as_str().eq_ignore_ascii_case(provider));
            let provider = known.ok_or_else(|| {
                bad("an x-spillway-key-* header names a provider that is not known here")
            })?;
            let text = value.to_str().unwrap_or_default();
            let secret = Secret::new(text);
            let fits = !secret.is_empty() && text.len() <= KEY_BYTES_MAX;
            if !fits || secret.header(Auth::Bearer).is_none() || keys.len() == KEYS_MAX {
                return Err(bad(
                    "an x-spillway-key-* header is empty or too long, or there are too many",
                ));
            }
            keys.insert(provider.clone(), secret);
        }
        Ok(Self(keys))
    }

    /// The providers that they are for.
    pub(crate) fn providers(&self) -> Vec<ProviderId> {
        self.0.keys().cloned().collect()
    }

    pub(crate) fn of(&self, provider: &ProviderId) -> Option<&Secret> {
        self.0.get(provider)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Result<OwnKeys, Failure> {
        let provider = Provider {
            base_url: "https://x".to_owned(),
            allow_private: false,
            auth: None,
        };
        let providers = [("OpenAI", provider.clone()), ("other", provider)];
        let providers = providers.map(|(id, provider)| (ProviderId::new(id), provider));
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        OwnKeys::read(&headers.collect(), &providers.into())
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
