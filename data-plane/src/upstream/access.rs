//! What it takes to ask a provider: its address and a key.
//!
//! Owns: whose key is taken. A caller's own goes to its provider and to no other; where it
//! is there, ours stays out of it.

use http::{HeaderName, HeaderValue};
use spillway_routing::catalogue::Upstream;
use spillway_routing::dialect::Dialect;

use crate::config::Config;
use crate::own_keys::OwnKeys;
use crate::secret::Auth;

/// A provider as one request may reach it.
#[derive(Clone, Debug)]
pub(super) struct Access<'a> {
    pub(super) base_url: &'a str,
    pub(super) allow_private: bool,
    /// The key in its header.
    pub(super) key: Option<(HeaderName, HeaderValue)>,
    /// It is the caller's own.
    pub(super) own_key: bool,
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
        let own = own_keys.of(&upstream.provider);
        let secret = match own {
            Some(own) => Some(own),
            None => {
                let credential = config.credentials.get(&upstream.credential);
                let credential = credential.ok_or("this proxy does not have the credential")?;
                credential.as_ref()
            }
        };
        let auth = provider.auth.unwrap_or_else(|| Auth::usual(dialect));
        Ok(Self {
            base_url: &provider.base_url,
            allow_private: provider.allow_private,
            key: secret.and_then(|secret| secret.header(auth)),
            own_key: own.is_some(),
        })
    }
}
