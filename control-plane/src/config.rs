//! The control plane's settings: what may be typed, and what was meant.
//!
//! Owns: `RawConfig` (the `[control]` section) and `Config`. Nothing after
//! [`Config::resolve`] reads the environment or parses a string.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use serde::Deserialize;

/// The `[control]` section as typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// gRPC: proxies report here, tools talk to it.
    #[serde(default = "grpc")]
    pub grpc_listen: String,
    /// The dashboard and its JSON doors.
    #[serde(default = "http")]
    pub http_listen: String,
    /// History, keys and, when embedded, tables.
    pub data_dir: PathBuf,
    /// `s3://BUCKET/PREFIX` for history; below the data directory unless said.
    pub history: Option<String>,
    /// etcd endpoints; without them tables live in this process.
    #[serde(default)]
    pub etcd: Vec<String>,
    /// The key that tables are signed with (64 hexadecimal digits, readable by its owner
    /// only). Several control planes on one etcd need the same; minted in the data
    /// directory unless said.
    pub signing_key: Option<PathBuf>,
    /// A policy file that is published at the first start, while there is no policy.
    pub policy: Option<PathBuf>,
    /// Let others than this machine connect. There is no TLS here yet: put a proxy that
    /// has it in front.
    #[serde(default)]
    pub behind_tls_proxy: bool,
    /// Seconds between looks for new labels to train on.
    #[serde(default = "training_interval")]
    pub training_interval_s: u64,
    /// New labelled prompts that start a training run; 0 turns automatic runs off.
    #[serde(default = "training_labels")]
    pub training_labels: u64,
}

fn grpc() -> String {
    "127.0.0.1:9470".to_owned()
}

fn http() -> String {
    "127.0.0.1:9480".to_owned()
}

fn training_interval() -> u64 {
    60
}

fn training_labels() -> u64 {
    500
}

/// The settings as meant.
#[derive(Clone, Debug)]
pub struct Config {
    pub grpc_listen: SocketAddr,
    pub http_listen: SocketAddr,
    pub data_dir: PathBuf,
    /// A bucket and a prefix in it; `None`: below the data directory.
    pub history: Option<(Arc<dyn ObjectStore>, String)>,
    pub etcd: Vec<String>,
    pub signing_key: Option<PathBuf>,
    pub policy: Option<PathBuf>,
    pub training_interval: Duration,
    pub training_labels: u64,
}

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("[control] {field} = {value:?} is no address such as \"127.0.0.1:9480\"")]
    Address { field: &'static str, value: String },
    #[error(
        "[control] {field} = {value} would let other machines in without TLS; bind 127.0.0.1, or set behind_tls_proxy = true if a TLS proxy stands in front"
    )]
    Exposed {
        field: &'static str,
        value: SocketAddr,
    },
    #[error("[control] history = {0}")]
    History(String),
}

/// Opens the bucket that a URL means, and says the prefix in it; an error says what is wrong.
type Buckets<'a> = &'a dyn Fn(&str) -> Result<(Arc<dyn ObjectStore>, String), String>;

impl Config {
    /// # Errors
    ///
    /// Names the field and says what to write.
    pub fn resolve(raw: RawConfig, buckets: Buckets<'_>) -> Result<Self, ConfigError> {
        let address = |field, text: String| {
            let address: SocketAddr = text
                .parse()
                .map_err(|_| ConfigError::Address { field, value: text })?;
            let exposed = !address.ip().is_loopback() && !raw.behind_tls_proxy;
            if exposed {
                Err(ConfigError::Exposed {
                    field,
                    value: address,
                })
            } else {
                Ok(address)
            }
        };
        Ok(Self {
            grpc_listen: address("grpc_listen", raw.grpc_listen)?,
            http_listen: address("http_listen", raw.http_listen)?,
            data_dir: raw.data_dir,
            history: raw
                .history
                .map(|url| buckets(&url).map_err(ConfigError::History))
                .transpose()?,
            etcd: raw.etcd,
            signing_key: raw.signing_key,
            policy: raw.policy,
            training_interval: Duration::from_secs(raw.training_interval_s.max(1)),
            training_labels: raw.training_labels,
        })
    }
}
