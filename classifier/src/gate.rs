//! Whether a route may use the learned heads.
//!
//! Owns: the checks on held-out prompts and their limits. A head that is no better than
//! no head at all must not be used: with all models good or few prompts, that is what
//! happens. Knows nothing of tables; it only says yes or no, and why.

use spillway_routing::id::SliceId;
use spillway_routing::unit::Bps;

use crate::certificate::{ALLOWED, DELTA};
use crate::evaluate::Evaluation;
use crate::evaluate::deployed::Deployed;
use crate::evaluate::metrics::Interval;
use crate::multiplier::Solved;

/// Held-out prompts below this cannot tell a gain from luck.
const PROMPTS_MIN: usize = 100;
/// Expected calibration error, 0..=1.
const ECE_MAX: f64 = 0.05;
/// The same for a slice with at least [`SLICE_PROMPTS_MIN`] held-out prompts.
const SLICE_ECE_MAX: f64 = 0.10;
/// With fewer prompts a slice's calibration error is mostly chance.
pub const SLICE_PROMPTS_MIN: usize = 300;
const NO_HEADS: &str =
    "no heads are in use that predict these models, or fewer than 100 prompts are new to them";
/// A floor counts as kept when it is missed by at most a point on held-out prompts, or by no
/// more than chance: on a few hundred of them every fifth route that keeps it seems to miss
/// it by more. That it is kept the certificate proves; these prompts may contradict it.
const SHORTFALL_MAX: f64 = 0.01;

/// One question of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Are there enough held-out prompts?
    EnoughPrompts,
    /// Does some λ keep the bar on out-of-fold predictions?
    BarWithinReach,
    /// Is the curve above the best prompt-blind mix of models, beyond chance, and the
    /// route's own point as well?
    BeatsBlind,
    /// Is the route worth no less, prompt by prompt, than with the heads in use?
    KeepsUp,
    /// Do predicted shares come true, overall and in every large slice?
    Calibrated,
    /// Did the policy keep its bar where it was not set?
    KeepsBar,
    /// Is it proven there, for any distribution, that it loses no more than is allowed?
    Certified,
    /// Do not too many prompts go elsewhere than with the heads in use?
    Steady,
}

impl Check {
    pub const ALL: [Self; 8] = [
        Self::EnoughPrompts,
        Self::BarWithinReach,
        Self::BeatsBlind,
        Self::KeepsUp,
        Self::Calibrated,
        Self::KeepsBar,
        Self::Certified,
        Self::Steady,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EnoughPrompts => "enough_prompts",
            Self::BarWithinReach => "bar_within_reach",
            Self::BeatsBlind => "beats_blind",
            Self::KeepsUp => "keeps_up",
            Self::Calibrated => "calibrated",
            Self::KeepsBar => "keeps_bar",
            Self::Certified => "certified",
            Self::Steady => "steady",
        }
    }
}

/// A check's answer, with the numbers behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub check: Check,
    pub held: bool,
    pub detail: String,
}

/// What the gate looks at: everything on held-out prompts but `solved`, which rests on those
/// of the fitted part, each foretold by heads that had not seen it, and `running`, on both.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub solved: &'a Solved,
    pub deployed: &'a Deployed,
    /// Of the learned offers, on the route's models.
    pub evaluation: &'a Evaluation,
    pub bar: Bps,
    /// Of the learned curve over that of the same choices without heads, 0..=1, 95 %, paired
    /// over prompts.
    pub over_blind: Interval,
    /// Calibration error of slices with enough held-out prompts.
    pub slices: &'a [SliceCalibration],
    /// Against the heads in use; `None` where there are none, they lack a model, or too few
    /// prompts are new to them.
    pub running: Option<Running>,
}

/// One slice's calibration error on held-out prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceCalibration {
    pub slice: SliceId,
    pub ece: f64,
}

