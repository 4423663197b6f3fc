//! One call to one lane, up to the commit point.
//!
//! Owns: sending, reading the head, holding a stream back until its first real content,
//! and judging what came instead. It neither chooses lanes nor records anything.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use spillway_routing::dialect::Dialect;
use spillway_routing::outcome::AttemptResult;
use tokio::time::timeout_at;

use super::access::Access;
use super::client::{self, Clients};
use super::reader::{Broken, Reader, begun, rest};
use super::retry::{Class, Miss, retry_after};
use crate::dialect::event::Said;
use crate::dialect::sse::Frame;
use crate::dialect::{self, Answer, Blame, Ear, Meaning, Reported, Unframed, WireRequest};
use crate::failure::Passed;
use crate::ledger::Sent;

/// Frames without content that are held back before the stream counts as begun. Some
/// preambles repeat the request's instructions and tools, twice.
const HELD_BYTES_MAX: usize = 4 << 20;
/// An error's body is read so far, and so long.
const ERROR_BYTES_MAX: usize = 64 * 1024;
const ERROR_WITHIN: Duration = Duration::from_secs(5);
/// What of a provider's refusal reaches the caller, beside the body.
const PASSED_HEADERS: [&str; 3] = ["content-type", "x-request-id", "x-should-retry"];
/// Names the proxies a request came through, so that a loop ends.
pub(crate) const VIA: &str = "x-spillway-via";
/// What this proxy calls itself.
pub(super) const AGENT: &str = concat!("spillway/", env!("CARGO_PKG_VERSION"));

const ANTHROPIC_VERSION: &str = "anthropic-version";
const API_REVISION: &str = "api-revision";

/// Where a call goes.
pub(super) struct Target<'a> {
    pub(super) access: Access<'a>,
    pub(super) via: HeaderValue,
    pub(super) dialect: Dialect,
    /// Of the caller's headers, those that belong to the dialect.
    pub(super) passed: &'a HeaderMap,
    /// The caller speaks another dialect.
    pub(super) translating: bool,
}

/// Bounds of a call.
pub(super) struct Bounds {
    /// First content must have come by then.
    pub(super) give_up: Instant,
    /// A whole answer must have come to its end by then.
    pub(super) whole_by: Instant,
    pub(super) idle: Duration,
    pub(super) answer_bytes: usize,
}

/// An answer that has begun.
pub(crate) enum Committed {
    Whole {
        body: Bytes,
        answer: Answer,
    },
    Stream {
        held: Vec<(Frame, Meaning)>,
        reader: Reader,
    },
    /// A whole answer that came as a stream.
    Told {
        said: Said,
        reported: Reported,
        content: u32,
    },
}

pub(super) async fn attempt(
    clients: &Clients,
    target: &Target<'_>,
    wire: WireRequest,
    stream: bool,
    bounds: &Bounds,
    sent: &Sent,
) -> Result<Committed, Miss> {
    let asked = timeout_at(bounds.give_up.into(), request(target, wire, stream)).await;
    let request = asked.map_err(|_| unsent("no keys in time"))??;
    // Whoever drops this future halfway must still know whether anything was sent.
    let sending = clients.send(request, target.access.allow_private, || sent.set());
    let answer = match timeout_at(bounds.give_up.into(), sending).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(client::Error::Unconnected(_))) => return Err(unsent("not reached")),
        Ok(Err(client::Error::Broken(_))) => {
            return Err(Miss::new(
                Class::Unknown,
                AttemptResult::Failed,
                "no response",
            ));
        }
        Err(_) if !sent.is_set() => return Err(unsent("not reached in time")),
        Err(_) => return Err(too_late()),
    };
    let status = answer.status().as_u16();
    let committed = judge(answer, target, stream, bounds).await;
    committed.map_err(|miss| Miss {
        status: Some(miss.status.unwrap_or(status)),
        ..miss
    })
}

fn too_late() -> Miss {
    Miss::late("no content in time")
}

fn garbled() -> Miss {
    Miss::new(Class::Unknown, AttemptResult::Failed, "the answer is none")
}

fn broken(broken: &Broken) -> Miss {
    match broken {
        Broken::Silent => too_late(),
        Broken::Reset(_) => Miss::new(
            Class::Unknown,
            AttemptResult::Failed,
            "the answer broke off",
        ),
        Broken::Unframed(Unframed::Garbled) => garbled(),
        Broken::Unframed(Unframed::TooLong(_)) | Broken::TooLarge => Miss::new(
            Class::Unknown,
            AttemptResult::Failed,
            "the answer is too large",
        ),
    }
}

/// Nothing was sent, and it may be another time.
fn unsent(cause: &'static str) -> Miss {
    Miss::new(Class::Unsent, AttemptResult::Unreachable, cause)
}

/// Nothing could be sent.
fn unready(cause: &'static str) -> Miss {
    Miss::new(Class::Misconfigured, AttemptResult::Unreachable, cause)
}

