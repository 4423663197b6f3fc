//! The ways in which an attempt goes wrong.
//!
//! Owns: their names. It must not know how often they strike, nor how they look on a wire.

/// What a refusal says about when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// Header `retry-after`, whole seconds.
    Seconds(u64),
    /// Header `retry-after-ms`, milliseconds.
    Millis(u64),
}

/// One way in which an attempt goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Refused with this status; without a `body` in the provider's own error form.
    Status {
        /// HTTP status code.
        code: u16,
        /// Whether and how it says when to come back.
        retry_after: Option<RetryAfter>,
        /// Body instead of the provider's error form.
        body: Option<String>,
    },
    /// Refused for want of room in the tier that was asked for, in the provider's own
    /// way: 429 with `resource_unavailable`, 503 or 529. Not billed.
    NoCapacity,
    /// The request is taken, then nothing ever comes.
    HangBeforeHeaders,
    /// Headers (when streaming also what its wire sends before content: Chat's role-only
    /// chunk, `response.created`, `message_start`, `messageStart`, `interaction.created`;
    /// nothing in Gemini's generateContent), then nothing.
    HangAfterHeaders,
    /// A stream that stalls after this many content chunks (whole answers: as above).
    HangAfter {
        /// Content chunks sent before the stall.
        content_chunks: usize,
    },
    /// The connection is reset (RST) before any answer.
    Reset,
    /// Closed after this many content chunks, without the end of the stream. A whole
    /// answer is closed in the middle of its body.
    CutAfter {
        /// Content chunks sent before the cut.
        content_chunks: usize,
    },
    /// Closed before any content, where [`Self::HangAfterHeaders`] hangs.
    CutBeforeContent,
    /// After this many content chunks the wire's error event instead of the rest, then a
    /// tidy end of the response without the stream's own end. A whole answer is a 200 with
    /// an error body.
    ErrorInStream {
        /// Content chunks sent before the error.
        content_chunks: usize,
    },
    /// 200 with a page of HTML.
    Garbage,
    /// 200 with JSON that stops in the middle, tidily ended.
    TruncatedJson,
    /// 200 with no body at all.
    EmptyBody,
    /// An answer that is all end: a stream of nothing but `[DONE]`, a whole answer without
    /// a choice; on the other wires a beginning and an end, and no output in between.
    DoneAtOnce,
}

impl Fault {
    /// A plain status in the provider's error form.
    pub fn status(code: u16) -> Self {
        Self::Status {
            code,
            retry_after: None,
            body: None,
        }
    }

    /// 429 with `retry-after` in seconds.
    pub fn rate_limited(retry_after_s: u64) -> Self {
        Self::Status {
            code: 429,
            retry_after: Some(RetryAfter::Seconds(retry_after_s)),
            body: None,
        }
    }

    pub(crate) fn kind(&self) -> Option<FaultKind> {
        Some(match self {
            Self::Status { .. } | Self::NoCapacity => return None,
            Self::HangBeforeHeaders => FaultKind::HangBeforeHeaders,
            Self::HangAfterHeaders => FaultKind::HangAfterHeaders,
            Self::HangAfter { .. } => FaultKind::HangAfter,
            Self::Reset => FaultKind::Reset,
            Self::CutAfter { .. } => FaultKind::CutAfter,
            Self::CutBeforeContent => FaultKind::CutBeforeContent,
            Self::ErrorInStream { .. } => FaultKind::ErrorInStream,
            Self::Garbage => FaultKind::Garbage,
            Self::TruncatedJson => FaultKind::TruncatedJson,
            Self::EmptyBody => FaultKind::EmptyBody,
            Self::DoneAtOnce => FaultKind::DoneAtOnce,
        })
    }
}

/// The sort of a fault, as the ledger keeps it (a status is kept as a refusal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the variant of `Fault` of its name")]
pub enum FaultKind {
    HangBeforeHeaders,
    HangAfterHeaders,
    HangAfter,
    Reset,
    CutAfter,
    CutBeforeContent,
    ErrorInStream,
    Garbage,
    TruncatedJson,
    EmptyBody,
    DoneAtOnce,
}
