//! The decision: facts, conditions and one table in, an ordered plan and its trail out.
//!
//! Owns: [`decide`], the words it explains itself with, and [`choose`], the weighing of
//! quality against cost that training uses too. It is pure and takes microseconds: no
//! clock, no randomness (the draw is a hash of the request's id), no I/O. README.md
//! beside it has the algorithm in prose.

mod candidate;
mod order;
mod spill;
mod waiting;

use std::fmt;

use crate::catalogue::Tier;
use crate::conditions::Conditions;
use crate::features::Facts;
use crate::head::Abstention;
use crate::id::{LaneId, ModelId, RequestId, RouteId, RuleId};
use crate::overflow::Cause;
use crate::table::{Choice, Table};
use crate::unit::{Bps, Millis, NanoUsd, Ppm, Tokens, UnixMillis, product_over};

/// The dice of one request: a hash of the id its proxy made. A replay draws the same,
/// and a client cannot pick its own luck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw(pub u64);

impl Draw {
    #[must_use]
    pub fn of(id: RequestId) -> Self {
        let (high, low) = id.0.split_at(8);
        let fold = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let mut hash = fold(high) ^ fold(low).rotate_left(32);
        hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(hash ^ hash >> 31)
    }
}

/// Why a lane was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Best quality for its cost under the route's multiplier.
    BestValue,
    /// Cheapest that reaches the floor.
    CheapestAboveFloor,
    /// The best value fell too far below the best quality; cheapest within the guard.
    Guarded,
    /// The heads abstained: the route's default lane.
    Default(Abstention),
    /// A rule pins it.
    Pinned(RuleId),
    /// The model is chosen as above, and its provider probably has the request's beginning
    /// in its prompt cache.
    Cached,
    /// Drawn among the near-best, to learn.
    Explored,
    /// No other lane could serve the request.
    OnlyOne,
    /// The same model for less money, since the answer may begin later.
    MayWait,
    /// It spilled over to the route's overflow lane.
    Overflowed(Cause),
}

/// What a request asks of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Tools,
    JsonObject,
    JsonSchema,
    Vision,
    /// To be spoken to in a dialect that can say the request.
    Dialect,
    /// To be the one model whose vectors the route gives.
    SameModel,
    /// To be at a provider that the caller brought a key for.
    OwnKey,
    /// To be asked with the account that keeps what the conversation builds on.
    State,
}

/// Why a lane was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    Rule(RuleId),
    Lacks(Need),
    ContextTooSmall {
        needs: Tokens,
        has: Tokens,
    },
    OutputTooShort {
        needs: Tokens,
        has: Tokens,
    },
    /// Its tier is not what the start of the answer asks for.
    OtherTier(Tier),
    /// It makes requests wait, and this one hardly begins in time.
    HardlyInTime(Bps),
    /// It makes requests wait, and is of another model or no cheaper than the lane that
    /// answers at once.
    NotWorthWaiting,
    NoPrice,
    NoQuality,
    Shut,
    Full,
    TooDear {
        cost: NanoUsd,
        max: NanoUsd,
    },
    TooSlow {
        first_token: Millis,
        max: Millis,
    },
    BelowMinimum {
        quality: Bps,
        min: Bps,
    },
    /// Feasible, but the plan is full.
    PlanFull,
    /// It is kept for what spills over, and this request does not.
    KeptForOverflow,
    /// What may spill over to it in a day is spent.
    OverflowSpent {
        spent: NanoUsd,
        max: NanoUsd,
    },
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Chosen(Why),
    /// Its place in the plan, 1 for the first fallback.
    Fallback(u8),
    Removed(Removal),
}

/// One line of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    pub lane: LaneId,
    pub model: ModelId,
    pub quality: Option<Bps>,
    pub quality_low: Option<Bps>,
    /// Expected; `None` without a price.
    pub cost: Option<NanoUsd>,
    pub output: Tokens,
    pub first_token: Millis,
    pub total: Millis,
    /// Millionths of a hundredth of a percent of quality, net of cost.
    pub utility: i64,
    pub verdict: Verdict,
}

/// One lane of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub lane: LaneId,
    /// First content must have come by then, counted from the request's arrival.
    pub give_up: Millis,
}

/// A limit that was given up because nothing met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Latency,
    Cost,
    MinQuality,
}

