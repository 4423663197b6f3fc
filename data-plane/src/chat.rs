//! The request as clients send it, in whichever dialect, read once, unknown fields kept.
//!
//! Owns: the body as raw JSON, so that a lane of the caller's own dialect gets it byte
//! for byte, and what it means, for everybody else. Knows nothing of providers: writing
//! for one is `dialect`'s work.

mod asked;
mod body;
mod labels;

use std::borrow::Cow;
use std::fmt;
use std::hash::RandomState;

use bytes::Bytes;
use serde_json::value::RawValue;
use spillway_routing::catalogue::Upstream;
use spillway_routing::dialect::{Dialect, Reach};
use spillway_routing::features::Facts;
use spillway_routing::id::ProviderId;
use spillway_routing::prompt::{PromptView, Turn};
use spillway_routing::start::Start;
use spillway_routing::tokens::TokenCounter;
use spillway_routing::unit::Tokens;

pub(crate) use self::asked::Asked;
pub(crate) use self::body::{Body, Field, quoted};
pub(crate) use self::labels::CallerLabels;
use self::labels::{service_tier, start_within};
use crate::caches::{self, Beginning};
use crate::conversation::{Conversation, Loss, Losses};
use crate::dialect;
use crate::failure::{Failure, Kind};

/// What the path of a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) dialect: Dialect,
    /// Where the path names it.
    pub(crate) model: Option<String>,
    /// Where the path says it.
    pub(crate) stream: bool,
    /// A stream is wanted as server-sent events, not as one JSON array.
    pub(crate) framed: bool,
}

impl Asking {
    /// A path that says no more than its dialect.
    pub(crate) fn of(dialect: Dialect) -> Self {
        Self {
            dialect,
            model: None,
            stream: false,
            framed: true,
        }
    }
}

/// A parsed request.
pub(crate) struct Chat {
    pub(crate) asking: Asking,
    pub(crate) body: Body,
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// The caller asked for usage at the end of a stream.
    pub(crate) wants_usage: bool,
    pub(crate) conversation: Conversation,
    reach: Reach,
    /// The tools as they were declared, and how many.
    tools: String,
    tool_count: usize,
    start: Option<Start>,
}

// The prompt must not reach a log by accident.
impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fields, turns) = (self.body.0.len(), self.conversation.turns.len());
        write!(f, "Chat({fields} fields, {turns} turns)")
    }
}

impl Chat {
    /// Reads a body.
    pub(crate) fn parse(bytes: &Bytes, asking: &Asking) -> Result<Self, Failure> {
        let body = Body::parse(bytes)?;
        let read = dialect::read(&body, asking)?;
        let start = asked_start(&body)?;
        let mut reach = Reach::default();
        let own = asking.dialect;
        for to in Dialect::ALL.into_iter().filter(|to| *to != own) {
            let conversing = own.converses() && to.converses();
            let losses = conversing.then(|| dialect::losses(to, &read.conversation));
            reach = reach.with(to, losses.and_then(|losses| losses.fidelity()));
        }
        reach = reach.calling(read.conversation.calls());
        let tools = body.raw("tools").or_else(|| body.raw("functions"));
        let declared = tools.and_then(|tools| serde_json::from_str::<Vec<&RawValue>>(tools).ok());
        let declared = declared.map_or(0, |declared| declared.len());
        Ok(Self {
            tools: tools.unwrap_or_default().to_owned(),
            tool_count: declared.max(read.conversation.tools.len()),
            asking: asking.clone(),
            model: read.model,
            stream: read.stream,
            wants_usage: read.wants_usage,
            conversation: read.conversation,
            reach,
            start,
            body,
        })
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.asking.dialect
    }

    /// The dialect that an upstream is spoken to in.
    pub(crate) fn spoken_to(&self, upstream: &Upstream) -> Option<Dialect> {
        let spoken = upstream.spoken(self.dialect(), self.reach);
        spoken.map(|(dialect, _)| dialect)
    }

    /// What is lost where the request is said in this dialect.
    pub(crate) fn losses(&self, to: Dialect) -> Losses {
        if to == self.dialect() {
            return Losses::default();
        }
        dialect::losses(to, &self.conversation)
    }

