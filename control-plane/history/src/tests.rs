//! Tests of the whole crate, on real files.

mod batches;
mod compaction;
mod damage;
mod figures;
mod random;
mod reading;
mod round_trip;
pub(crate) mod stand;
