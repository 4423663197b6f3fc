//! What a request demands of an answer's form, and what a judge is shown of it.
//!
//! Owns: reading the schema and the tools that were declared, and the conversation as
//! plain text within a bound. Knows no answers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use spillway_routing::prompt::{Form, Role};

use super::{Chat, Field};

/// Of a conversation, the end is shown: that is where the question stands.
const SHOWN_BYTES_MAX: usize = 24 * 1024;
/// Fields that would make the answer another one, or several, or leave a trace.
const LEFT_OUT: [&str; 4] = ["stream", "stream_options", "n", "store"];

/// The form that an answer must have.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) form: Form,
    /// Of a JSON-schema form.
    pub(crate) schema: Option<Value>,
    /// Parameters by the tool's name; `None` where a tool declares none.
    pub(crate) tools: BTreeMap<String, Option<Value>>,
}

#[derive(Deserialize)]
struct SchemaFormat {
    json_schema: NamedSchema,
}

#[derive(Deserialize)]
struct NamedSchema {
    schema: Value,
}

#[derive(Deserialize)]
struct Tool {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    parameters: Option<Value>,
}

impl Asked {
    /// Whether an answer's form can be checked at all.
    pub(crate) fn has_form(&self) -> bool {
        self.form != Form::Text || !self.tools.is_empty()
    }
}

impl Chat {
    /// The same request for one whole answer that nobody keeps.
    pub(crate) fn plain(mut self) -> Self {
        self.stream = false;
        self.wants_usage = false;
        let kept = |field: &Field| !LEFT_OUT.contains(&field.name.as_str());
        self.fields.retain(kept);
        self
    }

    pub(crate) fn asked(&self) -> Asked {
        let raw = |name: &str| {
            let field = self.fields.iter().find(|field| field.name == name)?;
            Some(field.value.get())
        };
        let format = raw("response_format");
        let schema = format.and_then(|text| serde_json::from_str::<SchemaFormat>(text).ok());
        let tools: Vec<Tool> = raw("tools")
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let named = |tool: Tool| (tool.function.name, tool.function.parameters);
        Asked {
            form: self.form,
            schema: schema.map(|format| format.json_schema.schema),
            tools: tools.into_iter().map(named).collect(),
        }
    }

    /// The conversation, for a judge. Images are left out.
    pub(crate) fn transcript(&self) -> String {
        let mut shown = String::new();
        for message in &self.messages {
            let speaker = match message.role {
                Role::System => "SYSTEM",
                Role::User => "USER",
                Role::Assistant => "ASSISTANT",
                Role::Tool => "TOOL",
            };
            shown.push_str(speaker);
            shown.push_str(":\n");
            shown.push_str(&message.text);
            shown.push('\n');
        }
        let mut from = shown.len().saturating_sub(SHOWN_BYTES_MAX);
        while !shown.is_char_boundary(from) {
            from += 1;
        }
        shown.split_off(from)
    }
}
