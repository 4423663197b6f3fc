//! The official OpenAI SDK, unmodified, through a running proxy: only the base URL is
//! changed.

use std::process::Stdio;

use spillway_simulator::Fault;
use tokio::process::Command;

use crate::stand::{KEY, Stand};

async fn pytest(url: &str, select: &str) {
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
        .env("SPILLWAY_URL", format!("{url}/v1"))
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openai_sdk_gets_answers_streams_tools_and_errors() {
    let stand = Stand::new().start().await;
    pytest(stand.url(), "plain").await;
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
