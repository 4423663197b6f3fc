//! A whole answer out of a stream.
//!
//! Owns: hearing a stream to its end for a caller who wants one whole answer. A lane that
//! makes requests wait is asked for a stream: only by its first content can it be seen
//! that it began. Nothing of it is with the caller yet, so whatever fails is a miss.

use std::time::{Duration, Instant};

use spillway_routing::dialect::Dialect;
use spillway_routing::outcome::AttemptResult;
use tokio::time::timeout_at;

use super::attempt::Committed;
use super::reader::Reader;
use super::retry::{Class, Miss};
use crate::dialect::event::Assembly;
use crate::dialect::sse::Frame;
use crate::dialect::{self, Gathering, Meaning, Reported};

/// A stream that has begun is heard so long.
const WITHIN: Duration = Duration::from_secs(600);

/// `most`: bytes of the stream.
pub(super) async fn assemble(
    committed: Committed,
    dialect: Dialect,
    now: Instant,
    most: usize,
) -> Result<Committed, Miss> {
    match committed {
        Committed::Stream { held, reader } => {
            let hearing = hear(held, reader, dialect, most);
            timeout_at((now + WITHIN).into(), hearing)
                .await
                .map_err(|_| cut())?
        }
        whole => Ok(whole),
    }
}

async fn hear(
    held: Vec<(Frame, Meaning)>,
    mut reader: Reader,
    dialect: Dialect,
    most: usize,
) -> Result<Committed, Miss> {
    let mut bytes = 0;
    let (mut assembly, mut reported) = (Assembly::default(), Reported::default());
    let (mut content, mut finished) = (0u32, false);
    let mut gathering = Gathering::of(dialect);
    let mut held = held.into_iter();
    loop {
        let next = match held.next() {
            Some(held) => Some(held),
            // It has begun: silence is no wait for a start, and may be charged.
            None => reader.next().await.map_err(|_| cut())?,
        };
        let Some((frame, meaning)) = next else { break };
        bytes += frame.0.len();
        if meaning.error.is_some() || bytes > most {
            return Err(cut());
        }
        content = content.saturating_add(meaning.content);
        finished |= meaning.finished || meaning.done;
        reported.add(meaning.reported);
        gathering.add(&frame);
        meaning
            .events
            .into_iter()
            .for_each(|event| assembly.add(event));
        if meaning.done {
            break;
        }
    }
    if !finished {
        return Err(cut());
    }
    reader.release();
    // As the provider has it, with the id that it keeps it under.
    if let Some(body) = gathering.whole()
        && let Ok(answer) = dialect::answer(dialect, &body)
    {
        return Ok(Committed::Whole { body, answer });
    }
    Ok(Committed::Told {
        said: assembly.said,
        reported,
        content,
    })
}

fn cut() -> Miss {
    Miss::new(
        Class::Unknown,
        AttemptResult::Failed,
        "the answer broke off",
    )
}
