//! What history taught, as it goes from a training run or a table into the next table.
//!
//! Owns: [`Learned`], and when a solved multiplier still means something ([`World`]).
//! Knows nothing of what operators type.

use std::collections::BTreeMap;

use spillway_routing::catalogue::{Lane, Price};
use spillway_routing::head::Committee;
use spillway_routing::id::{LaneId, ModelId, RouteId};
use spillway_routing::table::{BarPoint, Certificate, Choice, Draft, Route};
use spillway_routing::unit::{Bps, UnixMillis};

/// What history taught: goes into the table beside what the policy says.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    pub committee: Option<Committee>,
    /// When; zero for never.
    pub at: UnixMillis,
    pub frontier: Vec<BarPoint>,
    /// What was solved for single routes; counts while the route's world is the same.
    pub routes: BTreeMap<RouteId, SolvedRoute>,
    /// Prices observed for models that neither policy nor catalogue prices.
    pub observed: BTreeMap<ModelId, Price>,
}

/// A route's multiplier and the gate's verdict on it.
#[derive(Clone, Debug, PartialEq)]
pub struct SolvedRoute {
    pub choice: Choice,
    /// Whether the gate lets the route use the heads.
    pub learned: bool,
    /// What was proven of the choice.
    pub certificate: Option<Certificate>,
    pub world: World,
}

/// What a multiplier was solved for. It is quality per *dollar*: with other prices, or
/// between other models, it means nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    pub bar: Bps,
    pub guard: Bps,
    pub models: Vec<ModelId>,
    pub default_lane: LaneId,
    /// Of the lanes that the route may use.
    pub prices: BTreeMap<LaneId, Option<Price>>,
}

impl World {
    /// The world of a route in a draft.
    #[must_use]
    pub fn of(route: &Route, draft: &Draft) -> Self {
        let on_route = |lane: &&Lane| {
            let upstream = draft
                .upstreams
                .iter()
                .find(|upstream| upstream.id == lane.upstream);
            route.models.is_empty() || upstream.is_some_and(|u| route.models.contains(&u.model))
        };
        let lanes = draft.lanes.iter().filter(on_route);
        Self {
            bar: route.bar,
            guard: route.guard,
            models: route.models.clone(),
            default_lane: route.default_lane.clone(),
            prices: lanes
                .map(|lane| (lane.id.clone(), lane.price.clone()))
                .collect(),
        }
    }

    /// The same but for the bar: what the frontier was solved for.
    pub(super) fn same_terms(&self, other: &Self) -> bool {
        Self {
            bar: other.bar,
            ..self.clone()
        } == *other
    }
}

impl Learned {
    /// What a published table carries of it, so that a changed policy needs no new run.
    #[must_use]
    pub fn of(draft: &Draft) -> Self {
        let solved = |route: &Route| {
            let (choice, learned) = (route.choice, route.learned);
            (
                route.id.clone(),
                SolvedRoute {
                    choice,
                    learned,
                    certificate: route.certificate,
                    world: World::of(route, draft),
                },
            )
        };
        // A floor that an operator typed may use the heads, too.
        let solved_for =
            |route: &&Route| route.learned || matches!(route.choice, Choice::Multiplier(_));
        Self {
            committee: draft.committee.clone(),
            at: draft.learnt_at,
            frontier: draft.frontier.clone(),
            routes: draft.routes.iter().filter(solved_for).map(solved).collect(),
            observed: draft.observed.iter().cloned().collect(),
        }
    }
}
