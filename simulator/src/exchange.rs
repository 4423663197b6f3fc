//! One HTTP exchange with a provider: who is asked, may they, what happens.
//!
//! Owns: the paths, the key check, and walking a plan. It must not decide how answers
//! or faults look (`plan`), nor what they cost (`ledger`).

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::unfold;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Answerer, Tempo};
use crate::config::Price;
use crate::dice::Dice;
use crate::ledger::{Entry, Ledger};
use crate::openai::{self, Ask, Refusal, Stamp};
use crate::plan::{Opening, Plan, Scene, Step, plan};
use crate::script::{Cue, Pace, Script, Speed};

/// Longer request bodies are refused with 413.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A request whose body has not come by then is refused with 408.
const BODY_WAIT_MAX: Duration = Duration::from_secs(30);
/// A hanging attempt is closed after this; nobody waits that long.
const HANG_MAX: Duration = Duration::from_secs(600);
/// Between the last bytes and a cut, so that the bytes leave the buffers before it.
const CUT_FLUSH: Duration = Duration::from_millis(5);

pub(crate) type Body = UnsyncBoxBody<Bytes, Severed>;

/// The connection is to be closed without (the rest of) a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Severed {
    #[error("the script closes this connection")]
    Closed,
    #[error("the script resets this connection")]
    Reset,
}

/// One provider, as it runs.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) api_key: Option<String>,
    pub(crate) models: BTreeMap<String, Price>,
    pub(crate) script: Script,
}

/// What all exchanges share.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) hosts: BTreeMap<String, Host>,
    pub(crate) answerer: Answerer,
    pub(crate) seed: u64,
    pub(crate) speed: Speed,
    pub(crate) ledger: Ledger,
    pub(crate) stopping: CancellationToken,
}

/// Answers one request, or severs its connection.
pub(crate) async fn handle(
    stage: &Stage,
    request: Request<Incoming>,
) -> Result<Response<Body>, Severed> {
    let path = request.uri().path().to_owned();
    let found = path
        .trim_start_matches('/')
        .split_once('/')
        .and_then(|(name, rest)| Some((stage.hosts.get(name)?, rest)));
    let Some((host, rest)) = found else {
        return Ok(plain(&refuse(404, "Unknown request URL", None)));
    };
    match (request.method(), rest) {
        (&Method::POST, "v1/chat/completions") => chat(stage, host, request).await,
        (&Method::GET, "v1/models") => Ok(match check_key(host, request.headers()) {
            Err(refusal) => plain(&refusal),
            Ok(()) => {
                let names = host.models.keys().map(String::as_str);
                json_response(200, openai::model_list(&host.name, names))
            }
        }),
        (_, "v1/chat/completions" | "v1/models") => {
            Ok(plain(&refuse(405, "Method not allowed", None)))
        }
        _ => Ok(plain(&refuse(404, "Unknown request URL", None))),
    }
}

async fn chat(
    stage: &Stage,
    host: &Host,
    request: Request<Incoming>,
) -> Result<Response<Body>, Severed> {
    let headers = request.headers();
    let request_id = headers
        .get("x-spillway-request-id")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut entry = stage.ledger.open(&host.name, bearer(headers), request_id);
    let plan = match admit(host, request, &mut entry).await {
        Ok((ask, price)) => cast(stage, host, &ask, price, &mut entry),
        Err(refusal) => Plan::refused(refusal.status, refusal.body),
    };
    perform(plan, entry, &stage.stopping).await
}

/// The key, the body and the model, in the order a provider checks them.
async fn admit(
    host: &Host,
    request: Request<Incoming>,
    entry: &mut Entry,
) -> Result<(Ask, Price), Refusal> {
    check_key(host, request.headers())?;
    let limited = Limited::new(request.into_body(), BODY_BYTES_MAX);
    let body = match timeout(BODY_WAIT_MAX, limited.collect()).await {
        Err(_) => return Err(refuse(408, "Timed out reading the request body", None)),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(refuse(413, "Request body too large", None));
        }
        Ok(Err(_)) => return Err(refuse(400, "The request body could not be read", None)),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    let ask = openai::read(&body)?;
    entry.identify(&ask.model, ask.streaming, &ask.prompt);
    match host.models.get(&ask.model) {
        Some(price) => Ok((ask, *price)),
        None => {
            let message = format!("The model `{}` does not exist", ask.model);
            Err(refuse(404, &message, Some("model")))
        }
    }
}

