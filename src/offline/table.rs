//! Table files: reading one, `spillway table show`, `spillway table diff`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use spillway_classifier::report::heads;
use spillway_proto::convert::{decode_table, encode_table, learned_bytes};
use spillway_proto::envelope::Bundle;
use spillway_routing::catalogue::Lane;
use spillway_routing::table::{Choice, Draft, Route, Table};

use crate::command::{TableArgs, TableCommand};
use crate::output::{say, tell};

/// Reads and checks a table file, signed or not. Whoever may write to the operator's
/// own disk is trusted here; proxies verify signatures.
pub(super) fn read(path: &Path) -> anyhow::Result<Table> {
    let bytes =
        std::fs::read(path).with_context(|| format!("cannot read the table {}", path.display()))?;
    let bundle =
        Bundle::decode(&bytes).with_context(|| format!("{} is no table file", path.display()))?;
    let draft = decode_table(&bundle.payload)
        .with_context(|| format!("{} is no table file", path.display()))?;
    Table::build(draft).map_err(|flaws| {
        let lines: Vec<String> = flaws.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(
            "{} holds a table that does not build:\n  {}",
            path.display(),
            lines.join("\n  ")
        )
    })
}

pub(crate) fn run(args: &TableArgs) -> anyhow::Result<()> {
    match &args.command {
        TableCommand::Show { file, json } => {
            let table = read(file)?;
            if *json {
                say!("{}", serde_json::to_string_pretty(&as_json(table.draft()))?);
            } else {
                tell!("{}", describe(table.draft()));
            }
        }
        TableCommand::Diff { old, new } => {
            tell!("{}", diff(read(old)?.draft(), read(new)?.draft()))
        }
    }
    Ok(())
}

fn choice(route: &Route) -> String {
    match route.choice {
        Choice::Multiplier(lambda) => format!("λ = {lambda} bps per dollar"),
        Choice::Floor(floor) => format!("floor {floor}"),
    }
}

fn price(lane: &Lane) -> String {
    let Some(price) = &lane.price else {
        return "price unknown".to_owned();
    };
    let mut text = format!(
        "${} in, ${} out per million tokens",
        price.rates.input.usd(),
        price.rates.output.usd()
    );
    if price.per_call.0 > 0 {
        let _ = write!(text, ", {} a call", price.per_call);
    }
    text
}

/// A table in words, for people.
pub(super) fn describe(draft: &Draft) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "table version {} (parent {}): {}",
        draft.version, draft.parent, draft.note
    );
    for route in &draft.routes {
        let heads = if route.learned {
            "learned"
        } else {
            "prompt-blind"
        };
        let _ = writeln!(
            text,
            "  route {}: bar {}, {}, {heads}, default {}, baseline {}",
            route.id,
            route.bar,
            choice(route),
            route.default_lane,
            route.baseline
        );
        if let Some(proven) = &route.certificate {
            let _ = writeln!(
                text,
                "    certified: misses its bar by at most {}, with {} confidence, on {} audits",
                proven.allowed, proven.confidence, proven.audits
            );
        }
    }
    for lane in &draft.lanes {
        let _ = writeln!(text, "  lane {}: {}", lane.id, price(lane));
    }
    if let Some(committee) = &draft.committee {
        let kinds: Vec<String> = heads(committee).iter().map(ToString::to_string).collect();
        let kinds = if kinds.is_empty() {
            "no heads".to_owned()
        } else {
            kinds.join(", ")
        };
        let _ = writeln!(
            text,
            "  {kinds} over {} models, learnt from {} prompts, {} bytes",
            committee.models.len(),
            committee.labels,
            learned_bytes(&encode_table(draft))
        );
    }
    text
}

fn as_json(draft: &Draft) -> serde_json::Value {
    let routes = draft.routes.iter().map(|route| {
        json!({ "name": route.id.as_str(), "bar": route.bar.share(), "choice": choice(route), "learned": route.learned,
            "default_lane": route.default_lane.as_str(), "baseline_lane": route.baseline.as_str() })
    });
    let lanes = draft.lanes.iter().map(|lane| {
        let rates = lane.price.as_ref().map(|price| price.rates);
        json!({ "lane": lane.id.as_str(), "tier": lane.tier.name(), "input_usd_per_mtok": rates.map(|r| r.input.usd()),
            "output_usd_per_mtok": rates.map(|r| r.output.usd()) })
    });
    json!({
        "version": draft.version.0,
        "parent": draft.parent.0,
        "made_at_ms": draft.made_at.0,
        "note": draft.note,
        "routes": routes.collect::<Vec<_>>(),
        "lanes": lanes.collect::<Vec<_>>(),
        "models": draft.models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>(),
        "labels": draft.committee.as_ref().map(|committee| committee.labels),
    })
}

/// What was added (+), removed (-), line by line of the description.
fn diff(old: &Draft, new: &Draft) -> String {
    let (old, new) = (describe(old), describe(new));
    let mut text = String::new();
    for line in old
        .lines()
        .filter(|line| !new.lines().any(|other| other == *line))
    {
        let _ = writeln!(text, "-{line}");
    }
    for line in new
        .lines()
        .filter(|line| !old.lines().any(|other| other == *line))
    {
        let _ = writeln!(text, "+{line}");
    }
    text
}
