//! One message, read leniently.
//!
//! Owns: who spoke, what text there is to route by, and how many images. A form it does
//! not know is no error: the provider judges the message, the router only reads along.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use spillway_routing::prompt::Role;

pub(super) struct Message {
    pub(super) role: Role,
    pub(super) text: String,
    pub(super) images: u16,
}

#[derive(Default, Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow, default)]
    role: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Part<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

impl Message {
    pub(super) fn read(raw: &str) -> Self {
        let message: RawMessage<'_> = serde_json::from_str(raw).unwrap_or_default();
        let mut read = Self {
            role: role(message.role),
            text: String::new(),
            images: 0,
        };
        if let Some(content) = message.content {
            read.content(content.get());
        }
        if let Some(calls) = message
            .tool_calls
            .map(RawValue::get)
            .filter(|c| *c != "null")
        {
            read.add(calls);
        }
        read
    }

    fn content(&mut self, raw: &str) {
        if raw.starts_with('"') {
            self.add(&unquoted(raw));
            return;
        }
        for part in serde_json::from_str::<Vec<&RawValue>>(raw).unwrap_or_default() {
            if part.get().starts_with('"') {
                self.add(&unquoted(part.get()));
                continue;
            }
            let part: Part<'_> = serde_json::from_str(part.get()).unwrap_or_default();
            if matches!(
                part.kind.as_deref(),
                Some("image_url" | "input_image" | "image")
            ) {
                self.images = self.images.saturating_add(1);
            }
            if let Some(text) = part.text {
                self.add(&unquoted(text.get()));
            }
        }
    }

    fn add(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(text);
    }
}

/// A string's text; a string serde refuses (a lone surrogate) is read as it is written,
/// which is near enough for routing.
fn unquoted(raw: &str) -> Cow<'_, str> {
    serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw.trim_matches('"')), Cow::Owned)
}

fn role(raw: Option<&RawValue>) -> Role {
    match raw.map(RawValue::get) {
        Some(r#""system""# | r#""developer""#) => Role::System,
        Some(r#""assistant""#) => Role::Assistant,
        Some(r#""tool""# | r#""function""#) => Role::Tool,
        _ => Role::User,
    }
}
