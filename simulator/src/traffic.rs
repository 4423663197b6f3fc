//! Traffic: plays prompts against an OpenAI-compatible router and judges what came back.
//!
//! Owns: when requests are sent, how many at once, and the feedback after them. It must
//! not know how a router works; it reads nothing but its documented response headers.

mod client;
mod report;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::answerer::Answerer;
use crate::dice::Dice;
use client::{Caller, Question};
use report::{Tally, Turn};

pub use client::TrafficError;
pub use report::{Progress, TrafficReport};

/// What a request may take, body included, when the config says nothing else.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// No run is longer: every answer's latency is kept until the report.
const REQUESTS_MAX: u64 = 5_000_000;
/// Open-loop requests under way at once; further arrivals wait, and their waiting counts
/// as latency.
const IN_FLIGHT_MAX: usize = 1_024;
/// After this no more requests are started, when the config says nothing else.
const DURATION_MAX: Duration = Duration::from_secs(3_600);

/// How requests arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// On their own, with seeded exponential gaps, whether or not answers come.
    Open {
        /// Mean arrivals per second.
        requests_per_second: f64,
    },
    /// Each as soon as an earlier one has ended.
    Closed {
        /// Requests under way at once.
        concurrency: usize,
    },
}

/// What goes into the header `x-spillway-slice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SliceLabel {
    /// No header.
    None,
    /// This.
    Fixed(String),
    /// The kind of work of the prompt, where it is known.
    OfPrompt,
}

/// What to play against whom.
#[derive(Debug, Clone)]
pub struct TrafficConfig {
    /// Such as `http://127.0.0.1:8080/v1`; `http` only.
    pub base_url: String,
    /// Bearer key.
    pub key: Option<String>,
    /// The `model` field: a route or a model.
    pub model: String,
    /// Where prompts come from, and who knows the true quality and cost.
    pub oracle: Answerer,
    /// How many requests.
    pub requests: u64,
    /// The number of the first prompt.
    pub first_prompt: u64,
    /// How they arrive.
    pub load: Load,
    /// Share (0..1) of requests that ask for a stream.
    pub streaming_share: f64,
    /// Whether each answer's true quality is posted to `{base_url}/feedback`.
    pub feedback: bool,
    /// The slice header.
    pub slice: SliceLabel,
    /// Every draw follows from this.
    pub seed: u64,
    /// What a request may take, body included.
    pub request_timeout: Duration,
    /// After this no more requests are started.
    pub duration_max: Duration,
    /// Told after every answer.
    pub progress: Option<watch::Sender<Progress>>,
    /// Cancelled: no more requests are started, those under way end.
    pub stop: CancellationToken,
}

impl TrafficConfig {
    /// Eight at once, half of them streams, feedback on.
    pub fn new(
        base_url: impl Into<String>,
        model: impl Into<String>,
        oracle: Answerer,
        requests: u64,
    ) -> Self {
        Self {
            base_url: base_url.into(),
            key: None,
            model: model.into(),
            oracle,
            requests,
            first_prompt: 0,
            load: Load::Closed { concurrency: 8 },
            streaming_share: 0.5,
            feedback: true,
            slice: SliceLabel::None,
            seed: 1,
            request_timeout: REQUEST_TIMEOUT,
            duration_max: DURATION_MAX,
            progress: None,
            stop: CancellationToken::new(),
        }
    }
}

/// Seeded exponential gaps between arrivals, for ever.
#[derive(Debug, Clone)]
pub struct Arrivals {
    dice: Dice,
    mean_gap_s: f64,
}

