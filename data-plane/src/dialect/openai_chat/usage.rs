//! Usage as hosts report it, in one normal form.
//!
//! Owns: reading counts that may be absent, negative or absurd. A report that cannot be
//! right is no report: the request is then accounted by estimate and marked so.

use serde_json::Value;
use spillway_routing::catalogue::Usage;
use spillway_routing::unit::Tokens;

/// No model takes or gives more; a larger count is a fault of the host.
const TOKENS_MAX: f64 = 100_000_000.0;

pub(super) fn read(raw: &str) -> Option<Usage> {
    let usage: Value = serde_json::from_str(raw).ok()?;
    let input = count(usage.get("prompt_tokens"))?;
    let output = count(usage.get("completion_tokens"))?;
    let of = |details: &str, field: &str| count(usage.get(details).and_then(|d| d.get(field)));
    let cached = of("prompt_tokens_details", "cached_tokens")
        .or_else(|| count(usage.get("prompt_cache_hit_tokens")));
    Some(Usage {
        input,
        cache_read: cached.unwrap_or_default(),
        cache_write: of("prompt_tokens_details", "cache_write_tokens").unwrap_or_default(),
        output,
        reasoning: of("completion_tokens_details", "reasoning_tokens").unwrap_or_default(),
    })
}

fn count(value: Option<&Value>) -> Option<Tokens> {
    let number = value?.as_f64().filter(|n| (0.0..=TOKENS_MAX).contains(n))?;
    Some(Tokens(number as u32))
}
