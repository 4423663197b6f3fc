//! The built-in catalogue: limits and prices of well-known models.
//!
//! Owns: reading `catalogue.toml` once, and looking models up. A policy's own figures
//! win over it; what the catalogue does not know stays unknown and is never zero.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use spillway_routing::catalogue::{Capabilities, LongContext, Price, Rates, Tier};
use spillway_routing::dialect::Dialect;
use spillway_routing::tokens::Family;
use spillway_routing::unit::{NanoUsdPerMtok, Tokens};

use crate::hours::Hours;

const TEXT: &str = include_str!("catalogue.toml");

/// One model at one provider, as listed.
#[derive(Clone, Debug)]
pub struct Listed {
    pub family: Family,
    pub context: Tokens,
    pub max_output: Tokens,
    pub capabilities: Capabilities,
    prices: BTreeMap<String, Row>,
    above: Vec<Above>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    models: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    provider: String,
    tokenizer: String,
    context: u32,
    max_output: u32,
    capabilities: Vec<String>,
    #[serde(default)]
    prices: BTreeMap<String, Row>,
    #[serde(default)]
    above: Vec<Above>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    /// Parts of the week with other prices; the first that holds counts.
    #[serde(default)]
    hours: Vec<Hours>,
}

/// The standard tier's rates above a length of input.
#[derive(Clone, Debug, Deserialize)]
struct Above {
    tokens: u32,
    #[serde(flatten)]
    row: Row,
}

/// Empty if the built-in file does not parse, which a test rules out.
static CATALOGUE: LazyLock<BTreeMap<(String, String), Listed>> =
    LazyLock::new(|| read(TEXT).unwrap_or_default());

/// The entry of `model` at `provider`.
#[must_use]
pub fn find(provider: &str, model: &str) -> Option<&'static Listed> {
    CATALOGUE.get(&(provider.to_owned(), model.to_owned()))
}

/// What providers of this name are known to speak at their base URL; the dialect that
/// most hosts imitate for those that are not.
#[must_use]
pub fn dialects(provider: &str) -> &'static [Dialect] {
    match provider {
        "openai" | "azure" => &[Dialect::OpenAiChat, Dialect::OpenAiResponses],
        "anthropic" => &[Dialect::AnthropicMessages],
        "gemini" => &[Dialect::GeminiGenerate, Dialect::GeminiInteractions],
        "vertex_ai" => &[Dialect::GeminiGenerate],
        "bedrock" => &[Dialect::BedrockConverse],
        _ => &[Dialect::OpenAiChat],
    }
}

impl Listed {
    /// The price of a tier, if it is sold.
    #[must_use]
    pub fn price(&self, tier: Tier) -> Option<Price> {
        let row = self.prices.get(tier.name())?;
        let standard = tier == Tier::Standard;
        let steps = self.above.iter().filter(|_| standard);
        let long_context = steps
            .map(|step| LongContext {
                above: Tokens(step.tokens),
                rates: step.row.rates(),
            })
            .collect();
        Some(Price {
            rates: row.rates(),
            long_context,
            clock: row.hours.iter().map(|hours| hours.0).collect(),
            ..Price::default()
        })
    }
}

impl Row {
    fn rates(&self) -> Rates {
        let rate = NanoUsdPerMtok::from_usd;
        Rates {
            input: rate(self.input),
            output: rate(self.output),
            cache_read: self.cache_read.map(rate),
            cache_write: self.cache_write.map(rate),
        }
    }
}

fn read(text: &str) -> Result<BTreeMap<(String, String), Listed>, toml::de::Error> {
    let file: File = toml::from_str(text)?;
    let listed = |entry: Entry| {
        let can = |name: &str| entry.capabilities.iter().any(|c| c == name);
        let listed = Listed {
            family: Family::parse(&entry.tokenizer).unwrap_or_default(),
            context: Tokens(entry.context),
            max_output: Tokens(entry.max_output),
            capabilities: Capabilities {
                tools: can("tools"),
                json_object: true,
                json_schema: can("json_schema"),
                vision: can("vision"),
            },
            prices: entry.prices,
            above: entry.above,
        };
        ((entry.provider, entry.id), listed)
    };
    Ok(file.models.into_iter().map(listed).collect())
}

#[cfg(test)]
mod tests {
    use spillway_routing::unit::{NanoUsd, UnixMillis};

    use super::*;

    #[test]
    fn the_built_in_file_reads_and_has_only_known_tokenizers() {
        let catalogue = read(TEXT).unwrap();
        assert!(catalogue.len() > 50);
        let file: File = toml::from_str(TEXT).unwrap();
        for entry in &file.models {
            assert!(Family::parse(&entry.tokenizer).is_some(), "{}", entry.id);
        }
    }

    #[test]
    fn a_provider_may_cost_half_outside_its_peak_hours() {
        let price = find("deepseek", "deepseek-v4-pro").unwrap();
        let price = price.price(Tier::Standard).unwrap();
        // Tuesday, 2026-11-24, at midnight.
        let midnight = 1_795_478_400_000;
        let cost = |hour: u64| {
            let now = UnixMillis(midnight + hour * 3_600_000);
            price.estimate(Tokens(1_000_000), Tokens(0), Tokens(0), now)
        };
        assert_eq!(cost(2), NanoUsd::from_usd(1.32));
        assert_eq!(cost(5), NanoUsd::from_usd(0.66));
        assert_eq!(cost(9), cost(2));
        assert_eq!(cost(12), cost(5));
        let saturday = 4 * 24;
        assert_eq!(cost(saturday + 2), cost(5));
    }

    #[test]
    fn tiers_and_long_context_are_priced() {
        let astra = find("openai", "gpt-6-astra").unwrap();
        let standard = astra.price(Tier::Standard).unwrap();
        assert_eq!(standard.rates.input, NanoUsdPerMtok::from_usd(10.0));
        assert_eq!(standard.long_context.len(), 1);
        assert!(astra.price(Tier::Flex).unwrap().rates.input < standard.rates.input);
        assert_eq!(
            astra.price(Tier::Background),
            None,
            "what is not listed is not sold"
        );
    }
}
