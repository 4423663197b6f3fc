//! Whether a table may be served.
//!
//! Owns: the steps between bytes and a `Table`: signature and digest, version, build,
//! probes. Pure; run on a blocking thread since a table may be large.

use prost::Message as _;
use spillway_proto::envelope::{self, Bundle, EnvelopeError, PublicKey};
use spillway_proto::pb;
use spillway_routing::check::Flaw;
use spillway_routing::conditions::Conditions;
use spillway_routing::decide::decide;
use spillway_routing::id::{LaneId, TableVersion};
use spillway_routing::table::{Probe, Table};

/// A table that is not taken.
#[derive(Debug, thiserror::Error)]
#[error("table {version} is refused: {flaw}")]
pub(super) struct Refused {
    pub(super) version: TableVersion,
    pub(super) flaw: String,
}

/// Opens, builds and probes.
pub(super) fn verify(
    bundle: &Bundle,
    trusted: &[PublicKey],
    newest: Option<TableVersion>,
) -> Result<Table, Refused> {
    let version = claimed_version(&bundle.signed);
    let refuse = |flaw: String| Refused { version, flaw };
    let draft = envelope::open(bundle, trusted).map_err(|error| refuse(chain(&error)))?;
    check_newer(draft.version, newest)?;
    let table = Table::build(draft).map_err(|flaws| refuse(first(&flaws)))?;
    probe(&table).map_err(|flaw| refuse(flaw.to_string()))?;
    // Here nobody waits for vocabularies; the first request would.
    table.families().load();
    Ok(table)
}

/// Versions only grow; a proxy never goes back.
pub(super) fn check_newer(
    version: TableVersion,
    newest: Option<TableVersion>,
) -> Result<(), Refused> {
    match newest {
        Some(newest) if version <= newest => {
            let flaw = format!("version {newest} is served already, and a proxy never goes back");
            Err(Refused { version, flaw })
        }
        _ => Ok(()),
    }
}

/// What an envelope says its version is, signed or not: only to name what was refused.
pub(super) fn claimed_version(signed: &[u8]) -> TableVersion {
    let manifest = pb::Signed::decode(signed)
        .map(|signed| signed.manifest)
        .unwrap_or_default();
    TableVersion(pb::Manifest::decode(&*manifest).map_or(0, |manifest| manifest.version))
}

pub(super) fn chain(error: &EnvelopeError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn first(flaws: &[Flaw]) -> String {
    let first = flaws.first().map(Flaw::to_string).unwrap_or_default();
    match flaws.len() {
        0 | 1 => first,
        count => format!("{first} (and {} more)", count - 1),
    }
}

/// Decides the publisher's recorded requests again: another build of the same code must
/// not come to other plans.
fn probe(table: &Table) -> Result<(), Flaw> {
    for (index, probe) in table.draft().probes.iter().enumerate() {
        let found = plan(table, probe);
        if found != probe.expected {
            let (expected, found) = (names(&probe.expected), names(&found));
            return Err(Flaw::ProbeDiffers {
                index,
                expected,
                found,
            });
        }
    }
    Ok(())
}

fn plan(table: &Table, probe: &Probe) -> Vec<LaneId> {
    let lanes = table.draft().lanes.iter().map(|lane| &lane.id);
    let conditions = Conditions::named(&probe.conditions, lanes);
    let decided = decide(table, &probe.facts, &conditions, probe.now, probe.draw);
    decided
        .map(|d| d.plan.into_iter().map(|step| step.lane).collect())
        .unwrap_or_default()
}

fn names(lanes: &[LaneId]) -> String {
    lanes
        .iter()
        .map(LaneId::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
