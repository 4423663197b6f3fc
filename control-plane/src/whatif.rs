//! What-if: an edited policy on recorded requests.
//!
//! Owns: compiling the unsaved policy with what the current table has learnt, and
//! replaying a window of history under it. The same `decide` as live, exact prices.

use spillway_routing::replay::{Comparison, Recorded, replay};
use spillway_routing::table::Table;
use spillway_routing::unit::UnixMillis;

use crate::alarms;
use crate::control::Control;
use crate::error::ControlError;
use crate::policy::{self, Learned};
use crate::publish::PublishError;

/// Requests replayed at most; a decision takes microseconds, reading them more.
pub const REQUESTS_MAX: usize = 50_000;

/// Compares the recorded decisions with those of `text`.
///
/// # Errors
///
/// The policy's faults, or what history says.
pub async fn compare(
    control: &Control,
    text: &str,
    since: UnixMillis,
    until: UnixMillis,
    limit: usize,
) -> Result<Comparison, ControlError> {
    let current = control.publisher.current().await?;
    let learned = current
        .map(|c| Learned::of(c.table.draft()))
        .unwrap_or_default();
    let policy = policy::parse(text).map_err(ControlError::Policy)?;
    let mut draft = policy::draft(&policy, text, &learned).map_err(ControlError::Policy)?;
    // As it would be published: what an alarm convicted is passed over.
    draft.suspended = alarms::named_since(&control.store, draft.learnt_at).await?;
    let table = Table::build(draft).map_err(PublishError::Flawed)?;
    let window = control
        .history
        .window(since, until, limit.min(REQUESTS_MAX))
        .await?;
    // Tens of thousands of decisions: not on a thread that answers others.
    let replayed = tokio::task::spawn_blocking(move || {
        let recorded = window.iter().map(|(outcome, quality)| Recorded {
            outcome,
            quality: *quality,
        });
        replay(&table, recorded)
    });
    replayed
        .await
        .map_err(|_| ControlError::BadRequest("the replay was stopped".to_owned()))
}
