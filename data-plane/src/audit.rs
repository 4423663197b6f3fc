//! Audits: some requests are answered once more, by every model of their route, and
//! scored, so that there is something to learn from.
//!
//! Owns: the bounded queue of what was picked, and running it beside the traffic: through
//! the ordinary lanes, within the day's money, one model's failure harming nothing. No
//! request waits for it, and no lane is forced. Text stays in this process but for the
//! calls themselves; what is reported are facts and scores.

mod judge;
mod purse;
mod verify;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use spillway_routing::audit::picked;
use spillway_routing::decide::{Considered, Decision, Draw, Removal, Verdict};
use spillway_routing::features::Facts;
use spillway_routing::id::RequestId;
use spillway_routing::outcome::{Answer, Audit};
use spillway_routing::rule::Action;
use spillway_routing::table::Table;
use spillway_routing::unit::{Bps, Millis, NanoUsd, Tokens};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use self::purse::Purse;
use self::verify::{Finding, verify};
use crate::chat::{Asking, Chat, own_question};
use crate::dialect::event::Said;
use crate::inbound::Inbound;
use crate::upstream::MayCharge;
use crate::{Proxy, clock, upstream};

/// Requests that wait; more are let go.
const WAITING_MAX: usize = 256;
/// Longer requests are not audited: what waits is held in memory.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Audits under way, and calls of each.
const AT_ONCE: usize = 2;
const CALLS_AT_ONCE: usize = 4;
/// For one answer, from the call to its end.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// A score of one answer says little about a choice.
const ANSWERS_MIN: usize = 2;
/// Tokens of the judge's instruction and letters, and of its reply, for the estimate.
const JUDGE_INPUT: u32 = 300;
const JUDGE_OUTPUT: u32 = 200;

/// How an audit ended, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Scored,
    /// The queue was full.
    Full,
    /// The day's money is spent.
    Broke,
    /// Too few answers, or nobody could score them.
    Unscored,
}

impl Ended {
    fn name(self) -> &'static str {
        match self {
            Self::Scored => "scored",
            Self::Full => "queue_full",
            Self::Broke => "no_money",
            Self::Unscored => "unscored",
        }
    }
}

/// A request that was picked.
struct Picked {
    id: RequestId,
    draw: Draw,
    table: Arc<Table>,
    facts: Facts,
    body: Bytes,
    asking: Asking,
    calls: Vec<Planned>,
}

/// One model's lane and what it is expected to cost there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planned {
    lane: usize,
    cost: NanoUsd,
    output: Tokens,
}

/// What one model said.
struct Reply {
    lane: usize,
    said: Said,
    input: Tokens,
    output: Tokens,
    cost: NanoUsd,
    took: Millis,
}

/// Takes requests that were picked.
pub(crate) struct Auditor {
    waiting: mpsc::Sender<Picked>,
    queue: Mutex<mpsc::Receiver<Picked>>,
    purse: Purse,
}

impl Auditor {
    /// `folder` keeps count of the day's money.
    pub(crate) fn new(folder: &std::path::Path) -> Self {
        let (waiting, queue) = mpsc::channel(WAITING_MAX);
        Self {
            waiting,
            queue: Mutex::new(queue),
            purse: Purse::open(folder),
        }
    }

    /// Keeps a copy of a decided request, if it is one to be audited. Never waits.
    pub(crate) fn consider(
        proxy: &Proxy,
        inbound: &Inbound,
        table: &Arc<Table>,
        facts: &Facts,
        decision: &Decision,
    ) {
        let (id, body) = (inbound.id, &inbound.body);
        let draw = Draw::of(id);
        // Whoever brings keys has not asked for others to be used.
        if !facts.dialect.converses() || !facts.own_keys.is_empty() {
            return;
        }
        if proxy.config.control_plane.is_none() || body.len() > BODY_BYTES_MAX {
            return;
        }
        let Some(stratum) = picked(table, facts, draw) else {
            return;
        };
        let calls = planned(table, &decision.trail);
        if calls.len() < ANSWERS_MIN {
            return;
        }
        tracing::debug!(request = %id, stratum = stratum.name(), "picked for an audit");
        let picked = Picked {
            id,
            draw,
            table: Arc::clone(table),
            facts: facts.clone(),
            body: body.clone(),
            asking: inbound.asking.clone(),
            calls,
        };
        proxy.metrics.audits_waiting.inc();
        if proxy.auditor.waiting.try_send(picked).is_err() {
            count(proxy, Ended::Full);
        }
    }

