//! Alarms: the world is no longer the one that the table was learnt in.
//!
//! Owns: the step that looks (it carries no data and may run at any time), the kept
//! records, and what each kind of alarm does. What an alarm *is* the classifier says
//! (`drift.rs`). A record is written after its action, so that an action that failed is
//! tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spillway_classifier::drift::{Alarm, Kind, Since, watch};
use spillway_proto::keys;
use spillway_routing::id::ModelId;
use spillway_routing::outcome::{Audit, Outcome};
use spillway_routing::table::Table;
use spillway_routing::unit::{Bps, Millis, UnixMillis};

use crate::control::{Anew, Control, now};
use crate::error::ControlError;
use crate::policy::Learned;
use crate::publish::Cause;
use crate::store::{Expected, Store};
use crate::training;

/// What is audited at least while an alarm is fresh.
pub const RAISED_SHARE: Bps = Bps::new(500);
/// So long it is.
const FRESH_FOR: Millis = Millis(24 * 3_600_000);
/// Outcomes looked at.
const LIVE_MAX: usize = 20_000;
/// Records kept.
const KEPT: usize = 100;

/// What was done about an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The table got back what was learnt before, or nothing if that is all there was.
    Reverted,
    /// What is known of the model from before is forgotten, and a training run was asked
    /// for.
    Forgot,
    /// More is audited for a day.
    Audited,
}

/// One alarm as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub kind: String,
    /// The route or model; empty for all traffic.
    pub subject: String,
    pub at_ms: u64,
    /// When it seems to have begun.
    pub since_ms: u64,
    /// Which learning it is about.
    pub learnt_at_ms: u64,
    pub seen: usize,
    pub mean: f64,
    pub allowed: f64,
    pub action: Action,
}

