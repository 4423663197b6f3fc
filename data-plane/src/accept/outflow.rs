//! What an HTTP/2 client is sent, given up where the client takes nothing.
//!
//! Owns: the bound on how long a frame waits for its stream's window. hyper asks a body for
//! no more while a client gives no window, and a body that nobody asks can neither see that
//! nor end: a task of its own does. Over HTTP/1.1 the socket is watched instead.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What bounds an answer.
#[derive(Clone)]
pub(super) struct Bounds {
    /// So long a frame may wait.
    pub(super) stall: Duration,
    /// Then it is asked what it still has to say.
    pub(super) ending: CancellationToken,
}

/// Waits for something, and asks for it once more when all ends.
pub(super) async fn asked_at<T>(ending: &CancellationToken, waited: impl Future<Output = T>) -> T {
    let mut waited = pin!(waited);
    tokio::select! {
        done = waited.as_mut() => return done,
        () = ending.cancelled() => {}
    }
    waited.await
}

/// What comes of a body; `None` says that it was all.
type Part = Option<Result<Frame<Bytes>, axum::Error>>;

/// The same body, dropped where nothing of it is taken for too long.
pub(super) fn bounded(mut body: Body, bounds: Bounds) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    let size = http_body::Body::size_hint(&body);
    let (sender, parts) = mpsc::channel::<Part>(1);
    tokio::spawn(async move {
        loop {
            let part = tokio::select! {
                part = asked_at(&bounds.ending, body.frame()) => part,
                () = sender.closed() => return,
            };
            let all = part.is_none();
            let taken = timeout(bounds.stall, sender.send(part)).await;
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
        let within = |ms| Bounds {
            stall: Duration::from_millis(ms),
            ending: CancellationToken::new(),
        };
        let whole = bounded(frames(20), within(60_000)).collect().await.unwrap();
        assert_eq!(whole.to_bytes().len(), 20);
        let mut given_up = bounded(frames(20), within(1));
        let mut ended = given_up.frame().await;
        while let Some(Ok(_)) = ended {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ended = given_up.frame().await;
        }
        assert!(ended.is_some_and(|part| part.is_err()));
    }
}
