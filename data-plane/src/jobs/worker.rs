//! Doing what nobody waits for.
//!
//! Owns: when work is taken, how often a job is tried, and that its answer is kept before
//! it is done with. A job that was begun before and has no answer may have been charged:
//! it is done again, and says so.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::value::RawValue;
use spillway_routing::unit::UnixMillis;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Answer, Due, Job, JobId, Jobs, StoreError, Work};
use crate::failure::{Failure, Kind};
use crate::inbound::Inbound;
use crate::ledger::headers::{POSSIBLE_CHARGE, REQUEST_ID};
use crate::{Proxy, clock, serve};

/// How soon work that another proxy took in, or left, is seen.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon somebody's wish to cancel is seen.
const CANCELS_EVERY: Duration = Duration::from_secs(2);
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// Tries within one beginning, and the pause after the first; later ones are twice as long.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Works until `shutdown`, and then finishes what is begun, within the drain.
pub(crate) async fn run(proxy: Arc<Proxy>, jobs: Arc<Jobs>, shutdown: CancellationToken) {
    let tasks = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(jobs.config.at_once));
    let mut sweeps = interval(SWEEP_EVERY);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    remember(&jobs).await;
    while !shutdown.is_cancelled() {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            break;
        };
        match jobs.queue.claim().await {
            Ok(Some(due)) => {
                let (proxy, jobs) = (Arc::clone(&proxy), Arc::clone(&jobs));
                let shutdown = shutdown.clone();
                tasks.spawn(async move {
                    work(&proxy, &jobs, due, shutdown).await;
                    drop(slot);
                });
                continue;
            }
            Ok(None) => {}
            Err(error) => warn(&error, "work cannot be claimed"),
        }
        drop(slot);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = jobs.added.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = sweeps.tick() => sweep(&jobs).await,
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
    if !jobs.queue.forgets() {
        return;
    }
    match jobs.open_work().await {
        Ok(due) => {
            if let Err(error) = jobs.enqueue(&due).await {
                warn(&error, "open jobs cannot be queued");
            }
        }
        Err(error) => warn(&error, "open jobs cannot be found"),
    }
}

async fn sweep(jobs: &Jobs) {
    let kept = u64::try_from(jobs.config.kept.as_millis()).unwrap_or(u64::MAX);
    let before = UnixMillis(clock::now().0.saturating_sub(kept));
    if let Err(error) = jobs.store.sweep(before).await {
        warn(&error, "old jobs cannot be deleted");
    }
}

async fn work(proxy: &Proxy, jobs: &Jobs, due: Due, shutdown: CancellationToken) {
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(proxy.config.limits.drain).await;
    };
    let doing = async {
        match &due.work {
            Work::Expand(batch) => jobs.expand(batch).await,
            Work::Run(id) => job(proxy, jobs, id).await,
        }
    };
    let done = tokio::select! {
        done = doing => done,
        // What is cut off here is begun again elsewhere.
        () = drained => Ok(false),
    };
    let ended = match done {
        Ok(true) => jobs.queue.done(&due).await,
        Ok(false) => jobs.queue.release(&due).await,
        Err(error) => {
            warn(&error, "a job cannot be done");
            tokio::time::sleep(PAUSE).await;
            jobs.queue.release(&due).await
        }
    };
    if let Err(error) = ended {
        // Whoever claims it next sees the answer.
        warn(&error, "the queue does not hear what was done");
    }
}

/// Says whether it is done with.
async fn job(proxy: &Proxy, jobs: &Jobs, id: &JobId) -> Result<bool, StoreError> {
    let progress = jobs.store.progress(id).await?;
    if progress.answered.is_some() || jobs.store.is_cancelled(&id.group).await? {
        return Ok(true);
    }
    let Some(job) = jobs.store.job(id).await? else {
        // Forgotten since.
        return Ok(true);
    };
    jobs.store.begin(id, progress.begun).await?;
    let answered = tokio::select! {
        answered = answer(proxy, &job, progress.begun) => answered,
        () = cancelled(jobs, id) => return Ok(true),
    };
    jobs.store.answer(id, &answered).await?;
    Ok(true)
}

async fn cancelled(jobs: &Jobs, id: &JobId) {
    loop {
        tokio::time::sleep(CANCELS_EVERY).await;
        if let Ok(true) = jobs.store.is_cancelled(&id.group).await {
            return;
        }
    }
}

/// Tries until there is an answer, or none is to be had in time.
async fn answer(proxy: &Proxy, job: &Job, begun: u32) -> Answer {
    let mut possible_charges = begun;
    let (mut pause, mut tried) = (PAUSE, 0);
    loop {
        tried += 1;
        let response = attempt(proxy, job).await;
        let status = response.status();
        let told = Told::by(response.headers());
        possible_charges += told.charges;
        let again = (status.is_server_error() || status.as_u16() == 429) && !told.is_final;
        let late = clock::now().0 >= job.by_ms;
        if !again || late || tried >= TRIES || proxy.draining.is_cancelled() {
            let most = proxy.config.limits.answer_bytes;
            return Answer {
                status: status.as_u16(),
                body: whole(response, most).await,
                request_id: told.request_id,
                possible_charges,
                finished_ms: clock::now().0,
            };
        }
        tokio::time::sleep(pause.max(told.retry_after).min(PAUSE_MAX)).await;
        pause *= 2;
    }
}

/// What the headers of an answer say.
struct Told {
    charges: u32,
    request_id: String,
    retry_after: Duration,
    /// Another try would end the same.
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
            retry_after: Duration::from_secs(retry_after.into()),
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
