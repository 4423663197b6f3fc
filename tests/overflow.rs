//! Full, failing and dear lanes: requests wait their turn, and spill over.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use spillway_simulator::{Answerer, Behaviour, Fault, Latency, ProviderConfig, ServedModel};

use crate::stand::{Answer, Plan, Stand, eventually};

/// One model at a place with room for two, and at a dearer one that is kept for overflow.
const POLICY: &str = r#"
version = 1

[[upstreams]]
provider = "alpha"
models = ["large"]
prices.standard = { input = 1.0, output = 2.0 }
in_flight = 2
queue = { depth = 2, wait = "20s" }

[[upstreams]]
provider = "beta"
models = ["twin"]
prices.standard = { input = 10.0, output = 20.0 }

[routes.auto]
models = ["large"]
baseline = "large"
floor = 0.0
deadline = "30s"
overflow = { to = "twin", dearer = true, queue_depth_above = 1 }
"#;

fn plan(policy: &str) -> Plan {
    let providers = vec![
        ProviderConfig::new("alpha", vec![ServedModel::new("large", 1_000, 2_000)]),
        ProviderConfig::new("beta", vec![ServedModel::new("twin", 10_000, 20_000)]),
    ];
    Stand::new()
        .embedded()
        .providers(Answerer::Echo, providers)
        .policy(policy)
}

async fn stand(policy: &str) -> Stand {
    plan(policy).start().await
}

fn body(stream: bool) -> Value {
    json!({
        "model": "auto", "stream": stream,
        "messages": [{ "role": "user", "content": "the river is high tonight" }],
    })
}

async fn ask(stand: &Stand) -> Answer {
    answered(stand, false).await
}

async fn answered(stand: &Stand, stream: bool) -> Answer {
    let answer = stand.chat(body(stream)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn lane(answer: &Answer) -> &str {
    answer.header("x-spillway-lane")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failure_of_the_kind_it_is_for_the_overflow_lane_is_next() {
    let only_limits = POLICY.replace("dearer = true", "dearer = true, after = [\"429\"]");
    let stand = stand(&only_limits).await;
    assert_eq!(lane(&ask(&stand).await), "alpha:large/standard");
    let limited = Behaviour::failing(Fault::status(429));
    stand.script("alpha").set(limited);
    let spilled = ask(&stand).await;
    assert_eq!(lane(&spilled), "beta:twin/standard");
    let decision = spilled.header("x-spillway-decision");
    assert!(decision.starts_with("overflow: 429;"), "{decision}");
    let recorded = stand.recorded(|rows| rows.len() == 2).await;
    assert!(recorded.iter().all(|row| row["ending"] == "answered"));
    let labels = r#"{cause="429",route="auto"}"#;
    let counted = format!("spillway_overflow_total{labels}");
    assert_eq!(stand.metric(0, &counted).await, 1.0);
    let money = format!("spillway_overflow_usd_total{labels}");
    assert!(stand.metric(0, &money).await > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_of_another_kind_does_not_spill() {
    let only_limits = POLICY.replace("dearer = true", "dearer = true, after = [\"429\"]");
    let stand = stand(&only_limits).await;
    let behaviour = Behaviour::healthy().with_next(1, Fault::status(500));
    stand.script("alpha").set(behaviour);
    let answer = stand.chat(body(false)).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let attempts = stand.simulator().ledger().attempts();
    assert_eq!(attempts.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_lane_lets_two_wait_and_the_rest_spills() {
    let stand = plan(POLICY).lifelike().start().await;
    // Slow enough that all come while the first are under way.
    let slow = Behaviour::healthy().with_latency(Latency {
        first_token_median_ms: 3_000.0,
        spread: 0.0,
        tokens_per_second: 0.0,
    });
    stand.script("alpha").set(slow);
    let answers = join_all((0..8).map(|_| ask(&stand))).await;
    let here = |name: &str| answers.iter().filter(|a| lane(a) == name).count();
    assert_eq!(
        (here("alpha:large/standard"), here("beta:twin/standard")),
        (4, 4)
    );
    let attempts = stand.simulator().ledger().attempts();
    assert_eq!(attempts.len(), 8, "nothing was tried in vain");
    let recorded = stand.recorded(|rows| rows.len() == 8).await;
    assert!(recorded.iter().all(|row| row["ending"] == "answered"));
    let of = |name: &str| format!("{name}{{lane=\"alpha:large/standard\"}}");
    let waits = of("spillway_queue_wait_seconds_count");
    assert_eq!(stand.metric(0, &waits).await, 2.0);
    let waiting = of("spillway_lane_waiting");
    assert_eq!(stand.metric(0, &waiting).await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_too_long_spills() {
    let short = POLICY
        .replace("\"20s\"", "\"300ms\"")
        .replace("\"30s\"", "\"4s\"");
    let stand = stand(&short).await;
    let behaviour = Behaviour::healthy().with_next(2, Fault::HangBeforeHeaders);
    stand.script("alpha").set(behaviour);
    let two = [answered(&stand, true), answered(&stand, true)];
    let held = join_all(two);
    let third = async {
        let ledger = stand.simulator().ledger();
        let both = || async { ledger.attempts().len() == 2 };
        eventually("both are under way", both).await;
        ask(&stand).await
    };
    let (held, third) = tokio::join!(held, third);
    let decision = third.header("x-spillway-decision");
    assert!(decision.starts_with("overflow: queue_wait;"), "{decision}");
    assert!(
        held.iter()
            .all(|answer| lane(answer) == "beta:twin/standard")
    );
    let waits: Vec<_> = held
        .iter()
        .map(|a| a.header("x-spillway-decision"))
        .collect();
    assert!(
        waits
            .iter()
            .all(|text| text.starts_with("overflow: timeout;")),
        "{waits:?}"
    );
    tokio::time::timeout(
        Duration::from_secs(60),
        stand.recorded(|rows| rows.len() == 3),
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_money_of_the_day_is_a_cap() {
    let capped = POLICY.replace(
        "queue_depth_above = 1",
        "classes = [\"interactive\"], usd_per_day = 0.01",
    );
    let stand = stand(&capped).await;
    let mut spilled = 0;
    for _ in 0..40 {
        spilled += usize::from(lane(&ask(&stand).await) == "beta:twin/standard");
    }
    let overflowed: u64 = stand
        .simulator()
        .ledger()
        .attempts()
        .iter()
        .filter(|attempt| attempt.provider == "beta")
        .map(|attempt| attempt.cost_nano_usd)
        .sum();
    assert!((1..40).contains(&spilled), "{spilled} spilled");
    assert!(overflowed <= 10_000_000, "{overflowed}");
}
