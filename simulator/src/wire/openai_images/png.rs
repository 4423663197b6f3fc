//! Pictures of one pixel.
//!
//! Owns: the PNG form. It must not know who wants a picture.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use crate::dice::text_hash;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// One by one pixels, eight bits, RGB, nothing special.
const HEADER: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0];

/// A dot whose colour follows from a text.
pub(super) fn dot(text: &str) -> Vec<u8> {
    let [red, green, blue, ..] = text_hash(text).to_be_bytes();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    // Neither writing to a vector nor finishing one can fail.
    let packed = match encoder.write_all(&[0, red, green, blue]) {
        Ok(()) => encoder.finish().unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let mut png = SIGNATURE.to_vec();
    chunk(&mut png, b"IHDR", HEADER);
    chunk(&mut png, b"IDAT", &packed);
    chunk(&mut png, b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    let mut sum = Crc::new();
    sum.update(name);
    sum.update(data);
    png.extend_from_slice(&(data.len() as u32).to_be_bytes());
    png.extend_from_slice(name);
    png.extend_from_slice(data);
    png.extend_from_slice(&sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_is_a_png_of_its_text() {
        let png = dot("a cat");
        assert!(png.starts_with(SIGNATURE));
        // The checksum that every PNG ends with.
        assert!(png.ends_with(b"\0\0\0\0IEND\xaeB\x60\x82"));
        assert_ne!(png, dot("a dog"));
    }
}
