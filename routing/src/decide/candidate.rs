//! The first half of a decision: what each candidate would cost, give and take, and
//! whether it can serve the request at all.
//!
//! Owns: filters and estimates. Knows nothing of ranking: that is `order.rs`.

use super::{Considered, Limit, Need, Removal, Verdict, Why};
use crate::account::Account;
use crate::conditions::{Conditions, Gate, LaneState};
use crate::dialect::Dialect;
use crate::features::Facts;
use crate::head::{Abstention, Score, Scores};
use crate::id::RuleId;
use crate::prompt::{Class, Form};
use crate::rule::{Action, Rule};
use crate::start::Start;
use crate::table::{Choice, Route, Table};
use crate::unit::{Bps, Millis, NanoUsd, Tokens, UnixMillis};

/// What is believed of a lane that makes requests wait and was never tried.
const CHANCE_UNSEEN: Bps = Bps::new(5_000);
/// Waiting in vain costs no money, but it takes the caller's time and a place at the lane:
/// below one in twenty it is not worth either.
const CHANCE_MIN: Bps = Bps::new(500);
/// Requests under way or waiting that double a lane's expected time to the first token.
const DOUBLING_IN_FLIGHT: u64 = 32;

/// All candidates of a request with what is known of them.
pub(super) struct Assessed {
    /// In the table's order; the verdict is final only where it is `Removed` and `soft`
    /// is empty.
    pub(super) trail: Vec<Considered>,
    /// Lane index per line of the trail.
    pub(super) lanes: Vec<usize>,
    /// Per line the limits it misses that may be relaxed, and nothing else against it.
    pub(super) soft: Vec<Vec<(Limit, Removal)>>,
    pub(super) abstention: Option<Abstention>,
    pub(super) pinned: Option<(usize, RuleId)>,
    pub(super) baseline_cost: NanoUsd,
    /// The answer is wanted whole, not streamed.
    pub(super) whole: bool,
    /// Per line how likely the answer begins in time, where it may have to wait.
    pub(super) chances: Vec<Option<Bps>>,
    /// Per line the cost with what the lane's prompt cache probably has.
    pub(super) warm: Vec<Option<NanoUsd>>,
    /// Per line what its lane is like just now.
    pub(super) states: Vec<LaneState>,
    pub(super) class: Class,
}

pub(super) fn assess(
    table: &Table,
    route: &Route,
    lanes: &[usize],
    facts: &Facts,
    conditions: &Conditions,
    now: UnixMillis,
) -> Assessed {
    let scores = scores(table, route, facts);
    let mut assessed = Assessed {
        trail: Vec::with_capacity(lanes.len()),
        lanes: lanes.to_vec(),
        soft: Vec::with_capacity(lanes.len()),
        abstention: abstention(scores.as_ref(), route),
        pinned: None,
        baseline_cost: NanoUsd::ZERO,
        whole: !facts.stream,
        chances: Vec::with_capacity(lanes.len()),
        warm: Vec::with_capacity(lanes.len()),
        states: lanes.iter().map(|lane| conditions.lane(*lane)).collect(),
        class: facts.class,
    };
    let rules: Vec<&Rule> = table
        .draft()
        .rules
        .iter()
        .filter(|rule| rule.holds(facts))
        .collect();
    let request = Request {
        table,
        route,
        facts,
        conditions,
        now,
        scores: scores.as_ref(),
    };
    for lane in lanes {
        let estimate = request.estimate(*lane);
        let hard = request.hard(*lane, &estimate, &rules);
        let soft = if hard.is_none() {
            request.soft(&estimate)
        } else {
            Vec::new()
        };
        let removal = hard.or_else(|| soft.first().map(|(_, removal)| removal.clone()));
        assessed.soft.push(soft);
        assessed.chances.push(request.chance(*lane));
        assessed.warm.push(estimate.warm);
        // Feasible lines get their place from `order`; until then they count as chosen.
        let verdict = removal.map_or(Verdict::Chosen(Why::OnlyOne), Verdict::Removed);
        assessed
            .trail
            .push(estimate.into_line(table, *lane, verdict));
    }
    assessed.pinned = pin(&rules, &assessed.trail);
    if unknown(route, &assessed.trail) {
        assessed.abstention = assessed.abstention.or(Some(Abstention::NotTrained));
    }
    if let Some(baseline) = table.lane_index(&route.baseline) {
        assessed.baseline_cost = request.estimate(baseline).cost.unwrap_or_default();
    }
    assessed
}

fn scores(table: &Table, route: &Route, facts: &Facts) -> Option<Scores> {
    let committee = table.draft().committee.as_ref()?;
    Some(if route.learned {
        committee.score(facts)
    } else {
        committee.blind(Abstention::NotTrained)
    })
}

/// A route whose gate declined keeps its prompt-blind choice: that is no abstention.
fn abstention(scores: Option<&Scores>, route: &Route) -> Option<Abstention> {
    scores
        .filter(|_| route.learned)
        .and_then(|scores| scores.abstention)
}

