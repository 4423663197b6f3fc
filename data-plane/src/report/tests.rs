//! Batches and their numbers, and a control plane that cannot read everything.

use super::*;
use crate::metrics::Metrics;
use prost::Message as _;
use spillway_proto::pb;
use spillway_routing::id::RequestId;
use spillway_routing::outcome::{Verdict, VerdictSource};
use spillway_routing::unit::{Bps, UnixMillis};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Status, Streaming};

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

fn reporter(queue: &Arc<Queue>) -> Reporter {
    let uri = http::Uri::from_static("http://127.0.0.1:1");
    Reporter::new(Arc::clone(queue), ProxyId::new("p"), uri)
}

fn read(batch: &Batch) -> pb::Batch {
    let read = pb::Batch::decode(batch.message.clone()).unwrap();
    assert_eq!((read.first, read.last), (batch.first, batch.last));
    read
}

fn written(batch: &pb::Batch) -> Batch {
    Batch {
        first: batch.first,
        last: batch.last,
        message: batch.encode_to_vec().into(),
    }
}

/// What the control plane checks of every batch.
fn is_sound(batch: &pb::Batch) -> bool {
    let count = (batch.outcomes.len() + batch.verdicts.len() + batch.audits.len()) as u64;
    let own = batch.outcomes.iter().all(|o| o.proxy == batch.proxy);
    own && count > 0 && batch.last + 1 - batch.first == count
}

#[test]
fn a_full_queue_drops_the_oldest_and_counts_it() {
    let queue = queue(2);
    for n in 0..3 {
        queue.push_verdict(verdict(n));
    }
    assert_eq!(queue.metrics.outcomes_dropped.get(), 1);
    assert!(queue.pop().is_none(), "not encoded yet");
    assert!(queue.encode_next() && queue.len() == 2);
    let oldest = pb::Batch::decode(queue.pop().unwrap().as_slice()).unwrap();
    assert_eq!(oldest.verdicts, [pb::Verdict::from(&verdict(1))]);
    // What is encoded is older than what is not.
    queue.push_verdict(verdict(3));
    assert!(queue.encode_next());
    queue.push_verdict(verdict(4));
    assert_eq!((queue.metrics.outcomes_dropped.get(), queue.len()), (2, 2));
    assert!(queue.pop().is_none());
}

#[tokio::test]
async fn batches_are_numbered_without_gaps_whatever_was_dropped() {
    let queue = queue(3);
    let mut reporter = reporter(&queue);
    assert!(reporter.batch().is_none());
    let mut next = 1;
    for pushed in [1, 9, 2, 4] {
        for n in 0..pushed {
            queue.push_verdict(verdict(n));
        }
        let batch = read(&reporter.batch().unwrap());
        assert!(is_sound(&batch));
        assert_eq!(batch.first, next);
        assert_eq!(batch.verdicts.len(), usize::from(pushed.min(3)));
        next = batch.last + 1;
    }
    assert_eq!(queue.metrics.outcomes_dropped.get(), 7);
}

#[tokio::test]
async fn what_is_closed_within_a_moment_is_one_batch() {
    let (queue, closing) = (queue(9), CancellationToken::new());
    let mut reporter = reporter(&queue);
    let closes = async {
        for n in 0..3 {
            queue.push_verdict(verdict(n));
            tokio::task::yield_now().await;
        }
    };
    let (filled, ()) = tokio::join!(reporter.fill(&closing), closes);
    assert!(filled);
    let lengths: Vec<usize> = reporter.pending.iter().map(Batch::len).collect();
    assert_eq!(lengths, [3]);
}

#[test]
fn halves_keep_every_record_and_number() {
    let outcome = pb::Outcome {
        proxy: "p".into(),
        ..pb::Outcome::default()
    };
    let shapes = [
        (0usize, 2usize, 0usize),
        (2, 0, 0),
        (1, 1, 0),
        (5, 2, 1),
        (1, 6, 0),
        (3, 3, 7),
        (0, 0, 2),
    ];
    for (outcomes, verdicts, audits) in shapes {
        let whole = pb::Batch {
            proxy: "p".into(),
            first: 7,
            last: 6 + (outcomes + verdicts + audits) as u64,
            outcomes: vec![outcome.clone(); outcomes],
            verdicts: (0..verdicts)
                .map(|n| pb::Verdict::from(&verdict(n as u8)))
                .collect(),
            audits: vec![pb::Audit::default(); audits],
        };
        let (head, tail) = batch::halves(&written(&whole)).unwrap();
        let (head, tail) = (read(&head), read(&tail));
        assert!(is_sound(&head) && is_sound(&tail));
        assert_eq!((head.first, tail.last), (whole.first, whole.last));
        assert_eq!(tail.first, head.last + 1);
        assert_eq!([head.outcomes, tail.outcomes].concat(), whole.outcomes);
        assert_eq!([head.verdicts, tail.verdicts].concat(), whole.verdicts);
        assert_eq!([head.audits, tail.audits].concat(), whole.audits);
    }
    let one = pb::Batch {
        first: 7,
        last: 7,
        outcomes: vec![outcome],
        ..pb::Batch::default()
    };
    assert!(batch::halves(&written(&one)).is_none());
}

