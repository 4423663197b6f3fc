//! Streams of tokens: how fast they pass, and how many can be held.
//!
//! Owns: reading server-sent events, and the times that the provider wrote into its
//! tokens as `@sent:waited@`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{timeout, timeout_at};

use super::loops::at;
use super::{Flaw, PATIENCE, Run, Slot};
use crate::machine::nanos;

/// How many streams are being opened at once.
const OPENING: u64 = 16;
/// How long all that are to be held may take to begin.
const HELD_WITHIN: Duration = Duration::from_secs(120);

/// One stream as it is read.
#[derive(Default)]
struct Reading {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    tokens: u64,
    finished: bool,
    done: bool,
}

impl Reading {
    /// Takes what came; hands out when each token was sent, and how long after the request.
    fn take(&mut self, mut content: &[u8], mut token: impl FnMut(u64, u64)) {
        while let Some(end) = content.iter().position(|byte| *byte == b'\n') {
            if self.line.is_empty() {
                self.event(&content[..end], &mut token);
            } else {
                self.line.extend_from_slice(&content[..end]);
                let line = std::mem::take(&mut self.line);
                self.event(&line, &mut token);
            }
            content = &content[end + 1..];
        }
        self.line.extend_from_slice(content);
    }

    fn event(&mut self, line: &[u8], token: &mut impl FnMut(u64, u64)) {
        if !line.starts_with(b"data:") {
            return;
        }
        let mut times = line
            .split(|byte| *byte == b'@')
            .skip(1)
            .step_by(2)
            .peekable();
        if times.peek().is_none() {
            self.done |= line.ends_with(b"[DONE]");
            let end = br#""finish_reason":"stop""#;
            let spaced = br#""finish_reason": "stop""#;
            let has = |what: &[u8]| line.windows(what.len()).any(|bytes| bytes == what);
            self.finished |= has(end) || has(spaced);
        }
        for times in times {
            let text = std::str::from_utf8(times).unwrap_or("");
            let (sent, waited) = text.split_once(':').unwrap_or(("", ""));
            if let (Ok(sent), Ok(waited)) = (sent.parse(), waited.parse()) {
                self.tokens += 1;
                token(sent, waited);
            }
        }
    }
}

/// One stream from its request to its end.
async fn stream(run: &Run, slot: &mut Slot, request: &mut [u8]) {
    run.number(request);
    let (asked, asked_nanos) = (Instant::now(), nanos());
    let counted = run.counts(asked);
    let mut reading = Reading::default();
    let mut begun = false;
    let result = slot
        .ask(request, |content| {
            let (now, counts) = (nanos(), run.counts(Instant::now()));
            let mut tally = run.tally.borrow_mut();
            reading.take(content, |sent, waited| {
                tally.all_tokens += 1;
                tally.tokens += u64::from(counts);
                if counts {
                    tally.transit.push(now.saturating_sub(sent));
                }
                if counted && !begun {
                    let after = now.saturating_sub(asked_nanos);
                    tally.first_token.push(after.saturating_sub(waited));
                }
                begun = true;
            });
        })
        .await;
    let whole = reading.done && reading.finished && reading.tokens == run.arguments.tokens;
    let result = match result {
        Ok(200) if !whole => Err(Flaw::Incomplete),
        other => other,
    };
    run.ended(counted, &result);
    if result == Err(Flaw::Refused) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// On each connection one stream after the other.
pub(super) async fn run(run: &Rc<Run>) -> Result<Value> {
    let (began, connections) = (Instant::now(), run.arguments.connections);
    let mut workers = Vec::new();
    for index in 0..connections {
        let run = Rc::clone(run);
        workers.push(spawn_local(async move {
            let share = index as f64 / connections as f64;
            at(began, share, run.arguments.ramp).await;
            let (mut slot, mut request) = (Slot::new(run.arguments.to), run.request.clone());
            while Instant::now() < run.ends {
                stream(&run, &mut slot, &mut request).await;
            }
        }));
    }
    let deadline = (run.ends + PATIENCE).into();
    for worker in workers {
        if timeout_at(deadline, worker).await.is_err() {
            run.ended(true, &Err(Flaw::Late));
        }
    }
    Ok(run.json(run.ends - run.counts_from))
}

/// Opens streams, says how many have begun, and holds them until standard input ends.
pub(super) async fn hold(run: &Rc<Run>) -> Result<Value> {
    let wanted = run.arguments.connections;
    let (left, begun) = (Rc::new(Cell::new(wanted)), Rc::new(Cell::new(0u64)));
    for _ in 0..OPENING {
        let (run, left, begun) = (Rc::clone(run), Rc::clone(&left), Rc::clone(&begun));
        spawn_local(async move {
            while let Some(rest) = left.get().checked_sub(1) {
                left.set(rest);
                let first = Rc::new(Notify::new());
                spawn_local(held(Rc::clone(&run), Rc::clone(&begun), Rc::clone(&first)));
                let _ = timeout(PATIENCE, first.notified()).await;
            }
        });
    }
    let deadline = Instant::now() + HELD_WITHIN;
    while begun.get() < wanted && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let failed = run.tally.borrow().failed.clone();
    ensure!(begun.get() > 0, "no stream began: {failed:?}");
    println!("{}", json!({ "holding": begun.get(), "failed": failed }));
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await?;
    Ok(json!({ "failed": run.tally.borrow().failed }))
}

/// One stream that is held; it counts while it lives and has begun.
async fn held(run: Rc<Run>, begun: Rc<Cell<u64>>, first: Rc<Notify>) {
    let mut request = run.request.clone();
    run.number(&mut request);
    let mut reading = Reading::default();
    let mut counted = false;
    let mut slot = Slot::new(run.arguments.to);
    let result = slot
        .ask(&request, |content| {
            reading.take(content, |_, _| ());
            if reading.tokens > 0 && !counted {
                counted = true;
                begun.set(begun.get() + 1);
                first.notify_one();
            }
        })
        .await;
    // Nobody asked it to end.
    if counted {
        begun.set(begun.get() - 1);
    }
    first.notify_one();
    let flaw = result.err().unwrap_or(Flaw::Incomplete);
    run.ended(true, &Err(flaw));
}
