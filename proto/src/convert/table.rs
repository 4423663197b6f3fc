//! Tables: catalogue, routes and rules.

use prost::Message as _;
use spillway_routing::audit::Audits;
use spillway_routing::catalogue::{
    Capabilities, ClockRule, Lane, LongContext, Model, Pace, Price, Rates, Room, Tier, Upstream,
};
use spillway_routing::dialect::{Dialect, Fidelity};
use spillway_routing::id::{LaneId, ModelId, TableVersion};
use spillway_routing::key::KeyTerms;
use spillway_routing::overflow::Overflow;
use spillway_routing::rule::{Action, Match, Rule};
use spillway_routing::table::{BarPoint, Certificate, Choice, Draft, Route};
use spillway_routing::tokens::Family;
use spillway_routing::unit::{Millis, NanoUsd, NanoUsdPerMtok, Tokens, UnixMillis};

use super::facts::{class_of, class_to_pb};
use super::probe::{plan_to_pb, probes_of};
use super::{Invalid, InvalidFlaw, bps, each, fits, named, required};
use crate::pb;

/// The form this build writes and the newest it reads.
pub const TABLE_FORMAT: u32 = 1;

/// A draft from bytes; whether it makes sense is `Table::build`'s business.
///
/// # Errors
///
/// [`Invalid`] names the field that could not be read.
pub fn decode_table(bytes: &[u8]) -> Result<Draft, Invalid> {
    let table =
        pb::Table::decode(bytes).map_err(|_| Invalid::new("table", InvalidFlaw::Garbled))?;
    table.try_into()
}

