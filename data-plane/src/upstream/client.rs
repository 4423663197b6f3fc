//! Connections towards providers.
//!
//! Owns: where a request may go (hosts from the configuration only, addresses checked
//! when connecting), TLS, and that nothing is followed: no redirect, no proxy variable.
//! HTTP/1.1 is spoken, to all: on one connection of HTTP/2 a caller who reads slowly holds
//! up every other caller of the provider, and what is beyond its streams waits unseen.
//! Knows nothing of lanes or dialects.

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
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

pub(super) use self::line::Body;
use self::line::Line;
use self::pool::{Origin, Pool};
use crate::config::is_private;

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
        let inner = https.enable_http1().wrap_connector(http);
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
        let line = match self.pool.take(&origin) {
            Some(line) => line,
            // Seldom, and large.
            None => Box::pin(self.connect(request.uri())).await?,
        };
        connected();
        let home = self.pool.home(origin);
        line.send(request, home).await.map_err(Error::Broken)
    }

    async fn connect(&self, uri: &Uri) -> Result<Box<Line>, Error> {
        let connecting = self.connector.clone().oneshot(uri.clone());
        let connection = connecting.await.map_err(Error::Unconnected)?;
        Ok(Box::new(Line::new(TokioIo::new(connection))))
    }
}

/// A provider's response.
pub(super) type Answer = Response<Body>;

#[cfg(test)]
mod tests;
