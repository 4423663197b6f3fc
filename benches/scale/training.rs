//! Training runs on growing numbers of labels.
//!
//! Owns: a control plane's data directory with audits and live requests in its history, and
//! the control plane's own training step on it, twice: on a fresh install, and with the
//! heads of the first run in use, if it was promoted, which a new run is compared with on
//! prompts that came after it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use spillway_control_plane::ControlPlane;
use spillway_control_plane::config::{Config, RawConfig};
use spillway_control_plane::control::{Control, now};
use spillway_control_plane::training::{self, Progress};
use spillway_history::{BatchId, History};
use spillway_routing::id::ProxyId;
use spillway_routing::outcome::{Outcome, Verdict, VerdictSource};
use spillway_routing::unit::Bps;
use tokio::sync::watch;

use crate::report::{Column, Table, cpu_seconds, peak_mib};
use crate::stand::text;
use crate::world::Requests;
use crate::{child, world};

const SECONDS_MAX: f64 = 60.0;
const MIB_MAX: f64 = 2_048.0;
/// Live requests: as many as a run looks at.
const LIVE: u64 = 200_000;
/// Of which apps judged one in so many.
const JUDGED_ONE_IN: usize = 20;
/// Written at a time.
const LIVE_BATCH: u64 = 20_000;
/// Audits that come between the two runs.
const LATER: u64 = 1_000;

/// Writes `prompts` audits and live requests into the history of a control plane.
pub(crate) async fn prepare(dir: &Path, prompts: u64) -> Value {
    let history = History::local(&dir.join("history")).unwrap();
    let audits = world::audits(0..prompts, |number| world::spread(number, prompts, now()));
    history.append_audits("scale", &audits).await.unwrap();
    let (requests, proxy) = (Requests::new(world::MODELS), ProxyId::new("live/boot"));
    for first in (0..LIVE).step_by(LIVE_BATCH as usize) {
        let numbers = first..first + LIVE_BATCH;
        let outcomes: Vec<Outcome> = numbers
            .map(|number| requests.by_any_model(&proxy, number, now()))
            .collect();
        let judged = outcomes.iter().step_by(JUDGED_ONE_IN);
        let verdicts: Vec<Verdict> = judged.map(verdict).collect();
        let batch = |records: usize| BatchId {
            proxy: proxy.clone(),
            first: first + 1,
            last: first + records as u64,
        };
        let (id, of_verdicts) = (batch(outcomes.len()), batch(verdicts.len()));
        history.append_outcomes(&id, &outcomes).await.unwrap();
        let stored = history.append_verdicts(&of_verdicts, &verdicts);
        stored.await.unwrap();
    }
    json!({ "labels": audits.iter().map(|audit| audit.answers.len()).sum::<usize>() })
}

pub(crate) fn verdict(outcome: &Outcome) -> Verdict {
    Verdict {
        request: outcome.id,
        source: VerdictSource::App,
        score: Bps::new((outcome.total.0 % 10_001) as u16),
        at: now(),
    }
}

/// Two runs of the step that the trainer makes.
pub(crate) async fn train(dir: &Path, prompts: u64) -> Value {
    let raw = format!("data_dir = {dir:?}");
    let raw: RawConfig = toml::from_str(&raw).unwrap();
    let config = Config::resolve(raw, &|_| Err("no bucket".to_owned())).unwrap();
    let control = ControlPlane::open(config).await.unwrap().control();
    let policy = world::policy(world::MODELS, 0.95);
    control.put_policy(&policy, 0, "bench").await.unwrap();
    let first = run(&control).await;
    assert_ne!(first["result"], "failed", "{first}");
    let later = world::audits(prompts..prompts + LATER, |_| now());
    control
        .history
        .append_audits("later", &later)
        .await
        .unwrap();
    let next = run(&control).await;
    assert_ne!(next["result"], "failed", "{next}");
    json!({ "first": first, "next": next })
}

async fn run(control: &Arc<Control>) -> Value {
    let watched = tokio::spawn(steps(control.runs.watch()));
    let (began, busy) = (Instant::now(), cpu_seconds());
    let ended = training::step(control).await.unwrap();
    let seconds = began.elapsed().as_secs_f64();
    json!({
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - busy,
        "peak_mib": peak_mib(std::process::id()),
        "result": ended.result.name(),
        "reason": ended.reason,
        "steps": watched.await.unwrap(),
    })
}

/// How long each step takes, as the run's progress says it.
async fn steps(mut watch: watch::Receiver<Option<Progress>>) -> BTreeMap<String, f64> {
    let mut times = BTreeMap::new();
    let mut going: Option<(String, Instant)> = None;
    while watch.changed().await.is_ok() {
        let Some(progress) = watch.borrow_and_update().clone() else {
            continue;
        };
        if let Some((step, since)) = going.take() {
            *times.entry(step).or_default() += since.elapsed().as_secs_f64();
        }
        if progress.ended.is_some() {
            break;
        }
        going = Some((progress.step, Instant::now()));
    }
    times
}

pub(crate) async fn measure(sizes: &[u64]) {
    println!(
        "Training: the control plane's step, from labels in its history to the published \
         table; {} models answered each prompt. Beside them {LIVE} live requests, of which \
         apps judged one in {JUDGED_ONE_IN}. Before the run with heads in use {LATER} audits \
         came. Asked: 10^6 labels in {SECONDS_MAX} s and {MIB_MAX} MiB.",
        world::MODELS
    );
    let columns = [
        Column::Size("labels"),
        Column::Size("prompts"),
        Column::Grown("first run, s", 1),
        Column::Grown("of the cores, s", 1),
        Column::Plain("labels/s", 0),
        Column::Grown("peak, MiB", 0),
        Column::Grown("with heads in use, s", 1),
        Column::Grown("peak of both, MiB", 0),
    ];
    let mut table = Table::new("Training", &columns);
    let mut notes = Vec::new();
    for size in sizes {
        let dir = tempfile::tempdir().unwrap();
        let prompts = size / world::MODELS as u64;
        let path = text(dir.path());
        child("prepare", &[path, &prompts.to_string()]).await;
        let said = child("train", &[path, &prompts.to_string()]).await;
        let figure = |run: &str, name: &str| said[run][name].as_f64().unwrap();
        let seconds = figure("first", "seconds");
        table.row(&[
            *size as f64,
            prompts as f64,
            seconds,
            figure("first", "cpu_seconds"),
            *size as f64 / seconds,
            figure("first", "peak_mib"),
            figure("next", "seconds"),
            figure("next", "peak_mib"),
        ]);
        for run in ["first", "next"] {
            let of = &said[run];
            notes.push(format!(
                "{size} labels, {run} run: {}, {}; steps in s: {}",
                of["result"],
                of["reason"],
                rounded(&of["steps"])
            ));
        }
    }
    println!("\n- {}", notes.join("\n- "));
}

fn rounded(steps: &Value) -> String {
    let steps = steps.as_object().unwrap().iter();
    let steps = steps.map(|(step, s)| format!("{step} {:.1}", s.as_f64().unwrap()));
    steps.collect::<Vec<_>>().join(", ")
}
