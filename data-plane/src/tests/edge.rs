//! What the accept loop bounds, seen from outside.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stand::{Act, Stand, answers, hangs_after};
use super::{HI, ROLE, draft};

const HI_BODY: &str = r#"{"model":"auto","messages":[{"role":"user","content":"x"}]}"#;

async fn stand(a: Vec<Act>, limits: &str) -> Stand {
    let mut stand = Stand::start(a, vec![answers("4")], limits).await;
    stand.publish(&draft(1)).await;
    stand
}

/// Sends bytes and says after how long the proxy closed, and what it said.
async fn closed_after(stand: &Stand, bytes: &[u8]) -> (Duration, String) {
    let mut client = TcpStream::connect(&stand.address).await.unwrap();
    let started = Instant::now();
    client.write_all(bytes).await.unwrap();
    let mut seen = Vec::new();
    let reading = client.read_to_end(&mut seen);
    let _ = tokio::time::timeout(Duration::from_secs(5), reading)
        .await
        .expect("still open");
    (
        started.elapsed(),
        String::from_utf8_lossy(&seen).into_owned(),
    )
}

#[tokio::test]
async fn whoever_says_nothing_or_half_a_head_is_closed() {
    let stand = stand(vec![answers("4")], "header_ms = 300").await;
    for half in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n",
        b"POST / HTTP/1.1\r\nhost:",
    ] {
        let (after, _) = closed_after(&stand, half).await;
        assert!(
            after > Duration::from_millis(250) && after < Duration::from_secs(2),
            "{half:?}"
        );
    }
    assert_eq!(stand.ask(false).await.status(), 200);
}

#[tokio::test]
async fn a_body_announced_too_large_is_refused_before_it_is_read() {
    let stand = stand(vec![answers("4")], "").await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: secret-CALLER\r\n\
                content-length: 10737418240\r\n\r\n";
    let (_, said) = closed_after(&stand, head.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
}

/// The time that a client takes to send is not taken from the lanes.
#[tokio::test]
async fn a_request_that_is_sent_slowly_has_all_of_its_deadline() {
    let stand = stand(vec![answers("4")], "").await;
    let (begin, end) = HI_BODY.split_at(HI_BODY.len() / 2);
    let mut client = TcpStream::connect(&stand.address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: secret-CALLER\r\n\
         content-length: {}\r\n\r\n{begin}",
        HI_BODY.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    // Longer than the route's deadline.
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    client.write_all(end.as_bytes()).await.unwrap();
    let mut said = [0; 12];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 200");
}

#[tokio::test]
async fn http2_is_spoken_and_a_reset_stream_closes_the_upstream() {
    let mut stand = stand(vec![hangs_after(&[ROLE, HI])], "").await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let uri = format!("http://{}/v1/chat/completions", stand.address);
    let body = r#"{"model":"auto","stream":true,"messages":[{"content":"x"}]}"#;
    let request = Request::post(uri)
        .header("api-key", "secret-CALLER")
        .body(body.into())
        .unwrap();
    let mut response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.body_mut().frame().await.is_some());
    drop(response);
    let closed = tokio::time::timeout(Duration::from_secs(1), stand.a.hung_up.recv()).await;
    assert!(closed.is_ok());
    assert_eq!(stand.outcome().await.ending, "client_gone");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off_and_slows_the_provider() {
    let chunk = format!(
        r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#,
        "x".repeat(60_000)
    );
    let frames: Vec<&str> = std::iter::repeat_n(chunk.as_str(), 400).collect();
    let mut stand = stand(vec![hangs_after(&frames)], "write_stall_ms = 500").await;
    let body = r#"{"model":"auto","stream":true,"messages":[{"content":"x"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: secret-CALLER\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = TcpStream::connect(&stand.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let outcome = stand.outcome().await;
    assert_eq!(outcome.ending, "client_gone");
    let tokens = outcome.usage.unwrap().output_tokens;
    assert!(
        tokens < 400 * 60_000 / 4 / 2,
        "most was never read from the provider: {tokens}"
    );
}

#[tokio::test]
async fn an_http2_client_that_gives_no_window_is_given_up() {
    let frames: Vec<&str> = std::iter::repeat_n(HI, 400).collect();
    let mut stand = stand(vec![hangs_after(&frames)], "write_stall_ms = 500").await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .http2_initial_stream_window_size(0)
        .build_http();
    let uri = format!("http://{}/v1/chat/completions", stand.address);
    let request = Request::post(uri)
        .header("api-key", "secret-CALLER")
        .body(r#"{"model":"auto","stream":true,"messages":[{"content":"x"}]}"#.into())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let outcome = tokio::time::timeout(Duration::from_secs(5), stand.outcome()).await;
    assert_eq!(outcome.unwrap().ending, "client_gone");
    let closed = tokio::time::timeout(Duration::from_secs(1), stand.a.hung_up.recv()).await;
    assert!(closed.is_ok());
}

#[tokio::test]
async fn a_shutdown_waits_neither_for_idle_clients_nor_for_a_dead_control_plane() {
    let mut stand = stand(vec![answers("4")], "").await;
    let _idle = TcpStream::connect(&stand.address).await.unwrap();
    let mut kept = TcpStream::connect(&stand.address).await.unwrap();
    kept.write_all(b"GET /v1/models HTTP/1.1\r\nhost: x\r\napi-key: secret-CALLER\r\n\r\n")
        .await
        .unwrap();
    assert!(kept.read(&mut [0u8; 4096]).await.unwrap() > 0);
    stand.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(2), &mut stand.running).await;
    ended.unwrap().unwrap().unwrap();
}

/// What outlives the grace of a shutdown ends with an error that SDKs raise, not bare.
#[tokio::test]
async fn whoever_still_waits_after_the_grace_is_told() {
    for http2_only in [false, true] {
        let stand = stand(vec![hangs_after(&[ROLE, HI])], "").await;
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
            .http2_only(http2_only)
            .build_http();
        let ask = |body: &'static str| {
            let uri = format!("http://{}/v1/chat/completions", stand.address);
            let request = Request::post(uri).header("api-key", "secret-CALLER");
            client.request(request.body(body.into()).unwrap())
        };
        let whole = tokio::spawn(ask(HI_BODY));
        let mut stream = ask(r#"{"model":"auto","stream":true,"messages":[{"content":"x"}]}"#)
            .await
            .unwrap();
        assert!(stream.body_mut().frame().await.is_some());
        while stand.a.calls() < 2 {
            tokio::task::yield_now().await;
        }
        stand.shutdown.cancel();
        let rest = stream.into_body().collect();
        let (rest, whole) =
            tokio::time::timeout(Duration::from_secs(5), async { tokio::join!(rest, whole) })
                .await
                .unwrap();
        let rest = rest
            .unwrap_or_else(|e| panic!("http2 {http2_only}: {e:?}"))
            .to_bytes();
        let rest = String::from_utf8_lossy(&rest);
        assert!(
            rest.contains("shutting down") && !rest.contains("[DONE]"),
            "{rest}"
        );
        assert_eq!(whole.unwrap().unwrap().status(), 503, "http2 {http2_only}");
    }
}
