//! The record of a request, and of a prompt that many models answered.
//!
//! Owns: [`Outcome`] (one live request), [`Verdict`] (a quality score that arrives
//! later) and [`Audit`] (one prompt, several models, all scored: what learning lives
//! on). None holds text. Knows no storage and no wire format.

use crate::catalogue::{Tier, Usage};
use crate::conditions::LaneState;
use crate::decide::Decision;
use crate::features::Facts;
use crate::id::{LaneId, ModelId, ProxyId, RequestId, TableVersion};
use crate::unit::{Bps, Millis, NanoUsd, Tokens, UnixMillis};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// The answer went out whole.
    Answered,
    /// No lane gave an answer.
    Failed,
    /// The answer broke off after content had gone out.
    Cut,
    /// The client hung up.
    ClientGone,
    /// Spillway could not or would not send it anywhere.
    Refused,
}

impl Ending {
    pub const ALL: [Self; 5] = [
        Self::Answered,
        Self::Failed,
        Self::Cut,
        Self::ClientGone,
        Self::Refused,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Cut => "cut",
            Self::ClientGone => "client_gone",
            Self::Refused => "refused",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ending| ending.name() == name)
    }
}

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptResult {
    Answered,
    /// Not reached: nothing was sent.
    Unreachable,
    /// Refused unread: 429, 503, 529.
    Overloaded,
    /// The provider says our request or our key is wrong.
    Rejected,
    /// 5xx, reset or nonsense after it was sent: it may have been charged.
    Failed,
    /// No content in time, after it was sent: it may have been charged.
    TimedOut,
    /// The lane made the request wait and did not begin it: refused for want of room, or
    /// given up before anything came. Not charged.
    NotStarted,
    /// Content had gone out, then the stream broke.
    Cut,
    /// The client hung up.
    ClientGone,
}

impl AttemptResult {
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::NotStarted,
        Self::Unreachable,
        Self::Overloaded,
        Self::Rejected,
        Self::Failed,
        Self::TimedOut,
        Self::Cut,
        Self::ClientGone,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unreachable => "unreachable",
            Self::Overloaded => "overloaded",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::NotStarted => "not_started",
            Self::Cut => "cut",
            Self::ClientGone => "client_gone",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.name() == name)
    }

    /// Whether the provider may charge for it although no answer came.
    #[must_use]
    pub fn possibly_charged(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}

/// One call to one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub lane: LaneId,
    /// Both since the request's arrival.
    pub start: Millis,
    pub end: Millis,
    pub result: AttemptResult,
    /// The provider's status, where one came.
    pub status: Option<u16>,
}

/// Where a usage figure comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageSource {
    /// The provider said so.
    Reported,
    /// The provider said nothing (cut, client gone): counted by us.
    #[default]
    Estimated,
}

/// The record of one request. Every accepted request makes exactly one.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub id: RequestId,
    pub at: UnixMillis,
    pub proxy: ProxyId,
    pub table: TableVersion,
    pub facts: Facts,
    /// States of lanes that were not at their default when it was decided.
    pub conditions: Vec<(LaneId, LaneState)>,
    /// `None` where no plan could be made.
    pub decision: Option<Decision>,
    pub attempts: Vec<Attempt>,
    pub ending: Ending,
    /// The status the client saw.
    pub status: u16,
    pub served: Option<LaneId>,
    pub served_model: Option<ModelId>,
    pub served_tier: Option<Tier>,
    pub usage: Usage,
    pub usage_source: UsageSource,
    pub cost: NanoUsd,
    /// What the route's baseline would have cost, in its own tokens.
    pub baseline_cost: NanoUsd,
    pub first_token: Option<Millis>,
    pub total: Millis,
}

/// Who scored an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VerdictSource {
    App,
    Judge,
    Verifier,
    Import,
}

impl VerdictSource {
    pub const ALL: [Self; 4] = [Self::App, Self::Judge, Self::Verifier, Self::Import];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Judge => "judge",
            Self::Verifier => "verifier",
            Self::Import => "import",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// A quality score of one request's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub request: RequestId,
    pub source: VerdictSource,
    pub score: Bps,
    pub at: UnixMillis,
}

/// Which part of a labelled set a prompt belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    Train,
    Test,
}

impl Split {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Train, Self::Test]
            .into_iter()
            .find(|split| split.name() == name)
    }
}

/// One model's scored answer to an audited prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub model: ModelId,
    pub score: Bps,
    pub input: Tokens,
    pub output: Tokens,
    pub cost: Option<NanoUsd>,
    pub latency: Option<Millis>,
}

/// One prompt answered and scored by several models: imported, or sampled live.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// Unique within its source, e.g. `set/task/17`.
    pub id: String,
    pub at: UnixMillis,
    pub split: Option<Split>,
    pub facts: Facts,
    pub answers: Vec<Answer>,
}