/// The line that the first rule with a lane of this route pins.
fn pin(rules: &[&Rule], trail: &[Considered]) -> Option<(usize, RuleId)> {
    rules.iter().find_map(|rule| {
        let Action::Pin(id) = &rule.then else {
            return None;
        };
        let line = trail.iter().position(|line| line.lane == *id)?;
        Some((line, rule.id.clone()))
    })
}

/// Nothing is known of any candidate's quality, and the route asks for some.
fn unknown(route: &Route, trail: &[Considered]) -> bool {
    let asks = route.choice != Choice::Floor(Bps::ZERO);
    asks && trail.iter().all(|line| line.quality.is_none())
}

struct Request<'a> {
    table: &'a Table,
    route: &'a Route,
    facts: &'a Facts,
    conditions: &'a Conditions,
    now: UnixMillis,
    scores: Option<&'a Scores>,
}

/// What is expected of one lane for this request.
struct Estimate {
    quality: Option<Bps>,
    quality_low: Option<Bps>,
    cost: Option<NanoUsd>,
    /// The same with what its prompt cache probably has.
    warm: Option<NanoUsd>,
    input: Tokens,
    output: Tokens,
    first_token: Millis,
    total: Millis,
}

impl Estimate {
    fn into_line(self, table: &Table, lane: usize, verdict: Verdict) -> Considered {
        Considered {
            lane: table.lane(lane).id.clone(),
            model: table.model_of(lane).id.clone(),
            quality: self.quality,
            quality_low: self.quality_low,
            cost: self.cost,
            output: self.output,
            first_token: self.first_token,
            total: self.total,
            utility: i64::MIN,
            verdict,
        }
    }
}

