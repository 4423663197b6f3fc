//! One HTTP exchange with a provider: who is asked, may they, what happens.
//!
//! Owns: the order in which a request is checked, and walking a plan. It must not decide
//! how answers or faults look (`plan`, `wire`), nor what they cost (`ledger`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::unfold;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Tempo};
use crate::answerer::Answerer;
use crate::ask::{Ask, Refusal, Work};
use crate::cache::PromptCache;
use crate::config::ServedModel;
use crate::dice::Dice;
use crate::errand::{errand, refused};
use crate::ledger::{Entry, Ledger};
use crate::plan::{Opening, Plan, Scene, Step, plan};
use crate::route::{Route, route};
use crate::script::{Cue, Pace, Script, Speed};
use crate::shelf::Shelf;
use crate::wire::{self, Call, Family, Inbound, Marks, Pen, Signed};

/// Longer request bodies are refused with 413.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A request whose body has not come by then is refused with 408.
const BODY_WAIT_MAX: Duration = Duration::from_secs(30);
/// A hanging attempt is closed after this; nobody waits that long.
const HANG_MAX: Duration = Duration::from_secs(600);
/// Between the last bytes and a cut, so that the bytes leave the buffers before it.
const CUT_FLUSH: Duration = Duration::from_millis(5);
/// The header of the router's own that the ledger keeps.
const REQUEST_ID: &str = "x-spillway-request-id";
/// The chain of routers a request came through: by it they find loops.
const VIA: &str = "x-spillway-via";
/// What the router's own headers begin with.
const FOREIGN_HEADERS: &str = "x-spillway-";

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
    pub(crate) models: BTreeMap<String, ServedModel>,
    pub(crate) script: Script,
    /// What is remembered of OpenAI's responses, and of Gemini's interactions.
    pub(crate) responses: Shelf,
    pub(crate) interactions: Shelf,
    pub(crate) cache: PromptCache,
}

impl Host {
    /// What is remembered for a family; those that remember nothing have any.
    pub(crate) fn shelf(&self, family: Family) -> &Shelf {
        match family {
            Family::Gemini => &self.interactions,
            Family::OpenAi | Family::Anthropic | Family::Bedrock => &self.responses,
        }
    }

    /// Whether it takes this key.
    pub(crate) fn check_key(&self, family: Family, key: Option<&str>) -> Result<(), Refusal> {
        match &self.api_key {
            Some(expected) if key != Some(expected) => Err(family.wrong_key(key)),
            _ => Ok(()),
        }
    }
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
    let query = request.uri().query().unwrap_or_default().to_owned();
    let found = path
        .trim_start_matches('/')
        .split_once('/')
        .and_then(|(name, rest)| Some((stage.hosts.get(name)?, rest)));
    let Some((host, rest)) = found else {
        let refusal = Refusal::new(404, "Unknown request URL");
        let marks = Marks::new(stage.seed, "", 0);
        return Ok(refused(Family::OpenAi, &refusal, marks));
    };
    let guess = Family::guess(request.headers());
    let route = route(request.method(), rest, &query, guess);
    if let Ok(Route::Call(call)) = &route {
        return converse(stage, host, call, &query, request).await;
    }
    let marks = Marks::new(stage.seed, &host.name, 0);
    Ok(errand(host, route, &request, marks))
}

async fn converse(
    stage: &Stage,
    host: &Host,
    call: &Call,
    query: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Severed> {
    let family = call.wire.family();
    let headers = request.headers();
    let request_id = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let key = family.key(headers, query);
    let mut entry = stage
        .ledger
        .open(&host.name, call.wire, key.as_deref(), request_id);
    let marks = Marks::new(stage.seed, &host.name, entry.sequence());
    let admitted = match check_head(host, family, key.as_deref(), headers) {
        Ok(()) => {
            let (head, body) = request.into_parts();
            let owner = key.as_deref().map(Ledger::key_hash);
            admit(host, call, owner, &head, body, marks, &mut entry).await
        }
        Err(refusal) => Err(refusal),
    };
    let mut plan = match admitted {
        Ok(admitted) => cast(stage, host, family, admitted, marks, &mut entry),
        Err(refusal) => Plan::refused(family, &refusal, marks),
    };
    plan.headers.extend(family.headers(marks));
    perform(plan, entry, &stage.stopping).await
}

/// A request that will be answered (unless a fault strikes).
struct Admitted<'a> {
    owner: Option<u64>,
    ask: Ask,
    pen: Pen,
    model: &'a ServedModel,
}

