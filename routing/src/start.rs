//! When an answer has to begin, and how likely a lane that makes requests wait begins by
//! then.
//!
//! Owns: [`Start`], the wish; [`Starts`], a lane's forecast, and [`Record`], what it is
//! made from; [`Waits`], the order in which such lanes are tried. Knows no clock: whoever
//! watches the lanes passes the time in.

mod record;
mod waits;

use crate::catalogue::Tier;
use crate::prompt::Class;
use crate::unit::{Bps, Millis};

pub use self::record::{Began, Record};
pub use self::waits::{Turn, Waits};

/// What a caller says of the beginning of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Nothing: as soon as usual.
    #[default]
    Unsaid,
    /// As soon as the standard tier begins.
    Default,
    /// Sooner, for more money.
    Priority,
    /// On the flex tier, whenever it begins.
    Flex,
    /// By then at the latest: cheap lanes that make requests wait are tried first.
    Within(Millis),
}

/// Nobody waits for these: they may wait as long as a connection reasonably lasts.
const UNWATCHED: Millis = Millis(600_000);

impl Start {
    /// The wish, where the class of work says what the caller did not.
    #[must_use]
    pub fn or_by_class(self, class: Class) -> Self {
        match (self, class) {
            (Self::Unsaid, Class::Batch | Class::Background) => Self::Within(UNWATCHED),
            (said, _) => said,
        }
    }

    /// Whether a lane of this tier may answer.
    #[must_use]
    pub fn takes(self, tier: Tier) -> bool {
        match self {
            Self::Unsaid => matches!(tier, Tier::Standard | Tier::Priority),
            Self::Default => tier == Tier::Standard,
            Self::Priority => tier == Tier::Priority,
            Self::Flex => tier == Tier::Flex,
            Self::Within(_) => !matches!(tier, Tier::Background | Tier::Batch),
        }
    }

    /// The tier without which the wish cannot be kept at all.
    #[must_use]
    pub fn needs(self) -> Option<Tier> {
        match self {
            Self::Unsaid | Self::Default => None,
            Self::Priority => Some(Tier::Priority),
            Self::Flex | Self::Within(_) => Some(Tier::Flex),
        }
    }

    /// As it is recorded, beside the time of [`Start::Within`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unsaid => "",
            Self::Default => "default",
            Self::Priority => "priority",
            Self::Flex => "flex",
            Self::Within(_) => "within",
        }
    }

    /// From what was recorded.
    #[must_use]
    pub fn parse(name: &str, within: Option<Millis>) -> Option<Self> {
        match (name, within) {
            ("" | "within", Some(within)) => Some(Self::Within(within)),
            ("", None) => Some(Self::Unsaid),
            ("default", None) => Some(Self::Default),
            ("priority", None) => Some(Self::Priority),
            ("flex", None) => Some(Self::Flex),
            _ => None,
        }
    }
}

/// Waits, in milliseconds, at which a forecast says something; between them it is a
/// straight line.
pub const EDGES: [u64; 8] = [
    5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000,
];
/// A certain start.
const SURE: u8 = 250;

/// For each of [`EDGES`] the share of requests that began by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Starts([u8; EDGES.len()]);

impl Starts {
    /// From shares between 0 and 1 that do not fall.
    #[must_use]
    pub fn of(shares: [f64; EDGES.len()]) -> Self {
        Self(shares.map(|share| (share.clamp(0.0, 1.0) * f64::from(SURE)).round() as u8))
    }

    /// For recording.
    #[must_use]
    pub fn bits(self) -> u64 {
        u64::from_le_bytes(self.0)
    }

    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits.to_le_bytes().map(|share| share.min(SURE)))
    }

    /// How likely a request begins within this wait.
    #[must_use]
    pub fn chance(self, wait: Millis) -> Bps {
        let mut before = (0u64, 0u64);
        for (edge, share) in EDGES.into_iter().zip(self.0) {
            let after = (edge, u64::from(share) * 10_000 / u64::from(SURE));
            if wait.0 <= edge {
                let rise = after.1.saturating_sub(before.1);
                let part = rise * (wait.0 - before.0) / (edge - before.0);
                return Bps::new((before.1 + part) as u16);
            }
            before = after;
        }
        Bps::new(before.1 as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wishes_are_read_back() {
        let within = Start::Within(Millis(30_000));
        for start in [
            Start::Unsaid,
            Start::Default,
            Start::Priority,
            Start::Flex,
            within,
        ] {
            let wait = match start {
                Start::Within(wait) => Some(wait),
                _ => None,
            };
            assert_eq!(Start::parse(start.name(), wait), Some(start));
        }
        assert_eq!(Start::parse("flex", Some(Millis(1))), None);
    }

    #[test]
    fn a_chance_lies_on_the_line_between_two_edges() {
        let starts = Starts::of([0.2, 0.4, 0.4, 0.4, 0.8, 0.8, 1.0, 1.0]);
        let chance = |ms| starts.chance(Millis(ms)).get();
        assert_eq!((chance(0), chance(2_500), chance(5_000)), (0, 1_000, 2_000));
        assert_eq!((chance(7_500), chance(60_000)), (3_000, 6_000));
        assert_eq!(chance(10_000_000), 10_000);
    }

    proptest! {
        #[test]
        fn bits_come_back_and_longer_waits_are_never_less_likely(
            mut shares: [u8; 8], a in 0u64..1_000_000, b in 0u64..1_000_000,
        ) {
            shares.sort_unstable();
            let starts = Starts::from_bits(u64::from_le_bytes(shares));
            prop_assert_eq!(Starts::from_bits(starts.bits()), starts);
            prop_assert!(starts.chance(Millis(a.min(b))) <= starts.chance(Millis(a.max(b))));
        }
    }
}
