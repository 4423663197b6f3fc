//! Base64 with the standard alphabet and padding.
//!
//! Owns: the two directions. It must not know what the bytes are.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text of some bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| chunk.get(index).copied().map_or(0, u32::from);
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for index in 0..4 {
            let letter = LETTERS[((bits >> (18 - 6 * index)) & 63) as usize];
            let spare = index > chunk.len();
            text.push(if spare { '=' } else { char::from(letter) });
        }
    }
    text
}

/// The bytes of a text; `None` where it is not such a text.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let letters = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"="));
    let letters = letters.unwrap_or(text);
    let mut bytes = Vec::with_capacity(letters.len() / 4 * 3 + 2);
    for chunk in letters.chunks(4) {
        let mut bits = 0_u32;
        for letter in chunk {
            bits = (bits << 6) | value(*letter)?;
        }
        bits <<= 6 * (4 - chunk.len());
        let whole = bits.to_be_bytes();
        bytes.extend_from_slice(whole.get(1..chunk.len())?);
    }
    Some(bytes)
}

/// The same where both alphabets are taken, with padding or without, as Google does.
pub(crate) fn decode_any(text: &str) -> Option<Vec<u8>> {
    let bare = text
        .trim_end_matches('=')
        .replace('-', "+")
        .replace('_', "/");
    let padding = "=".repeat((4 - bare.len() % 4) % 4);
    decode(&(bare + &padding))
}

fn value(letter: u8) -> Option<u32> {
    let letter_value = match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(letter_value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_say_the_same() {
        assert_eq!(decode_any("-_8"), decode("+/8="));
        assert_eq!(decode_any("+/8="), decode("+/8="));
        assert_eq!(decode_any("a"), None);
    }

    #[test]
    fn it_goes_there_and_back() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("fooba", "Zm9vYmE="),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).unwrap(), all);
    }

    #[test]
    fn what_is_no_base64_is_none() {
        for text in ["Zg", "Zg=", "Z===", "Zm9v!", "Zm 9v===", "===="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
