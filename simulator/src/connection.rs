//! One client connection: HTTP/1.1 with keep-alive, and the two ways to break it.
//!
//! Owns: the socket. It must not know what is asked or answered on it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::exchange::{self, Severed, Stage};

/// A connection that sends no request head for this long is closed.
const HEADER_WAIT_MAX: Duration = Duration::from_secs(120);

/// Serves one connection until it ends.
pub(crate) async fn serve(stage: Arc<Stage>, stream: TcpStream) {
    // Small events must leave at once; where that fails they only leave later.
    let _ = stream.set_nodelay(true);
    let stopping = stage.stopping.clone();
    let service = service_fn(move |request| {
        let stage = Arc::clone(&stage);
        async move { exchange::handle(&stage, request).await }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut told = false;
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            () = stopping.cancelled(), if !told => {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    if ended.is_err_and(|error| is_reset(&error)) {
        // With a linger of zero, closing sends RST in place of FIN.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    cause == Some(&Severed::Reset)
}
