//! SIGTERM: what runs may finish, what is known gets out, the process ends well.

use http_body_util::BodyExt as _;
use serde_json::json;
use spillway_simulator::{Behaviour, Latency};

use crate::stand::{KEY, Stand, get, streaming};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_in_flight_finishes_and_its_outcome_is_reported() {
    let mut stand = Stand::new().start().await;
    let slow = Latency {
        first_token_median_ms: 50.0,
        spread: 0.0,
        tokens_per_second: 10.0,
    };
    stand
        .script("alpha")
        .set(Behaviour::healthy().with_latency(slow));
    let url = format!("{}/v1/chat/completions", stand.url());
    let body = json!({ "model": "auto", "stream": true, "messages": [{ "role": "user", "content": "count from one to ten, please" }] });
    let (head, mut body) = streaming(&url, KEY, &body).await;
    assert_eq!(head.status, 200);
    body.frame().await.unwrap().unwrap();
    stand.proxies[0].process.terminate().await;
    let rest = String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()).into_owned();
    assert!(rest.contains("[DONE]"), "{rest}");
    assert!(
        stand.proxies[0].process.ended().await,
        "{}",
        stand.proxies[0].process.output()
    );
    let recorded = stand.recorded(|rows| rows.len() == 1).await;
    assert_eq!(recorded[0]["ending"], "answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_ends_well_and_keeps_what_it_acknowledged() {
    let mut stand = Stand::new().start().await;
    assert_eq!(stand.ask("remember me").await.status, 200);
    stand.recorded(|rows| rows.len() == 1).await;
    stand.control.terminate().await;
    assert!(stand.control.ended().await);
    stand.restart_control().await;
    stand.recorded(|rows| rows.len() == 1).await;
    let metrics = get(&format!("{}/metrics", stand.dashboard), "").await;
    assert!(metrics.text().contains("spillway_outcomes_stored_total"));
}
