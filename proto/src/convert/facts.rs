//! Facts, conditions and decisions.

use spillway_routing::account::Account;
use spillway_routing::catalogue::Tier;
use spillway_routing::conditions::{Gate, LaneState};
use spillway_routing::decide::{Considered, Decision, Limit, Need, Removal, Step, Verdict, Why};
use spillway_routing::dialect::{Dialect, Reach};
use spillway_routing::encoder::{DIMENSIONS, EncoderId, Encoding};
use spillway_routing::features::{Facts, Features, Requirements};
use spillway_routing::head::Abstention;
use spillway_routing::id::{KeyId, LaneId, ProviderId, RouteId, SliceId};
use spillway_routing::overflow::Cause;
use spillway_routing::prompt::{Class, Form};
use spillway_routing::start::{Start, Starts};
use spillway_routing::tokens::{Ratios, TextClass};
use spillway_routing::unit::{Millis, NanoUsd, Ppm, Tokens};

use super::{Invalid, InvalidFlaw, bps, each, fits, named, required};
use crate::pb;

pub(super) fn class_to_pb(class: Class) -> pb::Class {
    match class {
        Class::Interactive => pb::Class::Interactive,
        Class::Batch => pb::Class::Batch,
        Class::Background => pb::Class::Background,
    }
}

pub(super) fn class_of(number: i32, path: &str) -> Result<Class, Invalid> {
    match pb::Class::try_from(number) {
        Ok(pb::Class::Interactive) => Ok(Class::Interactive),
        Ok(pb::Class::Batch) => Ok(Class::Batch),
        Ok(pb::Class::Background) => Ok(Class::Background),
        Ok(pb::Class::Unspecified) => Err(Invalid::new(path, InvalidFlaw::Missing)),
        Err(_) => Err(Invalid::new(path, InvalidFlaw::Unknown(number.to_string()))),
    }
}

fn form_of(number: i32) -> Result<Form, Invalid> {
    match pb::Form::try_from(number) {
        Ok(pb::Form::Text) => Ok(Form::Text),
        Ok(pb::Form::JsonObject) => Ok(Form::JsonObject),
        Ok(pb::Form::JsonSchema) => Ok(Form::JsonSchema),
        Ok(pb::Form::Unspecified) => Err(Invalid::new("form", InvalidFlaw::Missing)),
        Err(_) => Err(Invalid::new(
            "form",
            InvalidFlaw::Unknown(number.to_string()),
        )),
    }
}

impl From<&Facts> for pb::Facts {
    fn from(facts: &Facts) -> Self {
        let form = match facts.requirements.form {
            Form::Text => pb::Form::Text,
            Form::JsonObject => pb::Form::JsonObject,
            Form::JsonSchema => pb::Form::JsonSchema,
        };
        let tag = |(name, value): &(String, String)| pb::Tag {
            name: name.clone(),
            value: value.clone(),
        };
        Self {
            route: facts.route.as_ref().map(String::from),
            key: facts.key.as_ref().map(String::from),
            slice: facts.slice.as_ref().map(String::from),
            tags: facts.tags.iter().map(tag).collect(),
            class: class_to_pb(facts.class).into(),
            stream: facts.stream,
            start_within_ms: match facts.start {
                Start::Within(wait) => Some(wait.0),
                _ => None,
            },
            min_quality_bps: facts.min_quality.map(|q| q.get().into()),
            needs_tools: facts.requirements.tools,
            form: form.into(),
            needs_vision: facts.requirements.vision,
            max_output_tokens: facts.requirements.max_output.map(|t| t.0),
            turns: facts.turns.into(),
            images: facts.images.into(),
            tool_count: facts.tool_count.into(),
            o200k_tokens: facts.o200k.0,
            text_class: facts.text_class.name().to_owned(),
            token_permille: facts.ratios.permille().map(u32::from).to_vec(),
            features: facts.features.to_vec(),
            encoder: facts.encoder.name().to_owned(),
            encoding: facts
                .encoding
                .0
                .iter()
                .map(|part| part.cast_unsigned())
                .collect(),
            dialect: facts.dialect.name().to_owned(),
            reach: facts.requirements.reach.bits(),
            start: facts.start.name().to_owned(),
            own_keys: facts.own_keys.iter().map(String::from).collect(),
            kept_by: facts.kept_by.map(|account| account.0),
        }
    }
}

impl TryFrom<pb::Facts> for Facts {
    type Error = Invalid;

