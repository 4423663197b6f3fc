//! Callers' keys of the policy: who may ask, for what, and how much.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use spillway_simulator::{Answerer, ProviderConfig, ServedModel};

use crate::stand::{Answer, Plan, Stand, eventually, post, spillway};

const POLICY: &str = r#"
version = 1

[[upstreams]]
provider = "alpha"
models = ["small", "large"]
prices.standard = { input = 1.0, output = 2.0 }

[routes.auto]
baseline = "large"
floor = 0.0

"#;

/// A key as an operator makes one, and its lines for the policy.
async fn made(name: &str) -> (String, String) {
    let done = spillway(&["key", name]).await;
    assert!(done.success, "{}", done.stderr);
    let key = done.stdout.lines().next().unwrap().to_owned();
    let lines = done
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with('['));
    (key, lines.map(|line| format!("{line}\n")).collect())
}

async fn stand(keys: &str) -> Stand {
    planned(Stand::new().embedded(), keys).await
}

async fn planned(plan: Plan, keys: &str) -> Stand {
    let models = vec![
        ServedModel::new("small", 1_000, 2_000),
        ServedModel::new("large", 1_000, 2_000),
    ];
    plan.providers(Answerer::Echo, vec![ProviderConfig::new("alpha", models)])
        .policy(&format!("{POLICY}{keys}"))
        .start()
        .await
}

async fn ask(stand: &Stand, key: &str, model: &str) -> Answer {
    ask_at(stand.url(), key, model).await
}

async fn ask_at(base: &str, key: &str, model: &str) -> Answer {
    let url = format!("{base}/v1/chat/completions");
    let body = json!({
        "model": model, "max_tokens": 10,
        "messages": [{ "role": "user", "content": "one two three" }],
    });
    post(&url, key, &body).await
}

/// Nano-dollars, by the provider's books.
fn spent(stand: &Stand) -> u64 {
    let attempts = stand.simulator().ledger().attempts();
    attempts.iter().map(|attempt| attempt.cost_nano_usd).sum()
}

