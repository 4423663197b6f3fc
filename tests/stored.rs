//! Responses that a provider keeps: whoever goes on from one comes to where it is kept.

use serde_json::{Value, json};
use spillway_simulator::{Answerer, Fault, ProviderConfig, ServedModel};

use crate::stand::{Answer, KEY, Stand, request};

/// The west is cheaper.
const POLICY: &str = r#"
version = 1

[[upstreams]]
provider = "east"
models = ["large"]
dialects = ["openai-responses"]
prices.standard = { input = 2.0, output = 4.0 }

[[upstreams]]
provider = "west"
models = ["large"]
dialects = ["openai-responses"]
prices.standard = { input = 1.0, output = 2.0 }

[routes.auto]
baseline = "east:large/standard"
floor = 0.0
deadline = "6s"
"#;
const OWN: (&str, &str) = ("x-spillway-key-east", "sk-own");

async fn stand() -> Stand {
    with("").await
}

/// With more lines in the policy.
async fn with(lines: &str) -> Stand {
    let provider = |name: &str| ProviderConfig::new(name, vec![ServedModel::new("large", 1, 2)]);
    let providers = ["east", "west"].map(provider).to_vec();
    let stand = Stand::new().providers(Answerer::Echo, providers);
    let policy = format!("{POLICY}{lines}");
    stand.policy(&policy).proxies(2).start().await
}

/// Where the two keep interactions.
async fn interacting() -> Stand {
    let provider = |name: &str| ProviderConfig::new(name, vec![ServedModel::new("large", 1, 2)]);
    let providers = ["east", "west"].map(provider).to_vec();
    let stand = Stand::new().providers(Answerer::Echo, providers);
    let policy = POLICY.replace("openai-responses", "gemini-interactions");
    stand.policy(&policy).proxies(2).start().await
}

/// Asks one of the proxies.
async fn ask(stand: &Stand, proxy: usize, body: &Value, own: &[(&str, &str)]) -> Answer {
    call(
        stand,
        proxy,
        "POST",
        "/v1/responses",
        &body.to_string(),
        own,
    )
    .await
}