/// The new policy beside the one of the heads in use, at the same λ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running {
    /// Of new − old in quality − λ·cost, 0..=1, 95 %, paired over prompts.
    pub gain: Interval,
    /// Share of the prompts that go elsewhere.
    pub flips: f64,
    /// At most so many may.
    pub flips_max: Bps,
}

/// All checks, in the order of [`Check::ALL`]; the gate opens when each held.
#[must_use]
pub fn check(evidence: &Evidence<'_>) -> Vec<Checked> {
    Check::ALL.map(|check| answer(check, evidence)).to_vec()
}

fn answer(check: Check, evidence: &Evidence<'_>) -> Checked {
    let (held, detail) = match check {
        Check::EnoughPrompts => enough_prompts(evidence),
        Check::BarWithinReach => bar_within_reach(evidence),
        Check::BeatsBlind => beats_blind(evidence),
        Check::KeepsUp => keeps_up(evidence),
        Check::Calibrated => calibrated(evidence),
        Check::KeepsBar => keeps_bar(evidence),
        Check::Certified => certified(evidence),
        Check::Steady => steady(evidence),
    };
    Checked {
        check,
        held,
        detail,
    }
}

fn enough_prompts(evidence: &Evidence<'_>) -> (bool, String) {
    let count = evidence.evaluation.prompts;
    let detail = format!("{count} held-out prompts, {PROMPTS_MIN} are needed");
    (count >= PROMPTS_MIN, detail)
}

fn bar_within_reach(evidence: &Evidence<'_>) -> (bool, String) {
    let solved = evidence.solved;
    let detail = format!(
        "λ {} lies {:+.2} points from the floor at least (90 %), -1.00 is allowed",
        solved.lambda(),
        solved.margin * 100.0
    );
    (solved.kept, detail)
}

fn keeps_up(evidence: &Evidence<'_>) -> (bool, String) {
    let Some(Running { gain, .. }) = evidence.running else {
        return (true, NO_HEADS.to_owned());
    };
    let detail = format!(
        "worth {:+.2} to {:+.2} points more than the heads in use (95 %), on prompts that are new to both",
        gain.low * 100.0,
        gain.high * 100.0
    );
    (gain.high >= 0.0, detail)
}

fn keeps_bar(evidence: &Evidence<'_>) -> (bool, String) {
    let deployed = evidence.deployed;
    let missed = deployed.floor - deployed.quality;
    let by_chance = deployed.shortfall.low <= 0.0;
    let detail = format!(
        "quality {:.2} % for a floor of {:.2} % (bar {}), missed by {:+.2} to {:+.2} points (95 %); a point less is \
         allowed, and what may be chance",
        deployed.quality * 100.0,
        deployed.floor * 100.0,
        evidence.bar,
        deployed.shortfall.low * 100.0,
        deployed.shortfall.high * 100.0
    );
    (missed <= SHORTFALL_MAX || by_chance, detail)
}

fn certified(evidence: &Evidence<'_>) -> (bool, String) {
    let held = evidence.solved.certified;
    let detail = format!(
        "{} audits, each foretold by heads that had not seen it, {} with {:.0} % confidence that the floor is missed by no more than {:.1} points",
        evidence.solved.audits,
        if held { "prove" } else { "do not prove" },
        (1.0 - DELTA) * 100.0,
        ALLOWED * 100.0
    );
    (held, detail)
}

fn steady(evidence: &Evidence<'_>) -> (bool, String) {
    let Some(running) = evidence.running else {
        return (true, NO_HEADS.to_owned());
    };
    let detail = format!(
        "{:.1} % of those prompts go elsewhere, at most {} may",
        running.flips * 100.0,
        running.flips_max
    );
    (running.flips <= running.flips_max.share(), detail)
}

