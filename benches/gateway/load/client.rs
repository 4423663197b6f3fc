//! A connection that is asked one thing after the other.
//!
//! Owns: sending a request as it is and taking its answer apart. Knows neither when nor
//! why anything is sent.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http1::{Head, Malformed, Message};

const READ_BYTES: usize = 32 * 1024;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// No connection could be made.
    Refused,
    /// A connection that had been used was closed before a byte of the answer came: any
    /// client asks once more.
    Stale,
    /// It ended within the answer.
    CutOff,
    Malformed,
    /// A stream that ended well and did not have what it must.
    Incomplete,
    Late,
}

impl From<Malformed> for Flaw {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
    used: bool,
}

impl Connection {
    async fn open(to: SocketAddr) -> Result<Self, Flaw> {
        let socket = TcpStream::connect(to).await.map_err(|_| Flaw::Refused)?;
        socket.set_nodelay(true).map_err(|_| Flaw::Refused)?;
        Ok(Self {
            socket,
            buffer: vec![0; READ_BYTES],
            used: false,
        })
    }

    /// The status, and whether the connection can be used again.
    async fn ask(
        &mut self,
        request: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<(u16, bool), Flaw> {
        let early = if self.used { Flaw::Stale } else { Flaw::CutOff };
        self.used = true;
        self.socket.write_all(request).await.map_err(|_| early)?;
        let mut filled = 0;
        let (status, bytes, mut body, closes) = loop {
            let read = self.socket.read(&mut self.buffer[filled..]).await;
            match read {
                Ok(read) if read > 0 => filled += read,
                _ if filled == 0 => return Err(early),
                _ => return Err(Flaw::CutOff),
            }
            if let Some(head) = Head::parse(&self.buffer[..filled], Message::Response)? {
                break (head.status()?, head.bytes, head.body, head.closes);
            }
        };
        body.feed(&self.buffer[bytes..filled], &mut content)?;
        while !body.done() {
            let read = self.socket.read(&mut self.buffer).await;
            match read {
                Ok(read) if read > 0 => body.feed(&self.buffer[..read], &mut content)?,
                Ok(_) if body == crate::http1::Body::UntilClosed => return Ok((status, false)),
                _ => return Err(Flaw::CutOff),
            };
        }
        Ok((status, !closes))
    }
}

/// A place for a connection, which is opened when there is none.
pub(crate) struct Slot {
    to: SocketAddr,
    connection: Option<Connection>,
}

impl Slot {
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self {
            to,
            connection: None,
        }
    }

    /// Sends a request and takes its answer; the content of it is handed out as it comes.
    pub(crate) async fn ask(
        &mut self,
        request: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<u16, Flaw> {
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => Connection::open(self.to).await?,
            };
            match connection.ask(request, &mut content).await {
                Ok((status, again)) => {
                    self.connection = again.then_some(connection);
                    return Ok(status);
                }
                // The next try is on a fresh one, which cannot be stale.
                Err(Flaw::Stale) => {}
                Err(flaw) => return Err(flaw),
            }
        }
    }
}
