//! A labelled set on disk: prompts, and what models answered to them.
//!
//! Owns: the format (`prompts` and `outcomes` files as JSON lines or CSV, also
//! compressed, or Parquet) and its errors, which name file and line. A set is read whole or not at
//! all. Prompt text stays here: what goes out are facts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Map, Value};
use spillway_history::{Cell, read_parquet};
use spillway_routing::features::Facts;
use spillway_routing::id::ModelId;
use spillway_routing::outcome::{Answer, Audit, Split};
use spillway_routing::prompt::{PromptView, Role, Turn};
use spillway_routing::tokens::TokenCounter;
use spillway_routing::unit::{Bps, Millis, NanoUsd, Tokens, UnixMillis};

use crate::command::SetArgs;
use crate::progress;

/// The route that labelled prompts are taken to have asked for.
pub(super) const ROUTE: &str = "auto";
/// Of prompts that name no split.
const TRAIN_PERCENT: u64 = 70;
/// A line longer than this is not a prompt.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// One prompt as written in the file. Unknown fields are other people's.
#[derive(Debug, Deserialize)]
struct PromptLine {
    prompt_id: String,
    #[serde(default)]
    task: Option<String>,
    #[serde(default)]
    split: Option<String>,
    prompt: String,
    /// Declared tools as JSON text.
    #[serde(default)]
    tools: Option<String>,
}

/// One answer as written in the file.
#[derive(Debug, Deserialize)]
struct OutcomeLine {
    prompt_id: String,
    model: String,
    score: f64,
    #[serde(default)]
    input_tokens: Option<f64>,
    #[serde(default)]
    output_tokens: Option<f64>,
    #[serde(default)]
    cost_usd: Option<f64>,
    #[serde(default)]
    latency_ms: Option<f64>,
}

/// A prompt's id, split and facts.
pub(super) struct Prompt {
    pub(super) id: String,
    pub(super) split: Option<Split>,
    pub(super) facts: Facts,
}

/// Which prompts of a set are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// This split.
    Only(Split),
}

impl Part {
    /// # Errors
    ///
    /// For a word that is no split.
    pub(super) fn parse(word: &str) -> anyhow::Result<Self> {
        if word == "all" {
            return Ok(Self::All);
        }
        let split = Split::parse(word);
        split
            .map(Self::Only)
            .with_context(|| format!("--split {word:?} is not known; say train, test or all"))
    }

    fn has(self, split: Option<Split>) -> bool {
        match self {
            Self::All => true,
            Self::Only(wanted) => split == Some(wanted),
        }
    }
}

/// Reads prompts and makes facts of them; with `slices` their task is the slice.
pub(super) fn prompts(path: &Path, part: Part, slices: bool) -> anyhow::Result<Vec<Prompt>> {
    let lines: Vec<(usize, PromptLine)> = read(path)?;
    let counter = TokenCounter::new();
    let bar = progress::bar(lines.len() as u64, "prompts");
    let mut prompts = Vec::with_capacity(lines.len());
    let mut seen = BTreeMap::new();
    for (line, prompt) in lines {
        if let Some(first) = seen.insert(prompt.prompt_id.clone(), line) {
            bail!(
                "{}:{line}: prompt_id {:?} was used on line {first} already",
                path.display(),
                prompt.prompt_id
            );
        }
        let split = match prompt.split.as_deref() {
            None | Some("") => Some(cut(&prompt.prompt_id)),
            Some(word) => Some(Split::parse(word).with_context(|| {
                format!(
                    "{}:{line}: split {word:?} is neither train nor test",
                    path.display()
                )
            })?),
        };
        bar.inc(1);
        if part.has(split) {
            let facts = facts(&prompt, slices, &counter);
            prompts.push(Prompt {
                id: prompt.prompt_id,
                split,
                facts,
            });
        }
    }
    bar.finish_and_clear();
    Ok(prompts)
}

