//! Outcomes and verdicts.

use spillway_routing::catalogue::{Tier, Usage};
use spillway_routing::id::{LaneId, ModelId, ProxyId, RequestId, TableVersion};
use spillway_routing::outcome::{
    Attempt, AttemptResult, Ending, Outcome, UsageSource, Verdict, VerdictSource,
};
use spillway_routing::unit::{Millis, NanoUsd, Tokens, UnixMillis};

use super::facts::{state_of, state_to_pb};
use super::{Invalid, InvalidFlaw, bps, each, fits, named, required};
use crate::pb;

fn id_of(bytes: &[u8], path: &str) -> Result<RequestId, Invalid> {
    let found = bytes.len();
    let id = bytes.try_into().map_err(|_| {
        Invalid::new(
            path,
            InvalidFlaw::Length {
                expected: 16,
                found,
            },
        )
    })?;
    Ok(RequestId(id))
}

impl From<&Attempt> for pb::Attempt {
    fn from(attempt: &Attempt) -> Self {
        Self {
            lane: String::from(&attempt.lane),
            start_ms: attempt.start.0,
            end_ms: attempt.end.0,
            result: attempt.result.name().to_owned(),
            status: attempt.status.map(u32::from),
        }
    }
}

impl TryFrom<pb::Attempt> for Attempt {
    type Error = Invalid;

    fn try_from(attempt: pb::Attempt) -> Result<Self, Invalid> {
        Ok(Self {
            lane: LaneId::new(&attempt.lane),
            start: Millis(attempt.start_ms),
            end: Millis(attempt.end_ms),
            result: named(AttemptResult::parse, &attempt.result, "result")?,
            status: attempt
                .status
                .map(|status| fits(status, "status"))
                .transpose()?,
        })
    }
}

impl From<&Outcome> for pb::Outcome {
    fn from(outcome: &Outcome) -> Self {
        let usage = pb::Usage {
            input_tokens: outcome.usage.input.0,
            cache_read_tokens: outcome.usage.cache_read.0,
            cache_write_tokens: outcome.usage.cache_write.0,
            output_tokens: outcome.usage.output.0,
            reasoning_tokens: outcome.usage.reasoning.0,
            reported: outcome.usage_source == UsageSource::Reported,
        };
        Self {
            id: outcome.id.0.to_vec(),
            at_ms: outcome.at.0,
            proxy: String::from(&outcome.proxy),
            table_version: outcome.table.0,
            facts: Some((&outcome.facts).into()),
            conditions: outcome.conditions.iter().map(state_to_pb).collect(),
            decision: outcome.decision.as_ref().map(Into::into),
            attempts: outcome.attempts.iter().map(Into::into).collect(),
            ending: outcome.ending.name().to_owned(),
            status: outcome.status.into(),
            served_lane: outcome.served.as_ref().map(String::from),
            served_model: outcome.served_model.as_ref().map(String::from),
            served_tier: outcome.served_tier.map(|tier| tier.name().to_owned()),
            usage: Some(usage),
            cost_nano_usd: outcome.cost.0,
            baseline_cost_nano_usd: outcome.baseline_cost.0,
            first_token_ms: outcome.first_token.map(|ms| ms.0),
            total_ms: outcome.total.0,
        }
    }
}

impl TryFrom<pb::Outcome> for Outcome {
    type Error = Invalid;

    fn try_from(outcome: pb::Outcome) -> Result<Self, Invalid> {
        let facts = required(outcome.facts, "facts")?;
        let usage = required(outcome.usage, "usage")?;
        let tier = outcome.served_tier.as_deref();
        let decision = outcome.decision.map(TryInto::try_into).transpose();
        Ok(Self {
            id: id_of(&outcome.id, "id")?,
            at: UnixMillis(outcome.at_ms),
            proxy: ProxyId::new(&outcome.proxy),
            table: TableVersion(outcome.table_version),
            facts: facts.try_into().map_err(|e: Invalid| e.within("facts"))?,
            conditions: each(outcome.conditions, "conditions", state_of)?,
            decision: decision.map_err(|e: Invalid| e.within("decision"))?,
            attempts: each(outcome.attempts, "attempts", Attempt::try_from)?,
            ending: named(Ending::parse, &outcome.ending, "ending")?,
            status: fits(outcome.status, "status")?,
            served: outcome.served_lane.as_deref().map(LaneId::new),
            served_model: outcome.served_model.as_deref().map(ModelId::new),
            served_tier: tier
                .map(|name| named(Tier::parse, name, "served_tier"))
                .transpose()?,
            usage_source: if usage.reported {
                UsageSource::Reported
            } else {
                UsageSource::Estimated
            },
            usage: Usage {
                input: Tokens(usage.input_tokens),
                cache_read: Tokens(usage.cache_read_tokens),
                cache_write: Tokens(usage.cache_write_tokens),
                output: Tokens(usage.output_tokens),
                reasoning: Tokens(usage.reasoning_tokens),
            },
            cost: NanoUsd(outcome.cost_nano_usd),
            baseline_cost: NanoUsd(outcome.baseline_cost_nano_usd),
            first_token: outcome.first_token_ms.map(Millis),
            total: Millis(outcome.total_ms),
        })
    }
}

impl From<&Verdict> for pb::Verdict {
    fn from(verdict: &Verdict) -> Self {
        Self {
            request: verdict.request.0.to_vec(),
            source: verdict.source.name().to_owned(),
            score_bps: verdict.score.get().into(),
            at_ms: verdict.at.0,
        }
    }
}

impl TryFrom<pb::Verdict> for Verdict {
    type Error = Invalid;

    fn try_from(verdict: pb::Verdict) -> Result<Self, Invalid> {
        Ok(Self {
            request: id_of(&verdict.request, "request")?,
            source: named(VerdictSource::parse, &verdict.source, "source")?,
            score: bps(verdict.score_bps, "score_bps")?,
            at: UnixMillis(verdict.at_ms),
        })
    }
}
