//! From a policy to a table draft.
//!
//! Owns: defaults, units, names and the faults of meaning, each with its line. It fills
//! in what the policy leaves out from the catalogue, and what only history knows
//! (heads, multipliers, observed prices) from [`Learned`]. What becomes of a route's bar
//! is `choice`'s.

mod choice;
mod key;
mod overflow;

use std::collections::BTreeMap;

use spillway_routing::audit::Audits;
use spillway_routing::catalogue::{Lane, Model, Room, Tier, Upstream};
use spillway_routing::check;
use spillway_routing::dialect::{Dialect, Fidelity};
use spillway_routing::id::{LaneId, ModelId, TableVersion, UpstreamId};
use spillway_routing::rule::{Action, Match, Rule};
use spillway_routing::table::{Choice, Draft, Route};
use spillway_routing::tokens::Family;
use spillway_routing::unit::{Bps, Millis, NanoUsd, Tokens};

use super::Fault;
use super::document::{
    AuditsEntry, ModelEntry, Policy, RouteEntry, RuleEntry, ThenEntry, UpstreamEntry,
};
use super::learned::Learned;
use super::locate::{line_of_path, path_of};
use super::typed::{capabilities, class_of, pace, parse_duration, price};
use crate::{catalogue, priors};

const DEADLINE: Millis = Millis(60_000);
const ATTEMPTS: u8 = 3;
/// What nobody said otherwise is assumed of a model.
const CONTEXT: Tokens = Tokens(128_000);
const MAX_OUTPUT: Tokens = Tokens(16_384);
const TYPICAL_OUTPUT: Tokens = Tokens(300);

/// Compiles a policy. `text` is what it was parsed from, for the lines of faults. The
/// draft's version and parent are set by whoever publishes it.
///
/// # Errors
///
/// All faults found, in the order of the document.
pub fn draft(policy: &Policy, text: &str, learned: &Learned) -> Result<Draft, Vec<Fault>> {
    let mut compiler = Compiler {
        text,
        learned,
        draft: Draft::default(),
        faults: Vec::new(),
    };
    if policy.version != 1 {
        compiler.fault(
            &["version"],
            format!(
                "form {} is not known; this build reads form 1",
                policy.version
            ),
        );
    }
    if policy.upstreams.is_empty() {
        compiler.fault(
            &["upstreams"],
            "at least one [[upstreams]] entry is needed: who serves which models".to_owned(),
        );
    }
    for (index, entry) in policy.upstreams.iter().enumerate() {
        compiler.upstream(index, entry, &policy.models);
    }
    compiler.priors();
    compiler.unused_models(policy);
    for (name, entry) in &policy.routes {
        compiler.route(name, entry);
    }
    for (index, entry) in policy.rules.iter().enumerate() {
        compiler.rule(index, entry);
    }
    for (name, entry) in &policy.keys {
        compiler.key(name, entry);
    }
    if let Some(entry) = &policy.audits {
        compiler.audits(entry);
    }
    compiler.finish()
}

struct Compiler<'a> {
    text: &'a str,
    learned: &'a Learned,
    draft: Draft,
    faults: Vec<Fault>,
}

