//! A raw client for the crate's own tests: sees bytes, cuts and resets as they are.
//!
//! Owns: just enough HTTP/1.1 to tell a tidy end from a cut. It must use neither hyper
//! nor the code it tests.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use aws_smithy_types::event_stream::Message;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::answerer::Answerer;
use crate::ask::{Ask, Refusal};
use crate::config::{ProviderConfig, ServedModel, SimulatorConfig};
use crate::server::{Running, Simulator};
use crate::shelf::Shelf;
use crate::wire::{self, Call, Delivery, Inbound, Marks, Pen, Wire};

/// How long the raw client listens to silence: far beyond what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where silence is what is expected.
const HANG_PATIENCE: Duration = Duration::from_millis(400);

/// How a response ended, as seen on the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By its length or its last chunk.
    Tidy,
    /// The connection was closed in the middle.
    Closed,
    /// The connection was reset.
    Reset,
    /// Nothing more came.
    Silent,
}

/// What a raw client heard.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) status: Option<u16>,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Heard {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The data of all complete events, and nothing else may be between them.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        let events = text.split_terminator("\n\n").map(|event| {
            assert!(!event.contains('\n'), "{event:?}");
            event.strip_prefix("data: ").unwrap().to_owned()
        });
        events.collect()
    }
}

/// A named event: its name, and its data as JSON.
pub(crate) type Named = (String, Value);

impl Heard {
    /// All complete events of a stream whose events have names.
    pub(crate) fn named_events(&self) -> Vec<Named> {
        named_events(&self.text())
    }

    /// The same for a stream that says in the end that it is done.
    pub(crate) fn finished_events(&self) -> Vec<Named> {
        let text = self.text();
        named_events(text.strip_suffix("event: done\ndata: [DONE]\n\n").unwrap())
    }

    /// All frames of an AWS event stream, with their type for a name; none may be broken.
    pub(crate) fn frames(&self) -> Vec<Named> {
        let (frames, left) = self.frames_and_rest();
        assert_eq!(left, 0, "{}", self.text());
        frames
    }

    /// All complete frames of an AWS event stream, and how many bytes are left of another.
    pub(crate) fn frames_and_rest(&self) -> (Vec<Named>, usize) {
        let mut decoder = MessageFrameDecoder::new();
        let mut bytes = Bytes::from(self.body.clone());
        let mut frames = Vec::new();
        loop {
            let left = bytes.len();
            match decoder.decode_frame(&mut bytes).unwrap() {
                DecodedFrame::Complete(message) => frames.push(named(&message)),
                DecodedFrame::Incomplete => return (frames, left),
            }
        }
    }

    /// The data of all complete events without names, as JSON.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let events = self.events();
        let parsed = events
            .iter()
            .map(|event| serde_json::from_str(event).unwrap());
        parsed.collect()
    }
}

fn named_events(text: &str) -> Vec<Named> {
    let events = text.split_terminator("\n\n").map(|event| {
        let (name, data) = event.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        let data = data.strip_prefix("data: ").unwrap();
        (name, serde_json::from_str(data).unwrap())
    });
    events.collect()
}

fn named(frame: &Message) -> Named {
    let header = |name: &str| {
        let mut all = frame.headers().iter();
        let found = all.find(|header| header.name().as_str() == name);
        found.map(|header| header.value().as_string().unwrap().as_str().to_owned())
    };
    assert_eq!(header(":content-type").unwrap(), "application/json");
    let name = match header(":message-type").unwrap().as_str() {
        "event" => header(":event-type"),
        "exception" => header(":exception-type"),
        other => panic!("{other}"),
    };
    let data = serde_json::from_slice(frame.payload()).unwrap();
    (name.unwrap(), data)
}

/// Two providers of a few models, instant, answering with an echo.
pub(crate) async fn start() -> Running {
    start_with(SimulatorConfig::instant(Answerer::Echo, providers())).await
}

pub(crate) fn providers() -> Vec<ProviderConfig> {
    let models = || {
        vec![
            ServedModel::new("small", 100, 400),
            ServedModel::new("large", 3_000, 15_000),
            ServedModel::new("tiny-gemini-3", 50, 150),
        ]
    };
    vec![
        ProviderConfig::new("alpha", models()),
        ProviderConfig::new("beta", models()).with_key("sk-beta"),
    ]
}

pub(crate) async fn start_with(config: SimulatorConfig) -> Running {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    Simulator::start(config, listener).unwrap()
}

/// A request as bytes.
pub(crate) fn post(path: &str, headers: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: sim\r\n{headers}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Sends bytes over a new connection and listens to one response.
pub(crate) async fn say(address: SocketAddr, request: &[u8]) -> Heard {
    let mut stream = TcpStream::connect(address).await.unwrap();
    listen(&mut stream, request, PATIENCE).await
}

/// The same where the response is expected to hang.
pub(crate) async fn say_in_vain(address: SocketAddr, request: &[u8]) -> Heard {
    let mut stream = TcpStream::connect(address).await.unwrap();
    listen(&mut stream, request, HANG_PATIENCE).await
}

/// Sends bytes over a connection and listens to one response.
pub(crate) async fn say_on(stream: &mut TcpStream, request: &[u8]) -> Heard {
    listen(stream, request, PATIENCE).await
}

async fn listen(stream: &mut TcpStream, request: &[u8], patience: Duration) -> Heard {
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = match timeout(patience, stream.read(&mut buffer)).await {
            Err(_) => Some(End::Silent),
            Ok(Ok(0)) => Some(End::Closed),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => Some(End::Reset),
            Ok(read) => {
                bytes.extend_from_slice(&buffer[..read.unwrap()]);
                None
            }
        };
        let heard = parse(&bytes, end.unwrap_or(End::Silent));
        if heard.end == End::Tidy || end.is_some() {
            return heard;
        }
    }
}

fn parse(bytes: &[u8], end: End) -> Heard {
    let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Heard {
            status: None,
            head: String::from_utf8_lossy(bytes).into_owned(),
            body: Vec::new(),
            end,
        };
    };
    let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
    let rest = &bytes[at + 4..];
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let (body, whole) = match length {
        Some(length) => (rest.to_vec(), rest.len() == length),
        None => dechunk(rest),
    };
    Heard {
        status: head.get(9..12).and_then(|code| code.parse().ok()),
        head,
        body,
        end: if whole { End::Tidy } else { end },
    }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(at) = rest.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let length = usize::from_str_radix(str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        let data = &rest[at + 2..];
        if length == 0 {
            return (body, data == b"\r\n");
        }
        if data.len() < length + 2 {
            return (body, false);
        }
        body.extend_from_slice(&data[..length]);
        rest = &data[length + 2..];
    }
}

/// What a wire makes of a body, at provider `alpha`.
pub(crate) fn read(wire: Wire, body: &Value) -> Result<(Ask, Pen), Refusal> {
    let call = Call {
        wire,
        model: "gemini-3-test".to_owned(),
        delivery: Delivery::Whole,
    };
    read_call(&call, body.to_string().as_bytes())
}

/// The same for a URL that says more, and for a body that is no JSON.
pub(crate) fn read_call(call: &Call, body: &[u8]) -> Result<(Ask, Pen), Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    wire::read(&Inbound {
        host: "alpha",
        owner: None,
        shelf: &Shelf::default(),
        call,
        headers: &headers,
        body,
        marks: Marks::new(1, "alpha", 0),
    })
}
