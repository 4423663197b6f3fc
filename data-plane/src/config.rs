//! Raw configuration → resolved configuration, once, strictly, with the environment
//! passed in.
//!
//! Owns: what each setting means, the secrets behind credential names, the hosts behind
//! provider ids. Nothing after it reads the environment or parses a setting.

mod credential;
mod raw;
mod sdk;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
use spillway_proto::envelope::PublicKey;
use spillway_routing::id::{CredentialName, KeyId, ProviderId, RouteId};

pub use self::credential::Credential;
pub use self::raw::{RawConfig, RawCredential, RawFeed, RawJobs, RawKey, RawLimits, RawProvider};
pub use self::sdk::Sdk;
use crate::secret::{Auth, Fingerprint};

/// What is wrong with a configuration, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {flaw}")]
pub struct ConfigError {
    pub field: String,
    pub flaw: String,
}

impl ConfigError {
    fn new(field: impl Into<String>, flaw: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            flaw: flaw.into(),
        }
    }
}

/// A provider's place and terms.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Without a slash at its end.
    pub base_url: String,
    pub allow_private: bool,
    /// `None`: as the dialect usually wants it.
    pub auth: Option<Auth>,
    /// AWS's, that requests are signed for.
    pub region: Option<String>,
}

/// A virtual key.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: KeyId,
    pub fingerprint: Fingerprint,
    /// `None` for all.
    pub routes: Option<Vec<RouteId>>,
    pub tags: Vec<(String, String)>,
}

/// Where tables come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedConfig {
    Etcd { endpoints: Vec<String> },
    Local,
}

/// Work that nobody waits for.
#[derive(Clone, Debug)]
pub struct JobsConfig {
    pub place: JobsPlace,
    pub at_once: usize,
    pub kept: Duration,
}

/// Where it is kept.
#[derive(Clone, Debug)]
pub enum JobsPlace {
    Folder(PathBuf),
    Bucket(Arc<dyn ObjectStore>),
}

/// Bounds, resolved.
#[derive(Clone, Debug)]
pub struct Limits {
    pub body_bytes: usize,
    pub bodies_bytes: usize,
    pub connections: usize,
    pub header: Duration,
    pub write_stall: Duration,
    pub connect: Duration,
    pub idle: Duration,
    pub heartbeat: Duration,
    pub answer_bytes: usize,
    pub lane_in_flight: u32,
    pub ejection: Duration,
    pub ejection_max: Duration,
    pub outcomes_queued: usize,
    pub drain: Duration,
}

/// The proxy's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub data_dir: PathBuf,
    pub control_plane: Option<Uri>,
    pub feed: FeedConfig,
    pub trusted: Vec<PublicKey>,
    pub providers: BTreeMap<ProviderId, Provider>,
    /// Which provider the keys are for that an SDK brings in its own header.
    pub sdk_keys: BTreeMap<Sdk, ProviderId>,
    pub credentials: BTreeMap<CredentialName, Credential>,
    pub keys: Vec<Key>,
    /// Nobody is let in without a key, also where neither this nor the policy has one.
    pub require_keys: bool,
    pub limits: Limits,
    /// `None`: this proxy keeps no jobs.
    pub jobs: Option<JobsConfig>,
}

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;
/// Opens the bucket that a URL means, and says the prefix in it; an error says what is wrong.
type Buckets<'a> = &'a dyn Fn(&str) -> Result<(Arc<dyn ObjectStore>, String), String>;

impl Config {
    /// Checks everything and reads the secrets.
    ///
    /// # Errors
    ///
    /// The first flaw, with the name of its field.
    pub fn resolve(
        raw: RawConfig,
        env: Env<'_>,
        buckets: Buckets<'_>,
    ) -> Result<Self, ConfigError> {
        check_name(&raw.name)?;
        check_exposure(&raw)?;
        let unique = |ids: Vec<&str>, what| check_unique(&ids, what);
        unique(
            raw.providers.iter().map(|p| p.id.as_str()).collect(),
            "providers",
        )?;
        unique(
            raw.credentials.iter().map(|c| c.name.as_str()).collect(),
            "credentials",
        )?;
        unique(raw.keys.iter().map(|k| k.id.as_str()).collect(), "keys")?;
        if raw.trusted_keys.is_empty() {
            let flaw = "is empty: name at least one public key, or no table could be verified";
            return Err(ConfigError::new("trusted_keys", flaw));
        }
        let trusted = raw.trusted_keys.iter().enumerate().map(|(i, key)| {
            PublicKey::parse(key)
                .map_err(|e| ConfigError::new(format!("trusted_keys[{i}]"), e.to_string()))
        });
        let jobs = jobs(&raw, buckets)?;
        Ok(Self {
            jobs,
            trusted: trusted.collect::<Result<_, _>>()?,
            control_plane: raw
                .control_plane
                .as_deref()
                .map(control_plane)
                .transpose()?,
            feed: feed(raw.feed)?,
            providers: raw
                .providers
                .iter()
                .map(provider)
                .collect::<Result<_, _>>()?,
            sdk_keys: sdk::keys(&raw.providers)?,
            credentials: raw
                .credentials
                .iter()
                .map(|c| credential::read(c, env))
                .collect::<Result<_, _>>()?,
            keys: raw
                .keys
                .into_iter()
                .map(|k| key(k, env))
                .collect::<Result<_, _>>()?,
            require_keys: raw.require_keys,
            limits: limits(&raw.limits)?,
            name: raw.name,
            listen: raw.listen,
            admin_listen: raw.admin_listen,
            data_dir: raw.data_dir,
        })
    }
}

