//! Models, who serves them, on which terms, at what price.
//!
//! Owns: the catalogue's types and the only arithmetic that turns tokens into money:
//! [`Price::estimate`] before the call and [`Price::settle`] after it, side by side so
//! that they cannot drift apart. The content is authored by operators and travels in
//! the table. Knows no hosts and no secrets: a provider is an id, a credential a name.

use crate::dialect::{Calls, Dialect, Fidelity, Reach};
use crate::id::{CredentialName, LaneId, ModelId, ProviderId, UpstreamId};
use crate::tokens::Family;
use crate::unit::{Bps, Millis, NanoUsd, NanoUsdPerMtok, Tokens, UnixMillis};

/// Service tier at an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    #[default]
    Standard,
    Flex,
    Priority,
    Background,
    Batch,
}

impl Tier {
    pub const ALL: [Self; 5] = [
        Self::Standard,
        Self::Flex,
        Self::Priority,
        Self::Background,
        Self::Batch,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Background => "background",
            Self::Batch => "batch",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }

    /// Whether a request may wait there for room, for less money.
    #[must_use]
    pub fn is_deferred(self) -> bool {
        match self {
            Self::Flex | Self::Background | Self::Batch => true,
            Self::Standard | Self::Priority => false,
        }
    }
}

/// What a model can do beyond text in, text out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub tools: bool,
    pub json_object: bool,
    pub json_schema: bool,
    pub vision: bool,
}

impl Capabilities {
    /// Everything; the assumption for models nobody described.
    pub const ALL: Self = Self {
        tools: true,
        json_object: true,
        json_schema: true,
        vision: true,
    };
}

/// What answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub id: ModelId,
    pub family: Family,
    /// Longest input.
    pub context: Tokens,
    pub max_output: Tokens,
    pub capabilities: Capabilities,
    /// Expected quality before any label of one's own.
    pub prior: Option<Bps>,
    /// Expected length of an answer before anything was learnt.
    pub typical_output: Tokens,
}

/// Who serves a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub id: UpstreamId,
    pub model: ModelId,
    pub provider: ProviderId,
    /// The model's name as this provider spells it.
    pub wire_model: String,
    /// Wire formats it speaks, at least one; the caller's own is taken where it is among
    /// them.
    pub dialects: Vec<Dialect>,
    pub credential: CredentialName,
}

impl Upstream {
    /// The dialect that it is spoken to in, and how true a request stays.
    #[must_use]
    pub fn spoken(&self, own: Dialect, reach: Reach) -> Option<(Dialect, Fidelity)> {
        let responses = self.dialects.contains(&Dialect::OpenAiResponses);
        let instead = responses && self.calls_in_responses(reach.calls());
        let spoken = self.dialects.iter().copied();
        let spoken = spoken.filter(|dialect| !instead || *dialect != Dialect::OpenAiChat);
        reach.best(own, spoken)
    }

    /// Whether it refuses functions in Chat Completions: OpenAI's models do from GPT-5.4 on
    /// where an effort is named, from 5.6 on unless they are told not to think, and Astra
    /// always does.
    fn calls_in_responses(&self, calls: Calls) -> bool {
        let Some(gpt) = self.gpt().filter(|_| calls != Calls::Never) else {
            return false;
        };
        match calls {
            Calls::Reasoned => gpt.version >= (5, 4),
            Calls::AsUsual => gpt.version >= (5, 6),
            Calls::Never | Calls::AtOnce => gpt.is("astra"),
        }
    }

    /// OpenAI's GPT, where it serves one.
    #[must_use]
    pub fn gpt(&self) -> Option<Gpt<'_>> {
        let names = [self.wire_model.as_str(), self.model.as_str()];
        names.into_iter().find_map(|name| {
            let (_, version) = name.split_once("gpt-")?;
            let end = version.find(|c: char| !c.is_ascii_digit() && c != '.');
            let (version, kinds) = version.split_at(end.unwrap_or(version.len()));
            let mut numbers = version.split('.');
            let major = numbers.next()?.parse().ok()?;
            let minor = numbers.next().and_then(|minor| minor.parse().ok());
            let version = (major, minor.unwrap_or(0));
            Some(Gpt { version, kinds })
        })
    }
}

/// What the name of one of OpenAI's GPTs says: `gpt-5.6-sol` is (5, 6), and `sol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpt<'a> {
    pub version: (u32, u32),
    kinds: &'a str,
}

impl Gpt<'_> {
    #[must_use]
    pub fn is(self, kind: &str) -> bool {
        self.kinds.split('-').any(|part| part == kind)
    }
}

