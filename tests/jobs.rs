//! Work that nobody waits for: responses in the background, batches, proxies that die.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use spillway_simulator::{Fault, Ledger};

use crate::stand::{Answer, KEY, Stand, eventually, get, post, request};

async fn upload(url: &str, lines: &[Value]) -> Answer {
    let file: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let body = format!(
        "--edge\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"work.jsonl\"\r\n\
         content-type: application/jsonl\r\n\r\n{file}\r\n--edge--\r\n"
    );
    let bearer = format!("Bearer {KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "multipart/form-data; boundary=edge"),
    ];
    let url = format!("{url}/v1/files");
    request("POST", &url, &headers, &body).await.unwrap()
}

fn saying(number: usize) -> String {
    format!("job {number} of many")
}

pub(crate) fn lines(count: usize) -> Vec<Value> {
    let line = |number| {
        json!({
            "custom_id": format!("job-{number}"), "method": "POST", "url": "/v1/chat/completions",
            "body": { "model": "auto", "messages": [{ "role": "user", "content": saying(number) }] },
        })
    };
    (0..count).map(line).collect()
}

pub(crate) async fn batch(url: &str, lines: &[Value]) -> Answer {
    let file = upload(url, lines).await;
    assert_eq!(file.status, 200, "{}", file.text());
    let wish = json!({
        "input_file_id": file.json()["id"], "endpoint": "/v1/chat/completions",
        "completion_window": "24h", "metadata": { "why": "a test" },
    });
    post(&format!("{url}/v1/batches"), KEY, &wish).await
}

/// Waits until more than `count` jobs of a batch are done.
pub(crate) async fn more_done(url: &str, path: &str, count: u64) {
    eventually("some are done", || async {
        let done = &fetched(url, path).await["request_counts"]["completed"];
        done.as_u64().unwrap() > count
    })
    .await;
}

/// Waits until a batch is completed.
pub(crate) async fn completed(url: &str, path: &str) -> Value {
    eventually("all jobs are done", || async {
        fetched(url, path).await["status"] == "completed"
    })
    .await;
    fetched(url, path).await
}

pub(crate) async fn fetched(url: &str, path: &str) -> Value {
    let answer = get(&format!("{url}/v1/{path}"), KEY).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The lines of a file, by their custom ids.
pub(crate) async fn answers(url: &str, file: &Value) -> BTreeMap<String, Value> {
    let path = format!("{url}/v1/files/{}/content", file.as_str().unwrap());
    let content = get(&path, KEY).await;
    assert_eq!(content.status, 200, "{}", content.text());
    let lines = content.text();
    let named = lines.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["custom_id"].as_str().unwrap().to_owned(), line)
    });
    let answers: BTreeMap<_, _> = named.collect();
    assert_eq!(answers.len(), lines.lines().count(), "each once");
    answers
}

