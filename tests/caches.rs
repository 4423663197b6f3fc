//! Prompt caches: a conversation stays where its beginning is cached, unless another lane
//! is cheaper all the same.

use serde_json::{Value, json};
use spillway_simulator::{Answerer, Behaviour, Fault, ProviderConfig, ServedModel};

use crate::stand::{Answer, Stand, eventually};

/// The east is dearer, but for what it has in its cache.
const POLICY: &str = r#"
version = 1

[[upstreams]]
provider = "east"
models = ["large"]
prices.standard = { input = 2.0, output = 4.0, cache_read = 0.2 }

[[upstreams]]
provider = "west"
models = ["large"]
prices.standard = { input = 1.5, output = 3.0 }

[routes.auto]
baseline = "east:large/standard"
floor = 0.0
deadline = "6s"
"#;

async fn stand() -> Stand {
    let provider = |name: &str| ProviderConfig::new(name, vec![ServedModel::new("large", 1, 2)]);
    let providers = ["east", "west"].map(provider).to_vec();
    let stand = Stand::new().providers(Answerer::Echo, providers);
    stand.policy(POLICY).start().await
}

fn turn(role: &str, text: &str) -> Value {
    json!({ "role": role, "content": text })
}

async fn ask(stand: &Stand, turns: &[Value]) -> Answer {
    let answer = stand
        .chat(json!({ "model": "auto", "messages": turns }))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_stays_where_it_is_cached() {
    let stand = stand().await;
    let rules = "Answer in one sentence, and name the river. ".repeat(400);
    let mut turns = vec![turn("system", &rules), turn("user", "Where does it rise?")];
    let west = ask(&stand, &turns).await;
    assert_eq!(west.header("x-spillway-upstream"), "west:large");

    // Another conversation begins in the east, because the west is out.
    let mut other = vec![turn("system", &rules.replace("river", "lake"))];
    other.push(turn("user", "How deep is it?"));
    stand
        .script("east")
        .set(Behaviour::healthy().with_caching());
    stand.script("west").fail(Fault::status(503));
    assert_eq!(
        ask(&stand, &other).await.header("x-spillway-upstream"),
        "east:large"
    );
    stand.script("west").heal();
    eventually("the west is back", || async {
        let fresh = [turn("user", "hello")];
        ask(&stand, &fresh).await.header("x-spillway-upstream") == "west:large"
    })
    .await;

    // It goes on in the east, and the other one in the west.
    for next in ["And how wide?", "And how cold?"] {
        other.extend([turn("assistant", "Deep."), turn("user", next)]);
        let answer = ask(&stand, &other).await;
        assert_eq!(answer.header("x-spillway-upstream"), "east:large", "{next}");
        let usage = answer.json()["usage"]["prompt_tokens_details"].clone();
        assert!(usage["cached_tokens"].as_u64() > Some(1_000), "{usage}");
    }
    turns.extend([
        turn("assistant", "Far away."),
        turn("user", "And where does it end?"),
    ]);
    assert_eq!(
        ask(&stand, &turns).await.header("x-spillway-upstream"),
        "west:large"
    );
}
