//! Outcomes, verdicts and sampled audits on their way into history.
//!
//! Owns: taking one proxy's batches in order, and acknowledging what is durable. A
//! batch that comes twice counts once; a batch that cannot be read is refused whole,
//! with the field at fault, so that the proxy's log says why.

use spillway_history::BatchId;
use spillway_proto::convert::Invalid;
use spillway_proto::pb;
use spillway_routing::id::ProxyId;
use spillway_routing::outcome::{Audit, Outcome, Verdict};

use crate::control::Control;
use crate::error::ControlError;

/// Makes one batch durable; returns the sequence number up to which all is.
///
/// # Errors
///
/// [`ControlError::BadRequest`] for a batch that cannot be read, and whatever history
/// says about writing it.
pub(crate) async fn store(control: &Control, batch: pb::Batch) -> Result<u64, ControlError> {
    let id = BatchId {
        proxy: ProxyId::new(&batch.proxy),
        first: batch.first,
        last: batch.last,
    };
    let outcomes: Vec<Outcome> = all(batch.outcomes)?;
    let verdicts: Vec<Verdict> = all(batch.verdicts)?;
    let audits: Vec<Audit> = all(batch.audits)?;
    whole(&id, &outcomes, verdicts.len() + audits.len())?;
    let timer = control.metrics.history_write_seconds.start_timer();
    if !outcomes.is_empty() && control.history.append_outcomes(&id, &outcomes).await?.new {
        control
            .metrics
            .outcomes_stored
            .inc_by(outcomes.len() as u64);
    }
    if !verdicts.is_empty() && control.history.append_verdicts(&id, &verdicts).await?.new {
        control
            .metrics
            .verdicts_stored
            .inc_by(verdicts.len() as u64);
    }
    if !audits.is_empty() && control.history.append_sampled(&id, &audits).await?.new {
        control.metrics.audits_stored.inc_by(audits.len() as u64);
    }
    timer.observe_duration();
    Ok(id.last)
}

fn all<P, T: TryFrom<P, Error = Invalid>>(records: Vec<P>) -> Result<Vec<T>, ControlError> {
    let read = records.into_iter().map(T::try_from);
    read.collect::<Result<_, _>>().map_err(unreadable)
}

fn unreadable(error: Invalid) -> ControlError {
    ControlError::BadRequest(format!("the batch cannot be read: {error}"))
}

/// A batch that claims more numbers than it has records, or another proxy's records,
/// would make later ones look as if they were stored already.
fn whole(id: &BatchId, outcomes: &[Outcome], others: usize) -> Result<(), ControlError> {
    let records = (outcomes.len() + others) as u64;
    let numbers = id
        .last
        .checked_sub(id.first)
        .and_then(|span| span.checked_add(1));
    if numbers != Some(records) {
        let (first, last) = (id.first, id.last);
        let message = format!("the batch says {first} to {last} and holds {records} records");
        return Err(ControlError::BadRequest(message));
    }
    match outcomes.iter().find(|outcome| outcome.proxy != id.proxy) {
        Some(foreign) => Err(ControlError::BadRequest(format!(
            "outcome {} is of proxy {}, the batch of {}",
            foreign.id, foreign.proxy, id.proxy
        ))),
        None => Ok(()),
    }
}
