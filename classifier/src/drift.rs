//! Whether the world is still the one that a table was learnt in.
//!
//! Owns: what is watched after a table went out, and when that is an alarm. Every watch
//! is a bet that can be looked at as often as one likes (`bet.rs`); all of a table's
//! watches share one chance of a false alarm. Audits tell what a route loses and which
//! model grew worse; outcomes alone, without any label, tell of longer or shorter
//! answers, failures, empty answers and unfamiliar requests. Pure: what to do about an
//! alarm is the control plane's.

mod bet;

use std::collections::BTreeMap;

use spillway_routing::conditions::Conditions;
use spillway_routing::decide::{Draw, decide};
use spillway_routing::features::Facts;
use spillway_routing::float;
use spillway_routing::head::{Abstention, Committee, Head, Scores};
use spillway_routing::id::{ModelId, RouteId};
use spillway_routing::outcome::{AttemptResult, Audit, Ending, Outcome};
use spillway_routing::table::{Choice, Route, Table};
use spillway_routing::unit::{Bps, UnixMillis};

use self::bet::Bet;
use crate::certificate::ALLOWED;

/// The chance of a false alarm in a table's life.
const FALSE_ALARM: f64 = 0.05;
/// A model's quality may lie so far below what was predicted: heads err by up to five
/// points in a slice without any drift.
const WORSE_BY: f64 = 0.05;
/// Answers may be half as long again, or two thirds as long, as they were at first, against
/// what was predicted.
const LENGTH_FACTOR: f64 = 1.5;
/// Answers of a model that say how long they are at first.
const LENGTHS_FIRST: usize = 200;
/// Beyond this factor one answer counts no more.
const LENGTH_FACTOR_MAX: f64 = 16.0;
/// Shares of a model's calls that may fail, and of its answers that may be empty.
const FAILURES_MAX: f64 = 0.1;
const EMPTY_MAX: f64 = 0.03;
/// Share of requests that may be unlike the training data; up to a twentieth of what is like
/// it counts as unlike.
const UNLIKE_MAX: f64 = 0.1;
/// A population stability index above this is a shift by the usual reading (Siddiqi 2006).
const SHIFT_MAX: f64 = 0.25;
/// Requests on either side of the comparison, and groups of clusters they are counted in.
const SHIFT_REQUESTS: usize = 1_000;
const SHIFT_GROUPS: usize = 10;

/// What an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A route's choices lose more than its bar allows.
    Loss,
    /// A model's answers are worse than predicted.
    Worse,
    /// A model's answers have become longer or shorter, against what was predicted.
    Length,
    /// A model's calls fail.
    Failures,
    /// A model's answers are empty.
    Empty,
    /// Requests are unlike those that were learnt from.
    Unlike,
    /// The mix of requests has shifted.
    Shift,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Loss,
        Self::Worse,
        Self::Length,
        Self::Failures,
        Self::Empty,
        Self::Unlike,
        Self::Shift,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Worse => "worse",
            Self::Length => "length",
            Self::Failures => "failures",
            Self::Empty => "empty",
            Self::Unlike => "unlike",
            Self::Shift => "shift",
        }
    }
}

/// Something changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    pub kind: Kind,
    /// The route or model; empty for all traffic.
    pub subject: String,
    /// How many audits or requests it rests on.
    pub seen: usize,
    /// What was observed on average, and what is allowed.
    pub mean: f64,
    pub allowed: f64,
    /// When it seems to have begun.
    pub since: UnixMillis,
}

/// What came in since the table's heads were learnt, oldest first; earlier rows are left
/// out.
#[derive(Clone, Copy, Debug)]
pub struct Since<'a> {
    pub audits: &'a [Audit],
    pub live: &'a [(Outcome, Option<Bps>)],
}

/// All alarms of a table. Empty while it has learnt nothing.
#[must_use]
pub fn watch(table: &Table, since: Since<'_>) -> Vec<Alarm> {
    let draft = table.draft();
    let Some(committee) = &draft.committee else {
        return Vec::new();
    };
    let prophet = Prophet {
        committee,
        heads: draft.routes.iter().any(|route| route.learned),
    };
    // Exploring is no loss of the policy's.
    let mut plain = draft.clone();
    for route in &mut plain.routes {
        route.explore = Bps::ZERO;
    }
    let Ok(plain) = Table::build(plain) else {
        return Vec::new();
    };
    let mut watches = Watches::default();
    let later = |at: UnixMillis| at > draft.learnt_at;
    for audit in since.audits.iter().filter(|audit| later(audit.at)) {
        watches.now = audit.at;
        watches.audit(&plain, &prophet, audit);
    }
    let mut cells = Vec::new();
    for (outcome, quality) in since.live.iter().filter(|(outcome, _)| later(outcome.at)) {
        watches.now = outcome.at;
        watches.outcome(&prophet, outcome, *quality);
        cells.extend(group(committee, &outcome.facts));
    }
    let now = watches.now;
    let mut alarms = watches.alarms();
    alarms.extend(shift(&cells, now));
    alarms
}