    fn try_from(facts: pb::Facts) -> Result<Self, Invalid> {
        let bytes: [u8; DIMENSIONS] = facts.encoding.as_slice().try_into().map_err(|_| {
            let found = facts.encoding.len();
            Invalid::new(
                "encoding",
                InvalidFlaw::Length {
                    expected: DIMENSIONS,
                    found,
                },
            )
        })?;
        let text_class = named(TextClass::parse, &facts.text_class, "text_class")?;
        let permille = facts.token_permille.iter();
        let permille = permille.map(|ratio| fits(*ratio, "token_permille"));
        let permille: Vec<u16> = permille.collect::<Result<_, _>>()?;
        Ok(Self {
            route: facts.route.as_deref().map(RouteId::new),
            key: facts.key.as_deref().map(KeyId::new),
            slice: facts.slice.as_deref().map(SliceId::new),
            tags: facts
                .tags
                .into_iter()
                .map(|tag| (tag.name, tag.value))
                .collect(),
            own_keys: facts
                .own_keys
                .iter()
                .map(|id| ProviderId::new(id))
                .collect(),
            kept_by: facts.kept_by.map(Account),
            class: class_of(facts.class, "class")?,
            stream: facts.stream,
            start: Start::parse(&facts.start, facts.start_within_ms.map(Millis))
                .ok_or_else(|| Invalid::new("start", InvalidFlaw::Unknown(facts.start.clone())))?,
            min_quality: facts
                .min_quality_bps
                .map(|q| bps(q, "min_quality_bps"))
                .transpose()?,
            requirements: Requirements {
                tools: facts.needs_tools,
                form: form_of(facts.form)?,
                vision: facts.needs_vision,
                max_output: facts.max_output_tokens.map(Tokens),
                reach: Reach::from_bits(facts.reach),
            },
            dialect: match facts.dialect.as_str() {
                "" => Dialect::OpenAiChat,
                name => named(Dialect::parse, name, "dialect")?,
            },
            turns: fits(facts.turns, "turns")?,
            images: fits(facts.images, "images")?,
            tool_count: fits(facts.tool_count, "tool_count")?,
            o200k: Tokens(facts.o200k_tokens),
            text_class,
            ratios: Ratios::recorded(&permille, text_class),
            features: Features::of(&facts.features),
            encoder: named(EncoderId::parse, &facts.encoder, "encoder")?,
            encoding: Encoding(bytes.map(u8::cast_signed)),
        })
    }
}

pub(super) fn state_to_pb((lane, state): &(LaneId, LaneState)) -> pb::LaneState {
    pb::LaneState {
        lane: String::from(lane),
        gate: state.gate.name().to_owned(),
        in_flight: state.in_flight,
        first_token_ms: state.first_token.map(|ms| ms.0),
        per_token_us: state.per_token_us,
        starts: state.starts.map(Starts::bits),
        waiting: state.waiting,
        spent_nano_usd: state.spent.0,
        overflowed_nano_usd: state.overflowed.0,
        cached_tokens: state.cached.0,
    }
}

pub(super) fn state_of(state: pb::LaneState) -> Result<(LaneId, LaneState), Invalid> {
    let lane = LaneId::new(&state.lane);
    let state = LaneState {
        gate: named(Gate::parse, &state.gate, "gate")?,
        in_flight: state.in_flight,
        first_token: state.first_token_ms.map(Millis),
        per_token_us: state.per_token_us,
        starts: state.starts.map(Starts::from_bits),
        waiting: state.waiting,
        spent: NanoUsd(state.spent_nano_usd),
        overflowed: NanoUsd(state.overflowed_nano_usd),
        cached: Tokens(state.cached_tokens),
    };
    Ok((lane, state))
}

