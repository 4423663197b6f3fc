//! The offline commands on a small made set, and what they say to bad input.

use std::fs;

use serde_json::Value;
use spillway_simulator::World;

use crate::stand::{POLICY, Process, text};
use crate::training::write_set;

use crate::stand::spillway;

async fn ok(args: &[&str]) -> String {
    let done = spillway(args).await;
    assert!(done.success, "{args:?}: {}", done.stderr);
    done.stdout
}

async fn fails(args: &[&str]) -> String {
    let done = spillway(args).await;
    assert!(!done.success, "{args:?} should have failed");
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    done.stderr
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_train_evaluate_predict_route_fit_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (prompts, outcomes) = write_set(dir.path(), &World::new(5), 1_200);
    let (prompts, outcomes) = (text(&prompts), text(&outcomes));
    let (history, table) = (path("history"), path("a.table"));
    learn(&history, prompts, outcomes, &table, &path("report.json")).await;

    // The same history and seed give the same table.
    ok(&["train", "--history", &history, "--out", &path("b.table")]).await;
    let same = ok(&["table", "diff", &table, &path("b.table")]).await;
    assert_eq!(same, "", "{same}");

    let evaluated = ok(&[
        "evaluate",
        "--table",
        &table,
        "--prompts",
        prompts,
        "--outcomes",
        outcomes,
        "--split",
        "test",
        "--json",
    ])
    .await;
    let evaluated: Value = serde_json::from_str(&evaluated).unwrap();
    assert_eq!(evaluated["prompts"], 300);
    assert!(evaluated["aiq_log"].as_f64() > evaluated["aiq_log_zero"].as_f64());

    predictions_are_bounded(&table, prompts, &path("predictions.jsonl")).await;

    let cost_at = async |bar: &str| {
        let lines = path(&format!("routes-{bar}.jsonl"));
        ok(&[
            "route",
            "--table",
            &table,
            "--prompts",
            prompts,
            "--split",
            "test",
            "--bar",
            bar,
            "--out",
            &lines,
        ])
        .await;
        let text = fs::read_to_string(&lines).unwrap();
        text.lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["cost_usd"]
                    .as_f64()
                    .unwrap()
            })
            .sum::<f64>()
    };
    assert!(cost_at("0.85").await < cost_at("1.0").await);
    a_reader_may_go_away(&table).await;
    assert!(ok(&["table", "show", &table]).await.contains("route auto"));
}

/// `| head`, and a reader that wants nothing at all.
async fn a_reader_may_go_away(table: &str) {
    let piped = format!(
        "{} table show {table} | true",
        env!("CARGO_BIN_EXE_spillway")
    );
    let piped = tokio::process::Command::new("sh")
        .args(["-c", &piped])
        .output()
        .await
        .unwrap();
    assert!(
        piped.stderr.is_empty(),
        "a reader that goes away is no error"
    );
}

/// Imports the set and trains on it.
async fn learn(history: &str, prompts: &str, outcomes: &str, table: &str, report: &str) {
    let imported = ok(&[
        "import",
        "--history",
        history,
        "--prompts",
        prompts,
        "--outcomes",
        outcomes,
    ])
    .await;
    assert!(
        imported.contains("1200 prompts with 7200 answers"),
        "{imported}"
    );
    let trained = ok(&[
        "train",
        "--history",
        history,
        "--out",
        table,
        "--report",
        report,
    ])
    .await;
    assert!(trained.contains("learnt from 900 prompts"), "{trained}");
    let report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    assert!(report["learned"]["aiq_log"].is_number());
}

/// Every prompt has one line with all models, each with a bound and a cost.
async fn predictions_are_bounded(table: &str, prompts: &str, lines: &str) {
    ok(&[
        "predict",
        "--table",
        table,
        "--prompts",
        prompts,
        "--split",
        "test",
        "--out",
        lines,
    ])
    .await;
    let predictions: Vec<Value> = fs::read_to_string(lines)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(predictions.len(), 300);
    assert_eq!(predictions[0]["predictions"].as_array().unwrap().len(), 6);
    for prediction in predictions[0]["predictions"].as_array().unwrap() {
        assert!(prediction["quality_low"].as_f64() <= prediction["quality"].as_f64());
        assert!(prediction["cost_usd"].as_f64().unwrap() > 0.0);
    }
}

