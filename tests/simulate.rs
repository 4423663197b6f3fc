//! The main job on real outcomes: a recorded world through two proxies and etcd.

use serde_json::{Value, json};

use crate::stand::{KEY, Stand, eventually, free_port, shared_data, spillway, text};

/// Every model of the recording that answered all prompts, at one provider.
fn policy(models: &[String], baseline: &str) -> String {
    let names: Vec<String> = models.iter().map(|model| format!("{model:?}")).collect();
    format!(
        "version = 1\n[[upstreams]]\nprovider = \"recorded\"\nmodels = [{}]\n[routes.auto]\nbaseline = {baseline:?}\nbar = 0.95\n",
        names.join(", ")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zeroeval_through_two_proxies_keeps_its_bar_at_a_part_of_the_cost() {
    let Some((prompts, outcomes)) = shared_data("zeroeval") else {
        println!("skipped: no data");
        return;
    };
    let recorded = spillway_simulator::Recorded::load(&prompts, &outcomes, Some("train")).unwrap();
    let models: Vec<String> = recorded
        .complete_models()
        .into_iter()
        .map(|m| m.to_string())
        .collect();
    let mean = |model: &str| {
        recorded
            .prompts()
            .iter()
            .filter_map(|p| recorded.score(model, &p.text))
            .sum::<f64>()
    };
    let best = models
        .iter()
        .max_by(|a, b| mean(a).total_cmp(&mean(b)))
        .unwrap();
    let providers = free_port();
    let served = vec![spillway_simulator::ProviderConfig::new(
        "unused",
        Vec::new(),
    )];
    let stand = Stand::new()
        .proxies(2)
        .policy(&policy(&models, best))
        .providers(spillway_simulator::Answerer::Echo, served)
        .provider_at(
            "recorded",
            &format!("http://127.0.0.1:{providers}/recorded/v1"),
        )
        .import(&prompts, &outcomes)
        .start()
        .await;
    train_and_serve(&stand).await;
    let played = play(&stand, providers, text(&prompts), text(&outcomes)).await;
    assert_eq!(played["failed"], 0);
    let requests = played["requests"].as_u64().unwrap();
    assert_eq!(played["answered"], requests);
    assert!(
        played["quality_of_best"].as_f64().unwrap() >= 0.94,
        "{played}"
    );
    assert!(played["cost_of_best"].as_f64().unwrap() <= 0.30, "{played}");

    // Exactly one outcome each, and the providers' ledger agrees on tokens.
    eventually("every outcome is recorded", || async {
        stand.api("/overview?window=3600").await["requests"].as_u64() >= Some(requests)
    })
    .await;
    let seen = stand.api("/overview?window=3600").await;
    assert_eq!(seen["requests"], requests);
    assert_eq!(played["ledger"]["answered"], requests);
    let spent = seen["spend_usd"].as_f64().unwrap();
    let billed = played["ledger"]["cost_usd"].as_f64().unwrap();
    assert!(
        (spent - billed).abs() < 1e-6 * billed.max(1.0),
        "{spent} in history, {billed} in the ledger"
    );
}

/// Trains on what was imported and waits until both proxies serve the table.
async fn train_and_serve(stand: &Stand) {
    assert_eq!(stand.api_post("/training", &json!({})).await.status, 200);
    eventually("the run ends", || async {
        stand.api("/training").await["running"].is_null()
    })
    .await;
    let run = stand.api("/training").await["runs"][0].clone();
    assert_eq!(run["result"], "promoted", "{}", run["reason"]);
    let version = stand.api("/tables").await["current"].as_u64().unwrap() as f64;
    eventually("both proxies serve it", || async {
        stand.metric(0, "spillway_table_version").await == version
            && stand.metric(1, "spillway_table_version").await == version
    })
    .await;
}

/// Plays the test split through both proxies; the recorded models listen on `providers`.
async fn play(stand: &Stand, providers: u16, prompts: &str, outcomes: &str) -> Value {
    let at = format!("127.0.0.1:{providers}");
    let args = [
        "simulate",
        "--prompts",
        prompts,
        "--outcomes",
        outcomes,
        "--split",
        "test",
        "--providers",
        &at,
        "--proxy",
        &stand.proxies[0].url,
        "--proxy",
        &stand.proxies[1].url,
        "--key",
        KEY,
        "--json",
    ];
    let done = spillway(&args).await;
    assert!(done.success, "{}", done.stderr);
    let played: Value = serde_json::from_str(&done.stdout).unwrap();
    println!("{played:#}");
    played
}
