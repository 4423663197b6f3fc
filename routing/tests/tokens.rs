//! How well tokens are estimated, on texts that no constant was fitted to.
//!
//! `make measure-tokens` prints the errors; the test holds them to their bounds. The texts
//! are not part of the project: without them it is skipped, and says so.

#![expect(clippy::unwrap_used, reason = "a test on files of a known form")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use spillway_routing::tokens::{Families, Family, Ratios, TextClass, TokenCounter};

const FIXTURES: &str = "../../shared/tokens/fixtures.jsonl";
/// Mean absolute errors in percent: with a vocabulary in this build, and of Claude's, whose
/// vocabulary is not public.
const COUNTED_MAX: f64 = 2.0;
const CLAUDE_MAX: f64 = 6.0;

struct Text {
    kind: String,
    text: String,
    counts: Value,
    hash: Vec<u8>,
}

/// Of each kind of text the half whose hashes come last: the lines were fitted to the other.
fn second_halves(lines: &str) -> Vec<Text> {
    let mut kinds: BTreeMap<String, Vec<Text>> = BTreeMap::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = line["text"].as_str().unwrap().to_owned();
        let kind = line["class"].as_str().unwrap().to_owned();
        kinds.entry(kind.clone()).or_default().push(Text {
            hash: Sha256::digest(text.as_bytes()).to_vec(),
            counts: line["counts"].clone(),
            kind,
            text,
        });
    }
    let halves = kinds.into_values().flat_map(|mut texts| {
        texts.sort_by(|a, b| a.hash.cmp(&b.hash));
        texts.split_off(texts.len() / 2)
    });
    halves.collect()
}

/// In percent, over all texts.
fn missed(texts: &[Text], family: Family, estimate: impl Fn(&Text) -> f64) -> f64 {
    let miss = |text: &Text| {
        let counted = text.counts[family.name()].as_f64().unwrap();
        (estimate(text) / counted - 1.0).abs()
    };
    texts.iter().map(miss).sum::<f64>() * 100.0 / texts.len() as f64
}

#[test]
fn tokens_are_estimated_within_their_bounds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURES);
    let Ok(lines) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no data at {}", path.display());
        return;
    };
    let texts = second_halves(&lines);
    let kinds: std::collections::BTreeSet<_> = texts.iter().map(|text| &text.kind).collect();
    let counter = TokenCounter::new().measuring(Families::ALL);
    println!(
        "{} texts of {} kinds; mean absolute error in %",
        texts.len(),
        kinds.len()
    );
    println!("family            ours  by class  raw o200k  characters/4");
    for family in Family::ALL {
        let ours = missed(&texts, family, |text| {
            let measure = counter.measure(&text.text);
            f64::from(measure.ratios.count(measure.o200k, family).0)
        });
        let by_class = missed(&texts, family, |text| {
            let ratios = Ratios::of_class(TextClass::of(&text.text));
            f64::from(ratios.count(counter.count(&text.text), family).0)
        });
        let raw = missed(&texts, family, |text| {
            f64::from(counter.count(&text.text).0)
        });
        let quarter = missed(&texts, family, |text| {
            text.text.chars().count() as f64 / 4.0
        });
        println!(
            "{:16} {ours:5.1}  {by_class:8.1}  {raw:9.1}  {quarter:12.1}",
            family.name()
        );
        let most = match family {
            Family::Claude3 | Family::Claude47 => CLAUDE_MAX,
            _ => COUNTED_MAX,
        };
        assert!(ours <= most, "{}: {ours:.2} %", family.name());
    }
}
