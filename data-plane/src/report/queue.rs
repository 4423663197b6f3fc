//! Records that wait to be reported.
//!
//! Owns: the bounded queue, and that its oldest records make room for new ones. Knows
//! no batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use spillway_routing::outcome::{Audit, Outcome, Verdict};
use tokio::sync::Notify;

use crate::metrics::Metrics;

pub(super) enum Item {
    Outcome(Box<Outcome>),
    Verdict(Verdict),
    Audit(Box<Audit>),
}

/// Records that wait.
pub(crate) struct Queue {
    items: Mutex<VecDeque<Item>>,
    max: usize,
    /// Without a control plane nothing is kept: nobody would ever fetch it.
    kept: bool,
    pub(super) wake: Notify,
    pub(super) metrics: Arc<Metrics>,
}

impl Queue {
    pub(crate) fn new(max: usize, kept: bool, metrics: Arc<Metrics>) -> Self {
        Self {
            items: Mutex::default(),
            max,
            kept,
            wake: Notify::new(),
            metrics,
        }
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
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        if items.len() >= self.max {
            items.pop_front();
            self.metrics.outcomes_dropped.inc();
        }
        items.push_back(item);
        self.metrics.outcomes_queued.set(items.len() as i64);
        drop(items);
        self.wake.notify_one();
    }

    pub(super) fn pop(&self) -> Option<Item> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let item = items.pop_front();
        self.metrics.outcomes_queued.set(items.len() as i64);
        item
    }

    pub(super) fn len(&self) -> usize {
        self.items
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}
