//! Tables on their way to a fleet.
//!
//! Owns: publishing at the operators' doors, and when each proxy serves and acknowledges
//! what was published. The fleet are `spillway proxy` processes; that one serves a table is
//! its own clock's word (the machine's), that it acknowledged is seen by a watch on etcd.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcd_client::{EventType, WatchOptions, WatchStream};
use prost::Message as _;
use serde_json::{Value, json};
use spillway_control_plane::control::now;
use spillway_proto::convert::{decode_table, encode_table};
use spillway_proto::keys;
use spillway_proto::pb;
use spillway_proto::pb::tables_client::TablesClient;
use spillway_routing::head::Head;
use tokio::time::timeout;
use tonic::Request;
use tonic::transport::Channel;

use crate::report::{Column, Table, peak_mib, quantile};
use crate::stand::Stand;
use crate::{heads, history, world};

/// Tables of each kind that are published.
const ROUNDS: usize = 40;
/// Between two of them: the fleet is at rest again.
const PAUSE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);
const SECONDS_MAX: f64 = 1.0;

/// What differs from the table before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The policy's bar.
    Policy,
    /// What was learnt, all of it.
    Heads,
}

/// Milliseconds from the call.
#[derive(Default)]
struct Times {
    /// Of each proxy and round.
    served: Vec<f64>,
    acknowledged: Vec<f64>,
    /// Of each round.
    last: Vec<f64>,
    answered: Vec<f64>,
}

/// What an operator sends, made before the clock runs.
enum Call {
    Policy(Value),
    Table(Request<pb::PublishTableRequest>),
}

struct Operator<'a> {
    stand: &'a Stand,
    tables: TablesClient<Channel>,
    token: String,
    /// The version that was published last.
    version: u64,
}