impl From<&Why> for pb::Why {
    fn from(why: &Why) -> Self {
        use pb::why::Kind;
        let kind = match why {
            Why::BestValue => Kind::BestValue(true),
            Why::CheapestAboveFloor => Kind::CheapestAboveFloor(true),
            Why::Guarded => Kind::Guarded(true),
            Why::Default(reason) => Kind::DefaultLane(reason.name().to_owned()),
            Why::Pinned(rule) => Kind::PinnedByRule(rule.into()),
            Why::Cached => Kind::Cached(true),
            Why::Explored => Kind::Explored(true),
            Why::OnlyOne => Kind::OnlyOne(true),
            Why::MayWait => Kind::MayWait(true),
            Why::Overflowed(cause) => Kind::Overflowed(cause.name().to_owned()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Why> for Why {
    type Error = Invalid;

    fn try_from(why: pb::Why) -> Result<Self, Invalid> {
        use pb::why::Kind;
        Ok(match required(why.kind, "kind")? {
            Kind::BestValue(_) => Self::BestValue,
            Kind::CheapestAboveFloor(_) => Self::CheapestAboveFloor,
            Kind::Guarded(_) => Self::Guarded,
            Kind::DefaultLane(name) => {
                Self::Default(named(Abstention::parse, &name, "default_lane")?)
            }
            Kind::PinnedByRule(rule) => Self::Pinned(rule.as_str().into()),
            Kind::Cached(_) => Self::Cached,
            Kind::Explored(_) => Self::Explored,
            Kind::OnlyOne(_) => Self::OnlyOne,
            Kind::MayWait(_) => Self::MayWait,
            Kind::Overflowed(name) => Self::Overflowed(named(Cause::parse, &name, "overflowed")?),
        })
    }
}

impl From<&Removal> for pb::Removal {
    fn from(removal: &Removal) -> Self {
        use pb::removal::{Below, Dear, Kind, Size, Slow};
        let size = |needs: &Tokens, has: &Tokens| Size {
            needs_tokens: needs.0,
            has_tokens: has.0,
        };
        let kind = match removal {
            Removal::Rule(rule) => Kind::Rule(rule.into()),
            Removal::Lacks(need) => Kind::Lacks(need.name().to_owned()),
            Removal::ContextTooSmall { needs, has } => Kind::ContextTooSmall(size(needs, has)),
            Removal::OutputTooShort { needs, has } => Kind::OutputTooShort(size(needs, has)),
            Removal::OtherTier(tier) => Kind::OtherTier(tier.name().to_owned()),
            Removal::HardlyInTime(chance) => Kind::HardlyInTimeBps(chance.get().into()),
            Removal::NotWorthWaiting => Kind::NotWorthWaiting(true),
            Removal::NoPrice => Kind::NoPrice(true),
            Removal::NoQuality => Kind::NoQuality(true),
            Removal::Shut => Kind::Shut(true),
            Removal::Full => Kind::Full(true),
            Removal::TooDear { cost, max } => Kind::TooDear(Dear {
                cost_nano_usd: cost.0,
                max_nano_usd: max.0,
            }),
            Removal::TooSlow { first_token, max } => Kind::TooSlow(Slow {
                first_token_ms: first_token.0,
                max_ms: max.0,
            }),
            Removal::BelowMinimum { quality, min } => Kind::BelowMinimum(Below {
                quality_bps: quality.get().into(),
                min_bps: min.get().into(),
            }),
            Removal::PlanFull => Kind::PlanFull(true),
            Removal::KeptForOverflow => Kind::KeptForOverflow(true),
            Removal::OverflowSpent { spent, max } => Kind::OverflowSpent(Dear {
                cost_nano_usd: spent.0,
                max_nano_usd: max.0,
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Removal> for Removal {
    type Error = Invalid;

    fn try_from(removal: pb::Removal) -> Result<Self, Invalid> {
        use pb::removal::Kind;
        let need = |name: &str| Need::ALL.into_iter().find(|need| need.name() == name);
        Ok(match required(removal.kind, "kind")? {
            Kind::Rule(rule) => Self::Rule(rule.as_str().into()),
            Kind::Lacks(name) => Self::Lacks(named(need, &name, "lacks")?),
            Kind::ContextTooSmall(size) => Self::ContextTooSmall {
                needs: Tokens(size.needs_tokens),
                has: Tokens(size.has_tokens),
            },
            Kind::OutputTooShort(size) => Self::OutputTooShort {
                needs: Tokens(size.needs_tokens),
                has: Tokens(size.has_tokens),
            },
            Kind::OtherTier(tier) => Self::OtherTier(named(Tier::parse, &tier, "other_tier")?),
            Kind::HardlyInTimeBps(chance) => Self::HardlyInTime(bps(chance, "hardly_in_time_bps")?),
            Kind::NotWorthWaiting(_) => Self::NotWorthWaiting,
            Kind::NoPrice(_) => Self::NoPrice,
            Kind::NoQuality(_) => Self::NoQuality,
            Kind::Shut(_) => Self::Shut,
            Kind::Full(_) => Self::Full,
            Kind::TooDear(dear) => Self::TooDear {
                cost: NanoUsd(dear.cost_nano_usd),
                max: NanoUsd(dear.max_nano_usd),
            },
            Kind::TooSlow(slow) => Self::TooSlow {
                first_token: Millis(slow.first_token_ms),
                max: Millis(slow.max_ms),
            },
            Kind::BelowMinimum(below) => Self::BelowMinimum {
                quality: bps(below.quality_bps, "quality_bps")?,
                min: bps(below.min_bps, "min_bps")?,
            },
            Kind::PlanFull(_) => Self::PlanFull,
            Kind::KeptForOverflow(_) => Self::KeptForOverflow,
            Kind::OverflowSpent(dear) => Self::OverflowSpent {
                spent: NanoUsd(dear.cost_nano_usd),
                max: NanoUsd(dear.max_nano_usd),
            },
        })
    }
}

impl From<&Considered> for pb::Considered {
    fn from(considered: &Considered) -> Self {
        use pb::considered::Verdict as Kind;
        let verdict = match &considered.verdict {
            Verdict::Chosen(why) => Kind::Chosen(why.into()),
            Verdict::Fallback(rank) => Kind::Fallback((*rank).into()),
            Verdict::Removed(removal) => Kind::Removed(removal.into()),
        };
        Self {
            lane: String::from(&considered.lane),
            model: String::from(&considered.model),
            quality_bps: considered.quality.map(|q| q.get().into()),
            quality_low_bps: considered.quality_low.map(|q| q.get().into()),
            cost_nano_usd: considered.cost.map(|cost| cost.0),
            output_tokens: considered.output.0,
            first_token_ms: considered.first_token.0,
            total_ms: considered.total.0,
            utility: considered.utility,
            verdict: Some(verdict),
        }
    }
}

impl TryFrom<pb::Considered> for Considered {
    type Error = Invalid;

    fn try_from(line: pb::Considered) -> Result<Self, Invalid> {
        use pb::considered::Verdict as Kind;
        let verdict = match required(line.verdict, "verdict")? {
            Kind::Chosen(why) => {
                Verdict::Chosen(why.try_into().map_err(|e: Invalid| e.within("chosen"))?)
            }
            Kind::Fallback(rank) => Verdict::Fallback(fits(rank, "fallback")?),
            Kind::Removed(removal) => Verdict::Removed(
                removal
                    .try_into()
                    .map_err(|e: Invalid| e.within("removed"))?,
            ),
        };
        Ok(Self {
            lane: LaneId::new(&line.lane),
            model: line.model.as_str().into(),
            quality: line
                .quality_bps
                .map(|q| bps(q, "quality_bps"))
                .transpose()?,
            quality_low: line
                .quality_low_bps
                .map(|q| bps(q, "quality_low_bps"))
                .transpose()?,
            cost: line.cost_nano_usd.map(NanoUsd),
            output: Tokens(line.output_tokens),
            first_token: Millis(line.first_token_ms),
            total: Millis(line.total_ms),
            utility: line.utility,
            verdict,
        })
    }
}

impl From<&Decision> for pb::Decision {
    fn from(decision: &Decision) -> Self {
        let step = |step: &Step| pb::Step {
            lane: String::from(&step.lane),
            give_up_ms: step.give_up.0,
        };
        Self {
            route: String::from(&decision.route),
            plan: decision.plan.iter().map(step).collect(),
            trail: decision.trail.iter().map(Into::into).collect(),
            abstention: decision.abstention.map(|reason| reason.name().to_owned()),
            explored: decision.explored,
            propensity_ppm: decision.propensity.0,
            baseline_cost_nano_usd: decision.baseline_cost.0,
            relaxed: decision
                .relaxed
                .iter()
                .map(|limit| limit.name().to_owned())
                .collect(),
        }
    }
}

impl TryFrom<pb::Decision> for Decision {
    type Error = Invalid;

    fn try_from(decision: pb::Decision) -> Result<Self, Invalid> {
        let step = |step: pb::Step| Step {
            lane: LaneId::new(&step.lane),
            give_up: Millis(step.give_up_ms),
        };
        let abstention = decision.abstention.as_deref();
        Ok(Self {
            route: RouteId::new(&decision.route),
            plan: decision.plan.into_iter().map(step).collect(),
            trail: each(decision.trail, "trail", Considered::try_from)?,
            abstention: abstention
                .map(|name| named(Abstention::parse, name, "abstention"))
                .transpose()?,
            explored: decision.explored,
            propensity: Ppm(decision.propensity_ppm),
            baseline_cost: NanoUsd(decision.baseline_cost_nano_usd),
            relaxed: each(decision.relaxed, "relaxed", |name| {
                named(Limit::parse, &name, "limit")
            })?,
        })
    }
}
