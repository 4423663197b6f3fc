//! Clients that leave: in every state of an answer, in every way that a protocol has, also
//! where the proxy translates.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use spillway_simulator::Fault;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::stand::{KEY, Stand};
use crate::{body, opened};

const LEAVERS: usize = 200;

/// How far the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    BeforeHeaders,
    BeforeContent,
    InStream,
}

impl State {
    const ALL: [Self; 3] = [Self::BeforeHeaders, Self::BeforeContent, Self::InStream];

    fn fault(self) -> Fault {
        match self {
            Self::BeforeHeaders => Fault::HangBeforeHeaders,
            Self::BeforeContent => Fault::HangAfterHeaders,
            Self::InStream => Fault::HangAfter { content_chunks: 2 },
        }
    }
}

/// How the client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Closes,
    Resets,
    /// Writes no more, and would still read.
    HalfCloses,
    /// Closes with another request of its own unread on the line.
    ClosesWithMore,
    ResetsHttp2Stream,
    ClosesHttp2,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Closes,
        Self::Resets,
        Self::HalfCloses,
        Self::ClosesWithMore,
        Self::ResetsHttp2Stream,
        Self::ClosesHttp2,
    ];
}

/// A request under way.
enum Client {
    Http1(TcpStream),
    Http2 {
        /// The connection's own.
        socket: std::net::TcpStream,
        answer: JoinHandle<Incoming>,
        body: Option<Incoming>,
    },
}

impl Client {
    async fn asks(way: Way, stand: &Stand, model: &str) -> Self {
        if !matches!(way, Way::ResetsHttp2Stream | Way::ClosesHttp2) {
            return Self::Http1(opened(stand, model).await);
        }
        let address = stand.url().trim_start_matches("http://").to_owned();
        let body = body(model, true).to_string();
        let stream = TcpStream::connect(&address).await.unwrap();
        let stream = stream.into_std().unwrap();
        let socket = stream.try_clone().unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(format!("http://{address}/v1/chat/completions"))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let answer = async move { sender.send_request(request).await.unwrap().into_body() };
        Self::Http2 {
            socket,
            answer: tokio::spawn(answer),
            body: None,
        }
    }

    /// Takes some of the stream.
    async fn reads(&mut self) {
        match self {
            Self::Http1(socket) => {
                let mut some = [0u8; 64];
                socket.read_exact(&mut some).await.unwrap();
            }
            Self::Http2 { answer, body, .. } => {
                let mut stream = answer.await.unwrap();
                stream.frame().await.unwrap().unwrap();
                *body = Some(stream);
            }
        }
    }

    /// Leaves; what comes back must be held, or it would leave more than this.
    async fn leaves(self, way: Way) -> Option<Self> {
        match self {
            Self::Http1(mut socket) => match way {
                Way::Resets => {
                    socket.set_zero_linger().unwrap();
                    None
                }
                Way::HalfCloses => {
                    socket.shutdown().await.unwrap();
                    Some(Self::Http1(socket))
                }
                Way::ClosesWithMore => {
                    let more = b"GET /v1/models HTTP/1.1\r\n";
                    socket.write_all(more).await.unwrap();
                    None
                }
                _ => None,
            },
            Self::Http2 {
                socket,
                answer,
                body,
            } => {
                if way == Way::ClosesHttp2 {
                    socket.shutdown(Shutdown::Both).unwrap();
                    return Some(Self::Http2 {
                        socket,
                        answer,
                        body,
                    });
                }
                answer.abort();
                drop(body);
                None
            }
        }
    }
}

/// Asks and leaves again and again; prints how long the provider's connection stayed.
async fn leave(stand: Stand, provider: &str, model: &str, state: State, way: Way) {
    stand.script(provider).fail(state.fault());
    let ledger = stand.simulator().ledger();
    let mut times = Vec::new();
    for sent in 0..LEAVERS {
        let mut client = Client::asks(way, &stand, model).await;
        while ledger.attempts().len() <= sent {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if state == State::InStream {
            client.reads().await;
        }
        let left = Instant::now();
        let held = client.leaves(way).await;
        while ledger.attempts()[sent].client_gone_ms.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(
                left.elapsed() < Duration::from_secs(30),
                "{way:?} {state:?}: never closed"
            );
        }
        times.push(left.elapsed());
        drop(held);
    }
    times.sort_unstable();
    let rows = stand.recorded(|rows| rows.len() >= LEAVERS).await;
    let gone = rows.iter().filter(|row| row["ending"] == "client_gone");
    println!(
        "client gone, {model}, {state:?}, {way:?}: provider closed p50 {} ms, p99 {} ms; {} of \
         {LEAVERS} on record",
        times[LEAVERS / 2].as_millis(),
        times[LEAVERS * 99 / 100].as_millis(),
        gone.count()
    );
}

pub(crate) async fn leaving() {
    for way in Way::ALL {
        for state in State::ALL {
            let stand = Stand::new().start().await;
            leave(stand, "alpha", "auto", state, way).await;
        }
    }
    // The caller speaks OpenAI Chat.
    for (provider, model) in [
        ("responses", "responses-1"),
        ("messages", "claude-1"),
        ("gemini", "gemini-3-sim"),
        ("interactions", "gemini-3-steps"),
        ("converse", "claude-bedrock"),
    ] {
        for way in [Way::Closes, Way::ResetsHttp2Stream] {
            let stand = Stand::new().dialects().start().await;
            leave(stand, provider, model, State::InStream, way).await;
        }
    }
}
