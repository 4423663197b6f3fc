//! Requests that say when their answer has to begin: cheap lanes first, moved up in time.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use spillway_simulator::{Answerer, Behaviour, Fault, ProviderConfig, ServedModel, ServiceTier};

use crate::stand::{Answer, KEY, Plan, Stand, eventually, post};

/// One model at the standard tier and, for half the money, at the flex tier.
const POLICY: &str = r#"
version = 1

[[upstreams]]
provider = "alpha"
models = ["large"]
tiers = ["standard", "flex"]
prices.standard = { input = 10.0, output = 20.0 }
prices.flex = { input = 5.0, output = 10.0 }

[[upstreams]]
provider = "beta"
models = ["small"]
prices.standard = { input = 1.0, output = 2.0 }

[routes.auto]
models = ["large"]
baseline = "large"
floor = 0.0
deadline = "8s"
"#;

async fn stand() -> Stand {
    planned(Stand::new()).await
}

async fn planned(plan: Plan) -> Stand {
    let large =
        ServedModel::new("large", 10_000, 20_000).with_tier(ServiceTier::Flex, 5_000, 10_000);
    let providers = vec![
        ProviderConfig::new("alpha", vec![large]),
        ProviderConfig::new("beta", vec![ServedModel::new("small", 1_000, 2_000)]),
    ];
    plan.embedded()
        .providers(Answerer::Echo, providers)
        .policy(POLICY)
        .start()
        .await
}

fn body(within: Option<&str>, stream: bool) -> Value {
    let mut body = json!({
        "model": "auto", "stream": stream,
        "messages": [{ "role": "user", "content": "when shall we three meet again" }],
    });
    if let Some(within) = within {
        body["start_within"] = within.into();
    }
    body
}

async fn ask(stand: &Stand, within: Option<&str>, stream: bool) -> Answer {
    let answer = stand.chat(body(within, stream)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("echo"), "{}", answer.text());
    answer
}

