//! Units: money, tokens, shares and times as integers that say what they count.
//!
//! Owns: the arithmetic of whatever is compared, hashed, published or paid. It never
//! wraps and never panics: sums saturate, because a prompt that claims 10^18 tokens
//! must become "too dear", not "free". Knows nothing of models or requests.

use std::fmt;
use std::iter::Sum;

/// Money in billionths of a US dollar. `u64` holds 18 billion dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsd(pub u64);

impl NanoUsd {
    pub const ZERO: Self = Self(0);

    /// From dollars as people write them. Negative and non-finite amounts become zero.
    #[must_use]
    pub fn from_usd(usd: f64) -> Self {
        Self((usd * 1e9).round() as u64)
    }

    /// Dollars, for display and for the learning code.
    #[must_use]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e9
    }

    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "${}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

/// A price: billionths of a US dollar for one million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsdPerMtok(pub u64);

impl NanoUsdPerMtok {
    /// From dollars per million tokens, as price lists print it.
    #[must_use]
    pub fn from_usd(usd: f64) -> Self {
        Self((usd * 1e9).round() as u64)
    }

    /// Dollars per million tokens.
    #[must_use]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// What `tokens` cost at this rate, rounded to the nearest billionth.
    #[must_use]
    pub fn cost(self, tokens: Tokens) -> NanoUsd {
        NanoUsd(product_over::<1_000_000>(self.0, tokens.0.into(), 500_000))
    }

    /// This rate times `permille`/1000.
    #[must_use]
    pub fn scaled(self, permille: u32) -> Self {
        Self(product_over::<1_000>(self.0, permille.into(), 0))
    }
}

/// `(a * b + more) / OVER`, at most `u64::MAX`. Nearly always the product fits 64 bits, where
/// to divide by a constant is to multiply: a decision takes a twentieth less.
#[inline]
pub(crate) fn product_over<const OVER: u64>(a: u64, b: u64, more: u64) -> u64 {
    let product = a.checked_mul(b).and_then(|ab| ab.checked_add(more));
    product.map_or_else(
        || {
            let exact = u128::from(a) * u128::from(b) + u128::from(more);
            u64::try_from(exact / u128::from(OVER)).unwrap_or(u64::MAX)
        },
        |product| product / OVER,
    )
}

/// A count of tokens in some tokenizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tokens(pub u32);

impl Tokens {
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Tokens {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self(0), Self::saturating_add)
    }
}

/// Hundredths of a percent, 0..=10000: qualities, bars and shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bps(u16);

impl Bps {
    pub const ZERO: Self = Self(0);
    pub const ONE: Self = Self(10_000);

    /// Clamped to 0..=10000.
    #[must_use]
    pub const fn new(bps: u16) -> Self {
        Self(if bps > 10_000 { 10_000 } else { bps })
    }

    /// From a share 0..=1, clamped; NaN becomes zero.
    #[must_use]
    pub fn from_share(share: f64) -> Self {
        Self((share.clamp(0.0, 1.0) * 10_000.0).round() as u16)
    }

    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This share of another share, rounded down.
    #[must_use]
    pub fn of(self, whole: Self) -> Self {
        Self((u32::from(self.0) * u32::from(whole.0) / 10_000) as u16)
    }
}

impl fmt::Display for Bps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}%", self.0 / 100, self.0 % 100)
    }
}

/// Millionths, 0..=1000000: probabilities of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppm(pub u32);

impl Ppm {
    pub const ONE: Self = Self(1_000_000);

    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// A moment: milliseconds since 1970-01-01 UTC, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

const MINUTES_PER_DAY: u64 = 24 * 60;

impl UnixMillis {
    /// Minutes since midnight UTC, 0..1440.
    #[must_use]
    pub fn minute_of_day(self) -> u16 {
        (self.0 / 60_000 % MINUTES_PER_DAY) as u16
    }

    /// 0 is Monday. 1970-01-01 was a Thursday.
    #[must_use]
    pub fn weekday(self) -> u8 {
        ((self.0 / 60_000 / MINUTES_PER_DAY + 3) % 7) as u8
    }

    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_price_times_tokens_is_rounded_to_the_nearest_billionth() {
        let rate = NanoUsdPerMtok::from_usd(2.5);
        assert_eq!(rate.cost(Tokens(1_000)), NanoUsd(2_500_000));
        assert_eq!(NanoUsdPerMtok(1).cost(Tokens(499_999)), NanoUsd(0));
        assert_eq!(NanoUsdPerMtok(1).cost(Tokens(500_000)), NanoUsd(1));
    }

    #[test]
    fn the_calendar_knows_a_known_day() {
        // 2026-11-21 21:30:00 UTC was a Saturday.
        let moment = UnixMillis(1_795_296_600_000);
        assert_eq!(moment.minute_of_day(), 21 * 60 + 30);
        assert_eq!(moment.weekday(), 5);
    }

    proptest! {
        #[test]
        fn cost_never_shrinks_with_more_tokens(rate: u64, a: u32, b: u32) {
            let rate = NanoUsdPerMtok(rate);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(rate.cost(Tokens(low)) <= rate.cost(Tokens(high)));
        }

        #[test]
        fn a_product_is_exact_or_the_most(a: u64, b: u64, small in 0u64..1 << 30, more: u64) {
            for b in [b, small, 0, 1] {
                let exact = (u128::from(a) * u128::from(b) + u128::from(more)) / 1_000;
                let most = exact.min(u128::from(u64::MAX));
                prop_assert_eq!(u128::from(product_over::<1_000>(a, b, more)), most);
            }
        }

        #[test]
        fn a_share_survives_the_trip_to_bps(bps in 0u16..=10_000) {
            prop_assert_eq!(Bps::from_share(Bps::new(bps).share()), Bps::new(bps));
        }
    }
}
