//! `spillway predict`: quality and cost of every model for each prompt.

use std::fs::File;
use std::io::{BufWriter, Write as _};

use anyhow::Context as _;
use serde_json::json;
use spillway_control_plane::control::now;
use spillway_routing::unit::Tokens;

use super::evaluate::terms;
use super::set::{self, Part};
use super::table;
use crate::command::PredictArgs;
use crate::output::say;

pub(crate) fn run(args: &PredictArgs) -> anyhow::Result<()> {
    let table = table::read(&args.table)?;
    let committee = table.draft().committee.as_ref();
    let committee =
        committee.context("this table has learnt nothing: train one with `spillway train`")?;
    let terms = terms(table.draft(), committee);
    let prompts = set::prompts(&args.prompts, Part::parse(&args.split)?, args.with_slices)?;
    let file =
        File::create(&args.out).with_context(|| format!("cannot write {}", args.out.display()))?;
    let mut out = BufWriter::new(file);
    let now = now();
    for prompt in &prompts {
        let scores = committee.score(&prompt.facts);
        let columns = committee.models.iter().zip(&scores.models).zip(&terms);
        let predictions: Vec<_> = columns
            .map(|((model, score), terms)| {
                let cost = terms.as_ref().map(|terms| {
                    let input = prompt.facts.input(terms.family);
                    terms.price.estimate(input, Tokens(0), score.output, now).usd()
                });
                json!({ "model": model.as_str(), "quality": score.quality.share(), "quality_low": score.quality_low.share(), "cost_usd": cost })
            })
            .collect();
        let line = json!({ "prompt_id": prompt.id, "abstain": scores.abstention.is_some(), "predictions": predictions });
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    say!(
        "wrote {} predictions to {}",
        prompts.len(),
        args.out.display()
    );
    Ok(())
}