/// The name becomes part of an etcd key.
fn check_name(name: &str) -> Result<(), ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        let flaw = "must be 1 to 64 letters, digits, '-', '_' or '.'";
        return Err(ConfigError::new("name", flaw));
    }
    Ok(())
}

/// Whoever can reach the port can spend the providers' money.
fn check_exposure(raw: &RawConfig) -> Result<(), ConfigError> {
    let refuse = |field: &str, flaw: &str| Err(ConfigError::new(field, flaw));
    if !raw.listen.ip().is_loopback() {
        if raw.keys.is_empty() && !raw.require_keys {
            return refuse(
                "listen",
                "goes beyond loopback without any [[keys]]: add one, or set require_keys = true \
                 where the policy holds them",
            );
        }
        if !raw.behind_tls_proxy {
            let flaw = "goes beyond loopback without TLS: set behind_tls_proxy = true where \
                        something in front of the proxy terminates it";
            return refuse("listen", flaw);
        }
    }
    Ok(())
}

fn check_unique(ids: &[&str], what: &str) -> Result<(), ConfigError> {
    for (i, id) in ids.iter().enumerate() {
        if id.is_empty() || ids[..i].contains(id) {
            let flaw = format!("{id:?} is empty or appears twice");
            return Err(ConfigError::new(format!("{what}[{i}]"), flaw));
        }
    }
    Ok(())
}

fn control_plane(url: &str) -> Result<Uri, ConfigError> {
    let uri: Uri = url
        .parse()
        .map_err(|_| ConfigError::new("control_plane", "is no URL"))?;
    if uri.scheme_str() != Some("http") || uri.host().is_none() {
        return Err(ConfigError::new(
            "control_plane",
            "must be http://HOST:PORT",
        ));
    }
    Ok(uri)
}

/// A proxy that is alone keeps them in its own folder.
fn jobs(raw: &RawConfig, buckets: Buckets<'_>) -> Result<Option<JobsConfig>, ConfigError> {
    let own = matches!(raw.feed, RawFeed::Local).then(|| RawJobs::own(&raw.data_dir));
    let Some(jobs) = raw.jobs.clone().or(own) else {
        return Ok(None);
    };
    if jobs.at_once == 0 || jobs.kept_days == 0 {
        return Err(ConfigError::new(
            "jobs",
            "at_once and kept_days must be at least 1",
        ));
    }
    let place = match (jobs.folder, jobs.bucket) {
        (Some(folder), None) => JobsPlace::Folder(folder),
        (None, Some(url)) => {
            let flawed = |flaw| ConfigError::new("jobs.bucket", flaw);
            let (bucket, prefix) = buckets(&url).map_err(flawed)?;
            JobsPlace::Bucket(Arc::new(PrefixStore::new(bucket, prefix)))
        }
        _ => {
            let flaw = "needs exactly one of folder and bucket";
            return Err(ConfigError::new("jobs", flaw));
        }
    };
    Ok(Some(JobsConfig {
        place,
        at_once: jobs.at_once,
        kept: Duration::from_secs(u64::from(jobs.kept_days) * 24 * 3_600),
    }))
}

fn feed(raw: RawFeed) -> Result<FeedConfig, ConfigError> {
    match raw {
        RawFeed::Etcd { endpoints } if endpoints.is_empty() => {
            Err(ConfigError::new("feed.endpoints", "is empty"))
        }
        RawFeed::Etcd { endpoints } => Ok(FeedConfig::Etcd { endpoints }),
        RawFeed::Local => Ok(FeedConfig::Local),
    }
}

