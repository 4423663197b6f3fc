//! Framing of HTTP/1.1 messages, as little of it as the bench's two ends need.
//!
//! Owns: where a head ends, how long the body after it is, and taking a body out of its
//! chunks. Knows no sockets and neither provider nor generator.

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Request,
    Response,
}

/// A head that has come completely.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// The request line or the status line.
    pub(crate) first: &'a str,
    /// Bytes of the whole head, its empty line included.
    pub(crate) bytes: usize,
    pub(crate) body: Body,
    /// The connection ends with this message.
    pub(crate) closes: bool,
    pub(crate) event_stream: bool,
}

impl<'a> Head<'a> {
    /// The head at the beginning of `buffer`, if all of it is there.
    pub(crate) fn parse(buffer: &'a [u8], message: Message) -> Result<Option<Self>, Malformed> {
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&buffer[..end]).map_err(|_| Malformed)?;
        let mut lines = text.split("\r\n");
        let mut head = Self {
            first: lines.next().ok_or(Malformed)?,
            bytes: end + 4,
            body: match message {
                Message::Request => Body::Length(0),
                Message::Response => Body::UntilClosed,
            },
            closes: false,
            event_stream: false,
        };
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(Malformed)?;
            head.take(name, value.trim())?;
        }
        Ok(Some(head))
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Malformed> {
        if name.eq_ignore_ascii_case("content-length") {
            self.body = Body::Length(value.parse().map_err(|_| Malformed)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.body = Body::Size(0);
        } else if name.eq_ignore_ascii_case("connection") {
            self.closes = value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("content-type") {
            self.event_stream = value.starts_with("text/event-stream");
        }
        Ok(())
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> Result<u16, Malformed> {
        let status = self.first.split(' ').nth(1).ok_or(Malformed)?;
        status.parse().map_err(|_| Malformed)
    }

    /// The target of a request.
    pub(crate) fn path(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or("")
    }
}

/// What is still to come of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes.
    Length(usize),
    /// All until the connection ends.
    UntilClosed,
    /// In chunks: within a line with a chunk's size, of which so much was read.
    Size(usize),
    /// Behind the digits of that line.
    SizeEnd(usize),
    /// So much of a chunk, and its line end.
    Chunk(usize),
    /// The line end after a chunk, of which so many bytes are left.
    ChunkEnd(u8),
    /// Lines after the last chunk; whether the current one is empty so far.
    Trailer(bool),
    Done,
}

impl Body {
    pub(crate) fn done(self) -> bool {
        matches!(self, Self::Done | Self::Length(0))
    }

    /// Takes what has come, up to the body's end; hands the content out. Returns how much
    /// was taken.
    pub(crate) fn feed(
        &mut self,
        input: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < input.len() && !self.done() {
            let rest = &input[at..];
            at += match self {
                Self::Length(left) => {
                    let taken = rest.len().min(*left);
                    *left -= taken;
                    content(&rest[..taken]);
                    taken
                }
                Self::UntilClosed => {
                    content(rest);
                    rest.len()
                }
                Self::Chunk(left) => {
                    let taken = rest.len().min(*left);
                    *left -= taken;
                    content(&rest[..taken]);
                    if *left == 0 {
                        *self = Self::ChunkEnd(2);
                    }
                    taken
                }
                _ => {
                    self.frame(rest[0])?;
                    1
                }
            };
        }
        Ok(at)
    }

    /// One byte between chunks.
    fn frame(&mut self, byte: u8) -> Result<(), Malformed> {
        *self = match (*self, byte) {
            (Self::Size(0) | Self::SizeEnd(0), b'\n') => Self::Trailer(true),
            (Self::Size(size) | Self::SizeEnd(size), b'\n') => Self::Chunk(size),
            (Self::Size(size), b'\r' | b';' | b' ') => Self::SizeEnd(size),
            (Self::Size(size), digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(Malformed)?;
                let size = size.checked_mul(16).ok_or(Malformed)?;
                Self::Size(size + digit as usize)
            }
            (Self::ChunkEnd(2), b'\r') => Self::ChunkEnd(1),
            (Self::ChunkEnd(1), b'\n') => Self::Size(0),
            (Self::Trailer(true), b'\n') => Self::Done,
            (Self::Trailer(_), b'\n') => Self::Trailer(true),
            (Self::Trailer(empty), byte) => Self::Trailer(empty && byte == b'\r'),
            (same @ Self::SizeEnd(_), _) => same,
            _ => return Err(Malformed),
        };
        Ok(())
    }
}
