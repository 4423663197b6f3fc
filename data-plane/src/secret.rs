//! Secrets, typed so that they cannot be printed.
//!
//! Owns: [`Secret`] (a provider key) and [`Fingerprint`] (the SHA-256 of a caller's
//! key). Neither has a `Display`; `Debug` says nothing.

use std::fmt;

use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use spillway_proto::keys;
use spillway_routing::dialect::Dialect;

/// In which header a provider wants its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    Bearer,
    XApiKey,
    GoogleApiKey,
    ApiKey,
}

impl Auth {
    pub const ALL: [Self; 4] = [
        Self::Bearer,
        Self::XApiKey,
        Self::GoogleApiKey,
        Self::ApiKey,
    ];

    /// As it is written in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::XApiKey => "x-api-key",
            Self::GoogleApiKey => "x-goog-api-key",
            Self::ApiKey => "api-key",
        }
    }

    /// What providers of a dialect usually want.
    #[must_use]
    pub fn usual(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAiChat
            | Dialect::OpenAiResponses
            | Dialect::BedrockConverse
            | Dialect::OpenAiEmbeddings
            | Dialect::OpenAiImages => Self::Bearer,
            Dialect::AnthropicMessages => Self::XApiKey,
            Dialect::GeminiGenerate | Dialect::GeminiInteractions => Self::GoogleApiKey,
        }
    }
}

/// A provider's key.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header that a provider wants it in, marked sensitive for everything that prints
    /// headers. `None` where the secret cannot stand in a header.
    pub(crate) fn header(&self, auth: Auth) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match auth {
            Auth::Bearer => ("authorization", format!("Bearer {}", self.0)),
            Auth::XApiKey => ("x-api-key", self.0.clone()),
            Auth::GoogleApiKey => ("x-goog-api-key", self.0.clone()),
            Auth::ApiKey => ("api-key", self.0.clone()),
        };
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_static(name), value))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What is kept of a caller's key.
#[derive(Clone, Copy)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// From 64 hexadecimal digits.
    #[must_use]
    pub fn parse(hex: &str) -> Option<Self> {
        keys::unhex(hex).map(Self)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares all bytes, whatever the first ones say.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(other.0);
        std::hint::black_box(pairs.fold(0u8, |sum, (a, b)| sum | (a ^ b))) == 0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_in_debug_output() {
        let secret = Secret::new("sk-canary");
        assert!(
            !format!(
                "{secret:?} {:?} {:?}",
                secret.header(Auth::Bearer),
                Fingerprint::of(b"x")
            )
            .contains("canary")
        );
    }

    #[test]
    fn a_fingerprint_is_read_from_hex() {
        let hex = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        assert!(
            Fingerprint::parse(hex)
                .unwrap()
                .matches(&Fingerprint::of(b"x"))
        );
        assert!(
            !Fingerprint::parse(hex)
                .unwrap()
                .matches(&Fingerprint::of(b"y"))
        );
        assert!(Fingerprint::parse("zz").is_none());
    }
}
