//! `spillway replay`: recorded requests under another table.

use serde_json::json;
use spillway_control_plane::control::now;
use spillway_control_plane::whatif::REQUESTS_MAX;
use spillway_history::RequestFilter;
use spillway_routing::offpolicy::SAMPLES_MIN;
use spillway_routing::replay::{Recorded, replay};
use spillway_routing::unit::UnixMillis;

use super::table;
use crate::bucket;
use crate::command::ReplayArgs;
use crate::output::say;

pub(crate) async fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let table = table::read(&args.table)?;
    let history = bucket::history(&args.history)?;
    let newest = history.recent(1, &RequestFilter::default()).await?;
    let until = newest
        .first()
        .map_or_else(now, |row| UnixMillis(row.at.0 + 1));
    let since = UnixMillis(until.0.saturating_sub(args.hours.saturating_mul(3_600_000)));
    let window = history.window(since, until, REQUESTS_MAX).await?;
    anyhow::ensure!(
        !window.is_empty(),
        "{} holds no requests of the last {} hours",
        args.history.display(),
        args.hours
    );
    let recorded = window.iter().map(|(outcome, quality)| Recorded {
        outcome,
        quality: *quality,
    });
    let seen = replay(&table, recorded);
    if args.json {
        let after = seen.quality_after;
        let (low, high) = after.interval.unzip();
        let body = json!({
            "requests": seen.requests, "changed": seen.changed, "refused": seen.refused,
            "cost_before_usd": seen.cost_before.usd(), "cost_after_usd": seen.cost_after.usd(),
            "quality_before": seen.quality_before, "quality_after": after.doubly_robust,
            "quality_after_predicted": after.direct, "quality_after_self_normalised": after.self_normalised,
            "quality_low": low, "quality_high": high,
            "coverage": seen.coverage, "effective_sample_size": after.effective_samples,
        });
        say!("{}", serde_json::to_string_pretty(&body)?);
        return Ok(());
    }
    let share = |quality: Option<f64>| quality.map_or("unknown".to_owned(), |q| format!("{q:.4}"));
    say!(
        "{} requests, {} would have gone elsewhere, {} refused",
        seen.requests,
        seen.changed,
        seen.refused
    );
    say!("cost     {} -> {}", seen.cost_before, seen.cost_after);
    say!(
        "quality  {} -> {}",
        share(seen.quality_before),
        share(seen.quality_after.doubly_robust)
    );
    if let Some((low, high)) = seen.quality_after.interval {
        say!("         90 % interval [{low:.4}, {high:.4}]");
    }
    say!(
        "         predicted {}, from observations alone {}",
        share(seen.quality_after.direct),
        share(seen.quality_after.self_normalised)
    );
    say!(
        "coverage {:.1} %, effective samples {:.0} (an estimate needs {SAMPLES_MIN:.0})",
        100.0 * seen.coverage,
        seen.quality_after.effective_samples
    );
    Ok(())
}