    /// Works until `closing`; what still waits then is let go.
    pub(crate) async fn run(proxy: Arc<Proxy>, closing: CancellationToken) {
        let mut queue = proxy.auditor.queue.lock().await;
        let mut under_way = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                Some(_) = under_way.join_next(), if !under_way.is_empty() => {}
                picked = queue.recv(), if under_way.len() < AT_ONCE => {
                    let Some(picked) = picked else { return };
                    let proxy = Arc::clone(&proxy);
                    under_way.spawn(async move {
                        let ended = audit(&proxy, picked).await;
                        count(&proxy, ended);
                    });
                }
            }
        }
    }
}

fn count(proxy: &Proxy, ended: Ended) {
    proxy
        .metrics
        .audits
        .with_label_values(&[ended.name()])
        .inc();
    proxy.metrics.audits_waiting.dec();
}

/// The cheapest usable lane of every model. Limits of the one request do not count here:
/// what is learnt holds for others.
fn planned(table: &Table, trail: &[Considered]) -> Vec<Planned> {
    let usable = |line: &&Considered| match &line.verdict {
        Verdict::Chosen(_) | Verdict::Fallback(_) => true,
        Verdict::Removed(removal) => matches!(
            removal,
            Removal::PlanFull
                | Removal::NoQuality
                | Removal::TooDear { .. }
                | Removal::TooSlow { .. }
                | Removal::BelowMinimum { .. }
        ),
    };
    let mut calls: Vec<Planned> = Vec::new();
    for line in trail.iter().filter(usable) {
        let (Some(lane), Some(cost)) = (table.lane_index(&line.lane), line.cost) else {
            continue;
        };
        let planned = Planned {
            lane,
            cost,
            output: line.output,
        };
        let model = table.place(lane).model;
        match calls
            .iter_mut()
            .find(|p| table.place(p.lane).model == model)
        {
            Some(known) if known.cost <= cost => {}
            Some(known) => *known = planned,
            None => calls.push(planned),
        }
    }
    calls
}

async fn audit(proxy: &Proxy, picked: Picked) -> Ended {
    let Some(audits) = picked.table.draft().audits.clone() else {
        return Ended::Unscored;
    };
    let judge = audits.judge.and_then(|lane| picked.table.lane_index(&lane));
    if judge.is_some_and(|lane| is_barred(&picked, lane)) {
        return Ended::Unscored;
    }
    let Ok(chat) = Chat::parse(&picked.body, &picked.asking) else {
        return Ended::Unscored;
    };
    // Asking every model again would do again what the request does.
    if chat.conversation.own.has_effects() {
        return Ended::Unscored;
    }
    let chat = chat.plain();
    if judge.is_none() && !chat.asked().has_form() {
        return Ended::Unscored;
    }
    let reserved = expected(&picked, judge);
    if !proxy
        .auditor
        .purse
        .reserve(reserved, audits.per_day, clock::now())
    {
        return Ended::Broke;
    }
    let planned = picked.calls.clone().into_iter();
    let calls = planned.map(|call| ask(proxy, &picked, &chat, call.lane, call.cost));
    let asked: Vec<(Option<Reply>, NanoUsd)> = stream::iter(calls)
        .buffer_unordered(CALLS_AT_ONCE)
        .collect()
        .await;
    let mut cost = asked.iter().map(|(_, cost)| *cost).sum::<NanoUsd>();
    let replies: Vec<Reply> = asked.into_iter().filter_map(|(reply, _)| reply).collect();
    let scores = score(proxy, &picked, &chat, judge, &replies, &mut cost).await;
    proxy.auditor.purse.settle(reserved, cost);
    proxy.metrics.audit_usd.inc_by(cost.usd());
    let answers = answers(&picked.table, &replies, &scores);
    // Faults alone would be recorded where the judge is away: all or none.
    if answers.len() < ANSWERS_MIN || answers.len() < replies.len() {
        return Ended::Unscored;
    }
    proxy.ledger.queue.push_audit(Audit {
        id: format!("live/{}", picked.id),
        at: clock::now(),
        split: None,
        facts: picked.facts,
        answers,
    });
    Ended::Scored
}

