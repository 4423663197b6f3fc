//! A policy for a labelled set: every model that answered is a candidate of one route.
//!
//! Owns: that policy's text. The recorded models are all "served" by one provider, and
//! their prices are read off what they charged.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use spillway_routing::outcome::Audit;

/// The provider of recorded models.
pub(super) const PROVIDER: &str = "recorded";

/// Models that answered (nearly) all prompts, best first by their mean score.
pub(super) fn ranked(audits: &[Audit]) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for answer in audits.iter().flat_map(|audit| &audit.answers) {
        let sum = sums.entry(answer.model.as_str()).or_default();
        sum.0 += answer.score.share();
        sum.1 += 1;
    }
    let mean = |(model, (sum, count)): (&&str, &(f64, usize))| {
        ((*model).to_owned(), sum / *count as f64, *count)
    };
    let most = sums.values().map(|(_, count)| *count).max().unwrap_or(0);
    let mut ranked: Vec<(String, f64, usize)> = sums.iter().map(mean).collect();
    // A model that answered a tenth of the prompts may have seen the easy ones only.
    ranked.retain(|(_, _, count)| *count * 100 >= most * 95);
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked
        .into_iter()
        .map(|(model, mean, _)| (model, mean))
        .collect()
}

/// The policy's text; the baseline is the best model.
pub(super) fn policy(models: &[String], best: &str, bar: f64) -> String {
    let mut text = String::from("version = 1\n\n[[upstreams]]\n");
    let _ = writeln!(text, "provider = \"{PROVIDER}\"");
    let names: Vec<String> = models.iter().map(|model| quoted(model)).collect();
    let _ = writeln!(text, "models = [{}]", names.join(", "));
    let _ = writeln!(
        text,
        "\n[routes.auto]\nbaseline = {}\nbar = {bar}",
        quoted(best)
    );
    text
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}
