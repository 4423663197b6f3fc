//! The page in a real browser, against a real Spillway with traffic.

use std::process::Stdio;

use tokio::process::Command;

use crate::stand::{KEY, Process, free_port, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_works_in_chromium() {
    let dir = tempfile::tempdir().unwrap();
    let (app, page) = (free_port(), free_port());
    let (listen, dashboard) = (format!("127.0.0.1:{app}"), format!("127.0.0.1:{page}"));
    let folder = crate::stand::text(dir.path()).to_owned();
    let args = [
        "demo",
        "--dir",
        &folder,
        "--listen",
        &listen,
        "--dashboard",
        &dashboard,
        "--rps",
        "20",
    ];
    let demo = Process::start("demo", &args, "Stop with Ctrl-C").await;
    assert!(
        demo.output().contains("curl -i"),
        "the demo says how to try it"
    );
    let models = get(&format!("http://{listen}/v1/models"), "sk-spillway-demo").await;
    assert_eq!(
        models.status, 200,
        "{KEY} is for stands; the demo has its own key"
    );
    let token = std::fs::read_to_string(dir.path().join("control/admin.token")).unwrap();
    crate::stand::eventually("traffic is recorded", || async {
        let seen = get(
            &format!("http://{dashboard}/api/v1/overview?window=900"),
            &token,
        )
        .await;
        seen.status == 200
            && seen.json()["requests"].as_u64() > Some(60)
            // A what-if answers from a hundred scored requests on that weigh alike; those of
            // audits weigh less.
            && seen.json()["quality_count"].as_u64() > Some(180)
    })
    .await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser");
    let output = Command::new("npm")
        .args(["test", "--prefix", script])
        .env("SPILLWAY_DASHBOARD", format!("http://{dashboard}/"))
        .env("SPILLWAY_TOKEN", token)
        .env("SPILLWAY_WRITES", "1")
        .stdin(Stdio::null())
        .output()
        .await
        .expect("npm is installed: scripts/setup.sh test");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}");
}
