//! Against a real etcd on a free port.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use spillway_proto::envelope::{SecretKey, seal};
use spillway_routing::id::TableVersion;

use super::*;
use crate::feed::{Current, Feed};
use crate::metrics::Metrics;

struct Etcd {
    process: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Etcd {
    fn start(port: u16, folder: tempfile::TempDir) -> Self {
        let url = format!("http://127.0.0.1:{port}");
        let process = Command::new("etcd")
            .args(["--name", "t", "--log-level", "error", "--data-dir"])
            .arg(folder.path())
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args(["--listen-peer-urls", "http://127.0.0.1:0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed");
        Self {
            process,
            url,
            folder,
        }
    }

    fn stop(mut self) -> tempfile::TempDir {
        let _ = self.process.kill();
        let _ = self.process.wait();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    async fn client(&self) -> Client {
        for _ in 0..100 {
            let connected = Client::connect([&self.url], None).await;
            if let Ok(mut client) = connected
                && client.get("up", None).await.is_ok()
            {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("etcd does not come up");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn publish(client: &mut Client, version: u64) {
    let bundle = seal(
        &crate::tests::draft(version),
        &SecretKey::from_seed([1; 32]),
    )
    .unwrap();
    for (hash, chunk) in bundle.chunks() {
        client
            .put(keys::chunk(&hash), chunk.to_vec(), None)
            .await
            .unwrap();
    }
    client
        .put(keys::pointer(), bundle.signed.clone(), None)
        .await
        .unwrap();
}

async fn serves(current: &Current, version: u64) {
    for _ in 0..200 {
        let found = current.load().as_ref().map(|table| table.version());
        if found == Some(TableVersion(version)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("version {version} is not served");
}

#[tokio::test]
async fn tables_come_through_etcd_and_through_its_restart() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let data = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let current: Current = Arc::new(ArcSwapOption::empty());
    let trusted = [SecretKey::from_seed([1; 32]).public()];
    let proxy = ProxyId::new("p.boot");
    let keeper = Keeper::new(
        &proxy,
        "127.0.0.1:1".to_owned(),
        data.path(),
        &trusted,
        Arc::clone(&current),
        Arc::clone(&metrics),
    );
    let shutdown = CancellationToken::new();
    // The proxy starts first: etcd may come later.
    let feed = Feed::Etcd {
        endpoints: vec![format!("http://127.0.0.1:{port}")],
    };
    let running = tokio::spawn(keeper.unwrap().run(feed, shutdown.clone()));
    let etcd = Etcd::start(port, tempfile::tempdir().unwrap());
    let mut client = etcd.client().await;
    publish(&mut client, 1).await;
    serves(&current, 1).await;
    publish(&mut client, 2).await;
    serves(&current, 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let key = keys::acknowledgement(&proxy);
    let found = client.get(key.clone(), None).await.unwrap();
    let ack = pb::Acknowledgement::decode(found.kvs()[0].value()).unwrap();
    assert_eq!((ack.version, ack.proxy.as_str()), (2, "p.boot"));
    assert!(found.kvs()[0].lease() != 0, "under a lease");

    let etcd = Etcd::start(port, etcd.stop());
    let mut client = etcd.client().await;
    publish(&mut client, 3).await;
    serves(&current, 3).await;
    assert_eq!(metrics.feed_connected.get(), 1);
    shutdown.cancel();
    running.await.unwrap();
}
