//! A whole answer, not yet on any wire.
//!
//! Owns: the neutral form of answers, and cutting them where the request says: at its
//! limit of tokens and at its stop sequences. It must not know any wire's JSON, nor
//! where the words come from.

use crate::ask::{Ask, Tool};
use crate::script::{Latency, Pace};

/// An item of an answer is streamed in at most this many content chunks.
pub(crate) const PIECES_MAX: usize = 64;
/// Bytes of one fragment of a text that is not written word by word (JSON).
const FRAGMENT_BYTES: usize = 12;
/// Tokens of one fragment of a tool call's arguments.
const FRAGMENT_TOKENS: u64 = 3;
/// What every model thinks when it is asked to: one token each.
const THOUGHT: [&str; 3] = ["thinking", "about", "it"];

/// A part of an answer that travels in one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) tokens: u64,
}

/// What an answer consists of, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Reasoning(Vec<Piece>),
    Text(Vec<Piece>),
    Refusal(Vec<Piece>),
    Call { name: String, arguments: Vec<Piece> },
}

impl Item {
    pub(crate) fn pieces(&self) -> &[Piece] {
        match self {
            Self::Reasoning(pieces) | Self::Text(pieces) | Self::Refusal(pieces) => pieces,
            Self::Call { arguments, .. } => arguments,
        }
    }

    /// All pieces in one.
    pub(crate) fn text(&self) -> String {
        self.pieces().iter().map(|p| p.text.as_str()).collect()
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.pieces().iter().map(|piece| piece.tokens).sum()
    }
}

/// Why an answer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    /// This stop sequence came next.
    StopSequence(String),
    Length,
    Calls,
    Refused,
}

/// Token counts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// All input, what came out of a cache included.
    pub(crate) input_tokens: u64,
    pub(crate) cached_tokens: u64,
    /// Input that a cache holds from now on, where that is billed.
    pub(crate) cache_written_tokens: u64,
    /// All output, reasoning included.
    pub(crate) output_tokens: u64,
    pub(crate) reasoning_tokens: u64,
}

/// How fast an answer comes when no script says otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Tempo {
    Recorded(Pace),
    Usual(Latency),
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) items: Vec<Item>,
    pub(crate) usage: Usage,
    pub(crate) finish: Finish,
    pub(crate) tempo: Tempo,
}

impl Answer {
    /// An answer that is no text at all.
    pub(crate) fn silent(input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            items: Vec::new(),
            usage: Usage {
                input_tokens,
                output_tokens,
                ..Usage::default()
            },
            finish: Finish::Stop,
            tempo: Tempo::Usual(Latency::TYPICAL),
        }
    }

    /// The calls of an answer, by name and arguments.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> Vec<(String, String)> {
        let calls = self.items.iter().filter_map(|item| match item {
            Item::Call { name, .. } => Some((name.clone(), item.text())),
            _ => None,
        });
        calls.collect()
    }
}

