//! Batches: what is sent, numbered, in one message.
//!
//! Owns: that a batch's numbers are as many as its records and that no number is used
//! twice. A record gets its number when it leaves the queue, so records that the queue
//! dropped never had one and leave no gap inside a batch.

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use spillway_proto::pb;
use spillway_routing::id::ProxyId;

/// One batch becomes one file: large enough to be worth it.
pub(super) const BATCH_MAX: usize = 500;
/// Long trails make large records; gRPC takes messages of 4 MiB.
const BATCH_BYTES_MAX: usize = 2 << 20;
/// A buffer begins with so much: a quiet proxy's batch fits.
const BUFFER_BYTES: usize = 16 * 1024;

/// A batch as it is sent, any number of times.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) last: u64,
    /// A [`pb::Batch`].
    pub(super) message: Bytes,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        (self.last + 1 - self.first) as usize
    }
}

/// Records on their way into a batch.
#[derive(Default)]
pub(super) struct Filling {
    message: BytesMut,
    records: usize,
}

impl Filling {
    pub(super) fn len(&self) -> usize {
        self.records
    }

    pub(super) fn is_full(&self) -> bool {
        self.records >= BATCH_MAX || self.message.len() >= BATCH_BYTES_MAX
    }

    /// Adds a record, as the queue encoded it.
    pub(super) fn add(&mut self, record: &[u8]) {
        if self.message.capacity() == 0 {
            self.message.reserve(BUFFER_BYTES);
        }
        self.message.extend_from_slice(record);
        self.records += 1;
    }

    /// The batch, numbered from `first`; `None` where there are no records. The buffer is
    /// ready for the next one.
    pub(super) fn seal(&mut self, proxy: &ProxyId, first: u64) -> Option<Batch> {
        let last = first + (self.records as u64).checked_sub(1)?;
        let numbers = pb::Batch {
            proxy: proxy.to_string(),
            first,
            last,
            ..pb::Batch::default()
        };
        self.message.extend_from_slice(&numbers.encode_to_vec());
        self.records = 0;
        Some(Batch {
            first,
            last,
            message: self.message.split().freeze(),
        })
    }
}

/// Two batches with the same records and numbers; `None` for a single record.
pub(super) fn halves(batch: &Batch) -> Option<(Batch, Batch)> {
    if batch.len() < 2 {
        return None;
    }
    // Outcomes come first in a batch's order, then verdicts, then audits.
    let mut head = pb::Batch::decode(batch.message.clone()).ok()?;
    let mut tail = pb::Batch {
        proxy: head.proxy.clone(),
        ..pb::Batch::default()
    };
    let mut left = batch.len() / 2;
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
fn numbered(mut batch: pb::Batch) -> Option<Batch> {
    let records = batch.outcomes.len() + batch.verdicts.len() + batch.audits.len();
    batch.last = batch.first + (records as u64).checked_sub(1)?;
    Some(Batch {
        first: batch.first,
        last: batch.last,
        message: batch.encode_to_vec().into(),
    })
}
