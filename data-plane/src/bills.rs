//! How much input providers bill, compared with what was estimated.
//!
//! Owns: one ratio for each upstream, and where enough was seen one for each class of text
//! that it was asked with: frames around messages, tools as a provider writes them out, and
//! tokenizers that nobody published. Learns from this proxy's own requests, and forgets with
//! it. Knows no prices.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use spillway_routing::conditions::Conditions;
use spillway_routing::features::Facts;
use spillway_routing::id::UpstreamId;
use spillway_routing::table::Table;
use spillway_routing::tokens::TextClass;
use spillway_routing::unit::{Ppm, Tokens};

/// Shorter requests say more of frames than of text.
const TOKENS_MIN: u32 = 32;
/// One bill counts for no more than this ratio, up or down, and nor do many.
const RATIO_MAX: f64 = 2.0;
/// So many requests' worth of belief that a class is like the whole upstream, and that the
/// upstream bills what is estimated.
const PRIOR_WEIGHT: f64 = 4.0;
/// What a request counts after each further one: a hundred are remembered, about.
const KEPT: f64 = 0.99;

/// A decaying mean of logarithms.
#[derive(Clone, Copy, Debug, Default)]
struct Ratio {
    sum: f64,
    weight: f64,
}

impl Ratio {
    fn add(&mut self, log: f64) {
        self.sum = KEPT * self.sum + log;
        self.weight = KEPT * self.weight + 1.0;
    }

    fn mean(self, prior: f64) -> f64 {
        (self.sum + PRIOR_WEIGHT * prior) / (self.weight + PRIOR_WEIGHT)
    }
}

#[derive(Debug, Default)]
struct Bill {
    all: Ratio,
    /// By class, then with tools.
    kinds: [Ratio; TextClass::ALL.len() + 1],
}

/// What a request is like, where providers count differently.
fn kind(facts: &Facts) -> usize {
    if facts.tool_count > 0 {
        TextClass::ALL.len()
    } else {
        facts.text_class as usize
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Bills(Mutex<BTreeMap<UpstreamId, Bill>>);

impl Bills {
    fn known(&self) -> MutexGuard<'_, BTreeMap<UpstreamId, Bill>> {
        // Sums stay meaningful whatever panicked between two of them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A provider billed this much input. Images are not estimated, so that bills of
    /// requests with some say nothing.
    pub(crate) fn learn(
        &self,
        upstream: &UpstreamId,
        facts: &Facts,
        estimated: Tokens,
        billed: Tokens,
    ) {
        if facts.images > 0 || estimated.0 < TOKENS_MIN || billed.0 == 0 {
            return;
        }
        let most = RATIO_MAX.ln();
        let log = (f64::from(billed.0) / f64::from(estimated.0))
            .ln()
            .clamp(-most, most);
        let mut known = self.known();
        if !known.contains_key(upstream) {
            known.insert(upstream.clone(), Bill::default());
        }
        let Some(bill) = known.get_mut(upstream) else {
            return;
        };
        bill.all.add(log);
        bill.kinds[kind(facts)].add(log);
    }

    /// Adds what was learnt to a table's conditions.
    pub(crate) fn fill(&self, facts: &Facts, table: &Table, conditions: &mut Conditions) {
        let known = self.known();
        if known.is_empty() {
            return;
        }
        for (lane, state) in conditions.lanes.iter_mut().enumerate() {
            let bill = known.get(&table.upstream_of(lane).id);
            state.billed = bill.map(|bill| {
                let log = bill.kinds[kind(facts)].mean(bill.all.mean(0.0));
                Ppm((log.exp() * f64::from(Ppm::ONE.0)).round() as u32)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spillway_routing::conditions::LaneState;

    fn table() -> Table {
        Table::build(crate::tests::draft(1)).unwrap()
    }

    fn facts(class: TextClass, tool_count: u16) -> Facts {
        Facts {
            text_class: class,
            tool_count,
            ..Facts::default()
        }
    }

    /// What the first lane is expected to bill for a thousand estimated tokens.
    fn expected(bills: &Bills, facts: &Facts) -> u32 {
        let table = table();
        let mut conditions = Conditions {
            lanes: vec![LaneState::default(); 2],
        };
        bills.fill(facts, &table, &mut conditions);
        // Of another provider nothing is known.
        assert_eq!(conditions.lanes[1].billed, None);
        conditions.lanes[0].input(Tokens(1_000)).0
    }

    #[test]
    fn estimates_follow_what_is_billed() {
        let (bills, upstream) = (Bills::default(), UpstreamId::new("a:small"));
        let prose = facts(TextClass::Prose, 0);
        assert_eq!(expected(&bills, &prose), 1_000);
        let learn = |facts: &Facts, billed| {
            bills.learn(&upstream, facts, Tokens(1_000), Tokens(billed));
        };
        learn(&prose, 1_300);
        let once = expected(&bills, &prose);
        assert!((1_050..1_200).contains(&once), "{once}");
        for _ in 0..200 {
            learn(&prose, 1_300);
        }
        let often = expected(&bills, &prose);
        assert!((1_285..=1_300).contains(&often), "{often}");
        // Another class is first believed to be alike, until it is seen.
        let tools = facts(TextClass::Prose, 2);
        assert!(expected(&bills, &tools).abs_diff(often) < 15);
        for _ in 0..200 {
            learn(&tools, 900);
        }
        let seen = expected(&bills, &tools);
        assert!((890..920).contains(&seen), "{seen}");
    }

    #[test]
    fn one_odd_bill_moves_little_and_images_nothing() {
        let (bills, upstream) = (Bills::default(), UpstreamId::new("a:small"));
        let prose = facts(TextClass::Prose, 0);
        for _ in 0..100 {
            bills.learn(&upstream, &prose, Tokens(1_000), Tokens(1_000));
        }
        bills.learn(&upstream, &prose, Tokens(1_000), Tokens(u32::MAX));
        let odd = expected(&bills, &prose);
        assert!((1_000..1_020).contains(&odd), "{odd}");
        let with_images = Facts {
            images: 1,
            ..prose.clone()
        };
        for _ in 0..100 {
            bills.learn(&upstream, &with_images, Tokens(100), Tokens(900));
            bills.learn(&upstream, &prose, Tokens(10), Tokens(20));
        }
        assert_eq!(expected(&bills, &prose), odd);
    }
}
