//! The connection pool towards providers.
//!
//! Owns: where a request may go (hosts from the configuration only, addresses checked
//! when connecting), TLS, and that nothing is followed: no redirect, no proxy variable.
//! Knows nothing of lanes or dialects.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::{Client, Error, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use crate::config::is_private;

/// Idle connections kept per host: a burst's worth.
const IDLE_PER_HOST_MAX: usize = 64;
/// Providers close idle connections after a minute or more; leaving first avoids the race.
const IDLE_FOR: Duration = Duration::from_secs(45);
/// A dead link is noticed within the sum of both.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WITHIN: Duration = Duration::from_secs(5);

/// Resolves names and, unless allowed, drops private addresses: what a name points to
/// can change after the configuration was checked.
#[derive(Clone)]
struct Resolver {
    system: GaiResolver,
    allow_private: bool,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.system.call(name);
        let allow_private = self.allow_private;
        Box::pin(async move {
            let mut addresses: Vec<SocketAddr> = found.await?.collect();
            addresses.retain(|address| allow_private || !is_private(address.ip()));
            if addresses.is_empty() {
                return Err(io::Error::other("the name has no public address"));
            }
            Ok(addresses.into_iter())
        })
    }
}

/// Name, TCP and TLS together within one bound.
#[derive(Clone)]
struct Bounded {
    inner: HttpsConnector<HttpConnector<Resolver>>,
    within: Duration,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connection = <HttpsConnector<HttpConnector<Resolver>> as Service<Uri>>::Response;

impl Service<Uri> for Bounded {
    type Response = Connection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Connection, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let within = self.within;
        Box::pin(async move {
            tokio::time::timeout(within, connecting)
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "not connected in time"))?
        })
    }
}

/// Two pools: one for the world, one for hosts nearby.
pub(crate) struct Clients {
    public: Client<Bounded, Full<Bytes>>,
    private: Client<Bounded, Full<Bytes>>,
}

impl Clients {
    pub(crate) fn new(connect: Duration) -> io::Result<Self> {
        Ok(Self {
            public: client(connect, false)?,
            private: client(connect, true)?,
        })
    }

    pub(crate) fn send(
        &self,
        request: Request<Full<Bytes>>,
        allow_private: bool,
    ) -> ResponseFuture {
        if allow_private {
            self.private.request(request)
        } else {
            self.public.request(request)
        }
    }
}

fn client(connect: Duration, allow_private: bool) -> io::Result<Client<Bounded, Full<Bytes>>> {
    let system = GaiResolver::new();
    let mut http = HttpConnector::new_with_resolver(Resolver {
        system,
        allow_private,
    });
    http.set_connect_timeout(Some(connect));
    http.set_nodelay(true);
    http.enforce_http(false);
    let provider = rustls::crypto::ring::default_provider();
    let https = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
    let https = if allow_private {
        https.https_or_http()
    } else {
        https.https_only()
    };
    let inner = https.enable_http1().enable_http2().wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_FOR)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_WITHIN)
        .build(Bounded {
            inner,
            within: connect,
        }))
}

/// Whether an error came before anything was sent.
pub(super) fn unsent(error: &Error) -> bool {
    error.is_connect()
}

/// A provider's response.
pub(super) type Answer = Response<Incoming>;
