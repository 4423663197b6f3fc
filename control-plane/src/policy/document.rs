//! The policy as operators type it.
//!
//! Owns: the serde form of the TOML document. Unknown fields are errors: a typo must
//! not become a silent default. Numbers are in people's units (dollars per million
//! tokens, shares 0..1, `"30s"`); `draft` turns them into the table's.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::hours::Hours;

/// A policy document, form 1.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The form of this document; 1.
    pub version: u32,
    /// What is known of models; those of the built-in catalogue need no entry.
    #[serde(default)]
    pub models: BTreeMap<String, ModelEntry>,
    /// Who serves which models.
    #[serde(default)]
    pub upstreams: Vec<UpstreamEntry>,
    /// What apps may put into `model`.
    #[serde(default)]
    pub routes: BTreeMap<String, RouteEntry>,
    #[serde(default)]
    pub rules: Vec<RuleEntry>,
    /// Callers' keys and their terms.
    #[serde(default)]
    pub keys: BTreeMap<String, KeyEntry>,
    /// What is audited; nothing without it.
    pub audits: Option<AuditsEntry>,
}

/// A caller's key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// SHA-256 of the key, in hex; without it these are the terms of a key that the proxies'
    /// own configuration holds under this name.
    pub sha256: Option<String>,
    /// Routes and models it may ask for; all unless said.
    pub routes: Option<Vec<String>>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// At each proxy.
    pub requests_per_minute: Option<u32>,
    /// Input and output, at each proxy.
    pub tokens_per_minute: Option<u32>,
    /// In a day (UTC), at each proxy.
    pub usd_per_day: Option<f64>,
}

/// Requests that all models of their route answer once more, off the request's path, to
/// learn from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditsEntry {
    /// Share 0..1 of the requests, once there are labels enough.
    #[serde(default = "usual_share")]
    pub share: f64,
    /// Share 0..1 while there are few labels, and of requests unlike those that have some.
    #[serde(default = "starting_share")]
    pub starting_share: f64,
    /// What each proxy may spend on audits in a day, in dollars.
    pub usd_per_day: f64,
    /// Model or lane that scores the answers; without it only those with a form that can
    /// be checked (a schema, a tool's arguments) are audited.
    pub judge: Option<String>,
}

fn usual_share() -> f64 {
    0.02
}

fn starting_share() -> f64 {
    0.4
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Tokenizer family, e.g. `o200k`.
    pub tokenizer: Option<String>,
    /// Longest input in tokens.
    pub context: Option<u32>,
    pub max_output: Option<u32>,
    /// Of `tools`, `json_object`, `json_schema`, `vision`.
    pub capabilities: Option<Vec<Capability>>,
    /// Expected quality 0..1 before any label of one's own.
    pub prior: Option<f64>,
    pub typical_output: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    Tools,
    JsonObject,
    JsonSchema,
    Vision,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamEntry {
    /// A provider id of the proxies' own configuration.
    pub provider: String,
    pub models: Vec<String>,
    /// The provider's own spelling of a model's name.
    #[serde(default)]
    pub wire_models: BTreeMap<String, String>,
    /// Wire formats that the provider speaks at its base URL; what is known of the provider
    /// unless said, else `openai-chat`.
    #[serde(default)]
    pub dialects: Vec<String>,
    /// A credential's name in the proxies' configuration; the provider's id unless said.
    pub credential: Option<String>,
    /// Tiers to use; `standard` unless said.
    #[serde(default)]
    pub tiers: Vec<String>,
    /// Prices by tier, for all models of this entry; the catalogue's unless said.
    #[serde(default)]
    pub prices: BTreeMap<String, PriceEntry>,
    /// Expected time to the first token, in milliseconds.
    pub first_token_ms: Option<u64>,
    pub tokens_per_second: Option<f64>,
    /// Requests that each proxy sends there at once; its own limit unless said.
    pub in_flight: Option<u32>,
    /// Where requests wait for a place; none unless said.
    pub queue: Option<QueueEntry>,
}

/// A queue in front of each lane of an upstream, at each proxy, fair between keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueEntry {
    /// Requests that wait at most.
    pub depth: u32,
    /// How long one waits at most, e.g. `"5s"`.
    pub wait: String,
}

/// Dollars per million tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceEntry {
    pub input: f64,
    pub output: f64,
    pub cache_read: Option<f64>,
    pub cache_write: Option<f64>,
    /// Dollars added to every call.
    #[serde(default)]
    pub per_call: f64,
    /// Parts of the week with other prices; the first that holds counts.
    #[serde(default)]
    pub hours: Vec<Hours>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteEntry {
    /// Models that may answer; all unless said.
    #[serde(default)]
    pub models: Vec<String>,
    /// Model or lane for requests that cannot be judged; the baseline unless said.
    pub default: Option<String>,
    /// Model or lane that savings are counted against.
    pub baseline: String,
    /// Share 0..1 of the best model's quality to keep on average.
    #[serde(default = "full")]
    pub bar: f64,
    /// Instead of the bar: the cheapest whose predicted quality reaches this.
    pub floor: Option<f64>,
    /// No choice falls further than this below the best predicted quality.
    #[serde(default = "full")]
    pub guard: f64,
    /// Share 0..1 of requests that explore.
    #[serde(default)]
    pub explore: f64,
    pub max_cost_usd: Option<f64>,
    pub first_token_max: Option<String>,
    /// For the whole request up to the first content, e.g. `"60s"`.
    pub deadline: Option<String>,
    /// Lanes tried at most, 1 to 3.
    pub attempts: Option<u8>,
    /// What a translation into a lane's dialect may lose: nothing (`exact`), what changes
    /// no answer (`hints`), or `any`thing.
    pub lossy: Option<String>,
    /// Where its requests spill when the lane they should go to is full, failing or too
    /// dear.
    pub overflow: Option<OverflowEntry>,
}

/// A route's overflow lane and what makes requests spill; any one of it does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverflowEntry {
    /// Model or lane; kept for what spills.
    pub to: String,
    /// Of `429`, `5xx`, `timeout` and `queue_wait`: ways in which an attempt may end. All
    /// unless said.
    pub after: Option<Vec<String>>,
    /// Requests under way at the lane, at one proxy.
    pub in_flight_above: Option<u32>,
    /// Requests waiting in front of the lane, at one proxy.
    pub queue_depth_above: Option<u32>,
    /// What the request is expected to cost.
    pub cost_above_usd: Option<f64>,
    /// What the lane cost one proxy within the hour.
    pub spend_above_usd_per_hour: Option<f64>,
    /// Work that always spills.
    #[serde(default)]
    pub classes: Vec<ClassEntry>,
    /// Whether it may cost more than the lane it stands in for.
    #[serde(default)]
    pub dearer: bool,
    /// What each proxy may spend there on what spills, in a day (UTC).
    pub usd_per_day: Option<f64>,
}

fn full() -> f64 {
    1.0
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleEntry {
    pub id: String,
    #[serde(default)]
    pub when: WhenEntry,
    pub then: ThenEntry,
}

/// All that are given must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhenEntry {
    pub route: Option<String>,
    pub slice: Option<String>,
    pub key: Option<String>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    pub class: Option<ClassEntry>,
    /// In o200k tokens.
    pub input_above: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassEntry {
    Interactive,
    Batch,
    Background,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ThenEntry {
    Only(Vec<String>),
    Without(Vec<String>),
    WithoutProvider(String),
    /// Model or lane.
    Pin(String),
}
