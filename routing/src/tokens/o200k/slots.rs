//! The vocabulary as a hash table that needs no loading: what `build.rs` writes and
//! [`super`] reads.
//!
//! Owns: the hash of a token's bytes and what a slot holds. Compiled twice, into the build
//! script too, so it may use nothing but `core`.

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

/// Eight bytes at a time, each multiplied into twice its width and folded.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    const KEYS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let mut hash = KEYS[0].wrapping_mul(bytes.len() as u64 + 1);
    let mut rest = bytes;
    while let Some((eight, tail)) = rest.split_first_chunk::<8>() {
        hash = fold(hash ^ u64::from_le_bytes(*eight), KEYS[1]);
        rest = tail;
    }
    fold(fold(hash ^ short(rest), KEYS[1]), KEYS[0])
}

/// Less than eight bytes as a number: reads that overlap, no loop.
fn short(bytes: &[u8]) -> u64 {
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*head)) << 32 | u64::from(u32::from_le_bytes(*tail));
    }
    match *bytes {
        [] => 0,
        [a] => u64::from(a),
        [a, b] => u64::from(a) << 8 | u64::from(b),
        [a, b, c, ..] => u64::from(a) << 16 | u64::from(b) << 8 | u64::from(c),
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
