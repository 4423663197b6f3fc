//! A day of requests that may wait, and of cheap tiers whose room comes and goes.
//!
//! Owns: both, drawn from a seed. Times count from midnight and nothing waits: whoever
//! asks brings the time along, so that a day passes as fast as it can be computed.

use std::time::Duration;

use crate::dice::Dice;

const DAY_S: f64 = 24.0 * 3_600.0;
const REQUESTS: usize = 8_640;
/// Of the time in which an answer has to begin.
const WITHIN_S: (f64, f64) = (5.0, 600.0);
/// How long one state of a tier lasts on average.
const SPELL_S: f64 = 480.0;
/// A queue that leads nowhere turns requests away after so long.
const HELD_S: f64 = 300.0;

/// One request of the day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayRequest {
    /// Since midnight.
    pub at: Duration,
    /// Its answer has to begin by then.
    pub within: Duration,
    /// Its length.
    pub input_tokens: u32,
    /// Its answer's length.
    pub output_tokens: u32,
    /// How long a tier that answers at once takes to begin.
    pub first_token: Duration,
    /// Whether the first tier that answers at once fails it, after that time.
    pub fails: bool,
}

/// The requests of a day, in the order of their arrival.
pub fn day(seed: u64) -> Vec<DayRequest> {
    let mut at = 0.0;
    let mut arrivals = Dice::of(seed, &["arrivals"]);
    let requests = (0..).map_while(|number| {
        at += arrivals.exponential(DAY_S / REQUESTS as f64);
        let mut dice = Dice::numbered(seed, "request", number);
        let (low, high) = WITHIN_S;
        let within = low * (high / low).powf(dice.unit());
        (at < DAY_S).then(|| DayRequest {
            at: Duration::from_secs_f64(at),
            within: Duration::from_secs_f64(within),
            input_tokens: dice.log_normal(900.0, 1.0) as u32,
            output_tokens: dice.log_normal(250.0, 0.8) as u32,
            first_token: Duration::from_secs_f64(dice.log_normal(0.5, 0.4)),
            fails: dice.unit() < 0.003,
        })
    });
    requests.collect()
}

/// How much room a tier has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Plenty,
    /// Requests wait in a queue.
    Scarce,
    /// Requests are refused.
    None,
    /// Requests wait in a queue, and are refused in the end.
    Held,
}

/// What a tier does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It begins after that.
    Begins(Duration),
    /// It is refused after that.
    Refused(Duration),
}

/// The room of one tier over a day.
#[derive(Debug, Clone)]
pub struct Capacity {
    seed: u64,
    /// When each state begins.
    spells: Vec<(f64, Room)>,
}

impl Capacity {
    /// Plenty at night, less from six to ten o'clock in the evening.
    pub fn day(seed: u64, tier: &str) -> Self {
        let mut dice = Dice::of(seed, &["capacity", tier]);
        let mut spells = Vec::new();
        let mut at = 0.0;
        while at < DAY_S {
            let busy = (6.0..22.0).contains(&(at / 3_600.0));
            let [plenty, scarce, held] = if busy {
                [0.45, 0.80, 0.85]
            } else {
                [0.85, 0.95, 0.96]
            };
            let draw = dice.unit();
            let room = match () {
                () if draw < plenty => Room::Plenty,
                () if draw < scarce => Room::Scarce,
                () if draw < held => Room::Held,
                () => Room::None,
            };
            spells.push((at, room));
            at += dice.exponential(SPELL_S).max(20.0);
        }
        Self { seed, spells }
    }

    /// What becomes of a request that asks now; at any time of the same spell the same.
    pub fn offer(&self, at: Duration, request: usize) -> Offer {
        let now = at.as_secs_f64();
        let spell = self.spells.partition_point(|(from, _)| *from <= now);
        self.of(spell.saturating_sub(1), request)
    }

    fn of(&self, spell: usize, request: usize) -> Offer {
        let label = format!("spell {spell}");
        let mut dice = Dice::numbered(self.seed, &label, request as u64);
        let room = self.spells.get(spell).map_or(Room::None, |(_, room)| *room);
        let seconds = |s: f64| Duration::from_secs_f64(s);
        match room {
            Room::Plenty => Offer::Begins(seconds(dice.log_normal(2.0, 0.7))),
            Room::Scarce => Offer::Begins(seconds(dice.log_normal(40.0, 0.9))),
            Room::None => Offer::Refused(seconds(dice.log_normal(0.2, 0.3))),
            Room::Held => Offer::Refused(seconds(HELD_S)),
        }
    }

    /// The soonest this request could begin here, whenever it asked from its arrival on:
    /// what only hindsight knows.
    pub fn soonest(&self, arrival: Duration, request: usize) -> Option<Duration> {
        let arrived = arrival.as_secs_f64();
        let first = self.spells.partition_point(|(from, _)| *from <= arrived);
        let begins = (first.saturating_sub(1)..self.spells.len()).filter_map(|spell| {
            let from = self.spells.get(spell)?.0.max(arrived);
            match self.of(spell, request) {
                Offer::Begins(after) => Some(Duration::from_secs_f64(from) + after),
                Offer::Refused(_) => None,
            }
        });
        begins.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_day_in_order() {
        let requests = day(7);
        assert_eq!(requests, day(7));
        assert!((8_000..9_300).contains(&requests.len()));
        assert!(requests.is_sorted_by_key(|request| request.at));
        assert_ne!(requests, day(8));
    }

    #[test]
    fn hindsight_is_never_later_than_asking_on_arrival() {
        let capacity = Capacity::day(7, "flex");
        let mut begun = 0;
        for (number, request) in day(7).iter().enumerate() {
            if let Offer::Begins(after) = capacity.offer(request.at, number) {
                let soonest = capacity.soonest(request.at, number);
                assert!(soonest.is_some_and(|at| at <= request.at + after));
                begun += 1;
            }
        }
        assert!((5_000..8_500).contains(&begun), "{begun}");
    }
}
