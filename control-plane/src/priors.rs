//! Starter priors: what is expected of well-known models before there are labels.
//!
//! Owns: reading `priors.toml` once, and which family a model's name belongs to. A prior
//! ranks models and does no more; a policy's own figures and any label win over it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use spillway_routing::unit::Bps;

const TEXT: &str = include_str!("priors.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    families: Vec<Family>,
}

/// A family of models and what is expected of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// The part of a model's name that tells it.
    pub name: String,
    /// Mean over the kinds of work, 0..=1.
    pub quality: f64,
    /// By kind of work, where it is known.
    pub slices: BTreeMap<String, f64>,
}

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    // The file is part of the build and its test reads it.
    toml::from_str::<File>(TEXT).map_or_else(|_| Vec::new(), |file| file.families)
});

/// The family of a model, by the longest name that its own holds.
#[must_use]
pub fn family(model: &str) -> Option<&'static Family> {
    let model = model.to_lowercase();
    let known = FAMILIES.iter().filter(|family| holds(&model, &family.name));
    known.max_by_key(|family| family.name.len())
}

/// What is expected of a model of a known family.
#[must_use]
pub fn of(model: &str) -> Option<Bps> {
    family(model).map(|family| Bps::from_share(family.quality))
}

/// Whether `name` stands in `model` as whole words: `gpt-4` is no part of `gpt-4.1`.
fn holds(model: &str, name: &str) -> bool {
    model.match_indices(name).any(|(at, _)| {
        let before = model[..at].chars().next_back();
        let after = model[at + name.len()..].chars().next();
        before.is_none_or(|c| !c.is_alphanumeric())
            && after.is_none_or(|c| !c.is_alphanumeric() && c != '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_whole_and_its_figures_are_shares() {
        assert!(FAMILIES.len() > 30);
        for family in FAMILIES.iter() {
            let figures = family.slices.values().chain([&family.quality]);
            assert!(
                figures.into_iter().all(|x| (0.0..=1.0).contains(x)),
                "{}",
                family.name
            );
            assert!(!family.slices.is_empty() && family.name == family.name.to_lowercase());
        }
    }

    #[test]
    fn names_are_told_apart() {
        let name = |model: &str| family(model).map(|family| family.name.as_str());
        assert_eq!(name("gpt-4o-mini-2024-07-18"), Some("gpt-4o-mini"));
        assert_eq!(name("openai/gpt-4o"), Some("gpt-4o"));
        assert_eq!(name("Meta-Llama-3.1-8B-Instruct"), Some("llama-3.1-8b"));
        assert_eq!(
            name("accounts/fireworks/models/Qwen2.5-72B-Instruct"),
            Some("qwen2.5-72b")
        );
        for newer in [
            "gpt-4.1",
            "gpt-4o2",
            "gpt-5.4-mini",
            "llama-3.1-8b.5",
            "mistral-large-4",
        ] {
            assert_eq!(name(newer), None, "{newer}");
        }
    }

    #[test]
    fn a_known_order_is_kept() {
        assert!(of("gpt-4o") > of("gpt-3.5-turbo"));
        assert!(of("gemini-1.5-pro-002") > of("gemini-1.5-flash-002"));
        assert!(of("llama-3.1-70b-instruct") > of("llama-3.1-8b-instruct"));
    }
}
