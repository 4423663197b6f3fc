//! Doing what nobody waits for.
//!
//! Owns: when work is taken, when a job is tried again, and that its answer is kept before
//! it is done with. Each time a job is begun is on record before anything is sent, so that
//! whoever reads the answer knows what may have been charged beside it.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::value::RawValue;
use spillway_routing::dialect::Dialect;
use spillway_routing::unit::UnixMillis;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::queue::Claim;
use super::{Answer, Job, JobId, Jobs, StoreError, Work};
use crate::failure::{Failure, Kind};
use crate::inbound::Inbound;
use crate::ledger::headers::{POSSIBLE_CHARGE, REQUEST_ID};
use crate::{Proxy, clock, serve};

/// How soon work that another proxy took in, or left, is seen.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon somebody's wish to cancel is seen.
const CANCELS_EVERY: Duration = Duration::from_secs(2);
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// Where there is no room for a job, it is left alone for so long.
const LATER: Duration = Duration::from_secs(15);
/// Tries after failures within one beginning, and the pause after the first; later ones
/// are twice as long.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);
/// A job that was begun so often and never answered is not begun again.
const BEGUN_MAX: u32 = 20;

/// Works until `shutdown`, and then finishes what is begun, within the drain.
pub(crate) async fn run(proxy: Arc<Proxy>, jobs: Arc<Jobs>, shutdown: CancellationToken) {
    let (tasks, slots) = (TaskTracker::new(), Semaphore::new(jobs.config.at_once));
    let slots = Arc::new(slots);
    tasks.spawn(sweeps(Arc::clone(&jobs), shutdown.clone()));
    let _ = shutdown.run_until_cancelled(remember(&jobs)).await;
    loop {
        let slot = Arc::clone(&slots).acquire_owned();
        let Some(Ok(slot)) = shutdown.run_until_cancelled(slot).await else {
            break;
        };
        // Without a table nothing can be done.
        let has_table = proxy.current.load().is_some();
        let claiming = async {
            match jobs.queue.claim().await {
                Ok(claim) => claim,
                Err(error) => {
                    warn(&error, "work cannot be claimed");
                    None
                }
            }
        };
        let claim = if has_table { claiming.await } else { None };
        if let Some(claim) = claim {
            let (proxy, jobs) = (Arc::clone(&proxy), Arc::clone(&jobs));
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                work(&proxy, &jobs, &claim, shutdown).await;
                drop(slot);
            });
            continue;
        }
        drop(slot);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = jobs.added.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

fn warn(error: &StoreError, what: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}

/// A queue in memory learns from the store what is open.
async fn remember(jobs: &Jobs) {
    while jobs.queue.forgets() {
        let remembered = async { jobs.enqueue(&jobs.open_work().await?).await };
        match remembered.await {
            Ok(()) => return,
            Err(error) => warn(&error, "open jobs cannot be found"),
        }
        tokio::time::sleep(LATER).await;
    }
}

async fn sweeps(jobs: Arc<Jobs>, shutdown: CancellationToken) {
    let kept = u64::try_from(jobs.config.kept.as_millis()).unwrap_or(u64::MAX);
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let before = UnixMillis(clock::now().0.saturating_sub(kept));
        if let Err(error) = jobs.store.sweep(before).await {
            warn(&error, "old jobs cannot be deleted");
        }
    }
}

/// What became of a claim.
enum Became {
    Done,
    /// To be claimed again from then on.
    Later(UnixMillis),
}

impl Became {
    fn in_a_while(pause: Duration) -> Self {
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        Self::Later(UnixMillis(clock::now().0.saturating_add(pause)))
    }
}

