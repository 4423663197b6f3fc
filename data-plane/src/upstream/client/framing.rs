//! HTTP/1.1 as bytes: the head of a request written, of a response read, and where a body
//! ends (RFC 9112).
//!
//! Owns: no connection and no time; it reads what is in a buffer. Strict where answers of
//! two requests could be taken for one: a head that says its length twice is refused, and
//! whatever it does not say clearly ends with the connection.

use std::io::{self, ErrorKind};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

const HEADERS_MAX: usize = 100;
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A chunk's length with its extensions, or one line of trailers.
const LINE_BYTES_MAX: usize = 4 * 1024;
const TRAILER_BYTES_MAX: usize = 16 * 1024;

/// The request's line and headers; its body follows.
pub(super) fn request_head(request: &Request<Bytes>) -> Bytes {
    let (uri, headers) = (request.uri(), request.headers());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let fields: usize = headers
        .iter()
        .map(|(n, v)| n.as_str().len() + v.len() + 4)
        .sum();
    let mut head = BytesMut::with_capacity(path.len() + fields + 128);
    let put = |head: &mut BytesMut, parts: [&[u8]; 4]| parts.iter().for_each(|p| head.put_slice(p));
    put(
        &mut head,
        [
            request.method().as_str().as_bytes(),
            b" ",
            path.as_bytes(),
            b" HTTP/1.1\r\n",
        ],
    );
    if let Some(authority) = uri.authority() {
        put(
            &mut head,
            [b"host", b": ", authority.as_str().as_bytes(), b"\r\n"],
        );
    }
    // Some hosts want a length wherever there could be a body.
    let method = request.method();
    if !request.body().is_empty() || *method == Method::POST {
        let length = request.body().len().to_string();
        put(
            &mut head,
            [b"content-length", b": ", length.as_bytes(), b"\r\n"],
        );
    }
    for (name, value) in headers {
        put(
            &mut head,
            [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"],
        );
    }
    head.put_slice(b"\r\n");
    head.freeze()
}

/// A response's head, and how its body comes.
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// The connection can take another request after it.
    pub(super) stays: bool,
}

/// Takes the head of a response off a buffer; `None` where it is not whole yet. Interim
/// responses are passed over.
pub(super) fn response_head(buffer: &mut BytesMut) -> io::Result<Option<Head>> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = parsed.parse(buffer).map_err(garbled)? else {
            let fits = buffer.len() < HEAD_BYTES_MAX;
            return if fits {
                Ok(None)
            } else {
                Err(garbled("the head is too long"))
            };
        };
        let status = parsed.code.unwrap_or_default();
        let status = StatusCode::from_u16(status).map_err(garbled)?;
        if status.is_informational() {
            if status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(garbled("nobody asked for another protocol"));
            }
            buffer.advance(length);
            continue;
        }
        let mut headers = HeaderMap::with_capacity(parsed.headers.len());
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(garbled)?;
            headers.append(name, HeaderValue::from_bytes(field.value).map_err(garbled)?);
        }
        let modern = parsed.version == Some(1);
        buffer.advance(length);
        let framing = Framing::of(status, &headers)?;
        let stays = stays(&headers, modern) && !matches!(framing, Framing::UntilClosed);
        let mut response = Response::new(());
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        return Ok(Some(Head {
            response,
            framing,
            stays,
        }));
    }
}

fn garbled(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// The comma-separated words of a header that may come several times.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn stays(headers: &HeaderMap, modern: bool) -> bool {
    let says = |wanted| words(headers, &header::CONNECTION).any(|w| w.eq_ignore_ascii_case(wanted));
    !says("close") && (modern || says("keep-alive"))
}

/// How the end of a body is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunk),
    UntilClosed,
}

/// Where in a chunked body reading is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Before a chunk's length.
    Size,
    /// So many bytes of it are left.
    Data(u64),
    /// Before the line's end after it.
    End,
    /// After the last chunk; so many bytes of trailers were passed over.
    Trailers(usize),
    Over,
}

/// What a buffer gives of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Data(Bytes),
    /// More has to be read first.
    More,
    Over,
}

