//! Heads and bodies, whole and in pieces, as they should be and as they should not.

use super::*;
use proptest::prelude::*;

fn head(text: &str) -> io::Result<Option<Head>> {
    response_head(&mut BytesMut::from(text))
}

fn framing(fields: &str) -> io::Result<(Framing, bool)> {
    let head = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))?.unwrap();
    Ok((head.framing, head.stays))
}

/// The body of what comes in pieces, and what is left in the buffer.
fn body(mut framing: Framing, pieces: &[&[u8]]) -> io::Result<(Vec<u8>, BytesMut)> {
    let (mut buffer, mut whole) = (BytesMut::new(), Vec::new());
    let mut pieces = pieces.iter();
    loop {
        match framing.next(&mut buffer)? {
            Part::Data(data) => whole.extend_from_slice(&data),
            Part::Over => {
                pieces.for_each(|piece| buffer.extend_from_slice(piece));
                return Ok((whole, buffer));
            }
            Part::More => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => return Err(ErrorKind::UnexpectedEof.into()),
            },
        }
    }
}

#[test]
fn a_request_is_written_with_its_host_and_length() {
    let mut request = Request::new(Bytes::from_static(b"{}"));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "http://host:81/v1/chat?x=1".parse().unwrap();
    request
        .headers_mut()
        .insert(header::ACCEPT, HeaderValue::from_static("a/b"));
    let wanted =
        "POST /v1/chat?x=1 HTTP/1.1\r\nhost: host:81\r\ncontent-length: 2\r\naccept: a/b\r\n\r\n";
    assert_eq!(request_head(&request), wanted);
    *request.body_mut() = Bytes::new();
    let wanted =
        "POST /v1/chat?x=1 HTTP/1.1\r\nhost: host:81\r\ncontent-length: 0\r\naccept: a/b\r\n\r\n";
    assert_eq!(request_head(&request), wanted);
    *request.method_mut() = Method::GET;
    let wanted = "GET /v1/chat?x=1 HTTP/1.1\r\nhost: host:81\r\naccept: a/b\r\n\r\n";
    assert_eq!(request_head(&request), wanted);
}

#[test]
fn the_end_of_a_body_is_told_in_one_way_only() {
    assert_eq!(
        framing("content-length: 5\r\n").unwrap(),
        (Framing::Length(5), true)
    );
    assert_eq!(
        framing("content-length: 5, 5\r\n").unwrap().0,
        Framing::Length(5)
    );
    let chunked = framing("transfer-encoding: gzip, Chunked\r\n").unwrap();
    assert_eq!(chunked, (Framing::Chunked(Chunk::Size), true));
    assert_eq!(framing("").unwrap(), (Framing::UntilClosed, false));
    assert_eq!(
        framing("transfer-encoding: gzip\r\n").unwrap(),
        (Framing::UntilClosed, false)
    );
    for wrong in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "content-length: +5\r\n",
        "content-length: \r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length: \u{e9}\r\n",
    ] {
        assert!(framing(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_connection_stays_where_both_sides_say_so() {
    assert!(
        !framing("content-length: 0\r\nconnection: x, Close\r\n")
            .unwrap()
            .1
    );
    let old = |fields: &str| {
        head(&format!(
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n{fields}\r\n"
        ))
    };
    assert!(!old("").unwrap().unwrap().stays);
    assert!(old("connection: keep-alive\r\n").unwrap().unwrap().stays);
}

#[test]
fn heads_come_in_pieces_and_after_interim_ones() {
    let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nx: y\r\n\r\nrest";
    let mut buffer = BytesMut::new();
    let mut found = None;
    for (i, byte) in text.bytes().enumerate() {
        buffer.extend_from_slice(&[byte]);
        if found.is_none() {
            found = response_head(&mut buffer).unwrap().map(|head| (i, head));
        }
    }
    let (at, head) = found.unwrap();
    assert_eq!(at, text.len() - "rest".len() - 1);
    assert_eq!(head.response.status(), 204);
    assert_eq!(head.response.headers()["x"], "y");
    assert_eq!(head.framing, Framing::Length(0));
    assert_eq!(buffer, "rest");
    assert!(response_head(&mut BytesMut::from("HTTP/1.1 101 x\r\n\r\n")).is_err());
    assert!(response_head(&mut BytesMut::from("SMTP ready\r\n")).is_err());
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(HEAD_BYTES_MAX));
    assert!(response_head(&mut BytesMut::from(&*endless)).is_err());
}

#[test]
fn chunks_that_are_none_are_refused() {
    let chunked = |text: &str| body(Framing::Chunked(Chunk::Size), &[text.as_bytes()]);
    assert!(chunked("2\r\nab\r\n0\r\n\r\n").is_ok());
    assert!(chunked("2;x=y\r\nab\r\n0\r\na: b\r\n\r\n").is_ok());
    for wrong in [
        "x\r\n",
        "\r\n",
        "2\nab\r\n",
        "2\r\nabc\r\n",
        "2x\r\nab\r\n",
        "-2\r\nab\r\n",
        "ffffffffffffffffff\r\n",
        "2\r\nab\r\n0\r\n",
    ] {
        assert!(chunked(wrong).is_err(), "{wrong:?}");
    }
    assert!(chunked(&format!("2{}", ";x".repeat(LINE_BYTES_MAX))).is_err());
    assert!(chunked(&format!("0\r\n{}", "a: b\r\n".repeat(TRAILER_BYTES_MAX))).is_err());
}

proptest! {
    #[test]
    fn a_body_is_read_however_it_is_cut(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        cuts in prop::collection::vec(0usize..400, 0..12),
    ) {
        let whole = parts.concat();
        let mut chunked = Vec::new();
        for part in &parts {
            chunked.extend(format!("{:X}\r\n", part.len()).into_bytes());
            chunked.extend(part);
            chunked.extend(b"\r\n");
        }
        chunked.extend(b"0\r\n\r\nnext");
        let plain = [&whole[..], b"next"].concat();
        let length = Framing::Length(whole.len() as u64);
        for (framing, bytes) in [(Framing::Chunked(Chunk::Size), chunked), (length, plain)] {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let (mut pieces, mut at) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&bytes[at..cut]);
                at = cut;
            }
            pieces.push(&bytes[at..]);
            let (read, rest) = body(framing, &pieces).unwrap();
            prop_assert_eq!(&read, &whole);
            prop_assert_eq!(&rest[..], b"next");
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = response_head(&mut BytesMut::from(&bytes[..]));
        let _ = body(Framing::Chunked(Chunk::Size), &[&bytes]);
    }
}