/// Draws what happens to an admitted request.
fn cast(stage: &Stage, host: &Host, ask: &Ask, price: Price, entry: &mut Entry) -> Plan {
    let cue = host.script.cue(&ask.model);
    let answer = stage.answerer.answer(stage.seed, &ask.model, ask);
    entry.price(price, answer.usage.input_tokens);
    if let Some(kind) = cue.fault.as_ref().and_then(crate::script::Fault::kind) {
        entry.faulty(kind);
    }
    let mut dice = Dice::numbered(stage.seed, &format!("pace {}", host.name), cue.number);
    let pace = pace(&cue, &answer, stage.speed, &mut dice);
    let token = dice.next();
    let scene = Scene {
        ask,
        answer: &answer,
        pace,
        stamp: Stamp {
            id: format!("chatcmpl-{token:016x}{:08x}", entry.sequence()),
            model: ask.model.clone(),
            include_usage: ask.include_usage,
        },
        call_id: format!("call_{token:016x}"),
    };
    let mut plan = plan(&scene, cue.fault.as_ref());
    plan.headers
        .push(("x-request-id", format!("req_{token:016x}")));
    plan.headers
        .push(("openai-version", "2020-10-01".to_owned()));
    plan
}

/// A scripted latency comes before a recorded one, and that before a model's usual one.
fn pace(cue: &Cue, answer: &Answer, speed: Speed, dice: &mut Dice) -> Pace {
    let nominal = match (cue.latency, answer.tempo) {
        (Some(latency), _) | (None, Tempo::Usual(latency)) => latency.pace(dice),
        (None, Tempo::Recorded(pace)) => pace,
    };
    Pace {
        first_token: speed.scale(nominal.first_token),
        per_token: speed.scale(nominal.per_token),
    }
}

async fn perform(
    plan: Plan,
    mut entry: Entry,
    stopping: &CancellationToken,
) -> Result<Response<Body>, Severed> {
    match plan.opening {
        Opening::Answer(wait) if wait.is_zero() => {}
        Opening::Answer(wait) => sleep(wait).await,
        Opening::Hang => {
            hang(stopping).await;
            entry.give_up();
            return Err(Severed::Closed);
        }
        Opening::Reset => {
            entry.give_up();
            return Err(Severed::Reset);
        }
    }
    let mut course = Course {
        steps: plan.steps,
        entry,
        stopping: stopping.clone(),
    };
    course.settle();
    let frames = unfold(course, |mut course| async move {
        let sent = course.next().await?;
        Some((sent.map(Frame::data), course))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(plan.status).unwrap_or(StatusCode::OK);
    for (name, value) in plan.headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The rest of a plan, with the line of the ledger it is booked on.
struct Course {
    steps: VecDeque<Step>,
    entry: Entry,
    stopping: CancellationToken,
}

impl Course {
    async fn next(&mut self) -> Option<Result<Bytes, Severed>> {
        loop {
            match self.steps.pop_front()? {
                Step::Wait(wait) if wait.is_zero() => {}
                Step::Wait(wait) => sleep(wait).await,
                Step::Finish(outcome) => self.entry.finish(outcome),
                Step::Send { bytes, tokens } => {
                    self.entry.sent(tokens);
                    self.settle();
                    return Some(Ok(bytes));
                }
                Step::Hang => {
                    hang(&self.stopping).await;
                    self.entry.give_up();
                    return Some(Err(Severed::Closed));
                }
                Step::Cut => {
                    sleep(CUT_FLUSH).await;
                    self.entry.give_up();
                    return Some(Err(Severed::Closed));
                }
            }
        }
    }

    /// Ends the entry with the last bytes: a body of known length is not asked again
    /// after them, and an empty one is never asked.
    fn settle(&mut self) {
        if let Some(Step::Finish(outcome)) = self.steps.front() {
            self.entry.finish(*outcome);
        }
    }
}

async fn hang(stopping: &CancellationToken) {
    tokio::select! {
        () = stopping.cancelled() => {}
        () = sleep(HANG_MAX) => {}
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ")
}

fn check_key(host: &Host, headers: &HeaderMap) -> Result<(), Refusal> {
    match (&host.api_key, bearer(headers)) {
        (None, _) => Ok(()),
        (Some(expected), Some(key)) if expected == key => Ok(()),
        (Some(_), Some(_)) => Err(refuse(401, "Incorrect API key provided", None)),
        (Some(_), None) => Err(refuse(401, "You didn't provide an API key", None)),
    }
}

fn refuse(status: u16, message: &str, param: Option<&str>) -> Refusal {
    Refusal::new(status, message, param)
}

fn plain(refusal: &Refusal) -> Response<Body> {
    json_response(refusal.status, refusal.body.clone())
}

fn json_response(status: u16, body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