/// Upstream and tier: the unit of choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub id: LaneId,
    pub upstream: UpstreamId,
    pub tier: Tier,
    /// Unknown price: not eligible for cost routing, and never zero.
    pub price: Option<Price>,
    pub pace: Pace,
    pub room: Room,
}

/// How many requests one proxy sends a lane at once, and how many wait for a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Under way at most; `None` for the proxy's own limit.
    pub in_flight: Option<u32>,
    /// Waiting at most; 0 for no queue.
    pub queue: u32,
    /// How long one waits at most.
    pub wait: Millis,
}

/// How fast a lane is expected to be before anything was seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub first_token: Millis,
    /// Microseconds from one token to the next.
    pub per_token_us: u32,
}

impl Default for Pace {
    /// The middle of the measured field of hosted models.
    fn default() -> Self {
        Self {
            first_token: Millis(600),
            per_token_us: 15_000,
        }
    }
}

/// Rates for one range of input lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub input: NanoUsdPerMtok,
    pub output: NanoUsdPerMtok,
    /// Falls back to `input`: a discount nobody confirmed is not assumed.
    pub cache_read: Option<NanoUsdPerMtok>,
    /// Falls back to `input`.
    pub cache_write: Option<NanoUsdPerMtok>,
}

/// Above this many input tokens the *whole* request moves to these rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongContext {
    pub above: Tokens,
    pub rates: Rates,
}

/// A part of the week with other prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRule {
    /// Bit 0 is Monday.
    pub weekdays: u8,
    /// Minutes since midnight UTC, inclusive.
    pub from_minute: u16,
    /// Minutes since midnight UTC, exclusive.
    pub to_minute: u16,
    /// All rates times this over 1000.
    pub permille: u32,
}

/// A lane's price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Price {
    pub rates: Rates,
    /// Ascending by `above`.
    pub long_context: Vec<LongContext>,
    /// The first rule that holds counts.
    pub clock: Vec<ClockRule>,
    /// Added to every call.
    pub per_call: NanoUsd,
}

/// What a provider says it used, in one normal form: `input` includes cached tokens
/// and `output` includes reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: Tokens,
    pub cache_read: Tokens,
    pub cache_write: Tokens,
    pub output: Tokens,
    pub reasoning: Tokens,
}

impl Price {
    /// Expected money for a request not yet sent.
    #[must_use]
    pub fn estimate(
        &self,
        input: Tokens,
        cached: Tokens,
        output: Tokens,
        now: UnixMillis,
    ) -> NanoUsd {
        let usage = Usage {
            input,
            cache_read: cached,
            output,
            ..Usage::default()
        };
        self.settle(&usage, now)
    }

    /// Money for what was used. Cached tokens beyond the input are ignored.
    #[must_use]
    pub fn settle(&self, usage: &Usage, now: UnixMillis) -> NanoUsd {
        let rates = self.rates_at(usage.input);
        let permille = self
            .clock
            .iter()
            .find(|rule| rule.holds(now))
            .map_or(1_000, |r| r.permille);
        let read = Tokens(usage.cache_read.0.min(usage.input.0));
        let written = Tokens(usage.cache_write.0.min(usage.input.0 - read.0));
        let fresh = usage.input.saturating_sub(read).saturating_sub(written);
        let parts = [
            rates.input.scaled(permille).cost(fresh),
            rates
                .cache_read
                .unwrap_or(rates.input)
                .scaled(permille)
                .cost(read),
            rates
                .cache_write
                .unwrap_or(rates.input)
                .scaled(permille)
                .cost(written),
            rates.output.scaled(permille).cost(usage.output),
            self.per_call,
        ];
        parts.into_iter().sum()
    }

    fn rates_at(&self, input: Tokens) -> &Rates {
        let step = self
            .long_context
            .iter()
            .rev()
            .find(|step| input > step.above);
        step.map_or(&self.rates, |step| &step.rates)
    }
}

