//! Where a field stands in a TOML document.
//!
//! Owns: from a flaw to the path that was typed, and from a path such as `routes.auto.bar`
//! to a line number, so that every fault
//! can be shown beside what was typed.

use spillway_routing::check::Flaw;
use toml::de::{DeTable, DeValue};

/// The line (from 1) that holds byte `at`.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(at)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// The key on the line that holds byte `at`, if there is one.
pub(super) fn field_at(text: &str, at: usize) -> String {
    let line = text.lines().nth(line_of(text, at) - 1).unwrap_or("");
    line.split_once('=')
        .map(|(key, _)| key.trim().to_owned())
        .unwrap_or_default()
}

/// The line (from 1) of the deepest part of `path` that the document has. Numbers in
/// the path are indexes of arrays.
pub(super) fn line_of_path(text: &str, path: &[&str]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    let mut steps = path.iter();
    while let Some(step) = steps.next() {
        let Some((key, value)) = table.get_key_value(*step) else {
            break;
        };
        found = Some(key.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            DeValue::Array(items) => {
                let index = steps.next().and_then(|index| index.parse::<usize>().ok());
                let Some(item) = index.and_then(|index| items.get(index)) else {
                    break;
                };
                found = Some(item.span().start);
                let DeValue::Table(inner) = item.get_ref() else {
                    break;
                };
                table = inner;
            }
            _ => break,
        }
    }
    found.map(|at| line_of(text, at))
}

/// Where a table's flaw was typed.
pub(super) fn path_of(flaw: &Flaw) -> Vec<String> {
    let route =
        |route: &String, field: &str| vec!["routes".to_owned(), route.clone(), field.to_owned()];
    match flaw {
        Flaw::NoCandidate { route: name } => route(name, "models"),
        Flaw::DefaultNotOnRoute { route: name, .. } => route(name, "default"),
        Flaw::OverflowIsDefault { route: name } => route(name, "overflow"),
        Flaw::BadRoom { .. } => vec!["upstreams".to_owned()],
        Flaw::BadDeadline { route: name } => route(name, "deadline"),
        Flaw::BadAttempts { route: name } => route(name, "attempts"),
        Flaw::Duplicate {
            what: "upstream" | "lane",
            ..
        } => vec!["upstreams".to_owned()],
        Flaw::Duplicate {
            what: "key" | "hash of key",
            name,
        } => vec!["keys".to_owned(), name.clone()],
        Flaw::Duplicate { what: "rule", .. } => vec!["rules".to_owned()],
        _ => Vec::new(),
    }
}
