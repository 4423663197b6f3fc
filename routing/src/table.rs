//! The routing table: everything a decision needs, immutable, complete, without secrets.
//!
//! Owns: [`Draft`] (what publishers fill in) and [`Table`] (what deciders read).
//! [`Table::build`] is the only way from one to the other and runs every check, so
//! whoever holds a `Table` can decide without an error path for bad references.

use std::collections::BTreeMap;

use crate::audit::Audits;
use crate::catalogue::{Lane, Model, Price, Upstream};
use crate::check::{self, Flaw};
use crate::conditions::LaneState;
use crate::decide::Draw;
use crate::dialect::Fidelity;
use crate::features::Facts;
use crate::head::Committee;
use crate::id::{KeyId, LaneId, ModelId, RouteId, TableVersion};
use crate::key::KeyTerms;
use crate::overflow::Overflow;
use crate::rule::Rule;
use crate::tokens::Families;
use crate::unit::{Bps, Millis, NanoUsd, UnixMillis};

/// How a route weighs quality against cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Maximise quality − λ·cost; λ in hundredths of a percent of quality per dollar.
    /// The trainer solves it so that the route's *mean* quality keeps the bar.
    Multiplier(u64),
    /// The cheapest whose predicted quality reaches this floor. Dearer than a
    /// multiplier for the same mean quality (1.5-6 times, measured), since it spends
    /// its money on prompts nobody can answer.
    Floor(Bps),
}

/// A policy target: what an app may put into `model`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub id: RouteId,
    /// Models that may answer; empty means every model of the catalogue.
    pub models: Vec<ModelId>,
    /// Where requests go that the heads decline to judge.
    pub default_lane: LaneId,
    /// What savings are counted against.
    pub baseline: LaneId,
    /// Share of the best model's quality that the route keeps on average.
    pub bar: Bps,
    pub choice: Choice,
    /// No choice falls further than this below the best candidate's predicted quality.
    pub guard: Bps,
    /// Whether predictions of the heads are used; the gate's verdict.
    pub learned: bool,
    /// Share of requests that explore among near-best candidates.
    pub explore: Bps,
    pub max_cost: Option<NanoUsd>,
    pub first_token_max: Option<Millis>,
    /// For the whole request, over all attempts, up to the first content.
    pub deadline: Millis,
    /// Lanes tried at most.
    pub attempts_max: u8,
    /// How much of a request a translation into another dialect may lose.
    pub lossy: Fidelity,
    /// Where requests spill.
    pub overflow: Option<Overflow>,
    /// What was proven of the choice, where something was.
    pub certificate: Option<Certificate>,
}

/// That a route's mean quality misses bar × best by no more than `allowed`, with this
/// confidence, by betting on the audits that λ was solved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub allowed: Bps,
    pub confidence: Bps,
    pub audits: u32,
}

/// A recorded request with the decision its publisher computed. A proxy re-decides
/// all of them before it swaps, which catches two *builds* that decide differently.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub facts: Facts,
    pub conditions: Vec<(LaneId, LaneState)>,
    pub now: UnixMillis,
    pub draw: Draw,
    /// The lanes of the plan, in order; empty where the request is refused.
    pub expected: Vec<LaneId>,
}

/// The multiplier that keeps a bar over all models, as training solved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarPoint {
    pub bar: Bps,
    /// As in [`Choice::Multiplier`].
    pub multiplier: u64,
    /// Whether it was solved for the heads' predictions; if not, for the prompt-blind
    /// means, and it holds for those only.
    pub learned: bool,
}

/// What a publisher fills in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    pub version: TableVersion,
    /// Zero for the first.
    pub parent: TableVersion,
    pub made_at: UnixMillis,
    /// Why it was made, for the page.
    pub note: String,
    /// The version of the policy it was compiled from; zero for none.
    pub policy: u64,
    pub models: Vec<Model>,
    pub upstreams: Vec<Upstream>,
    pub lanes: Vec<Lane>,
    pub committee: Option<Committee>,
    /// When that was learnt; zero for never.
    pub learnt_at: UnixMillis,
    /// Models that have changed since, by an alarm: what was learnt of their quality holds no
    /// more, and nothing is chosen by it.
    pub suspended: Vec<ModelId>,
    /// The multipliers that training solved, so that a changed bar needs no new run.
    pub frontier: Vec<BarPoint>,
    /// Prices read off what was charged, for models that nobody priced.
    pub observed: Vec<(ModelId, Price)>,
    pub routes: Vec<Route>,
    /// In order; of several that pin, the first wins.
    pub rules: Vec<Rule>,
    /// What callers may ask for, beside those whose terms the proxies' configuration holds.
    pub keys: Vec<KeyTerms>,
    /// What is audited; nothing unless the policy says so.
    pub audits: Option<Audits>,
    pub probes: Vec<Probe>,
}

/// Where a lane's parts stand in the draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanePlace {
    pub model: usize,
    pub upstream: usize,
    /// The model's column in the committee.
    pub column: Option<usize>,
    /// See [`Draft::suspended`].
    pub suspended: bool,
}

/// A checked draft with its indexes. Immutable.
#[derive(Clone, Debug)]
pub struct Table {
    draft: Draft,
    places: Vec<LanePlace>,
    lanes: BTreeMap<LaneId, usize>,
    /// Policy routes first, then one for each model's own name.
    routes: Vec<Route>,
    by_name: BTreeMap<RouteId, usize>,
    keys: BTreeMap<KeyId, usize>,
    /// By the hash of the key.
    holders: BTreeMap<[u8; 32], usize>,
    /// Lane indexes per route.
    candidates: Vec<Vec<usize>>,
}

