//! A history in a temporary directory, and plain rows to put into it.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use spillway_routing::catalogue::{Tier, Usage};
use spillway_routing::decide::{Considered, Decision, Step, Verdict as Fate, Why};
use spillway_routing::features::{FEATURES, Facts, Features};
use spillway_routing::id::{LaneId, ModelId, ProxyId, RequestId, RouteId, TableVersion};
use spillway_routing::outcome::{
    Attempt, AttemptResult, Audit, Ending, Outcome, Split, UsageSource, Verdict, VerdictSource,
};
use spillway_routing::unit::{Bps, Millis, NanoUsd, Ppm, Tokens, UnixMillis};

use crate::{BatchId, History};

/// 2026-11-21 21:00:00 UTC.
pub(super) const NINE: UnixMillis = UnixMillis(1_795_294_800_000);
pub(super) const HOUR: u64 = 3_600_000;

pub(super) struct Stand {
    pub(super) dir: tempfile::TempDir,
    pub(super) history: History,
}

impl Stand {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let history = History::local(dir.path()).unwrap();
        Self { dir, history }
    }

    /// The same directory after a restart.
    pub(super) fn reopened(self) -> Self {
        let history = History::local(self.dir.path()).unwrap();
        Self { history, ..self }
    }

    /// Outcomes `first..=last` as one batch, one per second from nine.
    pub(super) async fn append(&self, first: u64, last: u64) -> bool {
        let outcomes: Vec<_> = (first..=last).map(outcome).collect();
        let batch = batch(first, last);
        self.history
            .append_outcomes(&batch, &outcomes)
            .await
            .unwrap()
            .new
    }

    /// Every stored outcome's number, in order: none twice, none missing.
    pub(super) async fn numbers(&self) -> Vec<u64> {
        let window = self
            .history
            .window(UnixMillis(0), UnixMillis(u64::MAX), 100_000)
            .await;
        window
            .unwrap()
            .iter()
            .map(|(outcome, _)| outcome.total.0)
            .collect()
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    files.push(path)
                }
            }
        }
        files.sort();
        files
    }
}

/// The files' own clock, which compaction goes by.
pub(super) fn clock(later_ms: u64) -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMillis(since.as_millis() as u64 + later_ms)
}

pub(super) fn batch(first: u64, last: u64) -> BatchId {
    let proxy = ProxyId::new("edge_1/boot-7");
    BatchId { proxy, first, last }
}

pub(super) fn id(number: u64) -> RequestId {
    let at = NINE.0 + number * 1_000;
    let mut id = [7u8; 16];
    id[..6].copy_from_slice(&at.to_be_bytes()[2..]);
    id[8..].copy_from_slice(&number.to_be_bytes());
    RequestId(id)
}

/// Number `n` arrived `n` seconds after nine and took `n` milliseconds.
pub(crate) fn outcome(number: u64) -> Outcome {
    let lane = LaneId::new("openai:small/standard");
    let chosen = Considered {
        lane: lane.clone(),
        model: ModelId::new("small"),
        quality: Some(Bps::new(8_000)),
        quality_low: Some(Bps::new(7_500)),
        cost: Some(NanoUsd(1_000)),
        output: Tokens(100),
        first_token: Millis(300),
        total: Millis(900),
        utility: 12,
        verdict: Fate::Chosen(Why::BestValue),
    };
    Outcome {
        id: id(number),
        at: UnixMillis(NINE.0 + number * 1_000),
        proxy: batch(0, 0).proxy,
        table: TableVersion(3),
        facts: Facts {
            route: Some(RouteId::new("auto")),
            features: Features::of(&[0.5; FEATURES]),
            ..Facts::default()
        },
        conditions: Vec::new(),
        decision: Some(Decision {
            route: RouteId::new("auto"),
            plan: vec![Step {
                lane: lane.clone(),
                give_up: Millis(9_000),
            }],
            trail: vec![chosen; 6],
            abstention: None,
            explored: false,
            propensity: Ppm::ONE,
            baseline_cost: NanoUsd(5_000),
            relaxed: Vec::new(),
        }),
        attempts: vec![Attempt {
            lane: lane.clone(),
            start: Millis(1),
            end: Millis(number),
            result: AttemptResult::Answered,
            status: Some(200),
        }],
        ending: Ending::Answered,
        status: 200,
        served: Some(lane),
        served_model: Some(ModelId::new("small")),
        served_tier: Some(Tier::Standard),
        usage: Usage {
            input: Tokens(50),
            output: Tokens(100),
            ..Usage::default()
        },
        usage_source: UsageSource::Reported,
        cost: NanoUsd(1_000),
        baseline_cost: NanoUsd(5_000),
        first_token: Some(Millis(300)),
        total: Millis(number),
    }
}

pub(super) fn verdict(number: u64, source: VerdictSource, bps: u16, later_ms: u64) -> Verdict {
    let at = UnixMillis(outcome(number).at.0 + later_ms);
    Verdict {
        request: id(number),
        source,
        score: Bps::new(bps),
        at,
    }
}

pub(super) fn audit(name: &str, split: Split) -> Audit {
    Audit {
        id: name.to_owned(),
        at: NINE,
        split: Some(split),
        facts: outcome(1).facts,
        answers: Vec::new(),
    }
}