/// Whether a rule keeps this request away from a lane: what may not answer may not judge.
fn is_barred(picked: &Picked, lane: usize) -> bool {
    let model = &picked.table.model_of(lane).id;
    let provider = &picked.table.upstream_of(lane).provider;
    let rules = picked.table.draft().rules.iter();
    let mut holding = rules.filter(|rule| rule.holds(&picked.facts));
    holding.any(|rule| match &rule.then {
        Action::Only(models) => !models.contains(model),
        Action::Without(models) => models.contains(model),
        Action::WithoutProvider(barred) => barred == provider,
        Action::Pin(_) => false,
    })
}

/// What the whole audit is expected to cost.
fn expected(picked: &Picked, judge: Option<usize>) -> NanoUsd {
    let calls = picked.calls.iter().map(|call| call.cost).sum::<NanoUsd>();
    calls.saturating_add(judging(picked, judge))
}

/// What the judge is expected to cost.
fn judging(picked: &Picked, judge: Option<usize>) -> NanoUsd {
    let price = judge.and_then(|lane| picked.table.lane(lane).price.as_ref());
    let Some((price, lane)) = price.zip(judge) else {
        return NanoUsd::ZERO;
    };
    let own = picked.facts.input(picked.table.model_of(lane).family).0;
    let answers = picked.calls.iter().map(|call| call.output.0);
    let input = answers.fold(own.saturating_add(JUDGE_INPUT), u32::saturating_add);
    price.estimate(Tokens(input), Tokens(0), Tokens(JUDGE_OUTPUT), clock::now())
}

/// One call, if its lane takes it; and what it costs, `planned` where nobody says so.
async fn ask(
    proxy: &Proxy,
    picked: &Picked,
    chat: &Chat,
    lane: usize,
    planned: NanoUsd,
) -> (Option<Reply>, NanoUsd) {
    let began = Instant::now();
    let table = &picked.table;
    let asked = upstream::ask(proxy, chat, table, lane, picked.draw, began + ANSWER_WITHIN).await;
    let (said, reported) = match asked {
        Ok(told) => told,
        Err(MayCharge(true)) => return (None, planned),
        Err(MayCharge(false)) => return (None, NanoUsd::ZERO),
    };
    // Without a count nothing can be learnt of cost or length: it is no answer.
    let Some(usage) = reported.usage else {
        return (None, planned);
    };
    let price = table.lane(lane).price.as_ref();
    let cost = price.map_or(NanoUsd::ZERO, |price| price.settle(&usage, clock::now()));
    let reply = Reply {
        lane,
        said,
        input: usage.input,
        output: usage.output,
        cost,
        took: clock::millis(began.elapsed()),
    };
    (Some(reply), cost)
}

/// A score for each reply that anybody can score: rules first, then the judge.
async fn score(
    proxy: &Proxy,
    picked: &Picked,
    chat: &Chat,
    judge: Option<usize>,
    replies: &[Reply],
    cost: &mut NanoUsd,
) -> Vec<Option<Bps>> {
    let asked = chat.asked();
    let findings: Vec<Finding> = replies.iter().map(|r| verify(&asked, &r.said)).collect();
    let mut scores: Vec<Option<Bps>> = findings.iter().map(|found| found.score()).collect();
    let Some(judge) = judge else {
        return scores;
    };
    let open: Vec<usize> = (0..replies.len())
        .filter(|i| !findings[*i].is_fault())
        .collect();
    let transcript = chat.transcript();
    for some in open.chunks(judge::ANSWERS_MAX) {
        let texts: Vec<String> = some.iter().map(|i| replies[*i].said.shown()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let model = picked.table.model_of(judge).id.as_str();
        let question = judge::question(&transcript, &texts, model, picked.draw);
        let Ok(chat) = own_question(&question.body) else {
            continue;
        };
        let planned = judging(picked, Some(judge));
        let (reply, charged) = ask(proxy, picked, &chat, judge, planned).await;
        *cost = cost.saturating_add(charged);
        let marks = reply.and_then(|reply| question.scores(&reply.said.text()));
        for (place, i) in some.iter().enumerate() {
            scores[*i] = marks.as_ref().map(|marks| marks[place]);
        }
    }
    scores
}

fn answers(table: &Table, replies: &[Reply], scores: &[Option<Bps>]) -> Vec<Answer> {
    let scored = replies.iter().zip(scores);
    let answers = scored.filter_map(|(reply, score)| {
        Some(Answer {
            model: table.model_of(reply.lane).id.clone(),
            score: (*score)?,
            input: reply.input,
            output: reply.output,
            cost: Some(reply.cost),
            latency: Some(reply.took),
        })
    });
    answers.collect()
}
