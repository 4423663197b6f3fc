//! Every fault at a provider of every dialect, for callers of every dialect, whole and as a
//! stream: before content the next lane answers, after it a prefix and a typed error.
//! What fails below any dialect (refused, TLS) is in `failover.rs`.

use std::time::Duration;

use futures::future::join_all;
use spillway_simulator::{Answerer, Fault, ProviderConfig, ServedModel};

use crate::dialects::{CALLERS, MODELS, PROVIDERS, ask, ends, events, text};
use crate::stand::Stand;

const SAID: &str = "echo: one two three four";
/// Dialects in which an answer without content is none.
const EMPTY_IS_NONE: [&str; 3] = ["openai-chat", "openai-responses", "gemini-interactions"];
/// Pieces that the simulated providers say it in.
const PIECES: usize = 5;

/// The one that fails is cheaper; the other speaks another dialect.
fn policy(dialect: &str) -> String {
    let other = if dialect == "openai-responses" {
        "openai-chat"
    } else {
        "openai-responses"
    };
    format!(
        r#"
version = 1
models.one.typical_output = 5

[[upstreams]]
provider = "failing"
models = ["one"]
dialects = ["{dialect}"]
prices.standard = {{ input = 1.0, output = 2.0 }}

[[upstreams]]
provider = "healthy"
models = ["one"]
dialects = ["{other}"]
prices.standard = {{ input = 2.0, output = 4.0 }}

[routes.auto]
baseline = "failing:one/standard"
floor = 0.0
deadline = "6s"
"#
    )
}

async fn pair(dialect: &str) -> Stand {
    let provider =
        |name: &str| ProviderConfig::new(name, vec![ServedModel::new("one", 1_000, 2_000)]);
    let providers = vec![provider("failing"), provider("healthy")];
    Stand::new()
        .providers(Answerer::Echo, providers)
        .speaks("failing", dialect)
        .policy(&policy(dialect))
        .limits("ejection_ms = 1\nejection_max_ms = 2\nidle_ms = 500")
        .embedded()
        .start()
        .await
}

fn html(code: u16) -> Fault {
    Fault::Status {
        code,
        retry_after: None,
        body: Some("<html><h1>bad gateway</h1></html>".into()),
    }
}

/// All that can go wrong before any content.
fn early() -> Vec<Fault> {
    let statuses = [408, 500, 502, 503, 504, 529].map(Fault::status);
    let others = [
        html(502),
        Fault::rate_limited(1),
        Fault::NoCapacity,
        Fault::Reset,
        Fault::HangBeforeHeaders,
        Fault::HangAfterHeaders,
        Fault::HangAfter { content_chunks: 0 },
        Fault::CutBeforeContent,
        Fault::CutAfter { content_chunks: 0 },
        Fault::ErrorInStream { content_chunks: 0 },
        Fault::Garbage,
        Fault::TruncatedJson,
        Fault::EmptyBody,
    ];
    statuses.into_iter().chain(others).collect()
}

/// All that can go wrong once content was said, at each place; of a whole answer nothing has
/// gone out even then.
fn late() -> Vec<Fault> {
    let at = |content_chunks| {
        [
            Fault::CutAfter { content_chunks },
            Fault::HangAfter { content_chunks },
            Fault::ErrorInStream { content_chunks },
        ]
    };
    (1..=PIECES).flat_map(at).collect()
}

/// Every caller, whole or as a stream, at once: retries are kept for so many.
async fn next_lane_answers(dialect: &str, fault: &Fault, ways: &[bool]) {
    let stand = pair(dialect).await;
    stand.script("failing").fail(fault.clone());
    let callers = CALLERS
        .into_iter()
        .flat_map(|caller| ways.iter().map(move |stream| (caller, *stream)));
    join_all(callers.map(async |(caller, stream)| {
        let asked = ask(stand.url(), caller, "auto", "one two three four", stream);
        let answer = tokio::time::timeout(Duration::from_secs(30), asked)
            .await
            .expect("an answer in time");
        let said = answer.text();
        let case = format!("{fault:?} at {dialect}: {caller}, stream {stream}: {said}");
        assert_eq!(answer.status, 200, "{case}");
        assert_eq!(text(caller, &answer, stream), SAID, "{case}");
        assert!(!stream || ends(caller, &answer), "{case}");
        assert!(!said.contains("error\":{"), "{case}");
    }))
    .await;
}

async fn before_content(dialect: &str) {
    for fault in early() {
        next_lane_answers(dialect, &fault, &[false, true]).await;
    }
    for fault in late() {
        next_lane_answers(dialect, &fault, &[false]).await;
    }
    // Elsewhere a model may end without a word.
    if EMPTY_IS_NONE.contains(&dialect) {
        next_lane_answers(dialect, &Fault::DoneAtOnce, &[false, true]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_content_the_next_lane_answers_for_chat() {
    before_content("openai-chat").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_content_the_next_lane_answers_for_responses() {
    before_content("openai-responses").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_content_the_next_lane_answers_for_messages() {
    before_content("anthropic-messages").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_content_the_next_lane_answers_for_gemini() {
    before_content("gemini-generate").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_content_the_next_lane_answers_for_interactions() {
    before_content("gemini-interactions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_content_the_next_lane_answers_for_converse() {
    before_content("bedrock-converse").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_ends_with_the_callers_own_error() {
    let stand = Stand::new()
        .dialects()
        .limits("ejection_ms = 1\nejection_max_ms = 2\nidle_ms = 500")
        .embedded()
        .start()
        .await;
    let providers = MODELS.into_iter().zip(PROVIDERS);
    join_all(providers.map(async |((model, _), provider)| {
        for fault in late() {
            stand.script(provider).fail(fault.clone());
            join_all(CALLERS.map(async |caller| {
                let answer = ask(stand.url(), caller, model, "one two three four", true).await;
                let case = format!("{fault:?} at {model}: {caller}: {}", answer.text());
                assert_eq!(answer.status, 200, "{case}");
                let said = text(caller, &answer, true);
                assert!(SAID.starts_with(&said), "{case}");
                assert!(!said.is_empty() && !ends(caller, &answer), "{case}");
                let last = events(&answer).pop().unwrap_or_default();
                // A provider's own error of the caller's dialect goes through as it is.
                assert!(
                    last["error"].is_object() || last["type"] == "error",
                    "{case}"
                );
            }))
            .await;
        }
    }))
    .await;
    let broken = PROVIDERS.len() * late().len() * CALLERS.len();
    let recorded = stand.recorded(|rows| rows.len() == broken).await;
    assert!(
        recorded.iter().all(|row| row["ending"] == "cut"),
        "{recorded:#?}"
    );
}
