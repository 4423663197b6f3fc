//! Facts as columns, shared by outcomes and audits.
//!
//! Owns: names and types of the columns that a request's facts fill, both ways. Knows
//! no file and no other part of an outcome.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float32Array, Int8Array, ListArray, StringArray, UInt16Array,
    UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::{UInt16Type, UInt32Type, UInt64Type};
use spillway_routing::account::Account;
use spillway_routing::dialect::{Dialect, Reach};
use spillway_routing::encoder::{DIMENSIONS, EncoderId, Encoding};
use spillway_routing::features::{Facts, Features, Requirements};
use spillway_routing::id::{KeyId, ProviderId, RouteId, SliceId};
use spillway_routing::prompt::{Class, Form};
use spillway_routing::start::Start;
use spillway_routing::tokens::{Ratios, TextClass};
use spillway_routing::unit::{Bps, Millis, Tokens};

use crate::columns::{Columns, Rows, number_at, span, text_at};
use crate::error::HistoryError;

/// Adds the columns of `facts`.
pub(crate) fn push(columns: &mut Columns, facts: &[&Facts]) -> Result<(), HistoryError> {
    let rows = || facts.iter();
    columns.text_opt(
        "route",
        rows().map(|f| f.route.as_ref().map(RouteId::as_str)),
    );
    columns.text_opt("key", rows().map(|f| f.key.as_ref().map(KeyId::as_str)));
    columns.text_opt(
        "slice",
        rows().map(|f| f.slice.as_ref().map(SliceId::as_str)),
    );
    push_tags(columns, facts)?;
    columns.text_opt("dialect", rows().map(|f| Some(f.dialect.name())));
    let own_keys: Vec<String> = rows()
        .map(|f| {
            f.own_keys
                .iter()
                .map(ProviderId::as_str)
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    columns.text_opt("own_keys", own_keys.iter().map(|ids| Some(ids.as_str())));
    let kept_by = |f: &&Facts| f.kept_by.map(|account| account.0);
    columns.number_opt::<UInt32Type>("kept_by", rows().map(kept_by));
    columns.text_opt("start", rows().map(|f| Some(f.start.name())));
    let reach = |f: &&Facts| Some(f.requirements.reach.bits());
    columns.number_opt::<UInt32Type>("reach", rows().map(reach));
    columns.text("class", rows().map(|f| class_name(f.class)));
    columns.flag("stream", rows().map(|f| f.stream));
    columns.number_opt::<UInt64Type>(
        "start_within_ms",
        rows().map(|f| match f.start {
            Start::Within(wait) => Some(wait.0),
            _ => None,
        }),
    );
    columns.number_opt::<UInt16Type>(
        "min_quality_bps",
        rows().map(|f| f.min_quality.map(Bps::get)),
    );
    columns.flag("needs_tools", rows().map(|f| f.requirements.tools));
    columns.text("form", rows().map(|f| form_name(f.requirements.form)));
    columns.flag("needs_vision", rows().map(|f| f.requirements.vision));
    let max_output = |f: &&Facts| f.requirements.max_output.map(|t| t.0);
    columns.number_opt::<UInt32Type>("max_output_tokens", rows().map(max_output));
    columns.number::<UInt16Type>("turns", rows().map(|f| f.turns));
    columns.number::<UInt16Type>("images", rows().map(|f| f.images));
    columns.number::<UInt16Type>("tools", rows().map(|f| f.tool_count));
    columns.number::<UInt32Type>("facts_o200k_tokens", rows().map(|f| f.o200k.0));
    columns.text("text_class", rows().map(|f| f.text_class.name()));
    let permille: Vec<String> = rows().map(|f| permille_text(&f.ratios)).collect();
    columns.text_opt(
        "token_permille",
        permille.iter().map(|text| Some(text.as_str())),
    );
    let features: Float32Array = rows().flat_map(|f| f.features.iter().copied()).collect();
    columns.list(
        "features",
        rows().map(|f| f.features.len()),
        plain(features),
    )?;
    columns.text("encoder", rows().map(|f| f.encoder.name()));
    let encoding: Int8Array = rows().flat_map(|f| f.encoding.0).collect();
    columns.list("encoding", rows().map(|_| DIMENSIONS), Arc::new(encoding))
}

fn plain(features: Float32Array) -> ArrayRef {
    Arc::new(features)
}

fn push_tags(columns: &mut Columns, facts: &[&Facts]) -> Result<(), HistoryError> {
    let tags = || facts.iter().flat_map(|f| &f.tags);
    let mut items = Columns::default();
    items.text("name", tags().map(|(name, _)| name.as_str()));
    items.text("value", tags().map(|(_, value)| value.as_str()));
    let lengths = facts.iter().map(|f| f.tags.len());
    columns.list("tags", lengths, Arc::new(items.into_struct()?))
}

/// The columns of facts, to read rows from.
#[derive(Debug)]
pub(crate) struct FactsRows<'a> {
    route: &'a StringArray,
    key: &'a StringArray,
    slice: &'a StringArray,
    /// Not in files of before there were several dialects.
    dialect: Option<&'a StringArray>,
    reach: Option<&'a UInt32Array>,
    start: Option<&'a StringArray>,
    own_keys: Option<&'a StringArray>,
    kept_by: Option<&'a UInt32Array>,
    token_permille: Option<&'a StringArray>,
    tags: &'a ListArray,
    tag_names: &'a StringArray,
    tag_values: &'a StringArray,
    class: &'a StringArray,
    stream: &'a BooleanArray,
    start_within: &'a UInt64Array,
    min_quality: &'a UInt16Array,
    needs_tools: &'a BooleanArray,
    form: &'a StringArray,
    needs_vision: &'a BooleanArray,
    max_output: &'a UInt32Array,
    turns: &'a UInt16Array,
    images: &'a UInt16Array,
    tools: &'a UInt16Array,
    o200k: &'a UInt32Array,
    text_class: &'a StringArray,
    features: &'a ListArray,
    feature_items: &'a Float32Array,
    encoder: &'a StringArray,
    encoding: &'a ListArray,
    encoding_items: &'a Int8Array,
}

impl<'a> FactsRows<'a> {
    pub(crate) fn of(rows: Rows<'a>) -> Result<Self, HistoryError> {
        let tags = rows.list("tags")?;
        let tag = Rows::of_items(tags, "tags")?;
        let features = rows.list("features")?;
        let encoding = rows.list("encoding")?;
        let malformed = HistoryError::malformed;
        Ok(Self {
            route: rows.text("route")?,
            key: rows.text("key")?,
            slice: rows.text("slice")?,
            dialect: rows.text("dialect").ok(),
            reach: rows.number("reach").ok(),
            start: rows.text("start").ok(),
            own_keys: rows.text("own_keys").ok(),
            kept_by: rows.number("kept_by").ok(),
            token_permille: rows.text("token_permille").ok(),
            tags,
            tag_names: tag.text("name")?,
            tag_values: tag.text("value")?,
            class: rows.text("class")?,
            stream: rows.flag("stream")?,
            start_within: rows.number("start_within_ms")?,
            min_quality: rows.number("min_quality_bps")?,
            needs_tools: rows.flag("needs_tools")?,
            form: rows.text("form")?,
            needs_vision: rows.flag("needs_vision")?,
            max_output: rows.number("max_output_tokens")?,
            turns: rows.number("turns")?,
            images: rows.number("images")?,
            tools: rows.number("tools")?,
            o200k: rows.number("facts_o200k_tokens")?,
            text_class: rows.text("text_class")?,
            features,
            feature_items: (features.values().as_primitive_opt()).ok_or(malformed("features"))?,
            encoder: rows.text("encoder")?,
            encoding,
            encoding_items: (encoding.values().as_primitive_opt()).ok_or(malformed("encoding"))?,
        })
    }

    /// As usual for the class in files that are older than the column.
    fn ratios(&self, i: usize, class: TextClass) -> Option<Ratios> {
        let text = self.token_permille.and_then(|texts| text_at(texts, i));
        let permille = text.unwrap_or_default().split_whitespace();
        let permille: Option<Vec<u16>> = permille.map(|ratio| ratio.parse().ok()).collect();
        Some(Ratios::recorded(&permille?, class))
    }

    pub(crate) fn row(&self, i: usize) -> Result<Facts, HistoryError> {
        let malformed = HistoryError::malformed;
        let encoding = &self.encoding_items.values()[span(self.encoding, i)];
        let encoding: [i8; DIMENSIONS] = encoding.try_into().map_err(|_| malformed("encoding"))?;
        let tag = |t: usize| {
            let name = self.tag_names.value(t).to_owned();
            (name, self.tag_values.value(t).to_owned())
        };
        let dialect = self.dialect.and_then(|names| text_at(names, i));
        let reach = self.reach.and_then(|bits| number_at(bits, i));
        let text_class = TextClass::parse(self.text_class.value(i));
        let text_class = text_class.ok_or(malformed("text_class"))?;
        Ok(Facts {
            dialect: match dialect {
                Some(name) => Dialect::parse(name).ok_or(malformed("dialect"))?,
                None => Dialect::default(),
            },
            route: text_at(self.route, i).map(RouteId::new),
            own_keys: self
                .own_keys
                .and_then(|ids| text_at(ids, i))
                .unwrap_or_default()
                .split_whitespace()
                .map(ProviderId::new)
                .collect(),
            kept_by: self
                .kept_by
                .and_then(|accounts| number_at(accounts, i))
                .map(Account),
            key: text_at(self.key, i).map(KeyId::new),
            slice: text_at(self.slice, i).map(SliceId::new),
            tags: span(self.tags, i).map(tag).collect(),
            class: class_named(self.class.value(i)).ok_or(malformed("class"))?,
            stream: self.stream.value(i),
            start: Start::parse(
                self.start
                    .and_then(|names| text_at(names, i))
                    .unwrap_or_default(),
                number_at(self.start_within, i).map(Millis),
            )
            .ok_or(malformed("start"))?,
            min_quality: number_at(self.min_quality, i).map(Bps::new),
            requirements: Requirements {
                tools: self.needs_tools.value(i),
                form: form_named(self.form.value(i)).ok_or(malformed("form"))?,
                vision: self.needs_vision.value(i),
                max_output: number_at(self.max_output, i).map(Tokens),
                reach: reach.map(Reach::from_bits).unwrap_or_default(),
            },
            turns: self.turns.value(i),
            images: self.images.value(i),
            tool_count: self.tools.value(i),
            o200k: Tokens(self.o200k.value(i)),
            text_class,
            ratios: self
                .ratios(i, text_class)
                .ok_or(malformed("token_permille"))?,
            features: Features::of(&self.feature_items.values()[span(self.features, i)]),
            encoder: EncoderId::parse(self.encoder.value(i)).ok_or(malformed("encoder"))?,
            encoding: Encoding(encoding),
        })
    }
}

fn permille_text(ratios: &Ratios) -> String {
    ratios.permille().map(|ratio| ratio.to_string()).join(" ")
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Interactive => "interactive",
        Class::Batch => "batch",
        Class::Background => "background",
    }
}

fn class_named(name: &str) -> Option<Class> {
    [Class::Interactive, Class::Batch, Class::Background]
        .into_iter()
        .find(|class| class_name(*class) == name)
}

fn form_name(form: Form) -> &'static str {
    match form {
        Form::Text => "text",
        Form::JsonObject => "json_object",
        Form::JsonSchema => "json_schema",
    }
}

fn form_named(name: &str) -> Option<Form> {
    [Form::Text, Form::JsonObject, Form::JsonSchema]
        .into_iter()
        .find(|form| form_name(*form) == name)
}
