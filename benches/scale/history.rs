//! Outcomes in at the control plane's door, and windows out of its history.
//!
//! Owns: the streams of several proxies to one `spillway control` process, each with one
//! batch under way as a proxy has, and the reading of what they stored by another process.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::SinkExt as _;
use futures::channel::mpsc;
use futures::future::join_all;
use serde_json::{Value, json};
use spillway_control_plane::control::now;
use spillway_history::{History, WINDOW_ROWS_MAX};
use spillway_proto::pb;
use spillway_proto::pb::outcomes_client::OutcomesClient;
use spillway_routing::id::ProxyId;
use spillway_routing::outcome::Outcome;
use spillway_routing::unit::{Millis, UnixMillis};
use tonic::transport::Channel;

use crate::report::{Column, Table, peak_mib};
use crate::stand::{Process, Stand, text};
use crate::world::Requests;
use crate::{child, training, world};

/// Proxies that report at the same time.
const STREAMS: u64 = 4;
/// Records of a full batch, as in a proxy.
const BATCH: u64 = 500;
/// Every so many batches are judged: their verdicts follow as a batch of their own.
const JUDGED_ONE_IN: u64 = 20;
/// Candidates of each decision: the world has six models.
const LANES: usize = 6;
const RATE_MIN: f64 = 20_000.0;

/// One proxy's reports.
struct Reporter {
    requests: Arc<Requests>,
    proxy: ProxyId,
    stream: u64,
    next: u64,
}

impl Reporter {
    /// The next batch and what it holds.
    fn outcomes(&mut self, count: u64, asked: u64) -> (pb::Batch, Vec<Outcome>) {
        let at = now();
        let outcome = |i| {
            self.requests
                .outcome(&self.proxy, self.stream, asked + i, at)
        };
        let outcomes: Vec<Outcome> = (0..count).map(outcome).collect();
        let batch = pb::Batch {
            outcomes: outcomes.iter().map(pb::Outcome::from).collect(),
            ..self.numbered(count)
        };
        (batch, outcomes)
    }

    fn verdicts(&mut self, outcomes: &[Outcome]) -> pb::Batch {
        let verdicts = outcomes.iter().map(training::verdict);
        let verdicts = verdicts.map(|verdict| pb::Verdict::from(&verdict));
        pb::Batch {
            verdicts: verdicts.collect(),
            ..self.numbered(outcomes.len() as u64)
        }
    }

    fn numbered(&mut self, count: u64) -> pb::Batch {
        let first = self.next;
        self.next += count;
        pb::Batch {
            proxy: self.proxy.to_string(),
            first,
            last: first + count - 1,
            ..pb::Batch::default()
        }
    }

    /// Sends `count` outcomes, each batch when the one before is stored.
    async fn report(mut self, mut client: OutcomesClient<Channel>, count: u64) {
        let (mut batches, receiver) = mpsc::channel(0);
        let mut stored: Option<tonic::Streaming<pb::Stored>> = None;
        let (mut sent, mut number) = (0, 0);
        let mut receiver = Some(receiver);
        while sent < count {
            let size = BATCH.min(count - sent);
            let (batch, outcomes) = self.outcomes(size, sent);
            let mut due = vec![batch];
            if number % JUDGED_ONE_IN == JUDGED_ONE_IN - 1 {
                due.push(self.verdicts(&outcomes));
            }
            for batch in due {
                let last = batch.last;
                let sending = batches.send(batch);
                match (&mut stored, receiver.take()) {
                    (None, Some(receiver)) => {
                        let (opened, sent) = tokio::join!(client.report(receiver), sending);
                        sent.unwrap();
                        stored = Some(opened.unwrap().into_inner());
                    }
                    _ => sending.await.unwrap(),
                }
                let answer = stored.as_mut().unwrap().message().await.unwrap();
                assert_eq!(answer.unwrap().last, last);
            }
            (sent, number) = (sent + size, number + 1);
        }
    }
}

/// Seconds until all is acknowledged.
async fn ingest(address: &str, requests: &Arc<Requests>, outcomes: u64) -> f64 {
    let endpoint = Channel::from_shared(address.to_owned()).unwrap();
    let channel = |_| endpoint.connect();
    let channels = join_all((0..STREAMS).map(channel)).await;
    let began = Instant::now();
    let reports = channels.into_iter().zip(1..).map(|(channel, stream)| {
        let reporter = Reporter {
            requests: Arc::clone(requests),
            proxy: ProxyId::new(&format!("p{stream}/boot")),
            stream,
            next: 1,
        };
        let client = OutcomesClient::new(channel.unwrap());
        tokio::spawn(reporter.report(client, outcomes / STREAMS))
    });
    let reports: Vec<_> = reports.collect();
    for report in reports {
        report.await.unwrap();
    }
    began.elapsed().as_secs_f64()
}

