//! The files of a recording: one JSON object a line, plain, gzip or zstd.
//!
//! Owns: the files' form and what can be wrong with it, by file and line. It must not
//! know how a recording is used.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Recorded, RecordedOutcome, RecordedPrompt};

/// A longer line is refused: the longest real prompt has a few thousand bytes.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// More lines are refused: everything is held in memory.
const LINES_MAX: u64 = 10_000_000;

/// Why a recording could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read (or decompressed) further.
    #[error("cannot read {} at line {line}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// A line is not the object it should be.
    #[error("{} line {line} is not as it should be", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// A line says something that cannot be.
    #[error("{} line {line}: {flaw}", path.display())]
    Flaw {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What.
        flaw: LineFlaw,
    },
}

/// What a well-formed line may have wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFlaw {
    /// Scores are 0..1.
    #[error("score {0} is not between 0 and 1")]
    Score(f64),
    /// Costs and latencies are finite and not negative.
    #[error("{field} {value} is not a finite number from 0")]
    Number {
        /// Which field.
        field: &'static str,
        /// What it says.
        value: f64,
    },
    /// An outcome of a prompt that is not in the prompts' file.
    #[error("no prompt has the id {0:?}")]
    UnknownPrompt(String),
    /// Two prompts have one id.
    #[error("a second prompt has the id {0:?}")]
    RepeatedPrompt(String),
    /// A line of more than 8 MiB.
    #[error("longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// A file of more than ten million lines.
    #[error("more than {LINES_MAX} lines")]
    TooMany,
}

#[derive(Deserialize)]
struct PromptLine {
    prompt_id: String,
    #[serde(default)]
    task: String,
    #[serde(default)]
    split: String,
    prompt: String,
    #[serde(default)]
    tools: Option<String>,
}

#[derive(Deserialize)]
struct OutcomeLine {
    prompt_id: String,
    model: String,
    score: f64,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cost_usd: Option<f64>,
    latency_ms: Option<f64>,
    #[serde(default)]
    est: bool,
}

impl OutcomeLine {
    fn check(&self) -> Result<(), LineFlaw> {
        if !(0.0..=1.0).contains(&self.score) {
            return Err(LineFlaw::Score(self.score));
        }
        for (field, value) in [("cost_usd", self.cost_usd), ("latency_ms", self.latency_ms)] {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.0) {
                return Err(LineFlaw::Number { field, value });
            }
        }
        Ok(())
    }
}

/// Where a prompt id went.
enum Place {
    Kept(usize),
    /// In another split, or a repeated text.
    LeftOut,
}

pub(super) fn load(
    prompts_path: &Path,
    outcomes_path: &Path,
    split: Option<&str>,
) -> Result<Recorded, LoadError> {
    let mut recorded = Recorded::default();
    let mut places: HashMap<String, Place> = HashMap::new();
    each_line(prompts_path, |line: PromptLine| {
        if places.contains_key(&line.prompt_id) {
            return Err(LineFlaw::RepeatedPrompt(line.prompt_id));
        }
        let place = if split.is_none_or(|split| split == line.split) {
            recorded.add_prompt(RecordedPrompt {
                id: line.prompt_id.clone(),
                task: line.task,
                split: line.split,
                text: line.prompt,
                tools: line.tools,
            })
        } else {
            None
        };
        places.insert(line.prompt_id, place.map_or(Place::LeftOut, Place::Kept));
        Ok(())
    })?;
    each_line(outcomes_path, |line: OutcomeLine| {
        line.check()?;
        match places.get(&line.prompt_id) {
            None => return Err(LineFlaw::UnknownPrompt(line.prompt_id)),
            Some(Place::LeftOut) => {}
            Some(Place::Kept(prompt)) => recorded.add_outcome(
                *prompt,
                &line.model,
                RecordedOutcome {
                    score: line.score,
                    input_tokens: line.input_tokens,
                    output_tokens: line.output_tokens,
                    cost_usd: line.cost_usd,
                    latency_ms: line.latency_ms,
                    estimated: line.est,
                },
            ),
        }
        Ok(())
    })?;
    Ok(recorded)
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file = File::open(path)?;
    Ok(match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(file))),
        Some("zst") => Box::new(BufReader::new(zstd::Decoder::new(file)?)),
        _ => Box::new(BufReader::new(file)),
    })
}

/// Gives every line that is not empty to `take`.
fn each_line<Line: DeserializeOwned>(
    path: &Path,
    mut take: impl FnMut(Line) -> Result<(), LineFlaw>,
) -> Result<(), LoadError> {
    let path = path.to_path_buf();
    let mut reader = match open(&path) {
        Ok(reader) => reader,
        Err(source) => return Err(LoadError::Open { path, source }),
    };
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        line += 1;
        bytes.clear();
        let count = match (&mut reader)
            .take(LINE_BYTES_MAX + 1)
            .read_until(b'\n', &mut bytes)
        {
            Ok(count) => count as u64,
            Err(source) => return Err(LoadError::Read { path, line, source }),
        };
        let flaw = if count == 0 {
            return Ok(());
        } else if count > LINE_BYTES_MAX {
            Some(LineFlaw::TooLong)
        } else if line > LINES_MAX {
            Some(LineFlaw::TooMany)
        } else if bytes.trim_ascii().is_empty() {
            None
        } else {
            match serde_json::from_slice(&bytes) {
                Ok(parsed) => take(parsed).err(),
                Err(source) => return Err(LoadError::Parse { path, line, source }),
            }
        };
        if let Some(flaw) = flaw {
            return Err(LoadError::Flaw { path, line, flaw });
        }
    }
}