impl Request<'_> {
    fn estimate(&self, lane: usize) -> Estimate {
        let model = self.table.model_of(lane);
        let column = self.table.place(lane).column;
        let score: Option<Score> = column.and_then(|c| self.scores?.models.get(c).copied());
        let wanted = score.map_or(model.typical_output, |score| score.output);
        let most = self
            .facts
            .requirements
            .max_output
            .unwrap_or(model.max_output);
        let output = wanted.min(most).min(model.max_output);
        let input = self.facts.input(model.family);
        let price = self.table.lane(lane).price.as_ref();
        let state = self.conditions.lane(lane);
        // The same part of the input, as this family counts it.
        let cached = u64::from(input.0) * u64::from(state.cached.0);
        let cached = cached / u64::from(self.facts.o200k.0.max(1));
        let cached = Tokens(u32::try_from(cached).unwrap_or(u32::MAX)).min(input);
        let pace = self.table.lane(lane).pace;
        let idle = state.first_token.unwrap_or(pace.first_token).0;
        let before = u64::from(state.in_flight) + u64::from(state.waiting);
        let queue = idle.saturating_mul(before) / DOUBLING_IN_FLIGHT;
        let first_token = Millis(idle.saturating_add(queue));
        let per_token = u64::from(state.per_token_us.unwrap_or(pace.per_token_us));
        let writing = Millis(per_token.saturating_mul(u64::from(output.0)) / 1_000);
        Estimate {
            quality: score.map(|s| s.quality).or(model.prior),
            quality_low: score.map(|s| s.quality_low),
            cost: price.map(|price| price.estimate(input, Tokens(0), output, self.now)),
            warm: price.map(|price| price.estimate(input, cached, output, self.now)),
            input,
            output,
            first_token,
            total: first_token.saturating_add(writing),
        }
    }

    /// How likely an answer begins in time at a lane that makes requests wait.
    fn chance(&self, lane: usize) -> Option<Bps> {
        let Start::Within(within) = self.facts.start.or_by_class(self.facts.class) else {
            return None;
        };
        let deferred = self.table.lane(lane).tier.is_deferred();
        deferred.then(|| {
            let starts = self.conditions.lane(lane).starts;
            starts.map_or(CHANCE_UNSEEN, |starts| starts.chance(within))
        })
    }

    /// The first reason against a lane that nothing can relax.
    fn hard(&self, lane: usize, estimate: &Estimate, rules: &[&Rule]) -> Option<Removal> {
        self.by_rule(lane, rules)
            .or_else(|| self.by_alarm(lane))
            .or_else(|| self.by_start(lane))
            .or_else(|| self.by_need(lane))
            .or_else(|| self.by_size(lane, estimate))
            .or_else(|| estimate.cost.is_none().then_some(Removal::NoPrice))
            .or_else(|| self.by_state(lane))
    }

    fn by_rule(&self, lane: usize, rules: &[&Rule]) -> Option<Removal> {
        let model = &self.table.model_of(lane).id;
        let provider = &self.table.upstream_of(lane).provider;
        let excludes = |rule: &&&Rule| match &rule.then {
            Action::Only(models) => !models.contains(model),
            Action::Without(models) => models.contains(model),
            Action::WithoutProvider(id) => id == provider,
            Action::Pin(_) => false,
        };
        rules
            .iter()
            .find(excludes)
            .map(|rule| Removal::Rule(rule.id.clone()))
    }

    /// Where models are chosen by what was learnt of them. The route's default stays: it is
    /// what is taken where nothing is known.
    fn by_alarm(&self, lane: usize) -> Option<Removal> {
        let by_quality = matches!(self.route.choice, Choice::Multiplier(_));
        let suspended = by_quality && self.table.place(lane).suspended;
        let default = || self.table.lane_index(&self.route.default_lane);
        let kept =
            || default().is_some_and(|d| self.table.place(d).model == self.table.place(lane).model);
        (suspended && !kept()).then_some(Removal::NoQuality)
    }

    fn by_start(&self, lane: usize) -> Option<Removal> {
        let start = self.facts.start.or_by_class(self.facts.class);
        let tier = self.table.lane(lane).tier;
        if !start.takes(tier) {
            return Some(Removal::OtherTier(tier));
        }
        let chance = self.chance(lane)?;
        (chance < CHANCE_MIN).then_some(Removal::HardlyInTime(chance))
    }

    fn by_need(&self, lane: usize) -> Option<Removal> {
        let can = self.table.model_of(lane).capabilities;
        let needs = &self.facts.requirements;
        let lacks = [
            (needs.tools && !can.tools, Need::Tools),
            (
                needs.form == Form::JsonObject && !can.json_object,
                Need::JsonObject,
            ),
            (
                needs.form == Form::JsonSchema && !can.json_schema,
                Need::JsonSchema,
            ),
            (needs.vision && !can.vision, Need::Vision),
            (!self.is_sayable(lane), Need::Dialect),
            (!self.is_same_model(lane), Need::SameModel),
            (!self.is_paid_for(lane), Need::OwnKey),
            (!self.knows_the_state(lane), Need::State),
        ];
        lacks
            .into_iter()
            .find(|(lacks, _)| *lacks)
            .map(|(_, need)| Removal::Lacks(need))
    }

    /// Whether some dialect of the lane's says the request truly enough for the route.
    fn is_sayable(&self, lane: usize) -> bool {
        let spoken = self.facts.spoken_to(self.table.upstream_of(lane));
        spoken.is_some_and(|(_, fidelity)| fidelity <= self.route.lossy)
    }

    /// Embeddings stay with one model, the baseline's: whoever has stored vectors of it can
    /// use no others.
    fn is_same_model(&self, lane: usize) -> bool {
        let baseline = self.table.lane_index(&self.route.baseline);
        let model = |lane: usize| self.table.place(lane).model;
        self.facts.dialect != Dialect::OpenAiEmbeddings
            || baseline.is_none_or(|baseline| model(baseline) == model(lane))
    }

    /// Whoever brings keys pays with them, and with nothing else.
    fn is_paid_for(&self, lane: usize) -> bool {
        let own = &self.facts.own_keys;
        own.is_empty() || own.contains(&self.table.upstream_of(lane).provider)
    }

    /// Whether what the conversation builds on is kept where the lane leads.
    fn knows_the_state(&self, lane: usize) -> bool {
        let account = || Account::behind(self.table.upstream_of(lane), &self.facts.own_keys);
        self.facts.kept_by.is_none() || self.facts.kept_by == account()
    }

    fn by_size(&self, lane: usize, estimate: &Estimate) -> Option<Removal> {
        let model = self.table.model_of(lane);
        // Each of many texts has the context for itself: the provider judges them.
        let together = self.facts.dialect != Dialect::OpenAiEmbeddings;
        if together && estimate.input > model.context {
            return Some(Removal::ContextTooSmall {
                needs: estimate.input,
                has: model.context,
            });
        }
        // Messages callers have to name a limit, and their SDKs name the largest there is:
        // it is no wish.
        if self.facts.dialect == Dialect::AnthropicMessages {
            return None;
        }
        let needs = self
            .facts
            .requirements
            .max_output
            .filter(|wanted| *wanted > model.max_output)?;
        Some(Removal::OutputTooShort {
            needs,
            has: model.max_output,
        })
    }

    fn by_state(&self, lane: usize) -> Option<Removal> {
        match self.conditions.lane(lane).gate {
            Gate::Open | Gate::Probing => None,
            Gate::Shut => Some(Removal::Shut),
            Gate::Full => Some(Removal::Full),
        }
    }

    /// All limits that the lane misses.
    fn soft(&self, estimate: &Estimate) -> Vec<(Limit, Removal)> {
        let (cost, first_token) = (estimate.cost.unwrap_or_default(), estimate.first_token);
        let quality = estimate.quality.unwrap_or_default();
        let dear = self.route.max_cost.filter(|max| cost > *max);
        let slow = self.route.first_token_max.filter(|max| first_token > *max);
        let below = self.facts.min_quality.filter(|min| quality < *min);
        let dear = dear.map(|max| (Limit::Cost, Removal::TooDear { cost, max }));
        let slow = slow.map(|max| (Limit::Latency, Removal::TooSlow { first_token, max }));
        let below = below.map(|min| (Limit::MinQuality, Removal::BelowMinimum { quality, min }));
        [dear, slow, below].into_iter().flatten().collect()
    }
}
