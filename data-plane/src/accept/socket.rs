//! A client's socket, watched.
//!
//! Owns: cutting off a client that takes nothing, and noticing one that left although
//! unread bytes wait on the socket, which hyper does not see. Knows no HTTP.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How often a connection is asked whether its client is still there: half of what is
/// promised for closing the upstream.
const WATCH_EVERY: Duration = Duration::from_millis(250);

pub(super) struct Socket {
    read: OwnedReadHalf,
    /// Shared with the watch: writing needs no more than a reference.
    write: Arc<OwnedWriteHalf>,
    stall: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Asks a socket whether its client left.
pub(super) struct Watch(Arc<OwnedWriteHalf>);

impl Socket {
    pub(super) fn new(stream: TcpStream, stall: Duration) -> Self {
        let (read, write) = stream.into_split();
        Self {
            read,
            write: Arc::new(write),
            stall,
            stalled: None,
        }
    }

    pub(super) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.write))
    }
}

impl Watch {
    /// Returns when the client has closed its side.
    pub(super) async fn left(self) {
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            // Ready at once while unread bytes wait, and pending while nothing does: the
            // closed bit is set either way when the end has arrived.
            let state =
                tokio::time::timeout(Duration::ZERO, self.0.ready(Interest::READABLE)).await;
            if let Ok(Ok(state)) = state
                && state.is_read_closed()
            {
                return;
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().read).poll_read(cx, buffer)
    }
}

impl Socket {
    /// Writes as soon as the socket takes something.
    fn poll_some(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let written = loop {
            let stream = (*self.write).as_ref();
            match stream.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
            match write(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => break Poll::Ready(written),
            }
        };
        self.watch_stall(cx, written)
    }

    /// While writing waits, the clock of the stall runs.
    fn watch_stall<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall)));
        if timer.as_mut().poll(cx).is_ready() {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing");
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_some(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_some(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream: &TcpStream = (*self.write).as_ref();
        Poll::Ready(SockRef::from(stream).shutdown(Shutdown::Write))
    }
}
