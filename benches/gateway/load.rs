//! The load generator, as a process of its own: one thread, plain sockets.
//!
//! Owns: its arguments, what it counts, and the one line of JSON that says it. How
//! requests are timed is [`loops`]' and [`streams`]' matter. Knows nothing of gateways:
//! it is given an address and a whole HTTP request in a file.

mod client;
mod loops;
mod streams;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

pub(crate) use self::client::{Flaw, Slot};

/// Stands in requests where each gets a number of its own, so that nothing that was
/// learnt of one prompt can serve another.
pub(crate) const NUMBER: &str = "########";
/// How long after the end answers are waited for.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// Requests at a fixed rate, whether or not answers come.
    Open,
    /// The next request on a connection when the last is answered.
    Closed,
    /// The same with streams.
    Streams,
    /// Streams that are opened and held until standard input ends.
    Hold,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[arg(value_enum)]
    pub(crate) mode: Mode,
    /// Where to.
    #[arg(long)]
    pub(crate) to: SocketAddr,
    /// File with the bytes of a whole request.
    #[arg(long)]
    pub(crate) request: PathBuf,
    /// Open loop: requests a second.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) rate: f64,
    /// Closed loops, streams: connections.
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: u64,
    /// How long what is counted begins, after the warm-up.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// Closed loop: ends after so many requests, whatever the time.
    #[arg(long)]
    pub(crate) requests: Option<u64>,
    /// What begins before does not count.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) warm: f64,
    /// Streams: the time over which the connections begin.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) ramp: f64,
    /// Streams: tokens that each must have.
    #[arg(long, default_value_t = 0)]
    pub(crate) tokens: u64,
}

/// Times of one kind, in nanoseconds.
#[derive(Default)]
struct Times(Vec<u64>);

impl Times {
    fn push(&mut self, nanos: u64) {
        self.0.push(nanos);
    }

    fn json(&mut self) -> Value {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = |share: f64| {
            let place = (self.0.len() as f64 * share).ceil() as usize;
            let nanos = self.0.get(place.saturating_sub(1).min(last));
            nanos.map(|nanos| *nanos as f64 / 1e3)
        };
        json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0) })
    }
}

/// What was seen.
#[derive(Default)]
struct Tally {
    answered: u64,
    /// Why, and how often.
    failed: BTreeMap<String, u64>,
    /// Everything that ended, warm-up and failures included: what CPU is divided by.
    all: u64,
    all_tokens: u64,
    /// Tokens that came while it counted.
    tokens: u64,
    /// From when the request was due.
    latency: Times,
    /// From when it was due until it was sent.
    lag: Times,
    /// From when the stream was due to its first token, less what the provider waited.
    first_token: Times,
    /// From the provider's write of a token to its reading.
    transit: Times,
}

/// What all connections of a run share.
struct Run {
    arguments: Arguments,
    request: Vec<u8>,
    /// Where the number goes.
    number_at: Option<usize>,
    numbers: Cell<u64>,
    counts_from: Instant,
    ends: Instant,
    tally: RefCell<Tally>,
}

impl Run {
    fn new(arguments: Arguments) -> Result<Self> {
        let request = std::fs::read(&arguments.request)
            .with_context(|| arguments.request.display().to_string())?;
        let marker = NUMBER.as_bytes();
        let counts_from = Instant::now() + Duration::from_secs_f64(arguments.warm);
        Ok(Self {
            number_at: request.windows(marker.len()).position(|at| at == marker),
            request,
            numbers: Cell::new(0),
            counts_from,
            ends: counts_from + Duration::from_secs_f64(arguments.seconds),
            arguments,
            tally: RefCell::default(),
        })
    }

    /// Gives a request the next number.
    fn number(&self, request: &mut [u8]) {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        if let Some(at) = self.number_at {
            let digits = format!("{number:0width$}", width = NUMBER.len());
            request[at..at + NUMBER.len()].copy_from_slice(&digits.as_bytes()[..NUMBER.len()]);
        }
    }

    /// Whether what ends or begins now counts.
    fn counts(&self, at: Instant) -> bool {
        at >= self.counts_from && at < self.ends
    }

    /// The end of one request; whether it was answered well.
    fn ended(&self, counts: bool, result: &Result<u16, Flaw>) -> bool {
        let mut tally = self.tally.borrow_mut();
        tally.all += 1;
        let flaw = match result {
            Ok(200) => None,
            Ok(status) => Some(format!("status {status}")),
            Err(flaw) => Some(format!("{flaw:?}")),
        };
        let Some(flaw) = flaw else {
            tally.answered += u64::from(counts);
            return true;
        };
        // A failure is told also while nothing else counts.
        *tally.failed.entry(flaw).or_default() += 1;
        false
    }

    fn json(&self, counted: Duration) -> Value {
        let mut tally = self.tally.borrow_mut();
        let seconds = counted.as_secs_f64();
        let (answered, tokens) = (tally.answered as f64, tally.tokens as f64);
        json!({
            "answered": tally.answered, "failed": tally.failed, "all": tally.all,
            "per_second": answered / seconds, "tokens_per_second": tokens / seconds,
            "all_tokens": tally.all_tokens, "seconds": seconds,
            "latency_us": tally.latency.json(), "lag_us": tally.lag.json(),
            "first_token_us": tally.first_token.json(), "transit_us": tally.transit.json(),
        })
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let mode = arguments.mode;
    let run = Rc::new(Run::new(arguments)?);
    let tasks = tokio::task::LocalSet::new();
    let told = tasks
        .run_until(async {
            match mode {
                Mode::Open => loops::open(&run).await,
                Mode::Closed => loops::closed(&run).await,
                Mode::Streams => streams::run(&run).await,
                Mode::Hold => streams::hold(&run).await,
            }
        })
        .await?;
    println!("{told}");
    Ok(())
}