/// An answer before its words are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) input_tokens: u64,
    pub(crate) tempo: Tempo,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(ask: &'a Ask, tempo: Tempo) -> Self {
        Self {
            ask,
            input_tokens: ask.input_tokens,
            tempo,
        }
    }

    /// A text answer of these words, one space between them, worth so many tokens.
    pub(crate) fn words(self, words: &[&str], tokens: u64) -> Answer {
        self.text(words, " ", tokens)
    }

    /// A text answer with a token for every word.
    pub(crate) fn sentence(self, text: &str) -> Answer {
        let words: Vec<&str> = text.split(' ').collect();
        self.text(&words, " ", words.len() as u64)
    }

    /// A text answer of JSON, in fragments of a token each.
    pub(crate) fn json(self, text: &str) -> Answer {
        let fragments = fragments(text);
        let fragments: Vec<&str> = fragments.iter().map(String::as_str).collect();
        self.text(&fragments, "", fragments.len() as u64)
    }

    /// An answer that says it will not answer.
    pub(crate) fn refusal(self, text: &str) -> Answer {
        let words: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
        let tokens = words.len() as u64;
        let refusal = Item::Refusal(spread(words, tokens));
        self.finished(vec![refusal], Finish::Refused)
    }

    /// Calls of these tools; `tokens` where a recording knows them.
    pub(crate) fn calls(self, tools: &[Tool], tokens: Option<u64>) -> Answer {
        let arguments: Vec<Vec<String>> = tools.iter().map(|t| fragments(&t.arguments)).collect();
        let count = arguments.iter().map(Vec::len).sum::<usize>() as u64;
        let tokens = tokens.unwrap_or(count * FRAGMENT_TOKENS);
        let lengths: Vec<usize> = arguments.iter().map(Vec::len).collect();
        let mut pieces = spread(arguments.into_iter().flatten().collect(), tokens).into_iter();
        let mut items: Vec<Item> = self.thoughts(u64::MAX).into_iter().collect();
        for (tool, length) in tools.iter().zip(lengths) {
            items.push(Item::Call {
                name: tool.name.clone(),
                arguments: pieces.by_ref().take(length).collect(),
            });
        }
        self.finished(items, Finish::Calls)
    }

    fn text(self, words: &[&str], glue: &str, tokens: u64) -> Answer {
        let limit = self.ask.output_tokens_max.unwrap_or(u64::MAX);
        let mut items: Vec<Item> = self.thoughts(limit).into_iter().collect();
        let left = limit - items.iter().map(Item::tokens).sum::<u64>();
        let mut kept = tokens.min(left);
        let mut finish = if tokens > left {
            Finish::Length
        } else {
            Finish::Stop
        };
        // A recording may say "no tokens" of an answer that was one: a word stays.
        let least = u64::from(items.is_empty());
        let words = words.get(..kept.max(least) as usize).unwrap_or(words);
        let mut texts = grouped(words, glue);
        if let Some(stop) = cut_at_stop(&mut texts, &self.ask.stops) {
            kept = kept.min(stop.words);
            finish = Finish::StopSequence(stop.sequence);
        }
        if !texts.is_empty() {
            items.push(Item::Text(spread(texts, kept)));
        }
        self.finished(items, finish)
    }

    fn thoughts(self, limit: u64) -> Option<Item> {
        if !self.ask.reasoning || limit == 0 {
            return None;
        }
        let kept = limit.min(THOUGHT.len() as u64);
        let texts = grouped(&THOUGHT[..kept as usize], " ");
        Some(Item::Reasoning(spread(texts, kept)))
    }

    fn finished(self, items: Vec<Item>, finish: Finish) -> Answer {
        let reasoning = items.iter().filter(|i| matches!(i, Item::Reasoning(_)));
        let usage = Usage {
            input_tokens: self.input_tokens,
            cached_tokens: 0,
            cache_written_tokens: 0,
            reasoning_tokens: reasoning.map(Item::tokens).sum(),
            output_tokens: items.iter().map(Item::tokens).sum(),
        };
        Answer {
            items,
            usage,
            finish,
            tempo: self.tempo,
        }
    }
}

/// The texts of at most [`PIECES_MAX`] chunks that these words make.
fn grouped(words: &[&str], glue: &str) -> Vec<String> {
    let length = words.len().div_ceil(PIECES_MAX).max(1);
    let mut texts: Vec<String> = words.chunks(length).map(|run| run.join(glue)).collect();
    for text in texts.iter_mut().skip(1) {
        text.insert_str(0, glue);
    }
    texts
}

struct Stopped {
    sequence: String,
    /// How many words are left (at least the tokens that are).
    words: u64,
}

/// Cuts the texts before the first stop sequence in them.
fn cut_at_stop(texts: &mut Vec<String>, stops: &[String]) -> Option<Stopped> {
    if stops.is_empty() {
        return None;
    }
    let whole = texts.concat();
    let found = |stop: &String| Some((whole.find(stop.as_str())?, stop.clone()));
    let meant = stops.iter().filter(|stop| !stop.is_empty());
    let (at, sequence) = meant.filter_map(found).min()?;
    let mut left = at;
    texts.retain_mut(|text| {
        text.truncate(left);
        left -= text.len();
        !text.is_empty()
    });
    let words = whole.get(..at).unwrap_or_default().split_whitespace();
    Some(Stopped {
        sequence,
        words: words.count() as u64,
    })
}

fn fragments(text: &str) -> Vec<String> {
    let mut fragments = Vec::new();
    let mut fragment = String::new();
    for letter in text.chars() {
        fragment.push(letter);
        if fragment.len() >= FRAGMENT_BYTES {
            fragments.push(std::mem::take(&mut fragment));
        }
    }
    if !fragment.is_empty() {
        fragments.push(fragment);
    }
    fragments
}

/// Gives the pieces their tokens so that they sum up exactly.
fn spread(texts: Vec<String>, tokens: u64) -> Vec<Piece> {
    let count = texts.len() as u64;
    let until = |index: u64| tokens * index / count.max(1);
    (0..)
        .zip(texts)
        .map(|(index, text)| Piece {
            text,
            tokens: until(index + 1) - until(index),
        })
        .collect()
}

#[cfg(test)]
mod tests;
