//! The request as clients send it: Chat Completions, read once, unknown fields kept.
//!
//! Owns: the body's top level as raw JSON in its own order, so that whatever Spillway
//! does not touch reaches the provider byte for byte, and the little that routing may
//! see of it. Knows nothing of providers: rewriting for one is `dialect`'s work.

mod asked;
mod labels;
mod message;

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use spillway_routing::features::Facts;
use spillway_routing::prompt::{Form, PromptView, Turn};
use spillway_routing::tokens::TokenCounter;
use spillway_routing::unit::{Millis, Tokens};

pub(crate) use self::asked::Asked;
pub(crate) use self::labels::{CallerLabels, start_within};
use self::message::Message;
use crate::failure::{Failure, Kind};

/// Fields the router reads; twice the same one would let router and provider read
/// different values.
const READ: [&str; 10] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "service_tier",
    "tools",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "start_within",
];
/// A route's or model's name: it travels in the outcome.
const MODEL_BYTES_MAX: usize = 256;
/// Top-level fields at most; the API has some forty.
const FIELDS_MAX: usize = 1_000;

/// One top-level field as it came.
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: Box<RawValue>,
}

/// A parsed request.
pub(crate) struct Chat {
    pub(crate) fields: Vec<Field>,
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// The caller asked for the usage chunk.
    pub(crate) wants_usage: bool,
    messages: Vec<Message>,
    tools: String,
    tool_count: u16,
    form: Form,
    max_output: Option<Tokens>,
    start_within: Option<Millis>,
}

// The prompt must not reach a log by accident.
impl fmt::Debug for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Chat({} fields, {} messages)",
            self.fields.len(),
            self.messages.len()
        )
    }
}

struct Fields(Vec<Field>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    if fields.len() == FIELDS_MAX {
                        return Err(serde::de::Error::custom("too many fields"));
                    }
                    fields.push(Field { name, value });
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
}

impl Chat {
    /// Reads a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let Fields(fields) = serde_json::from_slice(body).map_err(|error| {
            // The error's own text could quote the body.
            let (line, column) = (error.line(), error.column());
            let message = format!("the body is no JSON object (line {line}, column {column})");
            Failure::client(Kind::BadRequest, message)
        })?;
        for name in READ {
            if fields.iter().filter(|field| field.name == name).count() > 1 {
                let message = format!("{name} appears twice; send it once");
                return Err(Failure::client(Kind::BadRequest, message).about(name));
            }
        }
        let raw = |name: &str| {
            let field = fields.iter().find(|field| field.name == name)?;
            Some(field.value.get()).filter(|value| *value != "null")
        };
        let model = required_model(raw("model"))?;
        let messages = required_messages(raw("messages"))?;
        let stream = flag(raw("stream"), "stream")?;
        let options =
            raw("stream_options").and_then(|o| serde_json::from_str::<StreamOptions>(o).ok());
        let format =
            raw("response_format").and_then(|f| serde_json::from_str::<ResponseFormat<'_>>(f).ok());
        let tools = raw("tools")
            .or_else(|| raw("functions"))
            .unwrap_or_default();
        let tool_count = serde_json::from_str::<Vec<&RawValue>>(tools).map_or(0, |t| t.len());
        let most = raw("max_completion_tokens").or_else(|| raw("max_tokens"));
        let start_within = raw("start_within")
            .map(read_start_within)
            .transpose()?
            .flatten();
        Ok(Self {
            model,
            stream,
            wants_usage: options.and_then(|o| o.include_usage).unwrap_or(false),
            messages,
            tools: tools.to_owned(),
            tool_count: u16::try_from(tool_count).unwrap_or(u16::MAX),
            form: format.map_or(Form::Text, |format| match &*format.kind {
                "json_schema" => Form::JsonSchema,
                "json_object" => Form::JsonObject,
                _ => Form::Text,
            }),
            // What is no plain count is the provider's to refuse.
            max_output: most
                .and_then(|m| m.parse::<u64>().ok())
                .map(|m| Tokens(u32::try_from(m).unwrap_or(u32::MAX))),
            start_within,
            fields,
        })
    }

    /// Makes the facts; the text is not needed for any decision afterwards.
    pub(crate) fn facts(&self, caller: &CallerLabels, key: &str, counter: &TokenCounter) -> Facts {
        let turns: Vec<Turn<'_>> = self
            .messages
            .iter()
            .map(|message| Turn {
                role: message.role,
                text: &message.text,
            })
            .collect();
        let tags: Vec<(&str, &str)> = caller
            .tags
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let images = self
            .messages
            .iter()
            .fold(0u16, |sum, m| sum.saturating_add(m.images));
        let view = PromptView {
            route: &self.model,
            turns: &turns,
            tools: if self.tool_count > 0 { &self.tools } else { "" },
            tool_count: self.tool_count,
            form: self.form,
            images,
            stream: self.stream,
            max_output: self.max_output,
            class: caller.class,
            start_within: self.start_within.or(caller.start_within),
            slice: caller.slice.as_deref(),
            key,
            tags: &tags,
            min_quality: caller.min_quality,
        };
        Facts::of(&view, counter)
    }
}

fn required_model(raw: Option<&str>) -> Result<String, Failure> {
    let model = raw.and_then(|raw| serde_json::from_str::<String>(raw).ok());
    let fits = |model: &String| !model.is_empty() && model.len() <= MODEL_BYTES_MAX;
    model.filter(fits).ok_or_else(|| {
        let message = "model is missing, too long or no text; name a route or a model";
        Failure::client(Kind::BadRequest, message).about("model")
    })
}

fn required_messages(raw: Option<&str>) -> Result<Vec<Message>, Failure> {
    let parsed = raw.and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw).ok());
    let list = parsed.filter(|list| !list.is_empty()).ok_or_else(|| {
        let message = "messages is missing, empty or no array; send at least one message";
        Failure::client(Kind::BadRequest, message).about("messages")
    })?;
    Ok(list
        .into_iter()
        .map(|raw| Message::read(raw.get()))
        .collect())
}

fn flag(raw: Option<&str>, name: &'static str) -> Result<bool, Failure> {
    match raw {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => {
            let message = format!("{name} must be true or false");
            Err(Failure::client(Kind::BadRequest, message).about(name))
        }
    }
}

fn read_start_within(raw: &str) -> Result<Option<Millis>, Failure> {
    let text = serde_json::from_str::<String>(raw).unwrap_or_default();
    start_within(&text)
}

#[cfg(test)]
mod tests;
