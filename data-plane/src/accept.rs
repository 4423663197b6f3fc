//! The accept loop: everything a server must bound before it listens to anybody.
//!
//! Owns: sockets, first-byte, head and write-stall limits, the cap on connections,
//! clients that leave unseen, and the drain. `axum::serve` bounds none of these, so the
//! router only gets what came through here.

mod outflow;
mod socket;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use self::outflow::Bounds;
use self::socket::Socket;
use crate::config::Limits;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// What the kernel may hold of a response that its client does not read.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;
/// What hyper may hold of it.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
const STREAMS_MAX: u32 = 64;
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_WITHIN: Duration = Duration::from_secs(10);
/// After a failed accept (no file descriptors left): long enough to let some close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at a first line that has only partly come.
const PREFACE_PAUSE: Duration = Duration::from_millis(20);
/// How HTTP/2 begins with prior knowledge.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Binds a listener whose connections hold little that a client does not read.
///
/// # Errors
///
/// What the system says about the address.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How serving ends, step by step.
#[derive(Clone)]
pub(crate) struct End {
    /// Nothing more is taken in; what is under way may finish.
    pub(crate) shutdown: CancellationToken,
    /// The grace is over: whatever is asked for its next bytes now says so.
    pub(crate) ending: CancellationToken,
    /// Connections are closed.
    pub(crate) cut: CancellationToken,
}

impl End {
    /// For one connection, so that all of them do not wait at the same lock.
    fn of_connection(&self) -> Self {
        Self {
            shutdown: self.shutdown.child_token(),
            ending: self.ending.child_token(),
            cut: self.cut.child_token(),
        }
    }
}

/// Serves a router until its end.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: &Limits, end: End) {
    let room = Arc::new(Semaphore::new(
        limits.connections.min(Semaphore::MAX_PERMITS),
    ));
    let connections = TaskTracker::new();
    while let Some((stream, place)) = next(&listener, &room, &end.shutdown).await {
        let connection = Connection {
            router: router.clone(),
            header: limits.header,
            write_stall: limits.write_stall,
            end: end.of_connection(),
        };
        connections.spawn(async move {
            connection.serve(stream).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The next connection, when there is a place for it. `None` at shutdown.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accept = async {
        let place = Arc::clone(room).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, place)),
                Err(error) => {
                    // One broken handshake or a full table of files must not end the loop.
                    tracing::warn!(error = &error as &dyn std::error::Error, "accept failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        accepted = accept => accepted,
        () = shutdown.cancelled() => None,
    }
}

enum Version {
    Http1,
    Http2,
}

/// What one connection needs to be served.
struct Connection {
    router: Router,
    header: Duration,
    write_stall: Duration,
    end: End,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        // Tokens are small writes; waiting to join them is latency the caller sees.
        let _ = stream.set_nodelay(true);
        let version = tokio::select! {
            version = timeout(self.header, version(&stream, self.header)) => version,
            () = self.end.shutdown.cancelled() => return,
        };
        let Ok(Some(version)) = version else { return };
        let socket = Socket::new(stream, self.write_stall);
        let left = socket.watch().left();
        let router = self.router.clone();
        let bounds = matches!(version, Version::Http2).then(|| Bounds {
            stall: self.write_stall,
            ending: self.end.ending.clone(),
        });
        let service = service_fn(move |request| respond(router.clone(), request, bounds.clone()));
        let io = TokioIo::new(socket);
        match version {
            Version::Http1 => {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(self.header)
                    .max_buf_size(WRITE_BUFFER_BYTES)
                    .max_headers(HEADERS_MAX)
                    .serve_connection(io, service);
                self.drive(connection, http1::Connection::graceful_shutdown, left)
                    .await;
            }
            Version::Http2 => {
                let connection = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(STREAMS_MAX)
                    .max_header_list_size(HEADER_LIST_BYTES_MAX)
                    .initial_stream_window_size(STREAM_WINDOW_BYTES)
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                    .max_send_buf_size(WRITE_BUFFER_BYTES)
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PING_WITHIN)
                    .serve_connection(io, service);
                self.drive(connection, http2::Connection::graceful_shutdown, left)
                    .await;
            }
        }
    }

    /// Until the connection ends by itself, the client leaves or the grace is over.
    /// Dropping the connection drops its handlers and bodies, and they close their records.
    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        connection: C,
        shut_down: impl Fn(Pin<&mut C>),
        left: impl Future<Output = ()>,
    ) {
        let mut connection = pin!(connection);
        let mut left = pin!(left);
        let (mut draining, mut ending) = (false, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::trace!(error = &error as &dyn std::error::Error, "connection ended");
                    }
                    return;
                }
                () = left.as_mut() => return,
                () = self.end.cut.cancelled() => return,
                () = self.end.shutdown.cancelled(), if !draining => {
                    draining = true;
                    shut_down(connection.as_mut());
                }
                // It is asked once more for what it has to say.
                () = self.end.ending.cancelled(), if !ending => ending = true,
            }
        }
    }
}

/// `bounds`: where an answer has to see for itself that nobody takes it, or that all ends.
async fn respond(
    mut router: Router,
    request: Request<Incoming>,
    bounds: Option<Bounds>,
) -> Result<Response, Infallible> {
    let answering = router.call(request.map(Body::new));
    let Some(bounds) = bounds else {
        return answering.await;
    };
    let response = outflow::asked_at(&bounds.ending, answering).await?;
    Ok(response.map(|body| outflow::bounded(body, bounds)))
}

/// Looks at the first bytes without taking them. `None` where none came in time.
async fn version(stream: &TcpStream, within: Duration) -> Option<Version> {
    let deadline = Instant::now() + within;
    let mut bytes = [0u8; PREFACE.len()];
    loop {
        let count = timeout_at(deadline, stream.peek(&mut bytes))
            .await
            .ok()?
            .ok()?;
        match &bytes[..count] {
            [] => return None,
            seen if !PREFACE.starts_with(seen) => return Some(Version::Http1),
            seen if seen.len() == PREFACE.len() => return Some(Version::Http2),
            _ => sleep(PREFACE_PAUSE).await,
        }
    }
}
