//! A client's socket, watched.
//!
//! Owns: cutting off a client that takes nothing, and noticing one that left although
//! unread bytes wait on the socket, which hyper does not see. Knows no HTTP.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How often a connection is asked whether its client is still there: half of what is
/// promised for closing the upstream.
const WATCH_EVERY: Duration = Duration::from_millis(250);

pub(super) struct Socket {
    read: Arc<OwnedReadHalf>,
    write: OwnedWriteHalf,
    stall: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Asks a socket whether its client left.
pub(super) struct Watch(Arc<OwnedReadHalf>);

impl Socket {
    pub(super) fn new(stream: TcpStream, stall: Duration) -> Self {
        let (read, write) = stream.into_split();
        Self {
            read: Arc::new(read),
            write,
            stall,
            stalled: None,
        }
    }

    pub(super) fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.read))
    }

    fn stream(&self) -> &TcpStream {
        (*self.read).as_ref()
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
        let stream = self.stream();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Socket {
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
        let this = self.get_mut();
        let written = Pin::new(&mut this.write).poll_write(cx, bytes);
        this.watch_stall(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.write).poll_write_vectored(cx, slices);
        this.watch_stall(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().write).poll_shutdown(cx)
    }
}
