//! What one dialect can say and another cannot.
//!
//! Owns: the closed list of losses, how grave each is, and the settings that some
//! dialects share. docs/dialects.md is this list for callers.

use std::fmt;

use spillway_routing::dialect::Fidelity;

/// How grave a loss is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// The answer means the same without it.
    Hint,
    /// The answer may be another one.
    Meaning,
    /// Nobody else has what the request refers to.
    Bound,
}

/// A setting that more than one dialect knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    Temperature,
    TopP,
    TopK,
    Seed,
    PresencePenalty,
    FrequencyPenalty,
    LogitBias,
    Logprobs,
    TopLogprobs,
    Verbosity,
    User,
    Metadata,
    CacheKey,
    Store,
}

/// One thing that is lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    Setting(Setting),
    /// Instructions in the middle of a conversation, moved to its beginning.
    LaterInstructions,
    /// How closely an image is to be looked at.
    ImageDetail,
    FileName,
    /// Names of speakers beside their roles.
    SpeakerName,
    /// From which harm on an answer is withheld.
    SafetySettings,
    /// Where a prefix ends that is worth caching.
    CacheHint,
    /// Reasoning of earlier turns; it is bound to who thought it.
    EarlierReasoning,
    /// Whether a tool failed; its text remains.
    ToolFailure,
    /// A schema that is kept to the letter.
    Strict,
    OneCall,
    /// That no tool may be called, where tools were called before.
    ToolChoice,
    Stop,
    Temperature,
    Audio,
    File,
    /// An image or file that is not in the request but somewhere else.
    RemoteFile,
    /// Images or files in a tool's result.
    ToolMedia,
    /// JSON without a schema; asked for in words instead.
    JsonObject,
    /// Several answers to choose from.
    Answers,
    /// Tools that the provider runs itself.
    BuiltInTool,
    /// The beginning of the answer, to be continued.
    Prefill,
    /// Images or files in an earlier answer.
    AnswerMedia,
    /// A conversation that the provider is to remember from now on.
    Thread,
    /// How hard to think, where a call is demanded or no room is left for it.
    Effort,
    /// What a provider does with a conversation that grows too long.
    ContextManagement,
    /// What the answer is expected to be; it only saves time.
    Prediction,
    /// A response, file or cache that one provider keeps.
    State,
    /// A field or part that only this dialect has.
    Own(String),
}

impl Loss {
    pub(crate) fn grade(&self) -> Grade {
        match self {
            Self::Setting(Setting::LogitBias | Setting::Logprobs | Setting::TopLogprobs)
            | Self::Audio
            | Self::File
            | Self::RemoteFile
            | Self::ToolMedia
            | Self::AnswerMedia
            | Self::Thread
            | Self::Stop
            | Self::ToolChoice
            | Self::Answers
            | Self::BuiltInTool
            | Self::Prefill
            | Self::Own(_) => Grade::Meaning,
            Self::State => Grade::Bound,
            Self::Setting(_)
            | Self::LaterInstructions
            | Self::ImageDetail
            | Self::FileName
            | Self::SpeakerName
            | Self::SafetySettings
            | Self::JsonObject
            | Self::CacheHint
            | Self::EarlierReasoning
            | Self::ToolFailure
            | Self::Strict
            | Self::OneCall
            | Self::Effort
            | Self::ContextManagement
            | Self::Prediction
            | Self::Temperature => Grade::Hint,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Setting(setting) => setting.name(),
            Self::LaterInstructions => "later_instructions",
            Self::ImageDetail => "image_detail",
            Self::FileName => "file_name",
            Self::SpeakerName => "speaker_name",
            Self::SafetySettings => "safety_settings",
            Self::CacheHint => "cache_hint",
            Self::EarlierReasoning => "earlier_reasoning",
            Self::ToolFailure => "tool_failure",
            Self::Strict => "strict",
            Self::OneCall => "one_call",
            Self::ToolChoice => "tool_choice",
            Self::Stop => "stop",
            Self::Temperature => "temperature_range",
            Self::Audio => "audio",
            Self::File => "file",
            Self::RemoteFile => "remote_file",
            Self::ToolMedia => "tool_media",
            Self::JsonObject => "json_object",
            Self::Answers => "answers",
            Self::BuiltInTool => "built_in_tool",
            Self::Prefill => "prefill",
            Self::AnswerMedia => "answer_media",
            Self::Thread => "thread",
            Self::Effort => "effort",
            Self::ContextManagement => "context_management",
            Self::Prediction => "prediction",
            Self::State => "state",
            Self::Own(name) => return write!(f, "own:{name}"),
        };
        f.write_str(name)
    }
}

impl Setting {
    fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::TopP => "top_p",
            Self::TopK => "top_k",
            Self::Seed => "seed",
            Self::PresencePenalty => "presence_penalty",
            Self::FrequencyPenalty => "frequency_penalty",
            Self::LogitBias => "logit_bias",
            Self::Logprobs => "logprobs",
            Self::TopLogprobs => "top_logprobs",
            Self::Verbosity => "verbosity",
            Self::User => "user",
            Self::Metadata => "metadata",
            Self::CacheKey => "cache_key",
            Self::Store => "store",
        }
    }
}

/// Losses that are named at most: callers make up names.
const NAMED_MAX: usize = 16;
/// Of a caller's own name so many characters are repeated, and only plain ones.
const NAME_CHARS_MAX: usize = 32;

/// A few losses, each once, and the worst grade of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    named: Vec<Loss>,
    worst: Option<Grade>,
}

impl Losses {
    pub(crate) fn add(&mut self, loss: Loss) {
        self.worst = self.worst.max(Some(loss.grade()));
        if self.named.len() < NAMED_MAX && !self.named.contains(&loss) {
            self.named.push(loss);
        }
    }

    /// Something that only the caller's dialect has, by the name it has there.
    pub(crate) fn own(&mut self, name: &str) {
        let plain = name.chars().take(NAME_CHARS_MAX);
        let plain = plain.map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        });
        self.add(Loss::Own(plain.collect()));
    }

    /// Of what is no conversation.
    pub(crate) fn everything() -> Self {
        let mut losses = Self::default();
        losses.add(Loss::State);
        losses
    }

    pub(crate) fn names(&self, loss: &Loss) -> bool {
        self.named.contains(loss)
    }

    /// Whether asking again would do something again, or elsewhere, or several times.
    pub(crate) fn has_effects(&self) -> bool {
        let effect = |loss: &Loss| matches!(loss, Loss::BuiltInTool | Loss::State | Loss::Answers);
        self.named.iter().any(effect)
    }

    pub(crate) fn add_if(&mut self, condition: bool, loss: Loss) {
        if condition {
            self.add(loss);
        }
    }

    /// How true the request stays with these losses; `None`: not the same request at all.
    pub(crate) fn fidelity(&self) -> Option<Fidelity> {
        match self.worst {
            None => Some(Fidelity::Exact),
            Some(Grade::Hint) => Some(Fidelity::Hints),
            Some(Grade::Meaning) => Some(Fidelity::Any),
            Some(Grade::Bound) => None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.worst.is_none()
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, loss) in self.named.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{loss}")?;
        }
        Ok(())
    }
}
