//! Breakers, pace and load, one per lane.
//!
//! Owns: what this proxy has lately seen of each lane. Knows nothing of prices, prompts
//! or HTTP. It never decides: it hands `Conditions` to `routing::decide`, so that a
//! replay can be given the same conditions and must come to the same choice. Every
//! method takes `now`.

mod breaker;
mod pace;
mod pause;
mod permit;
mod queue;
mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spillway_routing::catalogue::{Lane, Room};
use spillway_routing::conditions::{Conditions, Gate, LaneState};
use spillway_routing::id::LaneId;
use spillway_routing::start::{Began, Record};
use spillway_routing::table::Table;
use spillway_routing::unit::UnixMillis;
use tokio::sync::oneshot;

use self::breaker::Breaker;
pub(crate) use self::breaker::{COOL_DOWN_MAX, Ejection, Event};
use self::pace::Pace;
pub(crate) use self::permit::{Permit, Ticket};
use self::queue::Queue;

/// Lanes remembered at most: those of a few tables. Beyond it, idle ones are forgotten.
const LANES_MAX: usize = 4_096;

struct Seen {
    breaker: Breaker,
    pace: Pace,
    /// Of a lane that makes requests wait.
    starts: Option<Box<Record>>,
    in_flight: u32,
    /// As many may be, as the last request to come in was told.
    in_flight_max: u32,
    /// Tickets that are held; those of the queue and those that were just called.
    waiting: u32,
    queue: Queue<oneshot::Sender<Permit>>,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self {
            breaker: Breaker::new(now),
            pace: Pace::default(),
            starts: None,
            in_flight: 0,
            in_flight_max: 0,
            waiting: 0,
            queue: Queue::default(),
        }
    }

    /// Takes the place that became free for whoever waits longest for a turn.
    fn next(&mut self, now: Instant) -> Option<oneshot::Sender<Permit>> {
        self.turn_away(now);
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        let next = std::iter::from_fn(|| self.queue.pop()).find(|ticket| !ticket.is_closed())?;
        self.in_flight += 1;
        Some(next)
    }

    /// Lets a request in, gives it a turn where it came with a key, or neither.
    fn passage(&mut self, room: Room, key: Option<&str>, forced: bool, now: Instant) -> Passage {
        let gate = self.breaker.gate(now);
        let busy = self.in_flight >= self.in_flight_max;
        // The last lane there is may be out, but what a policy says of its room holds.
        let limited = room.in_flight.is_some() || room.queue > 0;
        let full = busy && (!forced || limited);
        if full || (gate == Gate::Shut && !forced) {
            let key = key.filter(|_| gate == Gate::Open && self.waiting < room.queue);
            return key.map_or(Passage::Closed, |key| self.turn(key, room));
        }
        let probe = gate == Gate::Probing && !busy;
        if probe {
            self.breaker.start_probe();
        }
        self.in_flight += 1;
        // A forced request to a lane that is out answers for it like a probe.
        Passage::In {
            probe: probe || forced,
        }
    }

    fn turn(&mut self, key: &str, room: Room) -> Passage {
        if self.queue.len() >= 2 * room.queue as usize {
            self.queue.retain(|ticket| !ticket.is_closed());
        }
        let (call, place) = oneshot::channel();
        self.queue.push(key, call);
        self.waiting += 1;
        Passage::Wait(place)
    }

    /// Nobody waits for a lane that is out.
    fn turn_away(&mut self, now: Instant) {
        if self.breaker.gate(now) != Gate::Open {
            self.queue = Queue::default();
        }
    }
}

/// What [`Seen`] says of a request that wants in.
enum Passage {
    In { probe: bool },
    Wait(oneshot::Receiver<Permit>),
    Closed,
}

/// How a request gets to a lane.
pub(crate) enum Entrance {
    In(Permit),
    /// It is full; there is a turn.
    Wait(Ticket),
    /// It closed or filled since it was decided, or its one probe is under way.
    Closed,
}

/// What was lately seen of all lanes.
pub(crate) struct Health {
    lanes: Mutex<BTreeMap<LaneId, Seen>>,
    ejection: Ejection,
    in_flight_max: u32,
}