async fn work(proxy: &Proxy, jobs: &Jobs, claim: &Claim, shutdown: CancellationToken) {
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(proxy.config.limits.drain).await;
    };
    let doing = async {
        match &claim.due.work {
            Work::Expand(batch) => jobs.expand(batch).await.map(|()| Became::Done),
            Work::Run(id) => job(proxy, jobs, id).await,
        }
    };
    let outcome = tokio::select! {
        outcome = doing => outcome.unwrap_or_else(|error| {
            warn(&error, "a job cannot be done just now");
            Became::in_a_while(LATER)
        }),
        // What is cut off here is begun again elsewhere.
        () = drained => Became::Later(UnixMillis(0)),
    };
    // Until the queue hears of it, or the claim ends with this proxy.
    for _ in 0..TRIES {
        let told = match outcome {
            Became::Done => jobs.queue.done(claim).await,
            Became::Later(from) => jobs.queue.release(claim, from).await,
        };
        match told {
            Ok(()) => return,
            Err(error) => warn(&error, "the queue does not hear what was done"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn job(proxy: &Proxy, jobs: &Jobs, id: &JobId) -> Result<Became, StoreError> {
    let progress = jobs.store.progress(id).await?;
    if progress.answered || !progress.kept {
        return Ok(Became::Done);
    }
    let job = match jobs.store.job(id).await {
        Ok(Some(job)) => job,
        // Forgotten since.
        Ok(None) => return Ok(Became::Done),
        Err(StoreError::Malformed(_)) => {
            let message = "what was kept of it cannot be read";
            return give_up(jobs, id, message).await;
        }
        Err(error) => return Err(error),
    };
    if jobs.store.is_cancelled(&id.group).await? {
        let answer = Answer::cancelled(job.dialect());
        jobs.store.answer(id, &answer).await?;
        return Ok(Became::Done);
    }
    if progress.begun >= BEGUN_MAX {
        return give_up(jobs, id, "it was begun again and again and never ended").await;
    }
    if !jobs.store.begin(id, progress.next).await? {
        // Somebody else holds it, or did.
        return Ok(Became::in_a_while(LATER));
    }
    let answered = tokio::select! {
        answered = answer(proxy, &job) => answered,
        answer = cancelled(jobs, id, job.dialect()) => Ok(answer),
    };
    match answered {
        Ok(answer) => {
            keep(jobs, id, &answer).await?;
            Ok(Became::Done)
        }
        // There was no room, and nothing was sent: it was not begun either.
        Err(outcome) => {
            jobs.store.withdraw(id, progress.next).await?;
            Ok(outcome)
        }
    }
}

async fn give_up(jobs: &Jobs, id: &JobId, message: &str) -> Result<Became, StoreError> {
    let failure = Failure::spillway(Kind::GivenUp, message);
    let answer = Answer::without(&failure, Dialect::OpenAiChat);
    jobs.store.answer(id, &answer).await?;
    Ok(Became::Done)
}

/// What was paid for is not sent again because it could not be written down at once.
async fn keep(jobs: &Jobs, id: &JobId, answer: &Answer) -> Result<(), StoreError> {
    for _ in 1..TRIES {
        match jobs.store.answer(id, answer).await {
            Ok(_) => return Ok(()),
            Err(error) => warn(&error, "an answer cannot be kept"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    jobs.store.answer(id, answer).await.map(drop)
}

/// Ends where somebody wants no answer any more, or gave one.
async fn cancelled(jobs: &Jobs, id: &JobId, dialect: Dialect) -> Answer {
    loop {
        tokio::time::sleep(CANCELS_EVERY).await;
        let gone = jobs.store.progress(id).await;
        let gone = gone.is_ok_and(|progress| progress.answered || !progress.kept);
        if gone || matches!(jobs.store.is_cancelled(&id.group).await, Ok(true)) {
            return Answer::cancelled(dialect);
        }
    }
}

/// Tries until there is an answer. Where there is no room for it, and nobody can have charged
/// for it, the slot is given free.
async fn answer(proxy: &Proxy, job: &Job) -> Result<Answer, Became> {
    let (mut pause, mut tried, mut charges) = (PAUSE, 0, 0);
    loop {
        tried += 1;
        let response = attempt(proxy, job).await;
        let (status, told) = (response.status(), Told::by(response.headers()));
        charges += told.charges;
        let in_time = clock::now().0 < job.by_ms;
        let busy = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        // What may have been charged is not given to somebody who does not know.
        if busy && in_time && charges == 0 {
            return Err(Became::in_a_while(told.retry_after.max(LATER)));
        }
        let failed = matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT
        );
        let again = (busy || failed) && in_time && !told.is_final && tried < TRIES;
        if again && proxy.draining.is_cancelled() && charges == 0 {
            return Err(Became::Later(UnixMillis(0)));
        }
        if !again {
            return Ok(Answer {
                status: status.as_u16(),
                body: whole(response, proxy.config.limits.answer_bytes).await,
                request_id: told.request_id,
                possible_charges: charges,
                finished_ms: clock::now().0,
            });
        }
        tokio::time::sleep(pause.max(told.retry_after)).await;
        pause *= 2;
    }
}

/// What the headers of an answer say.
struct Told {
    charges: u32,
    request_id: String,
    retry_after: Duration,
    /// Another try would end the same, or cost as much.
    is_final: bool,
}

impl Told {
    fn by(headers: &HeaderMap) -> Self {
        let said = |name: &str| headers.get(name)?.to_str().ok();
        let number = |name: &str| said(name)?.parse::<u32>().ok();
        let retry_after = number(header::RETRY_AFTER.as_str()).unwrap_or_default();
        Self {
            charges: number(POSSIBLE_CHARGE).unwrap_or_default(),
            request_id: said(REQUEST_ID).unwrap_or_default().to_owned(),
            retry_after: Duration::from_secs(retry_after.min(60).into()),
            is_final: said("x-should-retry") == Some("false"),
        }
    }
}

async fn attempt(proxy: &Proxy, job: &Job) -> Response {
    let dialect = job.dialect();
    match Inbound::kept(proxy, job) {
        Ok(inbound) if clock::now().0 < job.by_ms => serve::kept(proxy, inbound).await,
        Ok(_) => {
            let message = "it was not done by the time it was wanted";
            Failure::spillway(Kind::Expired, message).into_response(dialect)
        }
        Err(failure) => failure.into_response(dialect),
    }
}

async fn whole(response: Response, most: usize) -> Box<RawValue> {
    let body = Limited::new(response.into_body(), most).collect().await;
    let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
