//! Records that wait to be reported.
//!
//! Owns: the bounded queue, and that its oldest records make room for new ones. Whoever
//! closes a record leaves it as it is; the reporter encodes it in a moment of its own, to a
//! third of its size. Knows no batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::Message as _;
use spillway_proto::pb;
use spillway_routing::outcome::{Audit, Outcome, Verdict};
use tokio::sync::Notify;

use crate::metrics::Metrics;

/// So many are encoded one after the other, by code that is still at hand, before others get
/// their turn on the thread: more where more were closed since the last turn, so that none
/// are left behind for long.
const TURN_MIN: usize = 16;
const TURN_MAX: usize = 128;

enum Item {
    Outcome(Box<Outcome>),
    Verdict(Verdict),
    Audit(Box<Audit>),
}

impl Item {
    /// As a batch of one: messages of one type that follow each other are one message with
    /// the fields of all.
    fn encoded(&self) -> Vec<u8> {
        let mut part = pb::Batch::default();
        match self {
            Self::Outcome(outcome) => part.outcomes.push(pb::Outcome::from(&**outcome)),
            Self::Audit(audit) => part.audits.push(pb::Audit::from(&**audit)),
            Self::Verdict(verdict) => part.verdicts.push(pb::Verdict::from(verdict)),
        }
        part.encode_to_vec()
    }
}

#[derive(Default)]
struct Waiting {
    /// As they were closed; the youngest.
    closed: VecDeque<Item>,
    /// The oldest.
    encoded: VecDeque<Vec<u8>>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.closed.len() + self.encoded.len()
    }
}

/// Records that wait.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    max: usize,
    /// Without a control plane nothing is kept: nobody would ever fetch it.
    kept: bool,
    /// Enough were closed for a turn.
    due: Notify,
    /// There is a record.
    pub(super) wake: Notify,
    pub(super) metrics: Arc<Metrics>,
}

impl Queue {
    pub(crate) fn new(max: usize, kept: bool, metrics: Arc<Metrics>) -> Self {
        Self {
            waiting: Mutex::default(),
            max,
            kept,
            due: Notify::new(),
            wake: Notify::new(),
            metrics,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push_outcome(&self, outcome: Outcome) {
        self.push(Item::Outcome(Box::new(outcome)));
    }

    pub(crate) fn push_verdict(&self, verdict: Verdict) {
        self.push(Item::Verdict(verdict));
    }

    pub(crate) fn push_audit(&self, audit: Audit) {
        self.push(Item::Audit(Box::new(audit)));
    }

    fn push(&self, item: Item) {
        if !self.kept {
            return;
        }
        let mut waiting = self.waiting();
        let mut dropped = None;
        if waiting.len() >= self.max {
            dropped = waiting.encoded.pop_front();
            if dropped.is_none() {
                waiting.closed.pop_front();
            }
            self.metrics.outcomes_dropped.inc();
        }
        waiting.closed.push_back(item);
        let (closed, all) = (waiting.closed.len(), waiting.len());
        self.metrics.outcomes_queued.set(all as i64);
        drop(waiting);
        drop(dropped);
        if all == 1 {
            self.wake.notify_one();
        }
        if closed >= TURN_MIN {
            self.due.notify_one();
        }
    }

    /// Encodes what is closed whenever it is worth a turn, as long as it is polled.
    pub(super) async fn encode(&self) {
        loop {
            let closed = self.waiting().closed.len();
            if closed < TURN_MIN {
                self.due.notified().await;
                continue;
            }
            for _ in 0..closed.min(TURN_MAX) {
                self.encode_next();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Encodes the oldest record that is not; `false` where there is none.
    pub(super) fn encode_next(&self) -> bool {
        let Some(item) = self.waiting().closed.pop_front() else {
            return false;
        };
        // Others close records meanwhile.
        let encoded = item.encoded();
        self.waiting().encoded.push_back(encoded);
        true
    }

    /// The oldest record, where it is encoded.
    pub(super) fn pop(&self) -> Option<Vec<u8>> {
        let mut waiting = self.waiting();
        let encoded = waiting.encoded.pop_front();
        self.metrics.outcomes_queued.set(waiting.len() as i64);
        encoded
    }

    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }
}
