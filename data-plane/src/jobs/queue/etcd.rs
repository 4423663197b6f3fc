//! A fleet's queue in etcd.
//!
//! Owns: one key for each open work, ordered by when it is due, and one for each claim
//! under this proxy's lease: where the proxy dies, its claims end with the lease and
//! others take the work. Every change is one transaction.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcd_client::{Client, Compare, CompareOp, ConnectOptions, GetOptions, PutOptions, Txn, TxnOp};
use spillway_proto::keys;
use spillway_routing::unit::UnixMillis;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::{Due, StoreError, Work};
use super::Claim;

/// Any single call.
const CALL_WITHIN: Duration = Duration::from_secs(2);
/// Work of a proxy that died is taken by others after so long.
const LEASE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(3);
const REOPEN_AFTER: Duration = Duration::from_millis(250);
/// Open work that is read at once.
const PAGE: i64 = 500;
/// Operations of one transaction: etcd takes 128.
const PUTS_AT_ONCE: usize = 100;

pub(in crate::jobs) struct Fleet {
    endpoints: Vec<String>,
    session: Mutex<Option<Session>>,
}

/// A connection, and the lease that claims hang on: it lives as long as etcd lets it,
/// whatever single calls do, since jobs are done under it.
struct Session {
    client: Client,
    lease: i64,
    kept_alive: JoinHandle<()>,
}

impl Fleet {
    pub(super) fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            session: Mutex::default(),
        }
    }

    pub(super) async fn add(&self, due: &[Due]) -> Result<(), StoreError> {
        let (mut client, _) = self.session().await?;
        for some in due.chunks(PUTS_AT_ONCE) {
            let puts: Vec<TxnOp> = some
                .iter()
                .map(|due| TxnOp::put(open(due), "", None))
                .collect();
            timeout(CALL_WITHIN, client.txn(Txn::new().and_then(puts))).await??;
        }
        Ok(())
    }

    pub(super) async fn claim(&self, now: UnixMillis) -> Result<Option<Claim>, StoreError> {
        let (mut client, lease) = self.session().await?;
        let names = GetOptions::new().with_prefix().with_keys_only();
        let claims = timeout(CALL_WITHIN, client.get(keys::job_claims(), Some(names))).await??;
        let claims: BTreeSet<&[u8]> = claims.kvs().iter().map(|kv| kv.key()).collect();
        let (mut from, end) = (keys::open_jobs(), keys::open_jobs_end());
        loop {
            let page = GetOptions::new().with_range(end.as_str()).with_limit(PAGE);
            let found = timeout(CALL_WITHIN, client.get(from.as_str(), Some(page))).await??;
            for kv in found.kvs() {
                let Some(due) = kv.key_str().ok().and_then(named) else {
                    continue;
                };
                let not_before = kv.value_str().ok().and_then(|text| text.parse().ok());
                let claim = keys::job_claim(&due.work.to_string());
                if not_before > Some(now.0) || claims.contains(claim.as_bytes()) {
                    continue;
                }
                if take(&mut client, &due, &claim, lease).await? {
                    return Ok(Some(Claim { due, lease }));
                }
            }
            match found.kvs().last().and_then(|kv| kv.key_str().ok()) {
                // The next page begins behind the last key.
                Some(last) if found.more() => from = format!("{last}\0"),
                _ => return Ok(None),
            }
        }
    }

    pub(super) async fn done(&self, claim: &Claim) -> Result<(), StoreError> {
        let (mut client, _) = self.session().await?;
        // Done is done, whoever holds it now.
        timeout(CALL_WITHIN, client.delete(open(&claim.due), None)).await??;
        let (ours, drop) = ours(claim);
        timeout(
            CALL_WITHIN,
            client.txn(Txn::new().when([ours]).and_then([drop])),
        )
        .await??;
        Ok(())
    }

    pub(super) async fn release(&self, claim: &Claim, from: UnixMillis) -> Result<(), StoreError> {
        let (mut client, _) = self.session().await?;
        let (ours, drop) = ours(claim);
        let later = TxnOp::put(open(&claim.due), from.0.to_string(), None);
        let txn = Txn::new().when([ours]).and_then([later, drop]);
        timeout(CALL_WITHIN, client.txn(txn)).await??;
        Ok(())
    }

    async fn session(&self) -> Result<(Client, i64), StoreError> {
        let mut session = self.session.lock().await;
        if let Some(open) = session.as_ref().filter(|s| !s.kept_alive.is_finished()) {
            return Ok((open.client.clone(), open.lease));
        }
        let options = ConnectOptions::new()
            .with_connect_timeout(CALL_WITHIN)
            .with_require_leader(true);
        let connecting = Client::connect(&self.endpoints, Some(options));
        let mut client = timeout(CALL_WITHIN, connecting).await??;
        let granting = client.lease_grant(LEASE.as_secs() as i64, None);
        let lease = timeout(CALL_WITHIN, granting).await??.id();
        let kept_alive = tokio::spawn(keep_alive(client.clone(), lease));
        *session = Some(Session {
            client: client.clone(),
            lease,
            kept_alive,
        });
        Ok((client, lease))
    }
}

/// Claims one work, if nobody was quicker.
async fn take(client: &mut Client, due: &Due, claim: &str, lease: i64) -> Result<bool, StoreError> {
    let free = Compare::create_revision(claim, CompareOp::Equal, 0);
    let there = Compare::create_revision(open(due), CompareOp::Greater, 0);
    let under_lease = PutOptions::new().with_lease(lease);
    let put = TxnOp::put(claim, "", Some(under_lease));
    let txn = Txn::new().when([free, there]).and_then([put]);
    Ok(timeout(CALL_WITHIN, client.txn(txn)).await??.succeeded())
}

/// That a claim is still held, and its end.
fn ours(claim: &Claim) -> (Compare, TxnOp) {
    let key = keys::job_claim(&claim.due.work.to_string());
    let ours = Compare::lease(key.as_str(), CompareOp::Equal, claim.lease);
    (ours, TxnOp::delete(key, None))
}

/// Ends where the lease does: one answer that is late ends nothing.
async fn keep_alive(mut client: Client, lease: i64) {
    let mut heard = Instant::now();
    while heard.elapsed() < LEASE {
        let opened = timeout(CALL_WITHIN, client.lease_keep_alive(lease)).await;
        if let Ok(Ok((mut keeper, mut answers))) = opened {
            while let Ok(Ok(())) = timeout(CALL_WITHIN, keeper.keep_alive()).await {
                match timeout(CALL_WITHIN, answers.message()).await {
                    Ok(Ok(Some(answer))) if answer.ttl() > 0 => heard = Instant::now(),
                    Ok(Ok(Some(_))) => return,
                    _ => break,
                }
                tokio::time::sleep(KEEP_ALIVE_EVERY).await;
            }
        }
        tokio::time::sleep(REOPEN_AFTER).await;
    }
}

fn open(due: &Due) -> String {
    keys::open_job(due.by.0, &due.work.to_string())
}

/// From an open work's key.
fn named(key: &str) -> Option<Due> {
    let (by, work) = key.strip_prefix(&keys::open_jobs())?.split_once('/')?;
    Some(Due {
        by: UnixMillis(by.parse().ok()?),
        work: Work::parse(work),
    })
}