impl Limit {
    /// The order in which limits are given up.
    pub const RELAXED_IN_ORDER: [Self; 3] = [Self::Latency, Self::MinQuality, Self::Cost];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Cost => "cost",
            Self::MinQuality => "min_quality",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::RELAXED_IN_ORDER
            .into_iter()
            .find(|limit| limit.name() == name)
    }
}

/// The plan and why it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub route: RouteId,
    /// The chosen lane, then the fallbacks.
    pub plan: Vec<Step>,
    /// Every candidate, in the table's order.
    pub trail: Vec<Considered>,
    pub abstention: Option<Abstention>,
    pub explored: bool,
    /// How likely the chosen lane was to be chosen.
    pub propensity: Ppm,
    /// What the baseline lane was expected to cost, in its own tokens.
    pub baseline_cost: NanoUsd,
    pub relaxed: Vec<Limit>,
}

impl Decision {
    /// The trail's line of the chosen lane.
    #[must_use]
    pub fn chosen(&self) -> Option<&Considered> {
        self.trail
            .iter()
            .find(|c| matches!(c.verdict, Verdict::Chosen(_)))
    }
}

/// Why no plan could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    UnknownRoute(RouteId),
    /// No candidate has the tier that the start of the answer asks for.
    NoTier(Tier),
    /// No lane can serve the request, whatever is relaxed.
    NothingFeasible(Vec<Considered>),
    /// Lanes could, but all are out just now.
    AllShut(Vec<Considered>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRoute(route) => write!(f, "no route or model is called {route:?}"),
            Self::NoTier(tier) => write!(
                f,
                "no lane of this route has the tier {} that the request's start asks for",
                tier.name()
            ),
            Self::NothingFeasible(trail) => {
                write!(f, "no lane can serve this request")?;
                trail.iter().try_for_each(|c| match &c.verdict {
                    Verdict::Removed(removal) => write!(f, "; {}: {removal}", c.lane),
                    Verdict::Chosen(_) | Verdict::Fallback(_) => Ok(()),
                })
            }
            Self::AllShut(trail) => write!(
                f,
                "all {} lanes that could serve this request are out just now",
                trail.len()
            ),
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "excluded by rule {rule}"),
            Self::Lacks(Need::Dialect) => {
                write!(f, "its dialect cannot say all of the request")
            }
            Self::Lacks(Need::SameModel) => {
                write!(f, "vectors of another model are not interchangeable")
            }
            Self::Lacks(Need::OwnKey) => {
                write!(f, "the caller brought keys, and none for its provider")
            }
            Self::Lacks(Need::State) => {
                write!(f, "another account keeps what the conversation builds on")
            }
            Self::Lacks(need) => write!(f, "cannot do {}", need.name()),
            Self::ContextTooSmall { needs, has } => {
                write!(f, "needs {} input tokens, takes {}", needs.0, has.0)
            }
            Self::OutputTooShort { needs, has } => {
                write!(f, "{} output tokens wanted, gives {}", needs.0, has.0)
            }
            Self::OtherTier(tier) => {
                write!(
                    f,
                    "its tier {} is not what the request asks for",
                    tier.name()
                )
            }
            Self::HardlyInTime(chance) => {
                write!(f, "it begins in time with a chance of {chance} only")
            }
            Self::NotWorthWaiting => {
                write!(
                    f,
                    "waiting there saves nothing on the model that was chosen"
                )
            }
            Self::NoPrice => write!(f, "its price is unknown"),
            Self::NoQuality => write!(f, "its quality is unknown"),
            Self::Shut => write!(f, "its breaker is open"),
            Self::Full => write!(f, "it is full"),
            Self::TooDear { cost, max } => {
                write!(f, "expected to cost {cost}, at most {max} is allowed")
            }
            Self::TooSlow { first_token, max } => write!(
                f,
                "first token expected after {} ms, at most {} ms is allowed",
                first_token.0, max.0
            ),
            Self::BelowMinimum { quality, min } => {
                write!(f, "predicted quality {quality} is below the minimum {min}")
            }
            Self::PlanFull => write!(f, "the plan has its most attempts"),
            Self::KeptForOverflow => write!(f, "it is kept for what spills over"),
            Self::OverflowSpent { spent, max } => {
                write!(f, "{spent} spilled over to it today, at most {max} may")
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BestValue => write!(f, "best quality for its cost under the route's multiplier"),
            Self::CheapestAboveFloor => write!(f, "cheapest that reaches the route's floor"),
            Self::Guarded => write!(f, "cheapest close enough to the best predicted quality"),
            Self::Default(reason) => write!(
                f,
                "the route's default, since the prediction abstained: {}",
                reason.name()
            ),
            Self::Pinned(rule) => write!(f, "pinned by rule {rule}"),
            Self::Cached => write!(f, "the same model where its prompt cache is warm"),
            Self::Explored => write!(f, "drawn among the near-best, to learn"),
            Self::OnlyOne => write!(f, "no other lane could serve the request"),
            Self::MayWait => write!(f, "the same model for less, since the start may wait"),
            Self::Overflowed(cause) => write!(f, "overflow: {}", cause.name()),
        }
    }
}

