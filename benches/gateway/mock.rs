//! The provider that every gateway is put before, as a process of its own.
//!
//! Owns: what is answered on which port, and how often each port was asked. Answers are
//! made beforehand and sockets are read by hand on one thread, so that no gateway waits
//! for it. Knows neither gateways nor the generator: how streams are paced is told it at
//! a port for that.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep_until};

use crate::http1::{Head, Message};
use crate::machine::nanos;

const READ_BYTES: usize = 64 * 1024;
/// Fields of a request stand before or behind its messages, and are looked for so far.
const FIELDS_BYTES: usize = 512;
/// Digits of a time in nanoseconds, and of a wait in them.
const TIME_DIGITS: usize = 19;
const WAIT_DIGITS: usize = 13;

/// Who is behind a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// Answers.
    Main,
    /// Answers 503, always.
    Bad,
    /// Answers, and is counted apart.
    Good,
    /// Counts, and the pace of streams.
    Admin,
}

/// How streams are written.
#[derive(Clone, Copy, Debug)]
struct Script {
    chunks: u64,
    first: Duration,
    gap: Duration,
}

impl Script {
    fn parse(body: &[u8]) -> Option<Self> {
        let told: Value = serde_json::from_slice(body).ok()?;
        let millis = |name: &str| Some(Duration::from_millis(told[name].as_u64()?));
        Some(Self {
            chunks: told["chunks"].as_u64()?,
            first: millis("first_ms")?,
            gap: millis("gap_ms")?,
        })
    }

    /// Whether time passes between chunks at all.
    fn paced(self) -> bool {
        !(self.first.is_zero() && self.gap.is_zero())
    }
}

/// What is the same for all connections.
struct Provider {
    script: Cell<Script>,
    requests: [Cell<u64>; 3],
    whole: Vec<u8>,
    unavailable: Vec<u8>,
    frames: Frames,
}

/// The parts of a stream, as they are written.
struct Frames {
    head: &'static [u8],
    role: Vec<u8>,
    /// One token, with zeros where its times go.
    token: Vec<u8>,
    times_at: usize,
    end: Vec<u8>,
    end_with_usage: Vec<u8>,
}

