//! Training runs: when there is something to learn, learn it, and publish if the gate
//! lets it through.
//!
//! Owns: the reconciler, the record of runs, and their progress. Learning itself is the
//! classifier's; it runs off the async threads. A step carries no data: it reads the
//! labels, the policy and the current table and decides whether there is work.

mod learn;
mod report;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use spillway_classifier::run::{InUse, Step, refreshed};
use spillway_proto::keys;
use spillway_routing::id::TableVersion;
use spillway_routing::outcome::{Audit, Outcome, Split};
use spillway_routing::table::Draft;
use spillway_routing::unit::{Bps, Millis, UnixMillis};
use tokio::sync::{Mutex, Notify, watch};

use self::learn::labelled;
pub use self::learn::{Lesson, learn};
pub use self::report::{json as report_json, verdict};
use crate::alarms;
use crate::control::{Anew, Control, now};
use crate::error::ControlError;
use crate::policy::{self, Learned};
use crate::publish::Cause;
use crate::store::Expected;

/// Live outcomes older than this no longer teach: models change under their names.
const LIVE_WINDOW: Millis = Millis(30 * 24 * 3_600_000);
/// Live outcomes read at most.
const LIVE_MAX: usize = 200_000;
/// Runs kept for the page.
const RUNS_KEPT: usize = 20;
/// The same for every run: a run is a function of its data.
const SEED: u64 = 1;
/// Where a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub run: u64,
    pub step: String,
    /// 0..=1.
    pub done: f32,
    /// Set at the end.
    pub ended: Option<Ended>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub result: RunResult,
    pub reason: String,
}

/// Whether a run changed the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunResult {
    Promoted,
    Declined,
    Failed,
}

impl RunResult {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Declined => "declined",
            Self::Failed => "failed",
        }
    }
}

/// The going run and the wake-up of the trainer.
#[derive(Debug)]
pub struct Runs {
    progress: watch::Sender<Option<Progress>>,
    wake: Notify,
    last: Mutex<u64>,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            progress: watch::Sender::new(None),
            wake: Notify::new(),
            last: Mutex::new(0),
        }
    }
}

impl Runs {
    /// Where the latest run is.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Progress>> {
        self.progress.subscribe()
    }

    /// The run that is going on.
    #[must_use]
    pub fn going(&self) -> Option<Progress> {
        self.progress
            .borrow()
            .clone()
            .filter(|progress| progress.ended.is_none())
    }

    fn say(&self, run: u64, step: &str, done: f32, ended: Option<Ended>) {
        self.progress.send_replace(Some(Progress {
            run,
            step: step.to_owned(),
            done,
            ended,
        }));
    }
}

/// Starts a run soon; returns its number.
///
/// # Errors
///
/// [`ControlError::AlreadyTraining`] while one is going on.
pub async fn start(control: &Control) -> Result<u64, ControlError> {
    let run = claim(control).await?;
    control.runs.wake.notify_one();
    Ok(run)
}

/// Takes the next number and says that it is going on, unless another run is.
async fn claim(control: &Control) -> Result<u64, ControlError> {
    let mut last = control.runs.last.lock().await;
    if let Some(going) = control.runs.going() {
        return Err(ControlError::AlreadyTraining(going.run));
    }
    let kept = control.store.list(&keys::training_runs()).await?;
    let number = |key: &str| key.rsplit('/').next()?.parse::<u64>().ok();
    let stored = kept
        .last()
        .and_then(|value| number(&value.key))
        .unwrap_or(0);
    *last = stored.max(*last) + 1;
    control.runs.say(*last, "waiting", 0.0, None);
    Ok(*last)
}

/// Waits until somebody asked for a run.
pub async fn asked(control: &Control) {
    control.runs.wake.notified().await;
}

/// What a run learns from.
struct Material {
    read_at: UnixMillis,
    audits: Vec<Audit>,
    live: Vec<(Outcome, Bps)>,
    draft: Draft,
}

/// Labels there are to learn from now: audited prompts and judged requests.
///
/// # Errors
///
/// What history says.
pub async fn labels(control: &Control) -> Result<u64, ControlError> {
    let counts = control.history.counts().await?;
    Ok(counts.audits.rows + counts.verdicts.rows)
}

/// One run from labels to, perhaps, a new table; records what it did.
///
/// # Errors
///
/// If the record cannot be written; a run that fails is itself a record.
pub async fn step(control: &Arc<Control>) -> Result<Ended, ControlError> {
    let run = match control.runs.going() {
        Some(going) => going.run,
        None => claim(control).await?,
    };
    control.runs.say(run, "read", 0.0, None);
    let started = now();
    let (ended, report) = match attempt(control, run).await {
        Ok(done) => done,
        Err(error) => (
            Ended {
                result: RunResult::Failed,
                reason: error.chain(),
            },
            Value::Null,
        ),
    };
    control
        .metrics
        .training_runs
        .with_label_values(&[ended.result.name()])
        .inc();
    tracing::info!(
        run,
        result = ended.result.name(),
        reason = ended.reason,
        "training run ended"
    );
    let record = json!({
        "id": run,
        "at_ms": started.0,
        "result": ended.result.name(),
        "reason": ended.reason,
        "outcomes": report.get("labels").cloned().unwrap_or(Value::Null),
        "report": report.get("report").cloned().unwrap_or(Value::Null),
    });
    let recorded = keep(control, run, &record).await;
    control.runs.say(run, "ended", 1.0, Some(ended.clone()));
    recorded.map(|()| ended)
}

