//! Names and numbers of things: one type each, so that they cannot be swapped.
//!
//! Owns: the identifiers that tables, outcomes and pages share. Names are cheap to
//! clone (`Arc<str>`). Knows nothing of what they name.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            #[must_use]
            pub fn new(name: &str) -> Self {
                Self(Arc::from(name))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }

        /// A copy, where `to_string` goes by way of a formatter.
        impl From<&$name> for String {
            fn from(name: &$name) -> Self {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// What answers, e.g. `gpt-6-luna`.
    ModelId
);
name!(
    /// Who serves a model, e.g. `openai:gpt-6-luna`.
    UpstreamId
);
name!(
    /// Upstream and tier, e.g. `openai:gpt-6-luna/flex`: the unit of choice.
    LaneId
);
name!(
    /// A provider as the proxies' own configuration names it. Never a URL.
    ProviderId
);
name!(
    /// The *name* of a credential; the secret itself stays in the proxy.
    CredentialName
);
name!(
    /// What an app puts into `model`.
    RouteId
);
name!(
    /// One rule of the policy.
    RuleId
);
name!(
    /// Who calls: the id of a virtual key, never the key.
    KeyId
);
name!(
    /// An optional label of the kind of work.
    SliceId
);
name!(
    /// One proxy process: its configured name and its boot.
    ProxyId
);

/// A table's version. Versions only grow; a proxy never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableVersion(pub u64);

impl fmt::Display for TableVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A request's UUIDv7, made by the proxy, never by the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// Its text, all ASCII.
    #[must_use]
    pub fn text(self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in self.0.into_iter().enumerate() {
            at += usize::from(matches!(i, 4 | 6 | 8 | 10));
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a UUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a request id: expected a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidRequestId;

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0u8; 16];
        let mut digits = 0;
        for c in text.chars().filter(|c| *c != '-') {
            let value = c.to_digit(16).ok_or(InvalidRequestId)? as u8;
            let slot = bytes.get_mut(digits / 2).ok_or(InvalidRequestId)?;
            *slot = *slot << 4 | value;
            digits += 1;
        }
        if digits == 32 {
            Ok(Self(bytes))
        } else {
            Err(InvalidRequestId)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_request_id_survives_printing(bytes: [u8; 16]) {
            let id = RequestId(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn a_short_or_odd_text_is_no_request_id() {
        for text in [
            "",
            "0189",
            "01890a5d-ac96-774b-bcce-b302099a80577",
            "zz890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert_eq!(text.parse::<RequestId>(), Err(InvalidRequestId));
        }
    }
}
