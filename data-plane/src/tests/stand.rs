//! A proxy between a fake provider per lane and a fake control plane, on real sockets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use spillway_proto::envelope::{SecretKey, seal};
use spillway_proto::pb;
use spillway_routing::table::Draft;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::{Config, Feed, Listeners, RawConfig};

/// What a fake does with one request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Exactly these bytes, then close.
    Say(String),
    /// These bytes, then nothing until the proxy hangs up.
    SayAndHang(String),
    /// The first, then the second over and over, a little apart.
    Drip(String, &'static str),
}

/// Between two drops: many fit into a test's bounds.
const DROP_EVERY: Duration = Duration::from_millis(20);

pub(crate) fn status(code: u16, headers: &str, body: &str) -> Act {
    Act::Say(format!(
        "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    ))
}

pub(crate) fn answers(text: &str) -> Act {
    status(
        200,
        "",
        &format!(
            r#"{{"choices":[{{"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1000,"completion_tokens":500}}}}"#
        ),
    )
}

const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

pub(crate) fn streams(frames: &[&str]) -> Act {
    let mut text = STREAM_HEAD.to_owned();
    for frame in frames {
        text.extend(["data: ", *frame, "\n\n"]);
    }
    Act::Say(text)
}

pub(crate) fn hangs_after(frames: &[&str]) -> Act {
    let Act::Say(text) = streams(frames) else {
        unreachable!()
    };
    Act::SayAndHang(text)
}

/// A provider: plays its acts one after the other, the last one for ever.
pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) received: Arc<Mutex<Vec<String>>>,
    /// One message for each request that the proxy hung up on.
    pub(crate) hung_up: mpsc::UnboundedReceiver<()>,
}

impl Fake {
    pub(crate) async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let (gone, hung_up) = mpsc::unbounded_channel();
        let (log, acts) = (Arc::clone(&received), Mutex::new(VecDeque::from(acts)));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let act = {
                    let mut acts = acts.lock().unwrap();
                    if acts.len() > 1 {
                        acts.pop_front().unwrap()
                    } else {
                        acts[0].clone()
                    }
                };
                tokio::spawn(play(stream, act, Arc::clone(&log), gone.clone()));
            }
        });
        Self {
            url,
            received,
            hung_up,
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.received.lock().unwrap().len()
    }
}

async fn play(
    mut stream: TcpStream,
    act: Act,
    log: Arc<Mutex<Vec<String>>>,
    gone: mpsc::UnboundedSender<()>,
) {
    let mut bytes = Vec::new();
    while !whole(&bytes) {
        let mut part = [0u8; 4096];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
    }
    log.lock().unwrap().push(String::from_utf8(bytes).unwrap());
    let (text, hangs) = match act {
        Act::Say(text) => (text, false),
        Act::SayAndHang(text) => (text, true),
        Act::Drip(text, drop) => {
            let mut next = text.as_str();
            while stream.write_all(next.as_bytes()).await.is_ok() {
                next = drop;
                tokio::time::sleep(DROP_EVERY).await;
            }
            let _ = gone.send(());
            return;
        }
    };
    let _ = stream.write_all(text.as_bytes()).await;
    if hangs {
        let _ = stream.read(&mut [0u8; 1]).await;
        let _ = gone.send(());
    }
}

fn whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some(end) = text.find("\r\n\r\n") else {
        return false;
    };
    let length = text
        .to_lowercase()
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
    bytes.len() >= end + 4 + length.unwrap_or(0)
}

/// A control plane that stores at once.
struct Store(mpsc::UnboundedSender<pb::Batch>);

#[tonic::async_trait]
impl pb::outcomes_server::Outcomes for Store {
    type ReportStream = ReceiverStream<Result<pb::Stored, Status>>;

    async fn report(
        &self,
        request: tonic::Request<Streaming<pb::Batch>>,
    ) -> Result<tonic::Response<Self::ReportStream>, Status> {
        let (mut batches, stored) = (request.into_inner(), self.0.clone());
        let (acks, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(batch)) = batches.message().await {
                let last = batch.last;
                let _ = stored.send(batch);
                let _ = acks.send(Ok(pb::Stored { last })).await;
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(receiver)))
    }
}

pub(crate) struct Stand {
    pub(crate) address: String,
    pub(crate) admin: String,
    pub(crate) a: Fake,
    pub(crate) b: Fake,
    pub(crate) tables: watch::Sender<Option<Bytes>>,
    pub(crate) acks: mpsc::Receiver<pb::Acknowledgement>,
    batches: mpsc::UnboundedReceiver<pb::Batch>,
    outcomes: VecDeque<pb::Outcome>,
    audits: VecDeque<pb::Audit>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<Result<(), crate::RunError>>,
    _folder: tempfile::TempDir,
}

pub(crate) fn key() -> SecretKey {
    SecretKey::from_seed([7; 32])
}

