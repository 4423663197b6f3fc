//! Usage as providers report it and callers read it, in one normal form.
//!
//! Owns: which counts include which others, and counts that may be absent, negative or
//! absurd. A report that cannot be right is no report: the request is then accounted by
//! estimate and marked so.
//!
//! The normal form counts cached tokens in `input` and reasoning in `output`, as OpenAI
//! does. Anthropic leaves cached tokens out of its input, Gemini leaves reasoning out of
//! its candidates' tokens.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use spillway_routing::catalogue::{Tier, Usage};
use spillway_routing::unit::Tokens;

use super::peek::{at, text};

/// No model takes or gives more; a larger count is a fault of the host.
const TOKENS_MAX: f64 = 100_000_000.0;

fn count(value: Option<&Value>) -> Option<Tokens> {
    within(value?.as_f64()?)
}

fn within(count: f64) -> Option<Tokens> {
    let sane = (0.0..=TOKENS_MAX).contains(&count);
    sane.then_some(Tokens(count as u32))
}

fn inner(usage: &Value, details: &str, field: &str) -> Option<Tokens> {
    count(usage.get(details).and_then(|details| details.get(field)))
}

/// Read without making values of it: it is in every answer.
#[derive(Default, Deserialize)]
struct ChatUsage<'a> {
    #[serde(borrow)]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_cache_hit_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow)]
    completion_tokens_details: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct ChatDetails<'a> {
    #[serde(borrow)]
    cached_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_write_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_tokens: Option<&'a RawValue>,
}

pub(super) fn of_chat(usage: &str) -> Option<Usage> {
    let count = |raw: Option<&RawValue>| within(raw?.get().parse().ok()?);
    let details = |raw: Option<&RawValue>| {
        let read = raw.and_then(|raw| serde_json::from_str::<ChatDetails<'_>>(raw.get()).ok());
        let read = read.unwrap_or_default();
        [
            read.cached_tokens,
            read.cache_write_tokens,
            read.reasoning_tokens,
        ]
        .map(count)
    };
    let usage: ChatUsage<'_> = serde_json::from_str(usage).ok()?;
    let [cached, written, _] = details(usage.prompt_tokens_details);
    let [_, _, reasoning] = details(usage.completion_tokens_details);
    let cached = cached.or_else(|| count(usage.prompt_cache_hit_tokens));
    Some(Usage {
        input: count(usage.prompt_tokens)?,
        cache_read: cached.unwrap_or_default(),
        cache_write: written.unwrap_or_default(),
        output: count(usage.completion_tokens)?,
        reasoning: reasoning.unwrap_or_default(),
    })
}

pub(super) fn chat(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input.0,
        "completion_tokens": usage.output.0,
        "total_tokens": usage.input.0.saturating_add(usage.output.0),
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read.0,
            "cache_write_tokens": usage.cache_write.0,
        },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning.0 },
    })
}

pub(super) fn of_responses(usage: &Value) -> Option<Usage> {
    let cached = |field| inner(usage, "input_tokens_details", field).unwrap_or_default();
    let reasoning = inner(usage, "output_tokens_details", "reasoning_tokens");
    Some(Usage {
        input: count(usage.get("input_tokens"))?,
        cache_read: cached("cached_tokens"),
        cache_write: cached("cache_write_tokens"),
        output: count(usage.get("output_tokens"))?,
        reasoning: reasoning.unwrap_or_default(),
    })
}

/// Vectors have no tokens.
pub(super) fn of_embeddings(usage: &Value) -> Option<Usage> {
    Some(Usage {
        input: count(usage.get("prompt_tokens"))?,
        ..Usage::default()
    })
}

pub(super) fn responses(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input.0,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read.0,
            "cache_write_tokens": usage.cache_write.0,
        },
        "output_tokens": usage.output.0,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning.0 },
        "total_tokens": usage.input.0.saturating_add(usage.output.0),
    })
}

