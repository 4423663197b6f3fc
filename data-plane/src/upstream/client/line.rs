//! One HTTP/1.1 connection, driven by whoever waits for the answer.
//!
//! Owns: sending a request and reading its response, and giving the connection back where
//! another request can follow. hyper's client gives each connection a task of its own, and
//! each request and each chunk two hand-overs to it; here there are none. Knows no
//! TLS, names or retries.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::buf::Chain;
use bytes::{Buf as _, Bytes, BytesMut};
use http::{Request, Response};
use http_body::Frame;
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::Io;
use super::framing::{self, Framing, Head, Part};
use super::pool::Home;

/// A block that is read into; an answer's head and, mostly, its body.
const READ_BYTES: usize = 4 * 1024;
/// With less left of it a new one is begun.
const READ_BYTES_MIN: usize = 1024;
/// Where the provider fills blocks, they grow to this.
const READ_BYTES_MAX: usize = 64 * 1024;

/// A connection that serves one request at a time.
pub(super) struct Line {
    io: Io,
    /// Read and not yet taken.
    buffer: BytesMut,
    read: usize,
}

impl Line {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            buffer: BytesMut::new(),
            read: READ_BYTES,
        }
    }

    /// Whether it can take a request: nothing came that nobody asked for, not its end either.
    pub(super) fn is_free(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.buffer.is_empty() && self.poll_fill(&mut cx).is_pending()
    }

    /// Reads some more; 0 at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES_MIN {
            self.buffer.reserve(self.read);
        }
        let count = ready!(poll_read_buf(Pin::new(&mut self.io), cx, &mut self.buffer))?;
        if self.buffer.len() == self.buffer.capacity() {
            self.read = (self.read * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(count))
    }

    /// Sends a request; the response comes when its head is there.
    pub(super) async fn send(
        self: Box<Self>,
        request: Request<Bytes>,
        home: Home,
    ) -> io::Result<Response<Body>> {
        let head = framing::request_head(&request);
        let mut sending = Sending {
            line: self,
            left: head.chain(request.into_body()),
            refused: None,
        };
        let head = std::future::poll_fn(|cx| sending.poll_head(cx)).await?;
        let whole = !sending.left.has_remaining() && sending.refused.is_none();
        let mut body = Body {
            home: (head.stays && whole).then_some(home),
            line: Some(sending.line),
            framing: head.framing,
        };
        body.ends();
        Ok(head.response.map(|()| body))
    }
}

/// A request on its way.
struct Sending {
    line: Box<Line>,
    left: Chain<Bytes, Bytes>,
    /// The provider takes no more. It may have answered already.
    refused: Option<io::Error>,
}

impl Sending {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Head>> {
        self.poll_write(cx);
        loop {
            if let Some(head) = framing::response_head(&mut self.line.buffer)? {
                return Poll::Ready(Ok(head));
            }
            if ready!(self.line.poll_fill(cx))? == 0 {
                let broken = || ErrorKind::UnexpectedEof.into();
                return Poll::Ready(Err(self.refused.take().unwrap_or_else(broken)));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) {
        while self.left.has_remaining() && self.refused.is_none() {
            let io = Pin::new(&mut self.line.io);
            match poll_write_buf(io, cx, &mut self.left) {
                Poll::Ready(Ok(0)) => self.refused = Some(ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => self.refused = Some(error),
                Poll::Pending => return,
            }
        }
    }
}

/// A response's body. Dropped before its end, the connection is closed, and the provider
/// knows that nobody waits any more.
pub(crate) struct Body {
    /// `None` once the body is over.
    line: Option<Box<Line>>,
    framing: Framing,
    /// Where the connection goes then; `None` where it cannot be used again.
    home: Option<Home>,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.get_mut().poll(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.line.is_none()
    }
}

impl Body {
    /// The next bytes; `None` at the end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let Some(line) = &mut self.line else {
                return Poll::Ready(None);
            };
            match self.framing.next(&mut line.buffer) {
                Ok(Part::Data(data)) => {
                    self.ends();
                    return Poll::Ready(Some(Ok(data)));
                }
                Ok(Part::Over) => self.ends(),
                Ok(Part::More) => match ready!(line.poll_fill(cx)) {
                    Ok(0) if self.framing == Framing::UntilClosed => self.line = None,
                    Ok(0) => return self.breaks(ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(error) => return self.breaks(error),
                },
                Err(error) => return self.breaks(error),
            }
        }
    }

    fn breaks(&mut self, error: io::Error) -> Poll<Option<io::Result<Bytes>>> {
        self.line = None;
        Poll::Ready(Some(Err(error)))
    }

    /// Gives the connection back where the body is over.
    fn ends(&mut self) {
        if !self.framing.is_over() {
            return;
        }
        if let (Some(line), Some(home)) = (self.line.take(), self.home.take()) {
            home.put(line);
        }
    }
}
