//! Which sequence numbers of which proxies a file holds.
//!
//! Owns: [`BatchId`] and [`Coverage`], the sets that make a batch count once: a file
//! whose numbers another file already holds is not read. Merging unites the sets, so
//! a batch stays known after its own file is gone. Knows no files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use spillway_routing::id::ProxyId;

/// What a proxy sent in one piece: its rows `first` to `last`, both included. The
/// proxy's id includes its boot, so numbers are never used twice. Outcomes and
/// verdicts are numbered apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchId {
    pub proxy: ProxyId,
    pub first: u64,
    pub last: u64,
}

/// Ranges of sequence numbers, by proxy as its name is spelled in file names. Ranges
/// do not touch: 1-3 and 4-6 are 1-6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    ranges: BTreeMap<String, BTreeMap<u64, u64>>,
}

impl Coverage {
    pub(crate) fn one(proxy: &str, first: u64, last: u64) -> Self {
        let mut coverage = Self::default();
        coverage.add(proxy, first, last);
        coverage
    }

    fn add(&mut self, proxy: &str, first: u64, last: u64) {
        let ranges = self.ranges.entry(proxy.to_owned()).or_default();
        let (mut low, mut high) = (first, last);
        let before_end = high.saturating_add(1);
        while let Some((from, to)) = ranges.range(..=before_end).next_back() {
            let (from, to) = (*from, *to);
            if to.saturating_add(1) < low {
                break;
            }
            ranges.remove(&from);
            (low, high) = (low.min(from), high.max(to));
        }
        ranges.insert(low, high);
    }

    pub(crate) fn unite(&mut self, other: &Self) {
        for (proxy, first, last) in other.iter() {
            self.add(proxy, first, last);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.ranges.iter().flat_map(|(proxy, ranges)| {
            ranges
                .iter()
                .map(move |(first, last)| (proxy.as_str(), *first, *last))
        })
    }

    /// How many numbers there are.
    pub(crate) fn count(&self) -> u64 {
        self.iter().fold(0u64, |sum, (_, first, last)| {
            sum.saturating_add(last - first).saturating_add(1)
        })
    }

    pub(crate) fn contains(&self, other: &Self) -> bool {
        other.iter().all(|(proxy, first, last)| {
            let below = |ranges: &BTreeMap<u64, u64>| {
                ranges
                    .range(..=first)
                    .next_back()
                    .is_some_and(|(_, to)| *to >= last)
            };
            self.ranges.get(proxy).is_some_and(below)
        })
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        other.iter().any(|(proxy, first, last)| {
            let meets = |ranges: &BTreeMap<u64, u64>| {
                ranges
                    .range(..=last)
                    .next_back()
                    .is_some_and(|(_, to)| *to >= first)
            };
            self.ranges.get(proxy).is_some_and(meets)
        })
    }

    /// As written into a merged file's footer: `proxy:1-9,12-15;other:4-4`.
    pub(crate) fn print(&self) -> String {
        let mut text = String::new();
        for (i, (proxy, ranges)) in self.ranges.iter().enumerate() {
            let _ = write!(text, "{}{proxy}", if i == 0 { "" } else { ";" });
            for (j, (first, last)) in ranges.iter().enumerate() {
                let _ = write!(text, "{}{first}-{last}", if j == 0 { ":" } else { "," });
            }
        }
        text
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut coverage = Self::default();
        for part in text.split(';') {
            let (proxy, ranges) = part.split_once(':')?;
            for range in ranges.split(',') {
                let (first, last) = range.split_once('-')?;
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                if first > last {
                    return None;
                }
                coverage.add(proxy, first, last);
            }
        }
        Some(coverage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn build(ranges: &[(u64, u64)]) -> (Coverage, BTreeSet<u64>) {
        let mut coverage = Coverage::default();
        let mut plain = BTreeSet::new();
        for (first, length) in ranges {
            coverage.add("p", *first, first + length);
            plain.extend(*first..=first + length);
        }
        (coverage, plain)
    }

    proptest! {
        #[test]
        fn a_coverage_is_the_set_of_its_numbers(
            a in prop::collection::vec((0u64..60, 0u64..8), 1..8),
            b in prop::collection::vec((0u64..60, 0u64..8), 1..3),
        ) {
            let ((a, plain_a), (b, plain_b)) = (build(&a), build(&b));
            prop_assert_eq!(a.count(), plain_a.len() as u64);
            prop_assert_eq!(a.contains(&b), plain_b.is_subset(&plain_a));
            prop_assert_eq!(a.overlaps(&b), !plain_b.is_disjoint(&plain_a));
            prop_assert_eq!(Coverage::parse(&a.print()), Some(a));
        }
    }

    #[test]
    fn the_last_number_does_not_overflow() {
        let coverage = Coverage::one("p", u64::MAX, u64::MAX);
        assert!(coverage.contains(&coverage) && !coverage.contains(&Coverage::one("p", 0, 1)));
    }
}
