//! The first half of a decision: what each candidate would cost, give and take, and
//! whether it can serve the request at all.
//!
//! Owns: filters and estimates. Knows nothing of ranking: that is `order.rs`.

use super::{Considered, Limit, Need, Removal, Verdict, Why};
use crate::catalogue::Lane;
use crate::conditions::{Conditions, Gate};
use crate::features::Facts;
use crate::head::{Abstention, Score, Scores};
use crate::id::RuleId;
use crate::prompt::Form;
use crate::rule::{Action, Rule};
use crate::table::{Route, Table};
use crate::unit::{Bps, Millis, NanoUsd, Tokens, UnixMillis};

/// In-flight requests that double a lane's expected time to the first token.
const DOUBLING_IN_FLIGHT: u64 = 32;

/// All candidates of a request with what is known of them.
pub(super) struct Assessed {
    /// In the table's order; the verdict is final only where it is `Removed` and not
    /// in `soft`.
    pub(super) trail: Vec<Considered>,
    /// Lane index per line of the trail.
    pub(super) lanes: Vec<usize>,
    /// Lines removed by a limit that may be relaxed.
    pub(super) soft: Vec<Option<Limit>>,
    pub(super) abstention: Option<Abstention>,
    pub(super) pinned: Option<(usize, RuleId)>,
    pub(super) baseline_cost: NanoUsd,
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
    for (line, lane) in lanes.iter().enumerate() {
        let estimate = request.estimate(*lane);
        let removal = request.removal(*lane, &estimate, &rules);
        let (removal, soft) = removal.map_or((None, None), |(r, soft)| (Some(r), soft));
        if assessed.pinned.is_none() {
            assessed.pinned = pin(&rules, table.lane(*lane)).map(|rule| (line, rule));
        }
        assessed.soft.push(soft);
        // Feasible lines get their place from `order`; until then they count as chosen.
        let verdict = removal.map_or(Verdict::Chosen(Why::OnlyOne), Verdict::Removed);
        assessed
            .trail
            .push(estimate.into_line(table, *lane, verdict));
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

fn pin(rules: &[&Rule], lane: &Lane) -> Option<RuleId> {
    let pins = rules
        .iter()
        .find(|rule| matches!(&rule.then, Action::Pin(id) if *id == lane.id));
    pins.map(|rule| rule.id.clone())
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
        let pace = self.table.lane(lane).pace;
        let idle = state.first_token.unwrap_or(pace.first_token).0;
        let queue = idle.saturating_mul(u64::from(state.in_flight)) / DOUBLING_IN_FLIGHT;
        let first_token = Millis(idle.saturating_add(queue));
        let per_token = u64::from(state.per_token_us.unwrap_or(pace.per_token_us));
        let writing = Millis(per_token.saturating_mul(u64::from(output.0)) / 1_000);
        Estimate {
            quality: score.map(|s| s.quality).or(model.prior),
            quality_low: score.map(|s| s.quality_low),
            cost: price.map(|price| price.estimate(input, Tokens(0), output, self.now)),
            input,
            output,
            first_token,
            total: first_token.saturating_add(writing),
        }
    }

    /// The first reason against a lane; with the limit to relax where there is one.
    fn removal(
        &self,
        lane: usize,
        estimate: &Estimate,
        rules: &[&Rule],
    ) -> Option<(Removal, Option<Limit>)> {
        let hard = self
            .by_rule(lane, rules)
            .or_else(|| self.by_need(lane))
            .or_else(|| self.by_size(lane, estimate))
            .or_else(|| estimate.cost.is_none().then_some(Removal::NoPrice))
            .or_else(|| self.by_state(lane));
        hard.map(|removal| (removal, None))
            .or_else(|| self.by_limit(estimate))
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
        ];
        lacks
            .into_iter()
            .find(|(lacks, _)| *lacks)
            .map(|(_, need)| Removal::Lacks(need))
    }

    fn by_size(&self, lane: usize, estimate: &Estimate) -> Option<Removal> {
        let model = self.table.model_of(lane);
        if estimate.input > model.context {
            return Some(Removal::ContextTooSmall {
                needs: estimate.input,
                has: model.context,
            });
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

    fn by_limit(&self, estimate: &Estimate) -> Option<(Removal, Option<Limit>)> {
        let cost = estimate.cost.unwrap_or_default();
        if let Some(max) = self.route.max_cost.filter(|max| cost > *max) {
            return Some((Removal::TooDear { cost, max }, Some(Limit::Cost)));
        }
        if let Some(max) = self
            .route
            .first_token_max
            .filter(|max| estimate.first_token > *max)
        {
            let first_token = estimate.first_token;
            return Some((Removal::TooSlow { first_token, max }, Some(Limit::Latency)));
        }
        let quality = estimate.quality.unwrap_or_default();
        let min = self.facts.min_quality.filter(|min| quality < *min)?;
        Some((
            Removal::BelowMinimum { quality, min },
            Some(Limit::MinQuality),
        ))
    }
}
