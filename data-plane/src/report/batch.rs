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
    batch.outcomes.len() + batch.verdicts.len()
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
    // Outcomes come before verdicts in a batch's order.
    let outcomes = batch.outcomes.split_at(middle.min(batch.outcomes.len()));
    let verdicts = middle.saturating_sub(batch.outcomes.len());
    let verdicts = batch.verdicts.split_at(verdicts);
    let part = |first: u64, outcomes: &[pb::Outcome], verdicts: &[pb::Verdict]| {
        numbered(pb::Batch {
            proxy: batch.proxy.clone(),
            first,
            last: first,
            outcomes: outcomes.to_vec(),
            verdicts: verdicts.to_vec(),
        })
    };
    let head = part(batch.first, outcomes.0, verdicts.0)?;
    let tail = part(head.last + 1, outcomes.1, verdicts.1)?;
    Some((head, tail))
}

/// With the last number that its records need.
fn numbered(batch: pb::Batch) -> Option<pb::Batch> {
    let last = batch.first + (len(&batch) as u64).checked_sub(1)?;
    Some(pb::Batch { last, ..batch })
}
