//! From what people type to what tables hold: prices, paces, durations, classes.
//!
//! Owns: those conversions, each of one value. Faults and defaults are `draft`'s.

use spillway_routing::catalogue::{Capabilities, Pace, Price, Rates};
use spillway_routing::prompt::Class;
use spillway_routing::unit::{Millis, NanoUsd, NanoUsdPerMtok};

use super::document::{Capability, ClassEntry, ModelEntry, PriceEntry, UpstreamEntry};
use crate::catalogue::Listed;

pub(super) fn capabilities(entry: &ModelEntry, listed: Option<&Listed>) -> Capabilities {
    let Some(typed) = &entry.capabilities else {
        return listed.map_or(Capabilities::ALL, |listed| listed.capabilities);
    };
    let can = |capability| typed.contains(&capability);
    Capabilities {
        tools: can(Capability::Tools),
        json_object: can(Capability::JsonObject) || can(Capability::JsonSchema),
        json_schema: can(Capability::JsonSchema),
        vision: can(Capability::Vision),
    }
}

pub(super) fn price(entry: &PriceEntry) -> Price {
    let rate = NanoUsdPerMtok::from_usd;
    Price {
        rates: Rates {
            input: rate(entry.input),
            output: rate(entry.output),
            cache_read: entry.cache_read.map(rate),
            cache_write: entry.cache_write.map(rate),
        },
        per_call: NanoUsd::from_usd(entry.per_call),
        clock: entry.hours.iter().map(|hours| hours.0).collect(),
        ..Price::default()
    }
}

pub(super) fn pace(entry: &UpstreamEntry) -> Pace {
    let default = Pace::default();
    let per_token = entry
        .tokens_per_second
        .filter(|rate| *rate > 0.0)
        .map(|rate| (1e6 / rate) as u32);
    Pace {
        first_token: entry.first_token_ms.map_or(default.first_token, Millis),
        per_token_us: per_token.unwrap_or(default.per_token_us),
    }
}

pub(super) fn class_of(entry: ClassEntry) -> Class {
    match entry {
        ClassEntry::Interactive => Class::Interactive,
        ClassEntry::Batch => Class::Batch,
        ClassEntry::Background => Class::Background,
    }
}

pub(super) fn parse_duration(text: &str) -> Option<Millis> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(unit).map(Millis)
}
