//! The proxy's configuration as operators type it.
//!
//! Owns: spelling and defaults. Unknown fields are errors. Holds no meaning: that is
//! `Config::resolve`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The `[proxy]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// Unique in the fleet: letters, digits, `-`, `_` and `.`.
    pub name: String,
    #[serde(default = "loopback_data")]
    pub listen: SocketAddr,
    #[serde(default = "loopback_admin")]
    pub admin_listen: SocketAddr,
    /// Says that somebody in front terminates TLS; needed to listen beyond loopback.
    #[serde(default)]
    pub behind_tls_proxy: bool,
    pub data_dir: PathBuf,
    /// Where outcomes are reported, e.g. `http://127.0.0.1:7070`.
    pub control_plane: Option<String>,
    pub feed: RawFeed,
    /// Ed25519 public keys, in hex, whose tables are taken.
    pub trusted_keys: Vec<String>,
    #[serde(default)]
    pub providers: Vec<RawProvider>,
    #[serde(default)]
    pub credentials: Vec<RawCredential>,
    #[serde(default)]
    pub keys: Vec<RawKey>,
    /// Wants a key of everybody, also while neither these nor the policy has one.
    #[serde(default)]
    pub require_keys: bool,
    #[serde(default)]
    pub limits: RawLimits,
    /// Where work is kept that nobody waits for.
    pub jobs: Option<RawJobs>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawJobs {
    /// Shared by all proxies of a fleet; this or `bucket`.
    pub folder: Option<PathBuf>,
    /// `s3://BUCKET/PREFIX`.
    pub bucket: Option<String>,
    /// Jobs that this proxy does at once.
    #[serde(default = "jobs_at_once")]
    pub at_once: usize,
    /// Jobs and files are deleted after so long.
    #[serde(default = "jobs_kept_days")]
    pub kept_days: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RawFeed {
    Etcd { endpoints: Vec<String> },
    Local,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawProvider {
    pub id: String,
    pub base_url: String,
    /// Allows plain http and private addresses; for models served nearby.
    #[serde(default)]
    pub allow_private: bool,
    /// The header that holds the key: `bearer`, `x-api-key`, `x-goog-api-key` or
    /// `api-key`; what the dialect usually wants unless said.
    pub auth: Option<String>,
    /// Whose SDK brings keys for it in the header it always uses: `openai`, `anthropic` or
    /// `google`; by the host unless said.
    pub sdk: Option<String>,
    /// AWS's region that requests are signed for; as the host says unless said.
    pub region: Option<String>,
}

/// One of `env`, `file`, `aws` and `none`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCredential {
    pub name: String,
    pub env: Option<String>,
    pub file: Option<PathBuf>,
    /// Requests are signed with the keys of this machine's identity at AWS.
    #[serde(default)]
    pub aws: bool,
    /// The provider wants no key.
    #[serde(default)]
    pub none: bool,
}

/// One of `sha256` and `env`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawKey {
    pub id: String,
    /// SHA-256 of the key, in hex.
    pub sha256: Option<String>,
    /// The variable that holds the key itself.
    pub env: Option<String>,
    /// Routes the key may ask for; all where it is absent.
    pub routes: Option<Vec<String>>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// Every bound of the proxy that an operator may move.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawLimits {
    /// One request's body.
    pub body_bytes: usize,
    /// All bodies held at once: what keeps a burst of long prompts from ending the process.
    pub bodies_bytes: usize,
    pub connections: usize,
    /// First byte, head, and the pause between two requests of one connection.
    pub header_ms: u64,
    /// A client that takes nothing for so long is cut off.
    pub write_stall_ms: u64,
    /// Address, TCP and TLS.
    pub connect_ms: u64,
    /// Between two chunks of an answer.
    pub idle_ms: u64,
    /// After so long a silence of the provider a stream's client hears a comment.
    pub heartbeat_ms: u64,
    /// A whole answer that is not streamed.
    pub answer_bytes: usize,
    pub lane_in_flight: u32,
    /// First ejection of a failing lane; it doubles each time.
    pub ejection_ms: u64,
    pub ejection_max_ms: u64,
    /// Outcomes that wait for the control plane.
    pub outcomes_queued: usize,
    /// What is still running may run on for so long after shutdown was asked.
    pub drain_ms: u64,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            body_bytes: 8 << 20,
            bodies_bytes: 256 << 20,
            connections: 4_096,
            header_ms: 10_000,
            write_stall_ms: 60_000,
            connect_ms: 3_000,
            idle_ms: 60_000,
            heartbeat_ms: 15_000,
            answer_bytes: 32 << 20,
            lane_in_flight: 1_024,
            ejection_ms: 2_000,
            ejection_max_ms: 300_000,
            outcomes_queued: 8_000,
            drain_ms: 30_000,
        }
    }
}

fn jobs_at_once() -> usize {
    16
}

fn jobs_kept_days() -> u32 {
    30
}

impl RawJobs {
    /// Those of a proxy that is alone.
    pub(super) fn own(data_dir: &Path) -> Self {
        Self {
            folder: Some(data_dir.join("jobs")),
            bucket: None,
            at_once: jobs_at_once(),
            kept_days: jobs_kept_days(),
        }
    }
}

fn loopback_data() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn loopback_admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9090))
}