fn provider(raw: &RawProvider) -> Result<(ProviderId, Provider), ConfigError> {
    let fail = |flaw: &str| {
        Err(ConfigError::new(
            format!("providers[{}].base_url", raw.id),
            flaw,
        ))
    };
    let Ok(uri) = raw.base_url.parse::<Uri>() else {
        return fail("is no URL");
    };
    let Some(host) = uri.host() else {
        return fail("names no host");
    };
    if uri.query().is_some() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return fail("must hold neither a query nor a user");
    }
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if raw.allow_private => {}
        Some("http") => return fail("must be https; set allow_private = true for one nearby"),
        _ => return fail("must be https"),
    }
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let private = host.eq_ignore_ascii_case("localhost") || literal.is_ok_and(is_private);
    if private && !raw.allow_private {
        return fail("is a private address; set allow_private = true if that is meant");
    }
    let base_url = raw.base_url.trim_end_matches('/').to_owned();
    let provider = Provider {
        base_url,
        allow_private: raw.allow_private,
        auth: raw
            .auth
            .as_deref()
            .map(|name| auth(&raw.id, name))
            .transpose()?,
        region: raw.region.clone().or_else(|| region(host)),
    };
    Ok((ProviderId::new(&raw.id), provider))
}

/// As it stands in the hosts of AWS: `bedrock-runtime.REGION.amazonaws.com`.
fn region(host: &str) -> Option<String> {
    let (_, rest) = host.split_once('.')?;
    let region = rest
        .strip_suffix(".amazonaws.com")
        .or_else(|| rest.strip_suffix(".amazonaws.com.cn"))?;
    Some(region.to_owned())
}

fn auth(provider: &str, name: &str) -> Result<Auth, ConfigError> {
    let found = Auth::ALL.into_iter().find(|auth| auth.name() == name);
    found.ok_or_else(|| {
        let known = Auth::ALL.map(Auth::name).join(", ");
        ConfigError::new(
            format!("providers[{provider}].auth"),
            format!("must be one of {known}"),
        )
    })
}

/// Addresses no public provider has: loopback, private, link-local (the clouds' metadata
/// services), shared and unspecified.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}

fn key(raw: RawKey, env: Env<'_>) -> Result<Key, ConfigError> {
    let field = format!("keys[{}]", raw.id);
    let fingerprint = match (&raw.sha256, &raw.env) {
        (Some(hex), None) => Fingerprint::parse(hex)
            .ok_or_else(|| ConfigError::new(&field, "sha256 must be 64 hexadecimal digits"))?,
        (None, Some(variable)) => {
            let text = env(variable).unwrap_or_default();
            if text.trim().is_empty() {
                let flaw = format!("variable {variable} is not set or empty");
                return Err(ConfigError::new(field, flaw));
            }
            Fingerprint::of(text.trim().as_bytes())
        }
        _ => {
            return Err(ConfigError::new(
                field,
                "needs exactly one of sha256 and env",
            ));
        }
    };
    Ok(Key {
        id: KeyId::new(&raw.id),
        fingerprint,
        routes: raw
            .routes
            .map(|r| r.iter().map(|name| RouteId::new(name)).collect()),
        tags: raw.tags.into_iter().collect(),
    })
}

fn limits(raw: &RawLimits) -> Result<Limits, ConfigError> {
    let counts = [
        ("body_bytes", raw.body_bytes),
        ("connections", raw.connections),
        ("answer_bytes", raw.answer_bytes),
        ("lane_in_flight", raw.lane_in_flight as usize),
        ("outcomes_queued", raw.outcomes_queued),
        ("header_ms", raw.header_ms as usize),
        ("connect_ms", raw.connect_ms as usize),
        ("idle_ms", raw.idle_ms as usize),
        ("heartbeat_ms", raw.heartbeat_ms as usize),
        ("write_stall_ms", raw.write_stall_ms as usize),
    ];
    if let Some((name, _)) = counts.iter().find(|(_, value)| *value == 0) {
        return Err(ConfigError::new(
            format!("limits.{name}"),
            "must not be zero",
        ));
    }
    if raw.bodies_bytes < raw.body_bytes || raw.bodies_bytes >> 10 > u32::MAX as usize {
        return Err(ConfigError::new(
            "limits.bodies_bytes",
            "must hold at least one body",
        ));
    }
    Ok(Limits {
        body_bytes: raw.body_bytes,
        bodies_bytes: raw.bodies_bytes,
        connections: raw.connections,
        header: Duration::from_millis(raw.header_ms),
        write_stall: Duration::from_millis(raw.write_stall_ms),
        connect: Duration::from_millis(raw.connect_ms),
        idle: Duration::from_millis(raw.idle_ms),
        heartbeat: Duration::from_millis(raw.heartbeat_ms),
        answer_bytes: raw.answer_bytes,
        lane_in_flight: raw.lane_in_flight,
        ejection: Duration::from_millis(raw.ejection_ms),
        ejection_max: Duration::from_millis(raw.ejection_max_ms),
        outcomes_queued: raw.outcomes_queued,
        drain: Duration::from_millis(raw.drain_ms),
    })
}

#[cfg(test)]
mod tests;
