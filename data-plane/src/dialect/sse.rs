//! Server-sent events, cut out of bytes as they come.
//!
//! Owns: where a frame ends, and its data. A frame keeps its own bytes, so that it can
//! be relayed unchanged. Lines may end in LF, CRLF or CR, and bytes may be split
//! anywhere. Knows nothing of what the data means.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// A frame beyond this is an attack or a fault; the largest hold an image.
pub(crate) const FRAME_BYTES_MAX: usize = 16 << 20;

/// One event with the blank line that ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) Bytes);

/// No end within [`FRAME_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of the stream is longer than {FRAME_BYTES_MAX} bytes")]
pub(crate) struct FrameTooLong;

#[derive(Debug, Default)]
pub(crate) struct Splitter {
    buffer: BytesMut,
    /// Everything before it was looked at.
    at: usize,
    /// Where the line begins that `at` is in.
    line: usize,
}

impl Splitter {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameTooLong> {
        while let Some(byte) = self.buffer.get(self.at) {
            let next = match byte {
                b'\n' => self.at + 1,
                b'\r' => match self.buffer.get(self.at + 1) {
                    // It may be half of a CRLF.
                    None => break,
                    Some(b'\n') => self.at + 2,
                    Some(_) => self.at + 1,
                },
                _ => {
                    self.at += 1;
                    continue;
                }
            };
            let blank = self.at == self.line;
            (self.at, self.line) = (next, next);
            if blank {
                return Ok(Some(self.cut()));
            }
        }
        if self.buffer.len() > FRAME_BYTES_MAX {
            return Err(FrameTooLong);
        }
        Ok(None)
    }

    /// What is left at the end of the stream: a frame without its blank line.
    pub(crate) fn finish(&mut self) -> Option<Frame> {
        self.at = self.buffer.len();
        (!self.buffer.is_empty()).then(|| self.cut())
    }

    fn cut(&mut self) -> Frame {
        let frame = self.buffer.split_to(self.at).freeze();
        (self.at, self.line) = (0, 0);
        Frame(frame)
    }
}

impl Frame {
    /// The data lines, joined; `None` for a comment or a blank.
    pub(crate) fn data(&self) -> Option<Cow<'_, [u8]>> {
        let mut data: Option<Cow<'_, [u8]>> = None;
        for line in self.0.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            let Some(value) = line.strip_prefix(b"data").and_then(field_value) else {
                continue;
            };
            match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(known) => {
                    let known = known.to_mut();
                    known.push(b'\n');
                    known.extend_from_slice(value);
                }
            }
        }
        data
    }
}

fn field_value(rest: &[u8]) -> Option<&[u8]> {
    match rest.split_first() {
        None => Some(rest),
        Some((b':', value)) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        Some(_) => None,
    }
}

/// Writes an event of data alone. The data is JSON and has no line ends.
pub(crate) fn write_data(data: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data.as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// Writes an event with its name.
pub(crate) fn write_event(name: &str, data: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    write_data(data, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(pieces: &[&[u8]]) -> Vec<Frame> {
        let mut splitter = Splitter::default();
        let mut frames = Vec::new();
        for piece in pieces {
            splitter.push(piece);
            while let Some(frame) = splitter.next().unwrap() {
                frames.push(frame);
            }
        }
        frames.extend(splitter.finish());
        frames
    }

    const STREAM: &[u8] =
        b"\xef\xbb\xbfdata: {\"a\":\"\xc3\xa9\"}\n\n: comment\r\n\r\ndata: 1\rdata:2\r\r\
        event: x\ndata\n\n\n\ndata: [DONE]\n\n";

    #[test]
    fn all_line_ends_comments_and_joined_data_are_read() {
        let frames = split(&[STREAM]);
        let data: Vec<_> = frames
            .iter()
            .filter_map(Frame::data)
            .map(Cow::into_owned)
            .collect();
        assert_eq!(
            data,
            [
                b"{\"a\":\"\xc3\xa9\"}".to_vec(),
                b"1\n2".to_vec(),
                b"".to_vec(),
                b"[DONE]".to_vec()
            ]
        );
    }

    #[test]
    fn a_split_at_every_byte_gives_the_same_frames_and_the_same_bytes() {
        let whole = split(&[STREAM]);
        assert_eq!(
            whole.iter().flat_map(|f| f.0.to_vec()).collect::<Vec<u8>>(),
            STREAM
        );
        for at in 0..STREAM.len() {
            assert_eq!(
                split(&[&STREAM[..at], &STREAM[at..]]),
                whole,
                "split at {at}"
            );
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(split(&bytes), whole);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut splitter = Splitter::default();
        splitter.push(&vec![b'x'; FRAME_BYTES_MAX + 1]);
        assert_eq!(splitter.next(), Err(FrameTooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_split_anywhere_give_the_same_frames(
            text in "(data: [a-c]{0,3}|: x|\r|\n|\r\n|é){0,30}",
            cuts in prop::collection::vec(0usize..100, 0..5),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(split(&pieces), split(&[bytes]));
        }
    }
}
