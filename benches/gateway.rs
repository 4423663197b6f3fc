//! What a proxied request costs against a direct call to the same provider.
//!
//! `make bench-gateway` (needs etcd: `scripts/setup.sh test`): the planes are the release
//! build, provider and load generator the debug build of this file. One proxy with
//! etcd and a control plane, everything on as in production: keys, decision, metrics,
//! outcomes reported. Provider and load generator run in this process, so throughput is
//! shared with them; what the proxy itself takes is read from its own CPU clock. Direct
//! and proxied runs alternate; medians of [`ROUNDS`] are printed, and ratios between
//! them are what should be quoted.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    unused_imports,
    reason = "a bench on the tests' stand, of which it uses a part"
)]

#[path = "../tests/stand/mod.rs"]
mod stand;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use crate::stand::{KEY, Stand};

const ROUNDS: usize = 5;
const REQUESTS: usize = 4_000;
const CONCURRENCY: [usize; 2] = [1, 16];
/// Clock ticks a second of /proc, fixed by Linux's user interface.
const TICKS: f64 = 100.0;

struct Run {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    /// CPU microseconds of the proxy for each request.
    cpu_us: f64,
}

/// CPU seconds of a process and its threads.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / TICKS
}

async fn run(url: &str, model: &str, concurrency: usize, pid: u32) -> Run {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let text =
        "How many litres of water pass the dam in a day if the gate is half open? ".repeat(13);
    let body = Bytes::from(
        json!({ "model": model, "messages": [{ "role": "user", "content": text }] }).to_string(),
    );
    let left = Arc::new(AtomicUsize::new(REQUESTS));
    let (cpu, started) = (cpu_seconds(pid), Instant::now());
    let mut workers = Vec::new();
    for _ in 0..concurrency {
        let (client, body, left, url) = (
            client.clone(),
            body.clone(),
            Arc::clone(&left),
            url.to_owned(),
        );
        workers.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_ok()
            {
                let request = http::Request::post(&url)
                    .header("authorization", format!("Bearer {KEY}"))
                    .header("content-type", "application/json")
                    .body(Full::new(body.clone()))
                    .unwrap();
                let start = Instant::now();
                let response = client.request(request).await.unwrap();
                assert_eq!(response.status(), 200);
                response.into_body().collect().await.unwrap();
                times.push(start.elapsed());
            }
            times
        }));
    }
    let mut times = Vec::with_capacity(REQUESTS);
    for worker in workers {
        times.extend(worker.await.unwrap());
    }
    let took = started.elapsed().as_secs_f64();
    times.sort_unstable();
    Run {
        per_second: REQUESTS as f64 / took,
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        cpu_us: (cpu_seconds(pid) - cpu) * 1e6 / REQUESTS as f64,
    }
}

fn median(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let stand = Stand::new().start().await;
    let pid = stand.proxies[0].process.pid();
    let proxied = format!("{}/v1/chat/completions", stand.url());
    let direct = format!("{}/chat/completions", stand.simulator().base_url("alpha"));
    run(&proxied, "auto", 4, pid).await; // Warm.
    println!("{REQUESTS} requests of 1 KB a run, medians of {ROUNDS} alternating runs");
    for concurrency in CONCURRENCY {
        let (mut plain, mut routed) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            plain.push(run(&direct, "small", concurrency, pid).await);
            routed.push(run(&proxied, "auto", concurrency, pid).await);
        }
        for (name, runs) in [("direct", &plain), ("proxied", &routed)] {
            println!(
                "{name:<8} x{concurrency:<3} {:>7.0} requests/s   p50 {:>6.0} us   p99 {:>6.0} us",
                median(runs, |r| r.per_second),
                median(runs, |r| r.p50.as_secs_f64() * 1e6),
                median(runs, |r| r.p99.as_secs_f64() * 1e6)
            );
        }
        let cpu = median(&routed, |r| r.cpu_us);
        let added =
            median(&routed, |r| r.p50.as_secs_f64()) - median(&plain, |r| r.p50.as_secs_f64());
        println!(
            "         proxy CPU {cpu:.0} us a request = {:.0} requests per CPU-second; added p50 {:.0} us; throughput {:.2} of direct",
            1e6 / cpu,
            added * 1e6,
            median(&routed, |r| r.per_second) / median(&plain, |r| r.per_second)
        );
    }
}
