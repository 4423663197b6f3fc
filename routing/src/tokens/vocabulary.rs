//! The vocabularies that this build has beside o200k's.
//!
//! Owns: which crate or file each family's comes from, and loading it at its first use.
//! Knows nothing of what is counted, or why.

use std::io::Read as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use flate2::read::ZlibDecoder;
use splintr::pretrained::from_pretrained;
use splintr::{AnyTokenizer, Backend};

use super::Family;

/// `routing/vocabularies/pack.py` makes it.
const QWEN_3_5: &[u8] = include_bytes!("../../vocabularies/qwen3_5.bin");
/// Splits a text for Qwen 3.5 (its tokenizer.json).
const QWEN_3_5_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Texts of which pieces are remembered at the most.
const REMEMBERED: u32 = 256;

/// A family's own way to cut a text into tokens.
#[derive(Clone, Copy)]
pub(super) enum Vocabulary {
    Tiktoken(&'static tiktoken::CoreBpe),
    Packed(&'static tiktoken_rs::CoreBPE),
    SentencePiece(&'static AnyTokenizer),
    /// The same, where every text is given a space to begin with.
    Spaced(&'static AnyTokenizer),
}

impl Vocabulary {
    /// The family's, where this build has it; the first use takes some 0.15 s.
    pub(super) fn of(family: Family) -> Option<Self> {
        // Gemma 3's pieces are Gemma 4's, but for a few marks that no text has.
        static GEMMA: LazyLock<Option<AnyTokenizer>> =
            LazyLock::new(|| from_pretrained("gemma4").ok());
        static MISTRAL: LazyLock<Option<AnyTokenizer>> =
            LazyLock::new(|| from_pretrained("mistral_v2").ok());
        static QWEN: LazyLock<Option<tiktoken_rs::CoreBPE>> =
            LazyLock::new(|| unpacked(QWEN_3_5, QWEN_3_5_PATTERN));
        let tiktoken = |name| tiktoken::get_encoding(name).map(Self::Tiktoken);
        match family {
            Family::Cl100k => tiktoken("cl100k_base"),
            Family::Llama3 => tiktoken("llama3"),
            Family::DeepseekV3 => tiktoken("deepseek_v3"),
            Family::Qwen3 => tiktoken("qwen2"),
            Family::MistralTekken => tiktoken("mistral_v3"),
            Family::Qwen35 => QWEN.as_ref().map(Self::Packed),
            Family::MistralSpm => MISTRAL.as_ref().map(Self::Spaced),
            Family::Gemma3 => GEMMA.as_ref().map(Self::SentencePiece),
            Family::O200k | Family::Claude3 | Family::Claude47 => None,
        }
    }

    /// Tokens of a part of a text.
    pub(super) fn count(self, part: &str) -> usize {
        match self {
            Self::Tiktoken(vocabulary) => vocabulary.count(part),
            Self::Packed(vocabulary) => vocabulary.count_ordinary(part),
            Self::SentencePiece(vocabulary) => encoded(vocabulary, part),
            Self::Spaced(vocabulary) => {
                // Nothing is joined with a new line, so what comes after it stands alone.
                let after_line = encoded(vocabulary, &["\n", part].concat());
                after_line.saturating_sub(encoded(vocabulary, "\n"))
            }
        }
    }
}

fn encoded(vocabulary: &AnyTokenizer, text: &str) -> usize {
    let count = vocabulary.encode_raw(text).len();
    forget(vocabulary);
    count
}

/// splintr remembers the pieces of texts that it has counted, some without a bound: now and
/// then they are thrown away, which takes a millisecond.
fn forget(vocabulary: &AnyTokenizer) {
    static COUNTED: AtomicU32 = AtomicU32::new(0);
    let counted = COUNTED.fetch_add(1, Ordering::Relaxed);
    if let (Backend::Bpe(pieces), true) = (vocabulary.backend(), counted.is_multiple_of(REMEMBERED))
    {
        pieces.clear_cache();
    }
}

/// Tokens in the order of their ranks, each as its length and its bytes, deflated.
fn unpacked(packed: &[u8], pattern: &str) -> Option<tiktoken_rs::CoreBPE> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(packed).read_to_end(&mut bytes).ok()?;
    let (mut ranks, mut rest) = (Vec::new(), bytes.as_slice());
    while let [length, tail @ ..] = rest {
        let (token, tail) = tail.split_at_checked(usize::from(*length))?;
        ranks.push((token.to_vec(), u32::try_from(ranks.len()).ok()?));
        rest = tail;
    }
    let ranks = ranks.into_iter().collect();
    tiktoken_rs::CoreBPE::new(ranks, Default::default(), pattern).ok()
}
