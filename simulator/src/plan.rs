//! What one attempt will do on the wire, decided before anything is sent.
//!
//! Owns: how answers and faults look as status, headers, bytes, waits and cuts. It is
//! pure: `exchange` walks the steps and has no choices left. It must not know
//! providers, scripts, the JSON of any wire or how an answer came about.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::answer::Answer;
use crate::ask::Refusal;
use crate::ledger::Outcome;
use crate::script::{Fault, FaultKind, Pace, RetryAfter};
use crate::wire::{Family, Marks, Part, Pen, Stream};

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const PAGE: &str = "<!DOCTYPE html><html><head><title>Gateway</title></head>\
    <body><h1>The page you look for is elsewhere</h1></body></html>";

/// What happens before the headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opening {
    /// This wait, then the headers.
    Answer(Duration),
    Hang,
    Reset,
}

/// What happens in the body, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Wait(Duration),
    Send { bytes: Bytes, tokens: u64 },
    Finish(Outcome),
    Hang,
    Cut,
}

/// The whole course of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) opening: Opening,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) steps: VecDeque<Step>,
}

/// What a plan is made from. Times are wall times already.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) streaming: bool,
    pub(crate) answer: &'a Answer,
    pub(crate) pace: Pace,
    pub(crate) pen: &'a Pen,
    pub(crate) family: Family,
    pub(crate) marks: Marks,
}

impl Plan {
    /// A refusal, at once.
    pub(crate) fn refused(family: Family, refusal: &Refusal, marks: Marks) -> Self {
        let body = family.refusal_body(refusal, marks);
        let mut plan = Self::refused_so(refusal.status, body);
        plan.headers.extend(family.error_headers(refusal));
        plan.headers
            .extend(family.retry_headers(refusal.retry_after));
        plan
    }

    fn refused_so(status: u16, body: String) -> Self {
        Self::whole(status, JSON, body, Outcome::Refused(status), 0)
    }

    /// A finished body of known length.
    pub(crate) fn whole(
        status: u16,
        content_type: &str,
        body: impl Into<Bytes>,
        outcome: Outcome,
        tokens: u64,
    ) -> Self {
        let bytes: Bytes = body.into();
        let mut plan = Self::open(status, content_type, Duration::ZERO);
        plan.headers
            .push(("content-length", bytes.len().to_string()));
        if !bytes.is_empty() {
            plan.steps.push_back(Step::Send { bytes, tokens });
        }
        plan.steps.push_back(Step::Finish(outcome));
        plan
    }

    fn open(status: u16, content_type: &str, wait: Duration) -> Self {
        Self {
            opening: Opening::Answer(wait),
            status,
            headers: vec![("content-type", content_type.to_owned())],
            steps: VecDeque::new(),
        }
    }

    fn never(opening: Opening) -> Self {
        Self {
            opening,
            status: 200,
            headers: Vec::new(),
            steps: VecDeque::new(),
        }
    }

    fn after(mut self, wait: Duration) -> Self {
        self.opening = Opening::Answer(wait);
        self
    }
}

/// How far an answer comes before what becomes of it.
enum Ending {
    Cut,
    Hang,
    Error,
}

/// The course of an attempt with this fault, if any.
pub(crate) fn plan(scene: &Scene<'_>, fault: Option<&Fault>) -> Plan {
    let Some(fault) = fault else {
        return healthy(scene);
    };
    let first = scene.pace.first_token;
    match fault {
        Fault::Status {
            code,
            retry_after,
            body,
        } => status(scene, *code, *retry_after, body.as_deref()),
        Fault::NoCapacity => Plan::refused(scene.family, &scene.family.no_capacity(), scene.marks),
        Fault::HangBeforeHeaders => Plan::never(Opening::Hang),
        Fault::Reset => Plan::never(Opening::Reset),
        Fault::HangAfterHeaders => broken(scene, 0, &Ending::Hang),
        Fault::HangAfter { content_chunks } => broken(scene, *content_chunks, &Ending::Hang),
        Fault::CutBeforeContent => broken(scene, 0, &Ending::Cut),
        Fault::CutAfter { content_chunks } => broken(scene, *content_chunks, &Ending::Cut),
        Fault::ErrorInStream { content_chunks } => broken(scene, *content_chunks, &Ending::Error),
        Fault::Garbage => faulted(HTML, PAGE, FaultKind::Garbage).after(first),
        Fault::EmptyBody => faulted(form(scene), Bytes::new(), FaultKind::EmptyBody).after(first),
        Fault::TruncatedJson => truncated(scene).after(first),
        Fault::DoneAtOnce => done_at_once(scene).after(first),
    }
}