fn answer(status: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn usage() -> Value {
    json!({ "prompt_tokens": 230, "completion_tokens": 110, "total_tokens": 340 })
}

fn event(body: &str) -> Vec<u8> {
    let event = format!("data: {body}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

fn chunk(choices: &Value, usage: Option<Value>) -> Vec<u8> {
    let mut chunk = json!({
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "object": "chat.completion.chunk",
        "created": 1_764_000_000, "model": "mock-model", "system_fingerprint": "fp_f85bea6784",
        "choices": choices,
    });
    if let Some(usage) = usage {
        chunk["usage"] = usage;
    }
    event(&chunk.to_string())
}

fn delta(delta: &Value, finish: Option<&str>) -> Vec<u8> {
    let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish });
    chunk(&json!([choice]), None)
}

impl Frames {
    fn new() -> Self {
        let zeros = format!("@{}:{}@", "0".repeat(TIME_DIGITS), "0".repeat(WAIT_DIGITS));
        let token = delta(&json!({ "content": zeros }), None);
        let times_at = token.iter().position(|byte| *byte == b'@').unwrap() + 1;
        let finish = delta(&json!({}), Some("stop"));
        let done = [event("[DONE]"), b"0\r\n\r\n".to_vec()].concat();
        Self {
            head: b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                    cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n",
            role: delta(&json!({ "role": "assistant", "content": "" }), None),
            token,
            times_at,
            end: [finish.clone(), done.clone()].concat(),
            end_with_usage: [finish, chunk(&json!([]), Some(usage())), done].concat(),
        }
    }
}

impl Provider {
    fn new() -> Self {
        let text = "Keep a short record of how fast each provider has lately begun to answer, \
                    leave out the ones that fall behind, and let a few requests through to \
                    notice when they have recovered. "
            .repeat(3);
        let whole = json!({
            "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "object": "chat.completion",
            "created": 1_764_000_000, "model": "mock-model", "system_fingerprint": "fp_f85bea6784",
            "choices": [{
                "index": 0, "message": { "role": "assistant", "content": text },
                "logprobs": null, "finish_reason": "stop",
            }],
            "usage": usage(),
        });
        let error = json!({ "error": { "message": "overloaded", "type": "server_error" } });
        let script = Script {
            chunks: 1,
            first: Duration::ZERO,
            gap: Duration::ZERO,
        };
        Self {
            script: Cell::new(script),
            requests: [const { Cell::new(0) }; 3],
            whole: answer("200 OK", &whole),
            unavailable: answer("503 Service Unavailable", &error),
            frames: Frames::new(),
        }
    }

    fn administer(&self, path: &str, body: &[u8]) -> Vec<u8> {
        match (path, Script::parse(body)) {
            ("/script", Some(script)) => self.script.set(script),
            ("/script", None) => return answer("400 Bad Request", &json!({})),
            ("/forget", _) => self.requests.iter().for_each(|count| count.set(0)),
            _ => {}
        }
        let [main, bad, good] = [0, 1, 2].map(|door: usize| self.requests[door].get());
        answer("200 OK", &json!({ "main": main, "bad": bad, "good": good }))
    }
}

/// Whether a field of a request is `true`.
fn is_true(body: &[u8], field: &[u8]) -> bool {
    let ends = [
        &body[..body.len().min(FIELDS_BYTES)],
        &body[body.len().saturating_sub(FIELDS_BYTES)..],
    ];
    ends.iter().any(|end| {
        let found = end.windows(field.len()).position(|bytes| bytes == field);
        found.is_some_and(|at| {
            end[at + field.len()..]
                .trim_ascii_start()
                .starts_with(b"true")
        })
    })
}

/// Writes a number over the zeros of a template.
fn stamp(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// The client's side of a connection.
struct Line {
    socket: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    body: Vec<u8>,
}

impl Line {
    /// The path of the next request, whose body is then in `body`; none once the client
    /// is gone.
    async fn receive(&mut self) -> Option<String> {
        self.body.clear();
        let (path, bytes, mut left) = loop {
            match Head::parse(&self.buffer[..self.filled], Message::Request).ok()? {
                Some(head) => break (head.path().to_owned(), head.bytes, head.body),
                None => self.more().await?,
            }
        };
        let mut at = bytes;
        loop {
            let body = &mut self.body;
            let taken = left.feed(&self.buffer[at..self.filled], |content| {
                body.extend_from_slice(content);
            });
            at += taken.ok()?;
            if left.done() {
                self.buffer.copy_within(at..self.filled, 0);
                self.filled -= at;
                return Some(path);
            }
            (self.filled, at) = (0, 0);
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        let read = self.socket.read(&mut self.buffer[self.filled..]).await;
        let read = read.ok().filter(|read| *read > 0)?;
        self.filled += read;
        Some(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.socket.write_all(bytes).await.ok()
    }

    /// Waits; nothing if the client leaves meanwhile.
    async fn wait(&self, until: Instant) -> Option<()> {
        let sleep = sleep_until(until);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return Some(()),
                _ = self.socket.readable() => {
                    let mut byte = [0];
                    let read = self.socket.try_read(&mut byte);
                    let waits = read.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
                    if !waits {
                        return None;
                    }
                }
            }
        }
    }

    /// One stream, each token in a write of its own that says when it was made and how
    /// long after the request.
    async fn stream(&mut self, provider: &Provider) -> Option<()> {
        let (began, received) = (Instant::now(), nanos());
        let (script, frames) = (provider.script.get(), &provider.frames);
        let with_usage = is_true(&self.body, b"\"include_usage\":");
        self.write(frames.head).await?;
        let mut token = frames.token.clone();
        let (times, waits) = (frames.times_at, frames.times_at + TIME_DIGITS + 1);
        for index in 0..script.chunks {
            if script.paced() {
                let pause = script.gap * u32::try_from(index).ok()?;
                self.wait(began + script.first + pause).await?;
            }
            let now = nanos();
            stamp(&mut token[times..times + TIME_DIGITS], now);
            let held = now.saturating_sub(received);
            stamp(&mut token[waits..waits + WAIT_DIGITS], held);
            if index == 0 {
                self.write(&[&*frames.role, &*token].concat()).await?;
            } else {
                self.write(&token).await?;
            }
        }
        let end = if with_usage {
            &frames.end_with_usage
        } else {
            &frames.end
        };
        self.write(end).await
    }

    async fn serve(&mut self, door: Door, provider: &Provider) -> Option<()> {
        loop {
            let path = self.receive().await?;
            if door == Door::Admin {
                let answer = provider.administer(&path, &self.body);
                self.write(&answer).await?;
                continue;
            }
            let count = &provider.requests[door as usize];
            count.set(count.get() + 1);
            if door == Door::Bad {
                self.write(&provider.unavailable).await?;
            } else if is_true(&self.body, b"\"stream\":") {
                self.stream(provider).await?;
            } else {
                self.write(&provider.whole).await?;
            }
        }
    }
}

async fn listen(listener: TcpListener, door: Door, provider: Rc<Provider>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors: others will be given back.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = socket.set_nodelay(true);
        let provider = Rc::clone(&provider);
        spawn_local(async move {
            let mut line = Line {
                socket,
                buffer: vec![0; READ_BYTES],
                filled: 0,
                body: Vec::new(),
            };
            line.serve(door, &provider).await
        });
    }
}

/// Serves until standard input ends, which it does when whoever started this is gone.
/// Its ports are the one line on standard output.
pub(crate) async fn run() -> Result<()> {
    let provider = Rc::new(Provider::new());
    let mut ports = serde_json::Map::new();
    let doors = [
        ("main", Door::Main),
        ("bad", Door::Bad),
        ("good", Door::Good),
        ("admin", Door::Admin),
    ];
    let tasks = LocalSet::new();
    for (name, door) in doors {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        ports.insert(name.to_owned(), listener.local_addr()?.port().into());
        tasks.spawn_local(listen(listener, door, Rc::clone(&provider)));
    }
    println!("{}", Value::Object(ports));
    let end = async {
        let mut rest = Vec::new();
        tokio::io::stdin().read_to_end(&mut rest).await
    };
    tasks.run_until(end).await?;
    Ok(())
}