/// A stream reports its input first and its output last: what is missing later was said
/// before.
pub(super) fn of_anthropic(usage: &Value, before: Option<&Usage>) -> Option<Usage> {
    let own = count(usage.get("input_tokens"));
    let cached = |field, known: fn(&Usage) -> Tokens| {
        let said = count(usage.get(field));
        said.or_else(|| before.map(known)).unwrap_or_default()
    };
    let read = cached("cache_read_input_tokens", |before| before.cache_read);
    let written = cached("cache_creation_input_tokens", |before| before.cache_write);
    let reasoning = inner(usage, "output_tokens_details", "thinking_tokens");
    let output = count(usage.get("output_tokens"));
    let Some(own) = own else {
        let before = before?;
        return Some(Usage {
            output: output?,
            reasoning: reasoning.unwrap_or(before.reasoning),
            ..*before
        });
    };
    Some(Usage {
        input: own.saturating_add(read).saturating_add(written),
        cache_read: read,
        cache_write: written,
        output: output.unwrap_or_default(),
        reasoning: reasoning.unwrap_or_default(),
    })
}

pub(super) fn anthropic(usage: &Usage) -> Value {
    let cached = usage.cache_read.saturating_add(usage.cache_write);
    json!({
        "input_tokens": usage.input.saturating_sub(cached).0,
        "cache_creation_input_tokens": usage.cache_write.0,
        "cache_read_input_tokens": usage.cache_read.0,
        "output_tokens": usage.output.0,
        "output_tokens_details": { "thinking_tokens": usage.reasoning.0 },
        "service_tier": "standard",
    })
}

/// As Anthropic counts, under names of its own.
pub(super) fn of_converse(usage: &Value) -> Option<Usage> {
    let cached = |field| count(usage.get(field)).unwrap_or_default();
    let read = cached("cacheReadInputTokens");
    let written = cached("cacheWriteInputTokens");
    let own = count(usage.get("inputTokens"))?;
    Some(Usage {
        input: own.saturating_add(read).saturating_add(written),
        cache_read: read,
        cache_write: written,
        output: count(usage.get("outputTokens"))?,
        reasoning: Tokens(0),
    })
}

pub(super) fn of_gemini(usage: &Value) -> Option<Usage> {
    let some = |field| count(usage.get(field)).unwrap_or_default();
    let reasoning = some("thoughtsTokenCount");
    Some(Usage {
        input: count(usage.get("promptTokenCount"))?
            .saturating_add(some("toolUsePromptTokenCount")),
        cache_read: some("cachedContentTokenCount"),
        cache_write: Tokens(0),
        output: some("candidatesTokenCount").saturating_add(reasoning),
        reasoning,
    })
}

pub(super) fn gemini(usage: &Usage) -> Value {
    json!({
        "promptTokenCount": usage.input.0,
        "cachedContentTokenCount": usage.cache_read.0,
        "candidatesTokenCount": usage.output.saturating_sub(usage.reasoning).0,
        "thoughtsTokenCount": usage.reasoning.0,
        "totalTokenCount": usage.input.0.saturating_add(usage.output.0),
    })
}

pub(super) fn of_interactions(usage: &Value) -> Option<Usage> {
    let some = |field| count(usage.get(field)).unwrap_or_default();
    let reasoning = some("total_thought_tokens");
    Some(Usage {
        input: count(usage.get("total_input_tokens"))?
            .saturating_add(some("total_tool_use_tokens")),
        cache_read: some("total_cached_tokens"),
        cache_write: Tokens(0),
        output: some("total_output_tokens").saturating_add(reasoning),
        reasoning,
    })
}

pub(super) fn interactions(usage: &Usage) -> Value {
    json!({
        "total_input_tokens": usage.input.0,
        "total_cached_tokens": usage.cache_read.0,
        "total_output_tokens": usage.output.saturating_sub(usage.reasoning).0,
        "total_thought_tokens": usage.reasoning.0,
        "total_tool_use_tokens": 0,
        "total_tokens": usage.input.0.saturating_add(usage.output.0),
    })
}