impl Health {
    pub(crate) fn new(ejection: Ejection, in_flight_max: u32) -> Self {
        Self {
            lanes: Mutex::default(),
            ejection,
            in_flight_max,
        }
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<LaneId, Seen>> {
        // Counters stay meaningful whatever panicked between two of them.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The states of a table's lanes, in its order; both times are now.
    pub(crate) fn conditions(&self, table: &Table, now: Instant, at: UnixMillis) -> Conditions {
        let lanes = self.lanes();
        let state = |lane: &Lane| {
            let Some(seen) = lanes.get(&lane.id) else {
                return LaneState::default();
            };
            LaneState {
                starts: seen.starts.as_ref().map(|starts| starts.forecast(at)),
                ..self.state(seen, lane.room, now)
            }
        };
        Conditions {
            lanes: table.draft().lanes.iter().map(state).collect(),
        }
    }

    fn state(&self, seen: &Seen, room: Room, now: Instant) -> LaneState {
        let (first_token, per_token_us) = seen.pace.expected(now);
        let busy = seen.in_flight >= self.limit(room);
        let gate = match seen.breaker.gate(now) {
            // Whoever comes may wait.
            Gate::Open if busy && seen.waiting < room.queue => Gate::Open,
            Gate::Open | Gate::Probing if busy => Gate::Full,
            gate => gate,
        };
        LaneState {
            gate,
            in_flight: seen.in_flight,
            waiting: seen.waiting,
            first_token,
            per_token_us,
            ..LaneState::default()
        }
    }

    /// Requests that may be under way at a lane of this room.
    pub(crate) fn limit(&self, room: Room) -> u32 {
        let own = room.in_flight.unwrap_or(self.in_flight_max);
        own.min(self.in_flight_max)
    }

    /// Lets a request through to a lane, or gives it a turn in its queue, where it came
    /// with this key. `forced` is for the last lane there is.
    pub(crate) fn enter(
        self: &Arc<Self>,
        lane: &Lane,
        key: &str,
        forced: bool,
        now: Instant,
    ) -> Entrance {
        self.entrance(lane, Some(key), forced, now)
    }

    /// Lets a request through to a lane at once, or not.
    pub(crate) fn admit(
        self: &Arc<Self>,
        lane: &Lane,
        forced: bool,
        now: Instant,
    ) -> Option<Permit> {
        match self.entrance(lane, None, forced, now) {
            Entrance::In(permit) => Some(permit),
            Entrance::Wait(_) | Entrance::Closed => None,
        }
    }

    fn entrance(
        self: &Arc<Self>,
        lane: &Lane,
        key: Option<&str>,
        forced: bool,
        now: Instant,
    ) -> Entrance {
        let mut lanes = self.lanes();
        if lanes.len() >= LANES_MAX && !lanes.contains_key(&lane.id) {
            lanes.retain(|_, seen| seen.in_flight > 0 || seen.waiting > 0);
        }
        let seen = lanes
            .entry(lane.id.clone())
            .or_insert_with(|| Seen::new(now));
        seen.in_flight_max = self.limit(lane.room);
        // Where there is more room than before, whoever waits comes first.
        let called: Vec<_> = std::iter::from_fn(|| seen.next(now)).collect();
        let passage = seen.passage(lane.room, key, forced, now);
        drop(lanes);
        for ticket in called {
            let _ = ticket.send(Permit::new(self, &lane.id, false));
        }
        match passage {
            Passage::In { probe } => Entrance::In(Permit::new(self, &lane.id, probe)),
            Passage::Wait(place) => Entrance::Wait(Ticket::new(self, &lane.id, place)),
            Passage::Closed => Entrance::Closed,
        }
    }

    /// The shortest time until one of a table's lanes may be tried again.
    pub(crate) fn wait(&self, table: &Table, now: Instant) -> Duration {
        let lanes = self.lanes();
        let untils = table.draft().lanes.iter().filter_map(|lane| {
            let until = lanes.get(&lane.id)?.breaker.until()?;
            Some(until.saturating_duration_since(now))
        });
        untils.min().unwrap_or_default().min(COOL_DOWN_MAX)
    }

    /// Wakes those of these lanes that failed long ago, since requests have no others.
    pub(crate) fn wake<'a>(&self, ids: impl Iterator<Item = &'a LaneId>, now: Instant) -> bool {
        let mut lanes = self.lanes();
        ids.fold(false, |woken, id| {
            let seen = lanes.get_mut(id);
            seen.is_some_and(|seen| seen.breaker.wake(now)) || woken
        })
    }

    /// The shortest rest of these lanes, where some only rest.
    pub(crate) fn rest<'a>(
        &self,
        ids: impl Iterator<Item = &'a LaneId>,
        now: Instant,
    ) -> Option<Duration> {
        let lanes = self.lanes();
        ids.filter_map(|id| lanes.get(id)?.breaker.rest(now)).min()
    }

    /// For each lane of a table: whether its breaker is open, and its requests in flight
    /// and waiting.
    pub(crate) fn snapshot(&self, table: &Table, now: Instant) -> Vec<(LaneId, bool, [u32; 2])> {
        let lanes = self.lanes();
        let ids = table.draft().lanes.iter().map(|lane| &lane.id);
        ids.map(|id| {
            let seen = lanes.get(id);
            let open = seen.is_some_and(|s| s.breaker.gate(now) != Gate::Open);
            (
                id.clone(),
                open,
                seen.map_or([0; 2], |s| [s.in_flight, s.waiting]),
            )
        })
        .collect()
    }

    /// What became of a request that may have had to wait.
    pub(crate) fn began(&self, lane: &LaneId, began: Began, at: UnixMillis) {
        self.with(lane, |seen| {
            seen.starts.get_or_insert_with(Box::default).add(began, at);
        });
    }

    fn with(&self, lane: &LaneId, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.lanes().get_mut(lane) {
            change(seen);
        }
    }
}

#[cfg(test)]
mod tests;
