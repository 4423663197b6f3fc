//! Promises with figures: a storm of retries, clients that leave, streams held open, and
//! streams that are read slowly.
//!
//! `make bench-promises` (needs etcd: `scripts/setup.sh test`): the planes are the release
//! build, provider and callers the debug build of this file, in one process. What holds is
//! judged by the simulator's ledger, never by the proxy's own count.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    unused_imports,
    reason = "a bench on the tests' stand, of which it uses a part"
)]

#[path = "promises/leaving.rs"]
mod leaving;
#[path = "../tests/stand/mod.rs"]
mod stand;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use spillway_simulator::{Behaviour, Fault};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::interval;

use crate::stand::{KEY, Stand, chat};

const STORM: Duration = Duration::from_secs(60);
const STORM_RPS: u64 = 300;
/// How long after the providers have healed requests may still fail.
const NORMAL_WITHIN: Duration = Duration::from_secs(10);
const STREAMS: usize = 5_000;
const SLOW_READERS: usize = 1_000;
/// How much a slow reader takes each second, and for how long it is watched.
const SLOW_BYTES: usize = 1_024;
const SLOW_FOR: Duration = Duration::from_secs(30);

fn body(model: &str, stream: bool) -> Value {
    json!({
        "model": model, "stream": stream,
        "messages": [{ "role": "user", "content": "how high is the water at the dam tonight" }],
    })
}

