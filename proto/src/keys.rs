//! Every etcd key there is, as functions.
//!
//! Owns: the layout below `/spillway/v1/`. Nobody else spells a key. The embedded
//! store uses the same keys.

use spillway_routing::id::{KeyId, ProxyId, TableVersion};

const ROOT: &str = "/spillway/v1";

/// Holds the `Signed` manifest of the current table: the one key that publishing
/// compares and swaps.
#[must_use]
pub fn pointer() -> String {
    format!("{ROOT}/table/current")
}

/// One content-addressed chunk of a table's payload.
#[must_use]
pub fn chunk(hash: &[u8; 32]) -> String {
    format!("{ROOT}/table/chunk/{}", hex(hash))
}

/// All chunks.
#[must_use]
pub fn chunks() -> String {
    format!("{ROOT}/table/chunk/")
}

/// The `Signed` manifest of one version, kept so that it can be rolled back to.
#[must_use]
pub fn archive(version: TableVersion) -> String {
    format!("{ROOT}/table/version/{:020}", version.0)
}

/// All kept versions, oldest first.
#[must_use]
pub fn archives() -> String {
    format!("{ROOT}/table/version/")
}

/// Says of a kept version that it only counts again what was learnt before.
#[must_use]
pub fn recount(version: TableVersion) -> String {
    format!("{ROOT}/table/recount/{:020}", version.0)
}

/// All that are kept, oldest first.
#[must_use]
pub fn recounts() -> String {
    format!("{ROOT}/table/recount/")
}

/// What one proxy says it runs; under that proxy's lease.
#[must_use]
pub fn acknowledgement(proxy: &ProxyId) -> String {
    format!("{ROOT}/fleet/{proxy}")
}

/// What all proxies say.
#[must_use]
pub fn acknowledgements() -> String {
    format!("{ROOT}/fleet/")
}

/// The operators' current policy.
#[must_use]
pub fn policy() -> String {
    format!("{ROOT}/policy/current")
}

/// One version of the policy.
#[must_use]
pub fn policy_version(version: u64) -> String {
    format!("{ROOT}/policy/version/{version:020}")
}

/// All versions of the policy, oldest first.
#[must_use]
pub fn policy_versions() -> String {
    format!("{ROOT}/policy/version/")
}

/// What one training run did, as JSON for the page.
#[must_use]
pub fn training_run(run: u64) -> String {
    format!("{ROOT}/training/run/{run:020}")
}

/// All kept runs, oldest first.
#[must_use]
pub fn training_runs() -> String {
    format!("{ROOT}/training/run/")
}

/// One alarm about a table that was in use, as JSON for the page.
#[must_use]
pub fn alarm(number: u64) -> String {
    format!("{ROOT}/alarm/{number:020}")
}

/// All kept alarms, oldest first.
#[must_use]
pub fn alarms() -> String {
    format!("{ROOT}/alarm/")
}

/// Who spends on training. A lease decides who works; the compare-and-swap on the
/// parent version decides what counts.
#[must_use]
pub fn trainer() -> String {
    format!("{ROOT}/trainer")
}

/// Nano-dollars of one caller's key that proxies were granted together on one day (since
/// 1970, UTC), in decimal digits.
#[must_use]
pub fn granted(day: u64, key: &KeyId) -> String {
    format!("{}{key}", granted_on(day))
}

/// Those of all keys on that day.
#[must_use]
pub fn granted_on(day: u64) -> String {
    format!("{ROOT}/granted/{day:08}/")
}

/// What is left of a caller's key's minute for all proxies: when (milliseconds since 1970),
/// requests, tokens.
#[must_use]
pub fn rates(key: &KeyId) -> String {
    format!("{ROOT}/rates/{key}")
}

/// Work that nobody waits for and that is not done, by when it is due (milliseconds since
/// 1970); holds the time before which it is left alone.
#[must_use]
pub fn open_job(by: u64, work: &str) -> String {
    format!("{}{by:015}/{work}", open_jobs())
}

/// All of it, earliest first.
#[must_use]
pub fn open_jobs() -> String {
    format!("{ROOT}/jobs/open/")
}

/// Behind all of it.
#[must_use]
pub fn open_jobs_end() -> String {
    format!("{ROOT}/jobs/open0")
}

/// Says that a proxy is at it; under that proxy's lease.
#[must_use]
pub fn job_claim(work: &str) -> String {
    format!("{}{work}", job_claims())
}

/// All claims.
#[must_use]
pub fn job_claims() -> String {
    format!("{ROOT}/jobs/claim/")
}

/// From 64 hexadecimal digits of either case.
#[must_use]
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0u8; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