/// What the table says of a request.
struct Prophet<'a> {
    committee: &'a Committee,
    /// Whether any route uses the heads; if none does, the means are all that is said.
    heads: bool,
}

impl Prophet<'_> {
    fn scores(&self, facts: &Facts) -> Scores {
        if self.heads {
            return self.committee.score(facts);
        }
        let mut means = self.committee.blind(Abstention::NotTrained);
        means.abstention = None;
        means
    }
}

/// The bets under way.
#[derive(Default)]
struct Watches {
    bets: BTreeMap<(Kind, String), Watch>,
    /// When each answer of a model came, and the error of its predicted logarithmic length.
    lengths: BTreeMap<ModelId, Vec<(UnixMillis, f64)>>,
    /// When the row that is read now came.
    now: UnixMillis,
}

/// A bet on numbers that were moved into 0..=1.
struct Watch {
    bet: Bet,
    /// What 0 and 1 stand for.
    range: (f64, f64),
    allowed: f64,
    /// When each number came.
    times: Vec<UnixMillis>,
}

impl Watches {
    fn see(&mut self, kind: Kind, subject: &str, (low, high): (f64, f64), allowed: f64, x: f64) {
        let moved = |x: f64| ((x - low) / (high - low)).clamp(0.0, 1.0);
        let key = (kind, subject.to_owned());
        let watch = self.bets.entry(key).or_insert_with(|| Watch {
            bet: Bet::against(moved(allowed)),
            range: (low, high),
            allowed,
            times: Vec::new(),
        });
        watch.bet.see(moved(x));
        watch.times.push(self.now);
    }

    fn audit(&mut self, table: &Table, prophet: &Prophet<'_>, audit: &Audit) {
        let score = |model: &ModelId| {
            let answer = audit.answers.iter().find(|answer| answer.model == *model)?;
            Some(answer.score.share())
        };
        let (committee, scores) = (prophet.committee, prophet.scores(&audit.facts));
        // Of what is not predicted nobody can say that it is worse.
        let predicted = committee.models.iter().zip(&scores.models);
        for (model, predicted) in predicted.filter(|_| scores.abstention.is_none()) {
            if let Some(seen) = score(model) {
                self.worse(model, predicted.quality.share() - seen);
            }
        }
        let name = audit.facts.route.as_ref().map_or("", RouteId::as_str);
        let solved =
            |(route, _): &(&Route, &[usize])| matches!(route.choice, Choice::Multiplier(_));
        let Some((route, lanes)) = table.route(name).filter(solved) else {
            return;
        };
        let idle = Conditions {
            lanes: vec![Default::default(); table.draft().lanes.len()],
        };
        let decided = decide(table, &audit.facts, &idle, audit.at, Draw(0));
        let Some(chosen) = decided.ok().and_then(|d| Some(d.chosen()?.model.clone())) else {
            return;
        };
        let best = best(table, route, lanes, committee);
        if let (Some(chosen), Some(best)) = (score(&chosen), best.and_then(|best| score(&best))) {
            let loss = route.bar.share() * best - chosen;
            self.see(Kind::Loss, name, (-1.0, 1.0), ALLOWED, loss);
        }
    }

    fn worse(&mut self, model: &ModelId, shortfall: f64) {
        self.see(
            Kind::Worse,
            model.as_str(),
            (-1.0, 1.0),
            WORSE_BY,
            shortfall,
        );
    }

    fn outcome(&mut self, prophet: &Prophet<'_>, outcome: &Outcome, quality: Option<Bps>) {
        let (committee, scores) = (prophet.committee, prophet.scores(&outcome.facts));
        let yes = |is: bool| f64::from(u8::from(is));
        let unlike = scores.abstention == Some(Abstention::UnlikeTraining);
        self.see(Kind::Unlike, "", (0.0, 1.0), UNLIKE_MAX, yes(unlike));
        for attempt in &outcome.attempts {
            let failed = matches!(
                attempt.result,
                AttemptResult::Failed | AttemptResult::TimedOut | AttemptResult::Cut
            );
            let considered = outcome.decision.iter().flat_map(|d| &d.trail);
            let line = considered
                .into_iter()
                .find(|line| line.lane == attempt.lane);
            if let Some(line) = line {
                let model = line.model.as_str();
                self.see(Kind::Failures, model, (0.0, 1.0), FAILURES_MAX, yes(failed));
            }
        }
        let Some(model) = outcome.served_model.as_ref() else {
            return;
        };
        if outcome.ending != Ending::Answered {
            return;
        }
        let length = outcome.usage.output.0;
        // Vectors and images have no tokens.
        if outcome.facts.dialect.converses() {
            let empty = yes(length == 0);
            self.see(Kind::Empty, model.as_str(), (0.0, 1.0), EMPTY_MAX, empty);
        }
        let column = committee.models.iter().position(|known| known == model);
        let Some(predicted) = column.and_then(|column| scores.models.get(column)) else {
            return;
        };
        if scores.abstention.is_some() {
            return;
        }
        // A limit would cut some answers short.
        if outcome.facts.requirements.max_output.is_none() {
            let log = |tokens: u32| float::ln(f64::from(tokens) + 1.0);
            let error = log(length) - log(predicted.output.0);
            let lengths = self.lengths.entry(model.clone()).or_default();
            lengths.push((outcome.at, error));
        }
        if let Some(quality) = quality {
            self.worse(model, predicted.quality.share() - quality.share());
        }
    }

