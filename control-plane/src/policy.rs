//! The operators' policy: what may be typed, what is wrong with it, and the table
//! draft it becomes.
//!
//! Owns: the TOML document (friendly, versioned by its form), faults that name line and
//! field, and [`draft`], the only way from a policy to a table. Knows no storage, no
//! gRPC and no proxies.

mod document;
mod draft;
mod learned;
mod locate;
mod typed;

use std::fmt;

pub use self::document::Policy;
pub use self::draft::draft;
pub use self::learned::{Learned, SolvedRoute, World};

/// What is wrong with a policy, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From 1; `None` where no line can be named.
    pub line: Option<usize>,
    /// Path of the field, e.g. `routes.auto.bar`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Reads a policy document.
///
/// # Errors
///
/// The one fault of form that stopped the reading.
pub fn parse(text: &str) -> Result<Policy, Vec<Fault>> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| locate::line_of(text, span.start));
        let message = error.message().to_owned();
        let field = error
            .span()
            .map(|span| locate::field_at(text, span.start))
            .unwrap_or_default();
        vec![Fault {
            line,
            field,
            message,
        }]
    })
}

/// Parses and compiles, without prices that only history knows: what `validate` and
/// `spillway check` run.
#[must_use]
pub fn faults(text: &str) -> Vec<Fault> {
    match parse(text).and_then(|policy| draft(&policy, text, &Learned::default())) {
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    }
}

#[cfg(test)]
mod tests;
