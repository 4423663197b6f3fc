//! Wire formats, and how truly a request of one can be said in another.
//!
//! Owns: the closed set of dialects, and [`Reach`]: what a decision knows of a request's
//! translations. The translating itself is the proxy's.

/// A wire format that an upstream speaks. Adding one makes the compiler list every
/// place to visit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    #[default]
    OpenAiChat,
    OpenAiResponses,
    AnthropicMessages,
    GeminiGenerate,
    OpenAiEmbeddings,
    OpenAiImages,
    BedrockConverse,
    GeminiInteractions,
}

impl Dialect {
    pub const ALL: [Self; 8] = [
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::AnthropicMessages,
        Self::GeminiGenerate,
        Self::OpenAiEmbeddings,
        Self::OpenAiImages,
        Self::BedrockConverse,
        Self::GeminiInteractions,
    ];
    /// Those in which callers hold conversations.
    pub const SPOKEN: [Self; 5] = [
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::AnthropicMessages,
        Self::GeminiGenerate,
        Self::GeminiInteractions,
    ];
    /// Those in which providers hold them: what callers say can be said in each.
    pub const CONVERSING: [Self; 6] = [
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::AnthropicMessages,
        Self::GeminiGenerate,
        Self::GeminiInteractions,
        Self::BedrockConverse,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiResponses => "openai-responses",
            Self::AnthropicMessages => "anthropic-messages",
            Self::GeminiGenerate => "gemini-generate",
            Self::OpenAiEmbeddings => "openai-embeddings",
            Self::OpenAiImages => "openai-images",
            Self::BedrockConverse => "bedrock-converse",
            Self::GeminiInteractions => "gemini-interactions",
        }
    }

    #[must_use]
    pub fn converses(self) -> bool {
        Self::CONVERSING.contains(&self)
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }
}

/// How much of a request a translation may lose, from nothing to more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fidelity {
    /// Nothing is lost.
    Exact,
    /// What is lost changes nothing the answer says: hints, names, places.
    #[default]
    Hints,
    /// The answer may be another one.
    Any,
}

impl Fidelity {
    pub const ALL: [Self; 3] = [Self::Exact, Self::Hints, Self::Any];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Hints => "hints",
            Self::Any => "any",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

/// Bits of one dialect in a [`Reach`].
const BITS: u32 = 2;
const NEVER: u32 = 3;
/// Beyond the dialects' bits: [`Calls`].
const CALLS_AT: u32 = 30;

/// Whether functions may be called, and how hard the model is to think before it does: some
/// refuse that in one of their dialects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calls {
    /// There are no functions.
    #[default]
    Never,
    /// It is told not to think.
    AtOnce,
    /// It is told nothing.
    AsUsual,
    /// An effort is named.
    Reasoned,
}

/// How truly a request can be said in each dialect. Requests that nobody looked at reach
/// all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach(u32);

impl Reach {
    /// From [`Reach::bits`].
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// For recording: two bits a dialect, in their order; the highest two are [`Calls`].
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The same, where a dialect is reached so truly; `None`: not at all.
    #[must_use]
    pub fn with(self, dialect: Dialect, fidelity: Option<Fidelity>) -> Self {
        let code = match fidelity {
            Some(Fidelity::Exact) => 0,
            Some(Fidelity::Hints) => 1,
            Some(Fidelity::Any) => 2,
            None => NEVER,
        };
        let shift = dialect as u32 * BITS;
        Self(self.0 & !(NEVER << shift) | code << shift)
    }

    /// The same, where functions may be called so.
    #[must_use]
    pub fn calling(self, calls: Calls) -> Self {
        Self(self.0 & !(0b11 << CALLS_AT) | (calls as u32) << CALLS_AT)
    }

    #[must_use]
    pub fn calls(self) -> Calls {
        match self.0 >> CALLS_AT {
            0 => Calls::Never,
            1 => Calls::AtOnce,
            2 => Calls::AsUsual,
            _ => Calls::Reasoned,
        }
    }

    /// Of the dialects that somebody speaks the one to speak: the caller's own where it is
    /// among them, else the first of the truest.
    #[must_use]
    pub fn best(
        self,
        own: Dialect,
        spoken: impl Iterator<Item = Dialect> + Clone,
    ) -> Option<(Dialect, Fidelity)> {
        if spoken.clone().any(|dialect| dialect == own) {
            return Some((own, Fidelity::Exact));
        }
        let said = spoken.filter_map(|dialect| Some((dialect, self.fidelity(dialect)?)));
        said.min_by_key(|(_, fidelity)| *fidelity)
    }

    #[must_use]
    pub fn fidelity(self, dialect: Dialect) -> Option<Fidelity> {
        match self.0 >> (dialect as u32 * BITS) & NEVER {
            0 => Some(Fidelity::Exact),
            1 => Some(Fidelity::Hints),
            2 => Some(Fidelity::Any),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reach_keeps_each_dialects_fidelity_apart() {
        let reach = Reach::default()
            .with(Dialect::OpenAiResponses, Some(Fidelity::Any))
            .with(Dialect::GeminiGenerate, None)
            .with(Dialect::AnthropicMessages, Some(Fidelity::Hints));
        let again = Reach::from_bits(reach.bits());
        let of = |dialect| again.fidelity(dialect);
        assert_eq!(of(Dialect::OpenAiChat), Some(Fidelity::Exact));
        assert_eq!(of(Dialect::OpenAiResponses), Some(Fidelity::Any));
        assert_eq!(of(Dialect::AnthropicMessages), Some(Fidelity::Hints));
        assert_eq!(of(Dialect::GeminiGenerate), None);
        let best = |own, spoken: &[Dialect]| {
            let best = again.best(own, spoken.iter().copied());
            best.map(|(best, _)| best)
        };
        let calling = again.calling(Calls::Reasoned).calling(Calls::AsUsual);
        assert_eq!(
            (again.calls(), calling.calls()),
            (Calls::Never, Calls::AsUsual)
        );
        assert_eq!(calling.fidelity(Dialect::OpenAiChat), Some(Fidelity::Exact));
        let (chat, responses) = (Dialect::OpenAiChat, Dialect::OpenAiResponses);
        let messages = Dialect::AnthropicMessages;
        assert_eq!(best(chat, &[responses, messages]), Some(messages));
        assert_eq!(best(responses, &[chat, responses]), Some(responses));
        assert_eq!(best(chat, &[Dialect::GeminiGenerate]), None);
    }

    #[test]
    fn names_are_read_back() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::parse(dialect.name()), Some(dialect));
        }
        for fidelity in Fidelity::ALL {
            assert_eq!(Fidelity::parse(fidelity.name()), Some(fidelity));
        }
    }
}
