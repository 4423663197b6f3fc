//! What an HTTP/2 client is sent, given up where the client takes nothing.
//!
//! Owns: the bound on how long a frame waits for its stream's window. hyper asks a body for
//! no more while a client gives no window, and a body that nobody asks can neither see that
//! nor end: a task of its own does. Over HTTP/1.1 the socket is watched instead.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

/// What comes of a body; `None` says that it was all.
type Part = Option<Result<Frame<Bytes>, axum::Error>>;

/// The same body, dropped where nothing of it is taken for so long.
pub(super) fn bounded(mut body: Body, stall: Duration) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    let size = http_body::Body::size_hint(&body);
    let (sender, parts) = mpsc::channel::<Part>(1);
    tokio::spawn(async move {
        loop {
            let part = tokio::select! {
                part = body.frame() => part,
                () = sender.closed() => return,
            };
            let all = part.is_none();
            let taken = timeout(stall, sender.send(part)).await;
            if all || !matches!(taken, Ok(Ok(()))) {
                return;
            }
        }
    });
    Body::new(Outflow { parts, size })
}

struct Outflow {
    parts: Receiver<Part>,
    size: SizeHint,
}

impl http_body::Body for Outflow {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let given_up = || {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the client took nothing");
            Some(Err(axum::Error::new(error)))
        };
        let part = ready!(self.get_mut().parts.poll_recv(cx));
        Poll::Ready(part.unwrap_or_else(given_up))
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(count: usize) -> Body {
        let frames = (0..count).map(|_| Ok::<_, io::Error>(Bytes::from_static(b"x")));
        Body::from_stream(futures::stream::iter(frames))
    }

    #[tokio::test]
    async fn what_is_taken_comes_whole_and_what_was_given_up_is_no_end() {
        let stall = Duration::from_secs(60);
        let whole = bounded(frames(20), stall).collect().await.unwrap();
        assert_eq!(whole.to_bytes().len(), 20);
        let mut given_up = bounded(frames(20), Duration::from_millis(1));
        while given_up.frame().await.is_none_or(|part| part.is_ok()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
