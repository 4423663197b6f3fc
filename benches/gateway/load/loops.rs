//! Whole answers, in an open or a closed loop.
//!
//! Owns: when requests are sent, and from when their latency counts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{sleep_until, timeout_at};

use super::{Flaw, PATIENCE, Run, Slot};

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The times when requests are due, as they come. Tokio's clock ticks in milliseconds, and
/// a request that is sent half of one late would hide what a gateway adds; a parked thread
/// is woken within some tens of microseconds.
fn pacer(rate: f64, ends: Instant) -> UnboundedReceiver<Instant> {
    let (sender, receiver) = unbounded_channel();
    let first = Instant::now() + Duration::from_millis(5);
    std::thread::spawn(move || {
        for index in 0.. {
            let due = first + Duration::from_secs_f64(f64::from(index) / rate);
            if due >= ends {
                return;
            }
            while let Some(left) = due.checked_duration_since(Instant::now()) {
                if left.is_zero() {
                    break;
                }
                std::thread::park_timeout(left);
            }
            if sender.send(due).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A connection, and the request that it sends with a number of its own each time.
struct Caller {
    slot: Slot,
    request: Vec<u8>,
}

impl Caller {
    fn new(run: &Run) -> Self {
        Self {
            slot: Slot::new(run.arguments.to),
            request: run.request.clone(),
        }
    }

    async fn ask(&mut self, run: &Run) -> Result<u16, Flaw> {
        run.number(&mut self.request);
        self.slot.ask(&self.request, |_| {}).await
    }
}

/// Requests at a rate that no slow answer holds up. Latency counts from when a request was
/// due, also if the generator itself was late: what a stalled gateway makes wait is seen.
pub(super) async fn open(run: &Rc<Run>) -> anyhow::Result<Value> {
    let mut due = pacer(run.arguments.rate, run.ends);
    let idle: Rc<RefCell<Vec<Caller>>> = Rc::default();
    let mut under_way = JoinSet::new();
    while let Some(due) = due.recv().await {
        let taken = idle.borrow_mut().pop();
        let mut caller = taken.unwrap_or_else(|| Caller::new(run));
        let (run, idle) = (Rc::clone(run), Rc::clone(&idle));
        under_way.spawn_local(async move {
            let lag = due.elapsed();
            let result = caller.ask(&run).await;
            let latency = due.elapsed();
            let counts = due >= run.counts_from;
            if run.ended(counts, &result) && counts {
                let mut tally = run.tally.borrow_mut();
                tally.latency.push(nanos(latency));
                tally.lag.push(nanos(lag));
            }
            idle.borrow_mut().push(caller);
        });
        while under_way.try_join_next().is_some() {}
    }
    let deadline = (Instant::now() + PATIENCE).into();
    while let Ok(Some(_)) = timeout_at(deadline, under_way.join_next()).await {}
    for _ in 0..under_way.len() {
        run.ended(true, &Err(Flaw::Late));
    }
    Ok(run.json(run.ends - run.counts_from))
}

/// As much as a number of connections can carry.
pub(super) async fn closed(run: &Rc<Run>) -> anyhow::Result<Value> {
    let began = Instant::now();
    let left = Rc::new(Cell::new(run.arguments.requests.unwrap_or(u64::MAX)));
    let mut workers = Vec::new();
    for _ in 0..run.arguments.connections {
        let (run, left) = (Rc::clone(run), Rc::clone(&left));
        workers.push(spawn_local(async move {
            let mut caller = Caller::new(&run);
            while left.get() > 0 && Instant::now() < run.ends {
                left.set(left.get() - 1);
                let sent = Instant::now();
                let result = caller.ask(&run).await;
                let ended = Instant::now();
                let counts = run.counts(ended);
                if run.ended(counts, &result) && counts {
                    let latency = nanos(ended - sent);
                    run.tally.borrow_mut().latency.push(latency);
                }
                if result == Err(Flaw::Refused) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }));
    }
    let deadline = (run.ends + PATIENCE).into();
    for worker in workers {
        if timeout_at(deadline, worker).await.is_err() {
            run.ended(true, &Err(Flaw::Late));
        }
    }
    // Early where a number of requests was asked for.
    let counted = run.ends.min(Instant::now()) - run.counts_from.max(began);
    Ok(run.json(counted))
}

/// For streams: a start that need not be exact.
pub(super) async fn at(began: Instant, share: f64, over: f64) {
    sleep_until((began + Duration::from_secs_f64(over * share)).into()).await;
}
