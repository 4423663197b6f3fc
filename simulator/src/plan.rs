//! What one attempt will do on the wire, decided before anything is sent.
//!
//! Owns: how answers and faults look as status, headers, bytes, waits and cuts. It is
//! pure: `exchange` walks the steps and has no choices left. It must not know
//! providers, scripts or how an answer came about.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::ledger::Outcome;
use crate::openai::{Ask, Stamp, choice, error_body, event};
use crate::script::{Fault, FaultKind, Pace, RetryAfter, WAIT_MAX};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream; charset=utf-8";
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
    pub(crate) ask: &'a Ask,
    pub(crate) answer: &'a Answer,
    pub(crate) pace: Pace,
    pub(crate) stamp: Stamp,
    pub(crate) call_id: String,
}

impl Plan {
    /// A refusal, at once.
    pub(crate) fn refused(status: u16, body: String) -> Self {
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
        } => status(*code, *retry_after, body.as_deref()),
        Fault::HangBeforeHeaders => Plan::never(Opening::Hang),
        Fault::Reset => Plan::never(Opening::Reset),
        Fault::HangAfterHeaders => broken(scene, 0, &Ending::Hang),
        Fault::HangAfter { content_chunks } => broken(scene, *content_chunks, &Ending::Hang),
        Fault::CutBeforeContent => broken(scene, 0, &Ending::Cut),
        Fault::CutAfter { content_chunks } => broken(scene, *content_chunks, &Ending::Cut),
        Fault::ErrorInStream { content_chunks } => broken(scene, *content_chunks, &Ending::Error),
        Fault::Garbage => faulted(HTML, PAGE, FaultKind::Garbage).after(first),
        Fault::EmptyBody => {
            faulted(form(scene.ask), Bytes::new(), FaultKind::EmptyBody).after(first)
        }
        Fault::TruncatedJson => truncated(scene).after(first),
        Fault::DoneAtOnce => done_at_once(scene).after(first),
    }
}

fn form(ask: &Ask) -> &'static str {
    if ask.streaming { EVENTS } else { JSON }
}

fn faulted(content_type: &str, body: impl Into<Bytes>, kind: FaultKind) -> Plan {
    Plan::whole(200, content_type, body, Outcome::Faulted(kind), 0)
}

fn status(code: u16, retry_after: Option<RetryAfter>, body: Option<&str>) -> Plan {
    let body = body.map_or_else(
        || error_body(code, "The simulator was told to refuse this.", None),
        str::to_owned,
    );
    let mut plan = Plan::refused(code, body);
    match retry_after {
        Some(RetryAfter::Seconds(seconds)) => {
            plan.headers.push(("retry-after", seconds.to_string()));
        }
        Some(RetryAfter::Millis(millis)) => {
            plan.headers.push(("retry-after-ms", millis.to_string()));
        }
        None => {}
    }
    plan
}

fn healthy(scene: &Scene<'_>) -> Plan {
    if !scene.ask.streaming {
        let tokens = scene.answer.usage.output_tokens;
        let body = completion(scene);
        return Plan::whole(200, JSON, body, Outcome::Answered, tokens).after(whole_wait(scene));
    }
    let mut plan = stream_opening(scene);
    plan.steps.extend(content(scene, usize::MAX));
    let stamp = &scene.stamp;
    let mut tail = vec![stamp.finish_chunk(scene.answer.finish_reason)];
    if scene.ask.include_usage {
        tail.push(stamp.usage_chunk(scene.answer.usage));
    }
    tail.push(event("[DONE]"));
    plan.steps.extend(
        tail.into_iter()
            .map(|bytes| Step::Send { bytes, tokens: 0 }),
    );
    plan.steps.push_back(Step::Finish(Outcome::Answered));
    plan
}

/// Headers come after half the time to the first token, with the role-only chunk.
fn stream_opening(scene: &Scene<'_>) -> Plan {
    let half = scene.pace.first_token / 2;
    let mut plan = Plan::open(200, EVENTS, half);
    plan.steps.push_back(Step::Send {
        bytes: scene.stamp.role_chunk(),
        tokens: 0,
    });
    plan.steps
        .push_back(Step::Wait(scene.pace.first_token - half));
    plan
}

