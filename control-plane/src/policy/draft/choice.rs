//! How a route weighs quality against cost: what was learnt, as long as it still holds.
//!
//! Owns: the order in which a floor, a route's own multiplier, the frontier and the priors
//! count. Knows nothing of what operators type.

use spillway_routing::catalogue::Model;
use spillway_routing::table::{BarPoint, Certificate, Choice, Route};
use spillway_routing::unit::Bps;

use super::Compiler;
use crate::policy::learned::World;

impl Compiler<'_> {
    /// A floor where one was typed; the multiplier learnt for this route or for its bar
    /// where there is one and the route's world is still the one it was solved in; else
    /// the cheapest whose expected quality reaches the bar's share of the best. Says as
    /// well whether the heads are used.
    pub(super) fn choice(&self, floor: Option<f64>, route: &Route) -> (Choice, bool) {
        let world = World::of(route, &self.draft);
        let own = self
            .learned
            .routes
            .get(&route.id)
            .filter(|solved| solved.world.same_terms(&world));
        if let Some(floor) = floor {
            let learned = own.is_some_and(|solved| solved.learned);
            return (Choice::Floor(Bps::from_share(floor)), learned);
        }
        // Of a floor that is no longer typed nothing was solved.
        let own = own.filter(|solved| matches!(solved.choice, Choice::Multiplier(_)));
        if let Some(solved) = own.filter(|solved| solved.world.bar == route.bar) {
            return (solved.choice, solved.learned);
        }
        let kept = |point: &&BarPoint| point.bar >= route.bar;
        let point = self
            .learned
            .frontier
            .iter()
            .filter(kept)
            .min_by_key(|point| point.bar);
        // The frontier was solved over all models and without a guard.
        let plain = route.models.is_empty() && route.guard == Bps::ONE;
        if let (Some(point), true, true) = (point, plain, own.is_some()) {
            return (Choice::Multiplier(point.multiplier), point.learned);
        }
        let on_route = |model: &&Model| route.models.is_empty() || route.models.contains(&model.id);
        let best = self
            .draft
            .models
            .iter()
            .filter(on_route)
            .filter_map(|m| self.expected(m))
            .max();
        (
            // Nothing known of any model reaches no floor: that is the default's.
            Choice::Floor(route.bar.of(best.unwrap_or(Bps::ONE))),
            false,
        )
    }

    /// What was proven of a route's own multiplier, if that is what it has.
    pub(super) fn certificate(&self, route: &Route) -> Option<Certificate> {
        let own = self.learned.routes.get(&route.id)?;
        let same = own.choice == route.choice && own.world.bar == route.bar;
        own.certificate.filter(|_| same)
    }

    /// A model's quality before any prompt is seen.
    fn expected(&self, model: &Model) -> Option<Bps> {
        let committee = self.learned.committee.as_ref();
        let column = committee.and_then(|c| c.models.iter().position(|id| *id == model.id));
        column
            .and_then(|i| committee?.mean_quality.get(i).copied())
            .or(model.prior)
    }
}
