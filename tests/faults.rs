//! Ten thousand requests while every provider misbehaves now and then: none is lost, none
//! is answered twice, and nothing is charged twice without being flagged.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use serde_json::Value;
use spillway_simulator::{Attempt, Behaviour, Fault, Ledger};

use crate::dialects::{CALLERS, PROVIDERS, ask, ends, events, text};
use crate::stand::{Answer, Stand, eventually};

const REQUESTS: usize = 10_000;
const AT_ONCE: usize = 24;

/// Short answers by fast models, so that whoever hangs is given up soon.
const POLICY: &str = r#"
version = 1
models.chat-1.typical_output = 10
models.responses-1.typical_output = 10
models.claude-1.typical_output = 10
models.gemini-3-sim.typical_output = 10
models.gemini-3-steps.typical_output = 10
models.claude-bedrock.typical_output = 10

[[upstreams]]
provider = "chat"
models = ["chat-1"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "responses"
models = ["responses-1"]
dialects = ["openai-responses"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "messages"
models = ["claude-1"]
dialects = ["anthropic-messages"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "gemini"
models = ["gemini-3-sim"]
dialects = ["gemini-generate"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "interactions"
models = ["gemini-3-steps"]
dialects = ["gemini-interactions"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[[upstreams]]
provider = "converse"
models = ["claude-bedrock"]
wire_models = { claude-bedrock = "anthropic.claude-sonnet-5-v1:0" }
dialects = ["bedrock-converse"]
prices.standard = { input = 1.0, output = 2.0 }
tokens_per_second = 1000.0

[routes.chat]
baseline = "chat-1"
floor = 0.0
deadline = "8s"

[routes.responses]
baseline = "responses-1"
floor = 0.0
deadline = "8s"

[routes.messages]
baseline = "claude-1"
floor = 0.0
deadline = "8s"

[routes.gemini]
baseline = "gemini-3-sim"
floor = 0.0
deadline = "8s"

[routes.interactions]
baseline = "gemini-3-steps"
floor = 0.0
deadline = "8s"

[routes.converse]
baseline = "claude-bedrock"
floor = 0.0
deadline = "8s"

[[rules]]
id = "chat"
when = { route = "chat" }
then = { pin = "chat-1" }

[[rules]]
id = "responses"
when = { route = "responses" }
then = { pin = "responses-1" }

[[rules]]
id = "messages"
when = { route = "messages" }
then = { pin = "claude-1" }

[[rules]]
id = "gemini"
when = { route = "gemini" }
then = { pin = "gemini-3-sim" }

[[rules]]
id = "interactions"
when = { route = "interactions" }
then = { pin = "gemini-3-steps" }

[[rules]]
id = "converse"
when = { route = "converse" }
then = { pin = "claude-bedrock" }
"#;

fn misbehaving() -> Behaviour {
    let often = [
        Fault::status(500),
        Fault::status(502),
        Fault::status(503),
        Fault::status(529),
        Fault::status(408),
        Fault::rate_limited(1),
        Fault::Status {
            code: 504,
            retry_after: None,
            body: Some("<html>gateway timeout</html>".into()),
        },
        Fault::Reset,
        Fault::CutBeforeContent,
        Fault::CutAfter { content_chunks: 2 },
        Fault::ErrorInStream { content_chunks: 0 },
        Fault::ErrorInStream { content_chunks: 2 },
        Fault::Garbage,
        Fault::TruncatedJson,
        Fault::EmptyBody,
    ];
    let seldom = [
        Fault::HangBeforeHeaders,
        Fault::HangAfterHeaders,
        Fault::HangAfter { content_chunks: 2 },
    ];
    let healthy = Behaviour::healthy();
    let often = often
        .into_iter()
        .fold(healthy, |so_far, fault| so_far.with_fault(fault, 0.003));
    seldom
        .into_iter()
        .fold(often, |so_far, fault| so_far.with_fault(fault, 0.0005))
}

/// What the request with this number says; nobody else says it.
fn saying(number: usize) -> String {
    format!("dam {number} holds one two three four five")
}

/// What one caller got.
struct Got {
    id: String,
    number: usize,
    /// Earlier attempts that may be charged, as the caller was told.
    flagged: usize,
    whole: bool,
    /// What kept it from being whole.
    why: String,
}

/// Checks one answer: whole, or a prefix and the dialect's own error, or an error.
fn got(number: usize, caller: &str, answer: &Answer, stream: bool) -> Got {
    let said = text(caller, answer, stream);
    let expected = format!("echo: {}", saying(number));
    let case = format!("{caller}, stream {stream}: {}", answer.text());
    let whole = answer.status == 200 && said == expected;
    if answer.status != 200 {
        assert!(
            (500..600).contains(&answer.status) || answer.status == 429,
            "{case}"
        );
        assert!(answer.json()["error"]["message"].is_string(), "{case}");
    } else if stream && !whole {
        assert!(expected.starts_with(&said), "{case}");
        assert!(!ends(caller, answer), "{case}");
        let last = events(answer).pop().unwrap_or_default();
        assert!(
            last["error"].is_object() || last["type"] == "error",
            "{case}"
        );
    } else {
        assert!(whole, "{case}");
        assert!(!stream || ends(caller, answer), "{case}");
    }
    Got {
        id: answer.header("x-spillway-request-id").to_owned(),
        number,
        flagged: answer
            .header("x-spillway-possible-charge")
            .parse()
            .unwrap_or_default(),
        whole,
        why: if answer.status == 200 {
            "cut after content".to_owned()
        } else {
            format!("{}: {}", answer.status, answer.json()["error"]["message"])
        },
    }
}

/// All rows of history, page by page.
async fn history(stand: &Stand) -> Vec<Value> {
    let (mut rows, mut seen) = (Vec::new(), BTreeSet::new());
    let mut before = String::new();
    loop {
        let page = stand.api(&format!("/requests?limit=500{before}")).await;
        let page = page["requests"].as_array().unwrap().clone();
        let twice: BTreeSet<&str> = page.iter().filter_map(|row| row["id"].as_str()).collect();
        assert_eq!(twice.len(), page.len(), "one outcome each");
        let fresh: Vec<Value> = page
            .iter()
            .filter(|row| seen.insert(row["id"].as_str().unwrap().to_owned()))
            .cloned()
            .collect();
        let Some(last) = page.last().filter(|_| !fresh.is_empty()) else {
            return rows;
        };
        // Rows of the same millisecond may stand on both pages.
        before = format!("&before_ms={}", last["at_ms"].as_u64().unwrap() + 1);
        rows.extend(fresh);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_charged_twice_unflagged() {
    let stand = Stand::new()
        .dialects()
        .policy(POLICY)
        .limits("ejection_ms = 50\nejection_max_ms = 100\nidle_ms = 500\noutcomes_queued = 20000")
        .embedded()
        .start()
        .await;
    for provider in PROVIDERS {
        stand.script(provider).set(misbehaving());
    }
    let asked = (0..REQUESTS).map(|i| {
        // Every caller at every provider, whole and as a stream.
        let (caller, stream) = (CALLERS[i % 5], i / 5 % 2 == 0);
        let route = PROVIDERS[i / 10 % 6];
        let url = stand.url().to_owned();
        async move {
            let answer = ask(&url, caller, route, &saying(i), stream).await;
            got(i, caller, &answer, stream)
        }
    });
    let answers: Vec<Got> = futures::stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;

    let ids: BTreeSet<&str> = answers.iter().map(|answer| answer.id.as_str()).collect();
    assert_eq!(ids.len(), REQUESTS, "every answer names its request");
    let whole = answers.iter().filter(|answer| answer.whole).count();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in answers.iter().filter(|answer| !answer.whole) {
        *reasons.entry(&answer.why).or_default() += 1;
    }
    println!("{whole} of {REQUESTS} answered whole; else {reasons:#?}");
    assert!(whole * 100 > REQUESTS * 97, "{whole} of {REQUESTS}");

    let ledger = stand.simulator().ledger();
    assert_eq!(ledger.dropped(), 0);
    let mut attempts: BTreeMap<u64, Vec<Attempt>> = BTreeMap::new();
    for attempt in ledger.attempts() {
        attempts
            .entry(attempt.prompt_hash)
            .or_default()
            .push(attempt);
    }
    let mut flagged = 0;
    for answer in &answers {
        let prompt = Ledger::prompt_hash(&saying(answer.number));
        let made = attempts.remove(&prompt).unwrap_or_default();
        let billed = made.iter().filter(|a| a.cost_nano_usd > 0).count();
        assert!(
            made.len() <= 3 && (!answer.whole || !made.is_empty()),
            "{made:#?}"
        );
        assert!(billed <= 1 + answer.flagged, "{made:#?}");
        flagged += usize::from(answer.flagged > 0);
    }
    assert!(attempts.is_empty(), "nobody asked for these: {attempts:#?}");
    println!("{flagged} flagged as possibly charged twice");

    eventually("every outcome is recorded", || async {
        let rows = history(&stand).await;
        let recorded: BTreeSet<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
        recorded == ids
    })
    .await;
}
