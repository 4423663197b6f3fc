//! A day of requests that may wait, over tiers whose room comes and goes.
//!
//! `make bench-day`. The decision, the forecast and the order of the attempts are those of
//! the proxy, driven by a simulated clock; rooms and requests are drawn from seeds
//! (`simulator/src/day.rs`). Printed for each day: how many began in time, what they cost
//! against the standard tier and against the best that only hindsight could have chosen,
//! and the starts that were wasted.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what a benchmark is for"
)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use spillway_routing::catalogue::{
    Capabilities, Lane, Model, Pace, Price, Rates, Room, Tier, Upstream,
};
use spillway_routing::conditions::{Conditions, LaneState};
use spillway_routing::decide::{Draw, decide};
use spillway_routing::dialect::{Dialect, Fidelity};
use spillway_routing::features::Facts;
use spillway_routing::id::{LaneId, TableVersion};
use spillway_routing::prompt::{PromptView, Role, Turn as Said};
use spillway_routing::start::{Record, Start, Turn, Waits};
use spillway_routing::table::{Choice, Draft, Route, Table};
use spillway_routing::tokens::{Family, TokenCounter};
use spillway_routing::unit::{Bps, Millis, NanoUsdPerMtok, Tokens, UnixMillis};
use spillway_simulator::{Capacity, DayRequest, Offer, day};

/// Days that nothing was tuned on.
const SEEDS: [u64; 3] = [31, 32, 33];
/// A Monday.
const MIDNIGHT: UnixMillis = UnixMillis(1_795_392_000_000);
/// Dollars per million tokens at the standard tier, and how much of it flex costs.
const PROVIDERS: [(&str, f64, f64); 2] = [("alpha", 2.0, 10.0), ("beta", 2.1, 10.5)];
const FLEX: f64 = 0.5;
/// Weight of a new sample in the pace of a lane, as in the proxy.
const NEW_SHARE: f64 = 0.2;
/// What FlexInference publishes as its saving.
const PUBLISHED: f64 = 47.0;

fn lanes() -> impl Iterator<Item = (String, Tier, f64, f64)> {
    PROVIDERS.into_iter().flat_map(|(provider, input, output)| {
        let of = move |tier: Tier, part: f64| {
            let id = format!("{provider}:model/{}", tier.name());
            (id, tier, input * part, output * part)
        };
        [of(Tier::Standard, 1.0), of(Tier::Flex, FLEX)]
    })
}

fn lane((id, tier, input, output): (String, Tier, f64, f64)) -> Lane {
    let rate = |usd: f64| NanoUsdPerMtok((usd * 1e9) as u64);
    let rates = Rates {
        input: rate(input),
        output: rate(output),
        ..Rates::default()
    };
    let (upstream, _) = id.split_once('/').unwrap_or_default();
    Lane {
        upstream: upstream.into(),
        id: id.as_str().into(),
        tier,
        price: Some(Price {
            rates,
            ..Price::default()
        }),
        pace: Pace::default(),
        room: Room::default(),
    }
}

fn upstream(provider: &str) -> Upstream {
    Upstream {
        id: format!("{provider}:model").as_str().into(),
        model: "model".into(),
        provider: provider.into(),
        wire_model: "model".to_owned(),
        dialects: vec![Dialect::OpenAiChat],
        credential: "none".into(),
    }
}

fn table() -> Table {
    let route = Route {
        id: "auto".into(),
        models: Vec::new(),
        default_lane: "alpha:model/standard".into(),
        baseline: "alpha:model/standard".into(),
        bar: Bps::ONE,
        choice: Choice::Multiplier(0),
        guard: Bps::ONE,
        learned: false,
        explore: Bps::new(0),
        max_cost: None,
        first_token_max: None,
        deadline: Millis(30_000),
        attempts_max: 3,
        lossy: Fidelity::Hints,
        overflow: None,
        certificate: None,
    };
    let model = Model {
        id: "model".into(),
        family: Family::O200k,
        context: Tokens(200_000),
        max_output: Tokens(16_000),
        capabilities: Capabilities::ALL,
        prior: Some(Bps::new(8_000)),
        typical_output: Tokens(300),
    };
    let draft = Draft {
        version: TableVersion(1),
        models: vec![model],
        upstreams: PROVIDERS.iter().map(|(name, ..)| upstream(name)).collect(),
        lanes: lanes().map(lane).collect(),
        routes: vec![route],
        ..Draft::default()
    };
    Table::build(draft)
        .unwrap_or_else(|flaws| unreachable!("the bench's table is sound: {flaws:?}"))
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    Turn,
    Refused(String),
    Begins(String),
}