/// Total deadline of a request that names a model instead of a route.
const PINNED_DEADLINE: Millis = Millis(120_000);

impl Table {
    /// Checks a draft and indexes it.
    ///
    /// # Errors
    ///
    /// All flaws found, in the order of the draft.
    pub fn build(draft: Draft) -> Result<Self, Vec<Flaw>> {
        let flaws = check::flaws(&draft);
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let places = places(&draft);
        let lanes = draft
            .lanes
            .iter()
            .enumerate()
            .map(|(i, lane)| (lane.id.clone(), i))
            .collect();
        let mut routes = draft.routes.clone();
        routes.extend(pinned_routes(&draft, &places));
        let by_name = routes
            .iter()
            .enumerate()
            .map(|(i, route)| (route.id.clone(), i))
            .collect();
        let candidates = routes
            .iter()
            .map(|route| candidates(route, &draft, &places))
            .collect();
        let keys = draft.keys.iter().enumerate();
        let keys = keys.map(|(i, key)| (key.id.clone(), i)).collect();
        let holders = draft.keys.iter().enumerate();
        let holders = holders.filter_map(|(i, key)| Some((key.sha256?, i)));
        let holders = holders.collect();
        Ok(Self {
            draft,
            keys,
            holders,
            places,
            lanes,
            routes,
            by_name,
            candidates,
        })
    }

    #[must_use]
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    #[must_use]
    pub fn version(&self) -> TableVersion {
        self.draft.version
    }

    /// The route of this name and its candidates' lane indexes.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<(&Route, &[usize])> {
        let index = *self.by_name.get(name)?;
        Some((&self.routes[index], &self.candidates[index]))
    }

    /// Routes of the policy and, after them, models that can be asked for by name.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The terms of the key with this name.
    #[must_use]
    pub fn key(&self, id: &KeyId) -> Option<&KeyTerms> {
        self.keys.get(id).map(|index| &self.draft.keys[*index])
    }

    /// The terms of the key with this SHA-256.
    #[must_use]
    pub fn holder(&self, sha256: &[u8; 32]) -> Option<&KeyTerms> {
        let index = self.holders.get(sha256)?;
        Some(&self.draft.keys[*index])
    }

    #[must_use]
    pub fn lane_index(&self, lane: &LaneId) -> Option<usize> {
        self.lanes.get(lane).copied()
    }

    #[must_use]
    pub fn lane(&self, index: usize) -> &Lane {
        &self.draft.lanes[index]
    }

    #[must_use]
    pub fn place(&self, index: usize) -> LanePlace {
        self.places[index]
    }

    #[must_use]
    pub fn model_of(&self, lane: usize) -> &Model {
        &self.draft.models[self.places[lane].model]
    }

    /// The families of tokenizers that its models have.
    #[must_use]
    pub fn families(&self) -> Families {
        self.draft.models.iter().map(|model| model.family).collect()
    }

    #[must_use]
    pub fn upstream_of(&self, lane: usize) -> &Upstream {
        &self.draft.upstreams[self.places[lane].upstream]
    }
}

fn places(draft: &Draft) -> Vec<LanePlace> {
    let mut places = Vec::with_capacity(draft.lanes.len());
    for lane in &draft.lanes {
        let upstream = draft
            .upstreams
            .iter()
            .position(|u| u.id == lane.upstream)
            .unwrap_or_default();
        let model_id = draft.upstreams.get(upstream).map(|u| &u.model);
        let model = draft
            .models
            .iter()
            .position(|m| Some(&m.id) == model_id)
            .unwrap_or_default();
        let columns = draft
            .committee
            .as_ref()
            .map_or(&[][..], |committee| &committee.models);
        let column = columns.iter().position(|id| Some(id) == model_id);
        places.push(LanePlace {
            model,
            upstream,
            column,
            suspended: model_id.is_some_and(|id| draft.suspended.contains(id)),
        });
    }
    places
}

fn candidates(route: &Route, draft: &Draft, places: &[LanePlace]) -> Vec<usize> {
    let kept = route.overflow.as_ref().map(|overflow| &overflow.lane);
    let allowed = |i: &usize| {
        let model = &draft.models[places[*i].model].id;
        let overflow = kept == Some(&draft.lanes[*i].id);
        overflow || route.models.is_empty() || route.models.contains(model)
    };
    (0..draft.lanes.len()).filter(allowed).collect()
}

/// A route for each model's own name, unless the policy has one of that name: the
/// model is pinned, its lanes may vary.
fn pinned_routes(draft: &Draft, places: &[LanePlace]) -> Vec<Route> {
    let mut routes = Vec::new();
    for (index, model) in draft.models.iter().enumerate() {
        let taken = draft
            .routes
            .iter()
            .any(|route| route.id.as_str() == model.id.as_str());
        let lane = places.iter().position(|place| place.model == index);
        let Some(lane) = lane.filter(|_| !taken).map(|i| &draft.lanes[i]) else {
            continue;
        };
        routes.push(Route {
            id: RouteId::new(model.id.as_str()),
            models: vec![model.id.clone()],
            default_lane: lane.id.clone(),
            baseline: lane.id.clone(),
            bar: Bps::ONE,
            choice: Choice::Floor(Bps::ZERO),
            guard: Bps::ONE,
            learned: true,
            explore: Bps::ZERO,
            max_cost: None,
            first_token_max: None,
            deadline: PINNED_DEADLINE,
            attempts_max: 3,
            lossy: Fidelity::Hints,
            overflow: None,
            certificate: None,
        });
    }
    routes
}
