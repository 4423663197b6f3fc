//! What a Spillway taught itself, against a table that was trained on everything.
//!
//! Owns: the measurement, on prompts that neither has seen: what the published table
//! chooses, and what a share of the best model's quality would cost on its curve.

use anyhow::Context as _;
use serde_json::{Value, json};
use spillway_control_plane::control::now;
use spillway_routing::conditions::Conditions;
use spillway_routing::decide::{Draw, decide};
use spillway_routing::outcome::Audit;
use spillway_routing::table::{Draft, Table};

use super::SEED;
use crate::offline::{evaluate, train};
use crate::output::say;

/// What is measured on, and with which policy.
pub(super) struct Set<'a> {
    pub(super) held_out: &'a [Audit],
    /// The prompts that were played, with all their labels.
    pub(super) train: &'a [Audit],
    pub(super) best: &'a str,
    pub(super) bar: f64,
    pub(super) policy: &'a str,
    /// Whether callers name the kind of work.
    pub(super) slices: bool,
}

impl Set<'_> {
    pub(super) fn compare(&self, taught: &Draft) -> anyhow::Result<Value> {
        let (everything, _) = train::train(self.policy, self.train, SEED)?;
        let best = mean(self.held_out, |_| Some(self.best.to_owned()));
        let row = |draft: &Draft| -> anyhow::Result<Value> {
            let table = Table::build(draft.clone())
                .map_err(|_| anyhow::anyhow!("the table does not build"))?;
            let (quality, cost) = mean(self.held_out, |audit| chosen(&table, audit));
            Ok(json!({
                "quality_of_best": quality / best.0,
                "cost_of_best": cost / best.1,
                "cost_at_bar": self.cost_at_bar(draft)?,
            }))
        };
        Ok(json!({
            "prompts": self.held_out.len(),
            "bar": self.bar,
            "best": { "model": self.best, "quality": best.0, "cost_usd": best.1 },
            "taught": row(taught)?,
            "trained_on_everything": row(&everything)?,
        }))
    }

    /// The least cost at which the curve reaches the bar, as a share of the best model's.
    fn cost_at_bar(&self, draft: &Draft) -> anyhow::Result<Option<f64>> {
        let Some(committee) = &draft.committee else {
            return Ok(None);
        };
        let terms = evaluate::terms(draft, committee);
        let evaluation = evaluate::committee(committee, &terms, self.held_out, self.slices)?;
        let best = evaluation
            .singles
            .get(evaluation.best)
            .context("there is no best model")?;
        let cost = evaluation.hull.cost_at(self.bar * best.quality);
        Ok(cost.map(|cost| cost / best.cost))
    }
}

fn chosen(table: &Table, audit: &Audit) -> Option<String> {
    let idle = Conditions {
        lanes: vec![Default::default(); table.draft().lanes.len()],
    };
    let decision = decide(table, &audit.facts, &idle, now(), Draw(0)).ok()?;
    decision.chosen().map(|line| line.model.to_string())
}

/// Mean quality and cost of one answer per prompt.
fn mean(audits: &[Audit], pick: impl Fn(&Audit) -> Option<String>) -> (f64, f64) {
    let (mut quality, mut cost, mut count) = (0.0, 0.0, 0.0f64);
    for audit in audits {
        let picked = pick(audit);
        let mut answers = audit.answers.iter();
        if let Some(answer) = answers.find(|a| Some(a.model.as_str()) == picked.as_deref()) {
            quality += answer.score.share();
            cost += answer.cost.map_or(0.0, |cost| cost.usd());
            count += 1.0;
        }
    }
    (quality / count.max(1.0), cost / count.max(1.0))
}

pub(super) fn print(measured: &Value) {
    if measured.is_null() {
        return;
    }
    let percent = |value: &Value| 100.0 * value.as_f64().unwrap_or(f64::NAN);
    let (prompts, bar) = (&measured["prompts"], percent(&measured["bar"]));
    say!("on {prompts} prompts that were not played, of the best single model's:");
    let rows = [
        ("taught by audits", "taught"),
        ("trained on everything", "trained_on_everything"),
    ];
    for (name, key) in rows {
        let row = &measured[key];
        say!(
            "  {name:<22} quality {:>5.1} %, cost {:>5.1} %; its curve reaches {bar:.0} % at {:>5.1} %",
            percent(&row["quality_of_best"]),
            percent(&row["cost_of_best"]),
            percent(&row["cost_at_bar"])
        );
    }
}
