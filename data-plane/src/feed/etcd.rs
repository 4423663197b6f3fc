//! Tables from etcd.
//!
//! Owns: one session after another: watch and poll the pointer, fetch chunks, keep the
//! acknowledgement alive under a lease. A watch is a hint and never the truth: a stopped
//! etcd gives no error on it for minutes, so the pointer is read every two seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{
    Client, ConnectOptions, Error, LeaseKeepAliveStream, LeaseKeeper, PutOptions, WatchStream,
};
use prost::Message as _;
use spillway_proto::envelope::{self, Bundle};
use spillway_proto::keys;
use spillway_proto::pb;
use spillway_routing::id::ProxyId;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Keeper;
use super::verify::{Refused, chain, check_newer, claimed_version};

/// How long a lost watch event or a silent etcd can go unnoticed.
const POLL_EVERY: Duration = Duration::from_secs(2);
/// Any single call; etcd answers in milliseconds or is in trouble.
const CALL_WITHIN: Duration = Duration::from_secs(3);
/// A proxy that says nothing for so long counts as lost.
const LEASE_SECONDS: i64 = 10;
/// Between two sessions: etcd restarts in about a second and a half.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// A dead link is noticed within the sum of both.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(3);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("etcd failed")]
    Etcd(#[from] Error),
    #[error("etcd did not answer in time")]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("the lease expired")]
    Lease,
}

pub(super) async fn run(keeper: &mut Keeper, endpoints: &[String], shutdown: &CancellationToken) {
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            lost = session(keeper, endpoints, &mut seen) => {
                if let Err(lost) = lost {
                    keeper.metrics.feed_connected.set(0);
                    tracing::warn!(error = &lost as &dyn std::error::Error, "lost etcd, serving on");
                }
            }
            () = shutdown.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(RECONNECT_PAUSE) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// What was looked at last.
#[derive(Default)]
struct Seen {
    /// Of the pointer.
    revision: Option<i64>,
    /// Of the last table that was whole, by hash: most of the next one is the same.
    chunks: BTreeMap<[u8; 32], Vec<u8>>,
}

struct Lease {
    id: i64,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

/// Runs until something fails.
async fn session(keeper: &mut Keeper, endpoints: &[String], seen: &mut Seen) -> Result<(), Lost> {
    let options = ConnectOptions::new()
        .with_connect_timeout(CALL_WITHIN)
        .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE_WITHIN)
        .with_keep_alive_while_idle(true)
        .with_require_leader(true);
    let mut client = timeout(CALL_WITHIN, Client::connect(endpoints, Some(options))).await??;
    // Read before watching and before the lease: neither may keep a table back, and an
    // etcd out of space grants no lease.
    follow(keeper, &mut client, seen).await?;
    let mut lease = grant(&mut client).await?;
    let mut told = None;
    tell(keeper, &mut client, lease.id, &mut told).await?;
    let mut hints = timeout(CALL_WITHIN, client.watch(keys::pointer(), None)).await??;
    let mut ticks = interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            hint = next_hint(&mut hints) => hint?,
            _ = ticks.tick() => keep_alive(&mut lease).await?,
        }
        follow(keeper, &mut client, seen).await?;
        tell(keeper, &mut client, lease.id, &mut told).await?;
    }
}

async fn next_hint(hints: &mut WatchStream) -> Result<(), Lost> {
    match hints.message().await? {
        Some(answer) if !answer.canceled() => Ok(()),
        // Compacted or cancelled: a new session starts a new one.
        _ => Err(Lost::Etcd(Error::WatchError(
            "the watch was cancelled".to_owned(),
        ))),
    }
}

async fn grant(client: &mut Client) -> Result<Lease, Lost> {
    let id = timeout(CALL_WITHIN, client.lease_grant(LEASE_SECONDS, None))
        .await??
        .id();
    let (keeper, answers) = timeout(CALL_WITHIN, client.lease_keep_alive(id)).await??;
    Ok(Lease {
        id,
        keeper,
        answers,
    })
}

async fn keep_alive(lease: &mut Lease) -> Result<(), Lost> {
    timeout(CALL_WITHIN, lease.keeper.keep_alive()).await??;
    let answer = timeout(CALL_WITHIN, lease.answers.message()).await??;
    if answer.is_some_and(|answer| answer.ttl() > 0) {
        Ok(())
    } else {
        Err(Lost::Lease)
    }
}

/// Writes the acknowledgement where it changed.
async fn tell(
    keeper: &Keeper,
    client: &mut Client,
    lease: i64,
    told: &mut Option<pb::Acknowledgement>,
) -> Result<(), Lost> {
    if told.as_ref() == Some(&keeper.ack) {
        return Ok(());
    }
    let key = keys::acknowledgement(&ProxyId::new(&keeper.ack.proxy));
    let options = PutOptions::new().with_lease(lease);
    let value = keeper.ack.encode_to_vec();
    timeout(CALL_WITHIN, client.put(key, value, Some(options))).await??;
    *told = Some(keeper.ack.clone());
    Ok(())
}

/// Looks at the pointer and takes what is new behind it.
async fn follow(keeper: &mut Keeper, client: &mut Client, seen: &mut Seen) -> Result<(), Lost> {
    let found = timeout(CALL_WITHIN, client.get(keys::pointer(), None)).await??;
    keeper.metrics.feed_connected.set(1);
    let Some(pointer) = found.kvs().first() else {
        return Ok(());
    };
    let revision = Some(pointer.mod_revision());
    if seen.revision == revision {
        return Ok(());
    }
    match fetch(keeper, client, pointer.value(), &mut seen.chunks).await? {
        Ok(bundle) => keeper.take(bundle).await,
        Err(refused) => keeper.refuse(&refused),
    }
    // Looked at, taken or not: a repaired table is another revision.
    seen.revision = revision;
    Ok(())
}

/// Gets the chunks that a signed manifest names and that are not at hand.
async fn fetch(
    keeper: &Keeper,
    client: &mut Client,
    signed: &[u8],
    at_hand: &mut BTreeMap<[u8; 32], Vec<u8>>,
) -> Result<Result<Bundle, Refused>, Lost> {
    let refuse = |error: &envelope::EnvelopeError| {
        Ok(Err(Refused {
            version: claimed_version(signed),
            flaw: chain(error),
        }))
    };
    let manifest = match envelope::manifest_of(signed, &keeper.trusted) {
        Ok(manifest) => manifest,
        Err(error) => return refuse(&error),
    };
    if keeper.newest() == Some(manifest.version) {
        return Ok(Ok(Bundle {
            signed: signed.to_vec(),
            payload: Vec::new(),
        }));
    }
    if let Err(refused) = check_newer(manifest.version, keeper.newest()) {
        return Ok(Err(refused));
    }
    let mut chunks = Vec::with_capacity(manifest.chunks.len());
    for hash in &manifest.chunks {
        if let Some(chunk) = at_hand.get(hash) {
            chunks.push(chunk.clone());
            continue;
        }
        let found = timeout(CALL_WITHIN, client.get(keys::chunk(hash), None)).await??;
        let chunk = found.kvs().first().map(|kv| kv.value().to_vec());
        chunks.push(chunk.unwrap_or_default());
    }
    match envelope::assemble(&manifest, &chunks) {
        Ok(payload) => {
            *at_hand = manifest.chunks.iter().copied().zip(chunks).collect();
            Ok(Ok(Bundle {
                signed: signed.to_vec(),
                payload,
            }))
        }
        Err(error) => refuse(&error),
    }
}

#[cfg(test)]
mod tests;
