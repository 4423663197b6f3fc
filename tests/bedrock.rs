//! Bedrock: signed requests, and streams in AWS's own frames.

use std::process::Stdio;

use spillway_simulator::Ledger;
use tokio::process::Command;

use crate::dialects::{ask, ends, text};
use crate::stand::{ACCESS_KEY, BEDROCK_MODEL, Stand};

/// What the simulated provider takes for [`ACCESS_KEY`]'s secret.
const SECRET: &str = "secret-AKIASTAND";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_signed_and_their_binary_streams_read() {
    let plan = Stand::new().dialects().signed("converse", SECRET);
    let stand = plan.embedded().start().await;
    for stream in [false, true] {
        let answer = ask(stand.url(), "chat", "claude-bedrock", "one two", stream).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(text("chat", &answer, stream), "echo: one two");
        assert!(!stream || ends("chat", &answer), "{}", answer.text());
    }
    let attempts = stand.simulator().ledger().attempts();
    assert_eq!(attempts.len(), 2);
    for attempt in attempts {
        assert_eq!(attempt.key_hash, Some(Ledger::key_hash(ACCESS_KEY)));
        assert_eq!(attempt.model, BEDROCK_MODEL);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_is_the_operators_matter() {
    let plan = Stand::new().dialects().signed("converse", "another");
    let stand = plan.embedded().start().await;
    let refused = ask(stand.url(), "chat", "claude-bedrock", "one two", false).await;
    assert_eq!(refused.status, 502, "{}", refused.text());
    let said = refused.text();
    assert!(said.contains("credentials"), "{said}");
    assert!(!said.contains(ACCESS_KEY), "{said}");
}

/// The simulated provider is what AWS's own SDK takes it for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_of_aws_is_served_by_the_simulated_provider() {
    let stand = Stand::new().dialects().embedded().start().await;
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(format!("{root}/.tools/python/bin/python"))
        .arg(format!("{root}/tests/sdk/aws.py"))
        .arg(stand.simulator().bedrock_base_url("converse"))
        .args([BEDROCK_MODEL, ACCESS_KEY, SECRET])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the SDKs are installed: scripts/setup.sh test");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}
