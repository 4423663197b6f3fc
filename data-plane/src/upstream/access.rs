//! What it takes to ask a provider: its address, and a key or a signature.
//!
//! Owns: whose key is taken. A caller's own goes to its provider and to no other; where it
//! is there, ours stays out of it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use spillway_routing::catalogue::Upstream;
use spillway_routing::dialect::Dialect;

use crate::aws::{AwsKeys, Unsigned};
use crate::config::{Config, Credential};
use crate::own_keys::OwnKeys;
use crate::secret::Auth;

/// A provider as one request may reach it.
#[derive(Clone, Debug)]
pub(super) struct Access<'a> {
    pub(super) base_url: &'a str,
    pub(super) allow_private: bool,
    /// The key is the caller's own.
    pub(super) own_key: bool,
    shown: Shown<'a>,
}

/// How the provider learns who asks.
#[derive(Clone, Debug)]
enum Shown<'a> {
    Nothing,
    Key(HeaderName, HeaderValue),
    Signature { keys: &'a AwsKeys, region: &'a str },
}

impl<'a> Access<'a> {
    /// An error says what this proxy lacks.
    pub(super) fn to(
        upstream: &Upstream,
        dialect: Dialect,
        config: &'a Config,
        own_keys: &OwnKeys,
    ) -> Result<Self, &'static str> {
        let provider = config.providers.get(&upstream.provider);
        let provider = provider.ok_or("this proxy does not know the provider")?;
        let auth = provider.auth.unwrap_or_else(|| Auth::usual(dialect));
        let own = own_keys.of(&upstream.provider);
        let credential = || {
            let credential = config.credentials.get(&upstream.credential);
            credential.ok_or("this proxy does not have the credential")
        };
        let header = |key: Option<(HeaderName, HeaderValue)>| {
            key.map_or(Shown::Nothing, |(name, value)| Shown::Key(name, value))
        };
        let shown = match own {
            Some(own) => header(own.header(auth)),
            None => match credential()? {
                Credential::None => Shown::Nothing,
                Credential::Key(key) => header(key.header(auth)),
                Credential::Aws(keys) => {
                    let region = provider.region.as_deref();
                    let region = region.ok_or("this proxy knows no region to sign for")?;
                    Shown::Signature { keys, region }
                }
            },
        };
        Ok(Self {
            base_url: &provider.base_url,
            allow_private: provider.allow_private,
            own_key: own.is_some(),
            shown,
        })
    }

    #[cfg(test)]
    pub(super) fn nearby(base_url: &'a str) -> Self {
        Self {
            base_url,
            allow_private: true,
            own_key: false,
            shown: Shown::Nothing,
        }
    }

    /// The headers that say who asks.
    pub(super) async fn headers(&self, uri: &Uri, body: &Bytes) -> Result<HeaderMap, Unsigned> {
        match &self.shown {
            Shown::Nothing => Ok(HeaderMap::new()),
            Shown::Key(name, value) => Ok([(name.clone(), value.clone())].into_iter().collect()),
            Shown::Signature { keys, region } => keys.sign(uri, body, region).await,
        }
    }
}