fn code(answer: &Answer) -> Value {
    answer.json()["error"]["code"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_policy_opens_its_routes_until_it_is_taken_out() {
    let (key, lines) = made("team-a").await;
    let stand = stand(&format!("{lines}routes = [\"auto\"]\n")).await;
    assert_eq!(ask(&stand, &key, "auto").await.status, 200);
    let other = ask(&stand, &key, "large").await;
    assert_eq!(
        (other.status, code(&other)),
        (403, "route_not_allowed".into())
    );
    let unknown = ask(&stand, &format!("{key}x"), "auto").await;
    assert_eq!(unknown.status, 401);
    let recorded = stand.recorded(|rows| rows.len() == 1).await;
    let id = recorded[0]["id"].as_str().unwrap();
    let whole = stand.api(&format!("/requests/{id}")).await;
    assert_eq!(whole["facts"]["key"], "team-a", "{whole}");

    stand.publish(POLICY).await;
    eventually("the key is no longer known", || async {
        ask(&stand, &key, "auto").await.status == 401
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_tokens_of_a_minute_run_out_and_say_when_to_come_back() {
    let (often, often_lines) = made("often").await;
    let (long, long_lines) = made("long").await;
    let keys =
        format!("{often_lines}requests_per_minute = 2\n{long_lines}tokens_per_minute = 40\n");
    let stand = stand(&keys).await;
    for key in [&often, &long] {
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(ask(&stand, key, "auto").await);
        }
        let served = answers.iter().filter(|answer| answer.status == 200).count();
        assert!((1..4).contains(&served), "{served}");
        let refused = answers.last().unwrap();
        assert_eq!(
            (refused.status, code(refused)),
            (429, "rate_limit_exceeded".into())
        );
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // Nobody else is held up, and each refusal is on record.
    assert_eq!(ask(&stand, crate::stand::KEY, "auto").await.status, 200);
    let recorded = stand.recorded(|rows| rows.len() == 9).await;
    let refused = recorded.iter().filter(|row| row["ending"] == "refused");
    assert!(refused.count() >= 4);
    let limit = r#"spillway_limited_total{limit="requests"}"#;
    assert_eq!(stand.metric(0, limit).await, 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_spend_no_more_than_the_money_of_the_day() {
    let (key, lines) = made("poor").await;
    let stand = stand(&format!("{lines}usd_per_day = 0.0005\n")).await;
    let answers = join_all((0..200).map(|_| ask(&stand, &key, "auto"))).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((1..200).contains(&served), "{served}");
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    assert_eq!(
        (refused.status, code(refused)),
        (429, "insufficient_quota".into())
    );
    // Waiting does not help, and SDKs are told so.
    assert_eq!(refused.header("x-should-retry"), "false");
    let spent = spent(&stand);
    assert!(spent <= 500_000, "{spent}");
    tokio::time::timeout(
        Duration::from_secs(60),
        stand.recorded(|rows| rows.len() == 200),
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_proxies_share_the_money_of_a_day() {
    let (key, lines) = made("poor").await;
    let keys = format!("{lines}usd_per_day = 0.0005\n");
    let stand = planned(Stand::new().proxies(3), &keys).await;
    let urls = || stand.proxies.iter().map(|proxy| proxy.url.as_str()).cycle();
    // Nothing is granted yet, and all come together.
    let together = urls().take(200).map(|url| ask_at(url, &key, "auto"));
    let answers = join_all(together).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((1..200).contains(&served), "{served}");
    assert!(spent(&stand) <= 525_000, "{}", spent(&stand));
    let refused = answers.iter().filter(|answer| answer.status != 200);
    for answer in refused {
        let said = (answer.status, code(answer));
        assert_eq!(said, (429, "insufficient_quota".into()));
    }
    // What one proxy reserved and did not need, or keeps and does not use, others get.
    eventually("nearly all of it can be spent at one proxy", || async {
        ask_at(&stand.proxies[0].url, &key, "auto").await;
        spent(&stand) > 450_000
    })
    .await;
    assert!(spent(&stand) <= 525_000, "{}", spent(&stand));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_etcd_a_key_goes_on_with_what_was_granted_and_a_little_more() {
    let (key, lines) = made("thrifty").await;
    let keys = format!("{lines}usd_per_day = 0.02\n");
    let mut stand = planned(Stand::new().proxies(3), &keys).await;
    assert_eq!(ask(&stand, &key, "auto").await.status, 200);
    stand.etcd.as_mut().unwrap().kill().await;
    // Also where nothing was granted before.
    for proxy in &stand.proxies {
        assert_eq!(ask_at(&proxy.url, &key, "auto").await.status, 200);
    }
    for proxy in &stand.proxies {
        eventually("what may be spent here is spent", || async {
            ask_at(&proxy.url, &key, "auto").await.status == 429
        })
        .await;
    }
    assert!(spent(&stand) <= 20_000_000 / 8, "{}", spent(&stand));
    stand.etcd.as_mut().unwrap().restart().await;
    eventually("there is more again", || async {
        ask(&stand, &key, "auto").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_proxies_share_the_requests_of_a_minute() {
    let (key, lines) = made("often").await;
    let keys = format!("{lines}requests_per_minute = 32\n");
    let stand = planned(Stand::new().proxies(3), &keys).await;
    let began = Instant::now();
    let urls = || stand.proxies.iter().map(|proxy| proxy.url.as_str()).cycle();
    let together = urls().take(90).map(|url| ask_at(url, &key, "auto"));
    let answers = join_all(together).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    // What flowed in meanwhile counts too; two proxies may keep a slice that nobody used.
    let flowed = began.elapsed().as_secs_f64() * 32.0 / 60.0;
    assert!(
        (28.0..=32.0 + flowed).contains(&(served as f64)),
        "{served}"
    );
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        let said = (answer.status, code(answer));
        assert_eq!(said, (429, "rate_limit_exceeded".into()));
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_etcd_each_proxy_counts_the_minute_alone() {
    let (key, lines) = made("often").await;
    let keys = format!("{lines}requests_per_minute = 8\n");
    let mut stand = planned(Stand::new().proxies(2), &keys).await;
    for _ in 0..8 {
        assert_eq!(ask(&stand, &key, "auto").await.status, 200);
    }
    let other = stand.proxies[1].url.clone();
    assert_eq!(ask_at(&other, &key, "auto").await.status, 429);
    stand.etcd.as_mut().unwrap().kill().await;
    eventually(
        "the other proxy goes on with a minute of its own",
        || async { ask_at(&other, &key, "auto").await.status == 200 },
    )
    .await;
    let more = join_all((0..20).map(|_| ask_at(&other, &key, "auto"))).await;
    let served = more.iter().filter(|answer| answer.status == 200).count();
    assert!(served <= 8, "{served}");
    stand.etcd.as_mut().unwrap().restart().await;
}