async fn keep(control: &Control, run: u64, record: &Value) -> Result<(), ControlError> {
    let bytes = Bytes::from(record.to_string());
    control
        .store
        .put(
            &keys::training_run(run),
            bytes,
            Expected::Anything,
            Vec::new(),
        )
        .await?;
    let kept = control.store.list(&keys::training_runs()).await?;
    for old in kept.iter().rev().skip(RUNS_KEPT) {
        control.store.delete(&old.key).await?;
    }
    Ok(())
}

/// The kept records, newest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn records(control: &Control) -> Result<Vec<Value>, ControlError> {
    let kept = control.store.list(&keys::training_runs()).await?;
    Ok(kept
        .iter()
        .rev()
        .filter_map(|v| serde_json::from_slice(&v.value).ok())
        .collect())
}

async fn attempt(control: &Arc<Control>, number: u64) -> Result<(Ended, Value), ControlError> {
    let material = material(control).await?;
    let current = control.publisher.current().await?;
    let in_use = current.as_ref().and_then(|current| {
        let draft = current.table.draft();
        let used = draft.routes.iter().any(|route| route.learned);
        let committee = draft.committee.clone().filter(|_| used)?;
        Some((committee, draft.learnt_at))
    });
    let instead_of = current.as_ref().map(|c| c.table.draft().learnt_at);
    let instead_of = instead_of.unwrap_or_default();
    let running = current.as_ref().filter(|_| in_use.is_some());
    let running = running.map(|current| current.table.version());
    let (shared, read_at) = (Arc::clone(control), material.read_at);
    let learnt = tokio::task::spawn_blocking(move || {
        let in_use = in_use.as_ref().map(|(committee, learnt_at)| InUse {
            committee,
            learnt_at: *learnt_at,
        });
        let mut progress = |step: Step, done: f32| shared.runs.say(number, step.name(), done, None);
        learn(
            &material.draft,
            &material.audits,
            &material.live,
            in_use,
            SEED,
            &mut progress,
        )
    });
    let learnt = learnt
        .await
        .map_err(|_| ControlError::BadRequest("the run was stopped".to_owned()))?;
    let mut lesson = learnt.map_err(|error| ControlError::BadRequest(error.to_string()))?;
    lesson.learned.at = read_at;
    let report = json!({ "labels": lesson.labels, "report": report_json(&lesson.report) });
    let reason = verdict(&lesson.report, lesson.promoted());
    let version = match running.filter(|_| !lesson.promoted()) {
        // What was let through before stays until something better is, or an alarm ends it:
        // one run that cannot tell is no reason to go back.
        Some(version) => version,
        None => {
            let note = format!("training run {number}");
            let anew = Anew {
                learned: &lesson.learned,
                instead_of,
                cause: Cause::Change,
            };
            match control.reconcile(Some(anew), &note).await {
                // Somebody, or an alarm, went back to another table: that stands.
                Err(error @ ControlError::Overtaken) => return Ok((declined(&error), report)),
                version => version?,
            }
        }
    };
    let result = if lesson.promoted() {
        RunResult::Promoted
    } else {
        RunResult::Declined
    };
    Ok((
        Ended {
            result,
            reason: format!("{reason}; table version {version}"),
        },
        report,
    ))
}

fn declined(error: &ControlError) -> Ended {
    Ended {
        result: RunResult::Declined,
        reason: format!("{error}; nothing was published, train again"),
    }
}

/// Between two runs: the tables of the current committee, counted again over all labels.
/// Multipliers, curves and everything fitted stay. Returns the version that is current
/// afterwards.
///
/// # Errors
///
/// What history or the store says.
pub async fn refresh(control: &Control) -> Result<Option<TableVersion>, ControlError> {
    let Some(current) = control.publisher.current().await? else {
        return Ok(None);
    };
    let mut learned = Learned::of(current.table.draft());
    let Some(committee) = learned.committee.take() else {
        return Ok(None);
    };
    let Material { audits, live, .. } = material(control).await?;
    let counted =
        tokio::task::spawn_blocking(move || refreshed(&committee, &audits, &labelled(&live)));
    let counted = counted
        .await
        .map_err(|_| ControlError::BadRequest("the count was stopped".to_owned()))?;
    let Some(committee) = counted else {
        return Ok(None);
    };
    learned.committee = Some(committee);
    let anew = Anew {
        learned: &learned,
        instead_of: learned.at,
        cause: Cause::Recount,
    };
    match control.reconcile(Some(anew), "tables counted again").await {
        Err(ControlError::Overtaken) => Ok(None),
        version => version.map(Some),
    }
}

async fn material(control: &Control) -> Result<Material, ControlError> {
    let policy = control.policies.current().await?.ok_or_else(|| {
        ControlError::BadRequest("there is no policy yet: publish one, then train".to_owned())
    })?;
    let parsed = policy::parse(&policy.text).map_err(ControlError::Policy)?;
    let draft =
        policy::draft(&parsed, &policy.text, &Learned::default()).map_err(ControlError::Policy)?;
    let mut audits = control.history.audits(None).await?;
    audits.retain(|audit| audit.split != Some(Split::Test));
    let forgotten = alarms::forgotten(control).await?;
    forgotten.forget(&mut audits);
    let until = now();
    let since = UnixMillis(until.0.saturating_sub(LIVE_WINDOW.0));
    let live = control.history.judged_window(since, until, LIVE_MAX);
    let mut live = live.await?;
    live.retain(|(outcome, _)| !forgotten.covers(outcome));
    Ok(Material {
        read_at: until,
        audits,
        live,
        draft,
    })
}
