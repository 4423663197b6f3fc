//! The vocabulary as a hash table that needs no loading: what `build.rs` writes and
//! [`super`] reads.
//!
//! Owns: where the hash of a token's bytes is looked for, and what a slot holds. Compiled
//! twice, into the build script too, so it may use nothing but `core`.

/// A power of two; the 199,998 tokens fill two fifths of them.
pub(crate) const SLOTS: usize = 1 << 19;
/// No token is longer.
pub(crate) const TOKEN_BYTES_MAX: usize = 128;

/// A slot is the upper bits of a token's hash and, in so many lower ones, its rank. What the
/// upper bits leave open: one text in 2^46 is taken for a token that it is not.
pub(crate) const RANK_BITS: u32 = 18;
pub(crate) const FREE: u64 = 0;

/// Where a token is looked for first.
pub(crate) fn first(hash: u64) -> usize {
    hash as usize % SLOTS
}

/// The rank in a slot, where it is the hash's.
pub(crate) fn rank(slot: u64, hash: u64) -> Option<u32> {
    const RANK: u64 = (1 << RANK_BITS) - 1;
    ((slot ^ hash) >> RANK_BITS == 0).then_some((slot & RANK) as u32)
}
