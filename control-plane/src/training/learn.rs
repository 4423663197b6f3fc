//! One lesson: from a draft's models and routes and their labels to what goes into a
//! table. Pure; the reconciler and the offline command both call it.
//!
//! Owns: which prices and bars the classifier is told, and reading its answer.

use std::collections::BTreeMap;

use spillway_classifier::dataset::Labelled;
use spillway_classifier::offers::Terms;
use spillway_classifier::report::RunReport;
use spillway_classifier::run::{Bar, InUse, Settings, Step, Trained, TrainingError, run};
use spillway_routing::catalogue::{Price, Tier};
use spillway_routing::id::{LaneId, ModelId, RouteId};
use spillway_routing::outcome::{Audit, Outcome};
use spillway_routing::table::{BarPoint, Choice, Draft};
use spillway_routing::unit::{Bps, Tokens};

use crate::policy::{Learned, SolvedRoute, World};

/// Share of the audits that is measured on.
const HELD_OUT: f64 = 0.3;
/// Share of the new prompts that a new table may send elsewhere than the one in use: beyond it caches go cold and what operators know of their traffic is void.
const FLIPS_MAX: Bps = Bps::new(6_000);
/// Bars from 80 % to 100 % that a multiplier is solved for beside the routes' own, so
/// that a changed bar needs no new run.
const FRONTIER: std::ops::RangeInclusive<u16> = 80..=100;
/// What goes in where nobody knows better.
const USUAL_INPUT: Tokens = Tokens(1_000);
const FRONTIER_PREFIX: &str = "frontier:";

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Lesson {
    pub learned: Learned,
    pub report: RunReport,
    /// Labels it was learnt from.
    pub labels: usize,
}

impl Lesson {
    /// Whether the gate lets any route use the heads.
    #[must_use]
    pub fn promoted(&self) -> bool {
        self.learned.routes.values().any(|route| route.learned)
    }
}

/// Learns for the models and routes of `draft`, from audits and from live requests with
/// their verdicts. The same data and seed give the same lesson.
///
/// # Errors
///
/// When there is nothing to learn from; says what to do.
pub fn learn(
    draft: &Draft,
    audits: &[Audit],
    live: &[(Outcome, Bps)],
    current: Option<InUse<'_>>,
    seed: u64,
    progress: &mut dyn FnMut(Step, f32),
) -> Result<Lesson, TrainingError> {
    let labelled = labelled(live);
    let terms = terms(draft);
    let bars = bars(draft);
    let settings = Settings {
        seed,
        bars: &bars,
        held_out: HELD_OUT,
        current,
        flips_max: FLIPS_MAX,
        terms: &terms,
    };
    let trained = run(audits, &labelled, &settings, progress)?;
    Ok(Lesson {
        learned: learned(draft, &trained, &bars),
        labels: audits.len() + labelled.len(),
        report: trained.report,
    })
}

pub(super) fn labelled(live: &[(Outcome, Bps)]) -> Vec<Labelled<'_>> {
    live.iter()
        .map(|(outcome, quality)| Labelled {
            outcome,
            quality: *quality,
        })
        .collect()
}

/// Whether a report's route is the policy's, and not one of the frontier.
pub(super) fn is_of_policy(route: &RouteId) -> bool {
    !route.as_str().starts_with(FRONTIER_PREFIX)
}

/// Prices of the policy's models, at their cheapest standard lane for a usual request.
fn terms(draft: &Draft) -> BTreeMap<ModelId, Terms> {
    let mut terms = BTreeMap::<ModelId, Terms>::new();
    for lane in draft
        .lanes
        .iter()
        .filter(|lane| lane.tier == Tier::Standard)
    {
        let upstream = draft
            .upstreams
            .iter()
            .find(|upstream| upstream.id == lane.upstream);
        let model = upstream.and_then(|u| draft.models.iter().find(|model| model.id == u.model));
        if let (Some(model), Some(price)) = (model, lane.price.clone()) {
            let usual = |price: &Price| {
                let (input, output) = (USUAL_INPUT, model.typical_output);
                price.estimate(input, Tokens(0), output, draft.made_at)
            };
            let known = terms.get(&model.id);
            if known.is_none_or(|known| usual(&price) < usual(&known.price)) {
                let (family, listed) = (model.family, true);
                let here = Terms {
                    price,
                    family,
                    listed,
                };
                terms.insert(model.id.clone(), here);
            }
        }
    }
    terms
}

