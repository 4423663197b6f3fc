//! A whole proxy on real sockets, against fakes.

mod audits;
mod edge;
mod fixture;
mod lanes;
pub(crate) mod stand;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use spillway_proto::pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) use self::fixture::draft;
use self::stand::{Act, Stand, answers, hangs_after, status, streams};

const ROLE: &str = r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
const HI: &str = r#"{"choices":[{"delta":{"content":"hi"}}]}"#;
const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":2}}"#;
const DONE: &str = "[DONE]";

async fn stand(a: Vec<Act>, b: Vec<Act>) -> Stand {
    let mut stand = Stand::start(a, b, "").await;
    stand.publish(&draft(1)).await;
    stand
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

fn code(response: &Response<Bytes>) -> String {
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    body["error"]["code"].as_str().unwrap().to_owned()
}

fn results(outcome: &pb::Outcome) -> Vec<&str> {
    outcome
        .attempts
        .iter()
        .map(|attempt| attempt.result.as_str())
        .collect()
}

#[tokio::test]
async fn an_answer_comes_from_the_cheapest_lane_and_is_accounted() {
    let mut stand = stand(vec![answers("four")], vec![answers("4")]).await;
    let response = stand.ask(false).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "x-spillway-lane"), "a:small/standard");
    assert_eq!(header(&response, "x-spillway-cost-usd"), "0.001500000");
    assert_eq!(header(&response, "x-spillway-attempts"), "1");
    assert_eq!(header(&response, "x-spillway-table-version"), "1");
    assert!(header(&response, "x-spillway-decision").contains("cheapest"));
    let outcome = stand.outcome().await;
    assert_eq!((outcome.ending.as_str(), outcome.status), ("answered", 200));
    assert_eq!(outcome.cost_nano_usd, 1_500_000);
    assert_eq!(outcome.baseline_cost_nano_usd, 15_000_000);
    assert_eq!(outcome.facts.unwrap().key.as_deref(), Some("team"));
    let sent = stand.a.received.lock().unwrap()[0].clone();
    assert!(sent.contains("authorization: Bearer secret-A_KEY"));
    assert!(sent.contains(r#""model":"small-wire""#));
    assert!(!sent.contains("secret-CALLER"));
}

#[tokio::test]
async fn a_stream_fails_over_silently_before_content() {
    let mut stand = stand(
        vec![streams(&[ROLE])],
        vec![streams(&[ROLE, HI, STOP, USAGE, DONE])],
    )
    .await;
    let response = stand.ask(true).await;
    let expected = [ROLE, HI, STOP, DONE]
        .map(|frame| format!("data: {frame}\n\n"))
        .concat();
    assert_eq!(
        response.body(),
        expected.as_bytes(),
        "without the usage nobody asked for"
    );
    assert_eq!(header(&response, "x-spillway-lane"), "b:large/standard");
    assert_eq!(header(&response, "x-spillway-possible-charge"), "1");
    assert!(header(&response, "x-spillway-decision").starts_with("fallback 1"));
    let outcome = stand.outcome().await;
    assert_eq!(results(&outcome), ["failed", "answered"]);
    let usage = outcome.usage.unwrap();
    assert!(usage.reported && usage.output_tokens == 2);
}

#[tokio::test]
async fn a_stream_that_breaks_after_content_ends_with_an_error_and_no_done() {
    let mut stand = stand(vec![streams(&[ROLE, HI])], vec![answers("never")]).await;
    let response = stand.ask(true).await;
    let text = String::from_utf8(response.body().to_vec()).unwrap();
    assert!(text.starts_with(&format!("data: {ROLE}\n\ndata: {HI}\n\ndata: {{\"error\"")));
    assert!(!text.contains("[DONE]"));
    let outcome = stand.outcome().await;
    assert_eq!(
        (outcome.ending.as_str(), results(&outcome)),
        ("cut", vec!["cut"])
    );
    assert_eq!(stand.b.calls(), 0);
    assert!(!outcome.usage.unwrap().reported);
}

#[tokio::test]
async fn retry_classes_lead_where_they_should() {
    for (first, expected, result, code_seen) in [
        (
            status(429, "retry-after: 7\r\n", "{}"),
            200,
            "overloaded",
            "",
        ),
        (status(401, "", "{}"), 200, "rejected", ""),
        (status(500, "", "{}"), 200, "failed", ""),
        (status(200, "", "<html>"), 200, "failed", ""),
        (
            status(302, "location: http://127.0.0.1:1/\r\n", ""),
            200,
            "rejected",
            "",
        ),
        (
            status(400, "", r#"{"error":{"code":"context_length_exceeded"}}"#),
            400,
            "rejected",
            "context_length_exceeded",
        ),
    ] {
        let mut stand = stand(vec![first], vec![answers("4")]).await;
        let response = stand.ask(false).await;
        assert_eq!(response.status(), expected, "{result}");
        assert_eq!(results(&stand.outcome().await)[0], result);
        if expected == 400 {
            assert_eq!(code(&response), code_seen);
            assert_eq!(stand.b.calls(), 0);
        }
    }
}

#[tokio::test]
async fn when_all_lanes_fail_the_caller_hears_what_to_do() {
    let overloaded = || status(503, "retry-after: 9\r\n", "{}");
    let mut stand = stand(vec![overloaded()], vec![overloaded()]).await;
    let response = stand.ask(false).await;
    assert_eq!(
        (response.status().as_u16(), code(&response)),
        (503, "upstream_overloaded".into())
    );
    assert_eq!(header(&response, "retry-after"), "9");
    assert_eq!(stand.outcome().await.ending, "failed");
    let response = stand.ask(false).await;
    assert_eq!(
        (response.status().as_u16(), code(&response)),
        (503, "lanes_out".into())
    );
    assert_eq!(stand.outcome().await.ending, "refused");
    assert_eq!(stand.a.calls(), 1, "both cool down");
}

#[tokio::test]
async fn silence_is_given_up_in_time_and_possibly_charged() {
    let mut stand = stand(vec![hangs_after(&[ROLE])], vec![hangs_after(&[ROLE])]).await;
    let started = Instant::now();
    let response = stand.ask(true).await;
    assert_eq!(
        (response.status().as_u16(), code(&response)),
        (504, "upstream_timeout".into())
    );
    assert!(started.elapsed() < Duration::from_millis(2_500));
    assert_eq!(header(&response, "x-should-retry"), "false");
    assert_eq!(header(&response, "x-spillway-possible-charge"), "2");
    assert_eq!(results(&stand.outcome().await), ["timed_out", "timed_out"]);
    stand.a.hung_up.recv().await.unwrap();
}

/// Raw clients: one that just leaves, one that leaves with a pipelined request unread.
#[tokio::test]
async fn a_client_that_leaves_closes_the_upstream() {
    for pipelined in [false, true] {
        let mut stand = stand(vec![hangs_after(&[ROLE, HI])], vec![answers("never")]).await;
        let body = r#"{"model":"auto","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: secret-CALLER\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut client = TcpStream::connect(&stand.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("hi") {
            let mut part = [0u8; 4096];
            let count = client.read(&mut part).await.unwrap();
            seen.extend_from_slice(&part[..count]);
        }
        if pipelined {
            client.write_all(request.as_bytes()).await.unwrap();
        }
        drop(client);
        let within = tokio::time::timeout(Duration::from_millis(600), stand.a.hung_up.recv()).await;
        assert!(within.is_ok(), "pipelined: {pipelined}");
        let outcome = stand.outcome().await;
        assert_eq!(
            (outcome.ending.as_str(), results(&outcome)),
            ("client_gone", vec!["client_gone"])
        );
        assert!(stand.no_outcome().await);
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_content_is_recorded_too() {
    let mut stand = stand(vec![hangs_after(&[ROLE])], vec![hangs_after(&[ROLE])]).await;
    let asking = tokio::time::timeout(Duration::from_millis(300), stand.ask(true));
    assert!(asking.await.is_err());
    stand.a.hung_up.recv().await.unwrap();
    let outcome = stand.outcome().await;
    assert_eq!(
        (outcome.ending.as_str(), outcome.status),
        ("client_gone", 499)
    );
    assert_eq!(results(&outcome), ["client_gone"]);
}

#[tokio::test]
async fn what_is_no_request_is_refused_without_an_outcome() {
    let mut stand = Stand::start(vec![answers("4")], vec![answers("4")], "body_bytes = 200").await;
    let early = stand.ask(false).await;
    assert_eq!(
        (early.status().as_u16(), code(&early)),
        (503, "no_table".into())
    );
    assert_eq!(stand.admin("/readyz").await.status(), 503);
    stand.publish(&draft(1)).await;
    assert_eq!(stand.admin("/readyz").await.status(), 200);
    assert_eq!(stand.send("/v1/chat/completions", "{").await.status(), 400);
    assert_eq!(
        stand
            .send("/v1/chat/completions", vec![b' '; 201])
            .await
            .status(),
        413
    );
    assert_eq!(
        code(&stand.send("/v1/audio/speech", "{}").await),
        "unknown_path"
    );
    let uri = format!("http://{}/v1/models", stand.address);
    let open = stand::fetch(http::Request::get(uri).body(Default::default()).unwrap()).await;
    assert_eq!(open.status(), 401);
    assert!(!header(&open, "x-spillway-request-id").is_empty());
    assert!(stand.no_outcome().await);
    let unknown = r#"{"model":"nope","messages":[{"content":"x"}]}"#;
    assert_eq!(
        stand.send("/v1/chat/completions", unknown).await.status(),
        404
    );
    assert_eq!(stand.outcome().await.ending, "refused");
}

#[tokio::test]
async fn a_decision_can_be_explained_without_a_call() {
    let stand = stand(vec![answers("4")], vec![answers("4")]).await;
    let response = stand
        .send(
            "/v1/route",
            r#"{"model":"auto","messages":[{"content":"x"}]}"#,
        )
        .await;
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["plan"][0]["lane"], "a:small/standard");
    assert_eq!(body["trail"][0]["verdict"], "chosen");
    assert_eq!(stand.a.calls(), 0);
}

#[tokio::test]
async fn feedback_becomes_a_verdict_and_metrics_name_what_happened() {
    let mut stand = stand(vec![answers("4")], vec![answers("4")]).await;
    let id = header(&stand.ask(false).await, "x-spillway-request-id").to_owned();
    let feedback = format!(r#"{{"request_id":"{id}","thumb":"up"}}"#);
    assert_eq!(stand.send("/v1/feedback", feedback).await.status(), 202);
    stand.outcome().await;
    let metrics = String::from_utf8(stand.admin("/metrics").await.body().to_vec()).unwrap();
    for line in [
        r#"spillway_requests_total{ending="answered",model="small",route="auto"} 1"#,
        r#"spillway_attempts_total{lane="a:small/standard",result="answered"} 1"#,
        r#"spillway_lane_open{lane="b:large/standard"} 0"#,
        "spillway_table_version 1",
        "spillway_feed_connected 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_bad_table_is_refused_and_the_last_good_one_served() {
    let mut stand = stand(vec![answers("4")], vec![answers("4")]).await;
    let mut broken = draft(2);
    broken.routes[0].default_lane = "nowhere".into();
    let ack = stand.publish(&broken).await;
    assert_eq!((ack.version, ack.refused_version), (1, 2));
    assert!(ack.refusal.contains("nowhere"));
    assert_eq!(
        header(&stand.ask(false).await, "x-spillway-table-version"),
        "1"
    );
    let ack = stand.publish(&draft(3)).await;
    assert_eq!(
        (ack.version, ack.refused_version, ack.refusal.as_str()),
        (3, 0, "")
    );
    assert_eq!(
        stand.publish(&draft(2)).await.refused_version,
        2,
        "never back"
    );
}

#[tokio::test]
async fn a_drain_lets_requests_finish_and_reports_the_rest() {
    let mut stand = stand(vec![hangs_after(&[ROLE, HI])], vec![answers("4")]).await;
    let request = {
        let uri = format!("http://{}/v1/chat/completions", stand.address);
        let body = r#"{"model":"auto","stream":true,"messages":[{"content":"x"}]}"#;
        http::Request::post(uri)
            .header("api-key", "secret-CALLER")
            .body(body.into())
            .unwrap()
    };
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let client = client.build_http::<http_body_util::Full<Bytes>>();
    let response = client.request(request).await.unwrap();
    stand.shutdown.cancel();
    assert!(TcpStream::connect(&stand.address).await.is_err() || !stand.running.is_finished());
    let outcome = stand.outcome().await;
    assert_eq!(outcome.ending, "cut");
    (&mut stand.running).await.unwrap().unwrap();
    drop(response);
}