/// What became of a request.
struct Served {
    lane: String,
    /// Since its arrival.
    began: Millis,
}

#[derive(Default)]
struct Under {
    waits: Waits,
    /// Lanes that answer at once, in the order of the plan.
    at_once: Vec<LaneId>,
}

struct Day {
    table: Table,
    facts: Facts,
    requests: Vec<DayRequest>,
    flex: Vec<(String, Capacity)>,
    events: BinaryHeap<Reverse<(Duration, usize, Event)>>,
    under: Vec<Under>,
    records: Vec<(String, Record)>,
    first_token: f64,
    served: Vec<Option<Served>>,
    late: u64,
    refused: u64,
}

impl Day {
    fn new(seed: u64, counter: &TokenCounter) -> Self {
        let requests = day(seed);
        let turns = [Said {
            role: Role::User,
            text: "Something that may wait.",
        }];
        let view = PromptView {
            route: "auto",
            turns: &turns,
            stream: true,
            ..PromptView::default()
        };
        let flex = || {
            lanes()
                .filter(|lane| lane.1 == Tier::Flex)
                .map(|lane| lane.0)
        };
        let arrivals = requests.iter().enumerate();
        Self {
            table: table(),
            facts: Facts::of(&view, counter),
            flex: flex()
                .map(|id| (id.clone(), Capacity::day(seed, &id)))
                .collect(),
            events: arrivals
                .map(|(i, request)| Reverse((request.at, i, Event::Arrives)))
                .collect(),
            under: requests.iter().map(|_| Under::default()).collect(),
            records: flex().map(|id| (id, Record::default())).collect(),
            first_token: 500.0,
            served: requests.iter().map(|_| None).collect(),
            requests,
            late: 0,
            refused: 0,
        }
    }

    fn run(&mut self) {
        while let Some(Reverse((at, i, event))) = self.events.pop() {
            match event {
                Event::Arrives => {
                    self.arrives(at, i);
                    self.turn(at, i);
                }
                Event::Turn => self.turn(at, i),
                Event::Refused(lane) => {
                    self.refused += 1;
                    let now = self.since_arrival(at, i);
                    let draw = splitmix(at.as_nanos() as u64 ^ i as u64);
                    let lane = lane.as_str().into();
                    self.under[i].waits.had_no_room(&lane, None, now, draw);
                    self.turn(at, i);
                }
                Event::Begins(lane) => self.begins(at, i, lane),
            }
        }
    }

    fn since_arrival(&self, at: Duration, i: usize) -> Millis {
        Millis((at - self.requests[i].at).as_millis() as u64)
    }

    fn arrives(&mut self, at: Duration, i: usize) {
        let now = moment(at);
        let first_token = Some(Millis(self.first_token as u64));
        let states = lanes().map(|(id, tier, ..)| LaneState {
            first_token: first_token.filter(|_| tier == Tier::Standard),
            starts: self
                .records
                .iter()
                .find(|(lane, _)| *lane == id)
                .map(|(_, record)| record.forecast(now)),
            ..LaneState::default()
        });
        let conditions = Conditions {
            lanes: states.collect(),
        };
        let within = self.requests[i].within.as_millis() as u64;
        self.facts.start = Start::Within(Millis(within));
        let decided = decide(&self.table, &self.facts, &conditions, now, Draw(i as u64));
        let plan = decided.map(|decision| decision.plan).unwrap_or_default();
        let under = &mut self.under[i];
        for step in plan {
            if step.lane.as_str().ends_with("flex") {
                under.waits.add(step);
            } else {
                under.at_once.push(step.lane);
            }
        }
    }

    fn turn(&mut self, at: Duration, i: usize) {
        let arrived = self.requests[i].at;
        let now = self.since_arrival(at, i);
        let (turn, in_vain) = self.under[i].waits.turn(now);
        self.late += in_vain.len() as u64;
        self.remember(at, in_vain);
        let of = |millis: Millis| arrived + Duration::from_millis(millis.0);
        let (when, event) = match turn {
            Turn::Pause(until) => (of(until), Event::Turn),
            Turn::Over => return self.moves_up(at, i),
            Turn::Try(step) => {
                let lane = step.lane.to_string();
                let capacity = self.flex.iter().find(|(id, _)| *id == lane);
                let offer = capacity.map(|(_, capacity)| capacity.offer(at, i));
                let give_up = of(step.give_up);
                match offer {
                    Some(Offer::Begins(after)) if at + after < give_up => {
                        (at + after, Event::Begins(lane))
                    }
                    Some(Offer::Refused(after)) if at + after < give_up => {
                        (at + after, Event::Refused(lane))
                    }
                    _ => (give_up, Event::Turn),
                }
            }
        };
        self.events.push(Reverse((when, i, event)));
    }

