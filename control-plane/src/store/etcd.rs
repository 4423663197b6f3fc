//! The store over etcd.
//!
//! Owns: the client, its timeouts and transactions. Every call has a deadline: a
//! stopped etcd gives no error, only silence.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Client, Compare, CompareOp, ConnectOptions, GetOptions, Txn, TxnOp};

use super::{Expected, StoreError, Versioned};

/// A stopped etcd answers nothing at all; this is when we stop waiting.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

pub struct EtcdStore {
    client: Client,
    endpoints: String,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EtcdStore({})", self.endpoints)
    }
}

impl EtcdStore {
    pub(super) async fn connect(endpoints: &[String]) -> Result<Self, StoreError> {
        let options = ConnectOptions::new()
            .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE_TIMEOUT)
            .with_keep_alive_while_idle(true)
            .with_connect_timeout(CALL_TIMEOUT)
            .with_require_leader(true);
        let names = endpoints.join(", ");
        let client = Client::connect(endpoints, Some(options)).await;
        let client = client.map_err(|source| unreachable(&names, source))?;
        Ok(Self {
            client,
            endpoints: names,
        })
    }

    async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(answer) => answer.map_err(|source| unreachable(&self.endpoints, source)),
            Err(_) => Err(StoreError::TimedOut {
                endpoints: self.endpoints.clone(),
                seconds: CALL_TIMEOUT.as_secs(),
            }),
        }
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Versioned>, StoreError> {
        let mut kv = self.client.kv_client();
        let answer = self.within(kv.get(key, None)).await?;
        Ok(answer.kvs().first().map(versioned))
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Versioned>, StoreError> {
        let mut kv = self.client.kv_client();
        let answer = self
            .within(kv.get(prefix, Some(GetOptions::new().with_prefix())))
            .await?;
        Ok(answer.kvs().iter().map(versioned).collect())
    }

    pub(super) async fn keys(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut kv = self.client.kv_client();
        let options = GetOptions::new().with_prefix().with_keys_only();
        let answer = self.within(kv.get(prefix, Some(options))).await?;
        Ok(answer
            .kvs()
            .iter()
            .map(|pair| versioned(pair).key)
            .collect())
    }

    pub(super) async fn put(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
        also: Vec<(String, Bytes)>,
    ) -> Result<(), StoreError> {
        let compare = match expected {
            Expected::Absent => vec![Compare::version(key, CompareOp::Equal, 0)],
            Expected::Revision(revision) => {
                vec![Compare::mod_revision(key, CompareOp::Equal, revision)]
            }
            Expected::Anything => Vec::new(),
        };
        let mut writes = vec![TxnOp::put(key, value.to_vec(), None)];
        writes.extend(
            also.into_iter()
                .map(|(key, value)| TxnOp::put(key, value.to_vec(), None)),
        );
        let mut kv = self.client.kv_client();
        let answer = self
            .within(kv.txn(Txn::new().when(compare).and_then(writes)))
            .await?;
        if answer.succeeded() {
            Ok(())
        } else {
            Err(StoreError::Conflict {
                key: key.to_owned(),
            })
        }
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let mut kv = self.client.kv_client();
        self.within(kv.delete(key, None)).await.map(|_| ())
    }
}

fn versioned(pair: &etcd_client::KeyValue) -> Versioned {
    Versioned {
        key: String::from_utf8_lossy(pair.key()).into_owned(),
        value: Bytes::copy_from_slice(pair.value()),
        revision: pair.mod_revision(),
    }
}

fn unreachable(endpoints: &str, source: etcd_client::Error) -> StoreError {
    StoreError::Unreachable {
        endpoints: endpoints.to_owned(),
        source: Box::new(source),
    }
}