/// All lanes answer 503 at a steady rate of requests, then heal.
async fn storm() {
    let stand = Stand::new().start().await;
    for provider in ["alpha", "beta"] {
        stand.script(provider).fail(Fault::status(503));
    }
    let requests = STORM.as_secs() * STORM_RPS;
    let began = Instant::now();
    let asked = (0..requests).map(|i| {
        let url = stand.url().to_owned();
        async move {
            let at = began + Duration::from_micros(i * 1_000_000 / STORM_RPS);
            tokio::time::sleep_until(at.into()).await;
            chat(&url, &body("auto", false)).await.status
        }
    });
    let answers = join_all(asked).await;
    let refused = answers.iter().filter(|status| **status == 503).count();
    let attempts = stand.simulator().ledger().attempts().len() as u64;
    let bound = requests * 11 / 10 + 3 * STORM.as_secs();
    println!(
        "storm: {requests} requests, {refused} told 503, {attempts} attempts, {bound} allowed"
    );
    for provider in ["alpha", "beta"] {
        stand.script(provider).heal();
    }
    let healed = Instant::now();
    let mut in_a_row = 0;
    while in_a_row < 50 {
        let answered = chat(stand.url(), &body("auto", false)).await.status == 200;
        in_a_row = if answered { in_a_row + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(healed.elapsed() < 6 * NORMAL_WITHIN, "it never healed");
    }
    let normal = healed.elapsed().as_secs_f64();
    println!("storm: 50 answers in a row {normal:.1} s after the providers healed");
}

/// Sends a request for a stream by hand, so that its connection can be left in any state.
async fn opened(stand: &Stand, model: &str) -> TcpStream {
    let address = stand.url().trim_start_matches("http://");
    let body = body(model, true).to_string();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// Resident memory of a process, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Streams that have begun and go on in silence.
async fn streams() {
    let limits = "lane_in_flight = 20000\nconnections = 20000\nidle_ms = 600000";
    let stand = Stand::new().limits(limits).start().await;
    let hang = Behaviour::failing(Fault::HangAfter { content_chunks: 2 });
    let pid = stand.proxies[0].process.pid();
    // What a proxy takes anyway is there after some requests.
    for _ in 0..500 {
        assert_eq!(chat(stand.url(), &body("auto", false)).await.status, 200);
    }
    let before = resident_kib(pid);
    stand.script("alpha").set(hang);
    let mut held = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let mut socket = opened(&stand, "auto").await;
        let mut some = [0u8; 64];
        socket.read_exact(&mut some).await.unwrap();
        let head = String::from_utf8_lossy(&some);
        assert!(
            head.starts_with("HTTP/1.1 200"),
            "{} open: {head}",
            held.len()
        );
        held.push(socket);
    }
    let each = (resident_kib(pid) - before) as f64 / STREAMS as f64;
    println!("streams: {STREAMS} open, {each:.1} KiB of resident memory each, on {before} KiB");
}

const ENDLESS: &str = r#"
version = 1

[[upstreams]]
provider = "endless"
models = ["small"]
prices.standard = { input = 1.0, output = 2.0 }

[routes.auto]
baseline = "small"
floor = 0.0
"#;

/// A provider that has more to say than anybody reads: a stream without an end, written as
/// fast as it is taken. Counts what was taken.
async fn endless(written: Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let word = "water ".repeat(170);
    let delta = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "small",
        "choices": [{ "index": 0, "delta": { "content": word }, "finish_reason": null }],
    });
    let event = format!("data: {delta}\n\n");
    let chunk: Arc<str> = format!("{:x}\r\n{event}\r\n", event.len()).into();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (chunk, written) = (Arc::clone(&chunk), Arc::clone(&written));
            tokio::spawn(async move {
                let mut request = [0u8; 4_096];
                let _ = socket.read(&mut request).await;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                            transfer-encoding: chunked\r\n\r\n";
                let _ = socket.write_all(head.as_bytes()).await;
                while socket.write_all(chunk.as_bytes()).await.is_ok() {
                    written.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    url
}

/// Clients that read a thousandth of what there is: what they do not read stays at the
/// provider, in the kernel's buffers, and for the least part in the proxy.
async fn slow_readers() {
    let written = Arc::new(AtomicU64::new(0));
    let url = endless(Arc::clone(&written)).await;
    let limits = "lane_in_flight = 20000\nconnections = 20000\nidle_ms = 600000";
    let stand = Stand::new().limits(limits).policy(ENDLESS);
    let stand = stand.provider_at("endless", &url).start().await;
    let pid = stand.proxies[0].process.pid();
    let before = resident_kib(pid);
    let mut readers = Vec::with_capacity(SLOW_READERS);
    for _ in 0..SLOW_READERS {
        let mut socket = opened(&stand, "auto").await;
        let mut some = [0u8; 64];
        socket.read_exact(&mut some).await.unwrap();
        readers.push(tokio::spawn(async move {
            let (mut ticks, mut some) = (interval(Duration::from_secs(1)), [0u8; SLOW_BYTES]);
            // Until the stand is taken down.
            while socket.read_exact(&mut some).await.is_ok() {
                ticks.tick().await;
            }
        }));
    }
    let mut most = 0;
    let mut taken = written.load(Ordering::Relaxed);
    let began = Instant::now();
    while began.elapsed() < SLOW_FOR {
        tokio::time::sleep(Duration::from_secs(1)).await;
        most = most.max(resident_kib(pid));
        if began.elapsed() < SLOW_FOR / 2 {
            taken = written.load(Ordering::Relaxed);
        }
    }
    let each = |bytes: u64| bytes as f64 / SLOW_READERS as f64 / 1_024.0;
    let late = written.load(Ordering::Relaxed) - taken;
    println!(
        "slow readers: {SLOW_READERS}, {:.1} KiB of resident memory each at the most; the provider \
         gave {:.0} KiB to each and {:.1} KiB in the second half of {} s",
        (most - before) as f64 / SLOW_READERS as f64,
        each(written.load(Ordering::Relaxed)),
        each(late),
        SLOW_FOR.as_secs()
    );
    assert!(
        readers.iter().all(|reader| !reader.is_finished()),
        "a stream ended"
    );
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if runs("streams") {
        streams().await;
    }
    if runs("slow-readers") {
        slow_readers().await;
    }
    if runs("leaving") {
        leaving::leaving().await;
    }
    if runs("storm") {
        storm().await;
    }
}