    /// Whether a lane that is spoken to like this keeps the answer.
    pub(crate) fn is_kept(&self, dialect: Dialect) -> bool {
        let keeping = matches!(
            dialect,
            Dialect::OpenAiResponses | Dialect::GeminiInteractions
        );
        let kept = self.body.raw("store") != Some("false");
        kept && keeping && self.dialect() == dialect
    }

    /// Whether an upstream would keep this request in its prompt cache. Anthropic's does so
    /// only for callers who say where.
    pub(crate) fn is_cached(&self, upstream: &Upstream) -> bool {
        match self.spoken_to(upstream) {
            Some(Dialect::AnthropicMessages) => {
                let marked = self.conversation.own.names(&Loss::CacheHint);
                marked && self.dialect() == Dialect::AnthropicMessages
            }
            // It caches what is marked, and no mark is translated.
            Some(Dialect::BedrockConverse) => false,
            _ => true,
        }
    }

    /// What prompt caches may know of it; `total` are all its tokens.
    pub(crate) fn beginnings(
        &self,
        caller: &str,
        total: Tokens,
        key: &RandomState,
    ) -> Vec<Beginning> {
        caches::beginnings(&self.conversation, (caller, &self.tools), total, key)
    }

    /// Makes the facts; the text is not needed for any decision afterwards.
    pub(crate) fn facts(
        &self,
        caller: &CallerLabels,
        key: &str,
        own_keys: &[ProviderId],
        counter: &TokenCounter,
    ) -> Facts {
        let conversation = &self.conversation;
        let texts: Vec<Cow<'_, str>> = conversation.turns.iter().map(|turn| turn.text()).collect();
        let turns: Vec<Turn<'_>> = conversation
            .turns
            .iter()
            .zip(&texts)
            .map(|(turn, text)| Turn {
                role: turn.role,
                text,
            })
            .collect();
        let tags: Vec<(&str, &str)> = caller
            .tags
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let view = PromptView {
            route: &self.model,
            dialect: self.dialect(),
            reach: self.reach,
            turns: &turns,
            tools: if self.tool_count > 0 { &self.tools } else { "" },
            tool_count: u16::try_from(self.tool_count).unwrap_or(u16::MAX),
            form: conversation.form.kind(),
            images: conversation.images(),
            stream: self.stream,
            max_output: conversation
                .max_output
                .map(|most| Tokens(u32::try_from(most).unwrap_or(u32::MAX))),
            class: caller.class,
            start: self.start.or(caller.start).unwrap_or_default(),
            slice: caller.slice.as_deref(),
            key,
            tags: &tags,
            own_keys,
            kept_by: conversation.kept_by,
            min_quality: caller.min_quality,
        };
        Facts::of(&view, counter)
    }

    /// The same request for one whole answer that nobody keeps.
    pub(crate) fn plain(mut self) -> Self {
        self.stream = false;
        self.wants_usage = false;
        self.body
            .0
            .retain(|field| !LEFT_OUT.contains(&field.name.as_str()));
        let keeping = [Dialect::OpenAiResponses, Dialect::GeminiInteractions];
        if keeping.contains(&self.dialect()) {
            self.body.add("store", "false");
        }
        self
    }
}

/// When the body wants the answer to begin: by `start_within`, or by the dialect's own
/// field for the tier.
fn asked_start(body: &Body) -> Result<Option<Start>, Failure> {
    let tier = ["service_tier", "serviceTier"]
        .iter()
        .find_map(|name| body.text(name));
    let tier = tier.as_deref().map(service_tier).transpose()?;
    let tier = tier.filter(|start| *start != Start::Unsaid);
    if body.raw("start_within").is_none() {
        return Ok(tier);
    }
    if tier.is_some() {
        let message = "start_within chooses the tier; leave service_tier out, or send it alone";
        let refused = Failure::client(Kind::ServiceTierNotAllowed, message);
        return Err(refused.about("service_tier"));
    }
    start_within(&body.text("start_within").unwrap_or_default()).map(Some)
}

/// Fields that would make the answer another one, or several, or leave a trace.
const LEFT_OUT: [&str; 5] = ["stream", "stream_options", "n", "store", "background"];

/// A body that asks in OpenAI Chat, as the proxy's own questions do.
pub(crate) fn own_question(body: &Bytes) -> Result<Chat, Failure> {
    Chat::parse(body, &Asking::of(Dialect::OpenAiChat))
}

#[cfg(test)]
mod tests;
