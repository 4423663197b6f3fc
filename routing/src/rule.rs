//! Rules of the policy as data: when they hold, and what they do to the candidates.
//!
//! Owns: `Rule`, `Match`, `Action`, closed sets that `decide` matches exhaustively.
//! Knows only facts; a rule never sees prices, scores or conditions.

use crate::features::Facts;
use crate::id::{KeyId, LaneId, ModelId, ProviderId, RouteId, RuleId, SliceId};
use crate::prompt::Class;
use crate::unit::Tokens;

/// One rule: all of `when` must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub id: RuleId,
    pub when: Vec<Match>,
    pub then: Action,
}

/// A condition on facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    Route(RouteId),
    Slice(SliceId),
    Key(KeyId),
    Tag {
        name: String,
        value: String,
    },
    Class(Class),
    /// In o200k tokens.
    InputAbove(Tokens),
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Only these models stay candidates.
    Only(Vec<ModelId>),
    /// These models are no candidates.
    Without(Vec<ModelId>),
    /// This provider's lanes are no candidates.
    WithoutProvider(ProviderId),
    /// Use this lane; the others stay as fallbacks.
    Pin(LaneId),
}

impl Rule {
    #[must_use]
    pub fn holds(&self, facts: &Facts) -> bool {
        self.when.iter().all(|condition| condition.holds(facts))
    }
}

impl Match {
    #[must_use]
    pub fn holds(&self, facts: &Facts) -> bool {
        match self {
            Self::Route(route) => facts.route.as_ref() == Some(route),
            Self::Slice(slice) => facts.slice.as_ref() == Some(slice),
            Self::Key(key) => facts.key.as_ref() == Some(key),
            Self::Tag { name, value } => facts.tags.iter().any(|(n, v)| n == name && v == value),
            Self::Class(class) => facts.class == *class,
            Self::InputAbove(limit) => facts.o200k > *limit,
        }
    }
}
