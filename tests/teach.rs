//! A Spillway without any label: it must teach itself, and notice when the world changes.

use std::fmt::Write as _;

use serde_json::Value;

use crate::stand::{spillway, text};

/// Chance of a right answer by kind of work, and dollars a call.
const MODELS: [(&str, [f64; 2], f64); 3] = [
    ("cheap-code", [0.92, 0.25], 0.0001),
    ("cheap-prose", [0.25, 0.92], 0.0001),
    ("dear", [0.95, 0.95], 0.01),
];
const WORDS: [[&str; 8]; 2] = [
    [
        "loop", "array", "pointer", "compile", "index", "function", "stack", "binary",
    ],
    [
        "poem", "rain", "love", "verse", "autumn", "sorrow", "garden", "letter",
    ],
];

/// A fixed sequence of numbers in 0..1 (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Two kinds of prompts, each of which one cheap model can do.
fn set(folder: &std::path::Path, prompts: usize) -> [std::path::PathBuf; 2] {
    let mut dice = Dice(7);
    let (mut asked, mut answered) = (String::new(), String::new());
    for number in 0..prompts {
        let kind = usize::from(dice.roll() < 0.5);
        let split = if number % 6 == 5 { "test" } else { "train" };
        let mut prompt = format!("number {number}: please tell me of");
        for _ in 0..10 {
            let word = WORDS[kind][(dice.roll() * 8.0) as usize];
            let _ = write!(prompt, " {word}");
        }
        let _ = writeln!(
            asked,
            r#"{{"prompt_id":"p{number}","split":"{split}","prompt":"{prompt}"}}"#
        );
        for (model, chances, usd) in MODELS {
            let score = u8::from(dice.roll() < chances[kind]);
            let _ = writeln!(
                answered,
                r#"{{"prompt_id":"p{number}","model":"{model}","score":{score},"input_tokens":40,"output_tokens":60,"cost_usd":{usd}}}"#
            );
        }
    }
    let paths = ["prompts.jsonl", "outcomes.jsonl"].map(|name| folder.join(name));
    std::fs::write(&paths[0], asked).unwrap();
    std::fs::write(&paths[1], answered).unwrap();
    paths
}

async fn learn(limit: &str, event: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let [prompts, outcomes] = set(folder.path(), 3_000);
    let svg = folder.path().join("teach.svg");
    let mut args = vec!["simulate", "--learn", "--split", "train", "--bar", "0.9"];
    args.extend(["--prompts", text(&prompts), "--outcomes", text(&outcomes)]);
    // Audits are drawn by request ids, so runs differ; with fewer labels than these the
    // gate may decline to the very end, as it should.
    args.extend(["--starting-audits", "1", "--audits", "0.1"]);
    args.extend(["--limit", limit, "--svg", text(&svg), "--json"]);
    args.extend(event);
    let done = spillway(&args).await;
    assert!(done.success, "{}", done.stderr);
    let picture = std::fs::read_to_string(svg).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("with audits"));
    serde_json::from_str(&done.stdout).unwrap()
}

fn notes(told: &Value) -> String {
    let windows = told["windows"].as_array().unwrap();
    let notes = windows.iter().map(|window| window["notes"].to_string());
    notes.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audits_teach_what_each_cheap_model_can_do() {
    let told = learn("2500", &[]).await;
    let first = &told["windows"][0];
    // Of nobody anything is known: everything goes to the default.
    let [cost, best] = ["cost_usd", "best_cost_usd"].map(|key| first[key].as_f64().unwrap());
    assert!((cost / best - 1.0).abs() < 1e-9, "{first}");
    assert!(
        notes(&told).contains("trained: promoted"),
        "{}",
        notes(&told)
    );
    let taught = &told["held_out"]["taught"];
    assert!(taught["cost_of_best"].as_f64().unwrap() < 0.5, "{taught}");
    assert!(
        taught["quality_of_best"].as_f64().unwrap() > 0.85,
        "{taught}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_grows_worse_is_noticed_and_avoided() {
    let told = learn("2500", &["--event", "1500:worse:cheap-code:0.9"]).await;
    let notes = notes(&told);
    assert!(notes.contains("alarm: worse cheap-code"), "{notes}");
    // From then on the rest of the world is as good as the best model again.
    let named = |window: &&Value| !window["notes"].to_string().contains("alarm: worse");
    let windows = told["windows"].as_array().unwrap().iter();
    let after: Vec<f64> = windows
        .skip_while(named)
        .skip(1)
        .map(|window| {
            window["quality"].as_f64().unwrap() / window["best_quality"].as_f64().unwrap()
        })
        .collect();
    assert!(
        !after.is_empty() && after.iter().all(|share| *share > 0.8),
        "{after:?} {notes}"
    );
}
