//! Many policies over the same prompts: what each of them picks.
//!
//! Owns: leaving out offers that no policy picks, before a sweep weighs the rest once for
//! every λ. An offer that another one beats in quality and in cost is never taken,
//! whatever a dollar is worth. What is picked is still `routing::decide::choose`'s word.

use spillway_routing::decide::{Offer, choose};

use crate::offers::{Policy, Row};

/// Prompts with the offers that may be picked.
#[derive(Debug)]
pub(crate) struct Fronts {
    /// Of one prompt after the other, by rising cost.
    offers: Vec<Offer>,
    /// Their columns in the rows.
    columns: Vec<usize>,
    /// Where each prompt's offers end.
    ends: Vec<usize>,
    abstained: Vec<bool>,
}

impl Fronts {
    pub(crate) fn of(rows: &[Row]) -> Self {
        let mut fronts = Self {
            offers: Vec::new(),
            columns: Vec::new(),
            ends: Vec::with_capacity(rows.len()),
            abstained: rows.iter().map(|row| row.abstained).collect(),
        };
        let mut order = Vec::new();
        for row in rows {
            order.clear();
            order.extend(0..row.offers.len());
            // Of equal offers the first is taken, so it comes first here as well.
            order.sort_unstable_by_key(|column| (row.offers[*column].cost, *column));
            let mut best = None;
            for column in &order {
                let offer = row.offers[*column];
                if best.is_none_or(|best| offer.quality > best) {
                    best = Some(offer.quality);
                    fronts.offers.push(offer);
                    fronts.columns.push(*column);
                }
            }
            fronts.ends.push(fronts.offers.len());
        }
        fronts
    }

    /// What [`Policy::pick`] picks of each prompt, in their order.
    pub(crate) fn picks(&self, policy: Policy) -> impl Iterator<Item = usize> + '_ {
        let starts = std::iter::once(&0).chain(&self.ends);
        let places = starts.zip(&self.ends).zip(&self.abstained);
        places.map(move |((start, end), abstained)| match policy.default {
            Some(column) if *abstained => column,
            _ => {
                let chosen = choose(policy.choice, policy.guard, &self.offers[*start..*end]);
                chosen.map_or(0, |(place, _)| self.columns[start + place])
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use spillway_routing::table::Choice;
    use spillway_routing::unit::{Bps, NanoUsd};

    /// Few different values, so that ties are frequent.
    fn row() -> impl Strategy<Value = Row> {
        let offer = (0u16..6, 0u64..6).prop_map(|(quality, cost)| Offer {
            quality: Bps::new(quality * 2_000),
            cost: NanoUsd(cost * 1_000),
        });
        let offers = prop::collection::vec(offer, 0..8);
        (offers, prop::bool::ANY).prop_map(|(offers, abstained)| Row { offers, abstained })
    }

    fn choice() -> impl Strategy<Value = Choice> {
        prop_oneof![
            prop_oneof![Just(0), 1u64..10_000_000_000].prop_map(Choice::Multiplier),
            (0u16..=10_000).prop_map(|floor| Choice::Floor(Bps::new(floor))),
        ]
    }

    proptest! {
        #[test]
        fn nothing_that_is_left_out_would_be_picked(
            rows in prop::collection::vec(row(), 1..20),
            choice in choice(),
            guard in 0u16..=10_000,
            default in prop::option::of(0usize..3),
        ) {
            let policy = Policy { choice, guard: Bps::new(guard), default };
            let picked: Vec<usize> = Fronts::of(&rows).picks(policy).collect();
            let expected: Vec<usize> = rows.iter().map(|row| policy.pick(row)).collect();
            prop_assert_eq!(picked, expected);
        }
    }
}