fn form(scene: &Scene<'_>) -> &'static str {
    if scene.streaming {
        scene.pen.stream_type()
    } else {
        JSON
    }
}

fn faulted(content_type: &str, body: impl Into<Bytes>, kind: FaultKind) -> Plan {
    Plan::whole(200, content_type, body, Outcome::Faulted(kind), 0)
}

fn status(
    scene: &Scene<'_>,
    code: u16,
    retry_after: Option<RetryAfter>,
    body: Option<&str>,
) -> Plan {
    let mut refusal = Refusal::new(code, "The simulator was told to refuse this.");
    refusal.retry_after = retry_after;
    let Some(body) = body else {
        return Plan::refused(scene.family, &refusal, scene.marks);
    };
    let mut plan = Plan::refused_so(code, body.to_owned());
    plan.headers.extend(scene.family.error_headers(&refusal));
    plan.headers.extend(scene.family.retry_headers(retry_after));
    plan
}

fn healthy(scene: &Scene<'_>) -> Plan {
    if !scene.streaming {
        let tokens = scene.answer.usage.output_tokens;
        let body = scene.pen.whole(scene.answer);
        return Plan::whole(200, JSON, body, Outcome::Answered, tokens)
            .after(scene.pace.whole(scene.answer.usage.output_tokens));
    }
    let mut stream = scene.pen.stream(scene.answer);
    let ending = std::mem::take(&mut stream.ending);
    let (mut plan, _) = begun(scene, stream, usize::MAX);
    plan.steps.extend(ending.into_iter().map(send));
    plan.steps.push_back(Step::Finish(Outcome::Answered));
    plan
}

fn send(part: Part) -> Step {
    Step::Send {
        bytes: part.bytes,
        tokens: part.tokens,
    }
}

/// A stream up to and with its `chunks`-th piece of content, and how many pieces were sent.
/// Headers come after half the time to the first token, with what comes before content.
fn begun(scene: &Scene<'_>, stream: Stream, chunks: usize) -> (Plan, usize) {
    let half = scene.pace.first_token / 2;
    let mut plan = Plan::open(200, form(scene), half);
    let mut sent = stream.opening.len();
    for bytes in stream.opening {
        plan.steps.push_back(Step::Send { bytes, tokens: 0 });
    }
    plan.steps
        .push_back(Step::Wait(scene.pace.first_token - half));
    let mut spoken = 0;
    for part in stream.content {
        if spoken >= chunks {
            break;
        }
        let wait = scene.pace.writing(part.tokens);
        if spoken > 0 && !wait.is_zero() {
            plan.steps.push_back(Step::Wait(wait));
        }
        spoken += usize::from(part.speaks);
        sent += 1;
        plan.steps.push_back(send(part));
    }
    (plan, sent)
}

/// An answer that begins well and does not end so.
fn broken(scene: &Scene<'_>, chunks: usize, ending: &Ending) -> Plan {
    if !scene.streaming {
        return broken_whole(scene, chunks, ending);
    }
    let (mut plan, sent) = begun(scene, scene.pen.stream(scene.answer), chunks);
    match ending {
        Ending::Cut => plan.steps.push_back(Step::Cut),
        Ending::Hang => plan.steps.push_back(Step::Hang),
        Ending::Error => {
            let bytes = scene.pen.error_event(&broke_down(), sent);
            plan.steps.push_back(Step::Send { bytes, tokens: 0 });
            let outcome = Outcome::Faulted(FaultKind::ErrorInStream);
            plan.steps.push_back(Step::Finish(outcome));
        }
    }
    plan
}

fn broke_down() -> Refusal {
    Refusal::new(500, "The server had an error while answering.")
}

fn broken_whole(scene: &Scene<'_>, chunks: usize, ending: &Ending) -> Plan {
    let wait = scene.pace.whole(scene.answer.usage.output_tokens);
    if matches!(ending, Ending::Error) {
        let body = scene.family.refusal_body(&broke_down(), scene.marks);
        return faulted(JSON, body, FaultKind::ErrorInStream).after(wait);
    }
    let body = Bytes::from(scene.pen.whole(scene.answer));
    let mut plan = Plan::open(200, JSON, wait);
    plan.headers
        .push(("content-length", body.len().to_string()));
    if chunks > 0 {
        plan.steps.push_back(Step::Send {
            bytes: body.slice(..body.len() / 2),
            tokens: 0,
        });
    }
    plan.steps.push_back(match ending {
        Ending::Hang => Step::Hang,
        Ending::Cut | Ending::Error => Step::Cut,
    });
    plan
}

fn truncated(scene: &Scene<'_>) -> Plan {
    let whole = if scene.streaming {
        let stream = scene.pen.stream(scene.answer);
        let spoken = stream.content.into_iter().find(|part| part.speaks);
        spoken.map(|part| part.bytes).unwrap_or_default()
    } else {
        Bytes::from(scene.pen.whole(scene.answer))
    };
    let half = whole.slice(..whole.len() / 2);
    faulted(form(scene), half, FaultKind::TruncatedJson)
}

fn done_at_once(scene: &Scene<'_>) -> Plan {
    let body = if scene.streaming {
        scene.pen.empty_stream(scene.answer)
    } else {
        Bytes::from(scene.pen.empty_whole(scene.answer))
    };
    faulted(form(scene), body, FaultKind::DoneAtOnce)
}