impl Arrivals {
    /// Gaps whose mean is one over the rate; a rate of 0 or less has gaps of an hour.
    pub fn new(seed: u64, requests_per_second: f64) -> Self {
        Self {
            dice: Dice::of(seed, &["arrivals"]),
            mean_gap_s: if requests_per_second > 0.0 {
                1.0 / requests_per_second
            } else {
                DURATION_MAX.as_secs_f64()
            },
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let gap = self.dice.exponential(self.mean_gap_s);
        Some(Duration::try_from_secs_f64(gap).unwrap_or(DURATION_MAX))
    }
}

/// Plays the traffic to its end and reports. Single failures are in the report; an error
/// means that nothing could be played at all.
pub async fn play(config: TrafficConfig) -> Result<TrafficReport, TrafficError> {
    if config.requests > REQUESTS_MAX {
        return Err(TrafficError::TooMany {
            requests: config.requests,
            most: REQUESTS_MAX,
        });
    }
    let caller = Caller::new(&config)?;
    let begin = Instant::now();
    let (places, mut arrivals) = match config.load {
        Load::Open {
            requests_per_second,
        } => {
            let arrivals = Arrivals::new(config.seed, requests_per_second);
            (IN_FLIGHT_MAX, Some(arrivals))
        }
        Load::Closed { concurrency } => (concurrency.clamp(1, IN_FLIGHT_MAX), None),
    };
    let player = Arc::new(Player { caller, config });
    let places = Arc::new(Semaphore::new(places));
    let mut under_way = JoinSet::new();
    let mut tally = Tally::new(player.config.progress.clone());
    let mut arrival = begin;
    for number in 0..player.config.requests {
        if let Some(arrivals) = &mut arrivals {
            arrival += arrivals.next().unwrap_or_default();
        }
        let end = begin + player.config.duration_max;
        let place = tokio::select! {
            biased;
            () = player.config.stop.cancelled() => break,
            () = sleep_until(end) => break,
            place = wait(arrival, &places) => place,
        };
        let since = if arrivals.is_some() {
            arrival
        } else {
            Instant::now()
        };
        tally.sent();
        let player = Arc::clone(&player);
        under_way.spawn(async move {
            let turn = player.turn(number, since).await;
            drop(place);
            turn
        });
        while let Some(turn) = under_way.try_join_next() {
            tally.add(turn);
        }
    }
    while let Some(turn) = under_way.join_next().await {
        tally.add(turn);
    }
    Ok(tally.report(begin.elapsed()))
}

/// Waits for the arrival's time and then for a place; `None` never happens while the
/// semaphore is open, and then only means that no place is held.
async fn wait(
    arrival: Instant,
    places: &Arc<Semaphore>,
) -> Option<tokio::sync::OwnedSemaphorePermit> {
    sleep_until(arrival).await;
    Arc::clone(places).acquire_owned().await.ok()
}

struct Player {
    caller: Caller,
    config: TrafficConfig,
}

impl Player {
    /// One request and, after its answer, the feedback.
    async fn turn(&self, number: u64, since: Instant) -> Turn {
        let config = &self.config;
        let prompt = config.oracle.prompt(config.first_prompt + number);
        let mut dice = Dice::numbered(config.seed, "turn", number);
        let slice = match &config.slice {
            SliceLabel::None => None,
            SliceLabel::Fixed(label) => Some(label.clone()),
            SliceLabel::OfPrompt => prompt.slice,
        };
        let question = Question {
            text: prompt.text,
            tools: prompt.tools,
            streaming: dice.unit() < config.streaming_share,
            slice,
        };
        let reply = match self.caller.ask(&question, since).await {
            Ok(reply) => reply,
            Err(failure) => return Turn::failed(failure),
        };
        let quality = config.oracle.score(&reply.model, &question.text);
        let mut turn = Turn {
            cost_nano_usd: config.oracle.cost_nano_usd(&reply.model, &question.text),
            quality,
            feedback: None,
            answer: Ok(reply),
        };
        if config.feedback
            && let (Some(quality), Ok(reply)) = (quality, &turn.answer)
            && let Some(id) = &reply.request_id
        {
            turn.feedback = Some(self.caller.feedback(id, quality).await);
        }
        turn
    }
}

#[cfg(test)]
mod tests;