    /// Answers are skewed, so their mean error is compared with what it was at first.
    fn lengths(&mut self) {
        let most = float::ln(LENGTH_FACTOR_MAX);
        let allowed = float::ln(LENGTH_FACTOR);
        for (model, errors) in std::mem::take(&mut self.lengths) {
            let Some((first, later)) = errors.split_at_checked(LENGTHS_FIRST) else {
                continue;
            };
            let usual = first.iter().map(|(_, error)| error).sum::<f64>() / first.len() as f64;
            let shorter = format!("{model} (shorter)");
            for (at, error) in later {
                self.now = *at;
                let change = error - usual;
                self.see(Kind::Length, model.as_str(), (-most, most), allowed, change);
                self.see(Kind::Length, &shorter, (-most, most), allowed, -change);
            }
        }
    }

    fn alarms(mut self) -> Vec<Alarm> {
        self.lengths();
        // Ville's bound for all bets together.
        let wealth = self.bets.len() as f64 / FALSE_ALARM;
        let won = self
            .bets
            .into_iter()
            .filter(|(_, watch)| watch.bet.wealth() >= wealth);
        let alarm = |((kind, subject), watch): ((Kind, String), Watch)| {
            let (low, high) = watch.range;
            Alarm {
                kind,
                subject,
                seen: watch.bet.seen(),
                mean: low + watch.bet.mean() * (high - low),
                allowed: watch.allowed,
                since: watch
                    .times
                    .get(watch.bet.before_change())
                    .copied()
                    .unwrap_or_default(),
            }
        };
        won.map(alarm).collect()
    }
}

/// The route's best model by the means it was learnt with: what its bar is measured by.
fn best(table: &Table, route: &Route, lanes: &[usize], committee: &Committee) -> Option<ModelId> {
    let on_route = |model: &ModelId| {
        route.models.contains(model) || lanes.iter().any(|lane| table.model_of(*lane).id == *model)
    };
    let means = committee.models.iter().zip(&committee.mean_quality);
    let known = means.filter(|(model, _)| on_route(model));
    known
        .max_by_key(|(_, mean)| **mean)
        .map(|(model, _)| model.clone())
}

/// Which group of clusters a request is nearest to.
fn group(committee: &Committee, facts: &Facts) -> Option<usize> {
    let clusters = committee.heads.iter().find_map(|head| match head {
        Head::Clusters(clusters) => Some(clusters),
        _ => None,
    })?;
    let mut nearest = None;
    clusters.spread(&committee.inputs(facts), |cell, _| {
        nearest = nearest.or(Some(cell))
    });
    nearest.map(|cell| cell % SHIFT_GROUPS)
}

/// Compares the first requests after the learning with the latest.
fn shift(groups: &[usize], now: UnixMillis) -> Option<Alarm> {
    if groups.len() < 2 * SHIFT_REQUESTS {
        return None;
    }
    let shares = |groups: &[usize]| {
        // Half a request everywhere keeps the logarithm finite.
        let mut counts = [0.5; SHIFT_GROUPS];
        groups.iter().for_each(|group| counts[*group] += 1.0);
        counts.map(|count| count / (groups.len() as f64 + 0.5 * SHIFT_GROUPS as f64))
    };
    let before = shares(&groups[..SHIFT_REQUESTS]);
    let after = shares(&groups[groups.len() - SHIFT_REQUESTS..]);
    let terms = before
        .iter()
        .zip(after)
        .map(|(b, a)| (a - b) * float::ln(a / b));
    let index: f64 = terms.sum();
    (index > SHIFT_MAX).then(|| Alarm {
        kind: Kind::Shift,
        subject: String::new(),
        seen: groups.len(),
        mean: index,
        allowed: SHIFT_MAX,
        since: now,
    })
}

#[cfg(test)]
mod tests;
