//! The signed envelope: how a table travels so that nobody can change it on the way.
//!
//! Owns: signing, verifying, cutting into chunks and putting together. What is signed
//! is the manifest (version, digest, hashes of the chunks); the payload is proven by
//! its digest. Knows no transport and holds no key longer than a call.
//!
//! Whoever can write to etcd could otherwise send every request anywhere.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use spillway_routing::id::TableVersion;
use spillway_routing::table::Draft;
use spillway_routing::unit::UnixMillis;

use crate::convert::{Invalid, decode_table, encode_table, parts};
use crate::{keys, pb};

/// etcd refuses requests above 1.5 MiB; a chunk stays well below.
pub const CHUNK_BYTES_MAX: usize = 512 * 1024;
/// A payload beyond this is refused before anything of it is read.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

const MANIFEST_FORMAT: u32 = 1;

/// Why an envelope was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the envelope is garbled")]
    Garbled,
    #[error("signed with a key that is not trusted here")]
    UntrustedKey,
    #[error("the signature does not match: the table was changed after it was signed")]
    BadSignature,
    #[error("manifest format {0} is newer than this build reads")]
    NewerFormat(u32),
    #[error("the payload does not have the digest that was signed")]
    WrongDigest,
    #[error("chunk {0} is missing or changed")]
    WrongChunk(usize),
    #[error("{found} bytes, at most {max} are allowed")]
    TooLarge { found: u64, max: usize },
    #[error("the payload says version {payload}, the manifest {manifest}")]
    VersionDiffers { manifest: u64, payload: u64 },
    #[error("the table cannot be read")]
    Unreadable(#[from] Invalid),
}

/// The publisher's key. Never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// A text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key: expected 64 hexadecimal digits")]
pub struct InvalidKey;

impl SecretKey {
    /// From 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// From 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        Ok(Self::from_seed(unhex(text)?))
    }

    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

/// What proxies trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// From 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        VerifyingKey::from_bytes(&unhex(text)?)
            .map(Self)
            .map_err(|_| InvalidKey)
    }

    fn id(&self) -> [u8; 8] {
        let mut id = [0; 8];
        id.copy_from_slice(&hash(self.0.as_bytes())[..8]);
        id
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&keys::hex(self.0.as_bytes()))
    }
}

/// What was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub version: TableVersion,
    pub parent: TableVersion,
    pub made_at: UnixMillis,
    /// SHA-256 of the payload.
    pub digest: [u8; 32],
    pub size: u64,
    /// SHA-256 of each chunk, in order.
    pub chunks: Vec<[u8; 32]>,
}

/// A signed manifest with its whole payload: one file, or one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// A serialised `pb::Signed`; empty in a table file that nobody signed yet.
    pub signed: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Bundle {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        pb::Bundle {
            signed: self.signed.clone(),
            payload: self.payload.clone(),
        }
        .encode_to_vec()
    }

    /// # Errors
    ///
    /// [`EnvelopeError::Garbled`] for anything that is no bundle.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let bundle = pb::Bundle::decode(bytes).map_err(|_| EnvelopeError::Garbled)?;
        Ok(Self {
            signed: bundle.signed,
            payload: bundle.payload,
        })
    }

    /// The payload's chunks with their hashes.
    pub fn chunks(&self) -> impl Iterator<Item = ([u8; 32], &[u8])> {
        chunks(&self.payload).map(|chunk| (hash(chunk), chunk))
    }
}

/// A table file without a signature, for the offline commands.
#[must_use]
pub fn unsigned(draft: &Draft) -> Bundle {
    Bundle {
        signed: Vec::new(),
        payload: encode_table(draft),
    }
}

/// Encodes and signs a draft.
///
/// # Errors
///
/// [`EnvelopeError::TooLarge`] beyond [`PAYLOAD_BYTES_MAX`].
pub fn seal(draft: &Draft, key: &SecretKey) -> Result<Bundle, EnvelopeError> {
    let payload = encode_table(draft);
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(EnvelopeError::TooLarge {
            found: payload.len() as u64,
            max: PAYLOAD_BYTES_MAX,
        });
    }
    let manifest = pb::Manifest {
        format: MANIFEST_FORMAT,
        version: draft.version.0,
        parent: draft.parent.0,
        made_at_ms: draft.made_at.0,
        digest: hash(&payload).to_vec(),
        size: payload.len() as u64,
        chunks: chunks(&payload).map(|chunk| hash(chunk).to_vec()).collect(),
    };
    let manifest = manifest.encode_to_vec();
    let signed = pb::Signed {
        signature: key.0.sign(&manifest).to_bytes().to_vec(),
        key_id: key.public().id().to_vec(),
        manifest,
    };
    Ok(Bundle {
        signed: signed.encode_to_vec(),
        payload,
    })
}

