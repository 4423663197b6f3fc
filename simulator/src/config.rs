//! What a simulator is started with: providers, their models and prices.
//!
//! Owns: plain data. It must not know how it is served.

use std::collections::BTreeMap;
use std::fmt;

use crate::answer::Usage;
use crate::answerer::Answerer;
use crate::ask::ServiceTier;
use crate::script::{Behaviour, Speed};

/// Everything [`crate::Simulator::start`] needs, but the socket.
#[derive(Debug, Clone)]
pub struct SimulatorConfig {
    /// The providers, each below its own path prefix.
    pub providers: Vec<ProviderConfig>,
    /// Who thinks up the answers.
    pub answerer: Answerer,
    /// Every draw (latency, faults, ids) follows from this.
    pub seed: u64,
    /// How much faster than life the clock of all latencies runs.
    pub speed: Speed,
}

impl SimulatorConfig {
    /// No latency, seed 1: what most tests want.
    pub fn instant(answerer: Answerer, providers: Vec<ProviderConfig>) -> Self {
        Self {
            providers,
            answerer,
            seed: 1,
            speed: Speed::Instant,
        }
    }
}

/// One provider: `http://ADDRESS/{name}/v1` is its base URL on the wires of OpenAI and
/// Anthropic, `http://ADDRESS/{name}/v1beta` on Gemini's, `http://ADDRESS/{name}` on
/// Bedrock's.
#[derive(Clone)]
pub struct ProviderConfig {
    /// Path prefix; letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// When set, another key is refused. On Bedrock's wire it is the key itself or an
    /// access key id; the secret of the access key id `K` is `secret-K`.
    pub api_key: Option<String>,
    /// What it serves; any other model is refused with 404.
    pub models: Vec<ServedModel>,
    /// How it behaves until its script is changed.
    pub behaviour: Behaviour,
}

impl ProviderConfig {
    /// A healthy provider that takes any key.
    pub fn new(name: impl Into<String>, models: Vec<ServedModel>) -> Self {
        Self {
            name: name.into(),
            api_key: None,
            models,
            behaviour: Behaviour::healthy(),
        }
    }

    /// The same, but it wants this key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// The same, but it behaves so from the start.
    #[must_use]
    pub fn with_behaviour(mut self, behaviour: Behaviour) -> Self {
        self.behaviour = behaviour;
        self
    }
}

impl fmt::Debug for ProviderConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProviderConfig")
            .field("name", &self.name)
            .field("api_key", &self.api_key.as_ref().map(|_| "<hidden>"))
            .field("models", &self.models)
            .field("behaviour", &self.behaviour)
            .finish()
    }
}

/// A model at one provider, with what that provider asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedModel {
    /// The name in the request's `model` field, or in its path.
    pub name: String,
    /// What it bills.
    pub price: Price,
    /// What it bills for other tiers than the standard one; those that are not here cost
    /// the same.
    pub tiers: BTreeMap<ServiceTier, Price>,
}

impl ServedModel {
    /// A model with its price in nano-USD per token (1 USD per million tokens is 1,000).
    pub fn new(name: impl Into<String>, input_nano_usd: u64, output_nano_usd: u64) -> Self {
        let price = Price {
            input_nano_usd,
            output_nano_usd,
        };
        Self::at(name, price)
    }

    /// A model at this price in every tier.
    pub fn at(name: impl Into<String>, price: Price) -> Self {
        Self {
            name: name.into(),
            price,
            tiers: BTreeMap::new(),
        }
    }

    /// The same, but this tier has a price of its own.
    #[must_use]
    pub fn with_tier(mut self, tier: ServiceTier, input_nano: u64, output_nano: u64) -> Self {
        let price = Price {
            input_nano_usd: input_nano,
            output_nano_usd: output_nano,
        };
        self.tiers.insert(tier, price);
        self
    }

    pub(crate) fn price_of(&self, tier: ServiceTier) -> Price {
        self.tiers.get(&tier).copied().unwrap_or(self.price)
    }
}

/// Nano-USD per token (1 USD per million tokens is 1,000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    /// Per input token.
    pub input_nano_usd: u64,
    /// Per output token.
    pub output_nano_usd: u64,
}

/// What a cached input token costs, in hundredths of one that is not.
const CACHED_PERCENT: u64 = 10;
/// What an input token costs that is written to a cache, where that is billed.
const CACHE_WRITTEN_PERCENT: u64 = 125;

impl Price {
    /// What an answer costs whose prompt met a cache, in nano-USD.
    pub(crate) fn of_usage(self, usage: &Usage) -> u64 {
        let (cached, written) = (usage.cached_tokens, usage.cache_written_tokens);
        let percent = |tokens: u64, percent: u64| {
            let full = self.input_nano_usd.saturating_mul(tokens);
            full.saturating_mul(percent) / 100
        };
        let plain = usage.input_tokens - cached - written;
        self.of(plain, usage.output_tokens)
            .saturating_add(percent(cached, CACHED_PERCENT))
            .saturating_add(percent(written, CACHE_WRITTEN_PERCENT))
    }

    /// What these tokens cost, in nano-USD.
    pub fn of(self, input_tokens: u64, output_tokens: u64) -> u64 {
        self.input_nano_usd
            .saturating_mul(input_tokens)
            .saturating_add(self.output_nano_usd.saturating_mul(output_tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_printed() {
        let provider = ProviderConfig::new("alpha", Vec::new()).with_key("sk-secret");
        assert!(!format!("{provider:?}").contains("sk-secret"));
    }

    #[test]
    fn a_price_counts_both_sides_and_does_not_overflow() {
        let price = Price {
            input_nano_usd: 150,
            output_nano_usd: 600,
        };
        assert_eq!(price.of(1000, 10), 156_000);
        assert_eq!(price.of(u64::MAX, 1), u64::MAX);
        let mut usage = Usage {
            input_tokens: 1000,
            output_tokens: 10,
            ..Usage::default()
        };
        assert_eq!(price.of_usage(&usage), 156_000);
        usage.cached_tokens = 500;
        usage.cache_written_tokens = 200;
        assert_eq!(price.of_usage(&usage), 45_000 + 7_500 + 37_500 + 6_000);
    }
}
