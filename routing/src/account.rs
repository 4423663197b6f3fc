//! Accounts at providers: where the state of a conversation is kept.
//!
//! Owns: the short number by which an account is known again, and how it is written. Knows
//! no secrets, and not what is kept.

use std::fmt;

use crate::catalogue::Upstream;
use crate::id::{CredentialName, ProviderId};

const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// An account at a provider: what its responses and their threads belong to. A hash of the
/// names of provider and credential (FNV-1a), which all proxies compute alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(pub u32);

impl Account {
    /// The account of a credential of ours; without one the caller's own.
    #[must_use]
    pub fn of(provider: &ProviderId, credential: Option<&CredentialName>) -> Self {
        let credential = credential.map_or("", CredentialName::as_str);
        // Names hold no zero bytes.
        let bytes = provider.as_str().bytes().chain([0]);
        let hash = bytes
            .chain(credential.bytes())
            .fold(FNV_OFFSET, |hash, byte| {
                (hash ^ u32::from(byte)).wrapping_mul(FNV_PRIME)
            });
        Self(hash)
    }

    /// Whose account an upstream is asked with; `None` where the caller brought keys, and
    /// none for its provider.
    #[must_use]
    pub fn behind(upstream: &Upstream, own_keys: &[ProviderId]) -> Option<Self> {
        let ours = own_keys.is_empty().then_some(&upstream.credential);
        let reached = own_keys.is_empty() || own_keys.contains(&upstream.provider);
        reached.then(|| Self::of(&upstream.provider, ours))
    }

    /// As [`Display`](fmt::Display) writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u32::from_str_radix(text, 16).ok()?;
        plain.then_some(Self(number))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accounts_are_told_apart_by_provider_and_credential() {
        let of = |provider: &str, credential: &str| {
            Account::of(
                &ProviderId::new(provider),
                Some(&CredentialName::new(credential)),
            )
        };
        let own = Account::of(&ProviderId::new("openai"), None);
        let all = [
            own,
            of("openai", "a"),
            of("openai", "b"),
            of("azure", "a"),
            of("opena", "ia"),
        ];
        let different: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u32) {
            let account = Account(number);
            prop_assert_eq!(Account::parse(&account.to_string()), Some(account));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,12}") {
            let _ = Account::parse(&text);
        }
    }
}