pub(crate) fn sealed(draft: &Draft) -> Option<Bytes> {
    Some(Bytes::from(seal(draft, &key()).unwrap().encode()))
}

impl Stand {
    pub(crate) async fn start(a: Vec<Act>, b: Vec<Act>, limits: &str) -> Self {
        let (a, b) = (Fake::start(a).await, Fake::start(b).await);
        let control = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            r#"
            name = "test"
            data_dir = "{}"
            control_plane = "http://{}"
            trusted_keys = ["{}"]
            feed = {{ kind = "local" }}
            providers = [
                {{ id = "a", base_url = "{}", allow_private = true }},
                {{ id = "b", base_url = "{}", allow_private = true }},
            ]
            credentials = [{{ name = "a-key", env = "A_KEY" }}, {{ name = "b-key", none = true }}]
            keys = [{{ id = "team", env = "CALLER", tags = {{ team = "one" }} }}]
            [limits]
            drain_ms = 500
            {limits}
            "#,
            folder.path().display(),
            control.local_addr().unwrap(),
            key().public(),
            a.url,
            b.url,
        );
        let raw: RawConfig = toml::from_str(&text).unwrap();
        let env =
            |name: &str| (name == "A_KEY" || name == "CALLER").then(|| format!("secret-{name}"));
        let config = Config::resolve(raw, &env, &|url| Err(url.to_owned())).unwrap();
        let (stored, batches) = mpsc::unbounded_channel();
        let server = pb::outcomes_server::OutcomesServer::new(Store(stored));
        let incoming = TcpListenerStream::new(control);
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(server)
                .serve_with_incoming(incoming),
        );
        let (tables, receiver) = watch::channel(None);
        let (ack, acks) = mpsc::channel(16);
        let data = crate::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let admin = crate::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = data.local_addr().unwrap().to_string();
        let admin_address = admin.local_addr().unwrap().to_string();
        let shutdown = CancellationToken::new();
        let feed = Feed::Local {
            tables: receiver,
            acks: ack,
        };
        let listeners = Listeners { data, admin };
        let running = tokio::spawn(crate::run(config, listeners, feed, shutdown.clone()));
        Self {
            address,
            admin: admin_address,
            a,
            b,
            tables,
            acks,
            batches,
            outcomes: VecDeque::new(),
            audits: VecDeque::new(),
            shutdown,
            running,
            _folder: folder,
        }
    }

    /// Publishes and waits until the proxy says what it thinks of it.
    pub(crate) async fn publish(&mut self, draft: &Draft) -> pb::Acknowledgement {
        self.tables.send(sealed(draft)).unwrap();
        loop {
            let ack = self.acks.recv().await.unwrap();
            if ack.version == draft.version.0 || ack.refused_version == draft.version.0 {
                return ack;
            }
        }
    }

    pub(crate) async fn send(&self, path: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        let request = Request::post(format!("http://{}{path}", self.address))
            .header("authorization", "Bearer secret-CALLER")
            .body(Full::new(body.into()))
            .unwrap();
        fetch(request).await
    }

    pub(crate) async fn ask(&self, stream: bool) -> Response<Bytes> {
        let body = format!(
            r#"{{"model":"auto","stream":{stream},"messages":[{{"role":"user","content":"2+2?"}}]}}"#
        );
        self.send("/v1/chat/completions", body).await
    }

    pub(crate) async fn admin(&self, path: &str) -> Response<Bytes> {
        let uri = format!("http://{}{path}", self.admin);
        fetch(Request::get(uri).body(Full::default()).unwrap()).await
    }

    pub(crate) async fn outcome(&mut self) -> pb::Outcome {
        while self.outcomes.is_empty() {
            self.receive().await;
        }
        self.outcomes.pop_front().unwrap()
    }

    pub(crate) async fn audit(&mut self) -> pb::Audit {
        while self.audits.is_empty() {
            self.receive().await;
        }
        self.audits.pop_front().unwrap()
    }

    async fn receive(&mut self) {
        let batch = tokio::time::timeout(Duration::from_secs(5), self.batches.recv()).await;
        let batch = batch.unwrap().unwrap();
        self.outcomes.extend(batch.outcomes);
        self.audits.extend(batch.audits);
    }

    /// Waits until the proxy's metrics say so.
    pub(crate) async fn until(&self, metric: &str) {
        let seen = async {
            loop {
                let text = self.admin("/metrics").await.into_body();
                if String::from_utf8_lossy(&text).contains(metric) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(5), seen).await;
        assert!(seen.is_ok(), "the metrics never said {metric:?}");
    }

    /// Whether no further outcome comes.
    pub(crate) async fn no_outcome(&mut self) -> bool {
        let batch = tokio::time::timeout(Duration::from_millis(600), self.batches.recv()).await;
        self.outcomes.is_empty() && batch.is_err()
    }
}

pub(crate) async fn fetch(request: Request<Full<Bytes>>) -> Response<Bytes> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}
