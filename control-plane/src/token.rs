//! The operators' token: minted at the first start, kept in one file only its owner
//! may read.
//!
//! Owns: minting, reading, comparing. It never prints itself; the binary shows it once.

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use spillway_proto::envelope::SecretKey;
use spillway_proto::keys;

/// Why a secret's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read or write {path}")]
    File { path: PathBuf, source: io::Error },
    #[error(
        "{path} can be read by others: run `chmod 600 {path}`, or delete it to have a new one made"
    )]
    Exposed { path: PathBuf },
    #[error(
        "{path} does not hold 64 hexadecimal digits: restore it, or delete it to have a new one made"
    )]
    Garbled { path: PathBuf },
}

/// See the module.
#[derive(Clone)]
pub struct AdminToken(String);

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

impl AdminToken {
    /// Reads `admin.token` in `dir`, or mints it.
    ///
    /// # Errors
    ///
    /// If the file cannot be used.
    pub fn load(dir: &Path) -> Result<Self, SecretError> {
        secret(&dir.join("admin.token")).map(Self)
    }

    /// For the binary to show once, on the operator's own terminal.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether an `authorization` header carries it. Takes the same time for every
    /// wrong token of the right length.
    #[must_use]
    pub fn admits(&self, header: Option<&str>) -> bool {
        let Some(given) = header.and_then(|value| value.strip_prefix("Bearer ")) else {
            return false;
        };
        let differs = |sum: u8, (a, b): (u8, u8)| sum | (a ^ b);
        given.len() == self.0.len() && given.bytes().zip(self.0.bytes()).fold(0, differs) == 0
    }
}

/// Reads the key that tables are signed with, or mints it.
///
/// # Errors
///
/// If the file cannot be used.
pub fn signing_key(path: &Path) -> Result<SecretKey, SecretError> {
    SecretKey::parse(&secret(path)?).map_err(|_| SecretError::Garbled {
        path: path.to_owned(),
    })
}

/// 32 random bytes as hexadecimal, made at the first call.
fn secret(path: &Path) -> Result<String, SecretError> {
    let file = |source| SecretError::File {
        path: path.to_owned(),
        source,
    };
    match fs::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            return Err(SecretError::Exposed {
                path: path.to_owned(),
            });
        }
        Ok(_) => {
            let text = fs::read_to_string(path).map_err(file)?.trim().to_owned();
            let whole = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
            return if whole {
                Ok(text)
            } else {
                Err(SecretError::Garbled {
                    path: path.to_owned(),
                })
            };
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file(error)),
    }
    let text = keys::hex(&dice().map_err(file)?);
    let mut made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(file)?;
    made.write_all(text.as_bytes())
        .and_then(|()| made.sync_all())
        .map_err(file)?;
    Ok(text)
}

fn dice() -> io::Result<[u8; 32]> {
    let mut bytes = [0u8; 32];
    fs::File::open("/dev/urandom").and_then(|mut dice| dice.read_exact(&mut bytes))?;
    Ok(bytes)
}

/// A new key for a caller, and the hash that a policy holds of it.
#[derive(Debug)]
pub struct CallerKey {
    pub key: String,
    /// SHA-256, in hex.
    pub sha256: String,
}

/// Draws a key.
///
/// # Errors
///
/// The system gives no random bytes.
pub fn caller_key() -> io::Result<CallerKey> {
    let key = format!("sk-spillway-{}", keys::hex(&dice()?));
    let sha256 = keys::hex(&Sha256::digest(key.as_bytes()));
    Ok(CallerKey { key, sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_are_alike_and_the_hash_is_the_keys() {
        let (one, other) = (caller_key().unwrap(), caller_key().unwrap());
        assert!(one.key != other.key && one.key.len() > 64);
        assert_eq!(one.sha256, keys::hex(&Sha256::digest(&one.key)));
    }

    #[test]
    fn a_token_is_minted_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let token = AdminToken::load(dir.path()).unwrap();
        let again = AdminToken::load(dir.path()).unwrap();
        assert_eq!(token.reveal(), again.reveal());
        assert!(token.admits(Some(&format!("Bearer {}", token.reveal()))));
        for wrong in [
            None,
            Some("Bearer "),
            Some(token.reveal()),
            Some("Bearer 0000"),
        ] {
            assert!(!token.admits(wrong));
        }
        assert!(!format!("{token:?}").contains(token.reveal()));
        let path = dir.path().join("admin.token");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            AdminToken::load(dir.path()),
            Err(SecretError::Exposed { .. })
        ));
    }
}
