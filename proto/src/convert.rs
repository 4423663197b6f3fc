//! Between messages and the types of `routing`, in both directions.
//!
//! Owns: the mapping and [`Invalid`], which names the field of whatever could not be
//! read. Adds no meaning: semantic checks are `routing::check`.

mod audit;
mod facts;
mod key;
mod layout;
mod learned;
mod outcome;
mod overflow;
mod probe;
mod table;

pub use self::layout::{encode_table, learned_bytes, parts};
pub use self::table::{TABLE_FORMAT, decode_table};

/// A message that cannot be read as what it claims to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {flaw}")]
pub struct Invalid {
    /// The field, from the message's root: `lanes[3].price`.
    pub path: String,
    pub flaw: InvalidFlaw,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFlaw {
    #[error("is missing")]
    Missing,
    #[error("{0:?} is not known here")]
    Unknown(String),
    #[error("{0} is out of range")]
    Range(u64),
    #[error("holds {found} items, {expected} are expected")]
    Length { expected: usize, found: usize },
    #[error("is no message of this kind")]
    Garbled,
}

impl Invalid {
    pub(crate) fn new(path: &str, flaw: InvalidFlaw) -> Self {
        Self {
            path: path.to_owned(),
            flaw,
        }
    }

    /// The same flaw, seen from the enclosing message.
    pub(crate) fn within(self, outer: &str) -> Self {
        Self {
            path: format!("{outer}.{}", self.path),
            flaw: self.flaw,
        }
    }
}

/// The field must be there.
pub(crate) fn required<T>(value: Option<T>, path: &str) -> Result<T, Invalid> {
    value.ok_or_else(|| Invalid::new(path, InvalidFlaw::Missing))
}

/// The name must be one of a closed set.
pub(crate) fn named<T>(
    parse: impl Fn(&str) -> Option<T>,
    name: &str,
    path: &str,
) -> Result<T, Invalid> {
    parse(name).ok_or_else(|| Invalid::new(path, InvalidFlaw::Unknown(name.to_owned())))
}

/// The number must fit.
pub(crate) fn fits<T: TryFrom<u32>>(number: u32, path: &str) -> Result<T, Invalid> {
    T::try_from(number).map_err(|_| Invalid::new(path, InvalidFlaw::Range(u64::from(number))))
}

/// A share in hundredths of a percent.
pub(crate) fn bps(number: u32, path: &str) -> Result<spillway_routing::unit::Bps, Invalid> {
    if number > 10_000 {
        return Err(Invalid::new(path, InvalidFlaw::Range(u64::from(number))));
    }
    Ok(spillway_routing::unit::Bps::new(number as u16))
}

/// Converts each element, naming the index of the one that fails.
pub(crate) fn each<A, B>(
    items: Vec<A>,
    path: &str,
    convert: impl Fn(A) -> Result<B, Invalid>,
) -> Result<Vec<B>, Invalid> {
    let indexed = items.into_iter().enumerate();
    indexed
        .map(|(i, item)| convert(item).map_err(|e| e.within(&format!("{path}[{i}]"))))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
