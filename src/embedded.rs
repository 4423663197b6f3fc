//! A control plane and one proxy in this process, joined by a channel.
//!
//! Owns: the wiring that `demo`, `simulate` and `all` share: the proxy trusts the
//! control plane's key, takes tables over the channel, and reports over loopback gRPC.

use std::net::SocketAddr;

use anyhow::Context as _;
use spillway_control_plane::config::Config as ControlConfig;
use spillway_control_plane::{ControlPlane, Listeners as ControlListeners};
use spillway_data_plane::{Config as ProxyConfig, Feed, Listeners as ProxyListeners};
use tokio_util::sync::CancellationToken;

/// Both planes, set up and bound, not yet serving.
pub(crate) struct Embedded {
    pub(crate) control: ControlPlane,
    control_listeners: ControlListeners,
    proxy: ProxyConfig,
    proxy_listeners: ProxyListeners,
    feed: Feed,
}

impl Embedded {
    /// Opens the control plane and binds all sockets. `proxy` gets the address of gRPC
    /// and the public key to trust.
    ///
    /// # Errors
    ///
    /// If anything cannot be opened or bound.
    pub(crate) async fn open(
        config: ControlConfig,
        proxy: impl FnOnce(SocketAddr, &str) -> anyhow::Result<ProxyConfig>,
    ) -> anyhow::Result<Self> {
        let taken = || {
            format!(
                "cannot listen on {} and {}",
                config.grpc_listen, config.http_listen
            )
        };
        let control_listeners = ControlListeners::bind(&config).await.with_context(taken)?;
        let mut control = ControlPlane::open(config).await?;
        let grpc = control_listeners.grpc.local_addr()?;
        let proxy = proxy(grpc, &control.public_key().to_string())?;
        let proxy_listeners = bind(&proxy).await?;
        let feed = match control.embedded_link() {
            Some(link) => Feed::Local {
                tables: link.tables,
                acks: link.acknowledgements,
            },
            None => feed_of(&proxy)?,
        };
        Ok(Self {
            control,
            control_listeners,
            proxy,
            proxy_listeners,
            feed,
        })
    }

    /// # Errors
    ///
    /// If the socket has no address any more.
    pub(crate) fn proxy_address(&self) -> std::io::Result<SocketAddr> {
        self.proxy_listeners.data.local_addr()
    }

    /// Where the proxy says whether it is ready.
    ///
    /// # Errors
    ///
    /// If the socket has no address any more.
    pub(crate) fn admin_address(&self) -> std::io::Result<SocketAddr> {
        self.proxy_listeners.admin.local_addr()
    }

    /// # Errors
    ///
    /// If the socket has no address any more.
    pub(crate) fn dashboard_address(&self) -> std::io::Result<SocketAddr> {
        self.control_listeners.http_address()
    }

    /// Serves until `shutdown`. The proxy stops first, so that its last outcomes still
    /// find somebody who stores them.
    ///
    /// # Errors
    ///
    /// Whatever made either plane stop.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let control_stop = CancellationToken::new();
        let control = self
            .control
            .run(self.control_listeners, control_stop.clone());
        let proxy = async {
            let done = spillway_data_plane::run(
                self.proxy,
                self.proxy_listeners,
                self.feed,
                shutdown.clone(),
            )
            .await;
            control_stop.cancel();
            done
        };
        let control = async {
            let done = control.await;
            shutdown.cancel();
            done
        };
        let (control, proxy) = tokio::join!(control, proxy);
        control?;
        proxy?;
        Ok(())
    }
}

/// Binds a proxy's two sockets.
///
/// # Errors
///
/// Names the address that is taken.
pub(crate) async fn bind(config: &ProxyConfig) -> anyhow::Result<ProxyListeners> {
    let one = |address: SocketAddr| async move {
        spillway_data_plane::bind(address).with_context(|| format!("cannot listen on {address}"))
    };
    Ok(ProxyListeners {
        data: one(config.listen).await?,
        admin: one(config.admin_listen).await?,
    })
}

/// The feed a configuration names.
///
/// # Errors
///
/// If it names the channel, which only this process can give.
pub(crate) fn feed_of(config: &ProxyConfig) -> anyhow::Result<Feed> {
    match &config.feed {
        spillway_data_plane::config::FeedConfig::Etcd { endpoints } => Ok(Feed::Etcd {
            endpoints: endpoints.clone(),
        }),
        spillway_data_plane::config::FeedConfig::Local => {
            anyhow::bail!(
                "[proxy.feed] kind = \"local\" works with `spillway all` only; name etcd's endpoints"
            )
        }
    }
}