/// The split of a prompt that names none, by a hash of its id: the same in every command,
/// so that nothing is measured on what was trained on.
pub(super) fn cut(id: &str) -> Split {
    // FNV-1a, 64 bits; its low bits are mixed well enough to cut by.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    if hash % 100 < TRAIN_PERCENT {
        Split::Train
    } else {
        Split::Test
    }
}

fn facts(prompt: &PromptLine, slices: bool, counter: &TokenCounter) -> Facts {
    let turns = [Turn {
        role: Role::User,
        text: &prompt.prompt,
    }];
    let tools = prompt.tools.as_deref().unwrap_or("");
    let declared = serde_json::from_str::<Vec<Value>>(tools).map_or(0, |tools| tools.len());
    let view = PromptView {
        route: ROUTE,
        turns: &turns,
        tools,
        tool_count: u16::try_from(declared).unwrap_or(u16::MAX),
        slice: prompt.task.as_deref().filter(|_| slices),
        ..PromptView::default()
    };
    Facts::of(&view, counter)
}

/// Reads a whole set as audits.
pub(super) fn audits(
    set: &SetArgs,
    part: Part,
    slices: bool,
    at: UnixMillis,
) -> anyhow::Result<Vec<Audit>> {
    let prompts = prompts(&set.prompts, part, slices)?;
    let known: BTreeMap<String, usize> = prompts
        .iter()
        .enumerate()
        .map(|(i, prompt)| (prompt.id.clone(), i))
        .collect();
    let mut answers: Vec<Vec<Answer>> = prompts.iter().map(|_| Vec::new()).collect();
    let all_ids = if part == Part::All {
        None
    } else {
        Some(ids(&set.prompts)?)
    };
    for (line, outcome) in read::<OutcomeLine>(&set.outcomes)? {
        let at = || format!("{}:{line}", set.outcomes.display());
        let Some(index) = known.get(&outcome.prompt_id) else {
            let elsewhere = all_ids
                .as_ref()
                .is_some_and(|ids| ids.contains(&outcome.prompt_id));
            anyhow::ensure!(
                elsewhere,
                "{}: prompt_id {:?} is not in {}",
                at(),
                outcome.prompt_id,
                set.prompts.display()
            );
            continue;
        };
        let answer = answer(outcome).with_context(at)?;
        let twice = answers[*index]
            .iter()
            .any(|known| known.model == answer.model);
        anyhow::ensure!(
            !twice,
            "{}: {} answered this prompt on an earlier line already",
            at(),
            answer.model
        );
        answers[*index].push(answer);
    }
    let audit = |(prompt, answers): (Prompt, Vec<Answer>)| Audit {
        id: prompt.id,
        at,
        split: prompt.split,
        facts: prompt.facts,
        answers,
    };
    Ok(prompts.into_iter().zip(answers).map(audit).collect())
}

fn ids(path: &Path) -> anyhow::Result<std::collections::BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Id {
        prompt_id: String,
    }
    Ok(read::<Id>(path)?
        .into_iter()
        .map(|(_, id)| id.prompt_id)
        .collect())
}

fn answer(outcome: OutcomeLine) -> anyhow::Result<Answer> {
    anyhow::ensure!(
        (0.0..=1.0).contains(&outcome.score),
        "score {} is not between 0 and 1",
        outcome.score
    );
    let count = |value: Option<f64>, name: &str| {
        let value = value.unwrap_or(0.0);
        let fits = value.is_finite() && (0.0..=f64::from(u32::MAX)).contains(&value);
        anyhow::ensure!(fits, "{name} {value} is no count of tokens");
        Ok(Tokens(value.round() as u32))
    };
    let money = outcome.cost_usd;
    anyhow::ensure!(
        money.is_none_or(|usd| usd.is_finite() && usd >= 0.0),
        "cost_usd {money:?} is no amount of money"
    );
    Ok(Answer {
        model: ModelId::new(&outcome.model),
        score: Bps::from_share(outcome.score),
        input: count(outcome.input_tokens, "input_tokens")?,
        output: count(outcome.output_tokens, "output_tokens")?,
        cost: money.map(NanoUsd::from_usd),
        latency: outcome
            .latency_ms
            .filter(|ms| ms.is_finite() && *ms >= 0.0)
            .map(|ms| Millis(ms as u64)),
    })
}