/// The first `chunks` content chunks, with the time each takes to write.
fn content(scene: &Scene<'_>, chunks: usize) -> Vec<Step> {
    let stamp = &scene.stamp;
    let mut sends = Vec::new();
    if let Some(name) = &scene.answer.tool {
        sends.push((stamp.tool_head_chunk(&scene.call_id, name), 0));
    }
    for piece in &scene.answer.pieces {
        let bytes = if scene.answer.tool.is_some() {
            stamp.tool_arguments_chunk(&piece.text)
        } else {
            stamp.text_chunk(&piece.text)
        };
        sends.push((bytes, piece.tokens));
    }
    let mut steps = Vec::new();
    for (index, (bytes, tokens)) in sends.into_iter().take(chunks).enumerate() {
        let wait = write_wait(scene.pace, tokens);
        if index > 0 && !wait.is_zero() {
            steps.push(Step::Wait(wait));
        }
        steps.push(Step::Send { bytes, tokens });
    }
    steps
}

fn write_wait(pace: Pace, tokens: u64) -> Duration {
    let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
    pace.per_token.saturating_mul(tokens).min(WAIT_MAX)
}

fn whole_wait(scene: &Scene<'_>) -> Duration {
    let writing = write_wait(scene.pace, scene.answer.usage.output_tokens);
    (scene.pace.first_token + writing).min(WAIT_MAX)
}

/// An answer that begins well and does not end so.
fn broken(scene: &Scene<'_>, chunks: usize, ending: &Ending) -> Plan {
    if !scene.ask.streaming {
        return broken_whole(scene, chunks, ending);
    }
    let mut plan = stream_opening(scene);
    plan.steps.extend(content(scene, chunks));
    match ending {
        Ending::Cut => plan.steps.push_back(Step::Cut),
        Ending::Hang => plan.steps.push_back(Step::Hang),
        Ending::Error => {
            let body = error_body(500, "The server had an error while answering.", None);
            plan.steps.push_back(Step::Send {
                bytes: event(&body),
                tokens: 0,
            });
            let outcome = Outcome::Faulted(FaultKind::ErrorInStream);
            plan.steps.push_back(Step::Finish(outcome));
        }
    }
    plan
}

fn broken_whole(scene: &Scene<'_>, chunks: usize, ending: &Ending) -> Plan {
    let wait = whole_wait(scene);
    if matches!(ending, Ending::Error) {
        let body = error_body(500, "The server had an error while answering.", None);
        return faulted(JSON, body, FaultKind::ErrorInStream).after(wait);
    }
    let body = Bytes::from(completion(scene));
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
    let whole = if scene.ask.streaming {
        scene.stamp.text_chunk("a sentence that will not be")
    } else {
        Bytes::from(completion(scene))
    };
    let half = whole.slice(..whole.len() / 2);
    faulted(form(scene.ask), half, FaultKind::TruncatedJson)
}

fn done_at_once(scene: &Scene<'_>) -> Plan {
    let body = if scene.ask.streaming {
        event("[DONE]")
    } else {
        Bytes::from(scene.stamp.completion(&json!([]), scene.answer.usage))
    };
    faulted(form(scene.ask), body, FaultKind::DoneAtOnce)
}

fn completion(scene: &Scene<'_>) -> String {
    let Answer {
        pieces,
        tool,
        usage,
        finish_reason,
        ..
    } = scene.answer;
    let text: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
    let choices = match tool {
        Some(name) => {
            let function = json!({"name": name, "arguments": text});
            let calls = json!([{"id": scene.call_id, "type": "function", "function": function}]);
            choice(None, &calls, finish_reason)
        }
        None => choice(Some(&text), &Value::Null, finish_reason),
    };
    scene.stamp.completion(&choices, *usage)
}
