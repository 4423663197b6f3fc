//! The official SDKs, unmodified, through a running proxy: only the base URL is changed.
//! `tests/sdk/` has the clients, the features and the cells that a dialect cannot carry.

use std::process::Stdio;

use spillway_simulator::Fault;
use tokio::process::Command;

use crate::stand::{KEY, Stand};

pub(crate) async fn pytest(url: &str, select: &str) {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(format!("{root}/.tools/python/bin/python"))
        .args([
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            select,
            &format!("{root}/tests/sdk"),
        ])
        .env("SPILLWAY_URL", url)
        .env("SPILLWAY_KEY", KEY)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the SDKs are installed: scripts/setup.sh test");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Every client, every feature, every provider's dialect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_matrix_of_python_sdks_passes() {
    let stand = Stand::new().dialects().embedded().start().await;
    pytest(stand.url(), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_matrix_of_node_sdks_passes() {
    let stand = Stand::new().dialects().embedded().start().await;
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new("node")
        .args(["--test", "--test-reporter=tap", "tests/sdk/node"])
        .current_dir(root)
        .env("SPILLWAY_URL", stand.url())
        .env("SPILLWAY_KEY", KEY)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("node is installed: scripts/setup.sh test");
    let told = String::from_utf8_lossy(&output.stdout);
    let failed = told
        .lines()
        .filter(|line| line.trim_start().starts_with("not ok"));
    let failed: Vec<&str> = failed.take(30).collect();
    assert!(output.status.success(), "{failed:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_sdk_gets_answers_streams_tools_and_errors() {
    let stand = Stand::new().start().await;
    pytest(stand.url(), "plain").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_sdk_leaves_work_and_fetches_it() {
    let stand = Stand::new().proxies(2).start().await;
    pytest(stand.url(), "background").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_sdk_sees_no_failure_while_another_provider_is_healthy() {
    let stand = Stand::new().start().await;
    for fault in [
        Fault::status(503),
        Fault::rate_limited(20),
        Fault::HangBeforeHeaders,
        Fault::CutBeforeContent,
    ] {
        stand.script("alpha").fail(fault);
        pytest(stand.url(), "failing").await;
    }
}
