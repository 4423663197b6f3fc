//! Batches: what is sent, numbered, in one message.
//!
//! Owns: that a batch's numbers are as many as its records and that no number is used
//! twice. A record gets its number when it leaves the queue, so records that the queue
//! dropped never had one and leave no gap inside a batch.

use prost::Message as _;
use spillway_proto::pb;
use spillway_routing::id::ProxyId;

use super::queue::{Item, Queue};

/// One batch becomes one file: large enough to be worth it.
pub(super) const BATCH_MAX: usize = 500;
/// Long trails make large records; gRPC takes messages of 4 MiB.
const BATCH_BYTES_MAX: usize = 2 << 20;

/// How many records a batch holds.
pub(super) fn len(batch: &pb::Batch) -> usize {
    batch.outcomes.len() + batch.verdicts.len() + batch.audits.len()
}

/// The next records, numbered from `first`; `None` where none wait.
pub(super) fn next(queue: &Queue, proxy: &ProxyId, first: u64) -> Option<pb::Batch> {
    let mut batch = pb::Batch {
        proxy: proxy.to_string(),
        first,
        ..pb::Batch::default()
    };
    let mut bytes = 0;
    while len(&batch) < BATCH_MAX && bytes < BATCH_BYTES_MAX {
        match queue.pop() {
            Some(Item::Outcome(outcome)) => {
                let outcome = pb::Outcome::from(&*outcome);
                bytes += outcome.encoded_len();
                batch.outcomes.push(outcome);
            }
            Some(Item::Audit(audit)) => {
                let audit = pb::Audit::from(&*audit);
                bytes += audit.encoded_len();
                batch.audits.push(audit);
            }
            Some(Item::Verdict(verdict)) => batch.verdicts.push(pb::Verdict::from(&verdict)),
            None => break,
        }
    }
    numbered(batch)
}

/// Two batches with the same records and numbers; `None` for a single record.
pub(super) fn halves(batch: &pb::Batch) -> Option<(pb::Batch, pb::Batch)> {
    let count = len(batch);
    if count < 2 {
        return None;
    }
    let middle = count / 2;
    // Outcomes come first in a batch's order, then verdicts, then audits.
    let mut head = batch.clone();
    let mut tail = pb::Batch {
        proxy: batch.proxy.clone(),
        ..pb::Batch::default()
    };
    let mut left = middle;
    tail.outcomes = beyond(&mut head.outcomes, &mut left);
    tail.verdicts = beyond(&mut head.verdicts, &mut left);
    tail.audits = beyond(&mut head.audits, &mut left);
    let head = numbered(head)?;
    tail.first = head.last + 1;
    Some((head, numbered(tail)?))
}

/// Cuts off what lies beyond the `left` records that still fit, and counts those down.
fn beyond<T>(records: &mut Vec<T>, left: &mut usize) -> Vec<T> {
    let kept = records.len().min(*left);
    *left -= kept;
    records.split_off(kept)
}

/// With the last number that its records need.
fn numbered(batch: pb::Batch) -> Option<pb::Batch> {
    let last = batch.first + (len(&batch) as u64).checked_sub(1)?;
    Some(pb::Batch { last, ..batch })
}