async fn call(
    stand: &Stand,
    proxy: usize,
    method: &str,
    path: &str,
    body: &str,
    own: &[(&str, &str)],
) -> Answer {
    let authorization = format!("Bearer {KEY}");
    let mut headers = vec![("authorization", authorization.as_str())];
    headers.extend(own);
    let url = format!("{}{path}", stand.proxies[proxy].url);
    request(method, &url, &headers, body).await.unwrap()
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn saying(input: &str) -> Value {
    json!({ "model": "auto", "input": input })
}

fn going_on(input: &str, from: &str) -> Value {
    json!({ "model": "auto", "input": input, "previous_response_id": from })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_from_a_response_comes_to_where_it_is_kept() {
    let stand = stand().await;
    let west = ask(&stand, 0, &saying("hello"), &[]).await;
    assert_eq!(west.header("x-spillway-upstream"), "west:large");
    stand.script("west").fail(Fault::status(503));
    let east = ask(&stand, 0, &saying("hello"), &[]).await;
    assert_eq!(east.header("x-spillway-upstream"), "east:large");

    // Through either proxy, again and again, whatever it costs.
    let mut last = id(&east);
    for turn in 0..4 {
        let next = ask(&stand, turn % 2, &going_on("and then?", &last), &[]).await;
        assert_eq!(next.header("x-spillway-upstream"), "east:large");
        assert_eq!(next.json()["previous_response_id"], last.as_str());
        last = id(&next);
    }
    let next = ask(&stand, 1, &going_on("and then?", &id(&west)), &[]).await;
    assert_eq!(next.header("x-spillway-upstream"), "west:large");

    // Nobody else can answer.
    stand.script("east").fail(Fault::status(503));
    let failed = ask(&stand, 1, &going_on("and then?", &last), &[]).await;
    assert_eq!(failed.status, 503, "{}", failed.text());
    let nowhere = "resp_1__spillway_at_00000000";
    let refused = ask(&stand, 0, &going_on("and then?", nowhere), &[]).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("another account keeps"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_response_is_fetched_and_deleted_through_any_proxy() {
    let stand = stand().await;
    let made = id(&ask(&stand, 0, &saying("hello"), &[]).await);
    let path = format!("/v1/responses/{made}");
    let fetched = call(&stand, 1, "GET", &path, "", &[]).await;
    assert_eq!(id(&fetched), made);
    assert_eq!(fetched.json()["status"], "completed");
    let cancelled = call(&stand, 1, "POST", &format!("{path}/cancel"), "", &[]).await;
    assert_eq!(cancelled.status, 400, "it was not made in the background");
    let deleted = call(&stand, 1, "DELETE", &path, "", &[]).await;
    assert_eq!(deleted.json()["deleted"], true);
    assert_eq!(id(&deleted), made);
    for path in [&path, "/v1/responses/resp_1__spillway_at_00000000"] {
        let gone = call(&stand, 0, "GET", path, "", &[]).await;
        assert_eq!(gone.status, 404, "{}", gone.text());
    }
    let url = format!("{}{path}", stand.url());
    let unknown = request("GET", &url, &[], "").await.unwrap();
    assert_eq!(unknown.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_say_the_same_id_and_what_is_not_kept_says_none() {
    let stand = stand().await;
    let mut body = saying("hello");
    body["stream"] = true.into();
    let streamed = ask(&stand, 0, &body, &[]).await;
    let events = streamed.text();
    let ids: std::collections::BTreeSet<&str> = events
        .split('"')
        .filter(|part| part.contains("__spillway_at_"))
        .collect();
    assert_eq!(ids.len(), 1, "{events}");
    assert!(events.matches("__spillway_at_").count() >= 2, "{events}");
    let made = ids.first().unwrap().to_owned();
    let next = ask(&stand, 1, &going_on("and then?", made), &[]).await;
    assert_eq!(next.status, 200, "{}", next.text());
    body["store"] = false.into();
    let passing = ask(&stand, 0, &body, &[]).await;
    assert!(!passing.text().contains("__spillway_at_"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_callers_own_key_made_is_the_callers() {
    let stand = stand().await;
    let made = id(&ask(&stand, 0, &saying("hello"), &[OWN]).await);
    let path = format!("/v1/responses/{made}");
    let next = ask(&stand, 1, &going_on("and then?", &made), &[OWN]).await;
    assert_eq!(next.status, 200, "{}", next.text());
    let fetched = call(&stand, 1, "GET", &path, "", &[OWN]).await;
    assert_eq!(id(&fetched), made);
    let without = ask(&stand, 1, &going_on("and then?", &made), &[]).await;
    assert_eq!(without.status, 400, "{}", without.text());
    // Nor is it asked for with our key, by whoever brings one for somebody else.
    for own in [&[][..], &[("x-spillway-key-west", "sk-other")][..]] {
        assert_eq!(call(&stand, 1, "GET", &path, "", own).await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_for_a_kept_response_is_a_request_of_its_key() {
    let stand = with("[keys.stand]\nrequests_per_minute = 3\n").await;
    let path = format!(
        "/v1/responses/{}",
        id(&ask(&stand, 0, &saying("hello"), &[]).await)
    );
    for _ in 0..2 {
        let fetched = call(&stand, 0, "GET", &path, "", &[]).await;
        assert_eq!(fetched.status, 200, "{}", fetched.text());
    }
    let refused = call(&stand, 0, "GET", &path, "", &[]).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 20);
    let limit = r#"spillway_limited_total{limit="requests"}"#;
    assert_eq!(stand.metric(0, limit).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interactions_are_gone_on_from_fetched_and_deleted_where_they_are_kept() {
    let stand = interacting().await;
    let ask = async |proxy: usize, body: Value| {
        let body = body.to_string();
        call(&stand, proxy, "POST", "/v1beta/interactions", &body, &[]).await
    };
    stand.script("west").fail(Fault::status(503));
    let east = ask(0, saying("good morning")).await;
    assert_eq!(east.header("x-spillway-upstream"), "east:large");
    stand.script("west").heal();
    let mut last = id(&east);
    for turn in 0..3 {
        let question = "what did I say first";
        let body = json!({ "model": "auto", "input": question, "previous_interaction_id": last });
        let next = ask(turn % 2, body).await;
        assert_eq!(next.header("x-spillway-upstream"), "east:large");
        assert!(next.text().contains("You said first: good morning"));
        assert_eq!(next.json()["previous_interaction_id"], last.as_str());
        last = id(&next);
    }
    let mut streamed = saying("hello");
    streamed["stream"] = true.into();
    let streamed = ask(1, streamed).await.text();
    assert_eq!(streamed.matches("__spillway_at_").count(), 3, "{streamed}");

    for version in ["v1", "v1beta"] {
        let path = format!("/{version}/interactions/{last}");
        let fetched = call(&stand, 1, "GET", &path, "", &[]).await;
        assert_eq!(id(&fetched), last);
        assert_eq!(fetched.json()["status"], "completed");
    }
    let path = format!("/v1beta/interactions/{last}");
    let cancelled = call(&stand, 1, "POST", &format!("{path}/cancel"), "", &[]).await;
    assert_eq!(cancelled.status, 400, "it does not run in the background");
    assert_eq!(call(&stand, 0, "DELETE", &path, "", &[]).await.status, 200);
    for path in [&path, "/v1beta/interactions/v1_0"] {
        let gone = call(&stand, 0, "GET", path, "", &[]).await;
        assert_eq!(gone.status, 404, "{}", gone.text());
        assert!(gone.json()["error"]["message"].is_string());
    }
    let body = json!({ "model": "auto", "input": "hello", "background": true });
    let refused = ask(0, body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("background"), "{}", refused.text());
}
