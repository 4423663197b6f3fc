//! A provider's stream, frame by frame.
//!
//! Owns: reading with a bound on silence and on size. Reads no further than it is asked
//! to, so that a slow client slows the provider down.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::{timeout, timeout_at};

use super::client::Body;
use crate::dialect::sse::Frame;
use crate::dialect::{Ear, Meaning, Splitter, Unframed};

/// How long the end of a body is waited for after its last event, so that the
/// connection can be used again.
const TAIL_WITHIN: Duration = Duration::from_millis(500);

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("nothing came for too long")]
    Silent,
    #[error("the connection broke")]
    Reset(#[from] io::Error),
    #[error(transparent)]
    Unframed(#[from] Unframed),
    #[error("the answer is longer than allowed")]
    TooLarge,
}

pub(crate) struct Reader {
    body: Body,
    splitter: Splitter,
    ear: Ear,
    /// Longest silence.
    idle: Duration,
    /// When the silence that lasts has been too long.
    silent_until: Option<Instant>,
    ended: bool,
}

impl Reader {
    pub(crate) fn new(body: Body, ear: Ear, idle: Duration) -> Self {
        Self {
            body,
            splitter: ear.splitter(),
            ear,
            idle,
            silent_until: None,
            ended: false,
        }
    }

    /// The next frame; `None` at the end. Whoever stops waiting loses nothing, and the
    /// silence goes on.
    pub(crate) async fn next(&mut self) -> Result<Option<(Frame, Meaning)>, Broken> {
        loop {
            if let Some(frame) = self.splitter.next()? {
                return Ok(Some(self.read(frame)));
            }
            if self.ended {
                return Ok(None);
            }
            let idle = self.idle;
            let until = *self
                .silent_until
                .get_or_insert_with(|| Instant::now() + idle);
            let chunk = chunk(&mut self.body, until).await?;
            self.silent_until = None;
            match chunk {
                Some(bytes) => self.splitter.push(&bytes),
                None => {
                    self.ended = true;
                    // Half a frame is no frame, but some hosts spare the last blank line.
                    if let Some(frame) = self.splitter.finish() {
                        let (frame, meaning) = self.read(frame);
                        if meaning.done || meaning.finished || meaning.reported.usage.is_some() {
                            return Ok(Some((closed(&frame), meaning)));
                        }
                    }
                }
            }
        }
    }

    fn read(&mut self, frame: Frame) -> (Frame, Meaning) {
        let meaning = self.ear.hear(&frame);
        (frame, meaning)
    }

    /// After the last event: waits a little for the body's own end. Whatever still comes
    /// is not relayed, and the connection is not used again.
    pub(crate) fn release(mut self) {
        if self.ended {
            return;
        }
        tokio::spawn(async move {
            let _ = timeout(TAIL_WITHIN, self.body.frame()).await;
        });
    }
}

fn closed(frame: &Frame) -> Frame {
    let mut bytes = frame.0.trim_ascii_end().to_vec();
    bytes.extend_from_slice(b"\n\n");
    Frame(Bytes::from(bytes))
}

/// The next bytes of a body.
async fn chunk(body: &mut Body, until: Instant) -> Result<Option<Bytes>, Broken> {
    loop {
        match timeout_at(until.into(), body.frame()).await {
            Err(_) => return Err(Broken::Silent),
            Ok(None) => return Ok(None),
            Ok(Some(frame)) => {
                if let Ok(bytes) = frame?.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// The first bytes of JSON. Some hosts keep a connection alive with white space before
/// it: that is no beginning, and nothing is lost with it.
pub(super) async fn begun(body: &mut Body, idle: Duration) -> Result<Option<Bytes>, Broken> {
    while let Some(bytes) = chunk(body, Instant::now() + idle).await? {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        if !bytes.iter().all(blank) {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// A whole body within bounds, after its first bytes.
pub(super) async fn rest(
    first: Bytes,
    body: &mut Body,
    idle: Duration,
    max: usize,
) -> Result<Bytes, Broken> {
    let mut whole = BytesMut::new();
    while let Some(bytes) = chunk(body, Instant::now() + idle).await? {
        if first.len() + whole.len() + bytes.len() > max {
            return Err(Broken::TooLarge);
        }
        whole.extend_from_slice(&bytes);
    }
    // Most answers come in one piece.
    if whole.is_empty() {
        return Ok(first);
    }
    Ok([first, whole.freeze()].concat().into())
}
