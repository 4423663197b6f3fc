//! The second half of a decision: choose one, order the rest, say why.
//!
//! Owns: relaxing limits, weighing, exploring by draw, fallbacks and their deadlines.
//! Knows nothing of how estimates were made: that is `candidate.rs`.

use super::candidate::Assessed;
use super::spill::{self, Spill, Spilling};
use super::waiting;
use super::{
    Considered, Decision, Draw, Limit, Offer, Refusal, Removal, Step, Verdict, Why, choose,
};
use crate::float;
use crate::start::Start;
use crate::table::{Choice, Route, Table};
use crate::unit::{Bps, Millis, NanoUsd, Ppm};

/// Exploration draws among candidates at most this far below the best utility: a tenth
/// of full quality.
const EXPLORE_WITHIN: i64 = 1_000 * 1_000_000;
/// Temperature of the draw, in the same unit: three hundredths of full quality.
const EXPLORE_TEMPERATURE: f64 = 300.0 * 1e6;
/// Part of a request's deadline that is kept for each later attempt.
const RESERVED_PARTS: u64 = 4;
/// How long a start on the flex tier is waited for.
const FLEX_WITHIN: Millis = Millis(600_000);
/// Answers are often longer and lanes slower than expected; a whole answer is given up
/// only when it takes this many times its expected writing time.
const WRITING_SLACK: u64 = 10;

pub(super) fn order(
    table: &Table,
    route: &Route,
    mut assessed: Assessed,
    start: Start,
    draw: Draw,
) -> Result<Decision, Refusal> {
    let kept = spill::kept(table, route, &assessed);
    let spill = kept.and_then(|line| spill::reserve(route, line, &mut assessed));
    let relaxed = relax(&mut assessed, spill.as_ref(), kept);
    let feasible = feasible(&assessed);
    if feasible.is_empty() {
        return Err(refusal(assessed));
    }
    weigh(route, &mut assessed.trail, &feasible);
    // The choice is made among lanes that answer at once, where there are any.
    let (deferred, prompt) = parted(table, &assessed, &feasible);
    let choosable = if prompt.is_empty() {
        &deferred
    } else {
        &prompt
    };
    let pick = pick(table, route, &assessed, choosable, draw).warmest(&assessed, choosable);
    let mut plan = match start {
        Start::Within(_) => waiting::lines(table, &assessed, &deferred, pick.line),
        _ => Vec::new(),
    };
    let first = plan.len();
    let room = usize::from(route.attempts_max);
    let mut at_once = fallbacks(table, room, &assessed, choosable, pick.line);
    // Where no lane answers at once, the others are among them.
    at_once.retain(|line| !plan.contains(line));
    // Whoever waits for a cheap start has left the crowd already.
    let spill = spill.as_ref().filter(|_| first == 0);
    let spilling = spill.map_or(Spilling::Never, |spill| spill.of(&assessed, pick.line));
    let why = why(&pick, spilling, first > 0);
    if let Spilling::Now(line, _) = spilling {
        at_once.insert(0, line);
        at_once.truncate(room);
    }
    plan.extend(at_once);
    let waiting = Waiting::of(first, start, &assessed, pick.line);
    let deadline = deadline(route, start);
    let kept = match spilling {
        Spilling::Perhaps(line) => spill.map(|spill| (line, spill.needs_time())),
        Spilling::Now(..) | Spilling::Never => None,
    };
    let needs_time = kept.is_some_and(|(_, needs_time)| needs_time);
    let mut steps = steps(deadline, (&waiting, needs_time), &assessed, &plan);
    if let Some((line, _)) = kept {
        // It takes nobody's place: most requests never come to it.
        plan.insert(1, line);
        let step = kept_step(deadline, needs_time, &steps, &assessed.trail[line]);
        steps.insert(1, step);
    }
    verdicts(&mut assessed.trail, (&feasible, &prompt), &plan, why);
    // What spills over goes there whatever was drawn.
    let drawn = !matches!(spilling, Spilling::Now(..));
    Ok(Decision {
        route: route.id.clone(),
        plan: steps,
        trail: assessed.trail,
        abstention: assessed.abstention,
        explored: drawn && pick.why == Why::Explored,
        propensity: if drawn { pick.propensity } else { Ppm::ONE },
        baseline_cost: assessed.baseline_cost,
        relaxed,
    })
}