/// Looks once; returns the alarms that are new.
///
/// # Errors
///
/// What history or the store says.
pub async fn step(control: &Arc<Control>) -> Result<Vec<Record>, ControlError> {
    let Some(current) = control.publisher.current().await? else {
        return Ok(Vec::new());
    };
    let learnt_at = current.table.draft().learnt_at;
    let known = records(&control.store).await?;
    let until = now();
    // What convicted a newer table says nothing new of the one that came back.
    let reverted = known
        .iter()
        .filter(|record| record.action == Action::Reverted);
    let reverted = reverted.map(|record| UnixMillis(record.at_ms)).max();
    let since = learnt_at.max(reverted.unwrap_or_default());
    let found = watched(control, current.table, since, until).await?;
    let is_known = |alarm: &Alarm| {
        known.iter().any(|record| {
            let same = record.kind == alarm.kind.name() && record.subject == alarm.subject;
            same && record.learnt_at_ms == learnt_at.0
        })
    };
    let mut new = Vec::new();
    for alarm in found.into_iter().filter(|alarm| !is_known(alarm)) {
        let record = raise(control, &alarm, learnt_at, until).await?;
        new.push(record);
    }
    if wants_run(control, known.iter().chain(&new)).await? {
        // A run that is under way may have read too early: the next look asks again.
        match training::start(control).await {
            Ok(_) | Err(ControlError::AlreadyTraining(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if !known.is_empty() || !new.is_empty() {
        control.reconcile(None, "alarms").await?;
    }
    Ok(new)
}

/// What has changed since a table was learnt; of one that was not, nothing is expected.
async fn watched(
    control: &Control,
    table: Arc<Table>,
    since: UnixMillis,
    until: UnixMillis,
) -> Result<Vec<Alarm>, ControlError> {
    if table.draft().committee.is_none() {
        return Ok(Vec::new());
    }
    let mut audits = control.history.audits_since(since).await?;
    audits.sort_by_key(|audit| audit.at);
    let live = control.history.window(since, until, LIVE_MAX).await?;
    let found = tokio::task::spawn_blocking(move || {
        let (audits, live) = (&audits, &live);
        watch(&table, Since { audits, live })
    });
    found
        .await
        .map_err(|_| ControlError::BadRequest("the watch was stopped".to_owned()))
}

/// Whether something was forgotten or taken back since the last run began.
async fn wants_run(
    control: &Control,
    records: impl Iterator<Item = &Record>,
) -> Result<bool, ControlError> {
    let acted = records.filter(|record| record.action != Action::Audited);
    let Some(last) = acted.map(|record| record.at_ms).max() else {
        return Ok(false);
    };
    let runs = training::records(control).await?;
    let began = runs.first().and_then(|run| run["at_ms"].as_u64());
    Ok(began.is_none_or(|began| began < last))
}

/// Does what the alarm asks for, and keeps it.
async fn raise(
    control: &Control,
    alarm: &Alarm,
    learnt_at: UnixMillis,
    at: UnixMillis,
) -> Result<Record, ControlError> {
    let action = match alarm.kind {
        Kind::Loss => {
            revert(control, learnt_at).await?;
            Action::Reverted
        }
        Kind::Worse => Action::Forgot,
        Kind::Length | Kind::Failures | Kind::Empty | Kind::Unlike | Kind::Shift => Action::Audited,
    };
    let record = Record {
        kind: alarm.kind.name().to_owned(),
        subject: alarm.subject.clone(),
        at_ms: at.0,
        since_ms: alarm.since.0,
        learnt_at_ms: learnt_at.0,
        seen: alarm.seen,
        mean: alarm.mean,
        allowed: alarm.allowed,
        action,
    };
    tracing::warn!(
        kind = record.kind,
        subject = record.subject,
        seen = record.seen,
        mean = record.mean,
        allowed = record.allowed,
        action = ?record.action,
        "the world has changed since the table was learnt"
    );
    control
        .metrics
        .alarms
        .with_label_values(&[alarm.kind.name()])
        .inc();
    keep(&control.store, &record).await?;
    Ok(record)
}

/// Publishes the policy with what the last table before this learning had learnt.
async fn revert(control: &Control, learnt_at: UnixMillis) -> Result<(), ControlError> {
    let mut before = Learned::default();
    for kept in control.publisher.versions().await? {
        let (_, draft) = control.publisher.version(kept.version).await?;
        if draft.learnt_at < learnt_at {
            before = Learned::of(&draft);
            break;
        }
    }
    let note = "an alarm took back what was learnt";
    let anew = Anew {
        learned: &before,
        instead_of: learnt_at,
        cause: Cause::Change,
    };
    match control.reconcile(Some(anew), note).await {
        // What it convicts is out of use already.
        Err(ControlError::Overtaken) => Ok(()),
        done => done.map(drop),
    }
}

async fn keep(store: &Store, record: &Record) -> Result<(), ControlError> {
    let kept = store.list(&keys::alarms()).await?;
    let number = |key: &str| key.rsplit('/').next()?.parse::<u64>().ok();
    let last = kept
        .last()
        .and_then(|value| number(&value.key))
        .unwrap_or(0);
    let bytes = serde_json::to_vec(record).unwrap_or_default();
    let key = keys::alarm(last + 1);
    store
        .put(&key, Bytes::from(bytes), Expected::Anything, Vec::new())
        .await?;
    for old in kept.iter().rev().skip(KEPT - 1) {
        store.delete(&old.key).await?;
    }
    Ok(())
}

/// The kept records, newest first.
///
/// # Errors
///
/// If the store does not answer.
pub async fn records(store: &Store) -> Result<Vec<Record>, ControlError> {
    let kept = store.list(&keys::alarms()).await?;
    Ok(kept
        .iter()
        .rev()
        .filter_map(|value| serde_json::from_slice(&value.value).ok())
        .collect())
}

/// Whether one of them is fresh.
///
/// # Errors
///
/// If the store does not answer.
pub(crate) async fn are_fresh(store: &Store, now: UnixMillis) -> Result<bool, ControlError> {
    let records = records(store).await?;
    let fresh = |record: &Record| now.since(UnixMillis(record.at_ms)) < FRESH_FOR;
    Ok(records.iter().any(fresh))
}

/// Models that were named since something was learnt.
///
/// # Errors
///
/// If the store does not answer.
pub(crate) async fn named_since(
    store: &Store,
    learnt_at: UnixMillis,
) -> Result<Vec<ModelId>, ControlError> {
    let records = records(store).await?;
    let named = records
        .iter()
        .filter(|record| record.action == Action::Forgot && record.at_ms > learnt_at.0);
    let named: BTreeSet<&str> = named.map(|record| record.subject.as_str()).collect();
    Ok(named.into_iter().map(ModelId::new).collect())
}

/// Models whose labels from before some moment tell of another model by that name.
#[derive(Debug, Default)]
pub(crate) struct Forgotten(BTreeMap<ModelId, UnixMillis>);

/// What alarms made worthless.
///
/// # Errors
///
/// If the store does not answer.
pub(crate) async fn forgotten(control: &Control) -> Result<Forgotten, ControlError> {
    let mut before = BTreeMap::new();
    for record in records(&control.store).await? {
        if record.action == Action::Forgot {
            let since = before.entry(ModelId::new(&record.subject)).or_default();
            *since = UnixMillis(record.since_ms).max(*since);
        }
    }
    Ok(Forgotten(before))
}

impl Forgotten {
    fn has(&self, model: &ModelId, at: UnixMillis) -> bool {
        self.0.get(model).is_some_and(|since| at < *since)
    }

    /// Takes the answers of changed models out of audits from before the change.
    pub(crate) fn forget(&self, audits: &mut [Audit]) {
        for audit in audits {
            let at = audit.at;
            audit.answers.retain(|answer| !self.has(&answer.model, at));
        }
    }

    /// Whether a request was served by a model as it was before.
    pub(crate) fn covers(&self, outcome: &Outcome) -> bool {
        let model = outcome.served_model.as_ref();
        model.is_some_and(|model| self.has(model, outcome.at))
    }
}
