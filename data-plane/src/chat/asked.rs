//! What a request demands of an answer's form, and what a judge is shown of it.
//!
//! Owns: the schema and the tools that were declared, and the conversation as plain text
//! within a bound. Knows no answers.

use std::collections::BTreeMap;

use serde_json::Value;
use spillway_routing::prompt::{self, Role};

use super::Chat;
use crate::conversation::Form;

/// Of a conversation, the end is shown: that is where the question stands.
const SHOWN_BYTES_MAX: usize = 24 * 1024;

/// The form that an answer must have.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) form: prompt::Form,
    /// Of a JSON-schema form.
    pub(crate) schema: Option<Value>,
    /// Parameters by the tool's name; `None` where a tool declares none.
    pub(crate) tools: BTreeMap<String, Option<Value>>,
}

impl Asked {
    /// Whether an answer's form can be checked at all.
    pub(crate) fn has_form(&self) -> bool {
        self.form != prompt::Form::Text || !self.tools.is_empty()
    }
}

impl Chat {
    pub(crate) fn asked(&self) -> Asked {
        let tools = self.conversation.tools.iter();
        Asked {
            form: self.conversation.form.kind(),
            schema: match &self.conversation.form {
                Form::JsonSchema { schema, .. } => Some(schema.clone()),
                Form::Text | Form::JsonObject => None,
            },
            tools: tools
                .map(|tool| (tool.name.clone(), tool.parameters.clone()))
                .collect(),
        }
    }

    /// The conversation, for a judge. Images are left out.
    pub(crate) fn transcript(&self) -> String {
        let mut shown = String::new();
        for turn in &self.conversation.turns {
            let speaker = match turn.role {
                Role::System => "SYSTEM",
                Role::User => "USER",
                Role::Assistant => "ASSISTANT",
                Role::Tool => "TOOL",
            };
            shown.push_str(speaker);
            shown.push_str(":\n");
            shown.push_str(&turn.text());
            shown.push('\n');
        }
        let mut from = shown.len().saturating_sub(SHOWN_BYTES_MAX);
        while !shown.is_char_boundary(from) {
            from += 1;
        }
        shown.split_off(from)
    }
}
