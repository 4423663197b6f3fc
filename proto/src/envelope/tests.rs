//! Nothing that was changed on the way is opened.

use super::*;
use crate::convert::tests::draft;
use proptest::prelude::*;

fn key() -> SecretKey {
    SecretKey::from_seed([7; 32])
}

#[test]
fn what_was_sealed_opens_with_the_right_key_only() {
    let bundle = seal(&draft(), &key()).unwrap();
    assert_eq!(open(&bundle, &[key().public()]), Ok(draft()));
    let other = SecretKey::from_seed([8; 32]).public();
    assert_eq!(open(&bundle, &[other]), Err(EnvelopeError::UntrustedKey));
    let again = Bundle::decode(&bundle.encode()).unwrap();
    assert_eq!(again, bundle);
}

#[test]
fn an_unsigned_file_is_not_trusted() {
    assert!(open(&unsigned(&draft()), &[key().public()]).is_err());
}

#[test]
fn chunks_are_proven_one_by_one() {
    let bundle = seal(&draft(), &key()).unwrap();
    let manifest = manifest_of(&bundle.signed, &[key().public()]).unwrap();
    let mut chunks: Vec<Vec<u8>> = bundle.chunks().map(|(_, bytes)| bytes.to_vec()).collect();
    assert_eq!(assemble(&manifest, &chunks).as_ref(), Ok(&bundle.payload));
    chunks[0][3] ^= 1;
    assert_eq!(
        assemble(&manifest, &chunks),
        Err(EnvelopeError::WrongChunk(0))
    );
    assert_eq!(assemble(&manifest, &[]), Err(EnvelopeError::WrongChunk(0)));
}

#[test]
fn another_policy_moves_no_learned_byte() {
    let chunks = |draft: &Draft| -> Vec<Vec<u8>> {
        let bundle = seal(draft, &key()).unwrap();
        bundle.chunks().map(|(_, bytes)| bytes.to_vec()).collect()
    };
    let mut other = draft();
    other.routes[0].bar = spillway_routing::unit::Bps::new(8_000);
    let (old, new) = (chunks(&draft()), chunks(&other));
    assert_eq!((old.len(), &old[..3]), (4, &new[..3]));
    assert_ne!(old[3], new[3]);
}

#[test]
fn keys_survive_printing() {
    let public = key().public();
    assert_eq!(PublicKey::parse(&public.to_string()), Ok(public));
    assert_eq!(PublicKey::parse("abc"), Err(InvalidKey));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_flipped_bit_is_accepted(position: prop::sample::Index, bit in 0u8..8) {
        let bundle = seal(&draft(), &key()).unwrap();
        let mut bytes = bundle.encode();
        let at = position.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let opened = Bundle::decode(&bytes).and_then(|bundle| open(&bundle, &[key().public()]));
        // A flip may land in a field tag that readers skip; what it must never do is
        // change the table and still be accepted.
        prop_assert!(opened.is_err() || opened == Ok(draft()));
    }
}
