//! Whose SDK brings keys for which provider.
//!
//! Owns: the makers of SDKs, the hosts that these call by themselves, and the choice of the
//! one provider that the keys of an SDK are for. Knows no requests.

use std::collections::BTreeMap;

use http::Uri;
use spillway_routing::dialect::Dialect;
use spillway_routing::id::ProviderId;

use super::{ConfigError, RawProvider};

/// Whose official SDK it is: each always sends its key in a header of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sdk {
    OpenAi,
    Anthropic,
    Google,
}

impl Sdk {
    pub const ALL: [Self; 3] = [Self::OpenAi, Self::Anthropic, Self::Google];

    /// As it is written in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
        }
    }

    /// Where it goes unless it is told otherwise.
    fn host(self) -> &'static str {
        match self {
            Self::OpenAi => "api.openai.com",
            Self::Anthropic => "api.anthropic.com",
            Self::Google => "generativelanguage.googleapis.com",
        }
    }

    /// Where it puts a key.
    pub(crate) fn headers(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi => &["authorization"],
            Self::Anthropic => &["x-api-key", "authorization"],
            Self::Google => &["x-goog-api-key"],
        }
    }

    pub(crate) fn speaking(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenAiChat
            | Dialect::OpenAiResponses
            | Dialect::BedrockConverse
            | Dialect::OpenAiEmbeddings
            | Dialect::OpenAiImages => Self::OpenAi,
            Dialect::AnthropicMessages => Self::Anthropic,
            Dialect::GeminiGenerate | Dialect::GeminiInteractions => Self::Google,
        }
    }
}

/// The provider that says so takes the keys of an SDK; where none does, the one at the
/// SDK's own host. Where two are there nobody can know which is meant.
pub(super) fn keys(providers: &[RawProvider]) -> Result<BTreeMap<Sdk, ProviderId>, ConfigError> {
    let mut keys = BTreeMap::new();
    for raw in providers {
        let Some(name) = &raw.sdk else { continue };
        let flaw = |flaw: String| ConfigError::new(format!("providers[{}].sdk", raw.id), flaw);
        let sdk = Sdk::ALL.into_iter().find(|sdk| sdk.name() == name);
        let sdk = sdk.ok_or_else(|| {
            let known = Sdk::ALL.map(Sdk::name).join(", ");
            flaw(format!("must be one of {known}"))
        })?;
        if let Some(other) = keys.insert(sdk, ProviderId::new(&raw.id)) {
            return Err(flaw(format!("is {name:?}, as is that of {other}")));
        }
    }
    for sdk in Sdk::ALL {
        let at_home = |raw: &&RawProvider| {
            let uri = raw.base_url.parse::<Uri>();
            uri.is_ok_and(|uri| uri.host() == Some(sdk.host()))
        };
        let mut found = providers.iter().filter(at_home);
        if let (Some(one), None) = (found.next(), found.next()) {
            keys.entry(sdk).or_insert_with(|| ProviderId::new(&one.id));
        }
    }
    Ok(keys)
}