fn background(text: &str) -> Value {
    json!({ "model": "auto", "background": true, "input": text })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_in_the_background_is_fetched_by_polling() {
    let stand = Stand::new().embedded().start().await;
    let url = format!("{}/v1/responses", stand.url());
    let taken = post(&url, KEY, &background("how high is the water")).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let taken = taken.json();
    assert_eq!(
        (&taken["status"], &taken["background"]),
        (&"queued".into(), &true.into())
    );
    let path = format!("responses/{}", taken["id"].as_str().unwrap());
    eventually("it is completed", || async {
        fetched(stand.url(), &path).await["status"] == "completed"
    })
    .await;
    let done = fetched(stand.url(), &path).await;
    assert_eq!(
        (&done["id"], &done["background"]),
        (&taken["id"], &true.into())
    );
    let text = done["output"][0]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("how high is the water"), "{text}");
    assert!(done["usage"]["output_tokens"].as_u64().unwrap() > 0);
    let recorded = stand.recorded(|rows| rows.len() == 1).await;
    assert_eq!(recorded[0]["ending"], "answered");

    let whole = format!("{}/v1/{path}", stand.url());
    let bearer = format!("Bearer {KEY}");
    let deleted = request("DELETE", &whole, &[("authorization", &bearer)], "")
        .await
        .unwrap();
    assert_eq!(deleted.json()["deleted"], true);
    assert_eq!(get(&whole, KEY).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hangs_in_the_background_can_be_cancelled() {
    let stand = Stand::new().embedded().start().await;
    for provider in ["alpha", "beta"] {
        stand.script(provider).fail(Fault::HangBeforeHeaders);
    }
    let url = format!("{}/v1/responses", stand.url());
    let taken = post(&url, KEY, &background("never mind")).await.json();
    let path = format!("responses/{}", taken["id"].as_str().unwrap());
    eventually("it is begun", || async {
        fetched(stand.url(), &path).await["status"] == "in_progress"
    })
    .await;
    let cancelled = post(
        &format!("{}/v1/{path}/cancel", stand.url()),
        KEY,
        &json!({}),
    )
    .await;
    assert_eq!(
        cancelled.json()["status"],
        "cancelled",
        "{}",
        cancelled.text()
    );
    eventually("the provider is left", || async {
        let attempts = stand.simulator().ledger().attempts();
        attempts
            .iter()
            .any(|attempt| attempt.client_gone_ms.is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_kept_is_refused_with_a_reason() {
    let stand = Stand::new().embedded().start().await;
    let url = stand.url();
    let responses = format!("{url}/v1/responses");
    let cases = [
        (
            json!({ "model": "auto", "background": true, "stream": true, "input": "x" }),
            400,
        ),
        (
            json!({ "model": "nobody", "background": true, "input": "x" }),
            404,
        ),
        (
            json!({ "model": "auto", "background": true, "input": "x",
                    "background_options": { "completion_window": "a while" } }),
            400,
        ),
    ];
    for (body, status) in cases {
        let answer = post(&responses, KEY, &body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.json()["error"]["message"].is_string());
    }
    let mut twice = lines(2);
    twice[1]["custom_id"] = "job-0".into();
    let answer = batch(url, &twice).await;
    assert_eq!(answer.status, 400);
    let message = answer.json()["error"]["message"].to_string();
    assert!(message.contains("line 2"), "{message}");
    for path in [
        "responses/resp_1",
        "batches/batch_..%2f..",
        "files/file-1/content",
    ] {
        let answer = get(&format!("{url}/v1/{path}"), KEY).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_line_by_line() {
    let stand = Stand::new().embedded().start().await;
    let mut lines = lines(20);
    lines[7]["body"]["model"] = "nobody".into();
    let taken = batch(stand.url(), &lines).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let path = format!("batches/{}", taken.json()["id"].as_str().unwrap());
    eventually("the batch is completed", || async {
        fetched(stand.url(), &path).await["status"] == "completed"
    })
    .await;
    let done = fetched(stand.url(), &path).await;
    let counts = json!({ "total": 20, "completed": 19, "failed": 1 });
    assert_eq!(done["request_counts"], counts);
    assert!(done["completed_at"].is_u64() && done["metadata"]["why"] == "a test");
    let output = answers(stand.url(), &done["output_file_id"]).await;
    assert_eq!(output.len(), 19);
    let answer = &output["job-3"]["response"];
    let text = answer["body"]["choices"][0]["message"]["content"]
        .as_str()
        .unwrap();
    assert!(
        answer["status_code"] == 200 && text.contains("job 3 of many"),
        "{text}"
    );
    let errors = answers(stand.url(), &done["error_file_id"]).await;
    assert_eq!(errors["job-7"]["response"]["status_code"], 404);
    // It asked for nothing that may not wait.
    let recorded = stand.recorded(|rows| rows.len() == 20).await;
    let id = recorded[0]["id"].as_str().unwrap();
    let whole = stand.api(&format!("/requests/{id}")).await;
    assert_eq!(whole["facts"]["class"], "batch", "{whole}");
}

/// A proxy that is asked to stop begins nothing more and ends what it has in hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_stops_leaves_nothing_half_done() {
    const JOBS: usize = 100;
    let mut stand = Stand::new().proxies(2).lifelike().start().await;
    let taken = batch(stand.url(), &lines(JOBS)).await;
    let path = format!("batches/{}", taken.json()["id"].as_str().unwrap());
    let survivor = stand.proxies[1].url.clone();
    more_done(&survivor, &path, 10).await;
    stand.proxies[0].process.terminate().await;
    assert!(stand.proxies[0].process.ended().await);
    let done = completed(&survivor, &path).await;
    let output = answers(&survivor, &done["output_file_id"]).await;
    assert_eq!(output.len(), JOBS, "{done}");
    assert!(
        output
            .values()
            .all(|line| line["possible_charges"].is_null())
    );
    assert_eq!(stand.simulator().ledger().attempts().len(), JOBS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_batch_ends_and_keeps_what_was_answered() {
    let stand = Stand::new().embedded().lifelike().start().await;
    let taken = batch(stand.url(), &lines(200)).await;
    let path = format!("batches/{}", taken.json()["id"].as_str().unwrap());
    eventually("some are done", || async {
        let done = &fetched(stand.url(), &path).await["request_counts"]["completed"];
        done.as_u64().unwrap() > 10
    })
    .await;
    let cancel = format!("{}/v1/{path}/cancel", stand.url());
    let cancelled = post(&cancel, KEY, &json!({})).await.json();
    assert_eq!(cancelled["status"], "cancelling", "{cancelled}");
    eventually("it is cancelled", || async {
        fetched(stand.url(), &path).await["status"] == "cancelled"
    })
    .await;
    let done = fetched(stand.url(), &path).await;
    let answered = answers(stand.url(), &done["output_file_id"]).await.len();
    assert_eq!(done["request_counts"]["completed"], answered, "{done}");
    assert!((11..200).contains(&answered));
}

/// Proxies are killed one after the other while they work on a thousand jobs: all are done,
/// and whichever may have been charged twice says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_survive_killed_proxies() {
    const JOBS: usize = 1_000;
    let mut stand = Stand::new().proxies(3).lifelike().start().await;
    let taken = batch(stand.url(), &lines(JOBS)).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let path = format!("batches/{}", taken.json()["id"].as_str().unwrap());
    for round in 1..=5 {
        let survivor = stand.proxies[round % 3].url.clone();
        eventually("work goes on", || async {
            let done = &fetched(&survivor, &path).await["request_counts"]["completed"];
            done.as_u64().unwrap() as usize > (round - 1) * JOBS / 10
        })
        .await;
        let victim = (round + 1) % 3;
        stand.proxies[victim].process.kill().await;
        stand.restart_proxy(victim).await;
    }
    eventually("all jobs are done", || async {
        fetched(stand.url(), &path).await["status"] == "completed"
    })
    .await;
    let done = fetched(stand.url(), &path).await;
    assert_eq!(done["request_counts"]["completed"], JOBS, "{done}");
    let output = answers(stand.url(), &done["output_file_id"]).await;
    assert_eq!(output.len(), JOBS);
    let mut attempts: BTreeMap<u64, u64> = BTreeMap::new();
    for attempt in stand.simulator().ledger().attempts() {
        *attempts.entry(attempt.prompt_hash).or_default() += 1;
    }
    let mut again = 0;
    for number in 0..JOBS {
        let line = &output[&format!("job-{number}")];
        let flagged = line["possible_charges"].as_u64().unwrap_or_default();
        let tried = attempts[&Ledger::prompt_hash(&saying(number))];
        assert!(
            tried <= 1 + flagged,
            "{tried} attempts, {flagged} flagged: {line}"
        );
        again += tried - 1;
    }
    // Killed with work in hand: else nothing was tested.
    assert!(again > 0);
}