/// The lines that make requests wait, and those that answer at once.
fn parted(table: &Table, assessed: &Assessed, feasible: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let lines = || feasible.iter().copied();
    let waits = |line: &usize| waiting::is_deferred(table, assessed, *line);
    let prompt = among(feasible.len(), lines().filter(|line| !waits(line)));
    (lines().filter(waits).collect(), prompt)
}

/// Why the plan's first lane is the first.
fn why(pick: &Pick, spilling: Spilling, waits: bool) -> Why {
    match spilling {
        _ if waits => Why::MayWait,
        Spilling::Now(_, cause) => Why::Overflowed(cause),
        Spilling::Never | Spilling::Perhaps(_) => pick.why.clone(),
    }
}

/// What became of each feasible line: its place in the plan, or why it has none.
fn verdicts(
    trail: &mut [Considered],
    (feasible, prompt): (&[usize], &[usize]),
    plan: &[usize],
    why: Why,
) {
    for line in feasible {
        let answers_at_once = prompt.is_empty() || prompt.contains(line);
        trail[*line].verdict = Verdict::Removed(if answers_at_once {
            Removal::PlanFull
        } else {
            Removal::NotWorthWaiting
        });
    }
    for (rank, line) in plan.iter().enumerate() {
        trail[*line].verdict = match rank {
            0 => Verdict::Chosen(why.clone()),
            rank => Verdict::Fallback(rank as u8),
        };
    }
}

fn is_feasible(considered: &Considered) -> bool {
    !matches!(considered.verdict, Verdict::Removed(_))
}

/// Some of so many lines; asks for memory once.
fn among(lines: usize, some: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut found = Vec::with_capacity(lines);
    found.extend(some);
    found
}

fn feasible(assessed: &Assessed) -> Vec<usize> {
    let trail = &assessed.trail;
    among(
        trail.len(),
        (0..trail.len()).filter(|line| is_feasible(&trail[*line])),
    )
}

/// Gives up limits one by one until something is feasible. The last lane that could
/// serve a request is used even when its breaker is open: there is nothing to lose.
/// Before that, the request spills over. The lane that is kept for that is not of the choice,
/// so it is never that last one.
fn relax(assessed: &mut Assessed, spill: Option<&Spill<'_>>, kept: Option<usize>) -> Vec<Limit> {
    let mut relaxed = Vec::new();
    for limit in Limit::RELAXED_IN_ORDER {
        if assessed.trail.iter().any(is_feasible) {
            return relaxed;
        }
        for (soft, line) in assessed.soft.iter_mut().zip(&mut assessed.trail) {
            let missed = soft.len();
            soft.retain(|(missed, _)| *missed != limit);
            if soft.len() == missed {
                continue;
            }
            let left = soft.first().map(|(_, removal)| removal.clone());
            line.verdict = left.map_or(Verdict::Chosen(Why::OnlyOne), Verdict::Removed);
            if !relaxed.contains(&limit) {
                relaxed.push(limit);
            }
        }
    }
    if !assessed.trail.iter().any(is_feasible) && !spill::when_all_are_out(spill, assessed) {
        let lines = assessed.trail.iter_mut().enumerate();
        let mut shut = lines.filter(|(_, c)| is_out(c));
        if let (Some((line, last)), None) = (shut.next(), shut.next())
            && Some(line) != kept
        {
            last.verdict = Verdict::Chosen(Why::OnlyOne);
        }
    }
    relaxed
}

pub(super) fn is_out(considered: &Considered) -> bool {
    matches!(
        considered.verdict,
        Verdict::Removed(Removal::Shut | Removal::Full)
    )
}

fn refusal(assessed: Assessed) -> Refusal {
    let out: Vec<Considered> = assessed
        .trail
        .iter()
        .filter(|c| is_out(c))
        .cloned()
        .collect();
    if out.is_empty() {
        Refusal::NothingFeasible(assessed.trail)
    } else {
        Refusal::AllShut(out)
    }
}

fn offer(considered: &Considered) -> Offer {
    Offer {
        quality: considered.quality.unwrap_or(Bps::ZERO),
        cost: considered.cost.unwrap_or_default(),
    }
}

fn weigh(route: &Route, trail: &mut [Considered], feasible: &[usize]) {
    for line in feasible {
        trail[*line].utility = offer(&trail[*line]).utility(route.choice);
    }
}

struct Pick {
    line: usize,
    why: Why,
    propensity: Ppm,
}

