//! The world and a recording as a raw client hears them.
//!
//! It must not use the crate's own client.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{body, chat};
use crate::answerer::Answerer;
use crate::config::{ProviderConfig, SimulatorConfig};
use crate::recorded::Recorded;
use crate::script::{Behaviour, Latency, Speed};
use crate::stand::{End, providers, start_with};
use crate::world::World;

#[tokio::test]
async fn the_world_answers_as_it_says_it_does() {
    let world = Arc::new(World::new(3));
    let provider = ProviderConfig::new("alpha", world.served());
    let answerer = Answerer::World(Arc::clone(&world));
    let running = start_with(SimulatorConfig::instant(answerer.clone(), vec![provider])).await;
    let mut cost = 0;
    for number in 0..20 {
        let text = world.prompt(number).text;
        let messages = json!([{"role": "user", "content": text}]);
        let asked = json!({"model": "sim-pro", "stream": number % 2 == 0, "messages": messages});
        assert_eq!(chat(&running, &asked).await.end, End::Tidy);
        cost += answerer.cost_nano_usd("sim-pro", &text).unwrap();
    }
    assert_eq!(running.ledger().totals().cost_nano_usd, cost);
    assert_eq!(running.ledger().totals().answered, 20);
}

#[tokio::test]
async fn a_recording_answers_with_its_own_counts_and_pace() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, lines: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, lines).unwrap();
        path
    };
    let prompts = put(
        "prompts.jsonl",
        r#"{"prompt_id":"a","prompt":"one two three"}"#,
    );
    let outcomes = put(
        "outcomes.jsonl",
        r#"{"prompt_id":"a","model":"small","score":1,"input_tokens":321,"output_tokens":2500,"cost_usd":0.001,"latency_ms":4000}"#,
    );
    let recorded = Recorded::load(prompts, outcomes, None).unwrap();
    let answerer = Answerer::Recorded(Arc::new(recorded));
    let mut config = SimulatorConfig::instant(answerer, providers());
    config.speed = Speed::Times(10.0);
    let running = start_with(config).await;
    let begin = Instant::now();
    let whole = chat(&running, &body("small", false)).await.json();
    assert!(begin.elapsed() >= Duration::from_millis(390));
    assert_eq!(whole["usage"]["prompt_tokens"], 321);
    assert_eq!(whole["usage"]["completion_tokens"], 2500);
    let begin = Instant::now();
    let heard = chat(&running, &body("small", true)).await;
    assert_eq!(heard.end, End::Tidy);
    assert!(begin.elapsed() >= Duration::from_millis(380));
    let totals = running.ledger().totals();
    assert_eq!((totals.input_tokens, totals.output_tokens), (642, 5_000));
    // A model without a recording of this prompt echoes; its behaviour is its own.
    let script = running.script("alpha").unwrap();
    let quick = Latency {
        first_token_median_ms: 1.0,
        ..Latency::TYPICAL
    };
    script.set_model("large", Behaviour::healthy().with_latency(quick));
    let echo = chat(&running, &body("large", false)).await.json();
    let content = &echo["choices"][0]["message"]["content"];
    assert_eq!(content, "echo: one two three");
}
