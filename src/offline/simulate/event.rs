//! What may happen to a recorded world while it is played.
//!
//! Owns: the spelling of an event on the command line.

use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};

/// Something that happens before a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) at: u64,
    pub(super) model: String,
    pub(super) change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// A share of its answers is worth nothing.
    Worse(f64),
    /// Its cost in times of what was recorded.
    Price(f64),
    /// It was not there before.
    Appears,
}

impl FromStr for Event {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let form = || {
            format!(
                "{text:?} is no event: write REQUEST:worse:MODEL:SHARE, REQUEST:price:MODEL:TIMES or REQUEST:appears:MODEL"
            )
        };
        // A model's name may hold colons.
        let mut parts = text.splitn(3, ':');
        let at = parts
            .next()
            .and_then(|at| at.parse().ok())
            .with_context(form)?;
        let (kind, rest) = parts.next().zip(parts.next()).with_context(form)?;
        if kind == "appears" {
            ensure!(!rest.is_empty(), form());
            return Ok(Self {
                at,
                model: rest.to_owned(),
                change: Change::Appears,
            });
        }
        let (model, number) = rest.rsplit_once(':').with_context(form)?;
        let number: f64 = number.parse().with_context(form)?;
        let change = match kind {
            "worse" if (0.0..=1.0).contains(&number) => Change::Worse(number),
            "price" if number.is_finite() && number > 0.0 => Change::Price(number),
            _ => bail!(form()),
        };
        Ok(Self {
            at,
            model: model.to_owned(),
            change,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_anything_else_is_explained() {
        let event: Event = "500:worse:vendor:model:0.5".parse().unwrap();
        assert_eq!((event.at, event.model.as_str()), (500, "vendor:model"));
        assert_eq!(event.change, Change::Worse(0.5));
        let event: Event = "0:appears:new".parse().unwrap();
        assert_eq!(event.change, Change::Appears);
        for text in [
            "",
            "x:appears:m",
            "1:worse:m",
            "1:worse:m:2",
            "1:price:m:-1",
            "1:gone:m:1",
        ] {
            assert!(text.parse::<Event>().is_err(), "{text:?}");
        }
    }
}