/// What to solve multipliers for: the policy's routes, then the frontier.
fn bars(draft: &Draft) -> Vec<Bar> {
    let model_of = |lane: &LaneId| {
        let lane = draft.lanes.iter().find(|l| l.id == *lane)?;
        draft
            .upstreams
            .iter()
            .find(|u| u.id == lane.upstream)
            .map(|u| u.model.clone())
    };
    let routes = draft.routes.iter().map(|route| Bar {
        route: route.id.clone(),
        bar: route.bar,
        guard: route.guard,
        models: route.models.clone(),
        default: model_of(&route.default_lane),
    });
    // What the heads do not judge goes somewhere there as well: to the first route's.
    let usual = draft
        .routes
        .first()
        .and_then(|route| model_of(&route.default_lane));
    let frontier = FRONTIER.map(|percent| Bar {
        route: RouteId::new(&format!("{FRONTIER_PREFIX}{percent}")),
        bar: Bps::new(percent * 100),
        guard: Bps::ONE,
        models: Vec::new(),
        default: usual.clone(),
    });
    routes.chain(frontier).collect()
}

fn learned(draft: &Draft, trained: &Trained, bars: &[Bar]) -> Learned {
    let observed = trained
        .observed
        .iter()
        .map(|(id, terms)| (id.clone(), terms.price.clone()));
    let mut learned = Learned {
        committee: Some(trained.committee.clone()),
        observed: observed.collect(),
        ..Learned::default()
    };
    let priced = priced(draft, &learned);
    for solved in &trained.multipliers {
        let route = priced.routes.iter().find(|route| route.id == solved.route);
        let bar = bars.iter().find(|bar| bar.route == solved.route);
        match (route, bar, solved.choice) {
            (Some(route), _, choice) => {
                let world = World::of(route, &priced);
                let route = SolvedRoute {
                    choice,
                    learned: solved.learned,
                    certificate: solved.certificate,
                    world,
                };
                learned.routes.insert(solved.route.clone(), route);
            }
            (None, Some(bar), Choice::Multiplier(multiplier)) => {
                let learned_at = solved.learned;
                learned.frontier.push(BarPoint {
                    bar: bar.bar,
                    multiplier,
                    learned: learned_at,
                });
            }
            (None, _, _) => {}
        }
    }
    learned
}

/// The draft with the prices that were read off charges, as the table will have them.
fn priced(draft: &Draft, learned: &Learned) -> Draft {
    let mut priced = draft.clone();
    for lane in priced
        .lanes
        .iter_mut()
        .filter(|lane| lane.tier == Tier::Standard && lane.price.is_none())
    {
        let upstream = draft
            .upstreams
            .iter()
            .find(|upstream| upstream.id == lane.upstream);
        lane.price = upstream.and_then(|u| learned.observed.get(&u.model).cloned());
    }
    priced
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;

    #[test]
    fn a_model_is_priced_where_it_is_cheapest() {
        let text = "version = 1\n\
            [[upstreams]]\nprovider = \"dear\"\nmodels = [\"m\"]\nprices.standard = { input = 3.0, output = 9.0 }\n\
            [[upstreams]]\nprovider = \"cheap\"\nmodels = [\"m\"]\nprices.standard = { input = 1.0, output = 2.0 }\n\
            [[upstreams]]\nprovider = \"middle\"\nmodels = [\"m\"]\nprices.standard = { input = 1.0, output = 3.0 }\n\
            [routes.auto]\nbaseline = \"m\"\n";
        let parsed = policy::parse(text).unwrap();
        let draft = policy::draft(&parsed, text, &Learned::default()).unwrap();
        let cheap = draft
            .lanes
            .iter()
            .find(|lane| lane.id.as_str().starts_with("cheap"));
        let price = &terms(&draft)[&ModelId::new("m")].price;
        assert_eq!(Some(price), cheap.unwrap().price.as_ref());
    }
}
