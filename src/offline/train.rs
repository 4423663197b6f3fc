//! `spillway train`: learn from a history, write a table.

use anyhow::Context as _;
use spillway_classifier::run::Step;
use spillway_control_plane::control::now;
use spillway_control_plane::policy::{self, Fault, Learned};
use spillway_control_plane::training::{Lesson, learn, report_json, verdict};
use spillway_proto::envelope;
use spillway_routing::outcome::{Audit, Split};
use spillway_routing::table::{Draft, Table};

use super::{recorded, table};
use crate::bucket;
use crate::command::TrainArgs;
use crate::output::{say, tell};
use crate::progress;

/// The bar of the one route, where no policy says another.
pub(super) const BAR: f64 = 0.95;

pub(crate) async fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let split = match args.split.as_str() {
        "all" => None,
        word => Some(
            Split::parse(word)
                .with_context(|| format!("--split {word:?}: say train, test or all"))?,
        ),
    };
    let history = bucket::history(&args.history)?;
    let mut audits = history
        .audits(None)
        .await
        .context("the history cannot be read")?;
    audits.retain(|audit| split.is_none() || audit.split == split);
    let found = audits.len();
    anyhow::ensure!(
        found > 0,
        "{} holds no labelled prompts of split {}: run `spillway import` first",
        args.history.display(),
        args.split
    );
    let text = match &args.policy {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?,
        None => recorded_policy(&audits)?,
    };
    let (draft, lesson) = tokio::task::block_in_place(|| train(&text, &audits, args.seed))?;
    let bundle = envelope::unsigned(&draft);
    std::fs::write(&args.out, bundle.encode())
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    if let Some(path) = &args.report {
        let json = serde_json::to_string_pretty(&report_json(&lesson.report))?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    say!(
        "learnt from {found} prompts: {}",
        verdict(&lesson.report, lesson.promoted())
    );
    tell!("{}", table::describe(&draft));
    say!("wrote {}", args.out.display());
    Ok(())
}

fn recorded_policy(audits: &[Audit]) -> anyhow::Result<String> {
    let ranked = recorded::ranked(audits);
    let (best, _) = ranked
        .first()
        .context("no model answered any of these prompts")?;
    let models: Vec<String> = ranked.iter().map(|(model, _)| model.clone()).collect();
    Ok(recorded::policy(&models, best, BAR))
}

/// Learns under a policy and compiles the table's draft.
pub(super) fn train(text: &str, audits: &[Audit], seed: u64) -> anyhow::Result<(Draft, Lesson)> {
    let parsed = policy::parse(text).map_err(|faults| faulty(&faults))?;
    let bare =
        policy::draft(&parsed, text, &Learned::default()).map_err(|faults| faulty(&faults))?;
    let bar = progress::bar(100, "training");
    let mut shown = |step: Step, done: f32| {
        bar.set_message(step.name());
        bar.set_position((done * 100.0) as u64);
    };
    let lesson = learn(&bare, audits, &[], None, seed, &mut shown)?;
    bar.finish_and_clear();
    let mut draft =
        policy::draft(&parsed, text, &lesson.learned).map_err(|faults| faulty(&faults))?;
    draft.made_at = now();
    draft.note = format!("trained on {} prompts, seed {seed}", lesson.labels);
    let built = Table::build(draft.clone()).map_err(|flaws| {
        anyhow::anyhow!(
            "the table does not build: {}",
            flaws.first().map(ToString::to_string).unwrap_or_default()
        )
    });
    built.map(|_| (draft, lesson))
}

pub(super) fn faulty(faults: &[Fault]) -> anyhow::Error {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    anyhow::anyhow!(
        "the policy has {} faults:\n  {}",
        faults.len(),
        lines.join("\n  ")
    )
}
