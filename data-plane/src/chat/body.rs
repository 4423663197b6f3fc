//! The top level of a JSON body, kept as it came.
//!
//! Owns: fields in their own order as raw JSON, so that whatever Spillway does not touch
//! reaches a provider byte for byte, and is copied once, on its way out. Knows no dialect.

use std::fmt;
use std::marker::PhantomData;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::{Failure, Kind};

/// Top-level fields at most; the largest API has some fifty.
const FIELDS_MAX: usize = 1_000;

/// One top-level field as it came.
pub(crate) struct Field {
    pub(crate) name: String,
    /// A part of the body, or what was added to it.
    pub(crate) value: ByteString,
}

impl Field {
    /// Its value; `None` where serde refuses it: lone surrogates, a depth beyond reason.
    pub(crate) fn parsed(&self) -> Option<Value> {
        serde_json::from_str(&self.value).ok()
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Body(pub(crate) Vec<Field>);

/// The names and values of a body, where they stand in it.
struct Read<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Read<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Reader<'a> {
            type Value = Read<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read<'a>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    if fields.len() == FIELDS_MAX {
                        return Err(serde::de::Error::custom("too many fields"));
                    }
                    fields.push(field);
                }
                Ok(Read(fields))
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

impl Body {
    pub(crate) fn parse(bytes: &Bytes) -> Result<Self, Failure> {
        let no_text = |_| {
            Failure::client(
                Kind::BadRequest,
                "the body is no UTF-8 text; send JSON in UTF-8",
            )
        };
        let text = ByteString::try_from(bytes.clone()).map_err(no_text)?;
        let read: Read<'_> = serde_json::from_str(&text).map_err(|error| {
            // The error's own text could quote the body.
            let (line, column) = (error.line(), error.column());
            let message = format!("the body is no JSON object (line {line}, column {column})");
            Failure::client(Kind::BadRequest, message)
        })?;
        let fields = read.0.into_iter().map(|(name, value)| Field {
            name,
            value: text.slice_ref(value.get()),
        });
        Ok(Self(fields.collect()))
    }

    /// Adds a field with its value as JSON.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0.push(Field {
            name: name.to_owned(),
            value: value.into(),
        });
    }

    /// Refuses fields that appear twice: router and provider might read different ones.
    pub(crate) fn once(&self, names: &[&'static str]) -> Result<(), Failure> {
        for name in names {
            if self.0.iter().filter(|field| field.name == *name).count() > 1 {
                let message = format!("{name} appears twice; send it once");
                return Err(Failure::client(Kind::BadRequest, message).about(name));
            }
        }
        Ok(())
    }

    /// All fields, those after the others that say something of them: callers send them in
    /// any order.
    pub(crate) fn ending_with(&self, last: &[&str]) -> impl Iterator<Item = &Field> {
        let is_last = |field: &&Field| last.contains(&field.name.as_str());
        let (last, first): (Vec<&Field>, Vec<&Field>) = self.0.iter().partition(is_last);
        first.into_iter().chain(last)
    }

    /// A field that is there and not null.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|field| field.name == name)?;
        Some(&*field.value).filter(|value| *value != "null")
    }

    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    /// What is no plain count is the provider's to refuse.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.raw(name)?.parse().ok()
    }

    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, Failure> {
        match self.raw(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => {
                let message = format!("{name} must be true or false");
                Err(Failure::client(Kind::BadRequest, message).about(name))
            }
        }
    }

    /// The elements of an array that is there and not empty.
    pub(crate) fn list(&self, name: &'static str) -> Result<Vec<&RawValue>, Failure> {
        let parsed = self
            .raw(name)
            .and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw).ok());
        parsed.filter(|list| !list.is_empty()).ok_or_else(|| {
            let message = format!("{name} is missing, empty or no array; send at least one");
            Failure::client(Kind::BadRequest, message).about(name)
        })
    }

    /// The same body with some fields first and others left out; the values of the rest
    /// byte for byte.
    pub(crate) fn rewritten(&self, first: &[(&str, &str)], without: &[&str]) -> Bytes {
        let kept = || {
            let fields = self.0.iter();
            fields.filter(|field| !without.contains(&field.name.as_str()))
        };
        let size: usize = kept()
            .map(|field| field.name.len() + field.value.len() + 4)
            .chain(
                first
                    .iter()
                    .map(|(name, value)| name.len() + value.len() + 4),
            )
            .sum();
        let mut body = BytesMut::with_capacity(size + 2);
        body.put_u8(b'{');
        for (name, value) in first {
            put(&mut body, name, value);
        }
        for field in kept() {
            put(&mut body, &field.name, &field.value);
        }
        body.put_u8(b'}');
        body.freeze()
    }
}

fn put(body: &mut BytesMut, name: &str, value: &str) {
    if body.len() > 1 {
        body.put_u8(b',');
    }
    if name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        // As all names are that an API has.
        body.put_u8(b'"');
        body.put_slice(name.as_bytes());
        body.put_u8(b'"');
    } else {
        body.put_slice(quoted(name).as_bytes());
    }
    body.put_u8(b':');
    body.put_slice(value.as_bytes());
}

/// A text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
