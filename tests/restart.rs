//! Everything around the proxies dies under load; clients notice nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::stand::{POLICY, Stand, chat, eventually};

/// Open-loop load on one proxy; counts what failed.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(url: &str, per_second: u64) -> Self {
        let (stop, sent, failed) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicU64::new(0)),
        );
        let (url, stopped, counted, lost) = (
            url.to_owned(),
            Arc::clone(&stop),
            Arc::clone(&sent),
            Arc::clone(&failed),
        );
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
            let mut running = tokio::task::JoinSet::new();
            while !stopped.load(Ordering::SeqCst) {
                ticks.tick().await;
                let (url, lost, n) = (
                    url.clone(),
                    Arc::clone(&lost),
                    counted.fetch_add(1, Ordering::SeqCst),
                );
                running.spawn(async move {
                    let body = json!({ "model": "auto", "messages": [{ "role": "user", "content": format!("load {n}") }] });
                    if chat(&url, &body).await.status != 200 {
                        lost.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            while let Some(done) = running.join_next().await {
                done.unwrap();
            }
        });
        Self {
            stop,
            sent,
            failed,
            task,
        }
    }

    async fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        (
            self.sent.load(Ordering::SeqCst),
            self.failed.load(Ordering::SeqCst),
        )
    }
}

async fn sent_more(load: &Load, count: u64) {
    let from = load.sent.load(Ordering::SeqCst);
    eventually("the load goes on", || async {
        load.sent.load(Ordering::SeqCst) >= from + count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_etcd_and_the_control_plane_changes_nothing_for_clients() {
    let mut stand = Stand::new().proxies(2).start().await;
    let load = Load::start(stand.url(), 50);
    sent_more(&load, 50).await;
    stand.control.kill().await;
    stand.etcd.as_mut().unwrap().kill().await;
    sent_more(&load, 100).await;

    // A proxy restarted meanwhile serves from its last good table.
    stand.proxies[1].process.kill().await;
    stand.restart_proxy(1).await;
    let body = json!({ "model": "auto", "messages": [{ "role": "user", "content": "after the restart" }] });
    assert_eq!(chat(&stand.proxies[1].url, &body).await.status, 200);
    assert_eq!(stand.metric(1, "spillway_table_version").await, 1.0);
    assert_eq!(stand.metric(1, "spillway_feed_connected").await, 0.0);
    sent_more(&load, 100).await;

    stand.etcd.as_mut().unwrap().restart().await;
    stand.restart_control().await;
    let version = stand
        .publish(&POLICY.replace("bar = 0.85", "bar = 1.0"))
        .await;
    let published = Instant::now();
    eventually("both proxies serve the new table", || async {
        stand.metric(0, "spillway_table_version").await == version as f64
            && stand.metric(1, "spillway_table_version").await == version as f64
    })
    .await;
    let took = published.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    let (sent, failed) = load.end().await;
    assert_eq!(failed, 0, "of {sent}");
    // What happened meanwhile is reported once somebody listens again.
    eventually("every request has its outcome", || async {
        stand.api("/overview?window=3600").await["requests"]
            .as_u64()
            .unwrap()
            > sent
    })
    .await;
    assert_eq!(
        stand.api("/overview?window=3600").await["requests"],
        sent + 1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_any_table_says_that_it_is_not_ready() {
    let mut stand = Stand::new().start().await;
    stand.control.kill().await;
    stand.etcd.as_mut().unwrap().kill().await;
    stand.proxies[0].process.kill().await;
    std::fs::remove_dir_all(stand.dir.path().join("proxy0")).unwrap();
    let config = stand.dir.path().join("proxy0.toml");
    stand.proxies[0].process = crate::stand::Process::start(
        "proxy0",
        &["proxy", "--config", crate::stand::text(&config)],
        "serving apps",
    )
    .await;
    eventually("it answers that it is not ready", || async {
        let url = format!("{}/readyz", stand.proxies[0].admin);
        crate::stand::request("GET", &url, &[], "")
            .await
            .is_ok_and(|answer| answer.status == 503)
    })
    .await;
    let answer = stand.ask("x").await;
    assert_eq!(answer.status, 503);
    assert!(!answer.header("retry-after").is_empty());
}