impl<'a> Operator<'a> {
    async fn new(stand: &'a Stand) -> Self {
        Self {
            stand,
            tables: TablesClient::connect(history::door(stand)).await.unwrap(),
            token: stand.token().trim().to_owned(),
            version: 0,
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        request
    }

    async fn prepare(&mut self, kind: Kind, round: usize) -> Call {
        match kind {
            Kind::Policy => {
                let version = self.stand.api("/policy").await["version"].clone();
                let text = world::policy(world::MODELS, 0.80 + round as f64 / 1e3);
                Call::Policy(json!({ "text": text, "expected_version": version }))
            }
            Kind::Heads => Call::Table(self.learned(round).await),
        }
    }

    /// A table that differs from the current one in what it has learnt.
    async fn learned(&mut self, round: usize) -> Request<pb::PublishTableRequest> {
        let current = self.request(pb::GetTableRequest { version: 0 });
        let current = self.tables.get(current).await.unwrap().into_inner();
        let mut draft = decode_table(&current.payload).unwrap();
        let mut committee = heads::committee(world::MODELS);
        for head in &mut committee.heads {
            match head {
                Head::Slices(slices) => slices.cells.quality.rotate_left(round),
                Head::Clusters(clusters) => clusters.cells.quality.rotate_left(round),
                Head::Forest(trees) => {
                    let leaves = trees.iter_mut().map(|tree| &mut tree.leaves);
                    leaves.for_each(|leaves| leaves.rotate_left(round));
                }
                Head::Networks(networks) => {
                    let biases = networks.iter_mut().map(|network| &mut network.hidden_bias);
                    biases.for_each(|bias| bias.rotate_left(round));
                }
            }
        }
        draft.committee = Some(committee);
        draft.learnt_at = now();
        self.request(pb::PublishTableRequest {
            payload: encode_table(&draft),
            expected_parent: draft.version.0,
        })
    }

    /// The version that was published.
    async fn call(&mut self, call: Call) -> u64 {
        match call {
            Call::Policy(body) => {
                let answer = self.stand.api_post("/policy", &body).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                answer.json()["table_version"].as_u64().unwrap()
            }
            Call::Table(request) => {
                let answer = self.tables.publish(request).await;
                answer.unwrap().into_inner().version
            }
        }
    }

    /// Publishes a table and waits until the whole fleet has it.
    async fn publish(&mut self, call: Call, watch: &mut WatchStream, times: &mut Times) {
        let (began, started) = (Instant::now(), now());
        let fleet = self.stand.proxies.len();
        let heard = heard(watch, fleet, self.version, began);
        let calling = async {
            let version = self.call(call).await;
            (version, milliseconds(began))
        };
        let ((version, answered), acknowledged) = tokio::join!(calling, heard);
        self.version = version;
        times.answered.push(answered);
        times
            .last
            .push(acknowledged.iter().copied().fold(0.0, f64::max));
        times.acknowledged.extend(acknowledged);
        let proxies = self.stand.api("/fleet").await;
        for proxy in proxies["proxies"].as_array().unwrap() {
            assert_eq!(proxy["version"].as_u64(), Some(version), "{proxy}");
            let since = proxy["since_ms"].as_u64().unwrap();
            times.served.push(since.saturating_sub(started.0) as f64);
        }
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Acknowledgements of the whole fleet.
async fn acknowledgements(stand: &Stand) -> WatchStream {
    let mut etcd = stand.etcd.as_ref().unwrap().client().await;
    let options = WatchOptions::new().with_prefix();
    let watch = etcd.watch(keys::acknowledgements(), Some(options)).await;
    watch.unwrap()
}

/// When each of `fleet` proxies acknowledged what came after a version, in milliseconds from
/// `began`.
async fn heard(watch: &mut WatchStream, fleet: usize, version: u64, began: Instant) -> Vec<f64> {
    let (mut who, mut when) = (BTreeSet::new(), Vec::new());
    while who.len() < fleet {
        let answer = timeout(PATIENCE, watch.message())
            .await
            .expect("the fleet hears of it");
        let answer = answer.unwrap().unwrap();
        for event in answer
            .events()
            .iter()
            .filter(|event| event.event_type() == EventType::Put)
        {
            let kv = event.kv().unwrap();
            let said = pb::Acknowledgement::decode(kv.value()).unwrap();
            if said.version > version && who.insert(kv.key().to_vec()) {
                when.push(milliseconds(began));
            }
        }
    }
    when
}

pub(crate) async fn measure(fleets: &[usize]) {
    println!(
        "\nPush: {ROUNDS} tables of {} models each, published one after the other at the operators' doors \
         (a new bar in the policy; all heads new, of the largest size) to so many `spillway proxy` \
         processes by a real etcd, all on this machine. Milliseconds from the call. Asked: 50 proxies \
         within {SECONDS_MAX} s at the 99th percentile.",
        world::MODELS
    );
    let columns = [
        Column::Size("proxies"),
        Column::Grown("served p50", 0),
        Column::Grown("served p99", 0),
        Column::Grown("acknowledged p99", 0),
        Column::Grown("last of a round p50", 0),
        Column::Grown("last of a round p99", 0),
        Column::Plain("call answered p50", 0),
        Column::Plain("a proxy's peak so far, MiB", 0),
    ];
    let mut rows = vec![(Kind::Policy, Vec::new()), (Kind::Heads, Vec::new())];
    for fleet in fleets {
        let policy = world::policy(world::MODELS, 0.79);
        let stand = Stand::new().policy(&policy).proxies(*fleet).start().await;
        let mut watch = acknowledgements(&stand).await;
        let mut operator = Operator::new(&stand).await;
        let first = operator.prepare(Kind::Heads, 0).await;
        operator
            .publish(first, &mut watch, &mut Times::default())
            .await;
        for (kind, rows) in &mut rows {
            let mut times = Times::default();
            for round in 1..=ROUNDS {
                tokio::time::sleep(PAUSE).await;
                let call = operator.prepare(*kind, round).await;
                operator.publish(call, &mut watch, &mut times).await;
            }
            let peaks = stand
                .proxies
                .iter()
                .map(|proxy| peak_mib(proxy.process.pid()));
            rows.push([
                *fleet as f64,
                quantile(&mut times.served, 0.5),
                quantile(&mut times.served, 0.99),
                quantile(&mut times.acknowledged, 0.99),
                quantile(&mut times.last, 0.5),
                quantile(&mut times.last, 0.99),
                quantile(&mut times.answered, 0.5),
                peaks.fold(0.0, f64::max),
            ]);
        }
    }
    for (kind, rows) in rows {
        let title = match kind {
            Kind::Policy => "Push of a changed policy, ms",
            Kind::Heads => "Push of new heads, ms",
        };
        let mut table = Table::new(title, &columns);
        rows.iter().for_each(|row| table.row(row));
    }
}
