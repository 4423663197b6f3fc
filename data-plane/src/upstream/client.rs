//! Connections towards providers.
//!
//! Owns: where a request may go (hosts from the configuration only, addresses checked
//! when connecting), TLS, which version of HTTP is spoken, and that nothing is followed: no
//! redirect, no proxy variable. Knows nothing of lanes or dialects.

mod framing;
mod line;
mod pool;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Frame;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use self::line::{Line, LineBody};
use self::pool::{Found, Origin, Pool, Shared};
use crate::config::is_private;

/// A dead link is noticed within the sum of both.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_WITHIN: Duration = Duration::from_secs(5);
/// Connections that nobody uses are looked at so often.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

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

type Io = TokioIo<Connection>;

/// Why no response came.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("not connected")]
    Unconnected(#[source] BoxError),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
}

/// Connectors and pools: one of each for the world, one for hosts nearby.
pub(crate) struct Clients {
    public: Client,
    private: Client,
}

impl Clients {
    pub(crate) fn new(connect: Duration) -> io::Result<Self> {
        Ok(Self {
            public: Client::new(connect, false)?,
            private: Client::new(connect, true)?,
        })
    }

    /// Sends a request; `connected` hears when there is a connection, and from then on the
    /// provider may have got something.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        allow_private: bool,
        connected: impl FnOnce(),
    ) -> Result<Response<Body>, Error> {
        let client = if allow_private {
            &self.private
        } else {
            &self.public
        };
        client.send(request, connected).await
    }

    /// Closes idle connections until `done`.
    pub(crate) async fn tidy(&self, done: CancellationToken) {
        let tidying = async {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                self.public.pool.sweep();
                self.private.pool.sweep();
            }
        };
        let _: Option<()> = done.run_until_cancelled(tidying).await;
    }
}

struct Client {
    connector: Bounded,
    pool: Pool,
}

impl Client {
    fn new(connect: Duration, allow_private: bool) -> io::Result<Self> {
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
        let connector = Bounded {
            inner,
            within: connect,
        };
        Ok(Self {
            connector,
            pool: Pool::default(),
        })
    }

    async fn send(
        &self,
        request: Request<Bytes>,
        connected: impl FnOnce(),
    ) -> Result<Response<Body>, Error> {
        let nowhere = || Error::Unconnected("the URL has no host".into());
        let origin = Origin::of(request.uri()).ok_or_else(nowhere)?;
        let found = match self.pool.take(&origin) {
            // It may have ended a moment ago.
            Some(Found::Shared(mut shared)) => {
                let ready = shared.ready().await.is_ok();
                ready.then_some(Found::Shared(shared))
            }
            found => found,
        };
        let found = match found {
            Some(found) => found,
            // Seldom, and large.
            None => Box::pin(self.connect(request.uri(), &origin)).await?,
        };
        connected();
        match found {
            Found::Line(line) => {
                let home = self.pool.home(origin);
                line.send(request, home).await.map_err(Error::Broken)
            }
            Found::Shared(shared) => Box::pin(send_shared(shared, request)).await,
        }
    }

    async fn connect(&self, uri: &Uri, origin: &Origin) -> Result<Found, Error> {
        let connecting = self.connector.clone().oneshot(uri.clone());
        let connection = connecting.await.map_err(Error::Unconnected)?;
        if !connection.connected().is_negotiated_h2() {
            return Ok(Found::Line(Box::new(Line::new(TokioIo::new(connection)))));
        }
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WITHIN)
            .handshake(connection)
            .await;
        let (shared, driver) = handshake.map_err(|error| Error::Unconnected(error.into()))?;
        tokio::spawn(driver);
        self.pool.share(origin.clone(), shared.clone());
        Ok(Found::Shared(shared))
    }
}

async fn send_shared(mut shared: Shared, request: Request<Bytes>) -> Result<Response<Body>, Error> {
    let broken = |error| Error::Broken(io::Error::other(error));
    let answer = shared.send_request(request.map(Full::new)).await;
    Ok(answer.map_err(broken)?.map(Body::Shared))
}

/// A response's body.
pub(crate) enum Body {
    Line(LineBody),
    Shared(Incoming),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Line(body) => body.poll(cx).map_ok(Frame::data),
            Self::Shared(body) => Pin::new(body).poll_frame(cx).map_err(io::Error::other),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Line(body) => body.is_over(),
            Self::Shared(body) => body.is_end_stream(),
        }
    }
}

/// A provider's response.
pub(super) type Answer = Response<Body>;

#[cfg(test)]
mod tests;
