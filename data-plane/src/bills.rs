//! What providers bill against what was counted, by upstream.
//!
//! Owns: how many tokens an upstream bills for one that is counted here, learnt from the
//! requests that it reported on. It corrects what callers are told, what is reserved for
//! their keys, and what is booked where a provider says nothing; it chooses nothing, so
//! that every decision can be made again from its record.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use spillway_routing::catalogue::{Price, Usage};
use spillway_routing::id::UpstreamId;
use spillway_routing::unit::{NanoUsd, Tokens, UnixMillis};

/// Tokens that are taken to be billed as they are counted, before any bill is seen.
const PRIOR_TOKENS: f64 = 2_000.0;
/// What is left of a bill's weight after the next one: some two hundred count.
const KEPT: f64 = 0.995;
/// A larger bill weighs no more than so many tokens.
const WEIGHT_MAX: f64 = 4_000.0;
/// One bill further off is no miscount of text but something else in the request: a file,
/// or a cache that the provider leaves out.
const OFF_MAX: f64 = 2.0;

/// Sums over bills, the latest weighing most.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    counted: f64,
    billed: f64,
}

impl Sums {
    fn ratio(self) -> f64 {
        (self.billed + PRIOR_TOKENS) / (self.counted + PRIOR_TOKENS)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Bills {
    sums: Mutex<BTreeMap<UpstreamId, Sums>>,
}

impl Bills {
    fn sums(&self) -> MutexGuard<'_, BTreeMap<UpstreamId, Sums>> {
        // Sums stay meaningful whatever panicked between two of them.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A provider reported on a request; the ratio that is known now.
    pub(crate) fn learn(&self, upstream: &UpstreamId, counted: Tokens, billed: Tokens) -> f64 {
        let (counted, billed) = (f64::from(counted.0), f64::from(billed.0));
        let mut all = self.sums();
        let sums = all.entry(upstream.clone()).or_default();
        let told = (1.0 / OFF_MAX..=OFF_MAX).contains(&(billed / counted));
        if told {
            let weight = (WEIGHT_MAX / counted).min(1.0);
            sums.counted = sums.counted * KEPT + counted * weight;
            sums.billed = sums.billed * KEPT + billed * weight;
        }
        sums.ratio()
    }

    /// So many counted tokens as the upstream will bill them.
    pub(crate) fn expected(&self, upstream: &UpstreamId, counted: Tokens) -> Tokens {
        let ratio = self.sums().get(upstream).map_or(1.0, |sums| sums.ratio());
        Tokens((f64::from(counted.0) * ratio).round() as u32)
    }

    /// What a decision expected to pay for so many counted tokens, as it will be billed.
    pub(crate) fn expected_cost(
        &self,
        upstream: &UpstreamId,
        price: &Price,
        counted: Tokens,
        cost: NanoUsd,
        at: UnixMillis,
    ) -> NanoUsd {
        let of = |input| {
            let usage = Usage {
                input,
                ..Usage::default()
            };
            price.settle(&usage, at)
        };
        let expected = of(self.expected(upstream, counted));
        cost.saturating_add(expected).saturating_sub(of(counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn upstream() -> UpstreamId {
        "p:m".into()
    }

    #[test]
    fn a_count_that_is_always_off_is_corrected_before_long() {
        let bills = Bills::default();
        assert_eq!(bills.expected(&upstream(), Tokens(100)), Tokens(100));
        for _ in 0..100 {
            bills.learn(&upstream(), Tokens(1_000), Tokens(1_200));
        }
        assert_eq!(bills.expected(&upstream(), Tokens(100)), Tokens(120));
        let other = bills.expected(&"p:other".into(), Tokens(100));
        assert_eq!(other, Tokens(100));
        // And forgotten, where it is right again.
        for _ in 0..1_500 {
            bills.learn(&upstream(), Tokens(1_000), Tokens(1_000));
        }
        assert_eq!(bills.expected(&upstream(), Tokens(100)), Tokens(100));
    }

    #[test]
    fn one_large_bill_does_not_outweigh_hundreds() {
        let bills = Bills::default();
        for _ in 0..500 {
            bills.learn(&upstream(), Tokens(1_000), Tokens(1_000));
        }
        let ratio = bills.learn(&upstream(), Tokens(1_000_000), Tokens(1_900_000));
        assert!(ratio < 1.03, "{ratio}");
    }

    #[test]
    fn what_is_no_count_of_text_teaches_nothing() {
        let bills = Bills::default();
        for (counted, billed) in [(10, 5_000), (5_000, 10), (0, 7), (7, 0)] {
            bills.learn(&upstream(), Tokens(counted), Tokens(billed));
        }
        assert_eq!(bills.expected(&upstream(), Tokens(100)), Tokens(100));
    }

    proptest! {
        #[test]
        fn no_correction_is_beyond_the_bound(
            bills_seen in prop::collection::vec((any::<u32>(), any::<u32>()), 0..50),
            counted in 0u32..1_000_000,
        ) {
            let bills = Bills::default();
            for (counted, billed) in bills_seen {
                bills.learn(&upstream(), Tokens(counted), Tokens(billed));
            }
            let expected = f64::from(bills.expected(&upstream(), Tokens(counted)).0);
            let (low, high) = (f64::from(counted) / OFF_MAX, f64::from(counted) * OFF_MAX);
            prop_assert!((low - 1.0..=high + 1.0).contains(&expected), "{expected}");
        }
    }
}
