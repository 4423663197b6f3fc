//! The steps of a plan that make a request wait for its start.
//!
//! Owns: when each may be tried, and tried again after it had no room, until its time is
//! over; and what is to be remembered of those that did not begin. Calls nobody; all
//! times count from the request's arrival.

use super::record::Began;
use crate::decide::Step;
use crate::id::LaneId;
use crate::unit::Millis;

/// The first pause before a lane that had no room is asked again; each later one is twice
/// as long.
const PAUSE_FIRST: u64 = 1_000;
const PAUSE_MAX: u64 = 16_000;
/// However long a provider asks for, somebody may have left meanwhile.
const RETRY_AFTER_MAX: Millis = Millis(60_000);

#[derive(Debug)]
struct Wait {
    step: Step,
    /// When it was tried first.
    since: Option<Millis>,
    ready: Millis,
    refusals: u32,
}

/// What to do about them.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    Try(Step),
    /// Nothing before that.
    Pause(Millis),
    /// None is left.
    Over,
}

/// The steps that wait, in their order.
#[derive(Debug, Default)]
pub struct Waits(Vec<Wait>);

impl Waits {
    /// One more at the end; a lane waits once.
    pub fn add(&mut self, step: Step) {
        if self.0.iter().any(|wait| wait.step.lane == step.lane) {
            return;
        }
        self.0.push(Wait {
            step,
            since: None,
            ready: Millis(0),
            refusals: 0,
        });
    }

    /// The first that may be tried. Those whose next turn would come too late are dropped,
    /// and those of them that were tried are to be remembered.
    pub fn turn(&mut self, now: Millis) -> (Turn, Vec<(LaneId, Began)>) {
        let over = |wait: &mut Wait| wait.ready.max(now) >= wait.step.give_up;
        let dropped = self.0.extract_if(.., over).collect();
        let due = self.0.iter_mut().find(|wait| wait.ready <= now);
        let turn = match due {
            Some(wait) => {
                wait.since.get_or_insert(now);
                Turn::Try(wait.step.clone())
            }
            None => match self.0.iter().map(|wait| wait.ready).min() {
                Some(ready) => Turn::Pause(ready),
                None => Turn::Over,
            },
        };
        (turn, in_vain(dropped, now))
    }

    /// A lane had no room; says whether it will be asked again.
    pub fn had_no_room(
        &mut self,
        lane: &LaneId,
        retry_after: Option<Millis>,
        now: Millis,
        draw: u64,
    ) -> bool {
        let Some(wait) = self.0.iter_mut().find(|wait| wait.step.lane == *lane) else {
            return false;
        };
        wait.refusals += 1;
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        wait.ready = now.saturating_add(pause(wait.refusals, draw).max(asked));
        wait.ready < wait.step.give_up
    }

    /// A lane is not to be tried again: what is to be remembered of it; `None` where it was
    /// not among these.
    pub fn done(&mut self, lane: &LaneId, now: Millis) -> Option<Vec<(LaneId, Began)>> {
        let here = self.0.extract_if(.., |wait| wait.step.lane == *lane);
        let here: Vec<_> = here.collect();
        (!here.is_empty()).then(|| in_vain(here, now))
    }

    /// None is to be tried any more: what is to be remembered of them.
    pub fn end(&mut self, now: Millis) -> Vec<(LaneId, Began)> {
        in_vain(std::mem::take(&mut self.0), now)
    }

    /// A lane began: what is to be remembered of it, and of the others that were tried.
    pub fn begun(&mut self, lane: &LaneId, now: Millis) -> Vec<(LaneId, Began)> {
        let here = self.0.extract_if(.., |wait| wait.step.lane == *lane);
        let began = here.filter_map(|wait| {
            let waited = now.saturating_sub(wait.since?);
            Some((wait.step.lane, Began::After(waited)))
        });
        let mut all: Vec<_> = began.collect();
        all.extend(self.end(now));
        all
    }
}

fn in_vain(waits: Vec<Wait>, now: Millis) -> Vec<(LaneId, Began)> {
    let tried = waits.into_iter().filter_map(|wait| {
        let waited = now.saturating_sub(wait.since?);
        Some((wait.step.lane, Began::NotWithin(waited)))
    });
    tried.collect()
}

/// How long to leave a lane alone that had no room so many times in a row: a quarter more
/// or less by the draw, so that those who wait do not come back together.
fn pause(refusals: u32, draw: u64) -> Millis {
    let doubled = PAUSE_FIRST << refusals.saturating_sub(1).min(10);
    let pause = doubled.min(PAUSE_MAX);
    Millis(pause * 3 / 4 + draw % (pause / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(lane: &str) -> Step {
        Step {
            lane: LaneId::new(lane),
            give_up: Millis(60_000),
        }
    }

    #[test]
    fn pauses_double_up_to_a_quarter_of_a_minute() {
        let whole = |refusals| pause(refusals, 0).0 * 4 / 3;
        let pauses = [1, 2, 3, 5, 40].map(whole);
        assert_eq!(pauses, [1_000, 2_000, 4_000, 16_000, 16_000]);
        assert!((0..5_000).all(|draw| (750..1_250).contains(&pause(1, draw).0)));
    }

    #[test]
    fn lanes_without_room_are_asked_again_in_turn() {
        let mut waits = Waits::default();
        let (a, b, start) = (step("a"), step("b"), Millis(0));
        waits.add(a.clone());
        waits.add(b.clone());
        assert_eq!(waits.turn(start).0, Turn::Try(a.clone()));
        assert!(waits.had_no_room(&a.lane, None, start, 0));
        assert_eq!(waits.turn(start).0, Turn::Try(b.clone()));
        assert!(waits.had_no_room(&b.lane, Some(Millis(5_000)), start, 0));
        assert_eq!(waits.turn(start).0, Turn::Pause(Millis(750)));
        assert_eq!(waits.turn(Millis(750)).0, Turn::Try(a.clone()));
        assert!(waits.had_no_room(&a.lane, None, Millis(750), 0));
        assert_eq!(waits.turn(Millis(750)).0, Turn::Pause(Millis(2_250)));
        let remembered = vec![
            (a.lane.clone(), Began::After(Millis(2_300))),
            (b.lane, Began::NotWithin(Millis(2_300))),
        ];
        assert_eq!(waits.begun(&a.lane, Millis(2_300)), remembered);
    }

    #[test]
    fn a_turn_that_would_come_too_late_is_none_and_is_remembered() {
        let (mut waits, a) = (Waits::default(), step("a"));
        waits.add(a.clone());
        waits.turn(Millis(100));
        let near = Millis(59_500);
        assert!(!waits.had_no_room(&a.lane, None, near, 0));
        let in_vain = vec![(a.lane, Began::NotWithin(Millis(59_400)))];
        assert_eq!(waits.turn(near), (Turn::Over, in_vain));
        // A lane that was never tried says nothing.
        waits.add(step("b"));
        assert_eq!(waits.turn(Millis(60_000)), (Turn::Over, vec![]));
    }
}
