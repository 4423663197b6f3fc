//! Tests of recordings on small files written here; no real prompt is copied.

use std::io::Write;
use std::path::PathBuf;

use super::*;

const PROMPTS: &str = r#"
{"prompt_id":"a","dataset":"d","task":"sums","split":"train","prompt":"one and one?"}
{"prompt_id":"b","dataset":"d","task":"sums","split":"test","prompt":"two and two?"}
{"prompt_id":"c","dataset":"d","task":"tools","split":"test","prompt":"weather here","tools":"[{\"name\":\"weather\"}]"}
{"prompt_id":"d","dataset":"d","task":"sums","split":"train","prompt":"one and one?"}
"#;
const OUTCOMES: &str = r#"{"prompt_id":"a","model":"big","score":1,"input_tokens":10,"output_tokens":5,"cost_usd":0.00002}
{"prompt_id":"b","model":"big","score":0.5,"input_tokens":20,"output_tokens":1,"cost_usd":0.000022,"latency_ms":800.5,"est":true}
{"prompt_id":"c","model":"big","score":0}
{"prompt_id":"d","model":"small","score":1}
{"prompt_id":"a","model":"small","score":0.25}
"#;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn load(prompts: &str, outcomes: &str, split: Option<&str>) -> Result<Recorded, LoadError> {
    let files = Files::new();
    let prompts = files.put("prompts.jsonl", prompts.as_bytes());
    let outcomes = files.put("outcomes.jsonl", outcomes.as_bytes());
    Recorded::load(prompts, outcomes, split)
}

#[test]
fn look_ups_are_by_exact_text() {
    let recorded = load(PROMPTS, OUTCOMES, None).unwrap();
    assert_eq!(recorded.prompts().len(), 3);
    assert_eq!(recorded.duplicates(), 1);
    assert_eq!(recorded.outcome_count(), 4);
    assert_eq!(recorded.models(), ["big", "small"]);
    assert_eq!(recorded.complete_models(), ["big"]);
    assert_eq!(recorded.score("big", "one and one?"), Some(1.0));
    // The second prompt of the same text does not count.
    assert_eq!(recorded.score("small", "one and one?"), Some(0.25));
    assert_eq!(recorded.score("big", "one and one"), None);
    assert_eq!(recorded.score("small", "two and two?"), None);
    assert_eq!(
        recorded.cost_usd("alpha/big", "two and two?"),
        Some(0.000_022)
    );
    let outcome = recorded.outcome("big", "two and two?").unwrap();
    assert_eq!((outcome.latency_ms, outcome.estimated), (Some(800.5), true));
    assert!(recorded.has_tools("weather here") && !recorded.has_tools("one and one?"));
    assert_eq!(
        recorded.prompt(4).map(|prompt| prompt.id.as_str()),
        Some("b")
    );
}

#[test]
fn prices_are_fitted_where_costs_are_known() {
    let recorded = load(PROMPTS, OUTCOMES, None).unwrap();
    assert_eq!(recorded.served(), [ServedModel::new("big", 1_000, 2_000)]);
}

#[test]
fn a_split_leaves_the_others_out() {
    let recorded = load(PROMPTS, OUTCOMES, Some("test")).unwrap();
    assert_eq!(recorded.prompts().len(), 2);
    assert_eq!(recorded.score("big", "one and one?"), None);
    assert_eq!(recorded.score("big", "two and two?"), Some(0.5));
    assert!(
        load(PROMPTS, OUTCOMES, Some("nowhere"))
            .unwrap()
            .prompt(3)
            .is_none()
    );
}

#[test]
fn packed_files_read_the_same() {
    let files = Files::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(PROMPTS.as_bytes()).unwrap();
    let prompts = files.put("prompts.jsonl.gz", &gzip.finish().unwrap());
    let packed = zstd::encode_all(OUTCOMES.as_bytes(), 1).unwrap();
    let outcomes = files.put("outcomes.jsonl.zst", &packed);
    let recorded = Recorded::load(prompts, outcomes, None).unwrap();
    assert_eq!(recorded.outcome_count(), 4);
}

#[test]
fn errors_name_file_and_line() {
    let outcome = |fields: &str| format!("{{\"prompt_id\":\"a\",\"model\":\"m\"{fields}}}\n");
    let fine = outcome(",\"score\":1");
    let cases = [
        (outcome(",\"score\":1.5"), "score 1.5"),
        (outcome(",\"score\":1,\"cost_usd\":-1"), "cost_usd -1"),
        (outcome(""), "not as it should be"),
        ("{".to_owned(), "not as it should be"),
        (fine.replace("\"a\"", "\"zz\""), "\"zz\""),
    ];
    for (bad, says) in cases {
        let error = load(PROMPTS, &format!("{fine}\n{bad}"), None).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("outcomes.jsonl line 3"), "{text}");
        assert!(text.contains(says), "{text}");
    }
    let twice = PROMPTS.replace("\"prompt_id\":\"b\"", "\"prompt_id\":\"a\"");
    let text = load(&twice, OUTCOMES, None).unwrap_err().to_string();
    assert!(text.contains("prompts.jsonl line 3"), "{text}");
    let missing = Recorded::load("/nowhere/p.jsonl", "/nowhere/o.jsonl", None).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/p.jsonl"));
}

#[test]
fn a_torn_packed_file_is_an_error_not_a_short_world() {
    let files = Files::new();
    let prompts = files.put("prompts.jsonl", PROMPTS.as_bytes());
    let packed = zstd::encode_all(OUTCOMES.as_bytes(), 1).unwrap();
    let torn = files.put("outcomes.jsonl.zst", &packed[..packed.len() / 2]);
    let error = Recorded::load(prompts, torn, None).unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }), "{error:?}");
}

#[test]
fn another_order_changes_nothing_but_the_order() {
    let files = Files::new();
    let prompts = files.put("prompts.jsonl", PROMPTS.as_bytes());
    let outcomes = files.put("outcomes.jsonl", OUTCOMES.as_bytes());
    let read = || Recorded::load(&prompts, &outcomes, None).unwrap();
    let (plain, orders) = (read(), 1..20);
    let mut moved = false;
    for seed in orders {
        let shuffled = read().shuffled(seed);
        moved |= shuffled.prompts() != plain.prompts();
        assert_eq!(shuffled.outcome_count(), plain.outcome_count());
        for prompt in plain.prompts() {
            for model in plain.models() {
                assert_eq!(
                    shuffled.outcome(model, &prompt.text),
                    plain.outcome(model, &prompt.text)
                );
            }
        }
    }
    assert!(moved);
}

#[test]
fn a_spoilt_model_loses_a_share_and_a_dearer_one_costs_more() {
    let files = Files::new();
    let prompts = files.put("prompts.jsonl", PROMPTS.as_bytes());
    let outcomes = files.put("outcomes.jsonl", OUTCOMES.as_bytes());
    let recorded = Recorded::load(prompts, outcomes, None).unwrap();
    let model = recorded.models()[0].clone();
    let texts: Vec<String> = recorded.prompts().iter().map(|p| p.text.clone()).collect();
    let costs = |times: f64| -> Vec<Option<f64>> {
        let cost = |text: &String| Some(recorded.cost_usd(&model, text)? / times);
        texts.iter().map(cost).collect()
    };
    let before = costs(1.0);
    recorded.reprice(&model, 2.0);
    assert_eq!(costs(2.0), before);
    recorded.spoil(&model, 1.0);
    assert!(
        texts
            .iter()
            .all(|text| recorded.score(&model, text).is_none_or(|s| s == 0.0))
    );
}
