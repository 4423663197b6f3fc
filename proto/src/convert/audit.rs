//! What is audited, and audits.

use spillway_routing::audit::Audits;
use spillway_routing::id::{LaneId, ModelId};
use spillway_routing::outcome::{Answer, Audit};
use spillway_routing::unit::{Millis, NanoUsd, Tokens, UnixMillis};

use super::{Invalid, bps, each, required};
use crate::pb;

impl From<&Audits> for pb::Audits {
    fn from(audits: &Audits) -> Self {
        Self {
            share_bps: audits.share.get().into(),
            starting_bps: audits.starting.get().into(),
            per_day_nano_usd: audits.per_day.0,
            judge: audits.judge.as_ref().map(ToString::to_string),
        }
    }
}

impl TryFrom<pb::Audits> for Audits {
    type Error = Invalid;

    fn try_from(audits: pb::Audits) -> Result<Self, Invalid> {
        Ok(Self {
            share: bps(audits.share_bps, "share_bps")?,
            starting: bps(audits.starting_bps, "starting_bps")?,
            per_day: NanoUsd(audits.per_day_nano_usd),
            judge: audits.judge.as_deref().map(LaneId::new),
        })
    }
}

impl From<&Answer> for pb::Answer {
    fn from(answer: &Answer) -> Self {
        Self {
            model: answer.model.to_string(),
            score_bps: answer.score.get().into(),
            input_tokens: answer.input.0,
            output_tokens: answer.output.0,
            cost_nano_usd: answer.cost.map(|cost| cost.0),
            latency_ms: answer.latency.map(|latency| latency.0),
        }
    }
}

impl TryFrom<pb::Answer> for Answer {
    type Error = Invalid;

    fn try_from(answer: pb::Answer) -> Result<Self, Invalid> {
        Ok(Self {
            model: ModelId::new(&answer.model),
            score: bps(answer.score_bps, "score_bps")?,
            input: Tokens(answer.input_tokens),
            output: Tokens(answer.output_tokens),
            cost: answer.cost_nano_usd.map(NanoUsd),
            latency: answer.latency_ms.map(Millis),
        })
    }
}

/// A sampled audit; those of a labelled set are imported where they lie and never travel.
impl From<&Audit> for pb::Audit {
    fn from(audit: &Audit) -> Self {
        Self {
            id: audit.id.clone(),
            at_ms: audit.at.0,
            facts: Some((&audit.facts).into()),
            answers: audit.answers.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Audit> for Audit {
    type Error = Invalid;

    fn try_from(audit: pb::Audit) -> Result<Self, Invalid> {
        let facts = required(audit.facts, "facts")?;
        Ok(Self {
            id: audit.id,
            at: UnixMillis(audit.at_ms),
            split: None,
            facts: facts.try_into().map_err(|e: Invalid| e.within("facts"))?,
            answers: each(audit.answers, "answers", Answer::try_from)?,
        })
    }
}