/// What a process reads of a history of outcomes that it has just opened.
pub(crate) async fn scan(dir: &Path) -> Value {
    let history = History::local(&dir.join("history")).unwrap();
    let end = UnixMillis(now().0 + 1);
    let began = Instant::now();
    let window = history.window(UnixMillis(0), end, WINDOW_ROWS_MAX).await;
    let (rows, read) = (window.unwrap().len(), began.elapsed().as_secs_f64());
    let peak = peak_mib(std::process::id());
    let day = Millis(24 * 3_600_000);
    let began = Instant::now();
    let since = UnixMillis(end.0 - day.0);
    let overview = history.overview(since, end, Millis(day.0 / 90)).await;
    let looked = overview.map(|_| began.elapsed().as_secs_f64());
    let counts = history.counts().await.unwrap().outcomes;
    json!({
        "outcomes": counts.rows, "files": counts.files, "bytes": counts.bytes,
        "window_rows": rows, "window_s": read, "window_peak_mib": peak,
        "overview_s": looked.as_ref().ok(), "peak_mib": peak_mib(std::process::id()),
        "failed": looked.err().map(|error| format!("{error}: {:?}", error.source().map(ToString::to_string))),
    })
}

/// Where the control plane of a stand listens for reports.
pub(crate) fn door(stand: &Stand) -> String {
    let config = std::fs::read_to_string(stand.dir.path().join("control.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    format!(
        "http://{}",
        config["control"]["grpc_listen"].as_str().unwrap()
    )
}

/// Stores so many outcomes and reads them: seconds until all are acknowledged, the control
/// plane's peak in MiB, and what the reader says.
async fn grown(requests: &Arc<Requests>, size: u64) -> (f64, f64, Value) {
    let policy = world::policy(LANES, 0.95);
    let mut stand = Stand::new().policy(&policy).proxies(0).start().await;
    let seconds = ingest(&door(&stand), requests, size).await;
    let peak = peak_mib(stand.control.pid());
    stand.control.kill().await;
    stand.control = Process::none();
    let dir = stand.dir.path().join("control");
    (seconds, peak, child("scan", &[text(&dir)]).await)
}

pub(crate) async fn measure(sizes: &[u64]) {
    println!(
        "\nHistory: {STREAMS} proxies report at once to one `spillway control` process, {BATCH} \
         outcomes a batch with {LANES} candidates each, one batch under way each, as a proxy \
         does; every {JUDGED_ONE_IN}th batch is judged, whose verdicts are sent as well. \
         Acknowledged means written, synced and linked. Small files are merged once a minute, \
         which shorter runs do not see. The senders make each batch when the one before is \
         acknowledged, on the same cores: the control plane alone takes more. Asked: {RATE_MIN} \
         outcomes/s. Another process then reads, from the page cache: the window that training \
         and what-if read (the last {WINDOW_ROWS_MAX} outcomes at most, with verdicts), and the \
         page's overview of a day."
    );
    let ingest_columns = [
        Column::Size("outcomes"),
        Column::Grown("ingest, s", 1),
        Column::Plain("outcomes/s", 0),
        Column::Grown("control plane's peak, MiB", 0),
        Column::Plain("files", 0),
        Column::Plain("bytes/outcome", 0),
        Column::Plain("window, rows", 0),
        Column::Grown("window, s", 2),
        Column::Plain("rows/s", 0),
        Column::Grown("reader's peak, MiB", 0),
        Column::Grown("overview, s", 2),
        Column::Plain("peak then, MiB", 0),
    ];
    let mut table = Table::new("History", &ingest_columns);
    let (requests, mut failures) = (Arc::new(Requests::new(LANES)), Vec::new());
    for size in sizes {
        assert!(
            size.is_multiple_of(STREAMS),
            "a size is {STREAMS} times something"
        );
        let (seconds, peak, said) = grown(&requests, *size).await;
        // The overview joins in bounded memory; it says so where a day is too large for it.
        if let Some(failed) = said["failed"].as_str() {
            failures.push(format!("{size} outcomes: the overview failed: {failed}"));
        }
        let figure = |name: &str| said[name].as_f64().unwrap_or(f64::NAN);
        // Killed, not stopped: what was acknowledged is there all the same.
        assert_eq!(
            said["outcomes"].as_u64(),
            Some(*size),
            "each outcome counts once"
        );
        table.row(&[
            *size as f64,
            seconds,
            *size as f64 / seconds,
            peak,
            figure("files"),
            figure("bytes") / *size as f64,
            figure("window_rows"),
            figure("window_s"),
            figure("window_rows") / figure("window_s"),
            figure("window_peak_mib"),
            figure("overview_s"),
            figure("peak_mib"),
        ]);
    }
    for failed in failures {
        println!("\n{failed}");
    }
}