fn check_head(
    host: &Host,
    family: Family,
    key: Option<&str>,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let known = [REQUEST_ID, VIA];
    let foreign = |name: &&str| name.starts_with(FOREIGN_HEADERS) && !known.contains(name);
    if let Some(name) = headers.keys().map(header::HeaderName::as_str).find(foreign) {
        return Err(Refusal::invalid(format!("Unexpected header: {name}")));
    }
    host.check_key(family, key)
}

/// The body and the model, in the order a provider checks them.
async fn admit<'a>(
    host: &'a Host,
    call: &Call,
    owner: Option<u64>,
    head: &Parts,
    body: Incoming,
    marks: Marks,
    entry: &mut Entry,
) -> Result<Admitted<'a>, Refusal> {
    let limited = Limited::new(body, BODY_BYTES_MAX);
    let body = match timeout(BODY_WAIT_MAX, limited.collect()).await {
        Err(_) => return Err(Refusal::new(408, "Timed out reading the request body")),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Refusal::new(413, "Request body too large"));
        }
        Ok(Err(_)) => return Err(Refusal::new(400, "The request body could not be read")),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    call.wire.family().check_signature(Signed {
        method: &head.method,
        uri: &head.uri,
        headers: &head.headers,
        body: &body,
    })?;
    let (ask, pen) = wire::read(&Inbound {
        host: &host.name,
        owner,
        shelf: host.shelf(call.wire.family()),
        call,
        headers: &head.headers,
        body: &body,
        marks,
    })?;
    entry.identify(&ask.model, ask.streaming, &ask.prompt);
    match host.models.get(&ask.model) {
        Some(model) => Ok(Admitted {
            owner,
            ask,
            pen,
            model,
        }),
        None => Err(call.wire.family().unknown_model(&ask.model)),
    }
}

/// Draws what happens to an admitted request.
fn cast(
    stage: &Stage,
    host: &Host,
    family: Family,
    admitted: Admitted<'_>,
    marks: Marks,
    entry: &mut Entry,
) -> Plan {
    let Admitted {
        owner,
        ask,
        mut pen,
        model,
    } = admitted;
    let cue = host.script.cue(&ask.model, ask.tier);
    let tier = cue.served_tier.unwrap_or(ask.tier);
    pen.serve_as(tier);
    let mut answer = match ask.work {
        Work::Talk => stage.answerer.answer(stage.seed, &ask.model, &ask),
        Work::Silent { output_tokens } => Answer::silent(ask.input_tokens, output_tokens),
        Work::Count => Answer::silent(ask.input_tokens, 0),
    };
    if cue.caching && cue.fault.is_none() && ask.work == Work::Talk && ask.cacheable {
        let cached = host.cache.meet(owner, &ask);
        family.note_cached(&mut answer.usage, cached);
    }
    if ask.work != Work::Count {
        entry.price(model.price_of(tier), tier, &answer.usage);
    }
    if let Some(kind) = cue.fault.as_ref().and_then(crate::script::Fault::kind) {
        entry.faulty(kind);
    }
    let mut dice = Dice::numbered(stage.seed, &format!("pace {}", host.name), cue.number);
    let mut pace = pace(&cue, &answer, stage.speed, &mut dice);
    if cue.fault.is_none() {
        let ready_at = Instant::now() + pace.whole(answer.usage.output_tokens);
        if let Some(kept) = pen.kept(&answer, ready_at) {
            host.shelf(family).keep(kept);
        }
    }
    if pen.announces() && !ask.streaming {
        pace = Pace::default();
    }
    let scene = Scene {
        streaming: ask.streaming,
        answer: &answer,
        pace,
        pen: &pen,
        family,
        marks,
    };
    let mut plan = plan(&scene, cue.fault.as_ref());
    plan.headers.extend(pen.headers(tier));
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