    /// The lanes that answer at once; the first may fail.
    fn moves_up(&mut self, at: Duration, i: usize) {
        let request = self.requests[i];
        let tries = 1 + u32::from(request.fails);
        let lane = self.under[i].at_once.get(usize::from(request.fails));
        let lane = lane.map(ToString::to_string).unwrap_or_default();
        let sample = request.first_token.as_millis() as f64;
        self.first_token += NEW_SHARE * (sample - self.first_token);
        let event = Event::Begins(lane);
        self.events
            .push(Reverse((at + request.first_token * tries, i, event)));
    }

    fn begins(&mut self, at: Duration, i: usize, lane: String) {
        let began = self.since_arrival(at, i);
        let seen = self.under[i].waits.begun(&lane.as_str().into(), began);
        self.remember(at, seen);
        self.served[i] = Some(Served { lane, began });
    }

    fn remember(&mut self, at: Duration, seen: Vec<(LaneId, spillway_routing::start::Began)>) {
        for (lane, began) in seen {
            let mut records = self.records.iter_mut();
            if let Some((_, record)) = records.find(|(id, _)| *id == lane.as_str()) {
                record.add(began, moment(at));
            }
        }
    }

    /// The cheapest lane that could have begun in time, whenever it was asked.
    fn hindsight(&self, i: usize) -> f64 {
        let request = &self.requests[i];
        let flex = self.flex.iter().filter(|(_, capacity)| {
            let soonest = capacity.soonest(request.at, i);
            soonest.is_some_and(|at| at <= request.at + request.within)
        });
        let costs = flex.map(|(id, _)| cost(id, request));
        costs.fold(standard(request), f64::min)
    }

    fn print(&self, seed: u64) {
        let bands = [(5, 15), (15, 60), (60, 180), (180, 601), (5, 601)];
        println!("day {seed}: {} requests", self.requests.len());
        for (low, high) in bands {
            let seconds = Duration::from_secs(low)..Duration::from_secs(high);
            let mut sums = Sums::default();
            for (i, request) in self.requests.iter().enumerate() {
                if seconds.contains(&request.within) {
                    sums.add(request, self.served[i].as_ref(), self.hindsight(i));
                }
            }
            sums.print(low, high);
        }
        let (late, refused) = (self.late, self.refused);
        println!("  starts that were wasted: {late} waits in vain, {refused} refusals");
    }
}

#[derive(Default)]
struct Sums {
    count: u32,
    in_time: u32,
    dearer: u32,
    flex: u32,
    cost: f64,
    standard: f64,
    hindsight: f64,
}

impl Sums {
    fn add(&mut self, request: &DayRequest, served: Option<&Served>, hindsight: f64) {
        self.count += 1;
        self.standard += standard(request);
        self.hindsight += hindsight;
        let Some(served) = served else {
            return;
        };
        let paid = cost(&served.lane, request);
        let within = request.within.as_millis() as u64;
        self.cost += paid;
        self.in_time += u32::from(served.began.0 <= within);
        self.flex += u32::from(served.lane.ends_with("flex"));
        self.dearer += u32::from(paid > standard(request));
    }

    fn print(&self, low: u64, high: u64) {
        let share = |part: u32| f64::from(part) * 100.0 / f64::from(self.count.max(1));
        println!(
            "  within {low:>3}-{high:<3} s: {:6.2} % in time, {:5.1} % at the flex tier, saved {:4.1} % \
             (published elsewhere: {PUBLISHED} %), {:5.3} x the best in hindsight, {} dearer",
            share(self.in_time),
            share(self.flex),
            (1.0 - self.cost / self.standard) * 100.0,
            self.cost / self.hindsight,
            self.dearer,
        );
    }
}

fn moment(at: Duration) -> UnixMillis {
    UnixMillis(MIDNIGHT.0 + at.as_millis() as u64)
}

fn cost(id: &str, request: &DayRequest) -> f64 {
    let lane = lanes().find(|lane| lane.0 == id);
    lane.map_or(f64::INFINITY, |(_, _, input, output)| {
        f64::from(request.input_tokens) * input + f64::from(request.output_tokens) * output
    })
}

/// What it costs without waiting; where the first lane fails, at the second.
fn standard(request: &DayRequest) -> f64 {
    let lane = PROVIDERS[usize::from(request.fails)].0;
    cost(&format!("{lane}:model/standard"), request)
}

fn splitmix(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

fn main() {
    let counter = TokenCounter::new();
    for seed in SEEDS {
        let mut day = Day::new(seed, &counter);
        day.run();
        day.print(seed);
    }
}