/// All rows of a file with their line numbers.
fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> anyhow::Result<Vec<(usize, T)>> {
    if path.extension().is_some_and(|end| end == "parquet") {
        return parquet_rows(path);
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    let (bare, reader): (&str, Box<dyn Read>) = if let Some(bare) = name.strip_suffix(".zst") {
        (
            bare,
            Box::new(
                zstd::Decoder::new(file)
                    .with_context(|| format!("cannot read {}", path.display()))?,
            ),
        )
    } else if let Some(bare) = name.strip_suffix(".gz") {
        (bare, Box::new(flate2::read::MultiGzDecoder::new(file)))
    } else {
        (name, Box::new(file))
    };
    let rows = match bare.rsplit('.').next() {
        Some("jsonl" | "ndjson") => json_lines(path, BufReader::new(reader))?,
        Some("csv") => csv_rows(path, reader)?,
        _ => bail!(
            "{}: the name must end in .jsonl or .csv, also with .gz or .zst, or in .parquet",
            path.display()
        ),
    };
    anyhow::ensure!(!rows.is_empty(), "{} is empty", path.display());
    Ok(rows)
}

fn json_lines<T: for<'a> Deserialize<'a>>(
    path: &Path,
    mut reader: impl BufRead,
) -> anyhow::Result<Vec<(usize, T)>> {
    let mut rows = Vec::new();
    let mut text = String::new();
    for line in 1.. {
        text.clear();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_line(&mut text);
        if read.with_context(|| format!("{}:{line}: cannot be read", path.display()))? == 0 {
            break;
        }
        if !text.trim().is_empty() {
            let row = serde_json::from_str(&text);
            rows.push((
                line,
                row.with_context(|| format!("{}:{line}", path.display()))?,
            ));
        }
    }
    Ok(rows)
}

fn csv_rows<T: for<'a> Deserialize<'a>>(
    path: &Path,
    reader: impl Read,
) -> anyhow::Result<Vec<(usize, T)>> {
    let mut csv = csv::Reader::from_reader(reader);
    let headers = csv
        .headers()
        .with_context(|| format!("{}:1", path.display()))?
        .clone();
    let mut rows = Vec::new();
    for record in csv.records() {
        let record = record.with_context(|| path.display().to_string())?;
        let line = record
            .position()
            .map_or(0, |position| position.line() as usize);
        let row = record.deserialize(Some(&headers));
        rows.push((
            line,
            row.with_context(|| format!("{}:{line}", path.display()))?,
        ));
    }
    Ok(rows)
}

/// Rows of a Parquet file; their "lines" are row numbers from 1.
fn parquet_rows<T: for<'a> Deserialize<'a>>(path: &Path) -> anyhow::Result<Vec<(usize, T)>> {
    let rows = read_parquet(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut read = Vec::with_capacity(rows.len());
    for (index, row) in rows.into_iter().enumerate() {
        let value = |cell| match cell {
            Cell::Text(text) => Value::String(text),
            Cell::Number(number) => Value::from(number),
        };
        let object: Map<String, Value> = row
            .into_iter()
            .map(|(name, cell)| (name, value(cell)))
            .collect();
        let row = T::deserialize(Value::Object(object));
        read.push((
            index + 1,
            row.with_context(|| format!("{}:{}", path.display(), index + 1))?,
        ));
    }
    anyhow::ensure!(!read.is_empty(), "{} is empty", path.display());
    Ok(read)
}