impl Compiler<'_> {
    fn fault(&mut self, path: &[&str], message: String) {
        let line = line_of_path(self.text, path);
        self.faults.push(Fault {
            line,
            field: path.join("."),
            message,
        });
    }

    fn upstream(
        &mut self,
        index: usize,
        entry: &UpstreamEntry,
        models: &BTreeMap<String, ModelEntry>,
    ) {
        let at = index.to_string();
        let Some(dialects) = self.dialects(&at, entry) else {
            return;
        };
        if entry.models.is_empty() {
            self.fault(
                &["upstreams", &at, "models"],
                "name at least one model".to_owned(),
            );
        }
        let tiers = self.tiers(&at, entry);
        let room = self.room(&at, entry);
        for model in &entry.models {
            let id = UpstreamId::new(&format!("{}:{model}", entry.provider));
            self.model(model, models.get(model), &entry.provider);
            self.draft.upstreams.push(Upstream {
                id: id.clone(),
                model: ModelId::new(model),
                provider: entry.provider.as_str().into(),
                wire_model: entry.wire_models.get(model).unwrap_or(model).clone(),
                dialects: dialects.clone(),
                credential: entry
                    .credential
                    .as_ref()
                    .unwrap_or(&entry.provider)
                    .as_str()
                    .into(),
            });
            self.lanes((entry, room), &tiers, model, &id);
        }
    }

    /// The dialects of an entry; `None` where one is not known.
    fn dialects(&mut self, at: &str, entry: &UpstreamEntry) -> Option<Vec<Dialect>> {
        if entry.dialects.is_empty() {
            return Some(catalogue::dialects(&entry.provider).to_vec());
        }
        let parsed = entry.dialects.iter().map(|name| Dialect::parse(name));
        let dialects = parsed.collect::<Option<Vec<_>>>();
        if dialects.is_none() {
            let known = Dialect::ALL.map(Dialect::name).join(", ");
            let message = format!("unknown dialect; known are {known}");
            self.fault(&["upstreams", at, "dialects"], message);
        }
        dialects
    }

    fn lossy(&mut self, route: &str, typed: Option<&str>) -> Fidelity {
        let parsed = typed.map_or(Some(Fidelity::default()), Fidelity::parse);
        parsed.unwrap_or_else(|| {
            let known = Fidelity::ALL.map(Fidelity::name).join(", ");
            let message = format!("must be one of {known}");
            self.fault(&["routes", route, "lossy"], message);
            Fidelity::default()
        })
    }

    fn model(&mut self, name: &str, entry: Option<&ModelEntry>, provider: &str) {
        if self
            .draft
            .models
            .iter()
            .any(|model| model.id.as_str() == name)
        {
            return;
        }
        let listed = catalogue::find(provider, name);
        let none = ModelEntry::default();
        let entry = entry.unwrap_or(&none);
        let family = match entry
            .tokenizer
            .as_deref()
            .map(|text| (text, Family::parse(text)))
        {
            Some((_, Some(family))) => family,
            Some((text, None)) => {
                let known = Family::ALL.map(Family::name).join(", ");
                let message = format!("unknown tokenizer {text:?}; known are {known}");
                return self.fault(&["models", name, "tokenizer"], message);
            }
            None => listed.map_or(Family::O200k, |listed| listed.family),
        };
        let tokens = |typed: Option<u32>, listed: Option<Tokens>, default| {
            typed.map(Tokens).or(listed).unwrap_or(default)
        };
        self.share(&["models", name, "prior"], entry.prior);
        self.draft.models.push(Model {
            id: ModelId::new(name),
            family,
            context: tokens(entry.context, listed.map(|l| l.context), CONTEXT),
            max_output: tokens(entry.max_output, listed.map(|l| l.max_output), MAX_OUTPUT),
            capabilities: capabilities(entry, listed),
            prior: entry.prior.map(Bps::from_share),
            typical_output: tokens(entry.typical_output, None, TYPICAL_OUTPUT),
        });
    }

    /// Starter priors, if every model has one or its own: half a ranking would pass over
    /// the models that nobody knows, and they may be the best.
    fn priors(&mut self) {
        let expected = |model: &Model| model.prior.or_else(|| priors::of(model.id.as_str()));
        if self
            .draft
            .models
            .iter()
            .all(|model| expected(model).is_some())
        {
            for model in &mut self.draft.models {
                model.prior = expected(model);
            }
        }
    }

    /// The tiers of an entry; those that are not known are faults.
    fn tiers(&mut self, at: &str, entry: &UpstreamEntry) -> Vec<Tier> {
        for name in entry
            .prices
            .keys()
            .filter(|name| **name != *Tier::Standard.name())
        {
            if !entry.tiers.contains(name) {
                let message = format!(
                    "has a price but is not among this entry's tiers: add {name:?} to tiers"
                );
                self.fault(&["upstreams", at, "prices", name], message);
            }
        }
        if entry.tiers.is_empty() {
            return vec![Tier::Standard];
        }
        let mut tiers = Vec::new();
        for name in &entry.tiers {
            match Tier::parse(name) {
                Some(Tier::Background | Tier::Batch) => {
                    let message =
                        format!("tier {name:?} is not served over chat completions; leave it out");
                    self.fault(&["upstreams", at, "tiers"], message);
                }
                Some(tier) => tiers.push(tier),
                None => {
                    let known = Tier::ALL.map(Tier::name).join(", ");
                    let message = format!("unknown tier {name:?}; known are {known}");
                    self.fault(&["upstreams", at, "tiers"], message);
                }
            }
        }
        tiers
    }

    fn lanes(
        &mut self,
        (entry, room): (&UpstreamEntry, Room),
        tiers: &[Tier],
        model: &str,
        upstream: &UpstreamId,
    ) {
        let listed = catalogue::find(&entry.provider, model);
        for tier in tiers {
            let typed = entry.prices.get(tier.name()).map(price);
            let standard = *tier == Tier::Standard;
            let observed = || {
                self.learned
                    .observed
                    .get(model)
                    .filter(|_| standard)
                    .cloned()
            };
            let price = typed
                .or_else(|| listed.and_then(|l| l.price(*tier)))
                .or_else(observed);
            self.draft.lanes.push(Lane {
                id: LaneId::new(&format!("{upstream}/{}", tier.name())),
                upstream: upstream.clone(),
                tier: *tier,
                price,
                pace: pace(entry),
                room,
            });
        }
    }

    fn unused_models(&mut self, policy: &Policy) {
        let unused = |name: &&String| !policy.upstreams.iter().any(|u| u.models.contains(name));
        for name in policy.models.keys().filter(unused) {
            self.fault(
                &["models", name],
                "no [[upstreams]] entry serves this model".to_owned(),
            );
        }
    }

    fn route(&mut self, name: &str, entry: &RouteEntry) {
        for (field, value) in [
            ("bar", Some(entry.bar)),
            ("floor", entry.floor),
            ("guard", Some(entry.guard)),
            ("explore", Some(entry.explore)),
        ] {
            self.share(&["routes", name, field], value);
        }
        for model in &entry.models {
            self.known_model(&["routes", name, "models"], model);
        }
        let baseline = self.lane_named(&["routes", name, "baseline"], &entry.baseline);
        let default = match &entry.default {
            Some(typed) => self.lane_named(&["routes", name, "default"], typed),
            None => baseline.clone(),
        };
        let first_token_max = self.duration(
            &["routes", name, "first_token_max"],
            entry.first_token_max.as_deref(),
        );
        let deadline = self.duration(&["routes", name, "deadline"], entry.deadline.as_deref());
        let lossy = self.lossy(name, entry.lossy.as_deref());
        let overflow = entry.overflow.as_ref();
        let overflow = overflow.and_then(|entry| self.overflow(name, entry));
        let (Some(baseline), Some(default)) = (baseline, default) else {
            return;
        };
        let mut route = Route {
            id: name.into(),
            models: entry
                .models
                .iter()
                .map(|model| ModelId::new(model))
                .collect(),
            default_lane: default,
            baseline,
            bar: Bps::from_share(entry.bar),
            choice: Choice::Floor(Bps::ZERO),
            guard: Bps::from_share(entry.guard),
            learned: false,
            explore: Bps::from_share(entry.explore),
            max_cost: entry.max_cost_usd.map(NanoUsd::from_usd),
            first_token_max,
            deadline: deadline.unwrap_or(DEADLINE),
            attempts_max: entry.attempts.unwrap_or(ATTEMPTS),
            lossy,
            overflow,
            certificate: None,
        };
        (route.choice, route.learned) = self.choice(entry.floor, &route);
        route.certificate = self.certificate(&route);
        self.draft.routes.push(route);
    }

    fn audits(&mut self, entry: &AuditsEntry) {
        self.share(&["audits", "share"], Some(entry.share));
        self.share(&["audits", "starting_share"], Some(entry.starting_share));
        if !(entry.usd_per_day.is_finite() && entry.usd_per_day >= 0.0) {
            let message = "must be dollars from 0 on, e.g. 5.0".to_owned();
            self.fault(&["audits", "usd_per_day"], message);
        }
        let judge = entry.judge.as_ref();
        self.draft.audits = Some(Audits {
            share: Bps::from_share(entry.share),
            starting: Bps::from_share(entry.starting_share),
            per_day: NanoUsd::from_usd(entry.usd_per_day),
            judge: judge.and_then(|name| self.lane_named(&["audits", "judge"], name)),
        });
    }

    fn rule(&mut self, index: usize, entry: &RuleEntry) {
        let at = index.to_string();
        let path = ["rules", &at, "then"];
        let then = match &entry.then {
            ThenEntry::Only(models) => Action::Only(self.known_models(&path, models)),
            ThenEntry::Without(models) => Action::Without(self.known_models(&path, models)),
            ThenEntry::WithoutProvider(provider) => {
                Action::WithoutProvider(provider.as_str().into())
            }
            ThenEntry::Pin(name) => match self.lane_named(&path, name) {
                Some(lane) => Action::Pin(lane),
                None => return,
            },
        };
        let when = &entry.when;
        let mut matches = Vec::new();
        matches.extend(when.route.as_deref().map(|name| Match::Route(name.into())));
        matches.extend(when.slice.as_deref().map(|name| Match::Slice(name.into())));
        matches.extend(when.key.as_deref().map(|name| Match::Key(name.into())));
        matches.extend(when.tags.iter().map(|(name, value)| Match::Tag {
            name: name.clone(),
            value: value.clone(),
        }));
        matches.extend(when.class.map(|class| Match::Class(class_of(class))));
        matches.extend(
            when.input_above
                .map(|tokens| Match::InputAbove(Tokens(tokens))),
        );
        self.draft.rules.push(Rule {
            id: entry.id.as_str().into(),
            when: matches,
            then,
        });
    }

    fn share(&mut self, path: &[&str], value: Option<f64>) {
        if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            self.fault(path, "must be between 0 and 1, e.g. 0.95".to_owned());
        }
    }

    fn known_models(&mut self, path: &[&str], names: &[String]) -> Vec<ModelId> {
        names.iter().for_each(|name| self.known_model(path, name));
        names.iter().map(|name| ModelId::new(name)).collect()
    }

    fn known_model(&mut self, path: &[&str], name: &str) {
        if !self
            .draft
            .models
            .iter()
            .any(|model| model.id.as_str() == name)
        {
            self.fault(
                path,
                format!("no [[upstreams]] entry serves a model {name:?}"),
            );
        }
    }

    /// A lane by its own name, or the first lane of a model.
    fn lane_named(&mut self, path: &[&str], name: &str) -> Option<LaneId> {
        let by_lane = self
            .draft
            .lanes
            .iter()
            .find(|lane| lane.id.as_str() == name);
        let upstream = self
            .draft
            .upstreams
            .iter()
            .find(|upstream| upstream.model.as_str() == name);
        let by_model =
            upstream.and_then(|u| self.draft.lanes.iter().find(|lane| lane.upstream == u.id));
        let found = by_lane.or(by_model).map(|lane| lane.id.clone());
        if found.is_none() {
            self.fault(path, format!("{name:?} is neither a served model nor a lane such as \"openai:gpt-6-luna/standard\""));
        }
        found
    }

    fn duration(&mut self, path: &[&str], text: Option<&str>) -> Option<Millis> {
        let text = text?;
        let parsed = parse_duration(text);
        if parsed.is_none() {
            self.fault(
                path,
                format!("{text:?} is no duration; write e.g. \"500ms\", \"30s\", \"5m\" or \"2h\""),
            );
        }
        parsed
    }

    fn finish(mut self) -> Result<Draft, Vec<Fault>> {
        self.draft.version = TableVersion(1);
        self.draft.committee = self.learned.committee.clone();
        self.draft.learnt_at = self.learned.at;
        self.draft.frontier = self.learned.frontier.clone();
        self.draft.observed = self
            .learned
            .observed
            .iter()
            .map(|(id, price)| (id.clone(), price.clone()))
            .collect();
        if self.faults.is_empty() {
            for flaw in check::flaws(&self.draft) {
                let (path, message) = (path_of(&flaw), flaw.to_string());
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                self.fault(&path, message);
            }
        }
        if self.faults.is_empty() {
            Ok(self.draft)
        } else {
            Err(self.faults)
        }
    }
}
