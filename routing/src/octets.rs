//! Eight bytes of a text at a time: where runs of letters end, and hashes of words, without
//! a branch for each byte.
//!
//! Owns: the loads, the arithmetic on eight bytes in one number (as in Lamport, "Multiple
//! byte processing with full-word instructions", 1975), the hash that the tables of words
//! share, and the one that features were recorded by. Compiled twice, into the build script too, so it may use nothing but
//! `core`. Knows no vocabulary.

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = ONES << 7;
/// What upper-case letters lack to be lower-case ones; digits have it.
const LOWER: u64 = ONES << 5;

pub(crate) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

const KEYS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// The bytes from a place on, the first one lowest; zeros stand beyond the text's end.
#[inline(always)]
fn load(text: &[u8], at: usize) -> u64 {
    match text.get(at..).and_then(<[u8]>::first_chunk) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => load_last(text, at),
    }
}

#[cold]
fn load_last(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    let next = |eight, byte: &u8| eight << 8 | u64::from(*byte);
    rest.iter().rev().fold(0, next)
}

/// The highest bit of each byte that is from `least` to `most`, both of them ASCII.
#[inline(always)]
fn within(eight: u64, least: u8, most: u8) -> u64 {
    let low = eight & !HIGH;
    let reaches = low + ONES * u64::from(0x80 - least);
    let exceeds = low + ONES * u64::from(0x7f - most);
    reaches & !exceeds & !eight & HIGH
}

#[inline(always)]
fn end(text: &[u8], mut at: usize, belong: impl Fn(u64) -> u64) -> usize {
    loop {
        let others = !belong(load(text, at)) & HIGH;
        if others != 0 {
            return at + others.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
}

/// Where a run of `a-z` ends.
#[inline]
pub(crate) fn lower_end(text: &[u8], at: usize) -> usize {
    end(text, at, |eight| within(eight, b'a', b'z'))
}

/// Where a run of `a-zA-Z` ends.
#[inline]
pub(crate) fn letters_end(text: &[u8], at: usize) -> usize {
    end(text, at, |eight| within(eight | LOWER, b'a', b'z'))
}

/// Where a run of `a-zA-Z0-9` ends.
#[inline]
pub(crate) fn alphanumeric_end(text: &[u8], at: usize) -> usize {
    end(text, at, |eight| {
        within(eight | LOWER, b'a', b'z') | within(eight, b'0', b'9')
    })
}

/// Of a part of a text.
#[inline]
pub(crate) fn hash(text: &[u8], from: usize, to: usize) -> u64 {
    hashed(text, from, to, 0)
}

/// Of a part of a text that is letters and digits, in lower case.
#[inline]
pub(crate) fn lower_hash(text: &[u8], from: usize, to: usize) -> u64 {
    hashed(text, from, to, LOWER)
}

/// FNV-1a of a part of a text that is letters and digits, in lower case. Of a short part
/// the hashes of all its beginnings are taken and more: the loop has no end to be guessed.
#[inline]
pub(crate) fn lower_fnv(text: &[u8], from: usize, to: usize) -> u64 {
    let mut eight = load(text, from) | LOWER;
    let mut hashes = [FNV_OFFSET; 9];
    for i in 0..8 {
        hashes[i + 1] = fnv(hashes[i], eight as u8);
        eight >>= 8;
    }
    let (whole, rest) = (hashes[8], text.get(from + 8..to));
    match rest {
        Some(rest) => rest
            .iter()
            .fold(whole, |hash, byte| fnv(hash, byte | LOWER as u8)),
        None => hashes[to - from],
    }
}

/// A step of FNV-1a.
#[inline]
pub(crate) fn fnv(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

/// Eight bytes at a time, each multiplied into twice its width and folded.
#[inline(always)]
fn hashed(text: &[u8], from: usize, to: usize, set: u64) -> u64 {
    let length = to - from;
    let mut hash = KEYS[0].wrapping_mul(length as u64 + 1);
    let mut at = from;
    while to - at > 8 {
        hash = fold(hash ^ (load(text, at) | set), KEYS[1]);
        at += 8;
    }
    let some = u64::MAX.checked_shr(64 - 8 * (to - at) as u32);
    let last = (load(text, at) | set) & some.unwrap_or(0);
    fold(fold(hash ^ last, KEYS[1]), KEYS[0])
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(text: &[u8], at: usize, belongs: fn(&u8) -> bool) -> usize {
        at + text[at..].iter().take_while(|byte| belongs(byte)).count()
    }

    #[test]
    fn a_hash_knows_length_and_not_case_where_asked() {
        assert_eq!(hash(b"spillway", 0, 8), lower_hash(b"a SpillWay", 2, 10));
        assert_eq!(hash(b"", 0, 0), hash(b"other", 3, 3));
        assert_ne!(hash(b"a", 0, 1), hash(b"a\0", 0, 2));
    }

    proptest! {
        #[test]
        fn runs_end_where_they_do_byte_by_byte(text in "[a-zA-Z0-9@\\[`{/: é]{0,40}", at in 0usize..40) {
            let text = text.as_bytes();
            let at = at.min(text.len());
            prop_assert_eq!(lower_end(text, at), run(text, at, u8::is_ascii_lowercase));
            prop_assert_eq!(letters_end(text, at), run(text, at, u8::is_ascii_alphabetic));
            prop_assert_eq!(alphanumeric_end(text, at), run(text, at, u8::is_ascii_alphanumeric));
        }

        #[test]
        fn a_hash_is_of_the_part_alone(
            before in "\\PC{0,12}", part in "[a-zA-Z0-9]{0,30}", after in "\\PC{0,12}"
        ) {
            let text = [before.as_str(), &part, &after].concat();
            let (from, to) = (before.len(), before.len() + part.len());
            prop_assert_eq!(hash(text.as_bytes(), from, to), hash(part.as_bytes(), 0, part.len()));
            let lower = part.to_ascii_lowercase();
            let fnv = lower.bytes().fold(FNV_OFFSET, fnv);
            prop_assert_eq!(lower_fnv(text.as_bytes(), from, to), fnv);
            let wanted = hash(lower.as_bytes(), 0, lower.len());
            prop_assert_eq!(lower_hash(text.as_bytes(), from, to), wanted);
        }
    }
}
