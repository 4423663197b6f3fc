//! Relaying an answer that has begun.
//!
//! Owns: the response after the commit point: frames as they come, as fast as the
//! client takes them and no faster, in the words of the caller's dialect; the typed error
//! where a stream breaks; when the record closes. After content has gone out nothing is ever tried again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use http_body::{Frame as BodyFrame, SizeHint};
use spillway_routing::dialect::Dialect;
use spillway_routing::outcome::Ending;
use tokio::time::timeout;

use crate::chat::Chat;
use crate::dialect::event::Stamp;
use crate::dialect::kept::Marker;
use crate::dialect::sse::Frame;
use crate::dialect::{self, ErrorParts, Framing, Meaning, Speaker};
use crate::health::{Event, Permit};
use crate::ledger::Entry;
use crate::upstream::{Committed, Reader, Reply};

/// Below so many tokens the pace of a stream is mostly noise.
const PACED_TOKENS_MIN: u32 = 8;

/// A comment, which parsers of events pass over.
const HEARTBEAT: Bytes = Bytes::from_static(b": waiting for the provider\n\n");

/// Makes the response. Its body closes the record: whole, cut, or dropped by the client.
pub(crate) fn relay(reply: Reply, chat: &Chat, heartbeat: Duration) -> Response {
    let Reply {
        committed,
        permit,
        mut entry,
        began,
        dice,
        dialect,
        kept_by,
    } = reply;
    let own = chat.dialect();
    let mut marker = kept_by.map(Marker::new);
    match committed {
        Committed::Whole { body, answer } => {
            entry.adds_content(answer.content);
            entry.reports(answer.reported);
            entry.head_goes_out();
            let body = if dialect == own {
                match &mut marker {
                    Some(marker) => marker.mark(body),
                    None => body,
                }
            } else {
                let said = dialect::said(dialect, &body);
                dialect::whole(own, &said, &answer.reported, &entry.stamp(chat))
            };
            whole(body, entry, permit)
        }
        Committed::Told {
            said,
            reported,
            content,
        } => {
            entry.adds_content(content);
            entry.reports(reported);
            entry.head_goes_out();
            let body = dialect::whole(own, &said, &reported, &entry.stamp(chat));
            whole(body, entry, permit)
        }
        Committed::Stream { held, reader } => {
            entry.head_goes_out();
            let headers = entry.headers();
            let framed = chat.asking.framed;
            let interpreter = (dialect != own || !framed).then(|| Interpreter {
                speaker: Speaker::new(own),
                stamp: entry.stamp(chat),
            });
            let relay = Relay {
                held: held.into(),
                reader: Some(reader),
                entry,
                permit,
                began,
                dice,
                wants_usage: chat.wants_usage,
                own,
                framed,
                told: false,
                interpreter,
                marker,
                finished: false,
                last_content: began,
                heartbeat: takes_comments(own).then_some(heartbeat),
            };
            relay.respond(headers)
        }
    }
}

fn whole(body: Bytes, entry: Entry, permit: Permit) -> Response {
    let headers = entry.headers();
    let body = Whole {
        bytes: Some(body),
        entry,
        _permit: permit,
    };
    respond(Body::new(body), "application/json", headers)
}