fn billed(stand: &Stand) -> u64 {
    let attempts = stand.simulator().ledger().attempts();
    attempts.iter().map(|attempt| attempt.cost_nano_usd).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_wait_pays_half_and_who_may_not_does_not_wait() {
    let stand = stand().await;
    for stream in [false, true] {
        let before = billed(&stand);
        let plain = ask(&stand, None, stream).await;
        assert_eq!(plain.header("x-spillway-tier"), "standard");
        let full = billed(&stand) - before;
        let waiting = ask(&stand, Some("30s"), stream).await;
        assert_eq!(waiting.header("x-spillway-tier"), "flex");
        assert_eq!((billed(&stand) - before - full) * 2, full);
    }
    let recorded = stand.recorded(|rows| rows.len() == 4).await;
    assert!(recorded.iter().all(|row| row["ending"] == "answered"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_or_without_a_start_the_request_moves_up_in_time() {
    let stand = stand().await;
    for fault in [
        Fault::NoCapacity,
        Fault::status(503),
        Fault::HangBeforeHeaders,
        Fault::HangAfterHeaders,
    ] {
        let behaviour = Behaviour::healthy().with_fault(fault.clone(), 1.0);
        stand.script("alpha").set_tier(ServiceTier::Flex, behaviour);
        let began = Instant::now();
        let asking = [false, true].map(|stream| ask(&stand, Some("5s"), stream));
        for answer in join_all(asking).await {
            assert_eq!(answer.header("x-spillway-tier"), "standard", "{fault:?}");
            assert_eq!(answer.header("x-spillway-possible-charge"), "", "{fault:?}");
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{fault:?}");
    }
    // The flex lane's breaker learnt nothing from all that, and the lane serves again.
    stand
        .script("alpha")
        .set_tier(ServiceTier::Flex, Behaviour::healthy());
    let answer = ask(&stand, Some("10m"), false).await;
    assert_eq!(answer.header("x-spillway-tier"), "flex");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_without_room_is_asked_again_while_there_is_time() {
    let stand = stand().await;
    for fault in [Fault::NoCapacity, Fault::status(503)] {
        let twice = Behaviour::healthy().with_next(2, fault);
        stand.script("alpha").set_tier(ServiceTier::Flex, twice);
        let before = stand.simulator().ledger().attempts().len();
        let answer = ask(&stand, Some("1m"), false).await;
        assert_eq!(answer.header("x-spillway-tier"), "flex");
        assert_eq!(answer.header("x-spillway-attempts"), "3");
        assert_eq!(stand.simulator().ledger().attempts().len(), before + 3);
    }
}

/// What began there may be charged: it is not sent there again, and the caller is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cheap_lane_that_falls_silent_is_left() {
    let stand = planned(Stand::new().limits("idle_ms = 500")).await;
    let silent = [
        (Fault::HangAfterHeaders, ""),
        (Fault::HangAfter { content_chunks: 1 }, "1"),
    ];
    for (fault, charge) in silent {
        let behaviour = Behaviour::healthy().with_fault(fault.clone(), 1.0);
        stand.script("alpha").set_tier(ServiceTier::Flex, behaviour);
        let answer = ask(&stand, Some("1m"), false).await;
        assert_eq!(answer.header("x-spillway-tier"), "standard", "{fault:?}");
        assert_eq!(answer.header("x-spillway-attempts"), "2", "{fault:?}");
        let told = answer.header("x-spillway-possible-charge");
        assert_eq!(told, charge, "{fault:?}");
    }
}

/// Who waits for a cheap lane when the proxy is asked to end is served by the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_move_up_at_once_where_the_proxy_ends() {
    let stand = stand().await;
    let silent = Behaviour::healthy().with_fault(Fault::HangBeforeHeaders, 1.0);
    stand.script("alpha").set_tier(ServiceTier::Flex, silent);
    let url = format!("{}/v1/chat/completions", stand.url());
    let asking = tokio::spawn(async move { post(&url, KEY, &body(Some("10m"), false)).await });
    eventually("it waits", || async {
        stand.simulator().ledger().attempts().len() == 1
    })
    .await;
    stand.control.terminate().await;
    let answer = asking.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-spillway-tier"), "standard");
}

async fn refused(stand: &Stand, change: fn(&mut Value), code: &str) {
    let mut body = body(None, false);
    change(&mut body);
    let answer = stand.chat(body).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], code, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_kept_is_refused_with_a_reason() {
    let stand = stand().await;
    refused(
        &stand,
        |body| body["start_within"] = "4s".into(),
        "invalid_start_within",
    )
    .await;
    refused(
        &stand,
        |body| body["start_within"] = "standard".into(),
        "invalid_start_within",
    )
    .await;
    refused(
        &stand,
        |body| {
            body["start_within"] = "30s".into();
            body["service_tier"] = "flex".into();
        },
        "service_tier_not_allowed",
    )
    .await;
    refused(
        &stand,
        |body| {
            body["start_within"] = "30s".into();
            body["model"] = "small".into();
        },
        "flex_model_not_capable",
    )
    .await;
    refused(
        &stand,
        |body| body["service_tier"] = "priority".into(),
        "flex_model_not_capable",
    )
    .await;
    // Whoever asks for the tier by its own name gets it.
    let mut named = body(None, false);
    named["service_tier"] = "flex".into();
    let answer = stand.chat(named).await;
    assert_eq!(
        answer.header("x-spillway-tier"),
        "flex",
        "{}",
        answer.text()
    );
}

/// An answer that is heard as a stream and told at once is still the provider's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interaction_that_waited_is_kept_like_any_other() {
    let large =
        ServedModel::new("large", 10_000, 20_000).with_tier(ServiceTier::Flex, 5_000, 10_000);
    let small = ServedModel::new("small", 1_000, 2_000);
    let provider = |name: &str, model| ProviderConfig::new(name, vec![model]);
    let policy = POLICY.replacen(
        "models = [\"large\"]",
        "models = [\"large\"]\ndialects = [\"gemini-interactions\"]",
        1,
    );
    let stand = Stand::new()
        .embedded()
        .providers(
            Answerer::Echo,
            vec![provider("alpha", large), provider("beta", small)],
        )
        .speaks("alpha", "gemini-interactions")
        .policy(&policy)
        .start()
        .await;
    let url = format!("{}/v1beta/interactions", stand.url());
    let mut body = json!({
        "model": "auto", "input": "good morning", "start_within": "30s",
        "generation_config": { "thinking_level": "high", "thinking_summaries": "auto" },
    });
    let first = post(&url, KEY, &body).await;
    assert_eq!(first.header("x-spillway-tier"), "flex", "{}", first.text());
    let said = first.json();
    let id = said["id"].as_str().unwrap();
    assert!(id.contains("__spillway_at_"), "{said}");
    assert!(said["steps"][0]["signature"].is_string(), "{said}");
    assert_eq!(said["steps"][1]["content"][0]["text"], "echo: good morning");
    body["previous_interaction_id"] = id.into();
    body["input"] = "what did I say first".into();
    let next = post(&url, KEY, &body).await;
    assert!(next.text().contains("You said first: good morning"));
}
