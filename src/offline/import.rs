//! `spillway import`: labelled prompts and outcomes into a history, all or nothing.

use anyhow::Context as _;
use spillway_control_plane::control::now;

use super::set::{self, Part};
use crate::bucket;
use crate::command::ImportArgs;
use crate::output::say;

pub(crate) async fn run(args: &ImportArgs) -> anyhow::Result<()> {
    let history = bucket::history(&args.history)?;
    let source = match &args.source {
        Some(source) => source.clone(),
        None => default_source(args),
    };
    let set = args.set.clone();
    let audits = tokio::task::spawn_blocking(move || set::audits(&set, Part::All, true, now()));
    let audits = audits.await??;
    let answers: usize = audits.iter().map(|audit| audit.answers.len()).sum();
    history
        .append_audits(&source, &audits)
        .await
        .context("nothing was imported")?;
    say!(
        "imported {} prompts with {answers} answers as {source:?}",
        audits.len()
    );
    Ok(())
}

/// The folder the prompts lie in, which is how sets are told apart on disk.
fn default_source(args: &ImportArgs) -> String {
    let folder = args
        .set
        .prompts
        .parent()
        .and_then(|folder| folder.file_name());
    folder
        .and_then(|name| name.to_str())
        .unwrap_or("import")
        .to_owned()
}