pub(super) fn tier(value: &Value, field: &str) -> Option<Tier> {
    tier_of(text(value, field)?)
}

/// A tier as providers name it in their answers.
pub(super) fn tier_of(name: &str) -> Option<Tier> {
    match name.to_ascii_lowercase().as_str() {
        "default" | "standard" | "on_demand" => Some(Tier::Standard),
        "flex" | "on_demand_flex" => Some(Tier::Flex),
        "priority" | "fast" | "on_demand_priority" => Some(Tier::Priority),
        "batch" => Some(Tier::Batch),
        _ => None,
    }
}

/// Usage under a field, if it is there.
pub(super) fn found<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    at(value, field).filter(|usage| usage.is_object())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u32, read: u32, written: u32, output: u32, reasoning: u32) -> Usage {
        Usage {
            input: Tokens(input),
            cache_read: Tokens(read),
            cache_write: Tokens(written),
            output: Tokens(output),
            reasoning: Tokens(reasoning),
        }
    }

    /// The same call in every documented form.
    #[test]
    fn the_documented_forms_mean_the_same() {
        let expected = usage(1_200, 1_024, 0, 300, 128);
        let chat = json!({"prompt_tokens":1200,"completion_tokens":300,
            "prompt_tokens_details":{"cached_tokens":1024},
            "completion_tokens_details":{"reasoning_tokens":128}});
        assert_eq!(of_chat(&chat.to_string()), Some(expected));
        let responses = json!({"input_tokens":1200,"input_tokens_details":{"cached_tokens":1024},
            "output_tokens":300,"output_tokens_details":{"reasoning_tokens":128}});
        assert_eq!(of_responses(&responses), Some(expected));
        let anthropic = json!({"input_tokens":176,"cache_read_input_tokens":1024,
            "output_tokens":300,"output_tokens_details":{"thinking_tokens":128}});
        assert_eq!(of_anthropic(&anthropic, None), Some(expected));
        let gemini = json!({"promptTokenCount":1200,"cachedContentTokenCount":1024,
            "candidatesTokenCount":172,"thoughtsTokenCount":128});
        assert_eq!(of_gemini(&gemini), Some(expected));
        let interactions = json!({"total_input_tokens":1200,"total_cached_tokens":1024,
            "total_output_tokens":172,"total_thought_tokens":128,"total_tokens":1500});
        assert_eq!(of_interactions(&interactions), Some(expected));
        // Converse does not say what of its output was reasoning.
        let converse = json!({"inputTokens":176,"cacheReadInputTokens":1024,"outputTokens":300});
        let unsaid = Usage {
            reasoning: Tokens(0),
            ..expected
        };
        assert_eq!(of_converse(&converse), Some(unsaid));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let given = usage(1_200, 1_000, 24, 300, 128);
        assert_eq!(of_chat(&chat(&given).to_string()), Some(given));
        assert_eq!(of_responses(&responses(&given)), Some(given));
        assert_eq!(of_anthropic(&anthropic(&given), None), Some(given));
        let without = usage(1_200, 1_000, 0, 300, 128);
        assert_eq!(of_gemini(&gemini(&without)), Some(without));
        assert_eq!(of_interactions(&interactions(&without)), Some(without));
    }

    #[test]
    fn a_stream_reports_in_two_parts() {
        let start = of_anthropic(&json!({"input_tokens":10,"output_tokens":1}), None);
        let last = of_anthropic(&json!({"output_tokens":7}), start.as_ref());
        assert_eq!(last, Some(usage(10, 0, 0, 7, 0)));
        assert_eq!(of_anthropic(&json!({"output_tokens":7}), None), None);
    }

    #[test]
    fn absurd_counts_are_none() {
        for bad in [json!(-1), json!(1e18), json!("7"), Value::Null] {
            let odd = json!({"prompt_tokens": bad, "completion_tokens": 1});
            assert_eq!(of_chat(&odd.to_string()), None, "{odd}");
        }
    }
}
