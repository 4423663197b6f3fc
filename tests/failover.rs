//! Providers fail in every way they do; clients do not notice while another is healthy.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use spillway_simulator::{Answerer, Fault, Outcome, ProviderConfig, RetryAfter, ServedModel};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::stand::{KEY, Stand, chat, free_port, get};

fn ways_to_fail() -> Vec<Fault> {
    vec![
        Fault::status(503),
        Fault::rate_limited(30),
        Fault::Status {
            code: 500,
            retry_after: None,
            body: None,
        },
        Fault::Status {
            code: 529,
            retry_after: Some(RetryAfter::Seconds(1)),
            body: None,
        },
        Fault::Status {
            code: 401,
            retry_after: None,
            body: None,
        },
        Fault::Reset,
        Fault::HangBeforeHeaders,
        Fault::HangAfterHeaders,
        Fault::CutBeforeContent,
        Fault::Garbage,
        Fault::EmptyBody,
        Fault::DoneAtOnce,
    ]
}

/// Large's cheaper lane fails in one way after the other; the other provider serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_provider_is_never_seen_before_content() {
    for (i, fault) in ways_to_fail().into_iter().enumerate() {
        let stand = Stand::new().embedded().start().await;
        stand.script("alpha").fail(fault.clone());
        for stream in [false, true] {
            let body = json!({ "model": "best", "stream": stream, "messages": [{ "role": "user", "content": format!("case {i}") }] });
            let answer = tokio::time::timeout(Duration::from_secs(60), chat(stand.url(), &body))
                .await
                .expect("an answer in time");
            assert_eq!(
                answer.status,
                200,
                "{fault:?}, stream {stream}: {}",
                answer.text()
            );
            assert!(
                !answer.text().contains("\"error\""),
                "{fault:?}: {}",
                answer.text()
            );
            assert_eq!(
                answer.header("x-spillway-lane"),
                "beta:large/standard",
                "{fault:?}"
            );
        }
        let recorded = stand.recorded(|rows| rows.len() == 2).await;
        assert!(
            recorded.iter().all(|row| row["ending"] == "answered"),
            "{fault:?}"
        );
    }
}

/// One model at two providers, of which the cheaper one cannot be reached.
const UNREACHABLE: &str = r#"
version = 1

[[upstreams]]
provider = "gone"
models = ["large"]
prices.standard = { input = 1.0, output = 2.0 }

[[upstreams]]
provider = "beta"
models = ["large"]
prices.standard = { input = 10.0, output = 20.0 }

[routes.auto]
baseline = "large"
floor = 0.0
"#;

/// What a server does with whoever connects; its address.
async fn server(hello: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            match hello {
                Some(bytes) => socket.write_all(bytes).await.unwrap(),
                None => open.push(socket),
            }
        }
    });
    format!("https://{address}/v1")
}

/// Connections that never become one: nothing was sent, and nothing can be charged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_cannot_be_reached_is_never_seen() {
    // RFC 8446, section 6: a fatal alert, handshake_failure.
    const ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28];
    let ways = [
        ("a TLS alert", server(Some(ALERT)).await),
        (
            "no TLS",
            server(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await,
        ),
        ("closed at once", server(Some(b"")).await),
        ("silence in the handshake", server(None).await),
        ("refused", format!("http://127.0.0.1:{}/v1", free_port())),
        ("no such name", "https://provider.invalid/v1".to_owned()),
    ];
    let cases = ways.map(|(way, url)| async move {
        let large = ServedModel::new("large", 10_000, 20_000);
        let providers = vec![ProviderConfig::new("beta", vec![large])];
        let stand = Stand::new()
            .embedded()
            .limits("connect_ms = 2000")
            .providers(Answerer::Echo, providers)
            .provider_at("gone", &url)
            .policy(UNREACHABLE)
            .start()
            .await;
        for stream in [false, true] {
            let body = json!({
                "model": "auto", "stream": stream,
                "messages": [{ "role": "user", "content": "anybody there?" }],
            });
            let answer = chat(stand.url(), &body).await;
            assert_eq!(answer.status, 200, "{way}: {}", answer.text());
            assert_eq!(
                answer.header("x-spillway-lane"),
                "beta:large/standard",
                "{way}"
            );
            assert_eq!(answer.header("x-spillway-possible-charge"), "", "{way}");
        }
    });
    join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_lane_is_remembered_and_comes_back() {
    let stand = Stand::new()
        .embedded()
        .limits("ejection_ms = 300\nejection_max_ms = 600")
        .start()
        .await;
    stand.script("alpha").fail(Fault::status(500));
    let body = json!({ "model": "large", "messages": [{ "role": "user", "content": "x" }] });
    for _ in 0..40 {
        assert_eq!(chat(stand.url(), &body).await.status, 200);
    }
    let tried = stand.simulator().ledger().count(|a| a.provider == "alpha");
    assert!(tried < 20, "alpha was asked {tried} times in 40 requests");
    stand.script("alpha").heal();
    crate::stand::eventually("alpha serves again", || async {
        chat(stand.url(), &body).await.header("x-spillway-lane") == "alpha:large/standard"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_fail_the_caller_is_told_so_in_its_dialect() {
    let stand = Stand::new().embedded().start().await;
    stand.script("alpha").fail(Fault::status(503));
    stand.script("beta").fail(Fault::status(503));
    let answer = stand.ask("anybody there?").await;
    assert!((502..=504).contains(&answer.status), "{}", answer.text());
    assert!(answer.json()["error"]["message"].is_string());
    let recorded = stand.recorded(|rows| rows.len() == 1).await;
    assert_eq!(recorded[0]["ending"], "failed");
    assert_eq!(recorded[0]["cost_usd"], 0.0);
    let refused = stand
        .simulator()
        .ledger()
        .count(|a| a.outcome == Outcome::Refused(503));
    assert!((1..=3).contains(&refused), "{refused} attempts");
    assert_eq!(
        get(&format!("{}/healthz", stand.proxies[0].admin), KEY)
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_own_mistake_is_passed_on_and_not_retried() {
    let stand = Stand::new().embedded().start().await;
    stand.script("alpha").fail(Fault::Status {
        code: 400,
        retry_after: None,
        body: None,
    });
    let body = json!({ "model": "large", "messages": [{ "role": "user", "content": "x" }] });
    let answer = chat(stand.url(), &body).await;
    assert_eq!(answer.status, 400);
    assert_eq!(stand.simulator().ledger().totals().attempts, 1);
}
