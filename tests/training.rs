//! From audited prompts to a learned table that proxies serve.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use spillway_simulator::{Answerer, ProviderConfig, World, count_input_tokens};

use crate::stand::{Stand, chat, eventually};

const PROMPTS: u64 = 1_200;

/// A labelled set made from the simulator's world.
pub(crate) fn write_set(
    dir: &std::path::Path,
    world: &World,
    count: u64,
) -> (std::path::PathBuf, std::path::PathBuf) {
    let (mut prompts, mut outcomes) = (String::new(), String::new());
    for number in 0..count {
        let prompt = world.prompt(number);
        let split = if number % 4 == 3 { "test" } else { "train" };
        let id = format!("world/{number}");
        let line = json!({ "prompt_id": id, "task": prompt.kind.name(), "split": split, "prompt": prompt.text });
        writeln!(prompts, "{line}").unwrap();
        for model in world.models() {
            let input = count_input_tokens([&*prompt.text]);
            let output = world.output_tokens(model.name, &prompt.text).unwrap();
            let score = world.score(model.name, &prompt.text).unwrap();
            let cost = model.price.of(input, output) as f64 / 1e9;
            let line = json!({ "prompt_id": id, "model": model.name, "score": score, "input_tokens": input, "output_tokens": output, "cost_usd": cost });
            writeln!(outcomes, "{line}").unwrap();
        }
    }
    let paths = (dir.join("prompts.jsonl"), dir.join("outcomes.jsonl"));
    fs::write(&paths.0, prompts).unwrap();
    fs::write(&paths.1, outcomes).unwrap();
    paths
}

fn policy(world: &World) -> String {
    let mut text = String::from("version = 1\n[routes.auto]\nbaseline = \"sim-max\"\nbar = 0.95\n");
    for model in world.models() {
        writeln!(
            text,
            "[[upstreams]]\nprovider = \"sim\"\nmodels = [\"{}\"]\nprices.standard = {{ input = {:?}, output = {:?} }}",
            model.name,
            model.price.input_nano_usd as f64 / 1e3,
            model.price.output_nano_usd as f64 / 1e3
        )
        .unwrap();
    }
    text
}

/// A run, to its end.
async fn trained(stand: &Stand) -> Value {
    let started = stand.api_post("/training", &json!({})).await;
    assert_eq!(started.status, 200, "{}", started.text());
    eventually("the run ends", || async {
        stand.api("/training").await["running"].is_null()
    })
    .await;
    stand.api("/training").await["runs"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_training_run_learns_and_its_table_reaches_the_proxies() {
    let world = Arc::new(World::new(3));
    let files = tempfile::tempdir().unwrap();
    let (prompts, outcomes) = write_set(files.path(), &world, PROMPTS);
    let providers = vec![ProviderConfig::new("sim", world.served())];
    let stand = Stand::new()
        .policy(&policy(&world))
        .providers(Answerer::World(Arc::clone(&world)), providers)
        .import(&prompts, &outcomes)
        .start()
        .await;
    let before = stand.api("/tables").await["current"].as_u64().unwrap();
    let run = trained(&stand).await;
    assert_eq!(run["result"], "promoted", "{}", run["reason"]);
    let report = &run["report"];
    assert!(
        report["learned"]["aiq_log"].as_f64() > report["zero"]["aiq_log"].as_f64(),
        "{report}"
    );
    assert!(
        report["gate"]
            .as_array()
            .unwrap()
            .iter()
            .all(|check| check["held"] == true)
    );
    eventually("the learned table is served", || async {
        stand.metric(0, "spillway_table_version").await > before as f64
    })
    .await;

    // The heads in use know the answers to all of these prompts: they are no measure.
    let again = trained(&stand).await;
    let checks = again["report"]["gate"].as_array().unwrap();
    let keeps_up = checks.iter().find(|c| c["check"] == "auto: keeps up");
    let detail = keeps_up.unwrap()["detail"].as_str().unwrap();
    assert!(
        detail.contains("fewer than 100 prompts are new"),
        "{detail}"
    );

    // Prompts nobody trained on: near the dearest model's quality for a part of its cost.
    let (mut quality, mut best, mut cost, mut best_cost, asked) = (0.0, 0.0, 0.0, 0.0, 120);
    for number in 0..asked {
        let prompt = world.prompt(1_000_000 + number).text;
        let body = json!({ "model": "auto", "messages": [{ "role": "user", "content": prompt }] });
        let answer = chat(stand.url(), &body).await;
        assert_eq!(answer.status, 200);
        let model = answer.header("x-spillway-model").to_owned();
        let price = |name: &str| {
            let output = world.output_tokens(name, &prompt).unwrap();
            world
                .model(name)
                .unwrap()
                .price
                .of(count_input_tokens([&*prompt]), output) as f64
        };
        quality += world.score(&model, &prompt).unwrap();
        cost += price(&model);
        best += world.score("sim-max", &prompt).unwrap();
        best_cost += price("sim-max");
    }
    assert!(quality > 0.9 * best, "{quality} of {best}");
    assert!(cost < 0.6 * best_cost, "{cost} of {best_cost}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nothing_to_learn_from_a_run_fails_and_says_what_to_do() {
    let stand = Stand::new().embedded().start().await;
    assert_eq!(stand.api_post("/training", &json!({})).await.status, 200);
    eventually("the run ends", || async {
        stand.api("/training").await["running"].is_null()
    })
    .await;
    let run = stand.api("/training").await["runs"][0].clone();
    assert_eq!(run["result"], "failed");
    assert!(
        run["reason"]
            .as_str()
            .unwrap()
            .contains("import a labelled set"),
        "{}",
        run["reason"]
    );
    assert_eq!(stand.ask("still there?").await.status, 200);
}
