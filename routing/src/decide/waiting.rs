//! Lanes that make a request wait, for less money.
//!
//! Owns: which of them are tried before the lane that answers at once, and until when.
//! Only lanes of the model that was chosen anyway, and only cheaper ones: waiting
//! changes neither the quality of an answer nor makes it dearer. Knows nothing of how a
//! lane's chance was forecast.

use super::candidate::Assessed;
use crate::start::Start;
use crate::table::Table;
use crate::unit::{Bps, Millis, NanoUsd};

/// What is kept of the time for the lane that answers at once: so many times what its
/// first token is expected to take, and at least a second.
const MARGIN_TIMES: u64 = 3;
const MARGIN_MIN: u64 = 1_000;

/// Lanes that a request waits for at most.
const LINES_MAX: usize = 3;

/// The lines to try first, by what is expected to be paid.
pub(super) fn lines(
    table: &Table,
    assessed: &Assessed,
    feasible: &[usize],
    pick: usize,
) -> Vec<usize> {
    let chosen = &assessed.trail[pick];
    let mut lines: Vec<usize> = feasible
        .iter()
        .copied()
        .filter(|line| {
            let considered = &assessed.trail[*line];
            is_deferred(table, assessed, *line)
                && considered.model == chosen.model
                && considered.cost < chosen.cost
        })
        .collect();
    // What it costs where it begins, and what the other lane does where it does not.
    let usd = |line: usize| assessed.trail[line].cost.map_or(0.0, NanoUsd::usd);
    let expected = |line: &usize| {
        let chance = assessed.chances[*line].map_or(1.0, Bps::share);
        chance * usd(*line) + (1.0 - chance) * usd(pick)
    };
    lines.sort_by(|a, b| expected(a).total_cmp(&expected(b)));
    // They take nobody's place: waiting in vain is no failed attempt.
    lines.truncate(LINES_MAX);
    lines
}

pub(super) fn is_deferred(table: &Table, assessed: &Assessed, line: usize) -> bool {
    table.lane(assessed.lanes[line]).tier.is_deferred()
}

/// Until when they may take to begin, so that the lane after them still begins in time.
pub(super) fn until(start: Start, assessed: &Assessed, pick: usize) -> Millis {
    let Start::Within(within) = start else {
        return Millis(0);
    };
    let first = assessed.trail[pick].first_token.0;
    let margin = first.saturating_mul(MARGIN_TIMES).max(MARGIN_MIN);
    Millis(within.0 - margin.min(within.0 / 2))
}