impl Need {
    pub const ALL: [Self; 8] = [
        Self::Tools,
        Self::JsonObject,
        Self::JsonSchema,
        Self::Vision,
        Self::Dialect,
        Self::SameModel,
        Self::OwnKey,
        Self::State,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::JsonObject => "json_object",
            Self::JsonSchema => "json_schema",
            Self::Vision => "vision",
            Self::Dialect => "dialect",
            Self::SameModel => "same_model",
            Self::OwnKey => "own_key",
            Self::State => "state",
        }
    }
}

/// Decides where a request goes.
///
/// # Errors
///
/// A [`Refusal`] that says why no plan could be made.
pub fn decide(
    table: &Table,
    facts: &Facts,
    conditions: &Conditions,
    now: UnixMillis,
    draw: Draw,
) -> Result<Decision, Refusal> {
    let name = facts.route.as_ref().map_or("", RouteId::as_str);
    let Some((route, lanes)) = table.route(name) else {
        return Err(Refusal::UnknownRoute(RouteId::new(name)));
    };
    let start = facts.start.or_by_class(facts.class);
    let has = |tier: Tier| lanes.iter().any(|lane| table.lane(*lane).tier == tier);
    // What the class alone suggests is no demand.
    if let Some(tier) = facts.start.needs().filter(|tier| !has(*tier)) {
        return Err(Refusal::NoTier(tier));
    }
    let assessed = candidate::assess(table, route, lanes, facts, conditions, now);
    order::order(table, route, assessed, start, draw)
}

/// Quality and cost of one candidate in [`choose`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub quality: Bps,
    pub cost: NanoUsd,
}

impl Offer {
    /// Millionths of a hundredth of a percent of quality, net of cost. Under a floor,
    /// everything that reaches it ranks by cost and before everything that does not.
    #[must_use]
    pub fn utility(&self, choice: Choice) -> i64 {
        let quality = i128::from(self.quality.get()) * 1_000_000;
        let utility = match choice {
            Choice::Multiplier(lambda) => {
                quality - i128::from(product_over::<1_000>(lambda, self.cost.0, 0))
            }
            Choice::Floor(floor) if self.quality >= floor => -i128::from(self.cost.0),
            Choice::Floor(_) => i128::from(i64::MIN / 2) + quality,
        };
        utility.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

/// Which offer a route takes: the best utility, unless it lies more than `guard` below
/// the best quality; then the cheapest within the guard. Ties go to the cheaper, then
/// to the first. Says whether the guard decided; `None` without offers.
#[must_use]
pub fn choose(choice: Choice, guard: Bps, offers: &[Offer]) -> Option<(usize, bool)> {
    let best_quality = offers.iter().map(|offer| offer.quality).max()?;
    let by_value = |i: &usize| {
        let offer = &offers[*i];
        (
            offer.utility(choice),
            std::cmp::Reverse(offer.cost),
            std::cmp::Reverse(*i),
        )
    };
    let best = (0..offers.len()).max_by_key(by_value)?;
    let near = best_quality.saturating_sub(guard);
    if offers[best].quality >= near || matches!(choice, Choice::Floor(_)) {
        return Some((best, false));
    }
    let within = (0..offers.len()).filter(|i| offers[*i].quality >= near);
    within
        .min_by_key(|i| (offers[*i].cost, *i))
        .map(|i| (i, true))
}

#[cfg(test)]
mod tests;