impl ClockRule {
    /// Whether the rule counts at `now`; a range that ends before it starts wraps
    /// around midnight and belongs to the day it starts on.
    #[must_use]
    pub fn holds(&self, now: UnixMillis) -> bool {
        let minute = now.minute_of_day();
        let on = |weekday: u8| self.weekdays & (1 << weekday) != 0;
        if self.from_minute <= self.to_minute {
            return on(now.weekday()) && (self.from_minute..self.to_minute).contains(&minute);
        }
        let yesterday = (now.weekday() + 6) % 7;
        (on(now.weekday()) && minute >= self.from_minute)
            || (on(yesterday) && minute < self.to_minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usd(input: f64, output: f64) -> Rates {
        Rates {
            input: NanoUsdPerMtok::from_usd(input),
            output: NanoUsdPerMtok::from_usd(output),
            ..Rates::default()
        }
    }

    fn upstream(wire_model: &str) -> Upstream {
        Upstream {
            id: "openai:m".into(),
            model: "m".into(),
            provider: "openai".into(),
            wire_model: wire_model.to_owned(),
            dialects: vec![Dialect::OpenAiChat, Dialect::OpenAiResponses],
            credential: "c".into(),
        }
    }

    #[test]
    fn models_that_refuse_to_reason_over_functions_in_chat_are_asked_in_responses() {
        let exact = Some(Fidelity::Exact);
        let reach = Reach::default()
            .with(Dialect::OpenAiChat, exact)
            .with(Dialect::OpenAiResponses, Some(Fidelity::Hints));
        let spoken = |upstream: &Upstream, reach: Reach, own| upstream.spoken(own, reach);
        let (chat, responses) = (Dialect::OpenAiChat, Dialect::OpenAiResponses);
        use Calls::{AsUsual, AtOnce, Reasoned};
        for (name, calls, wanted) in [
            ("gpt-4o", Reasoned, chat),
            ("gpt-5", Reasoned, chat),
            ("gpt-5.4-mini", AsUsual, chat),
            ("gpt-5.4-mini", Reasoned, responses),
            ("gpt-5.6-sol", AtOnce, chat),
            ("gpt-5.6-sol", AsUsual, responses),
            ("openai/gpt-6-luna", AsUsual, responses),
            ("gpt-6-astra", AtOnce, responses),
            ("gpt-oss-120b", Reasoned, chat),
        ] {
            for own in [chat, Dialect::AnthropicMessages] {
                let of = |reach| spoken(&upstream(name), reach, own).map(|(to, _)| to);
                assert_eq!(of(reach), Some(chat), "{name}");
                assert_eq!(of(reach.calling(calls)), Some(wanted), "{name} {calls:?}");
            }
        }
        let only = Upstream {
            dialects: vec![chat],
            ..upstream("gpt-6-luna")
        };
        assert_eq!(
            spoken(&only, reach.calling(AsUsual), chat),
            Some((chat, Fidelity::Exact))
        );
    }

    const NOON_SATURDAY: UnixMillis = UnixMillis(1_795_262_400_000);

    #[test]
    fn a_long_request_moves_to_the_long_rates_as_a_whole() {
        let price = Price {
            rates: usd(1.0, 2.0),
            long_context: vec![LongContext {
                above: Tokens(200),
                rates: usd(2.0, 3.0),
            }],
            ..Price::default()
        };
        let cost = |input| price.estimate(Tokens(input), Tokens(0), Tokens(0), NOON_SATURDAY);
        assert_eq!(cost(200), NanoUsd(200_000));
        assert_eq!(cost(201), NanoUsd(402_000));
    }

    #[test]
    fn an_unconfirmed_cache_discount_is_not_assumed() {
        let price = Price {
            rates: usd(1.0, 0.0),
            ..Price::default()
        };
        let cost = price.estimate(Tokens(1_000), Tokens(900), Tokens(0), NOON_SATURDAY);
        assert_eq!(cost, NanoUsd(1_000_000));
    }

    #[test]
    fn a_night_rule_wraps_around_midnight() {
        let friday_night = ClockRule {
            weekdays: 1 << 4,
            from_minute: 22 * 60,
            to_minute: 6 * 60,
            permille: 500,
        };
        let hour = |h: u64| UnixMillis(NOON_SATURDAY.0 - 12 * 3_600_000 + h * 3_600_000);
        assert!(
            friday_night.holds(hour(5)),
            "Saturday five o'clock is still Friday's night"
        );
        assert!(!friday_night.holds(hour(6)));
        assert!(!friday_night.holds(hour(23)));
    }

    proptest! {
        #[test]
        fn more_output_never_costs_less(i: u32, c: u32, a: u32, b: u32, rate in 0u64..1_000_000_000_000) {
            let price = Price { rates: Rates { input: NanoUsdPerMtok(rate), output: NanoUsdPerMtok(rate), ..Rates::default() }, ..Price::default() };
            let cost = |out: u32| price.estimate(Tokens(i), Tokens(c), Tokens(out), NOON_SATURDAY);
            prop_assert!(cost(a.min(b)) <= cost(a.max(b)));
        }
    }
}