fn strings<T: ToString>(names: &[T]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn models(names: &[String]) -> Vec<ModelId> {
    names.iter().map(|name| ModelId::new(name)).collect()
}

impl From<&Model> for pb::Model {
    fn from(model: &Model) -> Self {
        Self {
            id: model.id.to_string(),
            family: model.family.name().to_owned(),
            context_tokens: model.context.0,
            max_output_tokens: model.max_output.0,
            tools: model.capabilities.tools,
            json_object: model.capabilities.json_object,
            json_schema: model.capabilities.json_schema,
            vision: model.capabilities.vision,
            prior_bps: model.prior.map(|q| q.get().into()),
            typical_output_tokens: model.typical_output.0,
        }
    }
}

impl TryFrom<pb::Model> for Model {
    type Error = Invalid;

    fn try_from(model: pb::Model) -> Result<Self, Invalid> {
        Ok(Self {
            id: ModelId::new(&model.id),
            family: named(Family::parse, &model.family, "family")?,
            context: Tokens(model.context_tokens),
            max_output: Tokens(model.max_output_tokens),
            capabilities: Capabilities {
                tools: model.tools,
                json_object: model.json_object,
                json_schema: model.json_schema,
                vision: model.vision,
            },
            prior: model.prior_bps.map(|q| bps(q, "prior_bps")).transpose()?,
            typical_output: Tokens(model.typical_output_tokens),
        })
    }
}

impl From<&Upstream> for pb::Upstream {
    fn from(upstream: &Upstream) -> Self {
        Self {
            id: upstream.id.to_string(),
            model: upstream.model.to_string(),
            provider: upstream.provider.to_string(),
            wire_model: upstream.wire_model.clone(),
            dialects: upstream
                .dialects
                .iter()
                .map(|dialect| dialect.name().to_owned())
                .collect(),
            credential: upstream.credential.to_string(),
        }
    }
}

impl TryFrom<pb::Upstream> for Upstream {
    type Error = Invalid;

    fn try_from(upstream: pb::Upstream) -> Result<Self, Invalid> {
        Ok(Self {
            id: upstream.id.as_str().into(),
            model: upstream.model.as_str().into(),
            provider: upstream.provider.as_str().into(),
            wire_model: upstream.wire_model,
            dialects: upstream
                .dialects
                .iter()
                .map(|name| named(Dialect::parse, name, "dialects"))
                .collect::<Result<_, _>>()?,
            credential: upstream.credential.as_str().into(),
        })
    }
}

impl From<&Rates> for pb::Rates {
    fn from(rates: &Rates) -> Self {
        Self {
            input_nano_usd_per_mtok: rates.input.0,
            output_nano_usd_per_mtok: rates.output.0,
            cache_read_nano_usd_per_mtok: rates.cache_read.map(|rate| rate.0),
            cache_write_nano_usd_per_mtok: rates.cache_write.map(|rate| rate.0),
        }
    }
}

fn rates_of(rates: Option<pb::Rates>) -> Result<Rates, Invalid> {
    let rates = required(rates, "rates")?;
    Ok(Rates {
        input: NanoUsdPerMtok(rates.input_nano_usd_per_mtok),
        output: NanoUsdPerMtok(rates.output_nano_usd_per_mtok),
        cache_read: rates.cache_read_nano_usd_per_mtok.map(NanoUsdPerMtok),
        cache_write: rates.cache_write_nano_usd_per_mtok.map(NanoUsdPerMtok),
    })
}

impl From<&Price> for pb::Price {
    fn from(price: &Price) -> Self {
        let step = |step: &LongContext| pb::price::LongContext {
            above_tokens: step.above.0,
            rates: Some((&step.rates).into()),
        };
        let clock = |rule: &ClockRule| pb::price::Clock {
            weekdays: rule.weekdays.into(),
            from_minute: rule.from_minute.into(),
            to_minute: rule.to_minute.into(),
            permille: rule.permille,
        };
        Self {
            rates: Some((&price.rates).into()),
            long_context: price.long_context.iter().map(step).collect(),
            clock: price.clock.iter().map(clock).collect(),
            per_call_nano_usd: price.per_call.0,
        }
    }
}

impl TryFrom<pb::Price> for Price {
    type Error = Invalid;

    fn try_from(price: pb::Price) -> Result<Self, Invalid> {
        let step = |step: pb::price::LongContext| {
            Ok(LongContext {
                above: Tokens(step.above_tokens),
                rates: rates_of(step.rates)?,
            })
        };
        let clock = |rule: pb::price::Clock| {
            Ok(ClockRule {
                weekdays: fits(rule.weekdays, "weekdays")?,
                from_minute: fits(rule.from_minute, "from_minute")?,
                to_minute: fits(rule.to_minute, "to_minute")?,
                permille: rule.permille,
            })
        };
        Ok(Self {
            rates: rates_of(price.rates)?,
            long_context: each(price.long_context, "long_context", step)?,
            clock: each(price.clock, "clock", clock)?,
            per_call: NanoUsd(price.per_call_nano_usd),
        })
    }
}

impl From<&Lane> for pb::Lane {
    fn from(lane: &Lane) -> Self {
        Self {
            id: lane.id.to_string(),
            upstream: lane.upstream.to_string(),
            tier: lane.tier.name().to_owned(),
            price: lane.price.as_ref().map(Into::into),
            first_token_ms: lane.pace.first_token.0,
            per_token_us: lane.pace.per_token_us,
            in_flight_max: lane.room.in_flight,
            queue_max: lane.room.queue,
            queue_wait_ms: lane.room.wait.0,
        }
    }
}

impl TryFrom<pb::Lane> for Lane {
    type Error = Invalid;

    fn try_from(lane: pb::Lane) -> Result<Self, Invalid> {
        let price = lane.price.map(TryInto::try_into).transpose();
        Ok(Self {
            id: LaneId::new(&lane.id),
            upstream: lane.upstream.as_str().into(),
            tier: named(Tier::parse, &lane.tier, "tier")?,
            price: price.map_err(|e: Invalid| e.within("price"))?,
            pace: Pace {
                first_token: Millis(lane.first_token_ms),
                per_token_us: lane.per_token_us,
            },
            room: Room {
                in_flight: lane.in_flight_max,
                queue: lane.queue_max,
                wait: Millis(lane.queue_wait_ms),
            },
        })
    }
}

impl From<&Route> for pb::Route {
    fn from(route: &Route) -> Self {
        let choice = match route.choice {
            Choice::Multiplier(lambda) => pb::route::Choice::MultiplierBpsPerUsd(lambda),
            Choice::Floor(floor) => pb::route::Choice::FloorBps(floor.get().into()),
        };
        Self {
            id: route.id.to_string(),
            models: strings(&route.models),
            default_lane: route.default_lane.to_string(),
            baseline: route.baseline.to_string(),
            bar_bps: route.bar.get().into(),
            choice: Some(choice),
            guard_bps: route.guard.get().into(),
            learned: route.learned,
            explore_bps: route.explore.get().into(),
            max_cost_nano_usd: route.max_cost.map(|cost| cost.0),
            first_token_max_ms: route.first_token_max.map(|ms| ms.0),
            deadline_ms: route.deadline.0,
            attempts_max: route.attempts_max.into(),
            certificate: route.certificate.as_ref().map(Into::into),
            lossy: route.lossy.name().to_owned(),
            overflow: route.overflow.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::Route> for Route {
    type Error = Invalid;

    fn try_from(route: pb::Route) -> Result<Self, Invalid> {
        let choice = match required(route.choice, "choice")? {
            pb::route::Choice::MultiplierBpsPerUsd(lambda) => Choice::Multiplier(lambda),
            pb::route::Choice::FloorBps(floor) => Choice::Floor(bps(floor, "floor_bps")?),
        };
        Ok(Self {
            id: route.id.as_str().into(),
            models: models(&route.models),
            default_lane: LaneId::new(&route.default_lane),
            baseline: LaneId::new(&route.baseline),
            bar: bps(route.bar_bps, "bar_bps")?,
            choice,
            guard: bps(route.guard_bps, "guard_bps")?,
            learned: route.learned,
            explore: bps(route.explore_bps, "explore_bps")?,
            max_cost: route.max_cost_nano_usd.map(NanoUsd),
            first_token_max: route.first_token_max_ms.map(Millis),
            deadline: Millis(route.deadline_ms),
            attempts_max: fits(route.attempts_max, "attempts_max")?,
            certificate: route.certificate.map(Certificate::try_from).transpose()?,
            lossy: named(Fidelity::parse, &route.lossy, "lossy")?,
            overflow: route
                .overflow
                .map(Overflow::try_from)
                .transpose()
                .map_err(|e| e.within("overflow"))?,
        })
    }
}

impl From<&Certificate> for pb::Certificate {
    fn from(certificate: &Certificate) -> Self {
        Self {
            allowed_bps: certificate.allowed.get().into(),
            confidence_bps: certificate.confidence.get().into(),
            audits: certificate.audits,
        }
    }
}

impl TryFrom<pb::Certificate> for Certificate {
    type Error = Invalid;

    fn try_from(certificate: pb::Certificate) -> Result<Self, Invalid> {
        Ok(Self {
            allowed: bps(certificate.allowed_bps, "allowed_bps")?,
            confidence: bps(certificate.confidence_bps, "confidence_bps")?,
            audits: certificate.audits,
        })
    }
}

impl From<&Match> for pb::Match {
    fn from(condition: &Match) -> Self {
        use pb::r#match::Kind;
        let kind = match condition {
            Match::Route(route) => Kind::Route(route.to_string()),
            Match::Slice(slice) => Kind::Slice(slice.to_string()),
            Match::Key(key) => Kind::Key(key.to_string()),
            Match::Tag { name, value } => Kind::Tag(pb::Tag {
                name: name.clone(),
                value: value.clone(),
            }),
            Match::Class(class) => Kind::Class(class_to_pb(*class).into()),
            Match::InputAbove(tokens) => Kind::InputAboveTokens(tokens.0),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<pb::Match> for Match {
    type Error = Invalid;

    fn try_from(condition: pb::Match) -> Result<Self, Invalid> {
        use pb::r#match::Kind;
        Ok(match required(condition.kind, "kind")? {
            Kind::Route(name) => Self::Route(name.as_str().into()),
            Kind::Slice(name) => Self::Slice(name.as_str().into()),
            Kind::Key(name) => Self::Key(name.as_str().into()),
            Kind::Tag(tag) => Self::Tag {
                name: tag.name,
                value: tag.value,
            },
            Kind::Class(class) => Self::Class(class_of(class, "class")?),
            Kind::InputAboveTokens(tokens) => Self::InputAbove(Tokens(tokens)),
        })
    }
}

impl From<&Rule> for pb::Rule {
    fn from(rule: &Rule) -> Self {
        use pb::rule::Then;
        let then = match &rule.then {
            Action::Only(models) => Then::Only(pb::Names {
                names: strings(models),
            }),
            Action::Without(models) => Then::Without(pb::Names {
                names: strings(models),
            }),
            Action::WithoutProvider(provider) => Then::WithoutProvider(provider.to_string()),
            Action::Pin(lane) => Then::Pin(lane.to_string()),
        };
        Self {
            id: rule.id.to_string(),
            when: rule.when.iter().map(Into::into).collect(),
            then: Some(then),
        }
    }
}

impl TryFrom<pb::Rule> for Rule {
    type Error = Invalid;

    fn try_from(rule: pb::Rule) -> Result<Self, Invalid> {
        use pb::rule::Then;
        let then = match required(rule.then, "then")? {
            Then::Only(only) => Action::Only(models(&only.names)),
            Then::Without(without) => Action::Without(models(&without.names)),
            Then::WithoutProvider(provider) => Action::WithoutProvider(provider.as_str().into()),
            Then::Pin(lane) => Action::Pin(LaneId::new(&lane)),
        };
        let when = each(rule.when, "when", Match::try_from)?;
        Ok(Self {
            id: rule.id.as_str().into(),
            when,
            then,
        })
    }
}

impl From<&BarPoint> for pb::BarPoint {
    fn from(point: &BarPoint) -> Self {
        Self {
            bar_bps: point.bar.get().into(),
            multiplier_bps_per_usd: point.multiplier,
            learned: point.learned,
        }
    }
}

impl TryFrom<pb::BarPoint> for BarPoint {
    type Error = Invalid;

    fn try_from(point: pb::BarPoint) -> Result<Self, Invalid> {
        Ok(Self {
            bar: bps(point.bar_bps, "bar_bps")?,
            multiplier: point.multiplier_bps_per_usd,
            learned: point.learned,
        })
    }
}

fn observed_to_pb((model, price): &(ModelId, Price)) -> pb::ObservedPrice {
    pb::ObservedPrice {
        model: model.to_string(),
        price: Some(price.into()),
    }
}

fn observed_of(observed: pb::ObservedPrice) -> Result<(ModelId, Price), Invalid> {
    let price = required(observed.price, "price")?;
    let price = price.try_into().map_err(|e: Invalid| e.within("price"))?;
    Ok((ModelId::new(&observed.model), price))
}

impl From<&Draft> for pb::Table {
    fn from(draft: &Draft) -> Self {
        Self {
            format: TABLE_FORMAT,
            version: draft.version.0,
            parent: draft.parent.0,
            made_at_ms: draft.made_at.0,
            note: draft.note.clone(),
            models: draft.models.iter().map(Into::into).collect(),
            upstreams: draft.upstreams.iter().map(Into::into).collect(),
            lanes: draft.lanes.iter().map(Into::into).collect(),
            committee: draft.committee.as_ref().map(Into::into),
            routes: draft.routes.iter().map(Into::into).collect(),
            rules: draft.rules.iter().map(Into::into).collect(),
            probes: draft.probes.iter().map(Into::into).collect(),
            frontier: draft.frontier.iter().map(Into::into).collect(),
            policy: draft.policy,
            observed: draft.observed.iter().map(observed_to_pb).collect(),
            plans: draft.probes.iter().map(plan_to_pb(&draft.lanes)).collect(),
            audits: draft.audits.as_ref().map(Into::into),
            learnt_at_ms: draft.learnt_at.0,
            keys: draft.keys.iter().map(Into::into).collect(),
            suspended: draft.suspended.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<pb::Table> for Draft {
    type Error = Invalid;

    fn try_from(table: pb::Table) -> Result<Self, Invalid> {
        if table.format == 0 || table.format > TABLE_FORMAT {
            return Err(Invalid::new(
                "format",
                InvalidFlaw::Range(table.format.into()),
            ));
        }
        let committee = table.committee.map(TryInto::try_into).transpose();
        let lanes = each(table.lanes, "lanes", Lane::try_from)?;
        Ok(Self {
            version: TableVersion(table.version),
            parent: TableVersion(table.parent),
            made_at: UnixMillis(table.made_at_ms),
            note: table.note,
            models: each(table.models, "models", Model::try_from)?,
            upstreams: each(table.upstreams, "upstreams", Upstream::try_from)?,
            committee: committee.map_err(|e: Invalid| e.within("committee"))?,
            routes: each(table.routes, "routes", Route::try_from)?,
            rules: each(table.rules, "rules", Rule::try_from)?,
            probes: probes_of(table.probes, table.plans, &lanes)?,
            lanes,
            frontier: each(table.frontier, "frontier", BarPoint::try_from)?,
            policy: table.policy,
            observed: each(table.observed, "observed", observed_of)?,
            audits: table
                .audits
                .map(Audits::try_from)
                .transpose()
                .map_err(|e| e.within("audits"))?,
            learnt_at: UnixMillis(table.learnt_at_ms),
            keys: each(table.keys, "keys", KeyTerms::try_from)?,
            suspended: table.suspended.iter().map(|id| ModelId::new(id)).collect(),
        })
    }
}
