//! Opaque texts that only the provider which wrote them can read back: signatures of
//! thoughts, encrypted reasoning.
//!
//! Owns: writing and checking them. It must not know on which wire they travel.

use crate::base64;
use crate::dice::text_hash;

/// A seal of this provider under a text.
pub(crate) fn seal(host: &str, text: &str) -> String {
    base64::encode(format!("sealed by {host} {:016x}", text_hash(text)).as_bytes())
}

/// Whether it is the provider's own seal, and of this text.
pub(crate) fn holds(host: &str, text: &str, sealed: &str) -> bool {
    // Clients may write the same bytes in the alphabet for URLs.
    base64::decode_any(sealed) == base64::decode(&seal(host, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_its_provider_and_text_only() {
        let sealed = seal("alpha", "hm");
        assert!(holds("alpha", "hm", &sealed));
        assert!(!holds("beta", "hm", &sealed));
        assert!(!holds("alpha", "ha", &sealed));
    }
}
