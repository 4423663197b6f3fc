//! Outcomes and verdicts on their way to the control plane.
//!
//! Owns: sending batches one by one, each until it is stored, and finding the record
//! that makes one unreadable. It never delays a request: when the control plane is away
//! for long, the oldest records are dropped and counted.

mod batch;
mod queue;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use spillway_routing::id::ProxyId;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use self::batch::{BATCH_MAX, Batch, Filling};
pub(crate) use self::queue::Queue;

/// How old a record gets before it is sent in a batch that is not full.
const LINGER: Duration = Duration::from_millis(200);
/// Storing a batch is one write; longer means that the stream is dead.
const STORED_WITHIN: Duration = Duration::from_secs(10);
/// First pause after a lost stream; doubles up to the maximum.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A shutdown waits so long for the last batches.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);
/// A dead link is noticed within the sum of both.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(3);
/// A log line a batch would bury the one that says why.
const COMPLAINT_EVERY: Duration = Duration::from_secs(10);

/// Sends what waits in a queue.
pub(crate) struct Reporter {
    queue: Arc<Queue>,
    proxy: ProxyId,
    channel: Channel,
    /// Sequence number of the next record; counted when it is sent, so that dropped
    /// records leave no gap.
    next: u64,
    /// Not yet known to be stored. The first is under way: it is sent again unchanged,
    /// which counts once; more than one are the parts of a batch that was refused.
    pending: VecDeque<Batch>,
    filling: Filling,
    complained: Option<Instant>,
}

impl Reporter {
    pub(crate) fn new(queue: Arc<Queue>, proxy: ProxyId, control_plane: http::Uri) -> Self {
        let channel = Endpoint::from(control_plane)
            .connect_timeout(KEEP_ALIVE_WITHIN)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_WITHIN)
            .keep_alive_while_idle(true)
            .connect_lazy();
        Self {
            queue,
            proxy,
            channel,
            next: 1,
            pending: VecDeque::new(),
            filling: Filling::default(),
            complained: None,
        }
    }

    /// Works until the queue is empty after `closing`, or its bound is over.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let bound = async {
            closing.cancelled().await;
            tokio::time::sleep(FLUSH_WITHIN).await;
        };
        let queue = Arc::clone(&self.queue);
        tokio::select! {
            () = self.work(&closing) => {}
            () = queue.encode() => {}
            () = bound => {
                let pending: usize = self.pending.iter().map(Batch::len).sum();
                let lost = self.queue.len() + self.filling.len() + pending;
                tracing::warn!(lost, "outcomes could not be reported before the shutdown");
            }
        }
    }

    async fn work(&mut self, closing: &CancellationToken) {
        let mut pause = PAUSE_MIN;
        while self.fill(closing).await {
            match self.send(closing).await {
                Ok(()) => pause = PAUSE_MIN,
                Err(error) if is_refusal(&error) => {
                    self.narrow(&error);
                    pause = PAUSE_MIN;
                }
                Err(error) => {
                    self.complain(&error);
                    // The boot's own phase of the second spreads a fleet.
                    tokio::time::sleep(pause + jitter(pause)).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// The batch under way cannot be read: it is halved until the record at fault is
    /// alone, and that one is dropped. Sent unchanged it would block all others for ever.
    fn narrow(&mut self, error: &tonic::Status) {
        let Some(refused) = self.pending.pop_front() else {
            return;
        };
        if let Some((head, tail)) = batch::halves(&refused) {
            self.pending.push_front(tail);
            self.pending.push_front(head);
            return;
        }
        self.queue.metrics.outcomes_dropped.inc();
        tracing::error!(
            number = refused.first,
            code = ?error.code(),
            message = error.message(),
            "the control plane cannot read a record; it is dropped"
        );
    }

    fn complain(&mut self, error: &tonic::Status) {
        let now = Instant::now();
        let lately = |at: Instant| now.saturating_duration_since(at) < COMPLAINT_EVERY;
        if !self.complained.is_some_and(lately) {
            self.complained = Some(now);
            tracing::warn!(error = %error, "the control plane does not take outcomes");
        }
    }

    /// Waits for records and makes a batch of them. False when there will be no more.
    async fn fill(&mut self, closing: &CancellationToken) -> bool {
        while self.pending.is_empty() {
            match self.queue.len() {
                0 if closing.is_cancelled() => return false,
                0 => {
                    tokio::select! {
                        () = self.queue.wake.notified() => {}
                        () = closing.cancelled() => {}
                    }
                    continue;
                }
                1..BATCH_MAX => tokio::select! {
                    () = tokio::time::sleep(LINGER) => {}
                    () = closing.cancelled() => {}
                },
                _ => {}
            }
            let next = self.batch();
            self.pending.extend(next);
        }
        true
    }

    fn batch(&mut self) -> Option<Batch> {
        while !self.filling.is_full() {
            match self.queue.pop() {
                Some(record) => self.filling.add(&record),
                // What was too little for a turn.
                None if self.queue.encode_next() => {}
                None => break,
            }
        }
        let batch = self.filling.seal(&self.proxy, self.next)?;
        self.next = batch.last + 1;
        Some(batch)
    }

    fn under_way(&self) -> Bytes {
        let first = self.pending.front();
        first.map_or_else(Bytes::new, |batch| batch.message.clone())
    }

    /// One stream: sends batch after batch, each when the one before is stored.
    async fn send(&mut self, closing: &CancellationToken) -> Result<(), tonic::Status> {
        // One batch under way: what is in flight is what `pending` holds.
        let (batches, receiver) = mpsc::channel(1);
        let lost = |_| tonic::Status::unavailable("the stream ended");
        batches.send(self.under_way()).await.map_err(lost)?;
        let opening = wire::report(self.channel.clone(), receiver);
        let opened = timeout(STORED_WITHIN, opening).await;
        let late = |_| tonic::Status::deadline_exceeded("a batch was not stored in time");
        let mut stored = opened.map_err(late)??;
        loop {
            let last = self.pending.front().map_or(0, |batch| batch.last);
            let answer = timeout(STORED_WITHIN, stored.message())
                .await
                .map_err(late)??;
            let answer = answer.ok_or_else(|| lost(mpsc::error::SendError(Bytes::new())))?;
            if answer.last < last {
                continue;
            }
            self.pending.pop_front();
            if !self.fill(closing).await {
                return Ok(());
            }
            batches.send(self.under_way()).await.map_err(lost)?;
        }
    }
}

/// Whether the same bytes would be refused again: unreadable, or longer than a message
/// may be.
fn is_refusal(error: &tonic::Status) -> bool {
    matches!(error.code(), Code::InvalidArgument | Code::OutOfRange)
}

/// Up to half of the pause, by the clock's low bits: enough to keep a fleet out of step.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64((crate::clock::now().0 % 1_000) as f64 / 2_000.0)
}

#[cfg(test)]
mod tests;
