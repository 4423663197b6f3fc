//! A fleet's queue in etcd.
//!
//! Owns: one key for each open work, ordered by when it is due, and one for each claim
//! under this proxy's lease: where the proxy dies, its claims end with the lease and
//! others take the work. Every change is one transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp,
};
use spillway_proto::keys;
use spillway_routing::unit::UnixMillis;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::{Due, StoreError, Work};

/// Any single call.
const CALL_WITHIN: Duration = Duration::from_secs(3);
/// Work of a proxy that died is taken by others after so long.
const LEASE_SECONDS: i64 = 10;
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(3);
/// Open work that is looked at for one claim.
const LOOKED_AT: i64 = 256;
/// Operations of one transaction: etcd takes 128.
const PUTS_AT_ONCE: usize = 100;

pub(in crate::jobs) struct Fleet {
    endpoints: Vec<String>,
    session: Mutex<Option<Session>>,
}

/// A connection, and the lease that claims hang on.
struct Session {
    client: Client,
    lease: i64,
    kept_alive: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.kept_alive.abort();
    }
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

    pub(super) async fn claim(&self) -> Result<Option<Due>, StoreError> {
        let claimed = self.try_claim().await;
        if claimed.is_err() {
            // The next call begins anew.
            *self.session.lock().await = None;
        }
        claimed
    }

    async fn try_claim(&self) -> Result<Option<Due>, StoreError> {
        let (mut client, lease) = self.session().await?;
        let all = || GetOptions::new().with_prefix().with_keys_only();
        let claims = timeout(CALL_WITHIN, client.get(keys::job_claims(), Some(all()))).await??;
        let claims: BTreeSet<&[u8]> = claims.kvs().iter().map(|kv| kv.key()).collect();
        let first = all().with_limit(LOOKED_AT + claims.len() as i64);
        let found = timeout(CALL_WITHIN, client.get(keys::open_jobs(), Some(first))).await??;
        for kv in found.kvs() {
            let Some(due) = kv.key_str().ok().and_then(named) else {
                continue;
            };
            let claim = keys::job_claim(&due.work.to_string());
            if claims.contains(claim.as_bytes()) {
                continue;
            }
            let free = Compare::create_revision(claim.as_str(), CompareOp::Equal, 0);
            let there = Compare::create_revision(open(&due), CompareOp::Greater, 0);
            let under_lease = PutOptions::new().with_lease(lease);
            let put = TxnOp::put(claim.as_str(), "", Some(under_lease));
            let txn = Txn::new().when([free, there]).and_then([put]);
            if timeout(CALL_WITHIN, client.txn(txn)).await??.succeeded() {
                return Ok(Some(due));
            }
        }
        Ok(None)
    }

    pub(super) async fn done(&self, due: &Due) -> Result<(), StoreError> {
        let (mut client, _) = self.session().await?;
        let claim = keys::job_claim(&due.work.to_string());
        let ends = [
            TxnOp::delete(open(due), None::<DeleteOptions>),
            TxnOp::delete(claim, None::<DeleteOptions>),
        ];
        timeout(CALL_WITHIN, client.txn(Txn::new().and_then(ends))).await??;
        Ok(())
    }

    pub(super) async fn release(&self, due: &Due) -> Result<(), StoreError> {
        let (mut client, _) = self.session().await?;
        let claim = keys::job_claim(&due.work.to_string());
        timeout(CALL_WITHIN, client.delete(claim, None)).await??;
        Ok(())
    }

    async fn session(&self) -> Result<(Client, i64), StoreError> {
        let mut session = self.session.lock().await;
        if let Some(open) = session.as_ref().filter(|s| !s.kept_alive.is_finished()) {
            return Ok((open.client.clone(), open.lease));
        }
        *session = None;
        let options = ConnectOptions::new()
            .with_connect_timeout(CALL_WITHIN)
            .with_require_leader(true);
        let connecting = Client::connect(&self.endpoints, Some(options));
        let mut client = timeout(CALL_WITHIN, connecting).await??;
        let granting = client.lease_grant(LEASE_SECONDS, None);
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

/// Ends where the lease does, or where nothing is heard of it.
async fn keep_alive(mut client: Client, lease: i64) {
    let opened = timeout(CALL_WITHIN, client.lease_keep_alive(lease)).await;
    let Ok(Ok((mut keeper, mut answers))) = opened else {
        return;
    };
    loop {
        let asked = timeout(CALL_WITHIN, keeper.keep_alive()).await;
        let answer = timeout(CALL_WITHIN, answers.message()).await;
        match (asked, answer) {
            (Ok(Ok(())), Ok(Ok(Some(answer)))) if answer.ttl() > 0 => {}
            _ => return,
        }
        tokio::time::sleep(KEEP_ALIVE_EVERY).await;
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