/// A control plane that refuses whole what holds an unreadable record.
struct Strict {
    unreadable: Vec<pb::Verdict>,
    stored: mpsc::UnboundedSender<pb::Batch>,
}

#[tonic::async_trait]
impl pb::outcomes_server::Outcomes for Strict {
    type ReportStream = ReceiverStream<Result<pb::Stored, Status>>;

    async fn report(
        &self,
        request: tonic::Request<Streaming<pb::Batch>>,
    ) -> Result<tonic::Response<Self::ReportStream>, Status> {
        let (mut batches, stored) = (request.into_inner(), self.stored.clone());
        let unreadable = self.unreadable.clone();
        let (acks, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(batch)) = batches.message().await {
                let bad = |verdict: &pb::Verdict| unreadable.contains(verdict);
                let answer = if !is_sound(&batch) || batch.verdicts.iter().any(bad) {
                    Err(Status::invalid_argument("field x is missing"))
                } else {
                    let last = batch.last;
                    stored.send(batch).unwrap();
                    Ok(pb::Stored { last })
                };
                if answer.is_err() | acks.send(answer).await.is_err() {
                    return;
                }
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(receiver)))
    }
}

/// Where to report to, and what is stored there.
async fn control_plane(
    unreadable: Vec<pb::Verdict>,
) -> (http::Uri, mpsc::UnboundedReceiver<pb::Batch>) {
    let (stored, batches) = mpsc::unbounded_channel();
    let strict = Strict { unreadable, stored };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let server = pb::outcomes_server::OutcomesServer::new(strict);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(server)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (uri.parse().unwrap(), batches)
}

#[tokio::test]
async fn more_than_a_batch_is_sent_whole() {
    let (uri, mut batches) = control_plane(Vec::new()).await;
    let queue = queue(5 * BATCH_MAX);
    let all = 2 * BATCH_MAX + 1;
    for n in 0..all {
        queue.push_verdict(verdict(n as u8));
    }
    let reporter = Reporter::new(Arc::clone(&queue), ProxyId::new("p"), uri);
    let closing = CancellationToken::new();
    let running = tokio::spawn(reporter.run(closing.clone()));
    let mut numbers = Vec::new();
    while numbers.len() < all {
        let batch = timeout(FLUSH_WITHIN, batches.recv())
            .await
            .unwrap()
            .unwrap();
        assert!(is_sound(&batch));
        numbers.extend(batch.first..=batch.last);
    }
    assert_eq!(numbers, (1..=all as u64).collect::<Vec<_>>());
    closing.cancel();
    timeout(FLUSH_WITHIN, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn unreadable_records_are_dropped_alone_and_the_rest_is_stored() {
    let unreadable = [3u8, 4, 19].map(|n| pb::Verdict::from(&verdict(n)));
    let (uri, mut batches) = control_plane(unreadable.to_vec()).await;
    let queue = queue(100);
    for n in 0..20 {
        queue.push_verdict(verdict(n));
    }
    let reporter = Reporter::new(Arc::clone(&queue), ProxyId::new("p"), uri);
    let closing = CancellationToken::new();
    closing.cancel();
    let ended = timeout(FLUSH_WITHIN, reporter.run(closing)).await;
    assert!(ended.is_ok(), "nothing is sent for ever");
    let mut numbers = Vec::new();
    while let Ok(batch) = batches.try_recv() {
        assert!(is_sound(&batch));
        numbers.extend(batch.first..=batch.last);
    }
    let expected: Vec<u64> = (1..=20).filter(|n| ![4, 5, 20].contains(n)).collect();
    assert_eq!(numbers, expected);
    assert_eq!(queue.metrics.outcomes_dropped.get(), 3);
}