/// The same small set as CSV, as compressed JSON lines and as Parquet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_a_set_imports_alike() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let script = r#"
import csv, gzip, json, sys
import pyarrow as arrow, pyarrow.parquet as parquet
out = sys.argv[1]
prompts = [{"prompt_id": f"p{i}", "split": "train", "prompt": f"question, \"number\" {i}"} for i in range(5)]
outcomes = [{"prompt_id": f"p{i}", "model": m, "score": 0.5, "input_tokens": 3, "cost_usd": 0.001} for i in range(5) for m in "ab"]
for name, rows in (("prompts", prompts), ("outcomes", outcomes)):
    with gzip.open(f"{out}/{name}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    with open(f"{out}/{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    parquet.write_table(arrow.Table.from_pylist(rows), f"{out}/{name}.parquet")
"#;
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/python/bin/python");
    let made = tokio::process::Command::new(python)
        .args(["-c", script, text(dir.path())])
        .output()
        .await
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    for form in ["jsonl.gz", "csv", "parquet"] {
        let (prompts, outcomes) = (
            path(&format!("prompts.{form}")),
            path(&format!("outcomes.{form}")),
        );
        let said = ok(&[
            "import",
            "--history",
            &path(form),
            "--prompts",
            &prompts,
            "--outcomes",
            &outcomes,
        ])
        .await;
        assert!(said.contains("5 prompts with 10 answers"), "{form}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_import_names_its_line_and_imports_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (prompts, outcomes) = write_set(dir.path(), &World::new(5), 10);
    let history = path("history");
    let good = fs::read_to_string(&outcomes).unwrap();
    let cases = [
        ("{\"prompt_id\": \"world/0\", \"model\":", ":61"),
        (
            "{\"prompt_id\": \"world/0\", \"model\": \"m\", \"score\": 7}",
            "score 7 is not between 0 and 1",
        ),
        (
            "{\"prompt_id\": \"world/77\", \"model\": \"m\", \"score\": 0.5}",
            "world/77",
        ),
    ];
    for (line, expected) in cases {
        let broken = path("broken.jsonl");
        fs::write(&broken, format!("{good}{line}\n")).unwrap();
        let error = fails(&[
            "import",
            "--history",
            &history,
            "--prompts",
            text(&prompts),
            "--outcomes",
            &broken,
        ])
        .await;
        assert!(
            error.contains("broken.jsonl:61") && error.contains(expected),
            "{error}"
        );
    }
    let error = fails(&["train", "--history", &history, "--out", &path("t")]).await;
    assert!(error.contains("run `spillway import` first"), "{error}");
    let missing = fails(&[
        "import",
        "--history",
        &history,
        "--prompts",
        &path("none.jsonl"),
        "--outcomes",
        text(&outcomes),
    ])
    .await;
    assert!(missing.contains("none.jsonl"), "{missing}");
    let file = path("file");
    fs::write(&file, "").unwrap();
    let unwritable = fails(&[
        "import",
        "--history",
        &format!("{file}/below"),
        "--prompts",
        text(&prompts),
        "--outcomes",
        text(&outcomes),
    ])
    .await;
    assert!(unwritable.contains("file"), "{unwritable}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_names_lines_and_fields() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let file = path("policy.toml");
    fs::write(&file, POLICY).unwrap();
    assert!(ok(&["check", &file]).await.contains("ok"));
    let typo = POLICY.replace("deadline = \"8s\"", "deadlin = \"8s\"");
    let line = typo.lines().position(|line| line.starts_with("deadlin ="));
    let line = format!("line {}", line.unwrap() + 1);
    fs::write(&file, typo).unwrap();
    let error = fails(&["check", &file]).await;
    assert!(
        error.contains(&line) && error.contains("deadlin"),
        "{error}"
    );
    let config = path("spillway.toml");
    fs::write(
        &config,
        "version = 1\n[control]\ndata_dir = \"x\"\nhttp_listen = \"0.0.0.0:1\"\n",
    )
    .unwrap();
    assert!(fails(&["check", &config]).await.contains("without TLS"));
    fs::write(
        &config,
        "version = 1\n[control]\ndata_dir = \"x\"\ngrcp_listen = \"127.0.0.1:1\"\n",
    )
    .unwrap();
    let error = fails(&["check", &config]).await;
    assert!(
        error.contains("grcp_listen") && error.contains("line 4"),
        "{error}"
    );
    assert!(
        fails(&["table", "show", &file])
            .await
            .contains("is no table file")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_starts_while_etcd_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("control.toml");
    let (grpc, http, etcd) = (
        crate::stand::free_port(),
        crate::stand::free_port(),
        crate::stand::free_port(),
    );
    let text = format!(
        "version = 1\n[control]\ngrpc_listen = \"127.0.0.1:{grpc}\"\nhttp_listen = \"127.0.0.1:{http}\"\ndata_dir = {:?}\netcd = [\"http://127.0.0.1:{etcd}\"]\n",
        dir.path().join("data")
    );
    fs::write(&config, text).unwrap();
    let process = Process::start(
        "control",
        &["control", "--config", crate::stand::text(&config)],
        "dashboard",
    )
    .await;
    let token = fs::read_to_string(dir.path().join("data/admin.token")).unwrap();
    let answer = crate::stand::get(&format!("http://127.0.0.1:{http}/api/v1/tables"), &token).await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("etcd at"), "{}", answer.text());
    drop(process);
}