impl Framing {
    fn of(status: StatusCode, headers: &HeaderMap) -> io::Result<Self> {
        if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            return Ok(Self::Length(0));
        }
        let mut lengths = words(headers, &header::CONTENT_LENGTH);
        let length = lengths.next();
        if headers.contains_key(header::TRANSFER_ENCODING) {
            if length.is_some() {
                return Err(garbled("the length is told in two ways"));
            }
            let last = words(headers, &header::TRANSFER_ENCODING).last();
            let chunked = last.is_some_and(|last| last.eq_ignore_ascii_case("chunked"));
            return Ok(if chunked {
                Self::Chunked(Chunk::Size)
            } else {
                Self::UntilClosed
            });
        }
        let Some(length) = length else {
            let told = headers.contains_key(header::CONTENT_LENGTH);
            let unreadable = || garbled("the length is no number");
            return (!told).then_some(Self::UntilClosed).ok_or_else(unreadable);
        };
        if lengths.any(|other| other != length) {
            return Err(garbled("two lengths are told"));
        }
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse().ok().filter(|_| digits);
        length
            .map(Self::Length)
            .ok_or_else(|| garbled("the length is no number"))
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Over))
    }

    /// Takes the next part of the body off a buffer.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> io::Result<Part> {
        match self {
            _ if self.is_over() => Ok(Part::Over),
            _ if buffer.is_empty() => Ok(Part::More),
            Self::Length(left) => Ok(Part::Data(taken(buffer, left))),
            Self::UntilClosed => Ok(Part::Data(buffer.split().freeze())),
            Self::Chunked(chunk) => chunk.next(buffer),
        }
    }
}

impl Chunk {
    fn next(&mut self, buffer: &mut BytesMut) -> io::Result<Part> {
        loop {
            match self {
                Self::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(Part::More);
                    }
                    let data = taken(buffer, left);
                    if *left == 0 {
                        *self = Self::End;
                    }
                    return Ok(Part::Data(data));
                }
                Self::Over => return Ok(Part::Over),
                Self::Size | Self::End | Self::Trailers(_) => {}
            }
            let Some(line) = line(buffer)? else {
                return Ok(Part::More);
            };
            *self = self.after(&line)?;
        }
    }

    fn after(&self, line: &[u8]) -> io::Result<Self> {
        match self {
            Self::Size => match size(line)? {
                0 => Ok(Self::Trailers(0)),
                size => Ok(Self::Data(size)),
            },
            Self::End if line.is_empty() => Ok(Self::Size),
            Self::Trailers(_) if line.is_empty() => Ok(Self::Over),
            Self::Trailers(passed) if passed + line.len() < TRAILER_BYTES_MAX => {
                Ok(Self::Trailers(passed + line.len()))
            }
            _ => Err(garbled("a chunk does not end where it says")),
        }
    }
}

/// At most `left` bytes off a buffer, counted down.
fn taken(buffer: &mut BytesMut, left: &mut u64) -> Bytes {
    let count = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(buffer.len());
    *left -= count as u64;
    buffer.split_to(count).freeze()
}

/// A line without its end; `None` where it is not whole yet.
fn line(buffer: &mut BytesMut) -> io::Result<Option<BytesMut>> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        let fits = buffer.len() < LINE_BYTES_MAX;
        return if fits {
            Ok(None)
        } else {
            Err(garbled("a line is too long"))
        };
    };
    if end == 0 || buffer[end - 1] != b'\r' {
        return Err(garbled("a line has no proper end"));
    }
    let mut line = buffer.split_to(end + 1);
    line.truncate(end - 1);
    Ok(Some(line))
}

/// A chunk's length in hexadecimal digits; extensions are passed over.
fn size(line: &[u8]) -> io::Result<u64> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (digits, rest) = line.split_at(digits);
    let ends = matches!(rest.first(), None | Some(b';' | b' ' | b'\t'));
    let size = std::str::from_utf8(digits).ok().filter(|_| ends);
    size.and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| garbled("a chunk has no length"))
}

#[cfg(test)]
mod tests;