/// Verifies a serialised `pb::Signed` and reads its manifest.
///
/// # Errors
///
/// Says whether the key, the signature or the form is at fault.
pub fn manifest_of(signed: &[u8], trusted: &[PublicKey]) -> Result<Manifest, EnvelopeError> {
    let signed = pb::Signed::decode(signed).map_err(|_| EnvelopeError::Garbled)?;
    let key = trusted.iter().find(|key| key.id()[..] == signed.key_id);
    let key = key.ok_or(EnvelopeError::UntrustedKey)?;
    let signature =
        Signature::from_slice(&signed.signature).map_err(|_| EnvelopeError::BadSignature)?;
    key.0
        .verify(&signed.manifest, &signature)
        .map_err(|_| EnvelopeError::BadSignature)?;
    let manifest = pb::Manifest::decode(&*signed.manifest).map_err(|_| EnvelopeError::Garbled)?;
    if manifest.format > MANIFEST_FORMAT {
        return Err(EnvelopeError::NewerFormat(manifest.format));
    }
    if manifest.size > PAYLOAD_BYTES_MAX as u64 {
        return Err(EnvelopeError::TooLarge {
            found: manifest.size,
            max: PAYLOAD_BYTES_MAX,
        });
    }
    let digest =
        |bytes: &Vec<u8>| <[u8; 32]>::try_from(&bytes[..]).map_err(|_| EnvelopeError::Garbled);
    Ok(Manifest {
        version: TableVersion(manifest.version),
        parent: TableVersion(manifest.parent),
        made_at: UnixMillis(manifest.made_at_ms),
        digest: digest(&manifest.digest)?,
        size: manifest.size,
        chunks: manifest
            .chunks
            .iter()
            .map(digest)
            .collect::<Result<_, _>>()?,
    })
}

/// Puts fetched chunks together and proves them against the manifest.
///
/// # Errors
///
/// Names the first chunk that is missing or changed.
pub fn assemble(manifest: &Manifest, chunks: &[Vec<u8>]) -> Result<Vec<u8>, EnvelopeError> {
    if chunks.len() != manifest.chunks.len() {
        return Err(EnvelopeError::WrongChunk(
            chunks.len().min(manifest.chunks.len()),
        ));
    }
    for (index, (chunk, expected)) in chunks.iter().zip(&manifest.chunks).enumerate() {
        if hash(chunk) != *expected {
            return Err(EnvelopeError::WrongChunk(index));
        }
    }
    let payload = chunks.concat();
    if hash(&payload) != manifest.digest {
        return Err(EnvelopeError::WrongDigest);
    }
    Ok(payload)
}

/// Verifies a whole bundle and reads its draft.
///
/// # Errors
///
/// As [`manifest_of`]; and for a payload that is not the one that was signed.
pub fn open(bundle: &Bundle, trusted: &[PublicKey]) -> Result<Draft, EnvelopeError> {
    let manifest = manifest_of(&bundle.signed, trusted)?;
    if hash(&bundle.payload) != manifest.digest {
        return Err(EnvelopeError::WrongDigest);
    }
    let draft = decode_table(&bundle.payload)?;
    if draft.version != manifest.version {
        let (manifest, payload) = (manifest.version.0, draft.version.0);
        return Err(EnvelopeError::VersionDiffers { manifest, payload });
    }
    Ok(draft)
}

/// Parts of a table never share a chunk: one with another policy and the same heads,
/// catalogue and probes is pushed as its rest alone.
fn chunks(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = parts(payload).into_iter();
    parts.flat_map(|part| part.chunks(CHUNK_BYTES_MAX))
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn unhex(text: &str) -> Result<[u8; 32], InvalidKey> {
    keys::unhex(text.trim()).ok_or(InvalidKey)
}

#[cfg(test)]
mod tests;