fn calibrated(evidence: &Evidence<'_>) -> (bool, String) {
    let ece = evidence.evaluation.calibration.ece;
    let mut detail = format!("calibration error {ece:.3}, at most {ECE_MAX} is allowed");
    let worst = evidence
        .slices
        .iter()
        .max_by(|a, b| a.ece.total_cmp(&b.ece));
    if let Some(worst) = worst {
        let (slice, ece) = (&worst.slice, worst.ece);
        let more = format!("; slice {slice:?} {ece:.3}, at most {SLICE_ECE_MAX}");
        detail.push_str(&more);
    }
    let held = ece <= ECE_MAX && worst.is_none_or(|worst| worst.ece <= SLICE_ECE_MAX);
    (held, detail)
}

/// The gain in the area on the log axis (paired bootstrap), which looks at the whole
/// curve and so can tell a gain from luck: over mixes of single models, and over the choices
/// that are made without heads, which gain as well where prompts vary in length. And the
/// route's point, quality at equal cost.
fn beats_blind(evidence: &Evidence<'_>) -> (bool, String) {
    let (gain, over) = (evidence.evaluation.gain, evidence.over_blind);
    let zero = evidence.evaluation.zero_hull.at(evidence.deployed.cost);
    let point = evidence.deployed.quality - zero;
    let detail = format!(
        "curve above prompt-blind mixes by {:+.2} to {:+.2} points (95 %), above choices without heads by {:+.2} to {:+.2}; \
         this route's quality by {:+.2} at equal cost",
        gain.low * 100.0,
        gain.high * 100.0,
        over.low * 100.0,
        over.high * 100.0,
        point * 100.0
    );
    let held = gain.low > 0.0 && over.low > 0.0 && point >= 0.0;
    (held, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::deployed::deployed;
    use crate::evaluate::evaluate;
    use crate::multiplier::solve;
    use crate::offers::{Policy, Row, Truth};
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256Plus;
    use spillway_routing::decide::Offer;
    use spillway_routing::id::ModelId;
    use spillway_routing::unit::NanoUsd;

    /// A dear model that is good at both kinds of prompts, a cheap one that is good at
    /// one. `informed` predictions know the kind, the others guess it.
    fn world(prompts: usize, informed: bool, seed: u64) -> (Vec<Row>, Truth) {
        let mut dice = Xoshiro256Plus::seed_from_u64(seed);
        let offer = |quality: f64, usd: f64| Offer {
            quality: Bps::from_share(quality),
            cost: NanoUsd::from_usd(usd),
        };
        let mut truth = Truth {
            quality: Array2::zeros((prompts, 2)),
            cost: Array2::from_shape_fn((prompts, 2), |(_, c)| [0.001, 0.01][c]),
        };
        let mut learned = Vec::new();
        for i in 0..prompts {
            let kind = dice.gen_bool(0.5);
            let chance = [if kind { 0.95 } else { 0.3 }, 0.95];
            for (c, p) in chance.iter().enumerate() {
                truth.quality[[i, c]] = f64::from(u8::from(dice.gen_bool(*p)));
            }
            let seems = if informed { kind } else { dice.gen_bool(0.5) };
            let guess = [if seems { 0.95 } else { 0.3 }, 0.95];
            let row = |q: [f64; 2]| Row {
                offers: vec![offer(q[0], 0.001), offer(q[1], 0.01)],
                abstained: false,
            };
            learned.push(row(guess));
        }
        (learned, truth)
    }

    const GAIN: Interval = Interval {
        low: 0.01,
        high: 0.02,
    };

    fn verdict(prompts: usize, informed: bool) -> Vec<Checked> {
        told(prompts, informed, &[], None)
    }

    fn told(
        prompts: usize,
        informed: bool,
        slices: &[SliceCalibration],
        running: Option<Running>,
    ) -> Vec<Checked> {
        told_over(prompts, informed, slices, running, GAIN)
    }

    fn told_over(
        prompts: usize,
        informed: bool,
        slices: &[SliceCalibration],
        running: Option<Running>,
        over_blind: Interval,
    ) -> Vec<Checked> {
        let bar = Bps::new(9_000);
        let (rows, truth) = world(2_000, informed, 1);
        let solved = solve(&rows, &truth, 1, bar, Policy::lambda(0));
        let policy = Policy::lambda(solved.lambda());
        let (learned, truth) = world(prompts, informed, 2);
        let deployed = deployed(&learned, &truth, policy, 1, bar, 3);
        let models = [ModelId::new("cheap"), ModelId::new("dear")];
        let evaluation = evaluate(&learned, &truth, &models, 1, 4).unwrap();
        check(&Evidence {
            solved: &solved,
            deployed: &deployed,
            evaluation: &evaluation,
            bar,
            over_blind,
            slices,
            running,
        })
    }

    fn held(checks: &[Checked], wanted: Check) -> bool {
        checks
            .iter()
            .any(|checked| checked.check == wanted && checked.held)
    }

    #[test]
    fn knowledge_passes() {
        let checks = verdict(2_000, true);
        assert!(checks.iter().all(|checked| checked.held), "{checks:?}");
    }

    #[test]
    fn noise_is_declined() {
        let checks = verdict(2_000, false);
        assert!(!held(&checks, Check::BeatsBlind) && !held(&checks, Check::Calibrated));
    }

    #[test]
    fn heads_that_know_no_more_than_means_are_declined() {
        for (low, high, wanted) in [(0.001, 0.02, true), (-0.001, 0.02, false)] {
            let over = Interval { low, high };
            let evidence = told_over(2_000, true, &[], None, over);
            assert_eq!(held(&evidence, Check::BeatsBlind), wanted);
        }
    }

    #[test]
    fn heads_that_lose_to_those_in_use_are_declined() {
        let against = |low: f64, high: f64, flips: f64| {
            let running = Running {
                gain: Interval { low, high },
                flips,
                flips_max: Bps::new(3_000),
            };
            told(2_000, true, &[], Some(running))
        };
        assert!(held(&against(-0.01, 0.01, 0.2), Check::KeepsUp));
        assert!(!held(&against(-0.02, -0.01, 0.2), Check::KeepsUp));
        assert!(held(&against(0.0, 0.1, 0.2), Check::Steady));
        assert!(!held(&against(0.0, 0.1, 0.4), Check::Steady));
    }

    #[test]
    fn one_large_slice_out_of_tune_is_enough_to_decline() {
        let with = |ece: f64| {
            let slice = SliceCalibration {
                slice: SliceId::new("law"),
                ece,
            };
            told(2_000, true, &[slice], None)
        };
        assert!(held(&with(0.09), Check::Calibrated));
        assert!(!held(&with(0.11), Check::Calibrated));
    }

    #[test]
    fn held_out_prompts_contradict_only_beyond_chance() {
        let missing = |by: f64, low: f64| {
            let (rows, truth) = world(2_000, true, 1);
            let bar = Bps::new(9_000);
            let solved = solve(&rows, &truth, 1, bar, Policy::lambda(0));
            let policy = Policy::lambda(solved.lambda());
            let reached = deployed(&rows, &truth, policy, 1, bar, 3);
            let models = [ModelId::new("cheap"), ModelId::new("dear")];
            check(&Evidence {
                solved: &solved,
                deployed: &Deployed {
                    quality: reached.floor - by,
                    shortfall: Interval { low, high: by },
                    ..reached
                },
                evaluation: &evaluate(&rows, &truth, &models, 1, 4).unwrap(),
                bar,
                over_blind: GAIN,
                slices: &[],
                running: None,
            })
        };
        assert!(held(&missing(0.009, 0.001), Check::KeepsBar));
        assert!(held(&missing(0.015, -0.001), Check::KeepsBar));
        assert!(!held(&missing(0.015, 0.001), Check::KeepsBar));
    }

    #[test]
    fn few_prompts_are_declined() {
        assert!(!held(&verdict(40, true), Check::EnoughPrompts));
    }
}
