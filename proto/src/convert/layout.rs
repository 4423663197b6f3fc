//! The order of a table's bytes: what changes together lies together.
//!
//! Owns: the parts, as they are written and as they are found again in bytes. A chunk
//! never holds two of them (`envelope.rs`), so that a new policy moves neither what was
//! learnt nor the catalogue nor the probes' requests. Several messages in a row are read
//! as one, so readers need not know of parts.

use std::mem::take;

use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use spillway_routing::table::Draft;

use crate::pb;

const MODELS: u32 = 6;
const UPSTREAMS: u32 = 7;
const LANES: u32 = 8;
const COMMITTEE: u32 = 9;
const PROBES: u32 = 12;
/// The fields of each part but the last, which has all others.
const APART: [&[u32]; 3] = [&[COMMITTEE], &[MODELS, UPSTREAMS, LANES], &[PROBES]];

/// A draft as bytes: what was learnt, the catalogue, the probes' requests, the rest.
#[must_use]
pub fn encode_table(draft: &Draft) -> Vec<u8> {
    let mut rest = pb::Table::from(draft);
    let learned = pb::Table {
        committee: rest.committee.take(),
        ..pb::Table::default()
    };
    let catalogue = pb::Table {
        models: take(&mut rest.models),
        upstreams: take(&mut rest.upstreams),
        lanes: take(&mut rest.lanes),
        ..pb::Table::default()
    };
    let probes = pb::Table {
        probes: take(&mut rest.probes),
        ..pb::Table::default()
    };
    let parts = [learned, catalogue, probes, rest];
    parts.iter().flat_map(pb::Table::encode_to_vec).collect()
}

/// The parts of an encoded table, in order; some may be empty. Bytes that are no table
/// are all rest.
#[must_use]
pub fn parts(bytes: &[u8]) -> [&[u8]; 4] {
    let mut rest = bytes;
    let [learned, catalogue, probes] = APART.map(|fields| {
        let from = rest;
        while let Some(after) = after_field(rest, fields) {
            rest = after;
        }
        &from[..from.len() - rest.len()]
    });
    [learned, catalogue, probes, rest]
}

/// How many of the first bytes of an encoded table hold what was learnt.
#[must_use]
pub fn learned_bytes(bytes: &[u8]) -> usize {
    parts(bytes)[0].len()
}

/// What follows the first field, if that is one of `among`.
fn after_field<'a>(mut bytes: &'a [u8], among: &[u32]) -> Option<&'a [u8]> {
    let (field, wire) = decode_key(&mut bytes).ok()?;
    let known = wire == WireType::LengthDelimited && among.contains(&field);
    let length = known.then(|| decode_varint(&mut bytes).ok()).flatten()?;
    bytes.get(usize::try_from(length).ok()?..)
}
