//! Outcomes and verdicts on their way to the control plane.
//!
//! Owns: a bounded queue, batches with sequence numbers, and sending each until it is
//! stored. It never delays a request: when the control plane is away for long, the
//! oldest records are dropped and counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prost::Message as _;
use spillway_proto::pb;
use spillway_routing::id::ProxyId;
use spillway_routing::outcome::{Outcome, Verdict};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::metrics::Metrics;

/// One batch becomes one file: large enough to be worth it.
const BATCH_MAX: usize = 500;
/// Long trails make large records; gRPC takes messages of 4 MiB.
const BATCH_BYTES_MAX: usize = 2 << 20;
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

enum Item {
    Outcome(Box<Outcome>),
    Verdict(Verdict),
}

/// Records that wait.
pub(crate) struct Queue {
    items: Mutex<VecDeque<Item>>,
    max: usize,
    /// Without a control plane nothing is kept: nobody would ever fetch it.
    kept: bool,
    wake: Notify,
    metrics: Arc<Metrics>,
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

    fn pop(&self) -> Option<Item> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let item = items.pop_front();
        self.metrics.outcomes_queued.set(items.len() as i64);
        item
    }

    fn len(&self) -> usize {
        self.items
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

/// Sends what waits in a queue.
pub(crate) struct Reporter {
    queue: Arc<Queue>,
    proxy: ProxyId,
    channel: Channel,
    /// Sequence number of the next record; counted when it is sent, so that dropped
    /// records leave no gap.
    next: u64,
    /// Sent but not yet known to be stored: sent again unchanged, which counts once.
    pending: Option<pb::Batch>,
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
            pending: None,
        }
    }

    /// Works until the queue is empty after `closing`, or its bound is over.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let bound = async {
            closing.cancelled().await;
            tokio::time::sleep(FLUSH_WITHIN).await;
        };
        tokio::select! {
            () = self.work(&closing) => {}
            () = bound => {
                let lost = self.queue.len() + self.pending.as_ref().map_or(0, |b| b.outcomes.len());
                tracing::warn!(lost, "outcomes could not be reported before the shutdown");
            }
        }
    }

    async fn work(&mut self, closing: &CancellationToken) {
        let mut pause = PAUSE_MIN;
        while self.fill(closing).await {
            match self.send(closing).await {
                Ok(()) => pause = PAUSE_MIN,
                Err(error) => {
                    tracing::debug!(error = %error, "the control plane does not take outcomes");
                    // The boot's own phase of the second spreads a fleet.
                    tokio::time::sleep(pause + jitter(pause)).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Waits for records and makes a batch of them. False when there will be no more.
    async fn fill(&mut self, closing: &CancellationToken) -> bool {
        while self.pending.is_none() {
            if self.queue.len() == 0 {
                if closing.is_cancelled() {
                    return false;
                }
                tokio::select! {
                    () = self.queue.wake.notified() => {}
                    () = closing.cancelled() => {}
                }
            }
            if self.queue.len() < BATCH_MAX {
                tokio::select! {
                    () = tokio::time::sleep(LINGER) => {}
                    () = closing.cancelled() => {}
                }
            }
            self.pending = self.batch();
        }
        true
    }

    fn batch(&mut self) -> Option<pb::Batch> {
        let mut batch = pb::Batch {
            proxy: self.proxy.to_string(),
            first: self.next,
            ..pb::Batch::default()
        };
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH_MAX && bytes < BATCH_BYTES_MAX {
            match self.queue.pop() {
                Some(Item::Outcome(outcome)) => {
                    let outcome = pb::Outcome::from(&*outcome);
                    bytes += outcome.encoded_len();
                    batch.outcomes.push(outcome);
                }
                Some(Item::Verdict(verdict)) => batch.verdicts.push(pb::Verdict::from(&verdict)),
                None => break,
            }
            count += 1;
        }
        let last = self.next + (count as u64).checked_sub(1)?;
        batch.last = last;
        self.next = last + 1;
        Some(batch)
    }

    /// One stream: sends batch after batch, each when the one before is stored.
    async fn send(&mut self, closing: &CancellationToken) -> Result<(), tonic::Status> {
        let mut client = pb::outcomes_client::OutcomesClient::new(self.channel.clone());
        // One batch under way: what is in flight is what `pending` holds.
        let (batches, receiver) = mpsc::channel(1);
        let lost = |_| tonic::Status::unavailable("the stream ended");
        batches
            .send(self.pending.clone().unwrap_or_default())
            .await
            .map_err(lost)?;
        let opened = timeout(STORED_WITHIN, client.report(ReceiverStream::new(receiver))).await;
        let late = |_| tonic::Status::deadline_exceeded("a batch was not stored in time");
        let mut stored = opened.map_err(late)??.into_inner();
        loop {
            let last = self.pending.as_ref().map_or(0, |batch| batch.last);
            let answer = timeout(STORED_WITHIN, stored.message())
                .await
                .map_err(late)??;
            let answer =
                answer.ok_or_else(|| lost(mpsc::error::SendError(pb::Batch::default())))?;
            if answer.last < last {
                continue;
            }
            self.pending = None;
            if !self.fill(closing).await {
                return Ok(());
            }
            batches
                .send(self.pending.clone().unwrap_or_default())
                .await
                .map_err(lost)?;
        }
    }
}

/// Up to half of the pause, by the clock's low bits: enough to keep a fleet out of step.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64((crate::clock::now().0 % 1_000) as f64 / 2_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spillway_routing::id::RequestId;
    use spillway_routing::outcome::VerdictSource;
    use spillway_routing::unit::{Bps, UnixMillis};

    fn verdict(n: u8) -> Verdict {
        let request = RequestId([n; 16]);
        Verdict {
            request,
            source: VerdictSource::App,
            score: Bps::ONE,
            at: UnixMillis(0),
        }
    }

    fn queue(max: usize) -> Arc<Queue> {
        Arc::new(Queue::new(max, true, Arc::new(Metrics::new().unwrap())))
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let queue = queue(2);
        for n in 0..3 {
            queue.push_verdict(verdict(n));
        }
        assert_eq!(queue.metrics.outcomes_dropped.get(), 1);
        assert!(matches!(queue.pop(), Some(Item::Verdict(v)) if v.request == RequestId([1; 16])));
        assert_eq!(queue.len(), 1);
    }

    #[tokio::test]
    async fn batches_are_numbered_without_gaps() {
        let queue = queue(10);
        let uri = http::Uri::from_static("http://127.0.0.1:1");
        let mut reporter = Reporter::new(Arc::clone(&queue), ProxyId::new("p"), uri);
        assert!(reporter.batch().is_none());
        queue.push_verdict(verdict(0));
        queue.push_verdict(verdict(1));
        let batch = reporter.batch().unwrap();
        assert_eq!((batch.first, batch.last, batch.verdicts.len()), (1, 2, 2));
        queue.push_verdict(verdict(2));
        let batch = reporter.batch().unwrap();
        assert_eq!((batch.first, batch.last), (3, 3));
    }
}