fn respond(body: Body, kind: &'static str, headers: http::HeaderMap) -> Response {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An answer in one piece. Taken, it is answered; dropped before, the client has left.
struct Whole {
    bytes: Option<Bytes>,
    entry: Entry,
    _permit: Permit,
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let Some(bytes) = this.bytes.take() else {
            return Poll::Ready(None);
        };
        this.entry.finish(Ending::Answered, 200);
        Poll::Ready(Some(Ok(BodyFrame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// Says a stream in the caller's dialect where the provider speaks another.
struct Interpreter {
    speaker: Speaker,
    stamp: Stamp,
}

/// A stream under way.
struct Relay {
    /// Read before the commit.
    held: VecDeque<(Frame, Meaning)>,
    /// `None` once nothing follows.
    reader: Option<Reader>,
    entry: Entry,
    permit: Permit,
    began: Instant,
    dice: u64,
    wants_usage: bool,
    /// What the caller speaks.
    own: Dialect,
    framed: bool,
    /// Something has gone out.
    told: bool,
    interpreter: Option<Interpreter>,
    /// Marks the ids of what the provider keeps.
    marker: Option<Marker>,
    /// The answer had its end; only accounting may be missing.
    finished: bool,
    last_content: Instant,
    /// After so long a silence the client hears that it is still served.
    heartbeat: Option<Duration>,
}

/// Google's SDKs read every line as JSON.
fn takes_comments(own: Dialect) -> bool {
    own != Dialect::GeminiGenerate
}

impl Relay {
    fn respond(self, headers: http::HeaderMap) -> Response {
        let framed = self.framed;
        let frames = futures::stream::unfold(self, |mut relay| async move {
            let bytes = relay.next().await?;
            Some((Ok::<_, Infallible>(bytes), relay))
        });
        let kind = if framed {
            "text/event-stream"
        } else {
            "application/json"
        };
        let mut response = respond(Body::from_stream(frames), kind, headers);
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Buffering reverse proxies would hold the tokens back.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    /// The next bytes for the client; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let next = match self.held.pop_front() {
                Some(held) => Some(Ok(Some(held))),
                None => {
                    let next = self.entry.until_cut(self.reader.as_mut()?.next());
                    match self.heartbeat {
                        None => next.await,
                        Some(heartbeat) => match timeout(heartbeat, next).await {
                            Ok(next) => next,
                            Err(_) => return Some(HEARTBEAT),
                        },
                    }
                }
            };
            let Some(next) = next else {
                return Some(self.says_last("the proxy is shutting down"));
            };
            match next {
                Ok(Some((frame, meaning))) => {
                    if let Some(bytes) = self.pass(frame, meaning) {
                        self.told = true;
                        return Some(bytes);
                    }
                }
                Ok(None) if self.finished => return self.ends(),
                Ok(None) => return Some(self.breaks("the provider ended the stream too early")),
                // The text is whole; only the accounting is not.
                Err(_) if self.finished => return self.ends(),
                Err(broken) => {
                    tracing::debug!(error = &broken as &dyn std::error::Error, "stream broke");
                    return Some(self.breaks("the provider's stream broke off"));
                }
            }
        }
    }

    /// One frame: accounts for it, and says what of it goes out.
    fn pass(&mut self, frame: Frame, meaning: Meaning) -> Option<Bytes> {
        self.entry.adds_content(meaning.content);
        self.entry.reports(meaning.reported);
        self.finished |= meaning.finished;
        if meaning.content > 0 {
            self.last_content = Instant::now();
        }
        if meaning.error.is_some() {
            return Some(self.reports(frame));
        }
        let said = match &mut self.interpreter {
            Some(Interpreter { speaker, stamp }) => {
                let said = speaker.say(meaning.events, stamp);
                (!said.is_empty()).then(|| Bytes::from(said))
            }
            None => (self.wants_usage || !meaning.only_usage).then(|| match &mut self.marker {
                Some(marker) => marker.mark_frame(frame),
                None => frame.0,
            }),
        };
        // Some hosts send no finish reason: `[DONE]` is an end of its own.
        if !meaning.done {
            return said;
        }
        match (said, self.ends()) {
            (Some(said), Some(end)) => Some(Bytes::from([said, end].concat())),
            (said, end) => said.or(end),
        }
    }

    /// The end of an answer; its last bytes where the proxy speaks it.
    fn ends(&mut self) -> Option<Bytes> {
        let tokens = self.entry.output_tokens();
        if tokens >= PACED_TOKENS_MIN {
            let writing = self.last_content.saturating_duration_since(self.began);
            self.permit
                .per_token(writing / (tokens - 1), Instant::now());
        }
        let reported = self.entry.reported();
        self.entry.finish(Ending::Answered, 200);
        if let Some(reader) = self.reader.take() {
            reader.release();
        }
        let Interpreter { speaker, stamp } = self.interpreter.as_mut()?;
        Some(Bytes::from(speaker.end(&reported, stamp)))
    }

    /// The provider's own error: as it is, or its message in the caller's form.
    fn reports(&mut self, frame: Frame) -> Bytes {
        if self.interpreter.is_none() {
            self.fails();
            return match &mut self.marker {
                Some(marker) => marker.mark_frame(frame),
                None => frame.0,
            };
        }
        let data = frame.data().unwrap_or_default();
        let message = dialect::error_message(&data);
        self.breaks(message.as_deref().unwrap_or("the provider failed"))
    }

    fn fails(&mut self) {
        self.permit.report(Event::Failed, Instant::now(), self.dice);
        self.stops();
    }

    fn stops(&mut self) {
        self.entry.finish(Ending::Cut, 200);
        self.reader = None;
        self.held.clear();
    }

    /// Ends with an error the client's SDK raises, and without a normal end.
    fn breaks(&mut self, message: &str) -> Bytes {
        self.fails();
        self.says_last(message)
    }

    fn says_last(&mut self, message: &str) -> Bytes {
        self.stops();
        let parts = ErrorParts {
            status: http::StatusCode::BAD_GATEWAY,
            message,
            kind: "upstream_error",
            param: None,
            code: "stream_cut",
            details: None,
        };
        let framing = if self.framed {
            Framing::Events
        } else {
            Framing::Array { begun: self.told }
        };
        dialect::error_frame(self.own, &parts, framing)
    }
}