impl Pick {
    /// The same model where its prompt cache makes it cheapest. Between models caches do not
    /// count: the route's multiplier, and what was proven of it, are of prices without them.
    fn warmest(self, assessed: &Assessed, choosable: &[usize]) -> Self {
        if !matches!(
            self.why,
            Why::BestValue | Why::CheapestAboveFloor | Why::Guarded
        ) {
            return self;
        }
        let model = |line: usize| &assessed.trail[line].model;
        let warm = |line: usize| assessed.warm[line].unwrap_or(NanoUsd(u64::MAX));
        let twins = choosable
            .iter()
            .copied()
            .filter(|line| model(*line) == model(self.line));
        match twins.min_by_key(|line| warm(*line)) {
            Some(line) if warm(line) < warm(self.line) => Self {
                line,
                why: Why::Cached,
                ..self
            },
            _ => self,
        }
    }
}

/// A pinned line; where it makes the request wait, its model's cheapest that answers at once:
/// the other one is waited for before it.
fn answering(pinned: usize, assessed: &Assessed, choosable: &[usize]) -> usize {
    if choosable.contains(&pinned) {
        return pinned;
    }
    let model = |line: &usize| assessed.trail[*line].model == assessed.trail[pinned].model;
    let twins = choosable.iter().copied().filter(model);
    let cheapest = twins.min_by_key(|line| assessed.trail[*line].cost);
    cheapest.unwrap_or(pinned)
}

fn pick(table: &Table, route: &Route, assessed: &Assessed, feasible: &[usize], draw: Draw) -> Pick {
    let certain = |line, why| Pick {
        line,
        why,
        propensity: Ppm::ONE,
    };
    let pinned = assessed.pinned.clone();
    if let Some((line, rule)) = pinned.filter(|(line, _)| is_feasible(&assessed.trail[*line])) {
        let line = answering(line, assessed, feasible);
        return certain(line, Why::Pinned(rule));
    }
    if let [only] = feasible {
        let why = match &assessed.trail[*only].verdict {
            Verdict::Chosen(why) => why.clone(),
            Verdict::Fallback(_) | Verdict::Removed(_) => Why::OnlyOne,
        };
        return certain(*only, why);
    }
    if let Some(reason) = assessed.abstention {
        let default = table.lane_index(&route.default_lane);
        let line = assessed
            .lanes
            .iter()
            .position(|lane| Some(*lane) == default);
        if let Some(line) = line.filter(|line| feasible.contains(line)) {
            return certain(line, Why::Default(reason));
        }
    }
    let offers: Vec<Offer> = feasible
        .iter()
        .map(|line| offer(&assessed.trail[*line]))
        .collect();
    // There is at least one offer, so `choose` has a choice.
    let (best, guarded) = choose(route.choice, route.guard, &offers).unwrap_or_default();
    let why = match (guarded, route.choice) {
        (true, _) => Why::Guarded,
        (false, Choice::Multiplier(_)) => Why::BestValue,
        (false, Choice::Floor(_)) => Why::CheapestAboveFloor,
    };
    explore(route, assessed, feasible, feasible[best], why, draw)
}

/// On the route's small share of requests, draws among the near-best; always says how
/// likely its result was.
fn explore(
    route: &Route,
    assessed: &Assessed,
    feasible: &[usize],
    best: usize,
    why: Why,
    draw: Draw,
) -> Pick {
    let share = route.explore.share();
    if route.explore == Bps::ZERO || matches!(route.choice, Choice::Floor(_)) {
        return Pick {
            line: best,
            why,
            propensity: Ppm::ONE,
        };
    }
    let utility = |line: &usize| assessed.trail[*line].utility;
    let top = utility(&best);
    let quality = |line: &usize| offer(&assessed.trail[*line]).quality;
    let floor = feasible
        .iter()
        .map(quality)
        .max()
        .unwrap_or_default()
        .saturating_sub(route.guard);
    let is_near = |line: &usize| {
        top.saturating_sub(utility(line)) <= EXPLORE_WITHIN && quality(line) >= floor
    };
    let near = among(feasible.len(), feasible.iter().copied().filter(is_near));
    let mut odds: Vec<f64> = near
        .iter()
        .map(|line| utility(line) as f64 / EXPLORE_TEMPERATURE)
        .collect();
    float::softmax(&mut odds);
    let explores = (draw.0 >> 32) % 10_000 < u64::from(route.explore.get());
    let line = if explores {
        drawn(&near, &odds, draw)
    } else {
        best
    };
    let of_draw = near
        .iter()
        .position(|n| *n == line)
        .map_or(0.0, |i| odds[i]);
    let certain = if line == best { 1.0 - share } else { 0.0 };
    let propensity = Ppm(((certain + share * of_draw) * 1e6).round() as u32);
    let why = if explores && line != best {
        Why::Explored
    } else {
        why
    };
    Pick {
        line,
        why,
        propensity,
    }
}