async fn request(
    target: &Target<'_>,
    wire: WireRequest,
    stream: bool,
) -> Result<Request<Bytes>, Miss> {
    let uri: Uri = format!("{}{}", target.access.base_url, wire.path)
        .parse()
        .map_err(|_| unready("the base URL is wrong"))?;
    let accept = if stream {
        dialect::stream_type(target.dialect)
    } else {
        "application/json"
    };
    let shown = target.access.headers(&uri, &wire.body).await;
    let shown = shown.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "not signed");
        unsent("not signed")
    })?;
    let mut request = Request::new(wire.body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    // Exactly these: nothing else of the caller's headers travels on.
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(HeaderName::from_static(VIA), target.via.clone());
    headers.extend(target.passed.clone());
    if target.dialect == Dialect::AnthropicMessages && !headers.contains_key(ANTHROPIC_VERSION) {
        headers.insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
    }
    if target.dialect == Dialect::GeminiInteractions && !headers.contains_key(API_REVISION) {
        headers.insert(API_REVISION, HeaderValue::from_static("2026-05-20"));
    }
    headers.extend(shown);
    Ok(request)
}

async fn judge(
    answer: client::Answer,
    target: &Target<'_>,
    stream: bool,
    bounds: &Bounds,
) -> Result<Committed, Miss> {
    let dialect = target.dialect;
    if answer.status() != http::StatusCode::OK {
        return Err(refusal(answer, target).await);
    }
    let kind = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    let streams =
        kind.is_none_or(|kind| kind.starts_with(dialect::stream_type(dialect).as_bytes()));
    let encoded = answer
        .headers()
        .get(header::CONTENT_ENCODING)
        .is_some_and(|e| e != "identity");
    let body = answer.into_body();
    if encoded || (stream && !streams) {
        return Err(garbled());
    }
    if stream {
        let ear = Ear::new(dialect, target.translating);
        hold_back(Reader::new(body, ear, bounds.idle), dialect, bounds).await
    } else {
        whole(body, dialect, bounds).await
    }
}

/// Reads an error and says whom it blames.
async fn refusal(answer: client::Answer, target: &Target<'_>) -> Miss {
    let dialect = target.dialect;
    let (head, mut body) = answer.into_parts();
    let reading = rest(Bytes::new(), &mut body, ERROR_WITHIN, ERROR_BYTES_MAX);
    let body = tokio::time::timeout(ERROR_WITHIN, reading).await;
    let body = body.ok().and_then(Result::ok).unwrap_or_default();
    let blame = dialect::blame(dialect, head.status, &body);
    let mut miss = Miss::blamed(blame, Some(head.status.as_u16()));
    miss.retry_after = retry_after(&head.headers);
    let callers = blame == Blame::Request || blame == Blame::Elsewhere || target.access.own_key;
    if callers && head.status.is_client_error() {
        let mut headers = HeaderMap::new();
        for name in PASSED_HEADERS {
            if let Some(value) = head.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
        let passed = Passed {
            headers,
            body,
            dialect,
        };
        miss.passed = Some(Box::new((head.status, passed)));
    }
    miss
}

/// A whole answer must be one before any of it is passed on.
async fn whole(
    mut body: client::Body,
    dialect: Dialect,
    bounds: &Bounds,
) -> Result<Committed, Miss> {
    let first = timeout_at(bounds.give_up.into(), begun(&mut body, bounds.idle)).await;
    let first = first
        .map_err(|_| too_late())?
        .map_err(|e| broken(&e))?
        .ok_or_else(garbled)?;
    let rest = rest(first, &mut body, bounds.idle, bounds.answer_bytes);
    let body = timeout_at(bounds.whole_by.into(), rest).await;
    let body = body.map_err(|_| too_late())?.map_err(|e| broken(&e))?;
    let answer = dialect::answer(dialect, &body).map_err(|_| garbled())?;
    Ok(Committed::Whole { body, answer })
}

/// Until the first real content every failure can still be hidden.
async fn hold_back(
    mut reader: Reader,
    dialect: Dialect,
    bounds: &Bounds,
) -> Result<Committed, Miss> {
    let mut held = Vec::new();
    let mut bytes = 0;
    loop {
        let next = timeout_at(bounds.give_up.into(), reader.next())
            .await
            .map_err(|_| too_late())?;
        let Some((frame, meaning)) = next.map_err(|e| broken(&e))? else {
            return Err(garbled());
        };
        if let Some(blame) = meaning.error {
            return Err(streamed_error(blame, &frame, dialect));
        }
        // An end before any content is none, but for an answer that says it has none.
        if meaning.done && !meaning.finished {
            return Err(garbled());
        }
        bytes += frame.0.len();
        let begun = meaning.content > 0 || meaning.finished || bytes > HELD_BYTES_MAX;
        held.push((frame, meaning));
        if begun {
            return Ok(Committed::Stream { held, reader });
        }
    }
}

fn streamed_error(blame: Blame, frame: &Frame, dialect: Dialect) -> Miss {
    let mut miss = Miss::blamed(blame, None);
    if blame == Blame::Request {
        let body = frame
            .data()
            .map(|data| Bytes::copy_from_slice(&data))
            .unwrap_or_default();
        let passed = Passed {
            body,
            dialect,
            ..Passed::default()
        };
        miss.passed = Some(Box::new((http::StatusCode::BAD_REQUEST, passed)));
    }
    miss
}

#[cfg(test)]
mod tests;
