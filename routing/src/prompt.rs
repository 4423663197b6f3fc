//! What a decision may see of a request, borrowed from whoever parsed it.
//!
//! Owns: `PromptView` and the closed sets in it. It is not an HTTP body and not any
//! provider's type; the proxy and the offline commands each fill one in.

use crate::account::Account;
use crate::dialect::{Dialect, Reach};
use crate::id::ProviderId;
use crate::start::Start;
use crate::unit::Tokens;

/// Who said a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// One message of the conversation.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    pub role: Role,
    pub text: &'a str,
}

/// The form the caller wants the answer in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    #[default]
    Text,
    JsonObject,
    JsonSchema,
}

/// How urgent the request is, as the caller says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody waits for it.
    #[default]
    Interactive,
    /// Wanted soon, nobody watches.
    Batch,
    /// Any time; runs only where there is room.
    Background,
}

/// The borrowed little of a request that facts are made from.
#[derive(Clone, Copy, Debug, Default)]
pub struct PromptView<'a> {
    /// What the caller put into `model`.
    pub route: &'a str,
    pub dialect: Dialect,
    pub reach: Reach,
    pub turns: &'a [Turn<'a>],
    /// The declared tools as JSON text, empty if there are none.
    pub tools: &'a str,
    pub tool_count: u16,
    pub form: Form,
    pub images: u16,
    pub stream: bool,
    pub max_output: Option<Tokens>,
    pub class: Class,
    pub start: Start,
    pub slice: Option<&'a str>,
    /// The id of the caller's virtual key.
    pub key: &'a str,
    /// Name and value.
    pub tags: &'a [(&'a str, &'a str)],
    /// Providers that the caller brought keys for.
    pub own_keys: &'a [ProviderId],
    /// The account that keeps what the conversation builds on.
    pub kept_by: Option<Account>,
    /// Lowest acceptable predicted quality, in hundredths of a percent.
    pub min_quality: Option<u16>,
}

impl<'a> PromptView<'a> {
    /// Which turn is the last that the user has.
    #[must_use]
    pub fn last_user(&self) -> Option<usize> {
        self.turns.iter().rposition(|turn| turn.role == Role::User)
    }

    /// The last thing the user said; the text that features mostly read.
    #[must_use]
    pub fn last_user_text(&self) -> &'a str {
        self.last_user().map_or("", |turn| self.turns[turn].text)
    }
}