fn drawn(near: &[usize], odds: &[f64], draw: Draw) -> usize {
    let mut left = f64::from(draw.0 as u32) / f64::from(u32::MAX);
    for (line, chance) in near.iter().zip(odds) {
        left -= chance;
        if left <= 0.0 {
            return *line;
        }
    }
    near[near.len() - 1]
}

/// The plan's lines: the chosen one, then step by step the best utility among failure
/// domains that the plan does not have yet, and among all once it has every one.
fn fallbacks(
    table: &Table,
    room: usize,
    assessed: &Assessed,
    feasible: &[usize],
    chosen: usize,
) -> Vec<usize> {
    let provider = |line: usize| &table.upstream_of(assessed.lanes[line]).provider;
    let mut plan = vec![chosen];
    while plan.len() < room {
        let rank = |line: &usize| {
            let new_domain = plan
                .iter()
                .all(|planned| provider(*planned) != provider(*line));
            (
                new_domain,
                assessed.trail[*line].utility,
                std::cmp::Reverse(*line),
            )
        };
        let rest = feasible.iter().copied().filter(|line| !plan.contains(line));
        let Some(next) = rest.max_by_key(rank) else {
            break;
        };
        plan.push(next);
    }
    plan
}

/// The step of an overflow lane that is kept for attempts that fail: as late as the last
/// one's, and later by the part that was kept back for it.
fn kept_step(deadline: Millis, needs_time: bool, steps: &[Step], line: &Considered) -> Step {
    let last = steps.last().map_or(deadline, |last| last.give_up);
    let kept_back = if needs_time { part(deadline) } else { 0 };
    Step {
        lane: line.lane.clone(),
        give_up: last.saturating_add(Millis(kept_back)),
    }
}

/// Whoever wants the flex tier and no other waits as long as that may take.
fn deadline(route: &Route, start: Start) -> Millis {
    if start == Start::Flex {
        route.deadline.max(FLEX_WITHIN)
    } else {
        route.deadline
    }
}

/// What is kept of a deadline for each later lane.
fn part(deadline: Millis) -> u64 {
    deadline.0 / RESERVED_PARTS
}

/// The steps that make the request wait, and until when.
struct Waiting {
    steps: usize,
    until: Millis,
}

impl Waiting {
    fn of(steps: usize, start: Start, assessed: &Assessed, pick: usize) -> Self {
        let until = if steps > 0 {
            waiting::until(start, assessed, pick)
        } else {
            Millis(0)
        };
        Self { steps, until }
    }
}

/// The plan with its deadlines: each later lane keeps its part of the route's deadline.
/// A whole answer is not seen before it is written, so its writing time is added, for
/// every lane up to and with its own. Lanes that make the request wait have their own
/// time, before all others'. A part is kept back for an overflow lane that is tried after
/// a lane that took all of its time.
fn steps(
    deadline: Millis,
    (waiting, kept_back): (&Waiting, bool),
    assessed: &Assessed,
    plan: &[usize],
) -> Vec<Step> {
    let reserve = part(deadline);
    let mut writing = 0u64;
    let mut steps = Vec::with_capacity(plan.len());
    for (i, line) in plan.iter().enumerate() {
        let considered = &assessed.trail[*line];
        if i < waiting.steps {
            steps.push(Step {
                lane: considered.lane.clone(),
                give_up: waiting.until,
            });
            continue;
        }
        if assessed.whole {
            let expected = considered.total.saturating_sub(considered.first_token).0;
            writing = writing.saturating_add(expected.saturating_mul(WRITING_SLACK));
        }
        let later = (plan.len() - 1 - i) as u64 + u64::from(kept_back);
        let give_up = (deadline.0 - reserve * later).saturating_add(writing);
        steps.push(Step {
            lane: considered.lane.clone(),
            give_up: Millis(give_up).saturating_add(waiting.until),
        });
    }
    steps
}
